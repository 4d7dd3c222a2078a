//! Tables of findings then and now, and what is said of them.

use prelim_proto::comparison::PriorSource;
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::study::StudyAttributes;
use prelim_proto::vocabulary::FindingCode::{self, *};

use super::*;
use crate::priors::Reader;

fn found(code: FindingCode, side: Option<Laterality>, zone: Option<Zone>, size_mm: Option<f32>) -> Finding {
    as_finding(&PriorFinding { code, presence: Presence::Present, laterality: side, zone, severity: None, size_mm })
}

fn with_severity(finding: Finding, severity: Severity) -> Finding {
    Finding { severity: Some(severity), ..finding }
}

fn model(version: &str) -> ModelProvenance {
    ModelProvenance {
        name: "m".into(),
        digest: Digest::from_bytes(&[1; 32]),
        prompt_version: version.into(),
        preprocess_version: "1".into(),
        arithmetic: "cpu f32".into(),
        software_version: "0".into(),
        demonstration: false,
        base: None,
    }
}

fn earlier(kind: ImageKind, then: Option<&[Finding]>) -> Earlier {
    let what = match kind {
        ImageKind::Xray => "chest X-ray",
        ImageKind::Ct => "chest CT",
    };
    Earlier {
        prior: Prior {
            study: Uid::parse("1.2.3").unwrap(),
            date: "20260320".into(),
            time: "081500".into(),
            days_before: 42,
            what: what.into(),
            kinds: vec![kind],
            source: PriorSource::Draft { version: 1, digest: Digest::from_bytes(&[3; 32]), demonstration: false },
            changes: Vec::new(),
        },
        findings: then.map(|findings| findings.iter().map(PriorFinding::from).collect()),
        readers: vec![Reader { model: Digest::from_bytes(&[1; 32]), prompt_version: "1".into() }],
        partial: false,
        words: "Impression: as \"before\".".into(),
    }
}

fn study() -> Study {
    let record = crate::store::conformance::fixture::record_of("9.9");
    let mut study = record.into_study(Vec::new());
    study.attributes = StudyAttributes { patient_id: "4711".into(), ..StudyAttributes::default() };
    study
}

/// What an X-ray study with these findings comes to.
fn xray(findings: &[Finding], partial: bool, compared: &Compared) -> (Vec<String>, Vec<Prior>) {
    let now =
        Now { study: &study(), kinds: &[ImageKind::Xray], findings, partial, models: &[model("1")], is_decided: false };
    compare(&now, compared)
}

fn one(earlier: Earlier) -> Compared {
    Compared { earlier: vec![earlier], ..Compared::default() }
}

const LEFT: Option<Laterality> = Some(Laterality::Left);
const RIGHT: Option<Laterality> = Some(Laterality::Right);

#[test]
fn each_finding_is_told_once_by_what_became_of_it() {
    let then = [
        with_severity(found(PleuralEffusion, LEFT, None, None), Severity::Large),
        found(Nodule, RIGHT, Some(Zone::Upper), Some(12.0)),
        found(Nodule, RIGHT, Some(Zone::Lower), Some(9.0)),
        found(Pacemaker, None, None, None),
        Finding { presence: Presence::Absent, ..found(Pneumothorax, None, None, None) },
        found(Consolidation, LEFT, Some(Zone::Mid), None),
    ];
    let now = [
        with_severity(found(PleuralEffusion, LEFT, None, None), Severity::Small),
        found(Pneumothorax, RIGHT, None, None),
        found(Nodule, RIGHT, Some(Zone::Mid), Some(18.2)),
        found(Nodule, RIGHT, Some(Zone::Lower), Some(9.9)),
        found(Pacemaker, None, None, None),
    ];
    let (sentences, priors) = xray(&now, false, &one(earlier(ImageKind::Xray, Some(&then))));
    assert_eq!(
        sentences,
        [
            "Compared with chest X-ray of 2026-03-20, 42 days before (draft by software, unsigned).",
            "New: right pneumothorax.",
            "Larger or more: right lung nodule, mid zone, 18.2 mm (then upper zone, 12 mm).",
            "Smaller or less: small left pleural effusion (then large).",
            "No longer seen: left consolidation, mid zone.",
            "Unchanged: right lung nodule, lower zone, 9.9 mm (then 9 mm); cardiac pacemaker.",
            "A measured size counts as changed from 20 % and 5 mm of difference on.",
        ]
    );
    let told: Vec<_> = priors[0].changes.iter().map(|change| (change.kind, change.finding)).collect();
    assert_eq!(
        told,
        [
            (ChangeKind::New, Some(1)),
            (ChangeKind::Larger, Some(2)),
            (ChangeKind::Smaller, Some(0)),
            (ChangeKind::NoLongerSeen, None),
            (ChangeKind::Unchanged, Some(3)),
            (ChangeKind::Unchanged, Some(4)),
        ]
    );
    let seen: Vec<_> = priors[0].changes.iter().filter_map(|change| change.prior.as_ref()).map(|f| f.code).collect();
    assert_eq!(seen.len(), then.len() - 1, "an absent finding was none");
}

