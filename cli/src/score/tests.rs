//! Scores of small, known cases.

use prelim_proto::finding::{Evidence, ImageBox};
use prelim_proto::ids::Uid;

use super::*;

fn truth(modality: &str, findings: &str) -> Truth {
    serde_json::from_str(&format!(r#"{{"modality":"{modality}","study":"1.2","findings":{findings}}}"#)).unwrap()
}

fn claim(code: FindingCode, side: Option<Laterality>, edges: [f32; 4], confidence: f32) -> Finding {
    let [top, left, bottom, right] = edges;
    Finding {
        code,
        presence: Presence::Present,
        laterality: side,
        zone: None,
        severity: None,
        size_mm: None,
        confidence,
        evidence: vec![Evidence {
            instance: Uid::parse("1.2.3").unwrap(),
            series: Uid::parse("1.2").unwrap(),
            frame: 1,
            bounds: ImageBox::new(top, left, bottom, right),
            confidence,
        }],
    }
}

const EFFUSION: &str = r#"[{"finding":"pleural_effusion","side":"left","boxes":[{"instance":"1.2.3","frame":1,"box":[0.0,0.0,0.5,0.5]}]}]"#;

#[test]
fn a_perfect_draft_scores_one() {
    let draft = vec![claim(FindingCode::PleuralEffusion, Some(Laterality::Left), [0.0, 0.0, 0.5, 0.5], 1.0)];
    let score = score(&[
        Case { truth: truth("DX", EFFUSION), draft: Some(draft) },
        Case { truth: truth("DX", "[]"), draft: Some(vec![]) },
    ]);
    assert_eq!(score.macro_f1["dx"], 1.0);
    assert_eq!(score.side_accuracy, Some(1.0));
    assert_eq!(score.mean_iou, Some(1.0));
    assert_eq!(score.normal_specificity, Some(1.0));
    assert_eq!(score.ece, Some(0.0));
    assert_eq!(score.parsed, 1.0);
}

#[test]
fn each_kind_of_mistake_costs_its_own_number() {
    let wrong_side = claim(FindingCode::PleuralEffusion, Some(Laterality::Right), [0.5, 0.5, 1.0, 1.0], 0.9);
    let invented = claim(FindingCode::Nodule, None, [0.0, 0.0, 0.1, 0.1], 0.6);
    let score = score(&[
        Case { truth: truth("DX", EFFUSION), draft: Some(vec![wrong_side]) },
        Case { truth: truth("DX", "[]"), draft: Some(vec![invented]) },
        Case { truth: truth("CT", EFFUSION), draft: None },
    ]);
    assert_eq!(score.side_accuracy, Some(0.0));
    assert_eq!(score.mean_iou, Some(0.0));
    assert_eq!(score.normal_specificity, Some(0.0));
    assert_eq!(score.macro_f1["ct"], 0.0);
    assert!((score.parsed - 2.0 / 3.0).abs() < 1e-12);
    assert!(score.confusion.contains(&("none".into(), "nodule".into(), 1)));
    assert!(score.confusion.contains(&("pleural_effusion".into(), "none".into(), 1)));
}

#[test]
fn a_class_that_only_drafts_claim_has_no_part_in_the_mean() {
    let draft = vec![
        claim(FindingCode::PleuralEffusion, Some(Laterality::Left), [0.0, 0.0, 0.5, 0.5], 1.0),
        claim(FindingCode::Mass, None, [0.0, 0.0, 0.5, 0.5], 1.0),
    ];
    let score = score(&[Case { truth: truth("DX", EFFUSION), draft: Some(draft) }]);
    assert_eq!(score.macro_f1["dx"], 1.0);
    assert_eq!(score.by_modality["dx"].classes.len(), 2);
    assert_eq!(score.by_modality["dx"].classes_scored, 1);
}

#[test]
fn classes_are_named_for_people() {
    assert_eq!(class_name("pleural_effusion"), "pleural effusion");
    assert_eq!(class_name("none"), "none");
    let draft = vec![claim(FindingCode::EndotrachealTube, None, [0.0, 0.0, 0.5, 0.5], 1.0)];
    let picture = picture::confusion(&score(&[Case { truth: truth("DX", EFFUSION), draft: Some(draft) }]));
    assert!(picture.contains(">pleural effusion<") && picture.contains(">endotracheal tube<"));
    assert!(!picture.contains('_'));
}
