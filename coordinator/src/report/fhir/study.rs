//! ImagingStudy, Patient, the Device that drafted, and the Practitioner who reviewed.

use prelim_proto::report::Report;
use prelim_proto::review::Review;
use prelim_proto::study::{Instance, Series, Study, StudyAttributes};
use serde_json::{Value, json};

use super::bundle::Ids;
use super::value;
use crate::report::present;
use crate::report::uid::Names;

/// What is said of the software, which is one for all its reports.
const SOFTWARE: &str =
    "Software that is not a medical device. What it drafts counts for nothing before a radiologist signs it.";

/// The patient as the images' headers have them.
pub(super) fn patient(known: &StudyAttributes) -> Value {
    let id = present::clean(&known.patient_id);
    // Who assigned the id is not in the record, so it has no system.
    let kind = value::hl7("v2-0203", "MR", "Medical record number");
    let identifier = (!id.is_empty()).then(|| json!({ "type": kind, "value": id }));
    let gender = match known.patient_sex.trim() {
        "M" => "male",
        "F" => "female",
        "O" => "other",
        _ => "unknown",
    };
    json!({
        "resourceType": "Patient",
        "identifier": [identifier],
        "name": value::human_names(&known.patient_name),
        "gender": gender,
        "birthDate": value::date(&known.patient_birth_date),
    })
}

/// Who reviewed the report. The id is the site's own, which has no system that is known here.
pub(super) fn reviewer(review: &Review) -> Value {
    json!({
        "resourceType": "Practitioner",
        "identifier": [{ "value": present::clean(&review.reviewer.id) }],
        "name": value::human_names(&review.reviewer.name),
    })
}

/// The study, with everything that was received.
pub(super) fn imaging_study(study: &Study, ids: &Ids) -> Value {
    let known = &study.attributes;
    let accession = present::clean(&known.accession_number);
    let kind = value::hl7("v2-0203", "ACSN", "Accession ID");
    let accession = (!accession.is_empty()).then(|| json!({ "type": kind, "value": accession }));
    let referrer = present::person_name(&known.referring_physician);
    let mut modalities: Vec<&str> = study.series.iter().map(|series| modality_code(&series.modality)).collect();
    modalities.sort_unstable();
    modalities.dedup();
    json!({
        "resourceType": "ImagingStudy",
        "identifier": [value::uid(study.uid.as_str()), accession],
        "status": "available",
        "modality": modalities.into_iter().map(modality).collect::<Vec<_>>(),
        "subject": value::reference(&ids.patient),
        "started": value::date(&known.study_date),
        "referrer": { "display": referrer },
        "numberOfSeries": study.series.len(),
        "numberOfInstances": study.series.iter().map(|series| series.instances.len()).sum::<usize>(),
        "description": present::clean(&known.description),
        "series": study.series.iter().map(one_series).collect::<Vec<_>>(),
    })
}

fn one_series(series: &Series) -> Value {
    json!({
        "uid": series.uid.as_str(),
        "number": series.number.filter(|number| *number >= 0),
        "modality": modality(modality_code(&series.modality)),
        "description": present::clean(&series.description),
        "numberOfInstances": series.instances.len(),
        "instance": series.instances.iter().map(instance).collect::<Vec<_>>(),
    })
}

fn instance(instance: &Instance) -> Value {
    json!({
        "uid": instance.uid.as_str(),
        "sopClass": { "system": "urn:ietf:rfc:3986", "code": format!("urn:oid:{}", instance.sop_class) },
        "number": instance.number.filter(|number| *number >= 0),
    })
}

fn modality(code: &str) -> Value {
    json!({ "system": "http://dicom.nema.org/resources/ontology/DCM", "code": code })
}

/// The modality where it is a Code String as DICOM has them; else OT, other.
fn modality_code(modality: &str) -> &str {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    if (1..=16).contains(&modality.len()) && modality.bytes().all(plain) { modality } else { "OT" }
}

/// The software and its models, with everything that a draft depends on.
pub(super) fn device(report: &Report, names: &Names) -> Value {
    let version = |kind: &str, text: &str| json!({ "type": { "text": kind }, "value": present::clean(text) });
    let mut versions = vec![version("software", present::software_version(report))];
    for model in &report.models {
        versions.extend([
            version("model", &present::model(model)),
            version("weights sha256", model.digest.as_str()),
            version("prompt", &model.prompt_version),
            version("preprocessing", &model.preprocess_version),
            version("arithmetic", &model.arithmetic),
        ]);
    }
    let demonstration = present::is_demonstration(report).then(|| json!({ "text": present::DEMONSTRATION }));
    json!({
        "resourceType": "Device",
        "identifier": [value::uid(&names.device)],
        "status": "active",
        "manufacturer": "prelim",
        "deviceName": [{ "name": "prelim", "type": "manufacturer-name" }],
        "type": { "text": "Software that drafts radiology reports" },
        "version": versions,
        "note": [{ "text": SOFTWARE }, demonstration],
    })
}
