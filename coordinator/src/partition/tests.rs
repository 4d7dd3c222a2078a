//! Tables of studies and what becomes of them.

use prelim_proto::cost::StudyCost;
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::image::Plane;
use prelim_proto::study::{Priority, StudyAttributes, StudyState};

use super::*;

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

/// A series of `modality` with the given images.
fn series(number: i32, modality: &str, description: &str, images: Vec<ImageAttributes>) -> Series {
    let instance = |(index, image): (usize, ImageAttributes)| Instance {
        uid: uid(&format!("1.2.{number}.{}", index + 1)),
        sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
        transfer_syntax: uid("1.2.840.10008.1.2.1"),
        digest: Digest::from_bytes(&[number as u8; 32]),
        size_bytes: 1,
        number: Some(index as i32 + 1),
        source_name: None,
        image: Some(image),
    };
    Series {
        uid: uid(&format!("1.2.{number}")),
        modality: modality.into(),
        description: description.into(),
        number: Some(number),
        instances: images.into_iter().enumerate().map(instance).collect(),
    }
}

fn study(series: Vec<Series>) -> Study {
    Study {
        uid: uid("1.2"),
        tenant: Default::default(),
        state: StudyState::Complete,
        state_reason: None,
        priority: Priority::Routine,
        received_at_ms: 0,
        updated_at_ms: 0,
        attributes: StudyAttributes::default(),
        series,
        unread: Vec::new(),
        partition_notes: Vec::new(),
        jobs_total: 0,
        jobs_finished: 0,
        cost: StudyCost::default(),
        intake: Default::default(),
    }
}

fn view(position: &str) -> ImageAttributes {
    ImageAttributes {
        rows: 100,
        columns: 100,
        frames: 1,
        body_part: Some("CHEST".into()),
        view_position: (!position.is_empty()).then(|| position.into()),
        ..ImageAttributes::default()
    }
}

/// An axial slice at `z` mm.
fn slice(z: f64) -> ImageAttributes {
    ImageAttributes {
        body_part: Some("CHEST".into()),
        image_type: ["ORIGINAL", "PRIMARY", "AXIAL"].map(String::from).to_vec(),
        frame_of_reference: Some("1.9".into()),
        planes: vec![Plane { position_mm: [0.0, 0.0, z], row: [1.0, 0.0, 0.0], column: [0.0, 1.0, 0.0] }],
        pixel_spacing_mm: Some((0.7, 0.7)),
        ..view("")
    }
}

fn stack(slices: u32, spacing_mm: f64, change: impl Fn(&mut ImageAttributes)) -> Vec<ImageAttributes> {
    (0..slices)
        .map(|n| {
            let mut image = slice(f64::from(n) * spacing_mm);
            change(&mut image);
            image
        })
        .collect()
}

const LIMITS: PartitionLimits =
    PartitionLimits { max_views_per_job: 3, slab_slices: 4, slab_overlap_slices: 1, max_frames_per_study: 30 };

/// Each job as text: read images by the last parts of their UID, context images in brackets.
fn jobs(result: &Partition) -> Vec<String> {
    let image = |image: &ImageRef| {
        let name = image.instance.as_str().trim_start_matches("1.2.");
        let name = if image.frame > 1 { format!("{name}#{}", image.frame) } else { name.to_owned() };
        if image.role == ImageRole::Read { name } else { format!("[{name}]") }
    };
    result.jobs.iter().map(|job| job.images.iter().map(image).collect::<Vec<_>>().join(" ")).collect()
}

fn unread(result: &Partition) -> Vec<(&str, UnreadReason)> {
    result.unread.iter().map(|u| (u.instance.as_str().trim_start_matches("1.2."), u.reason)).collect()
}

/// Partitions a study, and checks that nothing was lost.
fn cut(study: &Study) -> Partition {
    let result = partition(study, 0, &LIMITS);
    for instance in study.series.iter().flat_map(|series| &series.instances) {
        let read = result.jobs.iter().flat_map(|job| &job.images).any(|image| image.instance == instance.uid);
        let named = result.unread.iter().any(|unread| unread.instance == instance.uid);
        assert!(read || named, "{} is neither read nor named", instance.uid);
    }
    for (job, number) in result.jobs.iter().zip(0..) {
        assert_eq!(job.id, JobId::new(study.uid.clone(), number));
    }
    result
}

