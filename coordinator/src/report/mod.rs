//! Report writers: one report, several forms.
//!
//! # Layout
//! - [`json`]: the published document for programs, with its JSON Schema; can be read back
//! - [`html`]: one self-contained page for people, with the key images and the boxes drawn
//! - [`text`]: plain text for terminals and HL7 messages
//! - [`sr`]: a DICOM Comprehensive 3D SR after TID 1500, with image coordinates
//! - `fhir`: a FHIR R4 Bundle with DiagnosticReport and Observations
//! - `hl7`: an HL7 v2.5.1 message, ORU^R01
//! - `pdf`: pages to print or to keep, as PDF/A-2b, and the same as a DICOM Encapsulated PDF
//! - `capture`: DICOM Secondary Capture, the key images with the boxes burned in
//! - `key_objects`: DICOM Key Object Selection, the images of the findings
//! - `assessment`: what a radiologist made of each finding, as a DICOM SR of its own
//! - `presentation`: DICOM Grayscale Softcopy Presentation State, the boxes over the source images
//! - [`present`]: the words that all of them share (names, dates, sides, confidence)
//! - `dicom`: what the DICOM objects share; `concepts`: coded concepts; `uid`: identifiers from content
//! - `markup`: the writer that escapes; `fonts`: glyphs for the forms that are drawn; `picture`: key images and their marks
//! - `lookup`: finding instances in the study record; `objects`: which DICOM objects a draft can be had as
//!
//! **Invariant**: a writer is a pure function: no IO, no clock, no randomness. Equal inputs give equal bytes.
//! **Invariant**: every form carries the report's statement: that it is an unsigned draft, or who answers for it. Where it
//! stands is a matter of the version that is written, never of the study's record: an old draft of a study that was signed
//! since is a draft. Where the model is a demonstration, it is said.
//! **Invariant**: writers add no clinical content. What is said was decided by the merge.
//!
//! Deliberately absent: DICOM Segmentation. Findings have boxes and no masks, and a box is no segmentation of anything.

mod assessment;
mod capture;
mod concepts;
mod dicom;
mod fhir;
mod fonts;
mod hl7;
pub mod html;
pub mod json;
mod key_objects;
mod lookup;
mod markup;
mod objects;
mod pdf;
mod picture;
pub mod present;
mod presentation;
pub mod sr;
pub mod text;
mod uid;

pub(crate) use dicom::IMPLEMENTATION_CLASS_UID;
pub use objects::{objects, sop_class_and_modality};

use std::fmt;
use std::str::FromStr;

use prelim_imaging::photometry::WindowFunction;
use prelim_proto::finding::{Finding, Presence};
use prelim_proto::ids::Uid;
use prelim_proto::report::Report;
use prelim_proto::review::DocumentReference;
use prelim_proto::study::Study;

/// Key images on one page. A page with more is slow to open and no longer an overview; the rest is in the list of evidence.
pub const KEY_IMAGES_MAX: usize = 12;

/// Key images for one finding. Neighbouring slices of a CT show the same thing over and over.
pub const KEY_IMAGES_PER_FINDING_MAX: usize = 3;

/// Whether a Series Description (0008,103E) is one that the DICOM objects of a draft have: by it drafts are known when a PACS
/// sends them back.
pub fn is_of_a_draft(series_description: &str) -> bool {
    let is = |kind: &str, software: &str| series_description.starts_with(kind) && series_description.contains(software);
    is("UNSIGNED DRAFT ", " - not a medical device")
        || is("REJECTED DRAFT ", " - not a medical device")
        || is("SIGNED REPORT ", " - drafted by software")
        || is("AMENDED REPORT ", " - drafted by software")
}

/// Everything that a writer reads.
#[derive(Debug, Clone, Copy)]
pub struct ReportInputs<'a> {
    /// The draft.
    pub report: &'a Report,
    /// The study that was read; every instance of the report's evidence is in it.
    pub study: &'a Study,
    /// Pictures for the forms that show them, best chosen by [`wanted_key_images`]. Others ignore them.
    pub key_images: &'a [KeyImage],
    /// How images are shown, for [`Format::Presentation`]: of the frames of [`boxed_frames`]. Others ignore it.
    pub shadings: &'a [Shading],
}

/// How the stored values of one frame become shades, as its header has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shading {
    /// The instance.
    pub instance: Uid,
    /// The frame, from 1.
    pub frame: u32,
    /// Rescale Slope and Rescale Intercept.
    pub rescale: (f64, f64),
    /// The window, where the header has one.
    pub window: Option<Window>,
}

/// A window of modality values (PS3.3 section C.11.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Window Center (0028,1050).
    pub center: f64,
    /// Window Width (0028,1051).
    pub width: f64,
    /// VOI LUT Function (0028,1056).
    pub function: WindowFunction,
}

