//! Merges of small, known readings.

use prelim_proto::finding::{Evidence, ImageBox, Laterality};
use prelim_proto::ids::{Digest, JobId, Uid};
use prelim_proto::image::Plane;
use prelim_proto::job::{ImageRef, ImageRole, JobCost};
use prelim_proto::study::{Priority, StudyAttributes, StudyState};

use super::*;

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

fn study() -> Study {
    Study {
        uid: uid("1.2"),
        state: StudyState::Reading,
        state_reason: None,
        priority: Priority::Routine,
        received_at_ms: 0,
        updated_at_ms: 0,
        attributes: StudyAttributes::default(),
        series: Vec::new(),
        unread: Vec::new(),
        partition_notes: Vec::new(),
        jobs_total: 1,
        jobs_finished: 1,
    }
}

/// A CT job over slices `first..last`, 5 mm apart.
fn slab(number: u32, first: u32, last: u32) -> JobSpec {
    let image = |slice: u32| ImageRef {
        instance: uid(&format!("1.2.3.{slice}")),
        series: uid("1.2.3"),
        frame: 1,
        digest: Digest::from_bytes(&[0; 32]),
        size_bytes: 1,
        role: ImageRole::Read,
        plane: Some(Plane {
            position_mm: [0.0, 0.0, f64::from(slice) * 5.0],
            row: [1.0, 0.0, 0.0],
            column: [0.0, 1.0, 0.0],
        }),
        pixel_spacing_mm: Some((1.0, 1.0)),
        label: String::new(),
    };
    JobSpec {
        id: JobId::new(uid("1.2"), number),
        kind: JobKind::Read(ImageKind::Ct),
        images: (first..last).map(image).collect(),
        body_part: Some("CHEST".into()),
        priority: Priority::Routine,
    }
}

fn seen(code: FindingCode, side: Laterality, slice: u32, left: f32, confidence: f32) -> Finding {
    Finding {
        code,
        presence: Presence::Present,
        laterality: Some(side),
        zone: None,
        severity: None,
        size_mm: Some(20.0),
        confidence,
        evidence: vec![Evidence {
            instance: uid(&format!("1.2.3.{slice}")),
            series: uid("1.2.3"),
            frame: 1,
            bounds: ImageBox::new(0.4, left, 0.5, left + 0.1),
            confidence,
        }],
    }
}

fn outcome(findings: Vec<Finding>) -> JobOutcome {
    JobOutcome {
        findings,
        frames_read: 10,
        unread: Vec::new(),
        truncated: false,
        limitations: Vec::new(),
        model: ModelProvenance {
            name: "test model".into(),
            digest: Digest::from_bytes(&[1; 32]),
            prompt_version: "1".into(),
            preprocess_version: "1".into(),
            arithmetic: "cpu f32".into(),
            software_version: "0".into(),
            demonstration: true,
        },
        cost: JobCost::default(),
    }
}

fn draft(readings: &[Reading<'_>]) -> Report {
    match merge(&study(), readings, 1) {
        Merge::Draft(report) => *report,
        Merge::NothingRead(reason) => panic!("no draft: {reason}"),
    }
}

use FindingCode::{Nodule, PleuralEffusion, Pneumothorax};
use Laterality::{Left, Right};

#[test]
fn a_thing_on_neighbouring_slices_is_one_finding() {
    let spec = slab(0, 0, 10);
    let read = outcome(vec![seen(Nodule, Left, 4, 0.6, 0.8), seen(Nodule, Left, 5, 0.61, 0.9), seen(Nodule, Left, 6, 0.6, 0.7)]);
    let report = draft(&[Reading { spec: &spec, end: Ok(&read) }]);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].evidence.len(), 3);
    assert!((report.findings[0].confidence - (0.9 + 0.1 * 0.4)).abs() < 1e-6);
    assert_eq!(report.impression[0].findings, [0]);
}

#[test]
fn nodules_in_two_places_are_two_findings() {
    let spec = slab(0, 0, 20);
    let two = |slice, left| [seen(Nodule, Left, slice, left, 0.8), seen(Nodule, Left, slice + 1, left, 0.8)];
    let read = outcome([two(2, 0.6), two(2, 0.8), two(12, 0.6)].concat());
    let report = draft(&[Reading { spec: &spec, end: Ok(&read) }]);
    assert_eq!(report.findings.len(), 3);
}

