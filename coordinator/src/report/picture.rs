//! Key images in the forms that show them: their order, their pixels, and the marks on them.

use prelim_proto::finding::{Evidence, Finding, ImageBox};
use prelim_proto::image::ImageAttributes;

use super::lookup::Images;
use super::{KeyImage, ReportInputs};

/// Colours of finding marks: told apart by most who see colours otherwise, and readable under dark ink. Findings past them
/// start over, and the numbers tell them apart. The stylesheet of the page has the same.
pub(super) const MARKS: [[u8; 3]; 6] = [
    [0x56, 0xb4, 0xe9],
    [0xf0, 0xa3, 0x0a],
    [0xf0, 0xe4, 0x42],
    [0x2f, 0xc7, 0x9a],
    [0xe3, 0x91, 0xc0],
    [0xff, 0x85, 0x52],
];

/// Longest side of a key image in pixels, in any form: more than any that is drawn.
const SIDE_MAX: u32 = 4_096;

/// A finding that is seen on a picture, by its place in the list.
pub(super) type Marked<'a> = (usize, &'a Finding, &'a Evidence);

/// The key images as forms number them: each finding's best first, the rest as they lie in the study.
pub(super) fn in_reading_order<'a>(inputs: &ReportInputs<'a>) -> Vec<&'a KeyImage> {
    let best = || inputs.report.findings.iter().filter_map(|finding| finding.evidence.first());
    let (mut ordered, mut rest): (Vec<&KeyImage>, Vec<&KeyImage>) =
        inputs.key_images.iter().partition(|image| best().any(|evidence| shows(image, evidence)));
    let images = Images::of(inputs.study);
    rest.sort_by_key(|image| {
        let place = images.get(&image.instance).map(|found| (found.series.number, found.instance.number));
        (place, image.frame)
    });
    ordered.append(&mut rest);
    ordered
}

/// Whether the evidence lies on that picture.
pub(super) fn shows(image: &KeyImage, evidence: &Evidence) -> bool {
    image.instance == evidence.instance && image.frame == evidence.frame
}

/// What is seen on that picture, in the order of the findings.
pub(super) fn marked<'a>(findings: &'a [Finding], image: &KeyImage) -> Vec<Marked<'a>> {
    let all = findings.iter().enumerate();
    all.flat_map(|(index, finding)| finding.evidence.iter().map(move |evidence| (index, finding, evidence)))
        .filter(|(_, _, evidence)| shows(image, evidence))
        .collect()
}

/// The colour that marks finding `index`.
pub(super) fn mark(index: usize) -> [u8; 3] {
    MARKS[index % MARKS.len()]
}

/// The corners of a box as a closed line, each (column, row) in pixels of the frame as stored, from the upper left corner of
/// the upper left pixel.
pub(super) fn corners(bounds: ImageBox, attributes: &ImageAttributes) -> [(f32, f32); 5] {
    let (rows, columns) = (attributes.rows as f32, attributes.columns as f32);
    // To a hundredth of a pixel: what is past it is the noise of 32-bit fractions.
    let pixels = |fraction: f32, extent: f32| (fraction * extent * 100.0).round() / 100.0;
    let (top, bottom) = (pixels(bounds.top, rows), pixels(bounds.bottom, rows));
    let (left, right) = (pixels(bounds.left, columns), pixels(bounds.right, columns));
    [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
}

/// The shades of a picture, `[height, width]`; nothing where it is no grey PNG of the size that it says.
pub(super) fn shades(image: &KeyImage) -> Option<Vec<u8>> {
    if image.width.max(image.height) > SIDE_MAX {
        return None;
    }
    let mut reader = png::Decoder::new(std::io::Cursor::new(&image.png)).read_info().ok()?;
    let info = reader.info();
    let is_grey = (info.color_type, info.bit_depth) == (png::ColorType::Grayscale, png::BitDepth::Eight);
    if !is_grey || (info.width, info.height) != (image.width, image.height) {
        return None;
    }
    let mut shades = vec![0; image.width as usize * image.height as usize];
    reader.next_frame(&mut shades).ok()?;
    Some(shades)
}
