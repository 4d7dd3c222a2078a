//! What the editor offers: every word that a finding may be made of.

use axum::body::Body;
use hyper::Response;
use prelim_proto::finding::{Laterality, Presence, Severity, Zone};
use prelim_proto::report::Urgency;
use prelim_proto::vocabulary::FindingCode;
use serde_json::{Value, json};

use super::answer_json;
use crate::report::present;
use crate::review::edit::MAX_SIZE_MM;

/// Tells the words.
pub(super) fn tell() -> Response<Body> {
    let findings: Vec<Value> = FindingCode::ALL
        .iter()
        .map(|code| {
            let concept = code.concept();
            let concept = json!({"value": concept.value, "scheme": concept.scheme, "meaning": concept.meaning});
            json!({"key": code.key(), "name": code.name(), "concept": concept})
        })
        .collect();
    let sides = [Laterality::Left, Laterality::Right, Laterality::Bilateral];
    let zones = [Zone::Upper, Zone::Mid, Zone::Lower, Zone::Anterior, Zone::Posterior];
    let severities = [Severity::Small, Severity::Mild, Severity::Moderate, Severity::Large, Severity::Severe];
    answer_json(&json!({
        "findings": findings,
        "sides": sides.map(|side| json!({"key": side, "name": present::laterality(side)})),
        "sites": zones.map(|zone| json!({"key": zone, "name": present::zone(zone)})),
        "severities": severities.map(|severity| json!({"key": severity, "name": present::severity(severity)})),
        "presences": [Presence::Present, Presence::Absent, Presence::Uncertain],
        "urgencies": [Urgency::Routine, Urgency::Urgent, Urgency::Critical],
        "measures": [{"key": "size_mm", "name": "largest extent", "unit": "mm", "above": 0, "most": MAX_SIZE_MM}],
        "most": {"text": 2000, "findings": 256, "impression": 100},
    }))
}
