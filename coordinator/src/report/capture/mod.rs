//! The key images with the boxes burned in, as a Multi-frame True Color Secondary Capture (PS3.3 section A.8.5): for viewers
//! that show neither structured reports nor presentation states.
//!
//! # Layout
//! - `frame`: one key image with its marks, the warning above and the findings below
//! - `canvas`: pixels
//!
//! The frames are as small as key images on a page are. Whoever measures or reads looks at the source images.

mod canvas;
mod frame;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};

use super::dicom::element::{Element, ImageReference, code_sequence, image_reference_item, sequence, text_element};
use super::dicom::{self, header};
use super::lookup::{Image, Images};
use super::uid::Names;
use super::{Format, KeyImage, ReportError, ReportInputs, concepts, picture, present};
use canvas::Canvas;

/// SOP class of the object.
pub(super) const CLASS: &str = uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE;

/// Writes the object. Fails where no key image can be shown.
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    let names = Names::of(inputs)?;
    let pictures = shown(inputs);
    let instance = instance(&names, &pictures).ok_or(ReportError::NothingToShow(Format::Capture))?;
    let identity = header::Identity {
        class: CLASS,
        instance: &instance,
        series: &series(&names),
        modality: "OT",
        series_number: "9902",
        holds: "key images",
    };
    let frames = frame::draw(inputs, &pictures);
    let mut object = header::of(inputs, &identity);
    for element in image(inputs, &pictures).into_iter().chain(pixels(frames)) {
        object.put(element);
    }
    dicom::file(object)
}

/// The key images that have pixels, in reading order.
pub(super) fn shown<'a>(inputs: &ReportInputs<'a>) -> Vec<&'a KeyImage> {
    let all = picture::in_reading_order(inputs).into_iter();
    all.filter(|image| picture::shades(image).is_some_and(|shades| !shades.is_empty())).collect()
}

/// SOP Instance UID of the object that shows these pictures; nothing where there are none. A picture can be missing from one
/// writing and not from the next: then they are two objects.
pub(super) fn instance(names: &Names, pictures: &[&KeyImage]) -> Option<String> {
    let bytes: Vec<&[u8]> = pictures.iter().map(|image| image.png.as_slice()).collect();
    (!pictures.is_empty()).then(|| names.object("capture", &bytes.concat()))
}

/// Series Instance UID of the object.
pub(super) fn series(names: &Names) -> String {
    names.object_series("capture")
}

/// The modules SC equipment, general image, multi-frame and SC multi-frame (PS3.3 sections C.8.6.1, C.7.6 and C.8.6.3).
fn image(inputs: &ReportInputs<'_>, pictures: &[&KeyImage]) -> Vec<Element> {
    let (date, time) = header::content_time(inputs);
    let images = Images::of(inputs.study);
    let source = |image: &&KeyImage| Some(source(&images.get(&image.instance)?, image.frame));
    let pages: Vec<String> = (1..=pictures.len()).map(|page| page.to_string()).collect();
    let derivation = format!("{} Boxes and words are burned in by prelim.", inputs.report.statement);
    let demonstration = if present::is_demonstration(inputs.report) { present::DEMONSTRATION } else { "" };
    let mut elements = vec![
        text_element(tags::CONVERSION_TYPE, VR::CS, "WSD"),
        header::no_laterality(),
        text_element(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY"),
        text_element(tags::PATIENT_ORIENTATION, VR::CS, ""),
        text_element(tags::CONTENT_DATE, VR::DA, date),
        text_element(tags::CONTENT_TIME, VR::TM, time),
        text_element(tags::DERIVATION_DESCRIPTION, VR::ST, derivation),
        text_element(tags::IMAGE_COMMENTS, VR::LT, demonstration),
        sequence(tags::SOURCE_IMAGE_SEQUENCE, pictures.iter().filter_map(source).collect()),
        // There is text in the pixels, and the source may have had the patient's name there.
        text_element(tags::BURNED_IN_ANNOTATION, VR::CS, "YES"),
        text_element(tags::NUMBER_OF_FRAMES, VR::IS, pictures.len().to_string()),
    ];
    if pictures.len() > 1 {
        let pointer = PrimitiveValue::Tags([tags::PAGE_NUMBER_VECTOR].into_iter().collect());
        elements.push(DataElement::new(tags::FRAME_INCREMENT_POINTER, VR::AT, pointer));
        elements.push(text_element(tags::PAGE_NUMBER_VECTOR, VR::IS, pages.join("\\")));
    }
    elements
}

fn source(image: &Image<'_>, frame: u32) -> dicom::DataSet {
    let mut item = image_reference_item(ImageReference {
        class: &image.instance.sop_class,
        instance: &image.instance.uid,
        frame: (image.attributes.frames > 1).then_some(frame),
    });
    item.put(code_sequence(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, concepts::SOURCE_IMAGE));
    item
}

/// The image pixel module. All frames are of one size.
fn pixels(frames: Vec<Canvas>) -> Vec<Element> {
    let size = frames.first().map_or((0, 0), |frame| (frame.width, frame.height));
    let short = |tag, value: u32| DataElement::new(tag, VR::US, PrimitiveValue::from(value as u16));
    let mut data = Vec::with_capacity(frames.iter().map(|frame| frame.rgb.len() + 1).sum());
    for frame in frames {
        data.extend(frame.rgb);
    }
    if !data.len().is_multiple_of(2) {
        data.push(0);
    }
    vec![
        short(tags::SAMPLES_PER_PIXEL, 3),
        text_element(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB"),
        short(tags::PLANAR_CONFIGURATION, 0),
        short(tags::ROWS, size.1),
        short(tags::COLUMNS, size.0),
        short(tags::BITS_ALLOCATED, 8),
        short(tags::BITS_STORED, 8),
        short(tags::HIGH_BIT, 7),
        short(tags::PIXEL_REPRESENTATION, 0),
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(data)),
    ]
}
