//! Boxes, their words and the warning (PS3.3 sections C.10.5 and C.10.7).

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use prelim_proto::finding::{Finding, ImageBox};

use super::Annotated;
use crate::report::dicom::DataSet;
use crate::report::dicom::element::{Element, sequence, text_element};
use crate::report::{ReportInputs, picture, present};

/// The one layer, which readers can hide.
const LAYER: &str = "PRELIM_DRAFT";

/// The graphic annotation and graphic layer modules.
pub(super) fn of(inputs: &ReportInputs<'_>, frames: &[Annotated<'_>]) -> Vec<Element> {
    let standing = inputs.report.standing();
    let software = if standing.is_signed() { "drafted by software" } else { "not a medical device" };
    let description = format!("{} - {software}", present::kind_of_report(standing));
    let layer = DataSet::from_element_iter([
        text_element(tags::GRAPHIC_LAYER, VR::CS, LAYER),
        text_element(tags::GRAPHIC_LAYER_ORDER, VR::IS, "1"),
        DataElement::new(
            tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_GRAYSCALE_VALUE,
            VR::US,
            PrimitiveValue::from(u16::MAX),
        ),
        text_element(tags::GRAPHIC_LAYER_DESCRIPTION, VR::LO, description),
    ]);
    vec![
        sequence(tags::GRAPHIC_ANNOTATION_SEQUENCE, frames.iter().map(|frame| annotation(inputs, frame)).collect()),
        sequence(tags::GRAPHIC_LAYER_SEQUENCE, vec![layer]),
    ]
}

fn annotation(inputs: &ReportInputs<'_>, frame: &Annotated<'_>) -> DataSet {
    let boxes = || frame.boxes.iter().filter_map(|(index, finding, seen)| Some((*index, *finding, seen.bounds?)));
    let mut texts = vec![warning(inputs)];
    texts.extend(boxes().map(|(index, finding, bounds)| {
        label(index, finding, bounds, frame, present::confidence(inputs.report, finding))
    }));
    let outlines = boxes().map(|(_, _, bounds)| outline(bounds, frame)).collect();
    DataSet::from_element_iter([
        sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![frame.reference()]),
        text_element(tags::GRAPHIC_LAYER, VR::CS, LAYER),
        sequence(tags::TEXT_OBJECT_SEQUENCE, texts),
        sequence(tags::GRAPHIC_OBJECT_SEQUENCE, outlines),
    ])
}

/// The box as a closed polyline in pixels of the frame.
fn outline(bounds: ImageBox, frame: &Annotated<'_>) -> DataSet {
    let corners = picture::corners(bounds, frame.image.attributes);
    let points: Vec<f32> = corners.iter().flat_map(|&(column, row)| [column, row]).collect();
    DataSet::from_element_iter([
        text_element(tags::GRAPHIC_ANNOTATION_UNITS, VR::CS, "PIXEL"),
        DataElement::new(tags::GRAPHIC_DIMENSIONS, VR::US, PrimitiveValue::from(2_u16)),
        DataElement::new(tags::NUMBER_OF_GRAPHIC_POINTS, VR::US, PrimitiveValue::from(corners.len() as u16)),
        floats(tags::GRAPHIC_DATA, points),
        text_element(tags::GRAPHIC_TYPE, VR::CS, "POLYLINE"),
        text_element(tags::GRAPHIC_FILLED, VR::CS, "N"),
    ])
}

/// The finding's number and words, at the upper left corner of its box.
fn label(
    index: usize,
    finding: &Finding,
    bounds: ImageBox,
    frame: &Annotated<'_>,
    confidence: Option<String>,
) -> DataSet {
    let [(left, top), ..] = picture::corners(bounds, frame.image.attributes);
    let confidence = confidence.map(|percent| format!(" {percent}")).unwrap_or_default();
    let words = format!("{}. {}{confidence}", index + 1, present::finding_heading(finding));
    DataSet::from_element_iter([
        text_element(tags::UNFORMATTED_TEXT_VALUE, VR::ST, words),
        text_element(tags::ANCHOR_POINT_ANNOTATION_UNITS, VR::CS, "PIXEL"),
        floats(tags::ANCHOR_POINT, vec![left, top]),
        text_element(tags::ANCHOR_POINT_VISIBILITY, VR::CS, "N"),
    ])
}

/// The warning at the top of what is shown, wherever the reader moves the image.
fn warning(inputs: &ReportInputs<'_>) -> DataSet {
    let demonstration = if present::is_demonstration(inputs.report) { present::DEMONSTRATION } else { "" };
    let words = present::clean(&format!("{} {demonstration}", present::banner(inputs.report)));
    DataSet::from_element_iter([
        text_element(tags::UNFORMATTED_TEXT_VALUE, VR::ST, words),
        text_element(tags::BOUNDING_BOX_ANNOTATION_UNITS, VR::CS, "DISPLAY"),
        floats(tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER, vec![0.02, 0.01]),
        floats(tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER, vec![0.98, 0.05]),
        text_element(tags::BOUNDING_BOX_TEXT_HORIZONTAL_JUSTIFICATION, VR::CS, "LEFT"),
    ])
}

fn floats(tag: Tag, values: Vec<f32>) -> Element {
    DataElement::new(tag, VR::FL, PrimitiveValue::F32(values.into()))
}
