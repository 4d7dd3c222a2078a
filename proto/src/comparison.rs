//! What a study was compared with, and what changed.

use serde::{Deserialize, Serialize};

use crate::finding::{Finding, Laterality, Presence, Severity, Zone};
use crate::ids::{Digest, Uid};
use crate::image::ImageKind;
use crate::vocabulary::FindingCode;

/// An earlier study of the patient that a draft takes into account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// Study Instance UID.
    pub study: Uid,
    /// Study Date, YYYYMMDD.
    pub date: String,
    /// Study Time, HHMMSS[.FFFFFF]; empty where it is not known.
    pub time: String,
    /// Days from it to the study that is read.
    pub days_before: u32,
    /// What kind of study it is, in a few words: "chest X-ray".
    pub what: String,
    /// The kinds of image that it has.
    pub kinds: Vec<ImageKind>,
    /// Where its findings are from.
    pub source: PriorSource,
    /// What changed since; empty where its findings are not coded, or another study was compared.
    pub changes: Vec<Change>,
}

/// Where the findings of an earlier study are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorSource {
    /// A draft of ours, which nobody has signed.
    Draft {
        /// Its version.
        version: u32,
        /// SHA-256 of it as a JSON document.
        digest: Digest,
        /// Its model is a demonstration.
        demonstration: bool,
    },
    /// A report that was drafted by us, and signed.
    Signed {
        /// Its version.
        version: u32,
        /// SHA-256 of it as a JSON document.
        digest: Digest,
        /// The model that drafted it is a demonstration.
        demonstration: bool,
    },
    /// A report of another system, received as DICOM SR.
    Report {
        /// SOP Instance UID.
        instance: Uid,
        /// SHA-256 of the object.
        digest: Digest,
        /// Somebody answers for it: its Verification Flag says so.
        verified: bool,
    },
}

impl PriorSource {
    /// The version, of a draft or report of ours.
    pub fn version(&self) -> Option<u32> {
        match self {
            Self::Draft { version, .. } | Self::Signed { version, .. } => Some(*version),
            Self::Report { .. } => None,
        }
    }
}

/// What became of one finding between two studies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// Index into the findings of the report, where it is seen now.
    pub finding: Option<u32>,
    /// The finding of the earlier study, where it was seen then.
    pub prior: Option<PriorFinding>,
}

/// What may become of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Seen now and not then.
    New,
    /// Larger, or more of it, than then.
    Larger,
    /// Smaller, or less of it, than then.
    Smaller,
    /// Seen then and not now.
    NoLongerSeen,
    /// Seen now and then, without a difference that counts.
    Unchanged,
    /// Seen now and not then, where that does not say that it is new: the studies differ in kind, or one was read in part.
    SeenOnlyNow,
    /// Seen then and not now, where that does not say that it is gone.
    SeenOnlyThen,
}

impl ChangeKind {
    /// Every kind, in the order in which reports list them.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Larger,
        Self::Smaller,
        Self::NoLongerSeen,
        Self::SeenOnlyNow,
        Self::SeenOnlyThen,
        Self::Unchanged,
    ];
}

/// A finding of an earlier study, without its images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorFinding {
    /// What it is.
    pub code: FindingCode,
    /// Whether it was there.
    pub presence: Presence,
    /// On which side.
    pub laterality: Option<Laterality>,
    /// In which part.
    pub zone: Option<Zone>,
    /// How much.
    pub severity: Option<Severity>,
    /// Largest extent in mm, where it was measured.
    pub size_mm: Option<f32>,
}

impl From<&Finding> for PriorFinding {
    fn from(finding: &Finding) -> Self {
        Self {
            code: finding.code,
            presence: finding.presence,
            laterality: finding.laterality,
            zone: finding.zone,
            severity: finding.severity,
            size_mm: finding.size_mm,
        }
    }
}
