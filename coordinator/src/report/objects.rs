//! Which DICOM objects a report can be had as: known from the report itself, before any of them is written.

use dicom_dictionary_std::uids;
use prelim_proto::finding::Presence;
use prelim_proto::report::Report;
use prelim_proto::study::Study;

use super::lookup::Images;
use super::{Format, boxed_frames, capture, frames};

/// The objects, in order of their series. A writer can still find nothing to show: a picture that cannot be drawn any more,
/// or grey values that go through a table.
pub fn objects(report: &Report, study: &Study) -> Vec<Format> {
    let seen = report.findings.iter().filter(|finding| finding.presence != Presence::Absent);
    let has_images = seen.into_iter().any(|finding| !frames(finding).is_empty());
    let images = Images::of(study);
    let is_grey = |uid| images.get(uid).is_some_and(|image| image.attributes.photometric.starts_with("MONOCHROME"));
    let has_boxes = boxed_frames(report).iter().any(|(uid, _)| is_grey(uid));
    let is_there = |format: &Format| match format {
        Format::Capture | Format::KeyObjects => has_images,
        Format::Presentation => has_boxes,
        Format::Assessment => report.review.is_some(),
        _ => true,
    };
    let all =
        [Format::Sr, Format::DicomPdf, Format::Capture, Format::KeyObjects, Format::Presentation, Format::Assessment];
    all.into_iter().filter(is_there).collect()
}

/// SOP Class UID and Modality of a form that is a DICOM object.
pub fn sop_class_and_modality(format: Format) -> Option<(&'static str, &'static str)> {
    match format {
        Format::Sr | Format::Assessment => Some((uids::COMPREHENSIVE3_DSR_STORAGE, "SR")),
        Format::DicomPdf => Some((uids::ENCAPSULATED_PDF_STORAGE, "DOC")),
        Format::Capture => Some((capture::CLASS, "OT")),
        Format::KeyObjects => Some((uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE, "KO")),
        Format::Presentation => Some((uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE, "PR")),
        Format::Json | Format::Html | Format::Text | Format::Fhir | Format::Hl7 | Format::Pdf => None,
    }
}
