//! What of an image is shown, and how its values become shades.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use prelim_imaging::photometry::WindowFunction;

use super::Annotated;
use crate::report::dicom::DataSet;
use crate::report::dicom::element::{Element, sequence, text_element};

/// The modules displayed area, modality LUT, softcopy VOI LUT and softcopy presentation LUT (PS3.3 sections C.10.4, C.11.1,
/// C.11.8 and C.11.6).
pub(super) fn of(first: &Annotated<'_>, frames: &[Annotated<'_>]) -> Vec<Element> {
    let ((slope, intercept), is_inverted) = first.transform();
    let unit = if first.image.series.modality == "CT" { "HU" } else { "US" };
    let windows: Vec<DataSet> = frames.iter().filter_map(window).collect();
    let mut elements = vec![
        sequence(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, frames.iter().map(area).collect()),
        text_element(tags::RESCALE_INTERCEPT, VR::DS, decimal(intercept)),
        text_element(tags::RESCALE_SLOPE, VR::DS, decimal(slope)),
        text_element(tags::RESCALE_TYPE, VR::LO, unit),
        text_element(tags::PRESENTATION_LUT_SHAPE, VR::CS, if is_inverted { "INVERSE" } else { "IDENTITY" }),
    ];
    if !windows.is_empty() {
        elements.push(sequence(tags::SOFTCOPY_VOILUT_SEQUENCE, windows));
    }
    elements
}

/// The whole frame, as large as fits.
fn area(frame: &Annotated<'_>) -> DataSet {
    let attributes = frame.image.attributes;
    let corner = |tag: Tag, column: u32, row: u32| {
        let values = [i32::try_from(column).unwrap_or(i32::MAX), i32::try_from(row).unwrap_or(i32::MAX)];
        DataElement::new(tag, VR::SL, PrimitiveValue::I32(values.into_iter().collect()))
    };
    let spacing = match attributes.pixel_spacing_mm {
        Some((row, column)) => {
            let spacing = format!("{}\\{}", decimal(row), decimal(column));
            text_element(tags::PRESENTATION_PIXEL_SPACING, VR::DS, spacing)
        }
        None => text_element(tags::PRESENTATION_PIXEL_ASPECT_RATIO, VR::IS, "1\\1"),
    };
    DataSet::from_element_iter([
        sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![frame.reference()]),
        corner(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, 1, 1),
        corner(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, attributes.columns, attributes.rows),
        text_element(tags::PRESENTATION_SIZE_MODE, VR::CS, "SCALE TO FIT"),
        spacing,
    ])
}

/// The window of the image's own header, where it has one.
fn window(frame: &Annotated<'_>) -> Option<DataSet> {
    let window = frame.shading.window?;
    let function = match window.function {
        WindowFunction::Linear => "LINEAR",
        WindowFunction::LinearExact => "LINEAR_EXACT",
        WindowFunction::Sigmoid => "SIGMOID",
    };
    Some(DataSet::from_element_iter([
        sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![frame.reference()]),
        text_element(tags::WINDOW_CENTER, VR::DS, decimal(window.center)),
        text_element(tags::WINDOW_WIDTH, VR::DS, decimal(window.width)),
        text_element(tags::VOILUT_FUNCTION, VR::CS, function),
    ]))
}

/// A Decimal String: at most 16 characters (PS3.5 section 6.2).
fn decimal(value: f64) -> String {
    let plain = value.to_string();
    if plain.len() <= 16 { plain } else { format!("{value:.8e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_strings_are_short() {
        for (value, expected) in [(40.0, "40"), (-1024.0, "-1024"), (0.14335937499999998, "1.43359375e-1")] {
            assert_eq!(decimal(value), expected);
        }
        for value in [-f64::MAX, f64::MIN_POSITIVE, 1.0 / 3.0] {
            assert!(decimal(value).len() <= 16, "{}", decimal(value));
        }
    }
}
