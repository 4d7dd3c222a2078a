//! The HL7 message, as hl7apy reads it.

use prelim_coordinator::report::Format;
use serde_json::Value;

use crate::samples::{self, Sample};
use crate::tools;

/// The segments as hl7apy parses and validates them: names and fields, unescaped.
pub(crate) fn segments(sample: &Sample) -> Vec<Value> {
    let file = tools::written(sample, Format::Hl7);
    serde_json::from_str(&tools::python("read_hl7.py", file.path())).unwrap()
}

pub(crate) fn named<'s>(segments: &'s [Value], name: &str) -> Vec<&'s Value> {
    segments.iter().filter(|segment| segment["name"] == name).map(|segment| &segment["fields"]).collect()
}

#[test]
fn every_message_is_valid_and_has_each_segment_on_a_line_of_bounded_length() {
    for sample in samples::all() {
        let names: Vec<Value> = segments(&sample).iter().map(|segment| segment["name"].clone()).collect();
        assert_eq!(names[..5], ["MSH", "PID", "PV1", "ORC", "OBR"], "{}", sample.name);
        let text = sample.text(Format::Hl7);
        assert_eq!(text.matches('\r').count(), names.len(), "{}: a value made a segment", sample.name);
        assert!(!text.contains(|c: char| c.is_control() && c != '\r'), "{}", sample.name);
        let longest = text.split('\r').map(|segment| segment.chars().count()).max().unwrap();
        assert!(longest < 2_500, "{}: {longest}", sample.name);
        assert_eq!(text.matches("MSH|").count(), 1, "{}", sample.name);
    }
}

#[test]
fn the_header_states_version_type_and_characters() {
    let read = segments(&samples::chest_xray());
    let header = named(&read, "MSH")[0];
    assert_eq!(header["MSH_9"], "ORU^R01^ORU_R01");
    assert_eq!(header["MSH_11"], "T", "a demonstration is for training");
    assert_eq!((&header["MSH_12"], &header["MSH_18"]), (&Value::from("2.5.1"), &Value::from("UNICODE UTF-8")));
    assert_eq!(named(&segments(&samples::chest_ct()), "MSH")[0]["MSH_11"], "P");
}

#[test]
fn delimiters_in_values_are_escaped() {
    let text = samples::flood().text(Format::Hl7);
    assert!(text.contains("\\F\\PID\\R\\2\\S\\\\S\\\\S\\\\T\\\\E\\.br\\E\\ MSH\\F\\"), "{text}");
    let sample = samples::hostile();
    let read = segments(&sample);
    assert_eq!(named(&read, "PID")[0]["PID_3"], "1\\2 [2J^^^^MR");
    assert_eq!(named(&read, "OBR")[0]["OBR_3"], "A-very-long-accession-number &copy;");
}

#[test]
fn names_and_unknown_patients_are_told_apart() {
    let file = samples::chest_ct().text(Format::Hl7);
    assert!(file.contains("|Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P|"), "{file}");
    let unknown = samples::normal().text(Format::Hl7);
    assert!(unknown.contains("PID|1||1.2.826.0.1.3680043.8.498.4^^^^ANON||^^^^^^U|||U\r"), "{unknown}");
    assert!(samples::chest_xray().text(Format::Hl7).contains("|Müller^Jörg^^^Dr.^^L^A|"));
}

#[test]
fn every_finding_is_an_observation_with_its_parts() {
    for sample in samples::all() {
        let read = segments(&sample);
        let results = named(&read, "OBX");
        let of = |part: &str| results.iter().filter(|r| r["OBX_4"] == part).copied().collect::<Vec<_>>();
        for (index, finding) in sample.report.findings.iter().enumerate() {
            let code = format!("{}^", finding.code.concept().value);
            let number = (index + 1).to_string();
            let coded = |r: &&Value| r["OBX_3"].as_str().unwrap().starts_with(&code);
            assert_eq!(of(&number).into_iter().filter(coded).count(), 1, "{}: {code}", sample.name);
            let parts = of(&format!("{number}.1"));
            let size = parts.iter().find(|r| r["OBX_3"] == "103339001^Long Axis^SCT");
            assert_eq!(size.is_some(), finding.size_mm.is_some(), "{}", sample.name);
            assert!(size.is_none_or(|r| r["OBX_6"] == "mm^millimeter^UCUM" && r["OBX_2"] == "NM"));
            assert!(parts.iter().any(|r| r["OBX_3"] == "111012^Certainty of Finding^DCM"));
        }
        // A name with its part is there once.
        let mut keys: Vec<String> = results.iter().map(|r| format!("{} {}", r["OBX_3"], r["OBX_4"])).collect();
        keys.sort();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all, "{}", sample.name);
    }
}
