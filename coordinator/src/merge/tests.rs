//! Tables of readings and the drafts that they come to.

use prelim_proto::cost::{JobCost, StudyCost};
use prelim_proto::finding::{Evidence, ImageBox, Laterality, Severity};
use prelim_proto::ids::{Digest, JobId, Uid};
use prelim_proto::image::{ImageAttributes, Plane};
use prelim_proto::job::{ImageRef, ImageRole};
use prelim_proto::report::Urgency;
use prelim_proto::study::{Instance, Priority, Series, StudyAttributes, StudyState, UnreadReason};
use prelim_proto::vocabulary::FindingCode::{self, *};

use super::*;

const SLICES: u32 = 12;

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

fn instance(name: &str) -> Instance {
    Instance {
        uid: uid(name),
        sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
        transfer_syntax: uid("1.2.840.10008.1.2.1"),
        digest: Digest::from_bytes(&[1; 32]),
        size_bytes: 1,
        number: None,
        source_name: None,
        image: Some(ImageAttributes { rows: 500, columns: 500, frames: 1, ..ImageAttributes::default() }),
    }
}

/// A study of two views (series 1) and two CT stacks (series 2 and 3) of the same slices.
fn study() -> Study {
    let series = |number: u32, modality: &str, instances: u32| Series {
        uid: uid(&format!("1.{number}")),
        modality: modality.into(),
        description: String::new(),
        number: Some(number as i32),
        instances: (1..=instances).map(|n| instance(&format!("1.{number}.{n}"))).collect(),
    };
    Study {
        uid: uid("1"),
        tenant: Default::default(),
        state: StudyState::Reading,
        state_reason: None,
        priority: Priority::Routine,
        received_at_ms: 0,
        updated_at_ms: 0,
        attributes: StudyAttributes::default(),
        series: vec![series(1, "DX", 2), series(2, "CT", SLICES), series(3, "CT", SLICES)],
        unread: Vec::new(),
        partition_notes: Vec::new(),
        jobs_total: 2,
        jobs_finished: 2,
        cost: StudyCost::default(),
        intake: Default::default(),
    }
}

/// Job `number`: the images of a series from `first` to `last`, CT slices `spacing_mm` apart.
fn job(number: u32, series: u32, first: u32, last: u32, spacing_mm: f64) -> JobSpec {
    let kind = if series == 1 { ImageKind::Xray } else { ImageKind::Ct };
    let image = |n: u32| ImageRef {
        instance: uid(&format!("1.{series}.{n}")),
        series: uid(&format!("1.{series}")),
        frame: 1,
        digest: Digest::from_bytes(&[1; 32]),
        size_bytes: 1,
        role: ImageRole::Read,
        plane: (kind == ImageKind::Ct).then(|| Plane {
            position_mm: [0.0, 0.0, f64::from(n) * spacing_mm],
            row: [1.0, 0.0, 0.0],
            column: [0.0, 1.0, 0.0],
        }),
        pixel_spacing_mm: Some((0.8, 0.8)),
        label: if n == 1 { "PA".into() } else { "lateral".into() },
    };
    JobSpec {
        id: JobId::new(uid("1"), number),
        kind: JobKind::Read(kind),
        images: (first..=last).map(image).collect(),
        body_part: Some("CHEST".into()),
        priority: Priority::Routine,
        demand: Default::default(),
        told: None,
        compared: None,
    }
}

/// A finding on image `image` of series `series`, its box a tenth of the image wide with its left edge at `left`.
fn seen(code: FindingCode, side: Option<Laterality>, series: u32, image: u32, left: f32, confidence: f32) -> Finding {
    Finding {
        code,
        presence: Presence::Present,
        laterality: side,
        zone: None,
        severity: None,
        size_mm: None,
        confidence,
        evidence: vec![Evidence {
            instance: uid(&format!("1.{series}.{image}")),
            series: uid(&format!("1.{series}")),
            frame: 1,
            bounds: ImageBox::new(0.4, left, 0.5, left + 0.1),
            confidence,
        }],
    }
}

fn outcome(findings: Vec<Finding>) -> JobOutcome {
    JobOutcome {
        findings,
        frames_read: 1,
        unread: Vec::new(),
        truncated: false,
        limitations: Vec::new(),
        model: ModelProvenance {
            name: "demo".into(),
            digest: Digest::from_bytes(&[2; 32]),
            prompt_version: "1".into(),
            preprocess_version: "1".into(),
            arithmetic: "cpu f32".into(),
            software_version: "0".into(),
            demonstration: true,
            base: None,
        },
        cost: JobCost::default(),
        answer: None,
    }
}

