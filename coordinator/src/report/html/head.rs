//! The page's head, the banner, and who was examined.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prelim_proto::report::{Report, Urgency};
use prelim_proto::review::Standing;
use sha2::{Digest as _, Sha256};

use crate::report::markup::Page;
use crate::report::{ReportInputs, present};

const STYLE: &str = include_str!("page.css");

/// From the document type to the banner.
pub(super) fn write(page: &mut Page, inputs: &ReportInputs<'_>) {
    let known = &inputs.study.attributes;
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n");
    page.raw("<meta name=\"referrer\" content=\"no-referrer\">\n");
    // The style is allowed by its digest, so that the policy needs no 'unsafe-inline' and a server may send the same one.
    page.raw(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'sha256-",
    );
    page.value(STANDARD.encode(Sha256::digest(STYLE))).raw("'; base-uri 'none'; form-action 'none'\">\n");
    let study = [kinds(inputs.report), present::date(&known.study_date)].join(" ");
    let standing = inputs.report.standing();
    page.raw("<title>").text(match standing {
        Standing::Draft => "Unsigned draft",
        Standing::Signed => "Report",
        Standing::Amended => "Amended report",
        Standing::Rejected => "Rejected draft",
    });
    page.raw(": ").text(&name(inputs)).raw(", ").text(&study).raw("</title>\n");
    page.raw("<style>").raw(STYLE).raw("</style>\n</head>\n<body>\n");
    page.raw("<header class=\"banner").raw(if standing.is_signed() { " signed" } else { "" }).raw("\"><p><strong>");
    page.text(&present::banner(inputs.report)).raw("</strong></p>");
    if present::is_demonstration(inputs.report) {
        page.raw("<p class=\"demonstration\">").raw(present::DEMONSTRATION).raw("</p>");
    }
    page.raw("</header>\n");
}

/// Patient, study, urgency.
pub(super) fn patient(page: &mut Page, inputs: &ReportInputs<'_>) {
    let ReportInputs { report, study, .. } = inputs;
    let known = &study.attributes;
    page.raw("<section class=\"patient\" aria-label=\"Patient and study\"><div class=\"who\"><h1 dir=\"auto\">");
    page.text(&name(inputs)).raw("</h1>");
    urgency(page, report);
    page.raw("</div><dl>");
    page.entry("Patient ID", &known.patient_id);
    page.entry("Born", &born(inputs));
    page.entry("Sex", sex(&known.patient_sex));
    let when = [present::date(&known.study_date), present::time(&known.study_time)].join(" ");
    page.entry("Examined", &when);
    page.entry("Study", &[kinds(report), present::clean(&known.description)].join(" · "));
    page.entry("Accession", &known.accession_number);
    page.entry("Referred by", &present::person_name(&known.referring_physician));
    page.entry("Institution", &known.institution);
    page.raw("</dl></section>\n");
}

fn urgency(page: &mut Page, report: &Report) {
    let class = match report.urgency {
        Urgency::Routine => "routine",
        Urgency::Urgent => "urgent",
        Urgency::Critical => "critical",
    };
    page.raw("<p class=\"tags\"><span class=\"tag ")
        .raw(class)
        .raw("\">")
        .raw(present::urgency(report.urgency))
        .raw("</span>");
    if report.partial {
        page.raw("<a class=\"tag partial\" href=\"#not-read\">Partial: not everything was read</a>");
    }
    if let Some(replaces) = present::replaces(report) {
        page.raw("<span class=\"tag partial\">").text(&replaces).raw("</span>");
    }
    page.raw("</p>");
}

fn name(inputs: &ReportInputs<'_>) -> String {
    let name = present::person_name(&inputs.study.attributes.patient_name);
    if name.is_empty() { "Patient without a name".to_owned() } else { name }
}

fn kinds(report: &Report) -> String {
    report.kinds.iter().map(|&kind| present::kind(kind)).collect::<Vec<_>>().join(" and ")
}

fn born(inputs: &ReportInputs<'_>) -> String {
    let known = &inputs.study.attributes;
    let date = present::date(&known.patient_birth_date);
    match present::age_years(&known.patient_birth_date, &known.study_date) {
        Some(years) => format!("{date} ({years} y)"),
        None => date,
    }
}

fn sex(value: &str) -> &str {
    match value.trim() {
        "M" => "male",
        "F" => "female",
        "O" => "other",
        other => other,
    }
}
