//! Checked identifiers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a unique identifier as PS3.5 section 9.1 has it.
    #[error("not a DICOM UID (at most 64 digits and dots): {0:?}")]
    Uid(String),
    /// Not a job id.
    #[error("not a job id (study UID, slash, number): {0:?}")]
    Job(String),
    /// Not a digest.
    #[error("not a SHA-256 digest (64 hexadecimal digits): {0:?}")]
    Digest(String),
    /// Not the name of a tenant.
    #[error("not a tenant (1 to 64 lower-case letters, digits, dots, dashes and underscores): {0:?}")]
    Tenant(String),
    /// Not the name of a model.
    #[error("not the name of a model (1 to 100 bytes without control characters, and no space at an end): {0:?}")]
    Model(String),
    /// Not the name of a prompt.
    #[error("not the name of a prompt (1 to 64 letters, digits, dots, dashes and underscores): {0:?}")]
    Prompt(String),
}

/// A DICOM unique identifier (PS3.5 section 9.1): at most 64 characters of digits and single dots.
///
/// Leading zeros in a component are taken as they come: real archives hold such identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

impl Uid {
    /// Checks and takes `text`, without the padding that DICOM values carry.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let uid = text.trim_end_matches(['\0', ' ']).trim_start_matches(' ');
        let shaped = !uid.is_empty()
            && uid.len() <= 64
            && uid.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && uid.split('.').all(|part| !part.is_empty());
        if shaped { Ok(Self(uid.to_owned())) } else { Err(IdError::Uid(text.chars().take(80).collect())) }
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A SHA-256 digest of bytes, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Checks and takes 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let shaped = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if shaped { Ok(Self(text.to_owned())) } else { Err(IdError::Digest(text.chars().take(80).collect())) }
    }

    /// The digest of 32 raw bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(bytes.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whom a study belongs to: a hospital or a department, whose studies others do not see and with whom it shares the
/// workers. At most 64 lower-case letters, digits, dots, dashes and underscores.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(String);

impl Tenant {
    /// Checks and takes a name.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let shaped = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        if shaped { Ok(Self(text.to_owned())) } else { Err(IdError::Tenant(text.chars().take(80).collect())) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    /// `default`, whose all studies are where nobody names another.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// The id of a job: the study's UID, a slash, and the job's place in the study's partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId {
    study: Uid,
    number: u32,
}

impl JobId {
    /// The id of job `number` (from 0) of `study`.
    pub fn new(study: Uid, number: u32) -> Self {
        Self { study, number }
    }

    /// Parses what `Display` writes.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::Job(text.chars().take(80).collect());
        let (study, number) = text.rsplit_once('/').ok_or_else(bad)?;
        Ok(Self { study: Uid::parse(study).map_err(|_| bad())?, number: number.parse().map_err(|_| bad())? })
    }

    /// The study that the job is a part of.
    pub fn study(&self) -> &Uid {
        &self.study
    }

    /// The job's place in the study's partition, from 0; a question's is [`JobId::FIRST_QUESTION`] or more.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Numbers from here on are those of questions about the study, which are no part of it.
    pub const FIRST_QUESTION: u32 = 1 << 31;

    /// Whether the job is to answer a question.
    pub fn is_question(&self) -> bool {
        self.number >= Self::FIRST_QUESTION
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.study, self.number)
    }
}

impl TryFrom<String> for JobId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::ids::IdError;
            fn try_from(text: String) -> Result<Self, $crate::ids::IdError> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}
pub(crate) use text_id;
text_id!(Uid);
text_id!(Digest);
text_id!(Tenant);

/// The number of a lease. Each lease of a job gets a larger one; a commit that carries an older one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FencingToken(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_digits_and_single_dots() {
        for (text, good) in [
            ("1.2.840.10008.1.2", true),
            ("1.2.3\0", true),
            ("", false),
            ("1..2", false),
            ("1.2.", false),
            ("1.2.a", false),
            (&"1".repeat(65), false),
        ] {
            assert_eq!(Uid::parse(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn a_tenant_is_a_short_plain_name() {
        for (text, good) in [("default", true), ("st-mary.er_2", true), ("", false), ("St Mary", false), ("a/b", false)]
        {
            assert_eq!(Tenant::parse(text).is_ok(), good, "{text:?}");
        }
        assert!(Tenant::parse(&"a".repeat(65)).is_err());
    }

    #[test]
    fn a_job_id_reads_back_what_it_writes() {
        let id = JobId::new(Uid::parse("1.2.3").unwrap(), 7);
        assert_eq!(JobId::parse(&id.to_string()), Ok(id));
        assert!(JobId::parse("1.2.3").is_err());
        assert!(JobId::parse("x/1").is_err());
    }
}
