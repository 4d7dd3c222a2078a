use prelim_proto::finding::{Evidence, ImageBox, Laterality, Presence, Severity, Zone};
use prelim_proto::ids::{Tenant, Uid};
use prelim_proto::image::{ImageAttributes, ImageKind};
use prelim_proto::report::Urgency;
use prelim_proto::review::{AddedFinding, EditedFinding};
use prelim_proto::study::{Instance, Priority, Series, StudyAttributes, StudyState};

use super::*;

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

/// A study of one series of one image with two frames.
fn study() -> Study {
    let image = ImageAttributes { rows: 10, columns: 10, frames: 2, ..ImageAttributes::default() };
    let instance = Instance {
        uid: uid("1.2.1.1"),
        sop_class: uid("1.2.840.10008.5.1.4.1.1.1.1"),
        transfer_syntax: uid("1.2.840.10008.1.2.1"),
        digest: prelim_proto::ids::Digest::from_bytes(&[1; 32]),
        size_bytes: 1,
        number: None,
        source_name: None,
        image: Some(image),
    };
    let series = Series {
        uid: uid("1.2.1"),
        modality: "DX".into(),
        description: String::new(),
        number: None,
        instances: vec![instance],
    };
    Study {
        uid: uid("1.2"),
        tenant: Tenant::default(),
        state: StudyState::Drafted,
        state_reason: None,
        priority: Priority::Routine,
        received_at_ms: 0,
        updated_at_ms: 0,
        attributes: StudyAttributes::default(),
        series: vec![series],
        unread: Vec::new(),
        partition_notes: Vec::new(),
        jobs_total: 1,
        jobs_finished: 1,
        cost: Default::default(),
        intake: Default::default(),
    }
}

fn finding(code: FindingCode, laterality: Option<Laterality>) -> Finding {
    let bounds = ImageBox::new(0.1, 0.1, 0.2, 0.2);
    let evidence = Evidence { instance: uid("1.2.1.1"), series: uid("1.2.1"), frame: 1, bounds, confidence: 0.8 };
    Finding {
        code,
        presence: Presence::Present,
        laterality,
        zone: None,
        severity: None,
        size_mm: None,
        confidence: 0.8,
        evidence: vec![evidence],
    }
}

/// A draft with an effusion on the right and a nodule on the left.
fn draft() -> Report {
    let findings = vec![
        finding(FindingCode::PleuralEffusion, Some(Laterality::Right)),
        finding(FindingCode::Nodule, Some(Laterality::Left)),
    ];
    let mut findings_text = merge::findings_text(&findings);
    findings_text[1].text = "A nodule, as the model put it.".to_owned();
    Report {
        study: uid("1.2"),
        version: 1,
        replaces: None,
        review: None,
        kinds: vec![ImageKind::Xray],
        technique: Vec::new(),
        comparison: Vec::new(),
        priors: Vec::new(),
        findings_text,
        impression: merge::impression(&findings, false),
        inserted: Vec::new(),
        urgency: Urgency::Routine,
        findings,
        unread: Vec::new(),
        partial: false,
        limitations: Vec::new(),
        models: Vec::new(),
        statement: String::new(),
    }
}

/// Identifiers of two findings, and of two that are added.
fn tracking() -> Vec<Uid> {
    (1..5).map(|number| uid(&format!("2.25.{number}"))).collect()
}

fn decided(becomes: Becomes) -> EditedFinding {
    EditedFinding { becomes, words: String::new(), reason: String::new() }
}

fn rejected(reason: &str) -> EditedFinding {
    EditedFinding { becomes: Becomes::Nothing, words: String::new(), reason: reason.to_owned() }
}

fn accepting() -> Edit {
    Edit { decisions: vec![decided(Becomes::Same(None)), decided(Becomes::Same(None))], ..Edit::default() }
}

fn decisions(edited: &Edited) -> Vec<(Decision, Option<u32>)> {
    edited.assessments.iter().map(|each| (each.decision, each.finding)).collect()
}

fn words(sentences: &[Sentence]) -> Vec<&str> {
    sentences.iter().map(|sentence| sentence.text.as_str()).collect()
}

