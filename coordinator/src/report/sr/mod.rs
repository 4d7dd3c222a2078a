//! The draft as a DICOM structured report: Comprehensive 3D SR (PS3.3 section A.35.13), template TID 1500 "Measurement Report"
//! (PS3.16): preliminary and unverified while it is a draft, final and verified once it is signed.
//!
//! # Layout
//! - `tree`: the content tree from its root down to the list of findings
//! - `group`: one finding as measurement groups (TID 1410, 1411 or 1501); `read`: such groups read back
//! - `previous`: the earlier studies that were compared

mod group;
mod previous;
pub(crate) mod read;
mod tree;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use prelim_proto::review::Standing;

use super::dicom::element::{Element, sequence, text_element};
use super::dicom::{self, header};
use super::uid::Names;
use super::{ReportError, ReportInputs};

/// Writes the report as a DICOM file in Explicit VR Little Endian.
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    let names = Names::of(inputs)?;
    let identity = header::Identity {
        class: uids::COMPREHENSIVE3_DSR_STORAGE,
        instance: &names.instance,
        series: &names.series,
        modality: "SR",
        series_number: "9900",
        holds: "",
    };
    let mut object = header::of(inputs, &identity);
    for element in document(inputs).into_iter().chain(tree::of(inputs, &names)) {
        object.put(element);
    }
    dicom::file(object)
}

/// The modules of the series and the document (PS3.3 sections C.17.1 and C.17.2).
fn document(inputs: &ReportInputs<'_>) -> Vec<Element> {
    let (date, time) = header::content_time(inputs);
    let standing = inputs.report.standing();
    let is_signed = standing.is_signed();
    let (completion, description) = match standing {
        Standing::Draft => ("PARTIAL", "Unsigned draft by software that is not a medical device"),
        Standing::Rejected => ("PARTIAL", "Draft by software, rejected by a radiologist: not to be used"),
        _ => ("COMPLETE", "Drafted by software, reviewed and signed by a radiologist"),
    };
    let evidence = header::series_references(&header::evidence(inputs.study, inputs.report));
    let mut elements = vec![
        sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()),
        text_element(tags::COMPLETION_FLAG, VR::CS, completion),
        text_element(tags::COMPLETION_FLAG_DESCRIPTION, VR::LO, description),
        text_element(tags::VERIFICATION_FLAG, VR::CS, if is_signed { "VERIFIED" } else { "UNVERIFIED" }),
        text_element(tags::PRELIMINARY_FLAG, VR::CS, if is_signed { "FINAL" } else { "PRELIMINARY" }),
        text_element(tags::CONTENT_DATE, VR::DA, date),
        text_element(tags::CONTENT_TIME, VR::TM, time),
        sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new()),
    ];
    if let Some(review) = inputs.report.review.as_ref().filter(|_| is_signed) {
        elements.push(header::verifying_observer(review));
    }
    elements.extend(inputs.report.review.as_ref().map(|review| header::predecessor(inputs.study, review)));
    elements.extend(header::evidence_sequence(inputs.study, evidence));
    elements
}
