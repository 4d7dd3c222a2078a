//! Earlier studies as a model is told of them: no date, no name, no identifier.

use serde::{Deserialize, Serialize};

use crate::ids::Digest;

/// Earlier studies that one job is told of.
pub const MAX_TOLD: usize = 16;
/// Longest text of one of them, in characters.
pub const MAX_TOLD_CHARS: usize = 1_500;
/// Longest blob of them, in bytes.
pub const MAX_TOLD_BYTES: u64 = 256 * 1024;

/// Where the earlier studies that a job is told of lie: a blob of its study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldBlob {
    /// SHA-256 of the blob.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// An earlier study as a model is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldPrior {
    /// What kind of study it is: "chest X-ray".
    pub what: String,
    /// Days before the study that is read.
    pub days_before: u32,
    /// Whose words these are: "unsigned draft by software", "report".
    pub source: String,
    /// Findings and impression.
    pub text: String,
}

impl ToldPrior {
    /// As a blob.
    pub fn to_blob(told: &[Self]) -> Vec<u8> {
        serde_json::to_vec(told).unwrap_or_default()
    }

    /// What a blob holds, at most [`MAX_TOLD`] studies with at most [`MAX_TOLD_CHARS`] characters each; none where it is no such
    /// blob.
    pub fn from_blob(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut told: Vec<Self> = serde_json::from_slice(bytes).ok()?;
        told.truncate(MAX_TOLD);
        for prior in &mut told {
            for text in [&mut prior.what, &mut prior.source, &mut prior.text] {
                if let Some((end, _)) = text.char_indices().nth(MAX_TOLD_CHARS) {
                    text.truncate(end);
                }
            }
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_holds_no_more_than_it_may() {
        let long =
            ToldPrior { what: "chest CT".into(), days_before: 3, source: "report".into(), text: "ä".repeat(9_000) };
        let blob = ToldPrior::to_blob(&vec![long; 40]);
        let told = ToldPrior::from_blob(&blob).unwrap();
        assert_eq!((told.len(), told[0].text.chars().count()), (MAX_TOLD, MAX_TOLD_CHARS));
        assert_eq!(ToldPrior::from_blob(b"{}"), None);
        assert_eq!(ToldPrior::from_blob(b"[]"), Some(Vec::new()));
    }
}