/// Promise: one thing is matched with one thing, by side and part; sizes that differ within the threshold are unchanged.
#[test]
fn findings_are_paired_by_side_part_and_size() {
    use ChangeKind::*;
    let bilateral = Some(Laterality::Bilateral);
    let nodule = |side, zone, mm| found(FindingCode::Nodule, side, zone, mm);
    let effusion = |side| found(PleuralEffusion, side, None, None);
    for (what, then, now, expected) in [
        ("another side", vec![effusion(LEFT)], vec![effusion(RIGHT)], vec![New, NoLongerSeen]),
        ("both sides now", vec![effusion(LEFT)], vec![effusion(bilateral)], vec![Larger]),
        ("one side left", vec![effusion(bilateral)], vec![effusion(RIGHT)], vec![Smaller]),
        ("both then, each now", vec![effusion(bilateral)], vec![effusion(LEFT), effusion(RIGHT)], vec![New, Smaller]),
        ("side not said", vec![effusion(None)], vec![effusion(LEFT)], vec![Unchanged]),
        (
            "far parts",
            vec![nodule(LEFT, Some(Zone::Upper), None)],
            vec![nodule(LEFT, Some(Zone::Lower), None)],
            vec![New, NoLongerSeen],
        ),
        ("20 % and 4 mm", vec![nodule(LEFT, None, Some(20.0))], vec![nodule(LEFT, None, Some(24.0))], vec![Unchanged]),
        ("5 mm of 40", vec![nodule(LEFT, None, Some(40.0))], vec![nodule(LEFT, None, Some(45.0))], vec![Unchanged]),
        ("8 mm of 40", vec![nodule(LEFT, None, Some(40.0))], vec![nodule(LEFT, None, Some(48.0))], vec![Larger]),
        (
            "a nodule that grew to a mass",
            vec![nodule(LEFT, None, Some(25.0))],
            vec![found(Mass, LEFT, None, Some(40.0))],
            vec![Larger],
        ),
        (
            "the nearer size is the same one",
            vec![nodule(LEFT, None, Some(10.0)), nodule(LEFT, None, Some(28.0))],
            vec![nodule(LEFT, None, Some(29.0)), nodule(LEFT, None, Some(11.0))],
            vec![Unchanged, Unchanged],
        ),
    ] {
        let (_, priors) = xray(&now, false, &one(earlier(ImageKind::Xray, Some(&then))));
        let kinds: Vec<_> = priors[0].changes.iter().map(|change| change.kind).collect();
        assert_eq!(kinds, expected, "{what}");
    }
}

