use prelim_proto::finding::{Laterality, Severity, Zone};
use prelim_proto::image::ImageKind;

use super::*;
use crate::engine::request::Cost;
use crate::profile::ReadingProfile;

fn kind(extra: &str) -> KindProfile {
    let text = format!(
        r#"{{ "schema": 1, "prompt_version": "t", "kinds": {{ "xray": {{ "prompt": "?", "images_per_prompt": 2,
            "max_new_tokens": 9, "findings": ["nodule", "mass", "pleural_effusion"], "sides": ["left", "right"],
            "zones": ["upper", "lower"], "severities": ["small"],
            "box": {{ "scale": 1000, "step": 10, "maximum": 990 }} {extra} }} }} }}"#
    );
    ReadingProfile::parse(&text, std::path::Path::new("t")).unwrap().kind(ImageKind::Xray).unwrap().clone()
}

fn image(instance: &str) -> SeenImage {
    SeenImage {
        instance: Uid::parse(instance).unwrap(),
        series: Uid::parse("1.2").unwrap(),
        frame: 1,
        role: ImageRole::Read,
        size: (1000, 500),
        pixel_spacing_mm: Some((0.2, 0.4)),
    }
}

/// An answer of pieces: those with a probability were chosen, `1.0` stands for forced, a negative one for closing.
fn answer(pieces: &[(&str, f32)]) -> Completion {
    let mut text = String::new();
    let mut tokens = Vec::new();
    for (piece, probability) in pieces {
        let start = text.len();
        text += piece;
        let origin = match *probability {
            1.0 => Origin::Forced,
            p if p < 0.0 => Origin::Closing,
            probability => Origin::Chosen { probability, unmasked: probability / 2.0, alternatives: Vec::new() },
        };
        tokens.push(AnswerToken { token: 0, bytes: start..text.len(), origin });
    }
    let closed = pieces.iter().any(|(_, probability)| *probability < 0.0);
    let finish = if closed { Finish::Length } else { Finish::Stop };
    Completion { tokens, text, finish, cost: Cost::default() }
}

#[test]
fn confidence_is_that_the_list_goes_on_and_which_code_comes() {
    let said = answer(&[
        ("{\"findings\":[", 1.0),
        ("{", 0.9),
        ("\"finding\":\"", 1.0),
        ("no", 0.8),
        ("dule\"", 1.0),
        (",\"side\":\"", 0.3),
        ("left\"", 0.2),
        (",\"box\":[", 0.5),
        ("100,200,150,300", 0.1),
        ("]", 1.0),
        ("}", 1.0),
        (",{", 0.6),
        ("\"finding\":\"", 1.0),
        ("mass\"", 0.5),
        ("}", 0.1),
        ("]}", 0.7),
    ]);
    let reading = read_answer(&said, &kind(""), &[image("1.1")]);
    assert!(!reading.truncated);
    let [nodule, mass] = &reading.findings[..] else { panic!("{reading:?}") };
    assert_eq!((nodule.code, nodule.laterality), (FindingCode::Nodule, Some(Laterality::Left)));
    assert!((nodule.confidence - 0.72).abs() < 1e-6);
    assert!((mass.confidence - 0.30).abs() < 1e-6);
    let bounds = nodule.evidence[0].bounds.unwrap();
    assert_eq!(bounds, ImageBox::new(0.1, 0.2, 0.15, 0.3).unwrap());
    assert!((nodule.size_mm.unwrap() - 20.0).abs() < 1e-3, "100 of 1000 of 500 columns of 0.4 mm");
    assert_eq!((mass.evidence[0].bounds, mass.size_mm), (None, None));
}

