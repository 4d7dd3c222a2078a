//! One finding as an Observation.

use prelim_proto::comparison::ChangeKind;
use prelim_proto::finding::{Evidence, Finding, Presence};
use prelim_proto::review::Assessment;
use serde_json::{Value, json};

use super::bundle::Ids;
use super::report::status;
use super::value;
use crate::report::{ReportInputs, concepts, json as document, present};

/// The Observation: what was looked for, whether it is there, where, how large, and how sure the model is.
///
/// `index` is the finding's in the report; `tracking_uid` names it in the structured report too.
pub(super) fn of(inputs: &ReportInputs<'_>, index: usize, tracking_uid: &str, ids: &Ids) -> Value {
    let finding = &inputs.report.findings[index];
    let (code, display) = match finding.presence {
        Presence::Present => ("POS", "Positive"),
        Presence::Absent => ("NEG", "Negative"),
        Presence::Uncertain => ("IND", "Indeterminate"),
    };
    let demonstration = present::is_demonstration(inputs.report).then(|| json!({ "text": present::DEMONSTRATION }));
    let signed = inputs.report.standing().is_signed();
    let note = match signed {
        true => inputs.report.statement.clone(),
        false => format!("{} {}", inputs.report.statement, present::CONFIDENCE_NOTE),
    };
    json!({
        "resourceType": "Observation",
        "extension": finding.evidence.iter().map(evidence).collect::<Vec<_>>(),
        "identifier": [value::uid(tracking_uid)],
        "status": status(inputs.report.standing()),
        "category": [value::hl7("observation-category", "imaging", "Imaging")],
        "code": named(finding.code.concept(), finding.code.name()),
        "subject": value::reference(&ids.patient),
        "effectiveDateTime": value::date(&inputs.study.attributes.study_date),
        "valueCodeableConcept": value::concept(concepts::presence(finding.presence)),
        "interpretation": [value::hl7("v3-ObservationInterpretation", code, display)],
        "note": [{ "text": note }, demonstration],
        "bodySite": named(concepts::site(finding.code), &place(finding)),
        "device": value::reference(&ids.device),
        "derivedFrom": [value::reference(&ids.study)],
        "component": components(finding, present::change(inputs.report, index), !signed),
    })
}

/// A finding that a reviewer rejected: it was said, and is not so.
pub(super) fn withdrawn(inputs: &ReportInputs<'_>, finding: &Finding, assessment: &Assessment, ids: &Ids) -> Value {
    let why = (!assessment.reason.is_empty()).then(|| json!({ "text": present::clean(&assessment.reason) }));
    json!({
        "resourceType": "Observation",
        "identifier": [value::uid(assessment.tracking.as_str())],
        "status": "entered-in-error",
        "category": [value::hl7("observation-category", "imaging", "Imaging")],
        "code": named(finding.code.concept(), finding.code.name()),
        "subject": value::reference(&ids.patient),
        "effectiveDateTime": value::date(&inputs.study.attributes.study_date),
        "note": [{ "text": inputs.report.statement }, why],
        "device": value::reference(&ids.device),
        "derivedFrom": [value::reference(&ids.study)],
    })
}

fn named(concept: prelim_proto::vocabulary::Concept, text: &str) -> Value {
    json!({ "coding": [value::coding(concept)], "text": text })
}

/// The site in words: "left pleura, lower zone".
fn place(finding: &Finding) -> String {
    let side = finding.laterality.map(|side| format!("{} ", present::laterality(side))).unwrap_or_default();
    let zone = finding.zone.map(|zone| format!(", {}", present::zone(zone))).unwrap_or_default();
    format!("{side}{}{zone}", concepts::site(finding.code).meaning.to_lowercase())
}

/// Side and part of the site (one bodySite has no room for them), amount, size, what became of it, and the model's certainty
/// where it is asked for.
fn components(finding: &Finding, change: Option<ChangeKind>, sure: bool) -> Vec<Value> {
    let coded =
        |name, concept| json!({ "code": value::concept(name), "valueCodeableConcept": value::concept(concept) });
    let measured =
        |name, number, unit| json!({ "code": value::concept(name), "valueQuantity": value::quantity(number, unit) });
    let certainty = if finding.confidence.is_finite() {
        measured(concepts::CERTAINTY_OF_FINDING, finding.confidence.clamp(0.0, 1.0) * 100.0, concepts::PERCENT)
    } else {
        let unknown = value::hl7("data-absent-reason", "not-a-number", "Not a Number (NaN)");
        json!({ "code": value::concept(concepts::CERTAINTY_OF_FINDING), "dataAbsentReason": unknown })
    };
    [
        finding.laterality.map(|side| coded(concepts::LATERALITY, concepts::laterality(side))),
        finding.zone.map(|zone| coded(concepts::TOPOGRAPHICAL_MODIFIER, concepts::zone(zone))),
        finding.severity.map(|severity| coded(concepts::SEVERITY, concepts::severity(severity))),
        finding.size_mm.map(|size| measured(concepts::LONG_AXIS, size, concepts::MILLIMETER)),
        change.and_then(concepts::change).map(|it| coded(concepts::COMPARISON_TO_PREVIOUS_STUDIES, it)),
        sure.then_some(certainty),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Where the finding was seen. R4 cannot point at a part of an image, so this is prelim's own: edges are fractions of the
/// frame's height and width.
fn evidence(evidence: &Evidence) -> Value {
    let part = |name: &str, kind: &str, value: Value| json!({ "url": name, kind: value });
    let mut parts = vec![
        part("instance", "valueUri", format!("urn:oid:{}", evidence.instance).into()),
        part("series", "valueUri", format!("urn:oid:{}", evidence.series).into()),
        part("frame", "valuePositiveInt", evidence.frame.into()),
    ];
    if let Some(bounds) = evidence.bounds {
        let edges = [("top", bounds.top), ("left", bounds.left), ("bottom", bounds.bottom), ("right", bounds.right)];
        parts.extend(edges.map(|(name, edge)| part(name, "valueDecimal", document::fraction(edge).into())));
    }
    json!({ "url": format!("{}evidence", value::EXTENSION), "extension": parts })
}