fn draft(readings: &[(JobSpec, Result<JobOutcome, &str>)]) -> Report {
    let readings: Vec<_> =
        readings.iter().map(|(spec, end)| Reading { spec, end: end.as_ref().map_err(|why| *why) }).collect();
    let Merge::Draft(report) = merge(&study(), &readings, None, &Compared::default()) else { panic!("no draft") };
    let mut reversed = readings.clone();
    reversed.reverse();
    assert_eq!(
        merge(&study(), &reversed, None, &Compared::default()),
        Merge::Draft(report.clone()),
        "the order of jobs makes no difference"
    );
    for sentence in report.findings_text.iter().chain(&report.impression) {
        for (index, finding) in report.findings.iter().enumerate() {
            let named = sentence.text.to_lowercase().contains(finding.code.name());
            assert!(!named || sentence.findings.contains(&(index as u32)) || is_namesake(&report, sentence, finding));
        }
    }
    *report
}

/// Whether a sentence is about another finding of the same code.
fn is_namesake(report: &Report, sentence: &prelim_proto::report::Sentence, finding: &Finding) -> bool {
    sentence.findings.iter().any(|other| report.findings[*other as usize].code == finding.code)
}

/// Findings of one CT stack 5 mm apart, read in two slabs.
fn ct(findings: Vec<Finding>) -> Report {
    let (low, high): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| {
        let name = finding.evidence[0].instance.as_str();
        name.rsplit('.').next().unwrap().parse::<u32>().unwrap() <= 6
    });
    draft(&[(job(0, 2, 1, 6, 5.0), Ok(outcome(low))), (job(1, 2, 7, SLICES, 5.0), Ok(outcome(high)))])
}

fn listed(report: &Report) -> Vec<(FindingCode, Option<Laterality>, usize)> {
    report.findings.iter().map(|finding| (finding.code, finding.laterality, finding.evidence.len())).collect()
}

const LEFT: Option<Laterality> = Some(Laterality::Left);
const RIGHT: Option<Laterality> = Some(Laterality::Right);

#[test]
fn what_neighbouring_slices_show_is_one_finding_also_across_slabs() {
    let report = ct(vec![
        seen(Nodule, LEFT, 2, 5, 0.2, 0.6),
        seen(Nodule, LEFT, 2, 6, 0.22, 0.9),
        // One slice missed, and the slab's border in between.
        seen(Nodule, LEFT, 2, 8, 0.25, 0.7),
    ]);
    assert_eq!(listed(&report), [(Nodule, LEFT, 3)]);
    let found = &report.findings[0];
    assert_eq!(found.evidence[0].instance, uid("1.2.6"), "the surest image first");
    assert!(found.confidence > 0.9 && found.confidence < 0.97, "{}", found.confidence);
    assert_eq!(report.findings_text[0].text, "Left lung nodule.");
    assert_eq!(report.technique, ["CT of the chest, 12 slices."]);
}

#[test]
fn things_in_two_places_are_two_findings_and_a_side_has_one_effusion() {
    let mut findings = Vec::new();
    for slice in [3, 4] {
        findings.push(seen(Nodule, LEFT, 2, slice, 0.1, 0.8));
        findings.push(seen(Nodule, LEFT, 2, slice, 0.4, 0.7));
        findings.push(seen(PleuralEffusion, RIGHT, 2, slice, 0.8, 0.9));
    }
    findings.extend([9, 10].map(|slice| seen(Nodule, LEFT, 2, slice, 0.1, 0.6)));
    findings.extend([9, 10].map(|slice| seen(PleuralEffusion, RIGHT, 2, slice, 0.6, 0.9)));
    let report = ct(findings);
    assert_eq!(listed(&report), [(PleuralEffusion, RIGHT, 4), (Nodule, LEFT, 2), (Nodule, LEFT, 2), (Nodule, LEFT, 2)]);
    assert!(report.findings[1..].is_sorted_by(|a, b| a.confidence >= b.confidence));
}

