//! The structured report, as DICOM's own tools read it.

use prelim_coordinator::report::Format;
use prelim_proto::finding::{Evidence, Finding};
use serde_json::Value;

use crate::samples::{self, Sample};
use crate::tools;

/// What highdicom reads, by way of `read_sr.py`.
fn highdicom(sample: &Sample) -> Value {
    let file = tools::written(sample, Format::Sr);
    serde_json::from_str(&tools::python("read_sr.py", file.path())).unwrap()
}

#[test]
fn dciodvfy_finds_no_error() {
    for sample in samples::all() {
        tools::dciodvfy(&sample, Format::Sr, "Comprehensive3DSR");
    }
}

#[test]
fn dsrdump_prints_the_whole_tree() {
    for sample in samples::all() {
        let file = tools::written(&sample, Format::Sr);
        let printed = tools::run("dsrdump", &["+Pl", "+Pc"], file.path());
        assert!(printed.contains("PRELIMINARY") && printed.contains("UNVERIFIED"), "{}: {printed}", sample.name);
        // DCMTK says of every object in UTF-8 that it does not check the characters of its names.
        let warned = |line: &&str| (line.starts_with("W: ") && !line.contains("ISO_IR 192")) || line.starts_with("E: ");
        let warnings: Vec<&str> = printed.lines().filter(warned).collect();
        assert!(warnings.is_empty() && !printed.contains("invalid"), "{}: {warnings:#?}", sample.name);
        let regions = sample.report.findings.iter().flat_map(|f| &f.evidence).filter(|e| e.bounds.is_some()).count();
        assert_eq!(
            printed.matches("SCOORD:(111030,DCM,\"Image Region\")").count(),
            regions,
            "{}: {printed}",
            sample.name
        );
        for sentence in sample.report.impression.iter().chain(&sample.report.findings_text) {
            assert!(printed.contains(&sentence.text), "{}: {}", sample.name, sentence.text);
        }
    }
}

#[test]
fn highdicom_reads_every_finding_back() {
    for sample in samples::all() {
        let read = highdicom(&sample);
        let groups = read["groups"].as_array().unwrap();
        let mut tracked: Vec<&str> = groups.iter().map(|group| group["tracking_uid"].as_str().unwrap()).collect();
        tracked.sort_unstable();
        tracked.dedup();
        assert_eq!(tracked.len(), sample.report.findings.len(), "{}", sample.name);
        for finding in &sample.report.findings {
            let code = finding.code.concept().value;
            let own: Vec<&Value> = groups.iter().filter(|group| group["finding"][0] == code).collect();
            check_finding(&sample, finding, &own);
        }
    }
}

/// The groups of one finding hold its side, its numbers, and every region in pixels.
fn check_finding(sample: &Sample, finding: &Finding, groups: &[&Value]) {
    let context = format!("{} {:?} {groups:#?}", sample.name, finding.code);
    let measured = |name: &str| {
        let all = groups.iter().flat_map(|group| group["measurements"].as_array().unwrap());
        all.clone().find(|m| m[0][0] == name).and_then(|m| m[1].as_f64())
    };
    let certainty = measured("111012").expect("a certainty");
    assert!((certainty - f64::from(finding.confidence) * 100.0).abs() < 0.051, "{context}");
    let size = measured("103339001");
    assert_eq!(size.is_some(), finding.size_mm.is_some(), "{context}");
    let expected_modifiers = usize::from(finding.laterality.is_some()) + usize::from(finding.zone.is_some());
    for group in groups {
        assert_eq!(group["sites"][0]["modifiers"].as_array().unwrap().len(), expected_modifiers, "{context}");
        let evaluations = group["evaluations"].as_array().unwrap();
        assert!(evaluations.iter().any(|e| e[0][0] == "121052"), "{context}");
    }
    let regions: Vec<&Value> = groups.iter().flat_map(|group| group["regions"].as_array().unwrap()).collect();
    let boxed: Vec<&Evidence> = finding.evidence.iter().filter(|evidence| evidence.bounds.is_some()).collect();
    assert_eq!(regions.len(), boxed.len(), "{context}");
    for (region, evidence) in regions.iter().zip(boxed) {
        check_region(sample, region, evidence);
    }
}

