//! The JSON document and its schema.

use prelim_coordinator::report::{Format, ReportError, json};
use serde_json::Value;

use crate::samples;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/report.schema.json");

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&json::schema()).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn the_committed_schema_is_the_one_the_code_writes() {
    if std::env::var_os("PRELIM_WRITE_GOLDEN").is_some() {
        std::fs::write(COMMITTED, json::schema()).unwrap();
    }
    // As values: the order of keys depends on what else is built with serde_json.
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    assert!(
        value(&committed) == value(&json::schema()),
        "report.schema.json is out of date: run this test with PRELIM_WRITE_GOLDEN=1"
    );
}

#[test]
fn documents_validate_against_the_schema() {
    let validator = validator();
    for sample in samples::all() {
        let document: Value = serde_json::from_slice(&sample.write(Format::Json)).unwrap();
        let problems: Vec<String> =
            validator.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(problems.is_empty(), "{}: {problems:?}", sample.name);
    }
}

#[test]
fn the_schema_refuses_what_the_code_does_not_write() {
    let validator = validator();
    let document: Value = serde_json::from_slice(&samples::compared().write(Format::Json)).unwrap();
    let wrong = [
        ("/report/findings/0/key", Value::from("cold")),
        ("/report/findings/0/laterality", Value::from("middle")),
        ("/report/findings/0/confidence", Value::from(1.5)),
        ("/report/findings/0/evidence/0/box/top", Value::from(-0.1)),
        ("/report/findings/0/evidence/0/instance", Value::from("1..2")),
        ("/report/priors/0/changes/0/change", Value::from("gone")),
        ("/report/priors/0/changes/1/earlier/size_mm", Value::from(-1)),
        ("/report/priors/0/source/kind", Value::from("remembered")),
        ("/report/urgency", Value::from("now")),
        ("/status", Value::from("final")),
        ("/provenance/0/model_digest", Value::from("5A")),
        ("/statement", Value::Null),
    ];
    for (path, value) in wrong {
        let mut changed = document.clone();
        *changed.pointer_mut(path).unwrap() = value;
        assert!(!validator.is_valid(&changed), "{path}");
    }
}

#[test]
fn a_document_reads_back_to_the_report_and_writes_the_same_bytes() {
    for mut sample in samples::all() {
        let bytes = sample.write(Format::Json);
        let document = json::parse(&bytes).unwrap();
        assert_eq!(document.study.patient.name, sample.study.attributes.patient_name);
        let back = document.to_report().unwrap();
        assert_eq!(back.findings.len(), sample.report.findings.len(), "{}", sample.name);
        for (got, want) in back.findings.iter().zip(&sample.report.findings) {
            assert_eq!((got.code, got.laterality, got.zone), (want.code, want.laterality, want.zone));
            assert!((got.confidence - want.confidence).abs() <= 5e-4);
        }
        assert_eq!(back.priors, sample.report.priors, "{}", sample.name);
        sample.report = back;
        assert_eq!(sample.write(Format::Json), bytes, "{}", sample.name);
    }
}

#[test]
fn numbers_are_short() {
    let text = samples::chest_ct().text(Format::Json);
    for number in ["\"size_mm\": 41.3", "\"confidence\": 0.999", "\"top\": 0.62"] {
        assert!(text.contains(number), "{number}");
    }
}

#[test]
fn another_schema_is_refused_by_name() {
    let text = samples::normal().text(Format::Json).replace("urn:prelim:report:1", "urn:prelim:report:7");
    let error = json::parse(text.as_bytes()).unwrap_err();
    assert!(matches!(&error, ReportError::UnknownSchema { found } if found == "urn:prelim:report:7"), "{error}");
}

#[test]
fn a_change_of_a_finding_that_is_not_there_is_refused() {
    let text = samples::compared().text(Format::Json).replace("\"finding\": 3", "\"finding\": 4");
    let error = json::parse(text.as_bytes()).unwrap().to_report().unwrap_err();
    assert!(matches!(error, ReportError::FindingOutOfRange { index: 4, findings: 4 }), "{error}");
}

/// Promise: a draft that was read with an adapter names the model that the adapter changes.
#[test]
fn an_adapter_is_told_with_its_base() {
    let mut sample = samples::chest_ct();
    assert!(!sample.text(Format::Json).contains("\"base\""), "a model by itself");
    sample.report.models[0].base = Some("its-base".to_owned());
    let told = format!("{} on its-base", sample.report.models[0].name);
    for format in [Format::Text, Format::Html, Format::Fhir, Format::Hl7, Format::Sr] {
        let bytes = sample.write(format);
        let words = String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&told), "no {told} in {format}");
    }
    let bytes = sample.write(Format::Json);
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(document["provenance"][0]["base"], "its-base");
    assert!(validator().is_valid(&document));
    let back = json::parse(&bytes).unwrap().to_report().unwrap();
    assert_eq!(back.models, sample.report.models);
}