#[test]
fn what_cannot_be_told_is_not_called_a_change() {
    use ChangeKind::{SeenOnlyNow, SeenOnlyThen, Unchanged};
    let then = [found(Nodule, LEFT, None, Some(9.0)), found(Mass, RIGHT, None, Some(50.0))];
    let now = [found(Mass, RIGHT, None, Some(80.0)), found(Cardiomegaly, None, None, None)];
    let kinds = |priors: &[Prior]| priors[0].changes.iter().map(|change| change.kind).collect::<Vec<_>>();

    let (sentences, priors) = xray(&now, false, &one(earlier(ImageKind::Ct, Some(&then))));
    assert_eq!(kinds(&priors), [SeenOnlyNow, SeenOnlyThen, Unchanged]);
    assert!(sentences.iter().any(|s| s.contains("different kinds")), "{sentences:#?}");

    let (sentences, priors) = xray(&now, true, &one(earlier(ImageKind::Xray, Some(&then))));
    assert!(kinds(&priors).contains(&SeenOnlyThen), "part of this study was not read");
    assert!(sentences.iter().any(|s| s.starts_with("This study was not read whole")), "{sentences:#?}");

    let other = Earlier { partial: true, readers: Vec::new(), ..earlier(ImageKind::Xray, Some(&then)) };
    let (sentences, priors) = xray(&now, false, &one(other));
    assert!(kinds(&priors).contains(&SeenOnlyNow));
    assert!(sentences.iter().any(|s| s.contains("another reader")), "{sentences:#?}");
}

#[test]
fn whose_the_findings_are_is_told_where_that_may_make_a_difference() {
    let told = |model: &str, is_decided: bool| {
        let (study, models) = (study(), [self::model(model)]);
        let now = Now {
            study: &study,
            kinds: &[ImageKind::Xray],
            findings: &[],
            partial: false,
            models: &models,
            is_decided,
        };
        let (sentences, _) = compare(&now, &one(earlier(ImageKind::Xray, Some(&[]))));
        sentences.into_iter().filter(|sentence| sentence.contains("readers'")).collect::<Vec<_>>()
    };
    assert_eq!(told("1", false), Vec::<String>::new());
    assert!(told("2", false)[0].contains("another model or prompt"));
    assert!(told("2", true)[0].contains("another model or prompt"));
    // The same model read both, and a person decided on one of them.
    let decided = told("1", true);
    assert!(decided.len() == 1 && decided[0].contains("as a person decided"), "{decided:?}");
    assert!(!decided[0].contains("another model"), "{decided:?}");
}

#[test]
fn the_closest_study_of_the_same_kind_is_compared_and_the_others_are_named() {
    let ct = Earlier {
        prior: Prior { study: Uid::parse("1.2.4").unwrap(), ..earlier(ImageKind::Ct, None).prior },
        ..earlier(ImageKind::Ct, Some(&[]))
    };
    let words = Earlier {
        prior: Prior {
            study: Uid::parse("1.2.5").unwrap(),
            source: PriorSource::Report {
                instance: Uid::parse("1.2.5.1").unwrap(),
                digest: Digest::from_bytes(&[4; 32]),
                verified: true,
            },
            ..earlier(ImageKind::Xray, None).prior
        },
        ..earlier(ImageKind::Xray, None)
    };
    let notes = vec!["Another study was not compared: reason.".to_owned()];
    let all = Compared { earlier: vec![words, ct, earlier(ImageKind::Xray, Some(&[]))], notes, ..Compared::default() };
    let (sentences, priors) = xray(&[], false, &all);
    assert_eq!(
        sentences,
        [
            "Compared with chest X-ray of 2026-03-20, 42 days before (draft by software, unsigned).",
            "No finding on either of them.",
            "At hand, and not compared finding by finding: chest X-ray of 2026-03-20, 42 days before (report of another system, \
             verified). It says: \"Impression: as 'before'.\"",
            "Also at hand, and not compared finding by finding: chest CT of 2026-03-20, 42 days before (draft by software, \
             unsigned).",
            "Another study was not compared: reason.",
        ]
    );
    assert_eq!(priors.len(), 3);
    // How each is taken into account can be told of the report.
    let told: Vec<Taken> = priors.iter().map(|prior| taken(&sentences, prior)).collect();
    assert_eq!(told, [Taken::Words, Taken::Named, Taken::Compared]);
    assert_eq!(xray(&[], false, &Compared::default()).0, ["No earlier study was at hand."]);
}
