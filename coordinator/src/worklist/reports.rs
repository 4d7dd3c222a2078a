//! Event reports (PS3.4 table CC.2.4-1; pure).

use prelim_proto::ids::Uid;
use serde_json::Value;

use super::dataset::{Dataset, items, put, put_text, tag};
use super::rules::CLASS;
use crate::store::worklist::Workitem;

/// What an event is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    State = 1,
    CancelRequested = 2,
    Progress = 3,
    Server = 4,
    Assigned = 5,
}

fn report(kind: Kind, uid: &str) -> Dataset {
    let mut report = Dataset::new();
    put_text(&mut report, tag::AFFECTED_SOP_CLASS_UID, "UI", CLASS);
    put_text(&mut report, tag::AFFECTED_SOP_INSTANCE_UID, "UI", uid);
    put(&mut report, tag::EVENT_TYPE_ID, "US", vec![Value::from(kind as u16)]);
    report
}

/// Copies attributes that are there.
fn copy(from: &Dataset, to: &mut Dataset, tags: &[&str]) {
    for tag in tags {
        if let Some(attribute) = from.get(*tag) {
            to.insert((*tag).to_owned(), attribute.clone());
        }
    }
}

/// UPS State Report.
pub(crate) fn state(uid: &Uid, workitem: &Workitem) -> Dataset {
    let mut report = report(Kind::State, uid.as_str());
    copy(&workitem.dataset, &mut report, &[tag::STATE, tag::READINESS]);
    if let Some(progress) = items(&workitem.dataset, tag::PROGRESS).next() {
        copy(progress, &mut report, &[tag::CANCELLATION_REASON, tag::DISCONTINUATION_CODES]);
    }
    report
}

/// UPS Cancel Requested; `asked` is what came with the request.
pub(crate) fn cancel_requested(uid: &Uid, requesting: &str, asked: &Dataset) -> Dataset {
    let mut report = report(Kind::CancelRequested, uid.as_str());
    put_text(&mut report, tag::REQUESTING_AE, "AE", requesting);
    let told = [tag::CANCELLATION_REASON, tag::DISCONTINUATION_CODES, tag::CONTACT_URI, tag::CONTACT_NAME];
    copy(asked, &mut report, &told);
    report
}

/// UPS Progress Report.
pub(crate) fn progress(uid: &Uid, workitem: &Workitem) -> Dataset {
    let mut report = report(Kind::Progress, uid.as_str());
    copy(&workitem.dataset, &mut report, &[tag::PROGRESS]);
    report
}

/// UPS Assigned; nothing where the workitem is assigned to nobody.
pub(crate) fn assigned(uid: &Uid, workitem: &Workitem) -> Option<Dataset> {
    let stations = items(&workitem.dataset, tag::STATIONS).next();
    let performer = items(&workitem.dataset, tag::HUMAN_PERFORMERS).next();
    if stations.is_none() && performer.is_none() {
        return None;
    }
    let mut report = report(Kind::Assigned, uid.as_str());
    copy(&workitem.dataset, &mut report, &[tag::STATIONS]);
    if let Some(performer) = performer {
        copy(performer, &mut report, &[tag::HUMAN_PERFORMER_CODES, tag::HUMAN_ORGANIZATION]);
    }
    Some(report)
}

/// SCP Status Change: we stop. Subscriptions and workitems stay.
pub(crate) fn going_down(worklist: &str) -> Dataset {
    let mut report = report(Kind::Server, worklist);
    put_text(&mut report, tag::SCP_STATUS, "CS", "GOING DOWN");
    put_text(&mut report, tag::SUBSCRIPTION_LIST_STATUS, "CS", "WARM START");
    put_text(&mut report, tag::LIST_STATUS, "CS", "WARM START");
    report
}

/// What is to be told of a change from one version to the next, in order.
pub(crate) fn of_change(uid: &Uid, before: &Workitem, after: &Workitem) -> Vec<Dataset> {
    let differs = |tag: &str| before.dataset.get(tag) != after.dataset.get(tag);
    let mut reports = Vec::new();
    if differs(tag::STATIONS) || differs(tag::HUMAN_PERFORMERS) {
        reports.extend(assigned(uid, after));
    }
    if differs(tag::PROGRESS) && !after.state.is_final() {
        reports.push(progress(uid, after));
    }
    if differs(tag::STATE) || differs(tag::READINESS) {
        reports.push(state(uid, after));
    }
    reports
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::dataset::text;
    use super::*;
    use crate::store::worklist::WorkitemState;

    #[test]
    fn a_change_is_told_once_for_each_thing_that_changed() {
        let uid = Uid::parse("1.2").unwrap();
        let before = Workitem {
            state: WorkitemState::Scheduled,
            is_ours: false,
            transaction: String::new(),
            dataset: Dataset::new(),
            subscribers: BTreeMap::new(),
            base: String::new(),
            study: None,
            request: String::new(),
        };
        assert!(of_change(&uid, &before, &before).is_empty());
        let mut after = before.clone();
        put_text(&mut after.dataset, tag::STATE, "CS", "IN PROGRESS");
        super::super::dataset::put_items(&mut after.dataset, tag::PROGRESS, [Dataset::new()]);
        super::super::dataset::put_items(&mut after.dataset, tag::STATIONS, [Dataset::new()]);
        let kinds: Vec<i64> = of_change(&uid, &before, &after)
            .iter()
            .filter_map(|each| each[tag::EVENT_TYPE_ID]["Value"][0].as_i64())
            .collect();
        assert_eq!(kinds, [5, 3, 1]);
        let state = state(&uid, &after);
        assert_eq!(text(&state, tag::STATE), Some("IN PROGRESS"));
        assert_eq!(text(&state, tag::AFFECTED_SOP_INSTANCE_UID), Some("1.2"));
        assert_eq!(text(&going_down("1.3"), tag::SCP_STATUS), Some("GOING DOWN"));
    }
}
