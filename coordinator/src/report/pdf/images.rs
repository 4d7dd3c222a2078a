//! The key images, two in a row, with boxes and numbers in the colours of their findings.

use prelim_proto::finding::ImageBox;

use super::findings::number;
use super::page::{LEFT, Mark, Pages, Place, Style, WIDTH, lines};
use crate::report::lookup::Images;
use crate::report::picture::{self, marked};
use crate::report::{KeyImage, ReportInputs, present};

/// Between the two of a row.
const GAP: f32 = 14.0;
/// Tallest picture.
const TALLEST: f32 = 262.0;
const WIDEST: f32 = (WIDTH - GAP) / 2.0;

/// Writes the pictures; nothing where there are none.
pub(super) fn gallery(pages: &mut Pages, inputs: &ReportInputs<'_>, pictures: &[&KeyImage]) {
    if pictures.is_empty() {
        return;
    }
    let images = Images::of(inputs.study);
    let caption = Style { size: 8.5, ..Style::SMALL };
    for (row, pair) in pictures.chunks(2).enumerate() {
        let height = pair.iter().map(|image| fitted(image).1).fold(0.0, f32::max);
        let whole = height + caption.leading() + 12.0;
        if row == 0 {
            pages.room(whole + 40.0);
            pages.heading("Key images");
        }
        pages.room(whole);
        for (column, image) in pair.iter().enumerate() {
            let at = row * 2 + column;
            let x = LEFT + column as f32 * (WIDEST + GAP);
            picture(pages, inputs, image, at, x);
            let label = images.get(&image.instance).map(|found| present::image_label(&found, image.frame));
            let label = present::shortened(&label.unwrap_or_else(|| image.instance.to_string()), 60);
            let text = format!("Image {}: {label}", at + 1);
            for (number, line) in lines(&text, WIDEST, caption).into_iter().take(1).enumerate() {
                let top = pages.y + height + 3.0 + number as f32 * caption.leading();
                pages.line(line, x, top, caption);
            }
        }
        pages.y += whole;
    }
}

/// Width and height of the picture on the page.
fn fitted(image: &KeyImage) -> (f32, f32) {
    let (width, height) = (image.width.max(1) as f32, image.height.max(1) as f32);
    let scale = (WIDEST / width).min(TALLEST / height);
    (width * scale, height * scale)
}

fn picture(pages: &mut Pages, inputs: &ReportInputs<'_>, image: &KeyImage, at: usize, x: f32) {
    let (width, height) = fitted(image);
    let place = Place { x, y: pages.y, width, height };
    pages.put(Mark::Picture { number: at, place });
    for (index, _, evidence) in marked(&inputs.report.findings, image) {
        if let Some(bounds) = evidence.bounds {
            outline(pages, place, index, bounds);
        }
    }
}

/// A dark line under a coloured one, which shows on bright and on dark ground, with the number on its upper edge, or inside
/// where the picture ends above it.
fn outline(pages: &mut Pages, place: Place, index: usize, bounds: ImageBox) {
    let outlined = Place {
        x: place.x + bounds.left * place.width,
        y: place.y + bounds.top * place.height,
        width: (bounds.right - bounds.left) * place.width,
        height: (bounds.bottom - bounds.top) * place.height,
    };
    pages.put(Mark::Outline { place: outlined, colour: [0, 0, 0], width: 2.6 });
    pages.put(Mark::Outline { place: outlined, colour: picture::mark(index), width: 1.2 });
    let side = 15.0;
    let y = if outlined.y - place.y >= side { outlined.y - side } else { outlined.y };
    number(pages, index, outlined.x.min(place.x + place.width - side), y);
}
