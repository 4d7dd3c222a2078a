//! The modules around the content that all objects of a draft have (PS3.3 sections C.7.1 to C.7.5 and C.12.1).

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use prelim_proto::report::Report;
use prelim_proto::review::Review;
use prelim_proto::study::{Study, StudyAttributes};

use super::DataSet;
use super::element::{
    Element, code_sequence, empty_element, known, long_string, person_name, reference_item, sequence, short_string,
    text_element,
};
use crate::report::lookup::{Image, Images, images_read};
use crate::report::{ReportInputs, concepts, present};

/// Dates and times of an object must have values. Where the study has none, these say so to everyone who reads them: a clock
/// would make the same draft a different object.
const DATE_UNKNOWN: &str = "19000101";
const TIME_UNKNOWN: &str = "000000";

/// What an object is, and to which series it belongs.
#[derive(Debug, Clone, Copy)]
pub(in crate::report) struct Identity<'a> {
    /// SOP Class UID.
    pub(in crate::report) class: &'a str,
    /// SOP Instance UID.
    pub(in crate::report) instance: &'a str,
    /// Series Instance UID.
    pub(in crate::report) series: &'a str,
    /// Modality.
    pub(in crate::report) modality: &'static str,
    /// Series Number: past any that a scanner gives.
    pub(in crate::report) series_number: &'static str,
    /// What the series holds, in a word or two for its description; nothing where the modality says it.
    pub(in crate::report) holds: &'static str,
}

/// A data set with the modules SOP common, patient, general study, series and equipment.
pub(in crate::report) fn of(inputs: &ReportInputs<'_>, identity: &Identity<'_>) -> DataSet {
    let ReportInputs { report, study, .. } = inputs;
    let modules = [
        common(report, identity),
        patient(&study.attributes),
        general_study(study),
        series(report, identity),
        equipment(report),
    ];
    DataSet::from_element_iter(modules.into_iter().flatten())
}

