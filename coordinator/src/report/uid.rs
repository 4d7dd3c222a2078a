//! Identifiers from content.
//!
//! A random UID would make two objects of one draft. These are the first 128 bits of a SHA-256 digest, made a valid UUID
//! (version 8, RFC 9562 section 5.8), and for DICOM written under 2.25 (PS3.5 section B.2).

use prelim_proto::finding::Finding;
use prelim_proto::report::Report;
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
    /// Tracking Unique Identifier of each finding: of the study, the finding's code and place, and its rank among its like; in a
    /// reviewed version, what the finding had before.
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
            tracking: tracking(report),
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

    /// The UUID of what has this name and is the same in every version of a study's report.
    pub(super) fn lasting(kind: &str, name: &str) -> String {
        hyphenated(uuid(&[b"lasting", kind.as_bytes(), name.as_bytes()]))
    }

    /// The UUID of the part of the draft that has this name.
    pub(super) fn uuid(&self, name: &str) -> String {
        hyphenated(uuid(&[b"part", name.as_bytes(), &self.content]))
    }
}

/// Tracking Unique Identifiers of the findings.
pub(super) fn tracking(report: &Report) -> Vec<String> {
    let placed = by_place(report.study.as_str(), &report.findings);
    let kept = |(index, placed): (usize, String)| match report.assessment(index) {
        Some(assessment) => assessment.tracking.to_string(),
        None => placed,
    };
    placed.into_iter().enumerate().map(kept).collect()
}

/// Tracking Unique Identifier of the finding that a review adds to that version in that place.
pub(super) fn added(study: &str, version: u32, place: usize) -> String {
    derived(&[b"added finding", study.as_bytes(), &version.to_be_bytes(), &place.to_be_bytes()])
}

fn by_place(study: &str, findings: &[Finding]) -> Vec<String> {
    let place = |finding: &Finding| format!("{} {:?} {:?}", finding.code.key(), finding.laterality, finding.zone);
    let places: Vec<String> = findings.iter().map(place).collect();
    let rank = |index: usize| places[..index].iter().filter(|other| **other == places[index]).count();
    (0..findings.len())
        .map(|index| {
            derived(&[b"finding", study.as_bytes(), places[index].as_bytes(), rank(index).to_string().as_bytes()])
        })
        .collect()
}

/// A UUID as it is written.
fn hyphenated(uuid: u128) -> String {
    let hex = format!("{uuid:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
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
