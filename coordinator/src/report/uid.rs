//! Identifiers from content.
//!
//! A random UID would make two objects of one draft. These are the first 128 bits of a SHA-256 digest, made a valid UUID
//! (version 8, RFC 9562 section 5.8), and for DICOM written under 2.25 (PS3.5 section B.2).

use prelim_proto::finding::Finding;
use prelim_proto::review::Standing;
use sha2::{Digest as _, Sha256};

use crate::report::{ReportError, ReportInputs, json, present};

/// The identifiers of one draft and of the objects that it is written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// SOP Instance UID of the structured report: of everything that the draft says.
    pub(super) instance: String,
    /// Series Instance UID of the structured report: of the study, the models and where the report stands, so that versions of
    /// one draft share a series, and nothing signed shares one with a draft.
    pub(super) series: String,
    /// Device Observer UID: of the models and the software.
    pub(super) device: String,
    /// Tracking Unique Identifier of each finding: of the study, the finding's code and place, and its rank among its like.
    pub(super) tracking: Vec<String>,
    /// The draft as its JSON document.
    content: Vec<u8>,
}

impl Names {
    /// Derives the identifiers.
    pub(super) fn of(inputs: &ReportInputs<'_>) -> Result<Self, ReportError> {
        let (report, study) = (inputs.report, inputs.study);
        let models = serde_json::to_string(&report.models)?;
        let content = json::write(inputs)?;
        let mut series = vec![&b"series"[..], study.uid.as_str().as_bytes(), models.as_bytes()];
        match report.standing() {
            Standing::Draft => {}
            standing => series.push(present::kind_of_report(standing).as_bytes()),
        }
        Ok(Self {
            instance: derived(&[b"instance", &content]),
            series: derived(&series),
            device: derived(&[b"device", models.as_bytes()]),
            tracking: tracking(study.uid.as_str(), &report.findings),
            content,
        })
    }

    /// SOP Instance UID of the object of that kind, which holds `more` beside what the draft says.
    pub(super) fn object(&self, kind: &str, more: &[u8]) -> String {
        derived(&[b"object", kind.as_bytes(), &self.content, more])
    }

    /// Series Instance UID of the objects of that kind.
    pub(super) fn object_series(&self, kind: &str) -> String {
        derived(&[b"object series", kind.as_bytes(), self.series.as_bytes()])
    }

    /// The UUID of the part of the draft that has this name.
    pub(super) fn uuid(&self, name: &str) -> String {
        let hex = format!("{:032x}", uuid(&[b"part", name.as_bytes(), &self.content]));
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

/// Tracking Unique Identifiers of findings of a study, in their order.
pub(super) fn tracking(study: &str, findings: &[Finding]) -> Vec<String> {
    let place = |finding: &Finding| format!("{} {:?} {:?}", finding.code.key(), finding.laterality, finding.zone);
    let places: Vec<String> = findings.iter().map(place).collect();
    let rank = |index: usize| places[..index].iter().filter(|other| **other == places[index]).count();
    (0..findings.len())
        .map(|index| {
            derived(&[b"finding", study.as_bytes(), places[index].as_bytes(), rank(index).to_string().as_bytes()])
        })
        .collect()
}

/// A UID from the digest of `parts`.
fn derived(parts: &[&[u8]]) -> String {
    format!("2.25.{}", uuid(parts))
}

/// A UUID from the digest of `parts`. Each part goes in with its length, so that no two lists of parts read the same.
fn uuid(parts: &[&[u8]]) -> u128 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    let mut uuid: [u8; 16] = std::array::from_fn(|i| digest[i]);
    uuid[6] = (uuid[6] & 0x0f) | 0x80;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    u128::from_be_bytes(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_uids_are_valid_and_told_apart() {
        let uid = derived(&[b"ab", b"c"]);
        assert!(prelim_proto::ids::Uid::parse(&uid).is_ok(), "{uid}");
        assert_eq!(uid, derived(&[b"ab", b"c"]));
        assert_ne!(uid, derived(&[b"a", b"bc"]));
    }
}