fn common(report: &Report, identity: &Identity<'_>) -> Vec<Element> {
    let demonstration = if present::is_demonstration(report) { present::DEMONSTRATION } else { "" };
    let description = present::clean(&format!("{} {demonstration}", report.statement));
    let contribution = DataSet::from_element_iter(equipment(report).into_iter().chain([
        code_sequence(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, concepts::PROCESSING_EQUIPMENT),
        text_element(tags::CONTRIBUTION_DESCRIPTION, VR::ST, description),
    ]));
    vec![
        text_element(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text_element(tags::SOP_CLASS_UID, VR::UI, identity.class),
        text_element(tags::SOP_INSTANCE_UID, VR::UI, identity.instance),
        // Beside what each class asks for: not a product (PS3.3 section C.8.13.2.1.1).
        text_element(tags::CONTENT_QUALIFICATION, VR::CS, "RESEARCH"),
        sequence(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, vec![contribution]),
    ]
}

fn patient(attributes: &StudyAttributes) -> Vec<Element> {
    let sex = attributes.patient_sex.trim();
    vec![
        person_name(tags::PATIENT_NAME, &attributes.patient_name),
        long_string(tags::PATIENT_ID, &attributes.patient_id),
        known(tags::PATIENT_BIRTH_DATE, VR::DA, present::valid_date(&attributes.patient_birth_date)),
        known(tags::PATIENT_SEX, VR::CS, matches!(sex, "M" | "F" | "O").then(|| sex.to_owned())),
    ]
}

fn general_study(study: &Study) -> Vec<Element> {
    let attributes = &study.attributes;
    vec![
        text_element(tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str()),
        known(tags::STUDY_DATE, VR::DA, present::valid_date(&attributes.study_date)),
        known(tags::STUDY_TIME, VR::TM, present::valid_time(&attributes.study_time)),
        person_name(tags::REFERRING_PHYSICIAN_NAME, &attributes.referring_physician),
        short_string(tags::STUDY_ID, &attributes.study_id),
        short_string(tags::ACCESSION_NUMBER, &attributes.accession_number),
        long_string(tags::STUDY_DESCRIPTION, &attributes.description),
    ]
}

fn series(report: &Report, identity: &Identity<'_>) -> Vec<Element> {
    let kind = present::kind_of_report(report.standing());
    let software = if report.standing().is_signed() { "drafted by software" } else { "not a medical device" };
    let description = match (identity.holds, present::is_demonstration(report)) {
        ("", false) => format!("{kind} - {software}"),
        ("", true) => format!("{kind} - {software} (DEMONSTRATION MODEL)"),
        (holds, false) => format!("{kind} {holds} - {software}"),
        (holds, true) => format!("{kind} {holds} - {software} (DEMONSTRATION)"),
    };
    vec![
        text_element(tags::MODALITY, VR::CS, identity.modality),
        text_element(tags::SERIES_INSTANCE_UID, VR::UI, identity.series),
        text_element(tags::SERIES_NUMBER, VR::IS, identity.series_number),
        long_string(tags::SERIES_DESCRIPTION, &description),
        text_element(tags::INSTANCE_NUMBER, VR::IS, report.version.to_string()),
    ]
}

fn equipment(report: &Report) -> Vec<Element> {
    // Software has no serial number. What tells two installations' drafts apart is the weights.
    let serial = report.models.first().map_or("none", |model| &model.digest.as_str()[..16]);
    vec![
        text_element(tags::MANUFACTURER, VR::LO, "prelim"),
        text_element(tags::MANUFACTURER_MODEL_NAME, VR::LO, "prelim"),
        text_element(tags::DEVICE_SERIAL_NUMBER, VR::LO, serial),
        long_string(tags::SOFTWARE_VERSIONS, present::software_version(report)),
    ]
}

/// Laterality of an image or a presentation state: empty, for its frames may be of either side (type 2C).
pub(in crate::report) fn no_laterality() -> Element {
    empty_element(tags::LATERALITY, VR::CS)
}

/// Date and time of the content where both must have values: of the review, in UTC, or else the study's.
pub(in crate::report) fn content_time(inputs: &ReportInputs<'_>) -> (String, String) {
    let ReportInputs { report, study, .. } = inputs;
    if let Some(review) = &report.review {
        return (timestamp(review, "%Y%m%d"), timestamp(review, "%H%M%S"));
    }
    let date = present::valid_date(&study.attributes.study_date);
    // A time without its date would be a time of the unknown day.
    let time = date.as_ref().and_then(|_| present::valid_time(&study.attributes.study_time));
    (date.unwrap_or_else(|| DATE_UNKNOWN.to_owned()), time.unwrap_or_else(|| TIME_UNKNOWN.to_owned()))
}

/// When a report was reviewed, in UTC.
fn timestamp(review: &Review, format: &str) -> String {
    jiff::Timestamp::from_millisecond(review.at_ms).unwrap_or_default().strftime(format).to_string()
}

/// Verifying Observer Sequence (PS3.3 section C.17.2).
pub(in crate::report) fn verifying_observer(review: &Review) -> Element {
    let item = DataSet::from_element_iter([
        person_name(tags::VERIFYING_OBSERVER_NAME, &review.reviewer.name),
        sequence(tags::VERIFYING_OBSERVER_IDENTIFICATION_CODE_SEQUENCE, Vec::new()),
        long_string(tags::VERIFYING_ORGANIZATION, &review.reviewer.organization),
        text_element(tags::VERIFICATION_DATE_TIME, VR::DT, timestamp(review, "%Y%m%d%H%M%S+0000")),
    ]);
    sequence(tags::VERIFYING_OBSERVER_SEQUENCE, vec![item])
}

/// Predecessor Documents Sequence: the structured report of the version that was reviewed.
pub(in crate::report) fn predecessor(study: &Study, review: &Review) -> Element {
    let document = reference_item(uids::COMPREHENSIVE3_DSR_STORAGE, review.document.instance.as_str());
    let item = DataSet::from_element_iter([
        text_element(tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str()),
        sequence(
            tags::REFERENCED_SERIES_SEQUENCE,
            vec![series_reference(review.document.series.as_str(), vec![document])],
        ),
    ]);
    sequence(tags::PREDECESSOR_DOCUMENTS_SEQUENCE, vec![item])
}

/// All images that the draft rests on, in order of series and instance: what was read, seen or not, and what the findings
/// refer to.
pub(in crate::report) fn evidence<'a>(study: &'a Study, report: &Report) -> Vec<Image<'a>> {
    let images = Images::of(study);
    let mut read = images_read(study, report);
    let named = report.findings.iter().flat_map(|finding| &finding.evidence);
    read.extend(named.filter_map(|evidence| images.get(&evidence.instance)));
    read.sort_by_key(|image| (&image.series.uid, &image.instance.uid));
    read.dedup_by_key(|image| &image.instance.uid);
    read
}

/// One item for each series of `images`, which are in order of series, with references to its images.
pub(in crate::report) fn series_references(images: &[Image<'_>]) -> Vec<DataSet> {
    images
        .chunk_by(|a, b| a.series.uid == b.series.uid)
        .map(|images| {
            let reference =
                |image: &Image<'_>| reference_item(image.instance.sop_class.as_str(), image.instance.uid.as_str());
            series_reference(images[0].series.uid.as_str(), images.iter().map(reference).collect())
        })
        .collect()
}

/// A series with references to some of its instances.
pub(in crate::report) fn series_reference(series: &str, instances: Vec<DataSet>) -> DataSet {
    DataSet::from_element_iter([
        text_element(tags::SERIES_INSTANCE_UID, VR::UI, series),
        sequence(tags::REFERENCED_SOP_SEQUENCE, instances),
    ])
}

/// Current Requested Procedure Evidence Sequence of the study's `series`; nothing where there are none (type 1C).
pub(in crate::report) fn evidence_sequence(study: &Study, series: Vec<DataSet>) -> Option<Element> {
    if series.is_empty() {
        return None;
    }
    let item = DataSet::from_element_iter([
        text_element(tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str()),
        sequence(tags::REFERENCED_SERIES_SEQUENCE, series),
    ]);
    Some(sequence(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![item]))
}
