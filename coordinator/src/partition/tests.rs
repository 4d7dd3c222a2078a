//! Partitions of small, known studies.

use prelim_proto::ids::{Digest, Uid};
use prelim_proto::image::Plane;
use prelim_proto::study::{Priority, StudyAttributes, StudyState};

use super::*;

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

fn study(series: Vec<Series>) -> Study {
    Study {
        uid: uid("1.2"),
        state: StudyState::Complete,
        state_reason: None,
        priority: Priority::Urgent,
        received_at_ms: 0,
        updated_at_ms: 0,
        attributes: StudyAttributes::default(),
        series,
        unread: Vec::new(),
        partition_notes: Vec::new(),
        jobs_total: 0,
        jobs_finished: 0,
    }
}

fn series(number: i32, modality: &str, images: Vec<Option<ImageAttributes>>) -> Series {
    let instance = |(index, image)| Instance {
        uid: uid(&format!("1.2.{number}.{index}")),
        sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
        transfer_syntax: uid("1.2.840.10008.1.2.1"),
        digest: Digest::from_bytes(&[number as u8; 32]),
        size_bytes: 1,
        number: Some(index as i32),
        source_name: None,
        image,
    };
    Series {
        uid: uid(&format!("1.2.{number}")),
        modality: modality.into(),
        description: String::new(),
        number: Some(number),
        instances: images.into_iter().enumerate().map(instance).collect(),
    }
}

fn image(kind: &str) -> ImageAttributes {
    ImageAttributes {
        rows: 8,
        columns: 8,
        frames: 1,
        photometric: "MONOCHROME2".into(),
        image_type: kind.split('\\').map(str::to_owned).collect(),
        body_part: Some("CHEST".into()),
        ..ImageAttributes::default()
    }
}

fn slice(z: f64) -> Option<ImageAttributes> {
    let plane = Plane { position_mm: [0.0, 0.0, z], row: [1.0, 0.0, 0.0], column: [0.0, 1.0, 0.0] };
    let frame_of_reference = Some("1.9".to_owned());
    Some(ImageAttributes { planes: vec![plane], frame_of_reference, ..image("ORIGINAL\\PRIMARY\\AXIAL") })
}

fn view(position: &str) -> Option<ImageAttributes> {
    Some(ImageAttributes { view_position: Some(position.into()), ..image("ORIGINAL\\PRIMARY") })
}

/// Every image is in a job to be read, or unread with a reason, and in one of them only.
fn check_nothing_is_lost(study: &Study, partition: &Partition) {
    for instance in study.series.iter().flat_map(|series| &series.instances) {
        let read = partition
            .jobs
            .iter()
            .flat_map(|job| &job.images)
            .filter(|image| image.role == ImageRole::Read && image.instance == instance.uid)
            .count();
        let unread = partition.unread.iter().filter(|unread| unread.instance == instance.uid).count();
        let frames = instance.image.as_ref().map_or(1, |image| image.frames.max(1) as usize);
        assert!(read + unread >= 1 && read <= frames, "{}: read {read}, unread {unread}", instance.uid);
    }
}

fn parted(series: Vec<Series>) -> Partition {
    let study = study(series);
    let partition = partition(&study, &PartitionLimits::default());
    check_nothing_is_lost(&study, &partition);
    assert!(partition.jobs.iter().enumerate().all(|(i, job)| job.id.number() as usize == i));
    partition
}

#[test]
fn the_views_of_an_xray_study_are_one_job_frontal_first() {
    let partition = parted(vec![series(1, "DX", vec![view("LL"), view("PA")])]);
    assert_eq!(partition.jobs.len(), 1);
    let labels: Vec<_> = partition.jobs[0].images.iter().map(|image| image.label.as_str()).collect();
    assert_eq!(labels, ["PA", "lateral"]);
    assert_eq!(partition.jobs[0].priority, Priority::Urgent);
    assert_eq!(partition.jobs[0].body_part.as_deref(), Some("CHEST"));
}

#[test]
fn too_many_views_are_a_job_each_with_context() {
    let partition = parted(vec![series(1, "CR", (0..6).map(|_| view("PA")).collect())]);
    assert_eq!(partition.jobs.len(), 6);
    for job in &partition.jobs {
        assert_eq!(job.images.len(), 4);
        assert_eq!(job.images.iter().filter(|image| image.role == ImageRole::Read).count(), 1);
    }
}

