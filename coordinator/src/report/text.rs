//! Plain text, for terminals and for the OBX segments of HL7 messages: lines of at most 80 characters, no control characters
//! but line feeds.

use prelim_proto::finding::Finding;
use prelim_proto::report::{Report, Sentence};

use super::lookup::Images;
use super::{ReportInputs, frames, present};

/// Characters in a line, as terminals and most RIS viewers show them without wrapping.
const LINE_CHARS: usize = 80;

/// Writes the report as text.
pub(super) fn write(inputs: &ReportInputs<'_>) -> String {
    let report = inputs.report;
    let mut page = Page::default();
    page.wrapped("", &present::banner(report));
    if present::is_demonstration(report) {
        page.line(present::DEMONSTRATION);
    }
    if let Some(replaces) = present::replaces(report) {
        page.line(&format!("{replaces}."));
    }
    page.blank();
    head(&mut page, inputs);
    sentences(&mut page, "IMPRESSION", &report.impression);
    findings(&mut page, inputs);
    sentences(&mut page, "FINDINGS IN WORDS", &report.findings_text);
    list(&mut page, "TECHNIQUE", &report.technique);
    list(&mut page, "COMPARISON", &report.comparison);
    list(&mut page, "LIMITATIONS", &report.limitations);
    unread(&mut page, report);
    provenance(&mut page, report);
    page.blank();
    page.wrapped("", &report.statement);
    page.text
}

fn head(page: &mut Page, inputs: &ReportInputs<'_>) {
    let ReportInputs { report, study, .. } = inputs;
    let known = &study.attributes;
    let born = match (present::date(&known.patient_birth_date), age(inputs)) {
        (date, _) if date.is_empty() => String::new(),
        (date, Some(years)) => format!("born {date} ({years} y)"),
        (date, None) => format!("born {date}"),
    };
    let id = labelled("ID", &known.patient_id);
    page.field("Patient", &[present::person_name(&known.patient_name), id, born, present::clean(&known.patient_sex)]);
    let kinds: Vec<&str> = report.kinds.iter().map(|&kind| present::kind(kind)).collect();
    let when = format!("{} {}", present::date(&known.study_date), present::time(&known.study_time));
    page.field("Study", &[when.trim().to_owned(), kinds.join(" and "), present::clean(&known.description)]);
    page.field(
        "Request",
        &[
            labelled("accession", &known.accession_number),
            labelled("referred by", &present::person_name(&known.referring_physician)),
            present::clean(&known.institution),
        ],
    );
    page.field("Study UID", &[study.uid.to_string()]);
    let partial = if report.partial { "PARTIAL: not everything was read" } else { "" };
    page.field("Urgency", &[present::urgency(report.urgency).to_owned(), partial.to_owned()]);
}

fn age(inputs: &ReportInputs<'_>) -> Option<u32> {
    let known = &inputs.study.attributes;
    present::age_years(&known.patient_birth_date, &known.study_date)
}

fn labelled(label: &str, value: &str) -> String {
    let value = present::clean(value);
    if value.is_empty() { value } else { format!("{label} {value}") }
}

fn sentences(page: &mut Page, heading: &str, sentences: &[Sentence]) {
    let lines: Vec<String> = sentences.iter().map(|sentence| sentence.text.clone()).collect();
    list(page, heading, &lines);
}

fn list(page: &mut Page, heading: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    page.heading(heading);
    for line in lines {
        page.wrapped("- ", line);
    }
}

fn findings(page: &mut Page, inputs: &ReportInputs<'_>) {
    let findings = &inputs.report.findings;
    page.heading(&format!("FINDINGS ({})", findings.len()));
    if findings.is_empty() {
        page.wrapped("- ", present::no_findings(inputs.report));
        return;
    }
    let images = Images::of(inputs.study);
    for (index, finding) in findings.iter().enumerate() {
        let mut parts = vec![present::finding_heading(finding)];
        parts.extend(present::finding_details(finding));
        parts.extend(present::confidence(inputs.report, finding).map(|percent| format!("confidence {percent}")));
        page.wrapped(&format!("{}. ", index + 1), &parts.join(", "));
        if let Some(seen) = seen_on(finding, &images) {
            page.wrapped("   ", &seen);
        }
    }
    if !inputs.report.standing().is_signed() {
        page.wrapped("", present::CONFIDENCE_NOTE);
    }
}

/// The images that show the finding, best first; a few are named and the rest counted.
fn seen_on(finding: &Finding, images: &Images<'_>) -> Option<String> {
    const NAMED: usize = 4;
    let label = |(instance, frame)| images.get(&instance).map(|image| present::image_label(&image, frame));
    let labels: Vec<String> = frames(finding).into_iter().filter_map(label).collect();
    let named = labels.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match labels.len() {
        0 => None,
        n if n > NAMED => Some(format!("seen on: {named}; and {} more", n - NAMED)),
        _ => Some(format!("seen on: {named}")),
    }
}

fn unread(page: &mut Page, report: &Report) {
    if report.unread.is_empty() {
        return;
    }
    page.heading(&format!("NOT READ ({})", report.unread.len()));
    for unread in &report.unread {
        page.wrapped("- ", &present::unread(unread));
    }
}

fn provenance(page: &mut Page, report: &Report) {
    page.heading("PROVENANCE");
    for model in &report.models {
        page.wrapped("- ", &present::provenance(model, report));
    }
    for inserted in &report.inserted {
        page.wrapped("- ", &present::inserted(inserted));
    }
    for words in present::origins(report) {
        page.wrapped("- ", &words);
    }
}

/// The lines written so far.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        self.blank();
        self.line(heading);
    }

    /// A name and the values that are known; nothing where none is.
    fn field(&mut self, name: &str, values: &[String]) {
        let known: Vec<&str> = values.iter().map(String::as_str).filter(|value| !value.is_empty()).collect();
        if !known.is_empty() {
            self.wrapped(&format!("{name:<10} "), &known.join(", "));
        }
    }

    /// `text` after `lead`, cut between words; following lines are indented below the text.
    fn wrapped(&mut self, lead: &str, text: &str) {
        let indent = " ".repeat(lead.chars().count());
        let mut line = lead.to_owned();
        let mut empty = true;
        for word in present::clean(text).split(' ') {
            if !empty && line.chars().count() + 1 + word.chars().count() > LINE_CHARS {
                self.line(&line);
                line.clone_from(&indent);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.line(line.trim_end());
    }
}