#[test]
fn a_slip_on_one_slice_is_left_out_and_counted() {
    let alone = |confidence| vec![seen(Nodule, LEFT, 2, 4, 0.2, confidence)];
    let report = ct(alone(0.8));
    assert_eq!(listed(&report), []);
    assert!(report.limitations.iter().any(|text| text.starts_with("One observation on a single slice")));
    assert_eq!(report.impression[0].text, "No finding on the images that were read.");
    // Very sure, or sure where slices are too thick for a neighbour, or the only slice there is.
    assert_eq!(listed(&ct(alone(0.98))), [(Nodule, LEFT, 1)]);
    for (first, last, spacing_mm, confidence) in [(1, SLICES, 10.0, 0.92), (4, 4, 5.0, 0.8)] {
        let report = draft(&[(job(0, 2, first, last, spacing_mm), Ok(outcome(alone(confidence))))]);
        assert_eq!(listed(&report), [(Nodule, LEFT, 1)], "{spacing_mm}");
    }
    let thick = draft(&[(job(0, 2, 1, SLICES, 10.0), Ok(outcome(alone(0.8))))]);
    assert_eq!(listed(&thick), []);
    // Two slices that are not neighbours do not support each other.
    let apart = ct(vec![seen(Pneumothorax, LEFT, 2, 2, 0.2, 0.8), seen(Pneumothorax, LEFT, 2, 9, 0.2, 0.8)]);
    assert_eq!(listed(&apart), []);
}

#[test]
fn two_reconstructions_of_one_place_give_one_finding_and_no_support() {
    let both = |slices: &[u32]| {
        let stack =
            |series: u32| outcome(slices.iter().map(|slice| seen(Nodule, LEFT, series, *slice, 0.2, 0.8)).collect());
        draft(&[(job(0, 2, 1, SLICES, 5.0), Ok(stack(2))), (job(1, 3, 1, SLICES, 5.0), Ok(stack(3)))])
    };
    assert_eq!(listed(&both(&[4, 5])), [(Nodule, LEFT, 4)]);
    assert_eq!(listed(&both(&[4])), []);
}

#[test]
fn coarse_boxes_of_one_nodule_that_miss_each_other_are_one_nodule() {
    let small = |slice, left: f32| {
        let mut finding = seen(Nodule, LEFT, 2, slice, left, 0.9);
        finding.evidence[0].bounds = ImageBox::new(0.40, left, 0.42, left + 0.02);
        finding
    };
    assert_eq!(listed(&ct(vec![small(4, 0.200), small(5, 0.221)])), [(Nodule, LEFT, 2)]);
    // Two that lie well apart stay two, and have no support from each other.
    assert_eq!(listed(&ct(vec![small(4, 0.2), small(5, 0.3)])), []);
}

#[test]
fn a_mass_whose_ends_look_like_nodules_is_one_mass() {
    let sized = |code, slice, size_mm| Finding { size_mm: Some(size_mm), ..seen(code, LEFT, 2, slice, 0.2, 0.8) };
    let report = ct(vec![sized(Nodule, 3, 20.0), sized(Nodule, 4, 28.0), sized(Mass, 5, 41.0), sized(Nodule, 6, 25.0)]);
    assert_eq!(listed(&report), [(Mass, LEFT, 4)]);
    assert_eq!(report.findings_text[0].text, "Left lung mass, 41 mm.");
    // Near 30 mm the model's word counts more than the measure.
    let report = ct(vec![sized(Nodule, 3, 26.0), sized(Nodule, 4, 31.0), sized(Mass, 5, 29.0)]);
    assert_eq!(listed(&report), [(Nodule, LEFT, 3)]);
}

#[test]
fn the_side_of_a_thing_in_one_place_is_that_of_most_weight() {
    let report = ct(vec![
        seen(Consolidation, LEFT, 2, 3, 0.2, 0.9),
        seen(Consolidation, LEFT, 2, 4, 0.2, 0.9),
        seen(Consolidation, RIGHT, 2, 5, 0.2, 0.5),
    ]);
    assert_eq!(listed(&report), [(Consolidation, LEFT, 3)]);
}

#[test]
fn views_of_one_thing_are_joined_and_two_boxes_on_a_view_are_two_things() {
    let views = |findings| draft(&[(job(0, 1, 1, 2, 0.0), Ok(outcome(findings)))]);
    let report = views(vec![
        seen(PleuralEffusion, LEFT, 1, 1, 0.7, 0.9),
        seen(PleuralEffusion, None, 1, 2, 0.2, 0.6),
        seen(Nodule, RIGHT, 1, 1, 0.1, 0.7),
        seen(Nodule, RIGHT, 1, 1, 0.4, 0.6),
        seen(Cardiomegaly, None, 1, 1, 0.4, 0.9),
    ]);
    assert_eq!(
        listed(&report),
        [(PleuralEffusion, LEFT, 2), (Nodule, RIGHT, 1), (Nodule, RIGHT, 1), (Cardiomegaly, None, 1)]
    );
    assert_eq!(report.technique, ["Radiography of the chest, 2 views (PA, lateral)."]);
    assert_eq!(report.findings[3].confidence, 0.9, "one image alone keeps its confidence");
    let both = views(vec![seen(PleuralEffusion, LEFT, 1, 1, 0.7, 0.9), seen(PleuralEffusion, RIGHT, 1, 1, 0.1, 0.9)]);
    assert_eq!(listed(&both), [(PleuralEffusion, LEFT, 1), (PleuralEffusion, RIGHT, 1)]);
}

