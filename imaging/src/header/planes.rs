//! Where each frame lies in the patient.

use dicom_dictionary_std::tags;
use prelim_proto::image::Plane;

use crate::dataset::Attributes;

/// One plane a frame; none at all where one is missing or impossible, for the others would then be counted wrong.
pub(super) fn planes(root: &Attributes<'_>, frames: u32) -> Vec<Plane> {
    if frames == 1 && !root.has(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE) {
        return plane(root, root).into_iter().collect();
    }
    let per_frame = root.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    if per_frame.len() != frames as usize {
        return Vec::new();
    }
    let shared = root.item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let planes: Option<Vec<Plane>> = per_frame
        .map(|frame| {
            let group = |sequence| frame.item(sequence).or_else(|| shared.as_ref()?.item(sequence));
            plane(&group(tags::PLANE_POSITION_SEQUENCE)?, &group(tags::PLANE_ORIENTATION_SEQUENCE)?)
        })
        .collect();
    planes.unwrap_or_default()
}

/// The plane of Image Position (Patient) and Image Orientation (Patient) (PS3.3 section C.7.6.2.1.1).
fn plane(position: &Attributes<'_>, orientation: &Attributes<'_>) -> Option<Plane> {
    let position_mm = *position.numbers(tags::IMAGE_POSITION_PATIENT).first_chunk::<3>()?;
    let cosines = *orientation.numbers(tags::IMAGE_ORIENTATION_PATIENT).first_chunk::<6>()?;
    let row = [cosines[0], cosines[1], cosines[2]];
    let column = [cosines[3], cosines[4], cosines[5]];
    let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    // Directions of unit length at a right angle, within what decimal strings and scanners leave.
    let is_frame = (dot(row, row) - 1.0).abs() < 0.02 && (dot(column, column) - 1.0).abs() < 0.02;
    (is_frame && dot(row, column).abs() < 0.02).then_some(Plane { position_mm, row, column })
}