#[test]
fn an_effusion_is_one_finding_a_side_wherever_it_is_seen() {
    let spec = slab(0, 0, 20);
    let at = |side, slice| seen(PleuralEffusion, side, slice, 0.5, 0.8);
    let read = outcome(vec![at(Left, 2), at(Left, 3), at(Left, 9), at(Right, 5), at(Right, 6)]);
    let report = draft(&[Reading { spec: &spec, end: Ok(&read) }]);
    let sides: Vec<_> = report.findings.iter().map(|finding| finding.laterality).collect();
    assert_eq!(sides, [Some(Left), Some(Right)]);
}

#[test]
fn a_slip_on_a_single_slice_is_left_out() {
    let spec = slab(0, 0, 10);
    let slip = outcome(vec![seen(Nodule, Left, 4, 0.6, 0.99)]);
    assert!(draft(&[Reading { spec: &spec, end: Ok(&slip) }]).findings.is_empty());
    // Something smaller than the distance of two slices can be on one only.
    let mut small = slip;
    small.findings[0].size_mm = Some(4.0);
    assert_eq!(draft(&[Reading { spec: &spec, end: Ok(&small) }]).findings.len(), 1);
}

#[test]
fn a_thing_across_two_slabs_is_one_finding_in_whatever_order_the_jobs_end() {
    let (first, second) = (slab(0, 0, 6), slab(1, 4, 10));
    let one = outcome(vec![seen(Nodule, Left, 5, 0.6, 0.8)]);
    let other = outcome(vec![seen(Nodule, Left, 6, 0.6, 0.9)]);
    let readings = [Reading { spec: &first, end: Ok(&one) }, Reading { spec: &second, end: Ok(&other) }];
    let report = draft(&readings);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(draft(&[readings[1], readings[0]]), report);
}

#[test]
fn a_dead_job_leaves_a_partial_draft_that_names_what_was_not_read() {
    let (first, second) = (slab(0, 0, 2), slab(1, 2, 4));
    let read = outcome(vec![]);
    let report =
        draft(&[Reading { spec: &first, end: Ok(&read) }, Reading { spec: &second, end: Err("the worker died 5 times") }]);
    assert!(report.partial);
    assert_eq!(report.unread.len(), 2);
    assert!(report.unread[0].detail.contains("the worker died 5 times"));
    assert!(report.limitations.iter().any(|text| text.starts_with("1 of 2 jobs were given up")));
}

#[test]
fn no_image_read_is_no_draft() {
    let spec = slab(0, 0, 1);
    let reason = merge(&study(), &[Reading { spec: &spec, end: Err("decoder crashed") }], 1);
    assert_eq!(reason, Merge::NothingRead("the job was given up: decoder crashed".into()));
}

#[test]
fn a_demonstration_says_so_and_an_empty_list_is_not_called_normal() {
    let spec = slab(0, 0, 10);
    let read = outcome(vec![]);
    let report = draft(&[Reading { spec: &spec, end: Ok(&read) }]);
    assert!(report.limitations[0].contains("demonstration"));
    assert_eq!(report.impression[0].text, "No finding among those that the model can name.");
    assert_eq!(report.statement, UNSIGNED_DRAFT_STATEMENT);
}

#[test]
fn the_gravest_finding_sets_the_urgency() {
    let spec = slab(0, 0, 10);
    let mut findings = vec![seen(Pneumothorax, Left, 4, 0.6, 0.9), seen(Pneumothorax, Left, 5, 0.6, 0.9)];
    let plain = outcome(findings.clone());
    assert_eq!(draft(&[Reading { spec: &spec, end: Ok(&plain) }]).urgency, Urgency::Urgent);
    findings[0].severity = Some(Severity::Large);
    let large = outcome(findings);
    assert_eq!(draft(&[Reading { spec: &spec, end: Ok(&large) }]).urgency, Urgency::Critical);
}