#[test]
fn the_best_image_is_the_one_that_shows_most_among_the_sure_ones() {
    let mut wide = seen(PleuralEffusion, LEFT, 2, 4, 0.2, 0.88);
    wide.evidence[0].bounds = ImageBox::new(0.1, 0.1, 0.9, 0.5);
    let mut unsure = seen(PleuralEffusion, LEFT, 2, 5, 0.2, 0.5);
    unsure.evidence[0].bounds = ImageBox::new(0.0, 0.0, 1.0, 1.0);
    let mut findings: Vec<_> = (6..=12).map(|slice| seen(PleuralEffusion, LEFT, 2, slice, 0.2, 0.8)).collect();
    findings.extend([seen(PleuralEffusion, LEFT, 2, 3, 0.2, 0.9), wide, unsure]);
    let report = ct(findings);
    let images: Vec<_> = report.findings[0].evidence.iter().map(|e| e.instance.as_str()).collect();
    assert_eq!((images.len(), &images[..2]), (combine::MAX_EVIDENCE, &["1.2.4", "1.2.3"][..]));
}

#[test]
fn the_gravest_finding_sets_the_urgency_and_leads_the_impression() {
    let with = |code, severity| Finding { severity, ..seen(code, LEFT, 1, 1, 0.2, 0.9) };
    for (findings, urgency, first) in [
        (vec![with(Nodule, None), with(Pacemaker, None)], Urgency::Routine, "Left lung nodule."),
        (
            vec![with(PleuralEffusion, Some(Severity::Small)), with(Pneumothorax, Some(Severity::Small))],
            Urgency::Urgent,
            "Small left pneumothorax. Urgent: to be seen the same day.",
        ),
        (
            vec![with(Cardiomegaly, None), with(Pneumothorax, Some(Severity::Large))],
            Urgency::Critical,
            "Large left pneumothorax. Critical: to be seen at once.",
        ),
        (
            vec![with(PleuralEffusion, Some(Severity::Large))],
            Urgency::Urgent,
            "Large left pleural effusion. Urgent: to be seen the same day.",
        ),
    ] {
        let report = draft(&[(job(0, 1, 1, 1, 0.0), Ok(outcome(findings)))]);
        assert_eq!((report.urgency, report.impression[0].text.as_str()), (urgency, first));
    }
}

#[test]
fn uncertain_and_absent_findings_are_said_as_such() {
    let with = |code, presence| Finding { presence, ..seen(code, None, 1, 1, 0.2, 0.4) };
    let report = draft(&[(
        job(0, 1, 1, 1, 0.0),
        Ok(outcome(vec![
            with(Pneumothorax, Presence::Absent),
            with(Fracture, Presence::Uncertain),
            with(Nodule, Presence::Absent),
            seen(Nodule, LEFT, 1, 1, 0.2, 0.9),
        ])),
    )]);
    let texts: Vec<_> = report.findings_text.iter().map(|sentence| sentence.text.as_str()).collect();
    assert_eq!(texts, ["Left lung nodule.", "Possible fracture.", "No pneumothorax."]);
    assert_eq!((report.impression.len(), report.urgency), (2, Urgency::Routine));
}

#[test]
fn a_dead_job_leaves_a_partial_draft_that_names_what_was_not_read() {
    let report = draft(&[
        (job(0, 2, 1, 6, 5.0), Ok(outcome(Vec::new()))),
        (job(1, 2, 7, SLICES, 5.0), Err("the worker ran out of memory")),
    ]);
    assert!(report.partial);
    assert_eq!(report.unread.len(), 6);
    assert_eq!(report.unread[0].reason, UnreadReason::JobDead);
    assert_eq!(report.unread[0].detail, "reading was given up: the worker ran out of memory");
    assert!(
        report
            .limitations
            .contains(&"The draft is partial: 6 images were not read, for the reasons listed.".to_owned())
    );
    assert_eq!(report.impression[0].text, "No finding on the part of the study that was read.");
}