#[test]
fn a_calibration_is_applied_and_the_unlikely_are_left_out_or_uncertain() {
    let said = answer(&[
        ("{\"findings\":[", 1.0),
        ("{\"finding\":\"mass\"}", 0.5),
        (",{\"finding\":\"nodule\"}", 0.2),
        (",{\"finding\":\"pleural_effusion\"}", 0.9),
        ("]}", 1.0),
    ]);
    let kind = kind(r#", "calibration": [[0.0, 0.0], [1.0, 0.8]], "report_from": 0.2, "uncertain_below": 0.5"#);
    let reading = read_answer(&said, &kind, &[image("1.1")]);
    let found: Vec<_> = reading.findings.iter().map(|f| (f.code, f.presence)).collect();
    assert_eq!(found, [(FindingCode::Mass, Presence::Uncertain), (FindingCode::PleuralEffusion, Presence::Present)]);
    assert!((reading.findings[0].confidence - 0.4).abs() < 1e-6);
}

#[test]
fn what_only_closes_an_answer_is_not_a_finding() {
    let opening = "{\"findings\":[{\"finding\":\"mass\",\"side\":\"left\"";
    let cut_in_box = answer(&[(opening, 0.9), (",\"box\":[100,20", 0.9), ("0,0,0]}]}", -1.0)]);
    let reading = read_answer(&cut_in_box, &kind(""), &[image("1.1")]);
    assert!(reading.truncated);
    assert_eq!(reading.findings.len(), 1);
    assert_eq!(reading.findings[0].laterality, Some(Laterality::Left));
    assert_eq!((reading.findings[0].evidence[0].bounds, reading.boxes_without_area), (None, 0));
    let cut_in_code = answer(&[(opening, 0.9), ("},{\"finding\":\"", 0.9), ("mass\"}]}", -1.0)]);
    assert_eq!(read_answer(&cut_in_code, &kind(""), &[image("1.1")]).findings.len(), 1);
}

#[test]
fn a_box_without_area_leaves_the_finding_without_a_place() {
    for edges in ["[100,200,100,300]", "[300,0,200,10]", "[0,0,0,0]"] {
        let text = format!("{{\"findings\":[{{\"finding\":\"mass\",\"box\":{edges}}}]}}");
        let reading = read_answer(&answer(&[(&text, 0.9)]), &kind(""), &[image("1.1")]);
        assert_eq!(reading.boxes_without_area, 1, "{edges}");
        assert_eq!((reading.findings[0].evidence[0].bounds, reading.findings[0].size_mm), (None, None));
    }
}

#[test]
fn the_same_thing_said_twice_is_one_finding_and_two_nodules_are_two() {
    let nodule = |edges: &str| format!("{{\"finding\":\"nodule\",\"side\":\"left\",\"box\":{edges}}}");
    let (first, same, other) = (nodule("[100,100,200,200]"), nodule("[110,100,200,200]"), nodule("[500,500,600,600]"));
    let said = answer(&[
        ("{\"findings\":[", 1.0),
        (&first, 0.6),
        (&format!(",{same}"), 0.8),
        (&format!(",{other}"), 0.7),
        ("]}", 0.9),
    ]);
    let reading = read_answer(&said, &kind(""), &[image("1.1")]);
    let confidences: Vec<_> = reading.findings.iter().map(|f| f.confidence).collect();
    assert_eq!(confidences, [0.8, 0.7]);
}

#[test]
fn of_several_images_the_number_says_which() {
    let said = answer(&[(
        "{\"findings\":[{\"finding\":\"mass\",\"image\":2,\"zone\":\"upper\",\"severity\":\"small\"},\
         {\"finding\":\"nodule\",\"image\":1}]}",
        0.9,
    )]);
    let mut context = image("1.1");
    context.role = ImageRole::Context;
    let reading = read_answer(&said, &kind(""), &[context, image("1.2")]);
    assert_eq!(reading.findings.len(), 1, "nothing is reported in an image that is only shown");
    let finding = &reading.findings[0];
    assert_eq!(finding.evidence[0].instance.as_str(), "1.2");
    assert_eq!((finding.zone, finding.severity), (Some(Zone::Upper), Some(Severity::Small)));
}
