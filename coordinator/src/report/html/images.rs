//! Key images, with the boxes drawn over them in SVG. The pixels stay as they are, so that a reader can hide the boxes.

use prelim_proto::finding::ImageBox;

use super::{finding_mark, mark_class};
use crate::report::lookup::Images;
use crate::report::markup::Page;
use crate::report::picture::{Marked, marked};
use crate::report::{KeyImage, ReportInputs, present};

/// The section with the key images; left out where there are none.
pub(super) fn write(page: &mut Page, inputs: &ReportInputs<'_>) {
    if inputs.key_images.is_empty() {
        return;
    }
    let single = if inputs.key_images.len() == 1 { " single" } else { "" };
    page.raw("<section class=\"images").raw(single).raw("\"><div class=\"bar\"><h2>Key images</h2>");
    page.raw(
        "<label><input type=\"checkbox\" id=\"show-boxes\" checked> Show boxes</label></div><div class=\"gallery\">",
    );
    let images = Images::of(inputs.study);
    for (number, image) in inputs.key_images.iter().enumerate() {
        let label = images.get(&image.instance).map(|found| present::image_label(&found, image.frame));
        figure(page, inputs, image, number, &label.unwrap_or_else(|| image.instance.to_string()));
    }
    page.raw("</div></section>\n");
}

fn figure(page: &mut Page, inputs: &ReportInputs<'_>, image: &KeyImage, number: usize, label: &str) {
    let marked = marked(&inputs.report.findings, image);
    page.raw("<figure id=\"image-").value(number + 1).raw("\"><div class=\"frame\"><img alt=\"");
    page.text(&alternative(label, &marked))
        .raw("\" width=\"")
        .value(image.width)
        .raw("\" height=\"")
        .value(image.height);
    page.raw("\" src=\"").png(&image.png).raw("\">");
    overlay(page, image, &marked);
    page.raw("</div><figcaption><span class=\"title\">Image ").value(number + 1).raw("</span> <span>").text(label);
    page.raw("</span><span class=\"marks\">");
    let mut last = None;
    for &(index, finding, _) in marked.iter().filter(|(index, ..)| last.replace(*index) != Some(*index)) {
        finding_mark(page, index, finding);
    }
    page.raw("</span></figcaption></figure>");
}

/// What the picture shows, for those who do not see it.
fn alternative(label: &str, marked: &[Marked<'_>]) -> String {
    let boxed: Vec<String> = marked
        .iter()
        .filter(|(_, _, evidence)| evidence.bounds.is_some())
        .map(|(index, finding, _)| format!("{}, {}", index + 1, present::finding_title(finding)))
        .collect();
    match boxed.len() {
        0 => format!("{label}, without boxes"),
        1 => format!("{label}, with a box around finding {}", boxed[0]),
        _ => format!("{label}, with boxes around findings {}", boxed.join("; ")),
    }
}

fn overlay(page: &mut Page, image: &KeyImage, marked: &[Marked<'_>]) {
    page.raw("<svg class=\"boxes\" aria-hidden=\"true\" viewBox=\"0 0 ")
        .value(image.width)
        .raw(" ")
        .value(image.height);
    page.raw("\">");
    for (index, _, evidence) in marked {
        if let Some(bounds) = evidence.bounds {
            outline(page, image, *index, bounds);
        }
    }
    page.raw("</svg>");
}

/// One box: a dark line under a coloured one, which shows on bright and on dark ground, and the number at its corner.
fn outline(page: &mut Page, image: &KeyImage, index: usize, bounds: ImageBox) {
    let (width, height) = (image.width as f32, image.height as f32);
    let (left, top) = (bounds.left * width, bounds.top * height);
    let (right, bottom) = (bounds.right * width, bounds.bottom * height);
    for class in ["halo", "line"] {
        page.raw("<rect class=\"").raw(class).raw(" ").raw(mark_class(index)).raw("\" x=\"").coordinate(left);
        page.raw("\" y=\"").coordinate(top).raw("\" width=\"").coordinate(right - left);
        page.raw("\" height=\"").coordinate(bottom - top).raw("\"/>");
    }
    // The number stands on the box's upper edge, or inside the box where the image ends above it.
    let side = width.min(height) / 18.0;
    let (x, y) = (left.min(width - side), if top >= side { top - side } else { top });
    page.raw("<g class=\"number ")
        .raw(mark_class(index))
        .raw("\"><rect x=\"")
        .coordinate(x)
        .raw("\" y=\"")
        .coordinate(y);
    page.raw("\" width=\"").coordinate(side).raw("\" height=\"").coordinate(side).raw("\"/><text x=\"");
    page.coordinate(x + side / 2.0)
        .raw("\" y=\"")
        .coordinate(y + side * 0.74)
        .raw("\" font-size=\"")
        .coordinate(side * 0.7);
    page.raw("\">").value(index + 1).raw("</text></g>");
}
