//! Versions of a study's report: what is held of them, and what merges and reviews bring.

use prelim_proto::ids::Digest;
use prelim_proto::report::Urgency;
use prelim_proto::review::{Decision, Standing};
use prelim_proto::study::Unread;
use prelim_proto::vocabulary::FindingCode;
use serde::{Deserialize, Serialize};

use super::delivery::Wish;

/// What lists and statistics tell of a study's newest report, so that they read no report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How soon a person should look.
    pub urgency: Urgency,
    /// Findings of the report.
    pub findings: u32,
    /// The lowest confidence of them; none where there are none.
    pub confidence: Option<f64>,
    /// Not all that should have been was read.
    pub partial: bool,
    /// Body Part Examined of the first image that says it.
    pub body_part: Option<String>,
    /// Station Name of the first image that says it.
    pub station: Option<String>,
    /// The device of the first image that says it.
    pub device: Option<String>,
    /// A demonstration model drafted it.
    pub demonstration: bool,
    /// Names of the models that drafted it.
    pub models: Vec<String>,
    /// What a radiologist made of the draft that the report that stands goes back to, or of a rejected one.
    pub judged: Option<Judged>,
}

/// What a radiologist made of a draft, over all reviews of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// When the newest of them was, in ms since the Unix epoch.
    pub at_ms: i64,
    /// What became of its findings, and those that were added.
    pub decisions: Vec<(FindingCode, Decision)>,
}

/// A draft: its bytes lie in the byte store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftRecord {
    /// Version, from 1.
    pub version: u32,
    /// SHA-256 of the report as JSON.
    pub digest: Digest,
    /// Length of it.
    pub size_bytes: u64,
    /// When it was committed.
    pub drafted_at_ms: i64,
    /// Where it stands.
    #[serde(default)]
    pub standing: Standing,
    /// The id of the request by which it was reviewed; empty for a draft.
    #[serde(default)]
    pub request: String,
}

/// What a merge came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Merged {
    /// A draft, whose bytes are stored.
    Draft {
        /// Its version; must be one more than the study's newest.
        version: u32,
        /// SHA-256 of the report as JSON.
        digest: Digest,
        /// Length of it.
        size_bytes: u64,
        /// The DICOM objects that it can be had as, by their words.
        objects: Vec<String>,
        /// What lists tell of it.
        summary: Box<Summary>,
        /// All that was not read, as the draft lists it.
        unread: Vec<Unread>,
        /// Where the draft is to go. They are noted in the same step: none is forgotten.
        deliveries: Vec<Wish>,
    },
    /// Nothing was read; the study fails.
    Nothing {
        /// Why.
        reason: String,
        /// All that was not read.
        unread: Vec<Unread>,
    },
}

/// What a review came to: a new version of the report, whose bytes are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Reviewed {
    /// Its version; must be one more than the study's newest, which is the one that was reviewed.
    pub version: u32,
    /// Where it stands; never a draft. It is amended exactly where an earlier version is signed.
    pub standing: Standing,
    /// The id of the request.
    pub request: String,
    /// SHA-256 of the report as JSON.
    pub digest: Digest,
    /// Length of it.
    pub size_bytes: u64,
    /// The DICOM objects that the report that stands can be had as, by their words.
    pub objects: Vec<String>,
    /// What lists tell of it.
    pub summary: Summary,
    /// Where it is to go. They are noted in the same step: none is forgotten.
    pub deliveries: Vec<Wish>,
}