/// One frame as a picture, without anything drawn on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyImage {
    /// The instance.
    pub instance: Uid,
    /// The frame, from 1.
    pub frame: u32,
    /// The picture, PNG. It shows the whole frame, so that fractions of the frame are fractions of the picture.
    pub png: Vec<u8>,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// [`json`].
    Json,
    /// [`html`].
    Html,
    /// [`text`].
    Text,
    /// [`sr`].
    Sr,
    /// FHIR R4.
    Fhir,
    /// HL7 v2.5.1.
    Hl7,
    /// PDF.
    Pdf,
    /// DICOM Encapsulated PDF.
    DicomPdf,
    /// DICOM Secondary Capture.
    Capture,
    /// DICOM Key Object Selection.
    KeyObjects,
    /// DICOM Grayscale Softcopy Presentation State.
    Presentation,
    /// DICOM SR: what a radiologist made of each finding.
    Assessment,
}

impl Format {
    /// Every form.
    pub const ALL: [Self; 12] = [
        Self::Json,
        Self::Html,
        Self::Text,
        Self::Sr,
        Self::Fhir,
        Self::Hl7,
        Self::Pdf,
        Self::DicomPdf,
        Self::Capture,
        Self::KeyObjects,
        Self::Presentation,
        Self::Assessment,
    ];

    /// The word by which users ask for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
            Self::Text => "text",
            Self::Sr => "sr",
            Self::Fhir => "fhir",
            Self::Hl7 => "hl7",
            Self::Pdf => "pdf",
            Self::DicomPdf => "dicom-pdf",
            Self::Capture => "sc",
            Self::KeyObjects => "kos",
            Self::Presentation => "gsps",
            Self::Assessment => "assessment",
        }
    }

    /// Whether the form shows [`ReportInputs::key_images`].
    pub fn shows_images(self) -> bool {
        matches!(self, Self::Html | Self::Pdf | Self::DicomPdf | Self::Capture | Self::KeyObjects)
    }

    /// The words of all forms, in a line.
    fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// Media type (RFC 6838).
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
            Self::Sr | Self::DicomPdf | Self::Capture | Self::KeyObjects | Self::Presentation | Self::Assessment => {
                "application/dicom"
            }
            Self::Pdf => "application/pdf",
            Self::Fhir => "application/fhir+json; fhirVersion=4.0",
            // As the HL7 over HTTP specification has it.
            Self::Hl7 => "x-application/hl7-v2+er7; charset=utf-8",
        }
    }

    /// File name extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
            Self::Text => "txt",
            Self::Sr => "dcm",
            Self::Fhir => "fhir.json",
            Self::Hl7 => "hl7",
            Self::Pdf => "pdf",
            Self::DicomPdf => "pdf.dcm",
            Self::Capture => "sc.dcm",
            Self::KeyObjects => "kos.dcm",
            Self::Presentation => "gsps.dcm",
            Self::Assessment => "assessment.dcm",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, ReportError> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| ReportError::UnknownFormat(text.chars().take(40).collect()))
    }
}

