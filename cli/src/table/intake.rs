//! How a study came in, and what the site's rules made of it.

use prelim_proto::study::CompletionReason;
use prelim_proto::v1::{Intake, Study};
use serde_json::json;

fn intake(study: &Study) -> Intake {
    study.intake.clone().unwrap_or_default()
}

/// Why a study was called complete, in a few words; nothing before.
pub(crate) fn completion(study: &Study) -> &'static str {
    let completion = intake(study).completion;
    let reason = completion.and_then(|completion| CompletionReason::try_from(completion.reason()).ok());
    reason.map_or("", CompletionReason::as_str)
}

/// The rule that took a study; nothing before.
pub(crate) fn rule(study: &Study) -> String {
    intake(study).route.map(|route| route.rule).unwrap_or_default()
}

/// The same for programs.
pub(crate) fn json(study: &Study) -> serde_json::Value {
    let intake = intake(study);
    let completion = intake.completion.map(|completion| {
        let reason = CompletionReason::try_from(completion.reason()).ok();
        json!({"reason": reason, "detail": completion.detail})
    });
    let route = intake.route.map(|route| {
        let mut known = json!({"rule": route.rule, "destinations": route.destinations});
        for (name, value) in [("model", route.model), ("prompt", route.prompt)] {
            if !value.is_empty() {
                known[name] = value.into();
            }
        }
        known
    });
    json!({
        "senders": intake.senders,
        "expected_instances": intake.expected_instances,
        "completion": completion,
        "route": route,
    })
}