fn check_region(sample: &Sample, region: &Value, evidence: &Evidence) {
    let instances = sample.study.series.iter().flat_map(|series| &series.instances);
    let instance = instances.clone().find(|instance| instance.uid == evidence.instance).unwrap();
    let image = instance.image.as_ref().unwrap();
    let bounds = evidence.bounds.unwrap();
    let (rows, columns) = (f64::from(image.rows), f64::from(image.columns));
    let (left, right) = (f64::from(bounds.left) * columns, f64::from(bounds.right) * columns);
    let (top, bottom) = (f64::from(bounds.top) * rows, f64::from(bounds.bottom) * rows);
    let expected = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    for (point, (column, row)) in region["points"].as_array().unwrap().iter().zip(expected) {
        let near = |value: &Value, wanted: f64| (value.as_f64().unwrap() - wanted).abs() < 0.01;
        assert!(near(&point[0], column) && near(&point[1], row), "{}: {region}", sample.name);
    }
    assert_eq!(region["type"], "POLYLINE");
    assert_eq!(region["image"]["instance"], evidence.instance.as_str());
    assert_eq!(region["image"]["class"], instance.sop_class.as_str());
    let frame = if image.frames > 1 { Value::from(evidence.frame) } else { Value::Null };
    assert_eq!(region["image"]["frame"], frame);
}

#[test]
fn a_draft_is_flagged_as_one_and_names_its_evidence() {
    let xray = highdicom(&samples::chest_xray());
    assert_eq!(xray["class"], "Comprehensive 3D SR Storage");
    assert_eq!(xray["flags"], serde_json::json!(["PARTIAL", "UNVERIFIED", "PRELIMINARY"]));
    assert_eq!(xray["series_description"], "UNSIGNED DRAFT - not a medical device (DEMONSTRATION MODEL)");
    assert_eq!(xray["observer"], "121007");
    assert_eq!(xray["patient"], "Müller^Jörg^^Dr.");
    assert_eq!(xray["evidence"].as_array().unwrap().len(), 2);
    let ct = highdicom(&samples::chest_ct());
    assert_eq!(ct["patient"], "Yamada^Tarou=山田^太郎=やまだ^たろう");
    // 40 slices, of which one was corrupt.
    assert_eq!(ct["evidence"].as_array().unwrap().len(), 39);
    let kinds: Vec<&str> = ct["groups"].as_array().unwrap().iter().map(|g| g["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["volumetric", "volumetric"]);
}

#[test]
fn a_report_without_findings_says_so_in_the_standards_words() {
    for (sample, code) in
        [(samples::normal(), "111241"), (samples::nothing_read(), "111245"), (samples::chest_ct(), "111244")]
    {
        assert_eq!(highdicom(&sample)["summary"][0][0], code, "{}", sample.name);
    }
}

#[test]
fn the_tree_says_what_was_not_read_and_by_which_model() {
    let read = highdicom(&samples::chest_ct());
    let texts: Vec<&str> = read["texts"].as_array().unwrap().iter().map(|text| text[1].as_str().unwrap()).collect();
    for expected in ["medgemma-4b-it", "prelim 0.1.0", "prompt findings-1", prelim_proto::UNSIGNED_DRAFT_STATEMENT] {
        assert!(texts.contains(&expected), "{expected} in {texts:#?}");
    }
    assert_eq!(texts.iter().filter(|text| text.starts_with("Not read: ")).count(), 2);
}

/// Promise: what was compared stands where TID 1500 has room for it: what became of a finding in its measurement group, and the
/// earlier study with its findings in a container of its own, whose context names it.
#[test]
fn the_tree_says_what_changed_since_which_study() {
    let sample = samples::compared();
    let read = highdicom(&sample);
    let change = |code: &str| {
        let groups = read["groups"].as_array().unwrap().iter();
        let own = groups.filter(|group| group["finding"][0] == code);
        let each = own.flat_map(|group| group["evaluations"].as_array().unwrap());
        each.filter(|e| e[0][0] == "111424").map(|e| e[1][0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(change("427359005"), ["35105006"], "the nodule grew");
    assert_eq!(change("60046008"), ["1250004"], "the effusion shrank, said once though it is in two groups");
    assert_eq!(change("8186001"), ["7147002"]);
    assert!(change("36118008").is_empty());
    let file = tools::written(&sample, Format::Sr);
    let printed = tools::run("dsrdump", &["+Pl", "+Pc"], file.path());
    for expected in [
        "(121018,DCM,\"Procedure Study Instance UID\")=\"1.2.826.0.1.3680043.8.498.90\"",
        "(111060,DCM,\"Study Date\")=\"20261012\"",
        "(121069,DCM,\"Previous Finding\")=(36118008,SCT,\"Pneumothorax\")",
        "(111424,DCM,\"Comparison to previous studies\")=(272519000,SCT,\"Absent\")",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
}