/// Promise: that a model had named nothing when its answer was cut off is never told as "no finding".
#[test]
fn an_answer_that_was_cut_off_finds_nothing_absent() {
    let detail = "the model's answer was cut off at its limit of 5 tokens (max_new_tokens)";
    let unread =
        Unread { instance: uid("1.1.1"), frame: Some(1), reason: UnreadReason::TooLarge, detail: detail.into() };
    let cut = JobOutcome { truncated: true, frames_read: 0, unread: vec![unread], ..outcome(Vec::new()) };
    let report =
        draft(&[(job(0, 2, 1, 6, 5.0), Ok(outcome(Vec::new()))), (job(1, 2, 7, SLICES, 5.0), Ok(cut.clone()))]);
    assert!(report.partial && report.unread.iter().any(|unread| unread.detail == detail), "{:?}", report.unread);
    for said in [&report.impression, &report.findings_text] {
        assert_eq!(
            (said.len(), said[0].text.contains("cut off"), said[0].text.contains("No finding")),
            (1, true, false)
        );
    }
    let spec = job(0, 1, 1, 1, 0.0);
    let alone = merge(&study(), &[Reading { spec: &spec, end: Ok(&cut) }], None, &Compared::default());
    let Merge::NothingRead { reason, .. } = alone else { panic!("a draft of nothing") };
    assert!(reason.contains("cut off at its limit of 5 tokens"), "{reason}");
}

#[test]
fn what_was_given_up_and_then_read_is_not_called_unread() {
    let specs = [job(0, 2, 1, 6, 5.0), job(1, 2, 7, SLICES, 5.0)];
    let outcome = outcome(Vec::new());
    let reading = |end| [Reading { spec: &specs[0], end: Ok(&outcome) }, Reading { spec: &specs[1], end }];
    let Merge::Draft(partial) = merge(&study(), &reading(Err("killed")), None, &Compared::default()) else {
        panic!("no draft")
    };
    assert_eq!(partial.unread.len(), 6);
    // The study's record lists them until the next merge.
    let again = Study { unread: partial.unread, ..study() };
    let before = Replaced { version: 1, digest: Digest::from_bytes(&[3; 32]), standing: Default::default() };
    let Merge::Draft(whole) = merge(&again, &reading(Ok(&outcome)), Some(before.clone()), &Compared::default()) else {
        panic!("no draft")
    };
    assert_eq!((whole.partial, whole.unread), (false, Vec::new()));
    assert_eq!((partial.version, partial.replaces), (1, None));
    assert_eq!((whole.version, whole.replaces), (2, Some(before)));
}

#[test]
fn instances_that_were_announced_and_did_not_come_are_told() {
    let outcome = outcome(Vec::new());
    let spec = job(0, 2, 1, SLICES, 5.0);
    let limitations = |expected: u32| {
        let mut study = study();
        study.intake.expected_instances = Some(expected);
        let reading = [Reading { spec: &spec, end: Ok(&outcome) }];
        let Merge::Draft(draft) = merge(&study, &reading, None, &Compared::default()) else { panic!("no draft") };
        draft.limitations.join("\n")
    };
    let held = 2 + 2 * SLICES;
    let told = format!("announced {} instances of the study, and only {held} were there", held + 1);
    assert!(limitations(held + 1).contains(&told), "{}", limitations(held + 1));
    assert!(!limitations(held).contains("announced"));
}

#[test]
fn with_no_image_read_there_is_no_draft() {
    let corrupt = Unread {
        instance: uid("1.1.1"),
        frame: None,
        reason: UnreadReason::Corrupt,
        detail: "pixel data ends early".into(),
    };
    let nothing = JobOutcome { frames_read: 0, unread: vec![corrupt.clone()], ..outcome(Vec::new()) };
    let spec = job(0, 1, 1, 1, 0.0);
    let got = merge(&study(), &[Reading { spec: &spec, end: Ok(&nothing) }], None, &Compared::default());
    let reason = "no image of the study could be read: pixel data ends early".to_owned();
    assert_eq!(got, Merge::NothingRead { reason, unread: vec![corrupt] });
}

#[test]
fn a_demonstration_says_so_first_and_provenance_is_listed_once() {
    let report = ct(Vec::new());
    assert!(report.limitations[0].contains("demonstration"));
    assert_eq!((report.models.len(), report.kinds.as_slice()), (1, &[ImageKind::Ct][..]));
    assert_eq!(report.statement, UNSIGNED_DRAFT_STATEMENT);
}