#[test]
fn views_go_together_frontal_first_and_by_body_part() {
    let mut hand = view("LAT");
    hand.body_part = Some("HAND".into());
    let result = cut(&study(vec![series(1, "DX", "", vec![view("LL"), view("PA"), hand])]));
    assert_eq!(jobs(&result), ["1.2 1.1", "1.3"]);
    assert_eq!(result.jobs[0].images[1].label, "lateral");
    assert_eq!(result.notes[0], "X-ray, chest: 2 views together (PA, lateral).");
}

#[test]
fn a_name_where_a_code_should_be_is_in_no_job() {
    let mut named = view("Nobody^Nora");
    named.body_part = Some("NOBODY^NORA".into());
    let result = cut(&study(vec![series(1, "DX", "Thorax", vec![named])]));
    assert_eq!(result.jobs[0].images[0].label, "view not stated");
    assert_eq!(result.jobs[0].body_part.as_deref(), Some("CHEST"));
    assert_eq!(code_word("left anterior oblique"), Some("left anterior oblique"));
}

#[test]
fn too_many_views_are_read_one_by_one_with_others_beside() {
    let result = cut(&study(vec![series(1, "CR", "", vec![view("PA"), view("AP"), view("LL"), view("")])]));
    assert_eq!(jobs(&result), ["1.1 [1.2] [1.4]", "1.2 [1.1] [1.4]", "1.4 [1.1] [1.2]", "1.3 [1.1] [1.2]"]);
}

#[test]
fn what_is_no_image_to_be_read_is_named_with_its_reason() {
    let mut cine = view("");
    cine.frames = 40;
    let mut pair = view("");
    pair.frames = 2;
    let mut empty = view("");
    empty.rows = 0;
    let mut report = series(5, "SR", "", vec![view("")]);
    report.instances[0].image = None;
    report.instances[0].sop_class = uid("1.2.840.10008.5.1.4.1.1.88.11");
    let mut sheet = series(6, "CT", "", vec![slice(0.0)]);
    sheet.instances[0].sop_class = uid("1.2.840.10008.5.1.4.1.1.7");
    let mut state = series(7, "DX", "", vec![view("")]);
    state.instances[0].image = None;
    let result = cut(&study(vec![
        series(1, "XA", "", vec![cine, pair]),
        series(2, "CR", "", vec![empty]),
        series(4, "MR", "", vec![view("")]),
        report,
        sheet,
        state,
    ]));
    assert_eq!(jobs(&result), ["1.2 1.2#2"]);
    assert_eq!(
        unread(&result),
        [
            ("1.1", UnreadReason::NotReadable),
            ("2.1", UnreadReason::Corrupt),
            ("4.1", UnreadReason::NotReadable),
            ("5.1", UnreadReason::NotReadable),
            ("6.1", UnreadReason::NotNeeded),
            ("7.1", UnreadReason::NotReadable),
        ]
    );
    assert_eq!(result.unread[2].detail, "modality MR is not read");
    assert_eq!(result.unread[3].detail, "structured report: it holds no image");
}

#[test]
fn a_study_with_nothing_to_read_says_why() {
    let result = cut(&study(vec![series(1, "MR", "", vec![view(""), view("")])]));
    assert_eq!(
        (result.jobs.len(), result.failure.as_str()),
        (0, "nothing in the study can be read: modality MR is not read")
    );
}

#[test]
fn raw_exposures_give_way_to_processed_ones() {
    let mut both = series(1, "DX", "", vec![view("PA"), view("PA")]);
    both.instances[0].sop_class = uid("1.2.840.10008.5.1.4.1.1.1.1.1");
    assert_eq!(jobs(&cut(&study(vec![both.clone()]))), ["1.1 1.2"]);
    both.instances[1].sop_class = uid("1.2.840.10008.5.1.4.1.1.1.1");
    assert_eq!(jobs(&cut(&study(vec![both]))), ["1.2"]);
}