/// Why a report was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The caller asked for a form that does not exist.
    #[error("unknown report format {0:?}: {names}", names = Format::names())]
    UnknownFormat(String),
    /// The report and the study do not belong together.
    #[error("report of study {report} beside the record of study {study}")]
    OtherStudy {
        /// The study that the report names.
        report: Uid,
        /// The study that was given.
        study: Uid,
    },
    /// The report names an instance that the study does not hold as an image.
    #[error("evidence in instance {instance}, which is no image of study {study}")]
    EvidenceNotInStudy {
        /// The instance that the evidence names.
        instance: Uid,
        /// The study.
        study: Uid,
    },
    /// A sentence or the reader's document points past the list of findings.
    #[error("reference to finding {index} of {findings}")]
    FindingOutOfRange {
        /// The index, from 0.
        index: u32,
        /// How many findings there are.
        findings: usize,
    },
    /// The document to read back points past the sentences of its impression.
    #[error("reference to sentence {index} of {sentences} of the impression")]
    SentenceOutOfRange {
        /// The index, from 0.
        index: u32,
        /// How many sentences there are.
        sentences: usize,
    },
    /// The document to read back says that it was reviewed and not by whom, or the other way round.
    #[error("report document whose status and review do not agree")]
    Unreviewed,
    /// The document to read back is not JSON of the right shape.
    #[error("report document that does not parse")]
    Document(#[from] serde_json::Error),
    /// The document to read back follows another schema.
    #[error("report document of schema {found:?}; this version reads {}", json::SCHEMA_ID)]
    UnknownSchema {
        /// The schema that the document names.
        found: String,
    },
    /// The form shows images, and there is none to show.
    #[error("the report has nothing to show as {0}: {why}", why = match .0 {
        Format::Assessment => "nobody has reviewed it",
        _ => "no finding of it was seen on an image that can be drawn",
    })]
    NothingToShow(Format),
    /// The PDF could not be made.
    #[error("PDF: {0}")]
    Pdf(String),
    /// The DICOM data set could not be encoded.
    #[error("DICOM encoding of the report")]
    Dicom(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Writes the report in one form.
///
/// Pure: the same inputs give the same bytes. Fails where the report and the study do not belong together.
pub fn write(format: Format, inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    check(inputs)?;
    match format {
        Format::Json => json::write(inputs),
        Format::Html => Ok(html::write(inputs).into_bytes()),
        Format::Text => Ok(text::write(inputs).into_bytes()),
        Format::Sr => sr::write(inputs),
        Format::Fhir => fhir::write(inputs),
        Format::Hl7 => hl7::write(inputs),
        Format::Pdf => pdf::write(inputs),
        Format::DicomPdf => pdf::encapsulated(inputs),
        Format::Capture => capture::write(inputs),
        Format::KeyObjects => key_objects::write(inputs),
        Format::Presentation => presentation::write(inputs),
        Format::Assessment => assessment::write(inputs),
    }
}

/// The identifiers of a report, as [`Format::Sr`] has them.
pub(crate) struct Identifiers {
    /// Series and SOP Instance UID.
    pub(crate) document: DocumentReference,
    /// Tracking Unique Identifier of each finding.
    pub(crate) tracking: Vec<Uid>,
}

/// The identifiers of a report.
pub(crate) fn identifiers(inputs: &ReportInputs<'_>) -> Result<Identifiers, ReportError> {
    let names = uid::Names::of(inputs)?;
    let document = DocumentReference { series: checked(&names.series)?, instance: checked(&names.instance)? };
    Ok(Identifiers { document, tracking: names.tracking.iter().map(|uid| checked(uid)).collect::<Result<_, _>>()? })
}

/// Tracking Unique Identifiers of a report's findings alone.
pub(crate) fn tracking(report: &Report) -> Result<Vec<Uid>, ReportError> {
    uid::tracking(report).iter().map(|uid| checked(uid)).collect()
}

/// Tracking Unique Identifier of the finding that a review adds to that version of a study's report in that place.
pub(crate) fn tracking_of_added(study: &Uid, version: u32, place: usize) -> Result<Uid, ReportError> {
    checked(&uid::added(study.as_str(), version, place))
}

fn checked(uid: &str) -> Result<Uid, ReportError> {
    Uid::parse(uid).map_err(|error| ReportError::Dicom(Box::new(error)))
}

/// The frames to draw for this report, at most [`KEY_IMAGES_MAX`] and without repeats: each finding's best evidence first, then
/// their second best, and so on to [`KEY_IMAGES_PER_FINDING_MAX`]. Absent findings have nothing to show.
pub fn wanted_key_images(report: &Report) -> Vec<(Uid, u32)> {
    let shown: Vec<Vec<(Uid, u32)>> =
        report.findings.iter().filter(|finding| finding.presence != Presence::Absent).map(frames).collect();
    let mut wanted: Vec<(Uid, u32)> = Vec::new();
    for rank in 0..KEY_IMAGES_PER_FINDING_MAX {
        for frame in shown.iter().filter_map(|frames| frames.get(rank)) {
            if !wanted.contains(frame) {
                wanted.push(frame.clone());
            }
        }
    }
    wanted.truncate(KEY_IMAGES_MAX);
    wanted
}

/// The frames with boxes on them, each once, in order of the findings: those whose [`Shading`] a presentation state needs.
pub fn boxed_frames(report: &Report) -> Vec<(Uid, u32)> {
    let mut boxed: Vec<(Uid, u32)> = Vec::new();
    let evidence = report.findings.iter().flat_map(|finding| &finding.evidence);
    for evidence in evidence.filter(|evidence| evidence.bounds.is_some()) {
        let frame = (evidence.instance.clone(), evidence.frame);
        if !boxed.contains(&frame) {
            boxed.push(frame);
        }
    }
    boxed
}

/// The frames that show the finding, best first, each once.
fn frames(finding: &Finding) -> Vec<(Uid, u32)> {
    let mut frames: Vec<(Uid, u32)> = Vec::new();
    for evidence in &finding.evidence {
        let frame = (evidence.instance.clone(), evidence.frame);
        if !frames.contains(&frame) {
            frames.push(frame);
        }
    }
    frames
}

/// What every writer relies on: one study, evidence inside it, sentences that point at findings.
fn check(inputs: &ReportInputs<'_>) -> Result<(), ReportError> {
    let ReportInputs { report, study, .. } = inputs;
    if report.study != study.uid {
        return Err(ReportError::OtherStudy { report: report.study.clone(), study: study.uid.clone() });
    }
    let images = lookup::Images::of(study);
    for evidence in report.findings.iter().flat_map(|finding| &finding.evidence) {
        if images.get(&evidence.instance).is_none() {
            let instance = evidence.instance.clone();
            return Err(ReportError::EvidenceNotInStudy { instance, study: study.uid.clone() });
        }
    }
    let sentences = report.findings_text.iter().chain(&report.impression);
    for index in sentences.flat_map(|sentence| sentence.findings.iter().copied()) {
        if index as usize >= report.findings.len() {
            return Err(ReportError::FindingOutOfRange { index, findings: report.findings.len() });
        }
    }
    Ok(())
}
