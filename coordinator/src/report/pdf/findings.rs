//! The table of findings.

use super::page::{INK, LEFT, Mark, Pages, Place, QUIET, Style, WIDTH, lines, width};
use crate::report::fonts::Line;
use crate::report::lookup::Images;
use crate::report::picture::{self, shows};
use crate::report::{KeyImage, ReportInputs, frames, present};

/// Side of the square with a finding's number.
const NUMBER: f32 = 15.0;
/// Left end of each column: number, finding, details, confidence, where it is seen.
const COLUMNS: [f32; 5] = [0.0, 24.0, 176.0, 322.0, 392.0];
const HEADS: [&str; 5] = ["", "Finding", "Details", "Confidence", "Seen on"];

/// Writes the table, or that there are none.
pub(super) fn table(pages: &mut Pages, inputs: &ReportInputs<'_>, pictures: &[&KeyImage]) {
    let findings = &inputs.report.findings;
    pages.heading(&format!("Findings ({})", findings.len()));
    if findings.is_empty() {
        pages.paragraph(present::no_findings(inputs.report), LEFT, Style::BODY);
        return;
    }
    let signed = inputs.report.standing().is_signed();
    head(pages, signed);
    for (index, finding) in findings.iter().enumerate() {
        let cells = [
            lines(&present::finding_heading(finding), column_width(1), Style::STRONG),
            lines(&present::finding_details(finding).join(", "), column_width(2), Style::BODY),
            lines(&present::confidence(inputs.report, finding).unwrap_or_default(), column_width(3), Style::BODY),
            lines(&seen_on(inputs, index, pictures), column_width(4), Style::BODY),
        ];
        let rows = cells.iter().map(Vec::len).max().unwrap_or(1) as f32;
        let height = (rows * Style::BODY.leading()).max(NUMBER) + 8.0;
        if pages.room(height) {
            head(pages, signed);
        }
        number(pages, index, LEFT, pages.y + 3.0);
        for (cell, (column, style)) in
            cells.into_iter().zip([(1, Style::STRONG), (2, Style::BODY), (3, Style::BODY), (4, Style::BODY)])
        {
            for (row, line) in cell.into_iter().enumerate() {
                pages.line(line, LEFT + COLUMNS[column], pages.y + 4.0 + row as f32 * style.leading(), style);
            }
        }
        pages.y += height;
        pages.rule(LEFT, WIDTH);
    }
    pages.y += 4.0;
    if !signed {
        pages.paragraph(present::CONFIDENCE_NOTE, LEFT, Style::SMALL);
    }
}

/// The heads of the columns. In what somebody answers for, that of the model's confidence is empty.
fn head(pages: &mut Pages, signed: bool) {
    let style = Style { bold: true, colour: QUIET, ..Style::SMALL };
    for (text, x) in HEADS.iter().zip(COLUMNS) {
        let text = if signed && *text == "Confidence" { "" } else { text };
        pages.text(text, LEFT + x, pages.y, style);
    }
    pages.y += style.leading() + 2.0;
    pages.rule(LEFT, WIDTH);
}

fn column_width(column: usize) -> f32 {
    COLUMNS.get(column + 1).copied().unwrap_or(WIDTH) - COLUMNS[column] - 8.0
}

/// The square with the finding's number in its colour, as on the images.
pub(super) fn number(pages: &mut Pages, index: usize, x: f32, y: f32) {
    let place = Place { x, y, width: NUMBER, height: NUMBER };
    pages.put(Mark::Filled { place, colour: picture::mark(index) });
    let style = Style { size: 9.0, bold: true, colour: INK };
    let line = Line::of(&(index + 1).to_string(), true);
    let x = x + (NUMBER - width(&line, style)) / 2.0;
    pages.line(line, x, y + 1.6, style);
}

/// The numbers of the pictures that show the finding, and how many images more do; else the best image's name.
fn seen_on(inputs: &ReportInputs<'_>, index: usize, pictures: &[&KeyImage]) -> String {
    let finding = &inputs.report.findings[index];
    let frames = frames(finding);
    let is_shown = |image: &KeyImage| finding.evidence.iter().any(|evidence| shows(image, evidence));
    let shown: Vec<String> = pictures
        .iter()
        .enumerate()
        .filter(|(_, image)| is_shown(image))
        .map(|(number, _)| (number + 1).to_string())
        .collect();
    let Some((best, frame)) = frames.first() else { return String::new() };
    let (named, words) = if shown.is_empty() {
        let label = Images::of(inputs.study).get(best).map(|image| present::image_label(&image, *frame));
        (1, present::shortened(&label.unwrap_or_else(|| best.to_string()), 40))
    } else {
        (shown.len(), format!("image {}", shown.join(", ")))
    };
    match frames.len() - named.min(frames.len()) {
        0 => words,
        more => format!("{words}; {more} more"),
    }
}
