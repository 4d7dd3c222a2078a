//! What rules make of a study, as a message.

use prelim_proto::v1;

use crate::route::Decision;

pub(super) fn message(decision: Decision) -> v1::TestRouteResponse {
    let steps = decision.steps.into_iter();
    v1::TestRouteResponse {
        steps: steps.map(|s| v1::RouteStep { rule: s.rule, takes: s.takes, reasons: s.reasons }).collect(),
        skip: decision.action.skip,
        priority: v1::Priority::from(decision.action.priority) as i32,
        destinations: decision.action.destinations,
        model: decision.action.demand.model.map(Into::into).unwrap_or_default(),
        prompt: decision.action.demand.prompt.map(Into::into).unwrap_or_default(),
    }
}
