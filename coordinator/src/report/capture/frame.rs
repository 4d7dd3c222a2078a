//! One key image with its marks, the warning above and the findings below.

use prelim_proto::finding::ImageBox;

use super::canvas::{Canvas, Colour};
use crate::report::fonts::Line;
use crate::report::lookup::Images;
use crate::report::picture::{self, Marked, marked};
use crate::report::{KeyImage, ReportInputs, present};

const WARNING: Colour = [0x8f, 0x17, 0x22];
const SIGNED: Colour = [0x1d, 0x4d, 0x3f];
const DEMONSTRATION: Colour = [0xf6, 0xc3, 0x4a];
const WHITE: Colour = [0xff, 0xff, 0xff];
const INK: Colour = [0x10, 0x15, 0x1b];
const BLACK: Colour = [0, 0, 0];

/// Narrowest frame, in pixels: narrower ones have no room for the words.
const WIDTH_MIN: u32 = 512;
/// Findings named below a picture at most; boxes past them have their numbers alone.
const LEGEND_MAX: usize = 6;

/// Measures of the words, in pixels, for frames of one width.
#[derive(Clone, Copy)]
struct Measures {
    size: f32,
    line: u32,
}

/// Draws the pictures, all frames of one size.
pub(super) fn draw(inputs: &ReportInputs<'_>, pictures: &[&KeyImage]) -> Vec<Canvas> {
    let width = pictures.iter().map(|image| image.width).max().unwrap_or(0).max(WIDTH_MIN);
    let tallest = pictures.iter().map(|image| image.height).max().unwrap_or(0);
    let size = (width as f32 / 40.0).max(13.0);
    let measures = Measures { size, line: (size * 1.5) as u32 };
    let legends: Vec<Vec<(usize, String)>> = pictures.iter().map(|image| legend(inputs, image)).collect();
    let below = legends.iter().map(Vec::len).max().unwrap_or(0) as u32 + 1;
    let bands = if present::is_demonstration(inputs.report) { 2 } else { 1 };
    let top = bands * measures.line;
    let height = top + tallest + below * measures.line + measures.line / 3;
    let draw = |(image, legend): (&&KeyImage, &Vec<(usize, String)>)| {
        let mut canvas = Canvas::new(width, height);
        bands_above(&mut canvas, inputs, measures);
        let x = (width - image.width) / 2;
        canvas.grey((x, top), image.width, &picture::shades(image).unwrap_or_default());
        for (index, _, evidence) in marked(&inputs.report.findings, image) {
            if let Some(bounds) = evidence.bounds {
                outline(&mut canvas, (x, top), image, index, bounds, measures);
            }
        }
        words_below(&mut canvas, inputs, image, legend, top + tallest, measures);
        canvas
    };
    pictures.iter().zip(&legends).map(draw).collect()
}

/// The findings that are seen on a picture, each once, with their numbers.
fn legend(inputs: &ReportInputs<'_>, image: &KeyImage) -> Vec<(usize, String)> {
    let mut seen: Vec<Marked<'_>> = marked(&inputs.report.findings, image);
    seen.dedup_by_key(|(index, ..)| *index);
    let words = |(index, finding, _): Marked<'_>| {
        let mut parts = vec![present::finding_heading(finding)];
        parts.extend(present::finding_details(finding));
        parts.extend(present::confidence(inputs.report, finding).map(|percent| format!("confidence {percent}")));
        (index, parts.join(", "))
    };
    seen.into_iter().take(LEGEND_MAX).map(words).collect()
}

fn bands_above(canvas: &mut Canvas, inputs: &ReportInputs<'_>, measures: Measures) {
    let (width, line) = (i64::from(canvas.width), i64::from(measures.line));
    let signed = inputs.report.standing().is_signed();
    canvas.fill([0, 0, width, line], if signed { SIGNED } else { WARNING });
    write(canvas, &present::banner(inputs.report), (measures.size * 0.6, 0), measures, WHITE);
    if present::is_demonstration(inputs.report) {
        canvas.fill([0, line, width, 2 * line], DEMONSTRATION);
        write(canvas, present::DEMONSTRATION, (measures.size * 0.6, measures.line), measures, INK);
    }
}

fn words_below(
    canvas: &mut Canvas,
    inputs: &ReportInputs<'_>,
    image: &KeyImage,
    legend: &[(usize, String)],
    mut top: u32,
    measures: Measures,
) {
    let images = Images::of(inputs.study);
    let label = images.get(&image.instance).map(|found| present::image_label(&found, image.frame));
    let label = present::shortened(&label.unwrap_or_else(|| image.instance.to_string()), 60);
    write(canvas, &label, (measures.size * 0.6, top), measures, WHITE);
    for (index, words) in legend {
        top += measures.line;
        number(canvas, *index, (i64::from(measures.line) / 3, i64::from(top)), measures);
        write(canvas, words, (measures.size * 0.6 + measures.line as f32 * 1.2, top), measures, WHITE);
    }
}

/// A line of text in letters as large as fit, hanging from `top`.
fn write(canvas: &mut Canvas, text: &str, (x, top): (f32, u32), measures: Measures, colour: Colour) {
    let line = Line::of(&present::clean(text), true);
    let room = canvas.width as f32 - x - measures.size * 0.4;
    let size = measures.size.min(room / line.width.max(1.0));
    let base = top as f32 + measures.line as f32 * 0.5 + size * 0.36;
    canvas.text(&line, (x, base), size, colour);
}

/// A dark line under a coloured one, with the finding's number on its upper edge, or inside where the picture ends above it.
fn outline(
    canvas: &mut Canvas,
    (x, y): (u32, u32),
    image: &KeyImage,
    index: usize,
    bounds: ImageBox,
    measures: Measures,
) {
    let across = |fraction: f32| i64::from(x) + (fraction * image.width as f32).round() as i64;
    let down = |fraction: f32| i64::from(y) + (fraction * image.height as f32).round() as i64;
    let place = [across(bounds.left), down(bounds.top), across(bounds.right), down(bounds.bottom)];
    canvas.outline(place, 3, BLACK);
    canvas.outline(place, 1, picture::mark(index));
    let side = i64::from(measures.line) - 2;
    let tag_y = if place[1] - i64::from(y) >= side { place[1] - side } else { place[1] };
    number(canvas, index, (place[0].min(across(1.0) - side), tag_y), measures);
}

/// The square with the finding's number in its colour.
fn number(canvas: &mut Canvas, index: usize, (x, y): (i64, i64), measures: Measures) {
    let side = i64::from(measures.line) - 2;
    canvas.fill([x, y, x + side, y + side], picture::mark(index));
    let line = Line::of(&(index + 1).to_string(), true);
    let size = measures.size * 0.95;
    let centred = x as f32 + (side as f32 - line.width * size) / 2.0;
    canvas.text(&line, (centred, y as f32 + side as f32 * 0.5 + size * 0.36), size, INK);
}
