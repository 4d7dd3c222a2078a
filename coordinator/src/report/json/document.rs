//! The shape of the published document.

use prelim_proto::comparison::ChangeKind;
use prelim_proto::finding::{Laterality, Presence, Severity, Zone};
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::image::ImageKind;
use prelim_proto::question::QuestionKind;
use prelim_proto::report::{Passage, Urgency};
use prelim_proto::review::{Decision, Origin, Standing};
use prelim_proto::study::UnreadReason;
use prelim_proto::vocabulary::FindingCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;

/// A report of one study: a draft, or what a radiologist made of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Which schema the document follows: "urn:prelim:report:1".
    pub schema: String,
    /// Where the report stands.
    #[schemars(schema_with = "words::standing")]
    pub status: Standing,
    /// Made by a demonstration model, which is not for clinical use.
    pub demonstration: bool,
    /// What it is: an unsigned draft by software that is not a medical device, or who answers for it.
    pub statement: String,
    /// Which study of which patient.
    pub study: StudyIdentification,
    /// What a radiologist made of it; absent from a draft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Reviewed")]
    pub review: Option<Reviewed>,
    /// What the report says.
    pub report: Body,
    /// The models that made it. Equal images and equal provenance give equal documents.
    pub provenance: Vec<Provenance>,
}

/// What a radiologist made of a report. What was reviewed is the version that `report.replaces` names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reviewed {
    /// The name by which the site knows the reviewer.
    pub reviewer_id: String,
    /// The reviewer's name, with DICOM's separators.
    pub reviewer: String,
    /// The organisation that the reviewer signs for.
    pub organization: String,
    /// When, in ms since the Unix epoch.
    pub at_ms: i64,
    /// Why, for amended and rejected reports; empty for signed ones.
    pub reason: String,
    /// The DICOM structured report of the version that was reviewed.
    pub document: StructuredReport,
    /// What was decided of each finding of that version, in its order, then what was added.
    pub assessments: Vec<Assessed>,
    /// Where the words of each sentence are from, in the order of the report; absent from what was rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<WordsFrom>,
}

/// Where the words of a sentence are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WordsFrom {
    /// The text: `report.findings_text` or `report.impression`.
    #[schemars(schema_with = "words::passage")]
    pub passage: Passage,
    /// The sentence: index into that text, from 0.
    pub sentence: u32,
    /// Where its words are from: a draft, of the models; the reviewer's decisions on findings, put in words by software; a model's
    /// answer, which `report.inserted` names; a person, who typed or pasted them.
    #[schemars(schema_with = "words::origin")]
    pub origin: Origin,
    /// Version of the report in which they were first so.
    #[schemars(range(min = 1))]
    pub version: u32,
    /// Who wrote them or took them from an answer, with DICOM's separators; absent where software made them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// A DICOM structured report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StructuredReport {
    /// Series Instance UID.
    #[schemars(schema_with = "words::uid")]
    pub series: Uid,
    /// SOP Instance UID.
    #[schemars(schema_with = "words::uid")]
    pub instance: Uid,
}

/// What was decided of a finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Assessed {
    /// What was decided.
    #[schemars(schema_with = "words::decision")]
    pub decision: Decision,
    /// Tracking Unique Identifier of the finding: the same in every version that has it, also where it was changed.
    #[schemars(schema_with = "words::uid")]
    pub tracking: Uid,
    /// The finding as it was before; absent for one that was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CodedFinding")]
    pub before: Option<CodedFinding>,
    /// Index into `report.findings`, from 0, where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub finding: Option<u32>,
    /// Why, in the reviewer's words; empty where nothing was said.
    pub reason: String,
}

/// The study and the patient, from the headers of the images; empty where the headers are silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StudyIdentification {
    /// Study Instance UID (0020,000D).
    #[schemars(schema_with = "words::uid")]
    pub uid: Uid,
    /// Accession Number (0008,0050).
    pub accession_number: String,
    /// Study ID (0020,0010).
    pub study_id: String,
    /// Study Date (0008,0020), YYYYMMDD.
    pub date: String,
    /// Study Time (0008,0030), HHMMSS[.FFFFFF].
    pub time: String,
    /// Study Description (0008,1030).
    pub description: String,
    /// Referring Physician's Name (0008,0090).
    pub referring_physician: String,
    /// Institution Name (0008,0080).
    pub institution: String,
    /// The patient.
    pub patient: Patient,
}

/// The patient, from the headers of the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Patient {
    /// Patient ID (0010,0020).
    pub id: String,
    /// Patient's Name (0010,0010), with DICOM's separators.
    pub name: String,
    /// Patient's Birth Date (0010,0030), YYYYMMDD.
    pub birth_date: String,
    /// Patient's Sex (0010,0040).
    pub sex: String,
}

