//! The modules around the content (PS3.3 sections C.7, C.12 and C.17).

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use prelim_proto::ids::Uid;
use prelim_proto::report::Report;
use prelim_proto::study::{Study, StudyAttributes};

use super::DataSet;
use super::item::{Element, empty_element, reference_item, sequence, text_element};
use super::uid::Names;
use crate::report::lookup::{Image, Images, images_read};
use crate::report::{ReportInputs, present};

/// Content Date and Content Time must have values. Where the study has none, these say so to everyone who reads them: a clock
/// would make the same draft a different object.
const DATE_UNKNOWN: &str = "19000101";
const TIME_UNKNOWN: &str = "000000";

/// Series Number: past any that a scanner gives.
const SERIES_NUMBER: &str = "9900";

/// Longest value of an LO, in characters.
const LO_CHARS: usize = 64;
/// Longest value of an SH, in characters.
const SH_CHARS: usize = 16;

/// The data set without its content tree.
pub(super) fn of(inputs: &ReportInputs<'_>, names: &Names) -> DataSet {
    let ReportInputs { report, study, .. } = inputs;
    let mut object = DataSet::new_empty();
    let modules = [
        common(names),
        patient(&study.attributes),
        general_study(study),
        series(report, names),
        equipment(report),
        document(study, report),
    ];
    for element in modules.into_iter().flatten().chain(evidence(study, report)) {
        object.put(element);
    }
    object
}

fn common(names: &Names) -> Vec<Element> {
    vec![
        text_element(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text_element(tags::SOP_CLASS_UID, VR::UI, uids::COMPREHENSIVE3_DSR_STORAGE),
        text_element(tags::SOP_INSTANCE_UID, VR::UI, names.instance.as_str()),
    ]
}

fn patient(known: &StudyAttributes) -> Vec<Element> {
    let sex = known.patient_sex.trim();
    vec![
        text_element(tags::PATIENT_NAME, VR::PN, person_name(&known.patient_name)),
        short(tags::PATIENT_ID, VR::LO, &known.patient_id, LO_CHARS),
        dated(tags::PATIENT_BIRTH_DATE, VR::DA, present::valid_date(&known.patient_birth_date)),
        dated(tags::PATIENT_SEX, VR::CS, matches!(sex, "M" | "F" | "O").then(|| sex.to_owned())),
    ]
}

fn general_study(study: &Study) -> Vec<Element> {
    let known = &study.attributes;
    vec![
        text_element(tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str()),
        dated(tags::STUDY_DATE, VR::DA, present::valid_date(&known.study_date)),
        dated(tags::STUDY_TIME, VR::TM, present::valid_time(&known.study_time)),
        text_element(tags::REFERRING_PHYSICIAN_NAME, VR::PN, person_name(&known.referring_physician)),
        short(tags::STUDY_ID, VR::SH, &known.study_id, SH_CHARS),
        short(tags::ACCESSION_NUMBER, VR::SH, &known.accession_number, SH_CHARS),
        short(tags::STUDY_DESCRIPTION, VR::LO, &known.description, LO_CHARS),
    ]
}

fn series(report: &Report, names: &Names) -> Vec<Element> {
    let demonstration = if present::is_demonstration(report) { " (DEMONSTRATION MODEL)" } else { "" };
    let description = format!("UNSIGNED DRAFT - not a medical device{demonstration}");
    vec![
        text_element(tags::MODALITY, VR::CS, "SR"),
        text_element(tags::SERIES_INSTANCE_UID, VR::UI, names.series.as_str()),
        text_element(tags::SERIES_NUMBER, VR::IS, SERIES_NUMBER),
        text_element(tags::SERIES_DESCRIPTION, VR::LO, description),
        sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()),
    ]
}

