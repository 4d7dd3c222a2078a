//! The report for people, as the XHTML that FHIR takes (no scripts, styles or links).

use crate::report::markup::Page;
use crate::report::{ReportInputs, present};

/// The `div` of the narrative.
pub(super) fn of(inputs: &ReportInputs<'_>) -> String {
    let report = inputs.report;
    let mut page = Page::default();
    page.raw("<div xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\" xml:lang=\"en\">");
    page.raw("<p><b>").text(&present::banner(report)).raw("</b></p>");
    if present::is_demonstration(report) {
        page.raw("<p><b>").raw(present::DEMONSTRATION).raw("</b></p>");
    }
    page.raw("<p>Urgency: ").raw(present::urgency(report.urgency));
    page.raw(if report.partial { ". Partial: not everything was read.</p>" } else { "</p>" });
    section(&mut page, "Impression", &sentences(&report.impression));
    findings(&mut page, inputs);
    section(&mut page, "Findings in words", &sentences(&report.findings_text));
    section(&mut page, "Technique", &lines(&report.technique));
    section(&mut page, "Comparison", &lines(&report.comparison));
    section(&mut page, "Limitations", &lines(&report.limitations));
    let inserted: Vec<String> = report.inserted.iter().map(present::inserted).collect();
    section(&mut page, "Provenance", &lines(&inserted));
    let unread: Vec<String> = report.unread.iter().map(present::unread).collect();
    section(&mut page, "Not read", &lines(&unread));
    if let Some(replaces) = present::replaces(report) {
        page.raw("<p><b>").text(&replaces).raw(".</b></p>");
    }
    page.raw("<p>").text(&report.statement).raw("</p></div>");
    page.into_string()
}

fn sentences(sentences: &[prelim_proto::report::Sentence]) -> Vec<&str> {
    sentences.iter().map(|sentence| sentence.text.as_str()).collect()
}

fn lines(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

fn section(page: &mut Page, heading: &'static str, lines: &[&str]) {
    if !lines.is_empty() {
        page.raw("<h3>").raw(heading).raw("</h3>");
        page.list(lines.iter().copied());
    }
}

fn findings(page: &mut Page, inputs: &ReportInputs<'_>) {
    page.raw("<h3>Findings</h3>");
    if inputs.report.findings.is_empty() {
        page.raw("<p>").raw(present::no_findings(inputs.report)).raw("</p>");
        return;
    }
    let signed = inputs.report.standing().is_signed();
    page.raw("<table><tbody><tr><th>Finding</th><th>Details</th>");
    page.raw(if signed { "</tr>" } else { "<th>Confidence</th></tr>" });
    for finding in &inputs.report.findings {
        page.raw("<tr><td>").text(&present::finding_heading(finding)).raw("</td><td>");
        page.text(&present::finding_details(finding).join(", ")).raw("</td>");
        if let Some(percent) = present::confidence(inputs.report, finding) {
            page.raw("<td>").text(&percent).raw("</td>");
        }
        page.raw("</tr>");
    }
    page.raw("</tbody></table>");
    if !signed {
        page.raw("<p>").raw(present::CONFIDENCE_NOTE).raw("</p>");
    }
}