#[test]
fn what_is_accepted_stays_as_it_is_with_its_words() {
    let report = draft();
    let edited = apply(&report, &tracking(), &study(), &accepting()).unwrap();
    assert!(!edited.is_changed);
    assert_eq!(edited.findings, report.findings);
    assert_eq!(edited.findings_text, report.findings_text);
    assert_eq!(edited.impression, report.impression);
    assert_eq!(decisions(&edited), [(Decision::Accepted, Some(0)), (Decision::Accepted, Some(1))]);
}

#[test]
fn words_and_structure_stay_in_step() {
    let report = draft();
    let smaller = Finding { severity: Some(Severity::Small), ..report.findings[0].clone() };
    let mut edit = accepting();
    edit.decisions = vec![decided(Becomes::Other(Box::new(smaller))), rejected("a nipple")];
    edit.added = vec![
        AddedFinding {
            finding: finding(FindingCode::Fracture, None),
            words: "A rib is broken.".into(),
            reason: String::new(),
        },
        AddedFinding {
            finding: finding(FindingCode::Pneumothorax, Some(Laterality::Left)),
            words: String::new(),
            reason: String::new(),
        },
    ];
    let edited = apply(&report, &tracking(), &study(), &edit).unwrap();
    assert!(edited.is_changed);
    // In the vocabulary's order; each assessment knows where its finding went.
    let codes: Vec<&str> = edited.findings.iter().map(|finding| finding.code.key()).collect();
    assert_eq!(codes, ["pleural_effusion", "pneumothorax", "fracture"]);
    assert_eq!(
        decisions(&edited),
        [
            (Decision::Changed, Some(0)),
            (Decision::Rejected, None),
            (Decision::Added, Some(2)),
            (Decision::Added, Some(1))
        ]
    );
    let tracked: Vec<Uid> = edited.assessments.iter().map(|each| each.tracking.clone()).collect();
    assert_eq!(tracked, tracking());
    assert_eq!(edited.assessments[1].reason, "a nipple");
    assert_eq!(edited.assessments[0].before.as_ref(), Some(&report.findings[0]));
    assert_eq!(
        words(&edited.findings_text),
        ["Small right pleural effusion.", "Left pneumothorax.", "A rib is broken."]
    );
    // The nodule is gone from every sentence.
    assert!(words(&edited.impression).iter().all(|text| !text.contains("nodule")), "{:?}", edited.impression);
    assert!(words(&edited.impression)[0].starts_with("Left pneumothorax."), "{:?}", edited.impression);
    // What a person says is nobody's estimate.
    assert!(edited.findings.iter().all(|finding| finding.confidence == 1.0));
}

#[test]
fn a_reviewers_own_words_stand() {
    let mut edit = accepting();
    edit.decisions[0].words = "  Some fluid on the right. ".to_owned();
    edit.impression = vec!["Fluid.".to_owned(), "   ".to_owned(), "Nodule: CT.".to_owned()];
    let edited = apply(&draft(), &tracking(), &study(), &edit).unwrap();
    assert!(!edited.is_changed);
    assert_eq!(words(&edited.findings_text), ["Some fluid on the right.", "A nodule, as the model put it."]);
    assert_eq!(words(&edited.impression), ["Fluid.", "Nodule: CT."]);
    // Other words are a change, and what the model estimated does not stand with them.
    assert_eq!(decisions(&edited), [(Decision::Changed, Some(0)), (Decision::Accepted, Some(1))]);
    assert_eq!(edited.findings[0].confidence, 1.0);
    assert_eq!(edited.assessments[0].before.as_ref().map(|before| before.confidence), Some(0.8));
    // The draft's own words are none of the reviewer's.
    edit.decisions[0].words = "Right pleural effusion.".to_owned();
    edit.decisions[1].words = " A nodule, as the model put it.".to_owned();
    let edited = apply(&draft(), &tracking(), &study(), &edit).unwrap();
    assert_eq!(decisions(&edited), [(Decision::Accepted, Some(0)), (Decision::Accepted, Some(1))]);
    assert_eq!(edited.findings, draft().findings);
    // Blanks are no words.
    edit.impression = vec!["  ".to_owned()];
    let edited = apply(&draft(), &tracking(), &study(), &edit).unwrap();
    assert_eq!(edited.impression, draft().impression);
}