/// What the report says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// Version of the report, from 1.
    #[schemars(range(min = 1))]
    pub version: u32,
    /// The version that this one takes the place of: it was reviewed, images came after it, or were read that could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Replaces")]
    pub replaces: Option<Replaces>,
    /// How soon a person should look.
    #[schemars(schema_with = "words::urgency")]
    pub urgency: Urgency,
    /// Something that should have been read was not; see `unread`.
    pub partial: bool,
    /// The kinds of image that were read.
    #[schemars(schema_with = "words::image_kinds")]
    pub kinds: Vec<ImageKind>,
    /// How the images were made, in sentences.
    pub technique: Vec<String>,
    /// What they were compared with, and what changed, in sentences.
    pub comparison: Vec<String>,
    /// The earlier studies that were taken into account, the most alike first. What changed is told of one of them at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priors: Vec<PriorStudy>,
    /// The findings, coded. An empty list says that none of the model's findings was seen, not that the study is normal.
    pub findings: Vec<CodedFinding>,
    /// The findings in words.
    pub findings_text: Vec<Statement>,
    /// The impression in words. It names no finding that is not in `findings`.
    pub impression: Vec<Statement>,
    /// The sentences that have words of a model's answer to a question, which a person took into the report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inserted: Vec<InsertedWords>,
    /// What was received and not read, with reasons.
    pub unread: Vec<NotRead>,
    /// What qualifies the draft, in sentences.
    pub limitations: Vec<String>,
}

/// A version that another one takes the place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replaces {
    /// Its version.
    #[schemars(range(min = 1))]
    pub version: u32,
    /// SHA-256 of it as a JSON document.
    #[schemars(schema_with = "words::digest")]
    pub digest: Digest,
    /// Where it stands; absent for a draft.
    #[serde(default, skip_serializing_if = "Standing::is_draft")]
    #[schemars(schema_with = "words::standing")]
    pub status: Standing,
}

/// An earlier study of the patient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PriorStudy {
    /// Study Instance UID (0020,000D).
    #[schemars(schema_with = "words::uid")]
    pub study: Uid,
    /// Study Date (0008,0020), YYYYMMDD.
    pub date: String,
    /// Study Time (0008,0030), HHMMSS; empty where it is not known.
    pub time: String,
    /// Days before the study that was read.
    pub days_before: u32,
    /// What kind of study it is, for people.
    pub description: String,
    /// The kinds of image that it has.
    #[schemars(schema_with = "words::image_kinds")]
    pub kinds: Vec<ImageKind>,
    /// Where its findings are from. No radiologist has signed a draft.
    pub source: Source,
    /// What changed since.
    pub changes: Vec<Changed>,
}

/// Where the findings of an earlier study are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// A draft by this software, which nobody has signed.
    UnsignedDraft {
        /// Its version.
        #[schemars(range(min = 1))]
        version: u32,
        /// SHA-256 of it as a JSON document.
        #[schemars(schema_with = "words::digest")]
        digest: Digest,
        /// Made by a demonstration model.
        demonstration: bool,
    },
    /// A report that this software drafted and a radiologist signed.
    SignedReport {
        /// Its version.
        #[schemars(range(min = 1))]
        version: u32,
        /// SHA-256 of it as a JSON document.
        #[schemars(schema_with = "words::digest")]
        digest: Digest,
        /// Drafted by a demonstration model.
        demonstration: bool,
    },
    /// A report of another system, received as DICOM SR.
    Report {
        /// SOP Instance UID.
        #[schemars(schema_with = "words::uid")]
        instance: Uid,
        /// SHA-256 of the object.
        #[schemars(schema_with = "words::digest")]
        digest: Digest,
        /// Its Verification Flag (0040,A493) is VERIFIED.
        verified: bool,
    },
}

/// What became of a finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// What became of it. Where only one study shows it and that does not say that it came or went, it is seen only now or then.
    #[schemars(schema_with = "words::change_kind")]
    pub change: ChangeKind,
    /// Index into `findings`, from 0, where it is seen now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub finding: Option<u32>,
    /// The finding of the earlier study, where it was seen then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "EarlierFinding")]
    pub earlier: Option<EarlierFinding>,
}

