//! The entries of the Bundle, and the ids by which they refer to each other.

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
    fn of(names: &Names, findings: usize) -> Self {
        let id = |name: &str| names.uuid(&format!("fhir {name}"));
        Self {
            report: id("report"),
            patient: id("patient"),
            study: id("study"),
            device: id("device"),
            reviewer: id("reviewer"),
            observations: (0..findings).map(|index| id(&format!("observation {index}"))).collect(),
        }
    }
}

/// The Bundle, with what is not known as nulls and empty values.
pub(super) fn of(inputs: &ReportInputs<'_>) -> Result<Value, ReportError> {
    let names = Names::of(inputs)?;
    let ids = Ids::of(&names, inputs.report.findings.len());
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