#[test]
fn a_cine_is_read_at_three_stills() {
    let cine = ImageAttributes { frames: 100, ..image("ORIGINAL\\PRIMARY") };
    let partition = parted(vec![series(1, "XA", vec![Some(cine)])]);
    let frames: Vec<_> = partition.jobs[0].images.iter().map(|image| image.frame).collect();
    assert_eq!(frames, [1, 50, 100]);
}

#[test]
fn slabs_are_even_overlap_and_follow_the_patient_not_the_numbers() {
    // Numbered from the head down.
    let partition = parted(vec![series(1, "CT", (0..33).map(|i| slice(-5.0 * f64::from(i))).collect())]);
    assert_eq!(partition.jobs.len(), 3);
    for (job, shown) in partition.jobs.iter().zip([12, 13, 12]) {
        assert_eq!(job.images.len(), shown);
        assert_eq!(job.images.iter().filter(|image| image.role == ImageRole::Read).count(), 11);
        let z: Vec<f64> = job.images.iter().map(|image| image.plane.unwrap().position_mm[2]).collect();
        assert!(z.is_sorted(), "{z:?}");
    }
    assert_eq!(partition.jobs[0].images[0].label, "slice 1 of 33");
}

#[test]
fn localizers_dose_sheets_and_derived_copies_are_left_with_their_reason() {
    let odd = ["ORIGINAL\\PRIMARY\\LOCALIZER", "DERIVED\\SECONDARY\\DOSE_INFO", "DERIVED\\SECONDARY\\AXIAL"];
    let partition = parted(vec![series(1, "CT", odd.iter().map(|kind| Some(image(kind))).chain([slice(0.0)]).collect())]);
    assert_eq!(partition.jobs.len(), 1);
    let reasons: Vec<_> = partition.unread.iter().map(|unread| unread.detail.as_str()).collect();
    assert_eq!(reasons, ["localizer", "dose sheet or screen save", "derived copy"]);
}

#[test]
fn of_two_reconstructions_the_soft_one_is_read() {
    let kernel = |name: &str, count: i32| {
        let one = |i| slice(f64::from(i)).map(|s| ImageAttributes { convolution_kernel: Some(name.into()), ..s });
        (0..count).map(one).collect()
    };
    let partition = parted(vec![series(1, "CT", kernel("LUNG", 9)), series(2, "CT", kernel("B30f", 5))]);
    assert_eq!(partition.jobs.len(), 1);
    assert_eq!(partition.jobs[0].images[0].series, uid("1.2.2"));
    assert_eq!(partition.unread.len(), 9);
    assert!(partition.notes[0].contains("another reconstruction"));
}

#[test]
fn gaps_and_duplicates_are_named() {
    let z = [0.0, 1.0, 2.0, 2.0, 9.0];
    let partition = parted(vec![series(1, "CT", z.iter().map(|z| slice(*z)).collect())]);
    assert_eq!(partition.unread[0].detail, "second slice at one place");
    assert!(partition.notes.iter().any(|note| note.contains("slices are missing at 1 places, 7.0 mm")));
}

#[test]
fn other_modalities_and_objects_without_pixels_are_named() {
    let partition = parted(vec![series(1, "MR", vec![Some(image("ORIGINAL"))]), series(2, "SR", vec![None])]);
    assert!(partition.jobs.is_empty());
    assert_eq!(partition.unread[0].detail, "modality MR is not read");
    assert!(partition.unread[1].detail.starts_with("no image: SOP class"));
}

#[test]
fn a_study_past_the_frame_limit_says_so() {
    let study = study(vec![series(1, "CT", (0..5).map(|i| slice(f64::from(i))).collect())]);
    let partition = partition(&study, &PartitionLimits { frames_per_study: 4, ..PartitionLimits::default() });
    assert!(partition.jobs.is_empty());
    assert_eq!(partition.unread.len(), 5);
    assert!(partition.unread.iter().all(|unread| unread.reason == UnreadReason::TooLarge));
    check_nothing_is_lost(&study, &partition);
}