/// A finding of an earlier study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierFinding {
    /// The word for programs.
    #[schemars(schema_with = "words::finding_key")]
    pub key: FindingCode,
    /// Whether it was there.
    #[schemars(schema_with = "words::presence")]
    pub presence: Presence,
    /// The patient's side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "words::laterality")]
    pub laterality: Option<Laterality>,
    /// The part of the lung or chest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "words::zone")]
    pub zone: Option<Zone>,
    /// How much of it there was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "words::severity")]
    pub severity: Option<Severity>,
    /// Largest extent in mm, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0), with = "f64")]
    pub size_mm: Option<f64>,
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CodedFinding {
    /// The word for programs.
    #[schemars(schema_with = "words::finding_key")]
    pub key: FindingCode,
    /// The word for people.
    pub name: String,
    /// The coded concept.
    pub concept: Code,
    /// Whether it is there.
    #[schemars(schema_with = "words::presence")]
    pub presence: Presence,
    /// The patient's side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "words::laterality")]
    pub laterality: Option<Laterality>,
    /// The part of the lung or chest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "words::zone")]
    pub zone: Option<Zone>,
    /// How much of it there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "words::severity")]
    pub severity: Option<Severity>,
    /// Largest extent in mm, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0), with = "f64")]
    pub size_mm: Option<f64>,
    /// How likely the finding is there by the model's own estimate; 1 where a radiologist added or changed it. It is not a
    /// probability of disease.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f64,
    /// Where it was seen; the first is the best to look at.
    pub evidence: Vec<Seen>,
}

/// A coded concept (PS3.3 section 8.8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Code {
    /// Code Value (0008,0100).
    pub value: String,
    /// Coding Scheme Designator (0008,0102).
    pub scheme: String,
    /// Code Meaning (0008,0104).
    pub meaning: String,
}

/// Where a finding was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// SOP Instance UID.
    #[schemars(schema_with = "words::uid")]
    pub instance: Uid,
    /// Series Instance UID.
    #[schemars(schema_with = "words::uid")]
    pub series: Uid,
    /// The frame, from 1.
    #[schemars(range(min = 1))]
    pub frame: u32,
    /// How sure the model was on this frame.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f64,
    /// Where on the frame, where the model said.
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Bounds")]
    pub bounds: Option<Bounds>,
}

/// A rectangle in fractions of the height and width of the frame as stored, from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bounds {
    /// Upper edge.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top: f64,
    /// Left edge.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub left: f64,
    /// Lower edge.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub bottom: f64,
    /// Right edge.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub right: f64,
}

/// A sentence, with the findings that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Statement {
    /// The words.
    pub text: String,
    /// Indices into `findings`, from 0.
    pub findings: Vec<u32>,
}

/// Words of a model's answer to a question that a person took into the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InsertedWords {
    /// The text that has them; absent for the impression.
    #[serde(default, skip_serializing_if = "is_impression")]
    #[schemars(schema_with = "words::passage")]
    pub passage: Passage,
    /// The sentence that has them: index into that text, from 0.
    pub sentence: u32,
    /// What the model was asked for.
    #[schemars(schema_with = "words::question_kind")]
    pub asked: QuestionKind,
    /// The model that answered.
    pub model: String,
    /// The adapter of it that did; absent for the model itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub adapter: Option<String>,
    /// Version of its prompt.
    pub prompt_version: String,
    /// The model is a demonstration.
    pub demonstration: bool,
    /// When it answered, in ms since the Unix epoch.
    pub answered_at_ms: i64,
    /// Who took the words into the report, with DICOM's separators.
    pub by: String,
    /// When, in ms since the Unix epoch.
    pub at_ms: i64,
    /// The sentence is not what the model said: a person changed it, or wrote more into it.
    pub changed: bool,
    /// They were typed or pasted, and not inserted by the command for that. Absent where they were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
}

fn is_impression(passage: &Passage) -> bool {
    *passage == Passage::Impression
}

/// Something that was received and not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotRead {
    /// SOP Instance UID.
    #[schemars(schema_with = "words::uid")]
    pub instance: Uid,
    /// The frame, from 1, where only one frame is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), with = "u32")]
    pub frame: Option<u32>,
    /// The kind of reason, for programs.
    #[schemars(schema_with = "words::unread_reason")]
    pub reason: UnreadReason,
    /// What was found, for people.
    pub detail: String,
}

/// Which model, prompt and preprocessing made a reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// The model's name.
    pub model: String,
    /// SHA-256 over the digests of the model's files, in order of name.
    #[schemars(schema_with = "words::digest")]
    pub model_digest: Digest,
    /// Version of the prompt and the output grammar.
    pub prompt_version: String,
    /// Version of the preprocessing.
    pub preprocess_version: String,
    /// The kind of arithmetic.
    pub arithmetic: String,
    /// Version of prelim.
    pub software_version: String,
    /// The weights are a demonstration.
    pub demonstration: bool,
    /// The name of the model that an adapter changes; absent where a model reads by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub base: Option<String>,
}
