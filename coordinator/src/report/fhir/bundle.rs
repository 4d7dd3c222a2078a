//! The entries of the Bundle, and the ids by which they refer to each other.

use prelim_proto::review::Decision;
use serde_json::{Value, json};

use super::{observation, report, study, value};
use crate::report::uid::Names;
use crate::report::{ReportError, ReportInputs};

/// The ids of the entries.
pub(super) struct Ids {
    pub(super) report: String,
    pub(super) patient: String,
    pub(super) study: String,
    pub(super) device: String,
    pub(super) reviewer: String,
    /// One for each finding.
    pub(super) observations: Vec<String>,
}

impl Ids {
    /// What stays the same from version to version stays the same resource, so that a server that is sent the next version of a
    /// report updates what it has.
    fn of(names: &Names, inputs: &ReportInputs<'_>) -> Self {
        let of_study = |kind: &str| Names::lasting(kind, inputs.study.uid.as_str());
        let reviewer = inputs.report.review.as_ref().map(|review| &review.reviewer);
        let reviewer = reviewer.map(|it| format!("{}\n{}", it.id, it.organization)).unwrap_or_default();
        Self {
            report: of_study("fhir report"),
            patient: of_study("fhir patient"),
            study: of_study("fhir study"),
            device: Names::lasting("fhir device", &names.device),
            reviewer: Names::lasting("fhir reviewer", &reviewer),
            observations: names.tracking.iter().map(|uid| Names::lasting("fhir observation", uid)).collect(),
        }
    }
}

/// The Bundle, with what is not known as nulls and empty values.
pub(super) fn of(inputs: &ReportInputs<'_>) -> Result<Value, ReportError> {
    let names = Names::of(inputs)?;
    let ids = Ids::of(&names, inputs);
    let mut entries = vec![
        entry(&ids.report, report::of(inputs, &names, &ids)),
        entry(&ids.patient, study::patient(&inputs.study.attributes)),
        entry(&ids.study, study::imaging_study(inputs.study, &ids)),
        entry(&ids.device, study::device(inputs.report, &names)),
    ];
    if let Some(review) = &inputs.report.review {
        entries.push(entry(&ids.reviewer, study::reviewer(review)));
    }
    for (index, (uid, id)) in names.tracking.iter().zip(&ids.observations).enumerate() {
        entries.push(entry(id, observation::of(inputs, index, uid, &ids)));
    }
    // What a reviewer took out of the report is not left standing in what was sent before.
    for assessment in inputs.report.review.iter().flat_map(|review| &review.assessments) {
        if let (Decision::Rejected, Some(finding)) = (assessment.decision, &assessment.before) {
            let id = Names::lasting("fhir observation", assessment.tracking.as_str());
            entries.push(entry(&id, observation::withdrawn(inputs, finding, assessment, &ids)));
        }
    }
    Ok(json!({
        "resourceType": "Bundle",
        "id": names.uuid("fhir bundle"),
        "type": "collection",
        "entry": entries,
    }))
}

fn entry(id: &str, mut resource: Value) -> Value {
    resource["id"] = id.into();
    json!({ "fullUrl": value::urn(id), "resource": resource })
}
