//! Attributes of an image, wherever an object of its kind keeps them.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use prelim_proto::image::ImageAttributes;

use super::planes;
use crate::dataset::Attributes;
use crate::photometry::functional_group;

/// The attributes of an image object; nothing where it has no rows and columns.
///
/// Enhanced objects keep many of them in functional groups; those of the first frame stand for all (PS3.3 section
/// C.7.6.16).
pub(super) fn image_attributes(root: &Attributes<'_>) -> Option<ImageAttributes> {
    let rows = root.u16(tags::ROWS)?.into();
    let columns = root.u16(tags::COLUMNS)?.into();
    let frames = root.integer(tags::NUMBER_OF_FRAMES).and_then(|frames| u32::try_from(frames).ok()).unwrap_or(1).max(1);
    let measures = group(root, tags::PIXEL_MEASURES_SEQUENCE);
    let in_measures = |tag| measures.as_ref().and_then(|group| group.number(tag));
    let details = group(root, tags::CT_ACQUISITION_DETAILS_SEQUENCE);
    let reconstruction = group(root, tags::CT_RECONSTRUCTION_SEQUENCE);
    let kernel = |from: &Attributes<'_>| from.text(tags::CONVOLUTION_KERNEL);
    Some(ImageAttributes {
        rows,
        columns,
        frames,
        bits_allocated: root.u16(tags::BITS_ALLOCATED),
        photometric: root.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default(),
        image_type: root.texts(tags::IMAGE_TYPE),
        body_part: body_part(root),
        view_position: view_position(root),
        laterality: laterality(root),
        patient_orientation: patient_orientation(root),
        pixel_spacing_mm: pixel_spacing(root, measures.as_ref()),
        slice_thickness_mm: positive(root.number(tags::SLICE_THICKNESS).or_else(|| in_measures(tags::SLICE_THICKNESS))),
        gantry_tilt_deg: root
            .number(tags::GANTRY_DETECTOR_TILT)
            .or_else(|| details.as_ref().and_then(|group| group.number(tags::GANTRY_DETECTOR_TILT))),
        frame_of_reference: root.text(tags::FRAME_OF_REFERENCE_UID),
        acquisition_number: root.integer(tags::ACQUISITION_NUMBER).and_then(|number| i32::try_from(number).ok()),
        convolution_kernel: kernel(root).or_else(|| reconstruction.as_ref().and_then(kernel)),
        planes: planes::planes(root, frames),
        burned_in_annotation: root.text(tags::BURNED_IN_ANNOTATION).as_deref() == Some("YES"),
        station: root.text(tags::STATION_NAME).filter(|name| !name.is_empty()),
        device: device(root),
        quality_control_subject: root.text(tags::QUALITY_CONTROL_SUBJECT).as_deref() == Some("YES"),
    })
}

/// The functional group of the first frame.
fn group<'a>(root: &Attributes<'a>, sequence: Tag) -> Option<Attributes<'a>> {
    functional_group(root, 1, sequence)
}

fn positive(number: Option<f64>) -> Option<f64> {
    number.filter(|number| *number > 0.0)
}

/// Who made the device, and what they call it.
fn device(root: &Attributes<'_>) -> Option<String> {
    let named = [tags::MANUFACTURER, tags::MANUFACTURER_MODEL_NAME].map(|tag| root.text(tag).unwrap_or_default());
    let named: Vec<&str> = named.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    (!named.is_empty()).then(|| named.join(" "))
}

fn body_part(root: &Attributes<'_>) -> Option<String> {
    let meaning = |from: &Attributes<'_>| from.item(tags::ANATOMIC_REGION_SEQUENCE)?.text(tags::CODE_MEANING);
    root.text(tags::BODY_PART_EXAMINED)
        .or_else(|| meaning(root))
        .or_else(|| meaning(&group(root, tags::FRAME_ANATOMY_SEQUENCE)?))
        .map(|part| part.to_uppercase())
}

fn view_position(root: &Attributes<'_>) -> Option<String> {
    root.text(tags::VIEW_POSITION).or_else(|| root.item(tags::VIEW_CODE_SEQUENCE)?.text(tags::CODE_MEANING))
}

fn laterality(root: &Attributes<'_>) -> Option<String> {
    root.text(tags::IMAGE_LATERALITY)
        .or_else(|| root.text(tags::LATERALITY))
        .or_else(|| group(root, tags::FRAME_ANATOMY_SEQUENCE)?.text(tags::FRAME_LATERALITY))
        .map(|side| side.to_uppercase())
}

fn patient_orientation(root: &Attributes<'_>) -> Option<(String, String)> {
    match root.texts(tags::PATIENT_ORIENTATION).as_slice() {
        [row, column] if !row.is_empty() && !column.is_empty() => Some((row.clone(), column.clone())),
        _ => None,
    }
}

/// Pixel Spacing of the patient where there is one, else of the detector or of the scanned film. A spacing of zero,
/// which some writers put for "unknown", is none.
fn pixel_spacing(root: &Attributes<'_>, measures: Option<&Attributes<'_>>) -> Option<(f64, f64)> {
    let spacing = |from: &Attributes<'_>, tag| from.pair(tag).filter(|(row, column)| *row > 0.0 && *column > 0.0);
    spacing(root, tags::PIXEL_SPACING)
        .or_else(|| spacing(measures?, tags::PIXEL_SPACING))
        .or_else(|| spacing(root, tags::IMAGER_PIXEL_SPACING))
        .or_else(|| spacing(root, tags::NOMINAL_SCANNED_PIXEL_SPACING))
}
