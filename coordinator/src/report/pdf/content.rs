//! What is on the pages.

use prelim_proto::report::Sentence;
use prelim_proto::review::Standing;

use super::page::{Colour, INK, LEFT, Mark, Pages, Place, RIGHT, SIZE, Style, WIDTH, lines, width};
use super::{findings, images};
use crate::report::fonts::{self, Line};
use crate::report::{KeyImage, ReportInputs, present};

/// The band at the top of each page, and the one below it where the model is a demonstration.
const WARNING: Colour = [0x8f, 0x17, 0x22];
const DEMONSTRATION: Colour = [0xf6, 0xc3, 0x4a];
/// The first of them where somebody answers for the report.
const SIGNED: Colour = [0x1d, 0x4d, 0x3f];
const WHITE: Colour = [0xff, 0xff, 0xff];

/// Longest value of a header field on the page, in characters.
const VALUE_CHARS: usize = 140;

/// Lays the report out, with `pictures` in their order.
pub(super) fn of(inputs: &ReportInputs<'_>, pictures: &[&KeyImage]) -> Vec<Vec<Mark>> {
    let report = inputs.report;
    let mut pages = Pages::new();
    identification(&mut pages, inputs);
    sentences(&mut pages, "Impression", &report.impression, Style::STRONG);
    findings::table(&mut pages, inputs, pictures);
    images::gallery(&mut pages, inputs, pictures);
    sentences(&mut pages, "Findings in words", &report.findings_text, Style::BODY);
    section(&mut pages, "Technique", &report.technique, Style::BODY);
    section(&mut pages, "Comparison", &report.comparison, Style::BODY);
    section(&mut pages, "Limitations", &report.limitations, Style::BODY);
    let unread: Vec<String> = report.unread.iter().map(present::unread).collect();
    section(&mut pages, "Not read", &unread, Style::BODY);
    let mut provenance: Vec<String> = report.models.iter().map(|model| present::provenance(model, report)).collect();
    provenance.extend(report.inserted.iter().map(present::inserted));
    provenance.extend(present::origins(report));
    section(&mut pages, "Provenance", &provenance, Style::SMALL);
    pages.y += 8.0;
    pages.paragraph(&report.statement, LEFT, Style { bold: true, size: 8.5, ..Style::BODY });
    if let Some(replaces) = present::replaces(report) {
        pages.paragraph(&format!("{replaces}."), LEFT, Style { bold: true, size: 8.5, ..Style::BODY });
    }
    frame(&mut pages, inputs);
    pages.pages
}

/// Patient, study and request in two columns; urgency above them.
fn identification(pages: &mut Pages, inputs: &ReportInputs<'_>) {
    let ReportInputs { report, study, .. } = inputs;
    let known = &study.attributes;
    let title = Style { size: 16.0, bold: true, colour: INK };
    let kinds: Vec<&str> = report.kinds.iter().map(|&kind| present::kind(kind)).collect();
    let report_of = match report.standing() {
        Standing::Draft => "Draft report",
        Standing::Signed => "Radiology report",
        Standing::Amended => "Amended radiology report",
        Standing::Rejected => "Rejected draft",
    };
    let heading = if kinds.is_empty() { report_of.to_owned() } else { format!("{report_of}, {}", kinds.join(" and ")) };
    pages.text(&heading, LEFT, pages.y, title);
    pages.y += title.leading();
    let partial = if report.partial { ". Partial: not everything was read." } else { "" };
    pages.text(&format!("Urgency: {}{partial}", present::urgency(report.urgency)), LEFT, pages.y, Style::STRONG);
    pages.y += Style::STRONG.leading() + 6.0;

    let age = present::age_years(&known.patient_birth_date, &known.study_date);
    let born = match (present::date(&known.patient_birth_date), age) {
        (date, Some(years)) => format!("{date} ({years} y)"),
        (date, None) => date,
    };
    let when = format!("{} {}", present::date(&known.study_date), present::time(&known.study_time));
    let rows = [
        [("Patient", present::person_name(&known.patient_name)), ("Study", when)],
        [("Patient ID", known.patient_id.clone()), ("Description", known.description.clone())],
        [("Born", born), ("Accession", known.accession_number.clone())],
        [("Sex", known.patient_sex.clone()), ("Referred by", present::person_name(&known.referring_physician))],
        [("Institution", known.institution.clone()), ("Study UID", study.uid.to_string())],
    ];
    let column = WIDTH / 2.0;
    let label_width = 58.0;
    let mut incomplete = false;
    for row in rows {
        let cells: Vec<Vec<Line>> = row
            .iter()
            .map(|(_, value)| {
                let value = present::shortened(value, VALUE_CHARS);
                incomplete |= fonts::is_incomplete(&value);
                let value = if value.is_empty() { "not stated" } else { &value };
                lines(value, column - label_width - 10.0, Style::BODY)
            })
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(1) as f32 * Style::BODY.leading();
        for (index, (cell, (label, _))) in cells.into_iter().zip(&row).enumerate() {
            let x = LEFT + index as f32 * column;
            pages.text(label, x, pages.y + 1.0, Style::SMALL);
            for (number, line) in cell.into_iter().enumerate() {
                let top = pages.y + number as f32 * Style::BODY.leading();
                pages.line(line, x + label_width, top, Style::BODY);
            }
        }
        pages.y += height + 2.0;
    }
    if incomplete {
        let note = "\u{fffd} stands for a character that no font of this page has; the DICOM header has it.";
        pages.paragraph(note, LEFT, Style::SMALL);
    }
}

