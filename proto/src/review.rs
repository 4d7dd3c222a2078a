//! What a radiologist made of a report: what was decided of each finding, and who answers for it.

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::ids::Uid;
use crate::report::Passage;

/// Where a version of a report stands, in the sense of health records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No radiologist has signed it.
    #[default]
    #[serde(rename = "unsigned_draft")]
    Draft,
    /// Signed.
    Signed,
    /// Signed, in the place of one that was signed before.
    Amended,
    /// Refused by a radiologist: it says nothing of the patient.
    Rejected,
}

impl Standing {
    /// Whether nobody has reviewed it.
    pub fn is_draft(&self) -> bool {
        *self == Self::Draft
    }

    /// Whether a radiologist answers for it.
    pub fn is_signed(self) -> bool {
        matches!(self, Self::Signed | Self::Amended)
    }
}

/// Who answers for a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reviewer {
    /// The name by which access knows the person.
    pub id: String,
    /// The person's name, as DICOM writes names (PN): "Family^Given".
    pub name: String,
    /// The organisation that the person signs for.
    pub organization: String,
}

/// A review, as the version of the report that came of it holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// What came of it; never [`Standing::Draft`].
    pub standing: Standing,
    /// Who reviewed.
    pub reviewer: Reviewer,
    /// When, in ms since the Unix epoch.
    pub at_ms: i64,
    /// Why, for amended and rejected reports; empty for signed ones.
    pub reason: String,
    /// The structured report of the version that was reviewed.
    pub document: DocumentReference,
    /// What was decided of each finding of that version, in its order, then what was added.
    pub assessments: Vec<Assessment>,
    /// Where the words of each sentence are from: those of the findings, then those of the impression, in their order.
    pub words: Vec<Wording>,
}

/// Where the words of one sentence of a reviewed report are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wording {
    /// The text that has it.
    pub passage: Passage,
    /// The sentence, as an index into that text.
    pub sentence: u32,
    /// Where its words are from.
    pub origin: Origin,
    /// Version of the report in which they were first so.
    pub version: u32,
    /// The person who wrote them or took them from an answer, as DICOM writes names; empty where nobody did.
    pub by: String,
}

/// Where words are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The draft has them: they say what its models found.
    Draft,
    /// Software made them, of the findings as a person decided them.
    Decisions,
    /// A person took them, or some of them, from a model's answer: see [`crate::report::Report::inserted`].
    Answer,
    /// A person typed or pasted them.
    Person,
}

/// Which DICOM document is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentReference {
    /// Its Series Instance UID.
    pub series: Uid,
    /// Its SOP Instance UID.
    pub instance: Uid,
}

/// What was decided of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It stands as it was, in the words of the draft.
    Accepted,
    /// It stands, with something about it changed, or in a person's words.
    Changed,
    /// It does not stand.
    Rejected,
    /// The reviewer saw it, and the version that was reviewed did not have it.
    Added,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Changed, Self::Rejected, Self::Added];

    /// The decision in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Changed => "changed",
            Self::Rejected => "rejected",
            Self::Added => "added",
        }
    }
}

/// One finding as it was reviewed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// What was decided.
    pub decision: Decision,
    /// Tracking Unique Identifier of the finding: the same in every version that has it, also where it was changed.
    pub tracking: Uid,
    /// The finding as it was before; none for one that was added.
    pub before: Option<Finding>,
    /// Index into the findings of the report, where it stands.
    pub finding: Option<u32>,
    /// Why, in the reviewer's words; empty where nothing was said.
    pub reason: String,
}

/// What a reviewer wants a report to become.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edit {
    /// One for each finding of the version that is reviewed, in its order.
    pub decisions: Vec<EditedFinding>,
    /// What the reviewer saw beside them.
    pub added: Vec<AddedFinding>,
    /// The impression in the reviewer's words, a sentence each; made from the findings where it is empty.
    pub impression: Vec<String>,
}

/// What a finding is to become.
#[derive(Debug, Clone, PartialEq)]
pub enum Becomes {
    /// What it is. A finding beside it must be the same: who changed one and forgot to say so is told.
    Same(Option<Box<Finding>>),
    /// This.
    Other(Box<Finding>),
    /// Nothing: it is not there.
    Nothing,
}

/// What a reviewer wants of a finding that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct EditedFinding {
    /// What it is to be.
    pub becomes: Becomes,
    /// The sentence about it; made from the finding where it is empty.
    pub words: String,
    /// Why.
    pub reason: String,
}

/// A finding that a reviewer adds.
#[derive(Debug, Clone, PartialEq)]
pub struct AddedFinding {
    /// The finding. Its confidence is nobody's estimate, and 1.
    pub finding: Finding,
    /// The sentence about it; made from the finding where it is empty.
    pub words: String,
    /// Why.
    pub reason: String,
}
