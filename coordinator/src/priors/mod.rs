//! The patient's earlier studies: which of them a study is compared with, and what is known of them.
//!
//! # Layout
//! - `choose`: which count: the same patient, earlier, the same part of the body (pure); `region`: what a study shows (pure)
//! - `gather`: the studies that are held, and their drafts and reports
//! - `fetch`: reports of more of them, from a PACS
//! - `document`: a report of another system, as words and coded findings (pure)
//! - `tell`: what a model is told of them (pure)
//! - [`crate::merge`] compares; [`crate::route`] has the site's [`PriorRules`]
//!
//! The choice is made once, when a study is planned, and stored as a blob of the study: a draft depends on what was known then,
//! and is made again the same from the same blob. An earlier study whose draft comes later is not waited for, and said to be
//! without one.
//!
//! **Invariant**: a study is compared with none whose birth date, sex or issuer of the Patient ID says that it is another
//! patient's; what is ruled out has its reason in the record.
//! **Invariant**: what a model is told holds no name, id, date or UID of the record: intervals stand for dates.

mod choose;
mod document;
pub(crate) mod fetch;
pub(crate) mod gather;
mod region;
mod tell;

use prelim_proto::comparison::{Prior, PriorFinding};
use prelim_proto::ids::{Digest, Uid};
use serde::{Deserialize, Serialize};

/// Which earlier studies the site wants to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorRules {
    /// At most so many are taken into account; 0 for none.
    pub most: u32,
    /// None that is older than so many years.
    pub years: u32,
    /// The PACS that is asked for more of them, by its name among the destinations.
    pub source: Option<String>,
}

impl PriorRules {
    /// Most that may be asked for: a report that compares with more is not read.
    pub const MOST: u32 = 10;
    /// Longest time, in years.
    pub const MAX_YEARS: u32 = 150;
}

impl Default for PriorRules {
    fn default() -> Self {
        Self { most: 3, years: 5, source: None }
    }
}

/// What a study is to be compared with, as it was known when the study was planned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The earlier studies that count, the closest first.
    pub earlier: Vec<Earlier>,
    /// Which were not compared and why, and why none was looked for, in sentences for the draft.
    pub notes: Vec<String>,
    /// The same patient's other studies that were looked at and do not count, with why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ruled_out: Vec<(Uid, String)>,
}

/// Why no earlier study was looked for, where the site wants none.
const NOT_WANTED: &str = "Earlier studies were not looked for: the site's rules say so.";

impl Compared {
    /// Why another study of the patient is not taken into account, as far as it was known when the study was planned.
    pub(crate) fn why_not(&self, other: &Uid) -> &str {
        let known = self.ruled_out.iter().find(|(study, _)| study == other).map(|(_, why)| why.as_str());
        let is_wanted = !self.notes.iter().any(|note| note == NOT_WANTED);
        known.unwrap_or(match is_wanted {
            true => "it was not here when this study was planned",
            false => "the site's rules look for no earlier studies",
        })
    }
}

/// An earlier study, with what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Earlier {
    /// Which it is, without changes yet.
    pub prior: Prior,
    /// Its findings in codes; none where its report has only words.
    pub findings: Option<Vec<PriorFinding>>,
    /// The models and prompts that made them.
    pub readers: Vec<Reader>,
    /// Not all of it was read.
    pub partial: bool,
    /// Its findings and impression in words.
    pub words: String,
}

/// A model with its prompt: findings of two may differ because the readers do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// SHA-256 of the model.
    pub model: Digest,
    /// Version of prompt and grammar.
    pub prompt_version: String,
}
