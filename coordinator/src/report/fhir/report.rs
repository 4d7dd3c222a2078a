//! DiagnosticReport.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prelim_proto::finding::Presence;
use prelim_proto::review::Standing;
use serde_json::{Value, json};

use super::bundle::Ids;
use super::{narrative, value};
use crate::report::lookup::images_read;
use crate::report::present;
use crate::report::uid::Names;
use crate::report::{ReportInputs, concepts, text};

/// The report. A device cannot be its performer in R4: it is the author by an extension, and the device of each Observation.
pub(super) fn of(inputs: &ReportInputs<'_>, names: &Names, ids: &Ids) -> Value {
    let ReportInputs { report, study, .. } = inputs;
    let sentences: Vec<String> = report.impression.iter().map(|sentence| present::clean(&sentence.text)).collect();
    let found = report.findings.iter().filter(|finding| finding.presence == Presence::Present);
    let results: Vec<Value> = ids.observations.iter().map(|id| value::reference(id)).collect();
    json!({
        "resourceType": "DiagnosticReport",
        "language": "en",
        "text": { "status": "generated", "div": narrative::of(inputs) },
        "extension": extensions(inputs, ids),
        "identifier": [value::uid(&names.instance)],
        "status": status(report.standing()),
        "category": [value::hl7("v2-0074", "RAD", "Radiology")],
        "code": code(inputs),
        "subject": value::reference(&ids.patient),
        "effectiveDateTime": value::date(&study.attributes.study_date),
        "result": results,
        "issued": report.review.as_ref().map(|review| value::instant(review.at_ms)),
        "resultsInterpreter": report.review.iter().map(|_| value::reference(&ids.reviewer)).collect::<Vec<_>>(),
        "imagingStudy": [value::reference(&ids.study)],
        "conclusion": sentences.join("\n"),
        "conclusionCode": found.map(|finding| value::concept(finding.code.concept())).collect::<Vec<_>>(),
        "presentedForm": [{
            "contentType": "text/plain; charset=utf-8",
            "language": "en",
            "data": STANDARD.encode(text::write(inputs)),
            "title": format!("{}, version {}", present::banner(report), report.version),
        }],
    })
}

/// The code of DiagnosticReportStatus.
pub(super) fn status(standing: Standing) -> &'static str {
    match standing {
        Standing::Draft => "preliminary",
        Standing::Signed => "final",
        Standing::Amended => "amended",
        Standing::Rejected => "cancelled",
    }
}

/// What FHIR has no element for.
fn extensions(inputs: &ReportInputs<'_>, ids: &Ids) -> Vec<Value> {
    let report = inputs.report;
    let text = |name: &str, text: &str| value::extension(name, "valueString", present::clean(text).into());
    let mut extensions = vec![
        text(if report.standing().is_draft() { "unsigned-draft" } else { "statement" }, &report.statement),
        value::extension("author", "valueReference", value::reference(&ids.device)),
        value::extension("urgency", "valueCodeableConcept", value::concept(concepts::priority(report.urgency))),
        value::extension("partial", "valueBoolean", report.partial.into()),
    ];
    if let Some(replaces) = present::replaces(report) {
        extensions.push(text("amended", &replaces));
    }
    if present::is_demonstration(report) {
        extensions.push(text("demonstration", present::DEMONSTRATION));
    }
    extensions.extend(report.comparison.iter().map(|sentence| text("comparison", sentence)));
    // Not in the Bundle: the reference is by identifier.
    extensions.extend(report.priors.iter().map(|prior| {
        let display = present::prior(prior);
        let study =
            json!({ "type": "ImagingStudy", "identifier": value::uid(prior.study.as_str()), "display": display });
        value::extension("compared-with", "valueReference", study)
    }));
    extensions.extend(report.limitations.iter().map(|limitation| text("limitation", limitation)));
    extensions.extend(report.inserted.iter().map(|inserted| text("inserted-words", &present::inserted(inserted))));
    extensions.extend(report.unread.iter().map(|unread| text("not-read", &present::unread(unread))));
    extensions
}

/// The kind of examination, as far as the images tell; and for all, that it is imaging.
fn code(inputs: &ReportInputs<'_>) -> Value {
    let read = images_read(inputs.study, inputs.report);
    let mut codings = vec![value::coding(concepts::DIAGNOSTIC_IMAGING_STUDY)];
    codings.extend(concepts::procedures(inputs.report, &read).into_iter().map(value::coding));
    json!({ "coding": codings, "text": present::clean(&inputs.study.attributes.description) })
}
