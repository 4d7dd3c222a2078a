//! The PDF within a DICOM object (PS3.3 section A.45.1).

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use prelim_proto::report::Report;

use crate::report::dicom::element::{Element, code_sequence, empty_element, reference_item, sequence, text_element};
use crate::report::dicom::{self, header};
use crate::report::uid::Names;
use crate::report::{ReportError, ReportInputs, concepts, present};

/// Writes the object.
pub(in crate::report) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    let names = Names::of(inputs)?;
    let pdf = super::document(inputs, &names)?;
    let identity = header::Identity {
        class: uids::ENCAPSULATED_PDF_STORAGE,
        // Pictures can be missing from one writing and not from the next.
        instance: &names.object("pdf", &pdf),
        series: &names.object_series("pdf"),
        modality: "DOC",
        series_number: "9901",
        holds: "PDF",
    };
    let mut object = header::of(inputs, &identity);
    for element in document(inputs, pdf) {
        object.put(element);
    }
    dicom::file(object)
}

/// The modules SC equipment and encapsulated document (PS3.3 sections C.8.6.1 and C.24.2).
fn document(inputs: &ReportInputs<'_>, mut pdf: Vec<u8>) -> Vec<Element> {
    let (date, time) = header::content_time(inputs);
    let verification = if inputs.report.standing().is_signed() { "VERIFIED" } else { "UNVERIFIED" };
    let sources = header::evidence(inputs.study, inputs.report);
    let source = |image: &crate::report::lookup::Image<'_>| {
        reference_item(image.instance.sop_class.as_str(), image.instance.uid.as_str())
    };
    let length = pdf.len() as u32;
    if !pdf.len().is_multiple_of(2) {
        pdf.push(0);
    }
    let mut elements = vec![
        text_element(tags::CONVERSION_TYPE, VR::CS, "WSD"),
        text_element(tags::CONTENT_DATE, VR::DA, date),
        text_element(tags::CONTENT_TIME, VR::TM, time),
        empty_element(tags::ACQUISITION_DATE_TIME, VR::DT),
        // The patient's name is on every page.
        text_element(tags::BURNED_IN_ANNOTATION, VR::CS, "YES"),
        text_element(tags::VERIFICATION_FLAG, VR::CS, verification),
        text_element(tags::DOCUMENT_TITLE, VR::ST, title(inputs.report)),
        code_sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, concepts::DIAGNOSTIC_IMAGING_REPORT),
        text_element(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf"),
        DataElement::new(tags::ENCAPSULATED_DOCUMENT, VR::OB, PrimitiveValue::from(pdf)),
        DataElement::new(tags::ENCAPSULATED_DOCUMENT_LENGTH, VR::UL, PrimitiveValue::from(length)),
    ];
    if !sources.is_empty() {
        elements.push(sequence(tags::SOURCE_INSTANCE_SEQUENCE, sources.iter().map(source).collect()));
    }
    elements
}

fn title(report: &Report) -> String {
    let demonstration = if present::is_demonstration(report) { " (DEMONSTRATION MODEL)" } else { "" };
    let kind = if report.standing().is_signed() { "Radiology" } else { "Draft radiology" };
    format!("{kind} report, version {}: {}{demonstration}", report.version, present::banner(report))
}