fn sentences(pages: &mut Pages, heading: &str, sentences: &[Sentence], style: Style) {
    if !sentences.is_empty() {
        pages.heading(heading);
        pages.list(sentences.iter().map(|sentence| sentence.text.as_str()), style);
    }
}

fn section(pages: &mut Pages, heading: &str, sentences: &[String], style: Style) {
    if !sentences.is_empty() {
        pages.heading(heading);
        pages.list(sentences.iter().map(String::as_str), style);
    }
}

/// The bands at the top of each page, and whose page of how many it is at its foot.
fn frame(pages: &mut Pages, inputs: &ReportInputs<'_>) {
    let known = &inputs.study.attributes;
    let whose: Vec<String> = [
        present::shortened(&present::person_name(&known.patient_name), 50),
        present::shortened(&known.patient_id, 30),
        present::date(&present::shortened(&known.study_date, 20)),
        present::shortened(&known.accession_number, 30),
    ]
    .into_iter()
    .filter(|part| !part.is_empty())
    .collect();
    let demonstration = present::is_demonstration(inputs.report);
    let banner = present::banner(inputs.report);
    let count = pages.pages.len();
    let content = std::mem::take(&mut pages.pages);
    for (number, marks) in content.into_iter().enumerate() {
        pages.pages.push(marks);
        let colour = if inputs.report.standing().is_signed() { SIGNED } else { WARNING };
        band(pages, 0.0, 26.0, colour, &banner, Style { size: 12.0, bold: true, colour: WHITE });
        if demonstration {
            let style = Style { size: 8.5, bold: true, colour: INK };
            band(pages, 26.0, 17.0, DEMONSTRATION, present::DEMONSTRATION, style);
        }
        let foot = SIZE.1 - 30.0;
        pages.put(Mark::Filled {
            place: Place { x: LEFT, y: foot - 5.0, width: WIDTH, height: 0.7 },
            colour: super::page::RULE,
        });
        pages.text(&whose.join(" · "), LEFT, foot, Style::SMALL);
        let page = Line::of(&format!("Page {} of {count}", number + 1), false);
        let x = RIGHT - width(&page, Style::SMALL);
        pages.line(page, x, foot, Style::SMALL);
    }
}

fn band(pages: &mut Pages, y: f32, height: f32, colour: Colour, text: &str, style: Style) {
    pages.put(Mark::Filled { place: Place { x: 0.0, y, width: SIZE.0, height }, colour });
    pages.text(text, LEFT, y + (height - style.leading()) / 2.0 + 0.5, style);
}