fn equipment(report: &Report) -> Vec<Element> {
    let mut versions: Vec<&str> = report.models.iter().map(|model| model.software_version.as_str()).collect();
    versions.dedup();
    let version = versions.first().copied().unwrap_or(env!("CARGO_PKG_VERSION"));
    // Software has no serial number. What tells two installations' drafts apart is the weights.
    let serial = report.models.first().map_or("none", |model| &model.digest.as_str()[..16]);
    vec![
        text_element(tags::MANUFACTURER, VR::LO, "prelim"),
        text_element(tags::MANUFACTURER_MODEL_NAME, VR::LO, "prelim"),
        text_element(tags::DEVICE_SERIAL_NUMBER, VR::LO, serial),
        short(tags::SOFTWARE_VERSIONS, VR::LO, version, LO_CHARS),
    ]
}

fn document(study: &Study, report: &Report) -> Vec<Element> {
    let known = &study.attributes;
    let date = present::valid_date(&known.study_date);
    // A time without its date would be a time of the unknown day.
    let time = date.as_ref().and_then(|_| present::valid_time(&known.study_time));
    vec![
        text_element(tags::INSTANCE_NUMBER, VR::IS, report.version.to_string()),
        text_element(tags::COMPLETION_FLAG, VR::CS, "PARTIAL"),
        text_element(
            tags::COMPLETION_FLAG_DESCRIPTION,
            VR::LO,
            "Unsigned draft by software that is not a medical device",
        ),
        text_element(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED"),
        text_element(tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY"),
        text_element(tags::CONTENT_DATE, VR::DA, date.unwrap_or_else(|| DATE_UNKNOWN.to_owned())),
        text_element(tags::CONTENT_TIME, VR::TM, time.unwrap_or_else(|| TIME_UNKNOWN.to_owned())),
        sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new()),
    ]
}

/// All images that the draft rests on: what was read, seen or not, and what the content tree refers to. Nothing where nothing
/// could be read (type 1C).
fn evidence(study: &Study, report: &Report) -> Option<Element> {
    let images = Images::of(study);
    let mut read = images_read(study, report);
    let named = report.findings.iter().flat_map(|finding| &finding.evidence);
    read.extend(named.filter_map(|evidence| images.get(&evidence.instance)));
    read.sort_by_key(|image| (&image.series.uid, &image.instance.uid));
    read.dedup_by_key(|image| &image.instance.uid);

    let series: Vec<DataSet> = read.chunk_by(|a, b| a.series.uid == b.series.uid).map(series_reference).collect();
    let item = DataSet::from_element_iter([
        text_element(tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str()),
        sequence(tags::REFERENCED_SERIES_SEQUENCE, series),
    ]);
    (!read.is_empty()).then(|| sequence(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![item]))
}

fn series_reference(images: &[Image<'_>]) -> DataSet {
    let series: &Uid = &images[0].series.uid;
    let instances = images.iter().map(|image| reference_item(&image.instance.sop_class, &image.instance.uid)).collect();
    DataSet::from_element_iter([
        text_element(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str()),
        sequence(tags::REFERENCED_SOP_SEQUENCE, instances),
    ])
}

fn dated(tag: Tag, vr: VR, value: Option<String>) -> Element {
    value.map_or_else(|| empty_element(tag, vr), |value| text_element(tag, vr, value))
}

/// A text value cut to what its VR takes. A backslash would make it two values.
fn short(tag: Tag, vr: VR, value: &str, chars: usize) -> Element {
    let value: String = present::clean(value).replace('\\', "/").chars().take(chars).collect();
    if value.is_empty() { empty_element(tag, vr) } else { text_element(tag, vr, value) }
}

/// A Person Name within the limits of PS3.5 section 6.2: three groups of at most 64 characters, five components each.
fn person_name(value: &str) -> String {
    let group = |text: &str| -> String {
        let components: Vec<String> =
            text.split('^').take(5).map(|part| present::clean(part).replace('\\', "/")).collect();
        components.join("^").chars().take(LO_CHARS).collect()
    };
    value.split('=').take(3).map(group).collect::<Vec<_>>().join("=")
}
