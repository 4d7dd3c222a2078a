//! Impression and findings.

use prelim_proto::finding::{Finding, Presence};

use super::{finding_mark, mark_class};
use crate::report::lookup::Images;
use crate::report::markup::Page;
use crate::report::picture::shows;
use crate::report::{KeyImage, ReportInputs, frames, present};

/// The impression, each sentence with the numbers of its findings.
pub(super) fn impression(page: &mut Page, inputs: &ReportInputs<'_>) {
    let report = inputs.report;
    page.raw("<section class=\"impression\"><h2>Impression</h2>");
    if report.impression.is_empty() {
        page.raw("<p class=\"quiet\">None was drafted.</p>");
    } else {
        page.raw("<ul>");
        for sentence in &report.impression {
            page.raw("<li><span dir=\"auto\">").text(&sentence.text).raw("</span>");
            let speaks_of = sentence.findings.iter().map(|&index| index as usize);
            for (index, finding) in speaks_of.filter_map(|index| Some((index, report.findings.get(index)?))) {
                page.raw(" ");
                finding_mark(page, index, finding);
            }
            page.raw("</li>");
        }
        page.raw("</ul>");
    }
    page.raw("</section>\n");
}

/// The findings, numbered as on the images.
pub(super) fn findings(page: &mut Page, inputs: &ReportInputs<'_>) {
    let findings = &inputs.report.findings;
    page.raw("<section class=\"findings\"><h2>Findings <span class=\"count\">")
        .value(findings.len())
        .raw("</span></h2>");
    if findings.is_empty() {
        page.raw("<p class=\"none\">").raw(present::no_findings(inputs.report)).raw("</p></section>\n");
        return;
    }
    let images = Images::of(inputs.study);
    let signed = inputs.report.standing().is_signed();
    page.raw("<ol>");
    for (index, finding) in findings.iter().enumerate() {
        page.raw("<li id=\"finding-").value(index + 1).raw("\" class=\"finding");
        page.raw(if finding.presence == Presence::Absent { " absent" } else { "" }).raw("\">");
        page.raw("<span class=\"mark ")
            .raw(mark_class(index))
            .raw("\" aria-hidden=\"true\">")
            .value(index + 1)
            .raw("</span>");
        page.raw("<div class=\"what\"><h3>").text(&present::finding_heading(finding)).raw("</h3>");
        details(page, finding);
        evidence(page, inputs, finding, &images);
        page.raw("</div>");
        if !signed {
            confidence(page, finding);
        }
        page.raw("</li>");
    }
    page.raw("</ol>");
    if !signed {
        page.raw("<p class=\"quiet\">").raw(present::CONFIDENCE_NOTE).raw("</p>");
    }
    page.raw("</section>\n");
}

fn details(page: &mut Page, finding: &Finding) {
    let details = present::finding_details(finding);
    if details.is_empty() {
        return;
    }
    page.raw("<p class=\"details\">");
    for (i, detail) in details.iter().enumerate() {
        page.raw(if i == 0 { "" } else { "<span aria-hidden=\"true\"> · </span>" })
            .raw("<span>")
            .text(detail)
            .raw("</span>");
    }
    page.raw("</p>");
}

/// Links to the key images that show the finding, and how many more images do.
fn evidence(page: &mut Page, inputs: &ReportInputs<'_>, finding: &Finding, images: &Images<'_>) {
    let frames = frames(finding);
    let Some((best, best_frame)) = frames.first() else { return };
    page.raw("<p class=\"evidence\">Seen on ");
    let is_shown = |image: &KeyImage| finding.evidence.iter().any(|evidence| shows(image, evidence));
    let mut named = 0;
    for (number, _) in inputs.key_images.iter().enumerate().filter(|(_, image)| is_shown(image)) {
        page.raw(if named == 0 { "" } else { ", " });
        page.raw("<a href=\"#image-").value(number + 1).raw("\">image ").value(number + 1).raw("</a>");
        named += 1;
    }
    if named == 0 {
        let label = images.get(best).map(|image| present::image_label(&image, *best_frame));
        page.text(&label.unwrap_or_else(|| best.to_string()));
        named = 1;
    }
    if frames.len() > named {
        page.raw(" and ").value(frames.len() - named).raw(" more, not shown");
    }
    page.raw("</p>");
}

/// How sure the model was.
fn confidence(page: &mut Page, finding: &Finding) {
    let level = if finding.confidence.is_finite() { finding.confidence.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    page.raw("<div class=\"confidence\"><span class=\"label\">Confidence</span> <b>")
        .text(&present::percent(finding.confidence));
    page.raw("</b><svg viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    page.raw("<rect class=\"track\" width=\"100\" height=\"6\"/><rect class=\"level\" width=\"").coordinate(level);
    page.raw("\" height=\"6\"/></svg></div>");
}