#[test]
fn slices_are_ordered_by_place_and_cut_into_overlapping_slabs() {
    let mut images = stack(10, 5.0, |_| ());
    images.reverse();
    let result = cut(&study(vec![series(3, "CT", "chest", images)]));
    assert_eq!(jobs(&result), ["3.10 3.9 3.8 [3.7]", "[3.8] 3.7 3.6 3.5 [3.4]", "[3.5] 3.4 3.3 3.2 3.1"]);
    assert_eq!(result.jobs[0].images[0].label, "slice 1 of 10");
    assert_eq!(result.notes, ["CT series 3 (chest): 10 slices, 5.0 mm apart, in 3 slabs."]);
}

#[test]
fn gaps_duplicates_tilt_and_slices_across_are_named() {
    let mut images = [0.0, 5.0, 10.0, 25.0, 25.0, 30.0, 35.0].map(slice).to_vec();
    images[6].planes[0].row = [0.0, 1.0, 0.0];
    images[6].planes[0].column = [0.0, 0.0, 1.0];
    let result = cut(&study(vec![series(1, "CT", "", images)]));
    assert_eq!(unread(&result), [("1.5", UnreadReason::NotNeeded), ("1.7", UnreadReason::NotNeeded)]);
    let notes = result.notes.join("\n");
    assert!(notes.contains("1 slice left out: at the place of another"), "{notes}");
    assert!(notes.contains("1 slice left out: not parallel"), "{notes}");
    assert!(notes.contains("gap of 15.0 mm after slice 3"), "{notes}");

    let tilted = stack(4, 5.0, |image| image.planes[0].position_mm[1] = image.planes[0].position_mm[2] * 0.3);
    let notes = cut(&study(vec![series(1, "CT", "", tilted)])).notes.join("\n");
    assert!(notes.contains("leans by 17 degrees (gantry tilt)"), "{notes}");
}

#[test]
fn localizers_and_dose_sheets_are_not_needed() {
    let mut images = stack(3, 5.0, |_| ());
    images[0].image_type[2] = "LOCALIZER".into();
    images[2].image_type = vec!["ORIGINAL".into(), "SECONDARY".into(), "DOSE_INFO".into()];
    let result = cut(&study(vec![series(1, "CT", "", images)]));
    assert_eq!((jobs(&result), unread(&result).len()), (vec!["1.2".to_owned()], 2));
}

#[test]
fn of_one_acquisition_the_best_stack_for_each_purpose_is_read() {
    let kernel = |name: &'static str| move |image: &mut ImageAttributes| image.convolution_kernel = Some(name.into());
    let coronal = stack(3, 2.0, |image| {
        let z = image.planes[0].position_mm[2];
        image.planes[0] = Plane { position_mm: [0.0, z, 0.0], row: [1.0, 0.0, 0.0], column: [0.0, 0.0, -1.0] };
    });
    let derived = stack(3, 5.0, |image| image.image_type[0] = "DERIVED".into());
    let phase = stack(3, 5.0, |image| image.acquisition_number = Some(2));
    // Name, images, whether the first image is read.
    for (name, other, read) in [
        ("thicker", stack(3, 7.0, kernel("B30f")), false),
        ("sharp", stack(3, 5.0, kernel("B70f")), true),
        ("coronal", coronal, false),
        ("derived", derived, false),
        ("another phase", phase, true),
        ("elsewhere", stack(3, 5.0, |image| image.planes[0].position_mm[2] += 500.0), true),
        ("another frame of reference", stack(3, 5.0, |image| image.frame_of_reference = Some("1.8".into())), true),
        ("too thin", stack(30, 0.5, kernel("B30f")), false),
    ] {
        let study = study(vec![series(1, "CT", "", stack(4, 5.0, kernel("B31f"))), series(2, "CT", "", other)]);
        let result = cut(&study);
        let of = |number: usize| &study.series[number].instances[0].uid;
        let is_read = |uid: &Uid| result.jobs.iter().flat_map(|job| &job.images).any(|image| image.instance == *uid);
        assert!(is_read(of(0)), "{name}: {:?}", result.notes);
        assert_eq!(is_read(of(1)), read, "{name}: {:?}", result.notes);
    }
}

