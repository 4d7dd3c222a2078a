//! A report, as drafted by prelim and later signed by a radiologist.

use serde::{Deserialize, Serialize};

use crate::comparison::Prior;
use crate::finding::Finding;
use crate::ids::{Digest, Uid};
use crate::image::ImageKind;
use crate::question::QuestionKind;
use crate::review::{Review, Standing};
use crate::study::Unread;

/// How soon the findings want a person's eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// In its turn.
    Routine,
    /// The same day.
    Urgent,
    /// At once.
    Critical,
}

/// Which model, prompt and preprocessing made a reading. Part of the draft: equal inputs and equal provenance give equal drafts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelProvenance {
    /// The model's name.
    pub name: String,
    /// SHA-256 over the digests of its files, in order of name.
    pub digest: Digest,
    /// Version of the prompt and the output grammar.
    pub prompt_version: String,
    /// Version of the preprocessing.
    pub preprocess_version: String,
    /// The kind of arithmetic: "cpu f32", "cpu bf16", …
    pub arithmetic: String,
    /// prelim's own version.
    pub software_version: String,
    /// The weights are a demonstration trained on phantoms and must be labelled so.
    pub demonstration: bool,
    /// The name of the model that an adapter changes; none where a model reads by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

/// A sentence of the report, with the findings (by index) that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    /// The words.
    pub text: String,
    /// Indices into [`Report::findings`].
    pub findings: Vec<u32>,
}

/// Which of a report's texts is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passage {
    /// The findings in words: [`Report::findings_text`].
    Findings,
    /// [`Report::impression`].
    #[default]
    Impression,
}

impl Passage {
    /// Both, in the order of reports.
    pub const ALL: [Self; 2] = [Self::Findings, Self::Impression];

    /// Its sentences.
    pub fn of(self, report: &Report) -> &[Sentence] {
        match self {
            Self::Findings => &report.findings_text,
            Self::Impression => &report.impression,
        }
    }
}

/// Words of a model's answer to a question that a person took into a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inserted {
    /// The text that has them.
    pub passage: Passage,
    /// The sentence that has them, as an index into that text.
    pub sentence: u32,
    /// What the model was asked for.
    pub kind: QuestionKind,
    /// The model that answered.
    pub model: String,
    /// The adapter of it that did; none for the model itself.
    pub adapter: Option<String>,
    /// Version of its prompt.
    pub prompt_version: String,
    /// The model is a demonstration.
    pub demonstration: bool,
    /// When it answered, in ms since the Unix epoch.
    pub answered_at_ms: i64,
    /// Who took the words into the report: the person's name, as DICOM writes names.
    pub by: String,
    /// When, in ms since the Unix epoch.
    pub at_ms: i64,
    /// The sentence is not what the model said: a person changed it, or wrote more into it.
    pub changed: bool,
    /// They were typed or pasted, and not inserted by the command for that.
    pub by_hand: bool,
}

/// A version that another one takes the place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its number.
    pub version: u32,
    /// SHA-256 of it as a JSON document.
    pub digest: Digest,
    /// Where it stands.
    pub standing: Standing,
}

/// A report of one study: a draft, or what a radiologist made of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Study Instance UID.
    pub study: Uid,
    /// Version of the report, from 1.
    pub version: u32,
    /// The version that this one takes the place of.
    pub replaces: Option<Replaced>,
    /// What a radiologist made of it; none for a draft.
    pub review: Option<Review>,
    /// What was read, and how.
    pub kinds: Vec<ImageKind>,
    /// How the images were made, in sentences.
    pub technique: Vec<String>,
    /// What it was compared with, and what changed, in sentences.
    pub comparison: Vec<String>,
    /// The earlier studies that were taken into account, the most alike first.
    pub priors: Vec<Prior>,
    /// The findings, in the vocabulary's order, then by side.
    pub findings: Vec<Finding>,
    /// The findings in words.
    pub findings_text: Vec<Sentence>,
    /// The impression in words; names no finding that is not in the list.
    pub impression: Vec<Sentence>,
    /// Which sentences have words of a model's answer: those of the findings, then those of the impression, in their order.
    pub inserted: Vec<Inserted>,
    /// How soon a person should look.
    pub urgency: Urgency,
    /// What was not read, with reasons.
    pub unread: Vec<Unread>,
    /// Something that should have been read was not.
    pub partial: bool,
    /// What qualifies the draft, in sentences.
    pub limitations: Vec<String>,
    /// The models that made it.
    pub models: Vec<ModelProvenance>,
    /// What it is, and who answers for it: [`crate::UNSIGNED_DRAFT_STATEMENT`] for a draft.
    pub statement: String,
}

impl Report {
    /// Where this version stands.
    pub fn standing(&self) -> Standing {
        self.review.as_ref().map_or(Standing::Draft, |review| review.standing)
    }

    /// What was decided of the finding of that index; none in a draft.
    pub fn assessment(&self, index: usize) -> Option<&crate::review::Assessment> {
        let assessments = self.review.iter().flat_map(|review| &review.assessments);
        assessments.into_iter().find(|assessment| assessment.finding == u32::try_from(index).ok())
    }
}