#[test]
fn a_change_to_the_same_is_no_change() {
    let report = draft();
    let mut edit = accepting();
    // Numbers come back from a document rounded, and with a person's confidence.
    let same = Finding { confidence: 1.0, ..report.findings[0].clone() };
    edit.decisions[0] = decided(Becomes::Other(Box::new(same)));
    let edited = apply(&report, &tracking(), &study(), &edit).unwrap();
    assert_eq!(decisions(&edited)[0], (Decision::Accepted, Some(0)));
    assert_eq!(edited.findings[0], report.findings[0]);
}

#[test]
fn rejecting_everything_leaves_a_report_without_findings() {
    let mut edit = accepting();
    edit.decisions = vec![rejected("an artefact"), rejected("an artefact")];
    let edited = apply(&draft(), &tracking(), &study(), &edit).unwrap();
    assert!(edited.findings.is_empty() && edited.is_changed);
    assert_eq!(words(&edited.impression), ["No finding on the images that were read."]);
    assert_eq!(reject(&draft(), &tracking()).len(), 2);
}

#[test]
fn what_cannot_be_is_refused_and_said() {
    let report = draft();
    let with = |change: &dyn Fn(&mut Finding)| {
        let mut edit = accepting();
        let mut finding = report.findings[0].clone();
        change(&mut finding);
        edit.decisions[0] = decided(Becomes::Other(Box::new(finding)));
        edit
    };
    let mut few = accepting();
    few.decisions.pop();
    let mut forgotten = accepting();
    let other = Finding { laterality: Some(Laterality::Left), ..report.findings[0].clone() };
    forgotten.decisions[0] = decided(Becomes::Same(Some(Box::new(other))));
    let mut unreasoned = accepting();
    unreasoned.decisions[1] = rejected("  ");
    let mut long = accepting();
    long.decisions[1].words = "x".repeat(MAX_TEXT + 1);
    let mut lines = accepting();
    lines.impression = vec!["one\ntwo".to_owned()];
    let mut many = accepting();
    many.impression = vec!["x".to_owned(); 101];
    for (edit, problem) in [
        (few, "1 decisions for 2 findings"),
        (forgotten, "finding 1 is accepted, and is not as the report has it"),
        (with(&|finding| finding.presence = Presence::Absent), "finding 1 is said to be absent"),
        (with(&|finding| finding.size_mm = Some(0.0)), "the size of finding 1 is not above 0"),
        (unreasoned, "finding 2 is rejected without a reason"),
        (long, "finding 2 has 2001 characters"),
        (lines, "U+000A"),
        (many, "101 sentences of the impression, more than 100"),
        (with(&|finding| finding.size_mm = Some(f32::NAN)), "the size of finding 1"),
        (with(&|finding| finding.size_mm = Some(501.0)), "at most 500 mm"),
        (
            with(&|finding| {
                finding.code = FindingCode::Pacemaker;
                finding.severity = Some(Severity::Severe);
            }),
            "has no severity",
        ),
        (
            with(&|finding| {
                finding.code = FindingCode::Pacemaker;
                finding.size_mm = Some(40.0);
            }),
            "has no size",
        ),
        (
            with(&|finding| {
                finding.code = FindingCode::Pacemaker;
                finding.zone = Some(Zone::Lower);
            }),
            "has no part of the lung",
        ),
        (
            with(&|finding| {
                finding.code = FindingCode::Pacemaker;
                finding.laterality = Some(Laterality::Bilateral);
            }),
            "has no such side",
        ),
        (with(&|finding| finding.code = FindingCode::Cardiomegaly), "has no such side"),
        (with(&|finding| finding.code = FindingCode::EndotrachealTube), "has no such side"),
        (with(&|finding| finding.evidence[0].frame = 3), "frame 3 of 2"),
        (with(&|finding| finding.evidence[0].instance = uid("1.9")), "1.9, which is no image"),
        (with(&|finding| finding.evidence = vec![finding.evidence[0].clone(); 300]), "300 images of a finding"),
    ] {
        let error = apply(&report, &tracking(), &study(), &edit).unwrap_err().to_string();
        assert!(error.contains(problem), "{problem}: {error}");
    }
}