#[test]
fn derived_slices_alone_are_read_with_a_note() {
    let result = cut(&study(vec![series(1, "CT", "", stack(3, 5.0, |image| image.image_type[0] = "DERIVED".into()))]));
    assert_eq!(jobs(&result), ["1.1 1.2 1.3"]);
    assert!(result.notes[0].contains("because no original ones came"), "{:?}", result.notes);
}

#[test]
fn slices_without_positions_are_read_in_the_order_of_their_numbers() {
    let result = cut(&study(vec![series(1, "CT", "", stack(3, 5.0, |image| image.planes.clear()))]));
    assert_eq!(jobs(&result), ["1.1 1.2 1.3"]);
    assert!(result.notes[0].contains("without a position"), "{:?}", result.notes);
}

#[test]
fn a_multi_frame_stack_is_read_frame_by_frame_in_order_of_place() {
    let mut enhanced = slice(0.0);
    enhanced.frames = 3;
    enhanced.planes = [10.0, 0.0, 5.0].map(|z| slice(z).planes[0]).to_vec();
    assert_eq!(jobs(&cut(&study(vec![series(1, "CT", "", vec![enhanced])]))), ["1.1#2 1.1#3 1.1"]);
}

#[test]
fn phases_in_one_series_are_told_apart_by_acquisition() {
    let mut images = stack(3, 5.0, |image| image.acquisition_number = Some(1));
    images.extend(stack(3, 5.0, |image| image.acquisition_number = Some(2)));
    assert_eq!(jobs(&cut(&study(vec![series(1, "CT", "", images)]))), ["1.1 1.2 1.3", "1.4 1.5 1.6"]);
}

#[test]
fn past_the_limit_of_frames_whole_jobs_are_left_out_by_name() {
    let result = cut(&study(vec![series(1, "CT", "", stack(33, 1.0, |_| ()))]));
    assert!(result.unread.iter().all(|unread| unread.reason == UnreadReason::TooLarge && unread.frame.is_some()));
    let read = result.jobs.iter().flat_map(|job| &job.images).filter(|image| image.role == ImageRole::Read).count();
    assert_eq!((read + result.unread.len(), read <= 30), (33, true));
}

#[test]
fn the_order_of_arrival_makes_no_difference() {
    let mut a = study(vec![
        series(1, "CT", "", stack(6, 5.0, |_| ())),
        series(2, "DX", "", vec![view("PA"), view("LL")]),
        series(3, "CT", "", stack(6, 2.0, |_| ())),
    ]);
    let before = cut(&a);
    a.series.reverse();
    a.series.iter_mut().for_each(|series| series.instances.reverse());
    assert_eq!(cut(&a), before);
}

/// A study of the real slices in `folder`, a path from the repository's root; none where there is no such folder.
fn real(folder: &str) -> Option<Study> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).ok()?.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_string_lossy().starts_with("ge_head"));
    files.sort();
    let records = files.iter().map(|file| {
        let bytes = std::fs::read(file).unwrap();
        let header = prelim_imaging::header::read_header(&bytes, None, &Default::default()).unwrap();
        crate::store::record::InstanceRecord {
            series: header.series.uid,
            modality: header.series.modality,
            description: header.series.description,
            number: header.series.number,
            requests: header.series.requests,
            instance: header.instance,
        }
    });
    Some(study(crate::store::record::by_series(records.collect())))
}

#[test]
fn a_real_head_with_a_tilted_gantry_is_read_in_order_with_its_geometry_named() {
    let limits = PartitionLimits::default();
    for (folder, slices) in [("tests/data/dicom/ct_series", 4), ("../shared/data/dicom/ct_series", 28)] {
        let Some(study) = real(folder) else { continue };
        let result = partition(&study, 0, &limits);
        let read = result.jobs.iter().flat_map(|job| &job.images).filter(|image| image.role == ImageRole::Read);
        let heights: Vec<f64> = read.map(|image| image.plane.unwrap().position_mm[2]).collect();
        assert_eq!((heights.len(), result.unread.len()), (slices, 0), "{folder}");
        assert!(heights.is_sorted(), "{heights:?}");
        assert!(result.notes[0].contains("gantry tilt"), "{:?}", result.notes);
    }
    assert!(real("tests/data/dicom/ct_series").is_some());
}
