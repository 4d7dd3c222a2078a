//! The FHIR Bundle, as two validators read it.

use prelim_coordinator::report::Format;
use prelim_proto::finding::Presence;
use serde_json::Value;

use crate::samples::{self, Sample};
use crate::tools;

pub(crate) fn bundle(sample: &Sample) -> Value {
    serde_json::from_slice(&sample.write(Format::Fhir)).unwrap()
}

/// The resources of that type, in order.
pub(crate) fn resources<'b>(bundle: &'b Value, kind: &str) -> Vec<&'b Value> {
    let entries = bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
    entries.filter(|resource| resource["resourceType"] == kind).collect()
}

/// Has both validators take the Bundle; as the second reads it.
pub(crate) fn validate(sample: &Sample) -> Value {
    let file = tools::written(sample, Format::Fhir);
    let (valid, said) = tools::node("validate_fhir.mjs", file.path());
    assert!(valid && !said.contains("error:"), "{}: {said}", sample.name);
    serde_json::from_str(&tools::python("read_fhir.py", file.path())).unwrap()
}

#[test]
fn both_validators_take_every_bundle() {
    for sample in samples::all() {
        let read = validate(&sample);
        assert_eq!(read["entry"].as_array().unwrap().len(), 4 + sample.report.findings.len(), "{}", sample.name);
    }
}

#[test]
fn the_validator_of_codes_refuses_what_is_not_written() {
    let wrong = [
        ("/entry/0/resource/status", Value::from("done")),
        ("/entry/0/resource/category", Value::from("RAD")),
        ("/entry/1/resource/gender", Value::from("M")),
        ("/entry/4/resource/component/0/valueQuantityy", Value::from(1)),
    ];
    for (path, value) in wrong {
        let mut changed = bundle(&samples::chest_xray());
        let (parent, member) = path.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[member] = value;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), changed.to_string()).unwrap();
        assert!(!tools::node("validate_fhir.mjs", file.path()).0, "{path}");
    }
}

#[test]
fn every_reference_leads_to_an_entry() {
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Object(members) => members.iter().for_each(|(name, member)| match member {
                Value::String(reference) if name == "reference" => found.push(reference),
                member => references(member, found),
            }),
            _ => {}
        }
    }
    for sample in samples::all() {
        let bundle = bundle(&sample);
        let entries = bundle["entry"].as_array().unwrap();
        let urls: Vec<&str> = entries.iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
        let mut found = Vec::new();
        references(&bundle, &mut found);
        assert!(found.len() >= 4 + 4 * sample.report.findings.len(), "{}: {found:?}", sample.name);
        assert!(found.iter().all(|reference| urls.contains(reference)), "{}: {found:?}", sample.name);
    }
}

#[test]
fn a_finding_is_an_observation() {
    for sample in samples::all() {
        let bundle = bundle(&sample);
        let observations = resources(&bundle, "Observation");
        assert_eq!(observations.len(), sample.report.findings.len());
        for (finding, observation) in sample.report.findings.iter().zip(observations) {
            assert_eq!(observation["code"]["coding"][0]["code"], finding.code.concept().value);
            let interpretation = match finding.presence {
                Presence::Present => "POS",
                Presence::Absent => "NEG",
                Presence::Uncertain => "IND",
            };
            assert_eq!(observation["interpretation"][0]["coding"][0]["code"], interpretation);
            let components = observation["component"].as_array().unwrap();
            let component = |code: &str| components.iter().find(|c| c["code"]["coding"][0]["code"] == code);
            let size = component("103339001").map(|c| c["valueQuantity"].clone());
            assert_eq!(size.is_some(), finding.size_mm.is_some());
            assert!(size.is_none_or(|size| size["code"] == "mm" && size["system"] == "http://unitsofmeasure.org"));
            assert_eq!(component("272741003").is_some(), finding.laterality.is_some());
            let certainty = component("111012").unwrap()["valueQuantity"]["value"].as_f64().unwrap();
            assert!((certainty - f64::from(finding.confidence) * 100.0).abs() < 0.051);
            let seen = observation["extension"].as_array().map_or(0, Vec::len);
            assert_eq!(seen, finding.evidence.len());
        }
    }
}

#[test]
fn the_narrative_is_escaped_and_says_what_it_is() {
    let mut sample = samples::hostile();
    sample.report.impression[0].text = "</div><script>alert(1)</script>".to_owned();
    let bundle = bundle(&sample);
    let report = resources(&bundle, "DiagnosticReport")[0];
    let narrative = report["text"]["div"].as_str().unwrap();
    assert!(narrative.contains("UNSIGNED DRAFT") && narrative.contains(&sample.report.statement));
    assert!(!narrative.contains("<script") && narrative.matches("</div>").count() == 1);
    let extensions = report["extension"].as_array().unwrap();
    let said = |name: &str| extensions.iter().any(|e| e["url"] == format!("urn:prelim:fhir:{name}"));
    assert!(said("unsigned-draft") && said("demonstration") && said("author"));
}

#[test]
fn names_keep_their_groups() {
    let bundle = bundle(&samples::chest_ct());
    let patient = resources(&bundle, "Patient")[0];
    let names: Vec<(&str, &str)> = patient["name"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| (name["extension"][0]["valueCode"].as_str().unwrap(), name["family"].as_str().unwrap()))
        .collect();
    assert_eq!(names, [("ABC", "Yamada"), ("IDE", "山田"), ("SYL", "やまだ")]);
}

#[test]
fn an_earlier_study_is_named_and_what_became_of_a_finding_is_its_component() {
    let bundle = bundle(&samples::compared());
    let report = resources(&bundle, "DiagnosticReport")[0];
    let compared: Vec<&Value> = report["extension"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|extension| extension["url"] == "urn:prelim:fhir:compared-with")
        .map(|extension| &extension["valueReference"])
        .collect();
    assert_eq!(compared.len(), 2);
    assert_eq!(compared[0]["identifier"]["value"], "urn:oid:1.2.826.0.1.3680043.8.498.90");
    assert!(compared[0]["display"].as_str().unwrap().contains("unsigned"));
    let nodule = resources(&bundle, "Observation")[2];
    let change = nodule["component"].as_array().unwrap().iter().find(|c| c["code"]["coding"][0]["code"] == "111424");
    assert_eq!(change.unwrap()["valueCodeableConcept"]["coding"][0]["display"], "Increased");
}
