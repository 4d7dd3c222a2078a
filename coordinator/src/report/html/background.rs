//! What stands behind the reading: sentences, technique, limitations, what was not read, provenance, the statement.

use prelim_proto::report::Report;
use prelim_proto::study::Unread;

use crate::report::markup::Page;
use crate::report::{ReportInputs, present};

/// Reasons with more objects than this are folded; a CT may come with hundreds of objects that are not read.
const UNREAD_OPEN_MAX: usize = 12;

/// All of it.
pub(super) fn write(page: &mut Page, inputs: &ReportInputs<'_>) {
    let report = inputs.report;
    page.raw("<div class=\"background\">");
    sentences(page, "Findings in words", report.findings_text.iter().map(|sentence| sentence.text.as_str()));
    sentences(page, "Technique", report.technique.iter().map(String::as_str));
    sentences(page, "Comparison", report.comparison.iter().map(String::as_str));
    sentences(page, "Limitations", report.limitations.iter().map(String::as_str));
    unread(page, report);
    provenance(page, inputs);
    page.raw("</div><p class=\"statement\">").text(&report.statement).raw("</p>");
}

fn sentences<'t>(page: &mut Page, heading: &'static str, lines: impl Iterator<Item = &'t str>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        page.raw("<section><h2>").raw(heading).raw("</h2>").list(lines).raw("</section>\n");
    }
}

fn unread(page: &mut Page, report: &Report) {
    if report.unread.is_empty() {
        return;
    }
    page.raw("<section id=\"not-read\"><h2>Not read <span class=\"count\">")
        .value(report.unread.len())
        .raw("</span></h2>");
    // Everything under one reason and one detail is one line with the objects folded below it.
    let mut groups: Vec<(&Unread, Vec<&Unread>)> = Vec::new();
    for unread in &report.unread {
        match groups.iter_mut().find(|(first, _)| first.reason == unread.reason && first.detail == unread.detail) {
            Some((_, objects)) => objects.push(unread),
            None => groups.push((unread, vec![unread])),
        }
    }
    for (first, objects) in groups {
        page.raw("<details").raw(if objects.len() <= UNREAD_OPEN_MAX { " open" } else { "" }).raw("><summary>");
        page.value(objects.len()).raw(if objects.len() == 1 { " object: " } else { " objects: " });
        page.raw(present::unread_reason(first.reason))
            .raw("</summary><p>")
            .text(&first.detail)
            .raw("</p><ul class=\"uids\">");
        for unread in objects {
            page.raw("<li><code>").value(&unread.instance).raw("</code>");
            if let Some(frame) = unread.frame {
                page.raw(", frame ").value(frame);
            }
            page.raw("</li>");
        }
        page.raw("</ul></details>");
    }
    page.raw("</section>\n");
}

fn provenance(page: &mut Page, inputs: &ReportInputs<'_>) {
    let report = inputs.report;
    page.raw("<section class=\"provenance\"><h2>Provenance</h2>");
    if report.standing().is_draft() {
        page.raw("<p class=\"quiet\">The same study with the same provenance gives the same draft.</p>");
    }
    for model in &report.models {
        page.raw("<dl>");
        page.entry("Model", &present::model(model));
        page.entry("Weights, SHA-256", model.digest.as_str());
        page.entry("Prompt", &model.prompt_version).entry("Preprocessing", &model.preprocess_version);
        page.entry("Arithmetic", &model.arithmetic).entry("Software", &format!("prelim {}", model.software_version));
        page.raw("</dl>");
    }
    let words: Vec<String> = report.inserted.iter().map(present::inserted).chain(present::origins(report)).collect();
    if !words.is_empty() {
        page.list(words.iter().map(String::as_str));
    }
    page.raw("<dl>");
    page.entry("Study Instance UID", report.study.as_str()).entry("Report version", &report.version.to_string());
    page.raw("</dl></section>\n");
}
