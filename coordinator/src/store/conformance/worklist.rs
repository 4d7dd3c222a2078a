//! The worklist: versions, limits, listings, subscriptions and reports; and random operations on it.

use std::collections::BTreeMap;

use prelim_proto::ids::{Tenant, Uid};
use proptest::prelude::*;

use super::Harness;
use super::cases::Case;
use super::fixture::uid;
use crate::store::record::Done;
use crate::store::worklist::{
    Dataset, NewWorkitem, Report, Subscription, Workitem, WorkitemChange, WorkitemQuery, WorkitemState,
};
use crate::store::{JobStore, StoreError};

/// The cases.
pub(super) fn cases<H: Harness>() -> [for<'a> fn(&'a mut H) -> Case<'a>; 4] {
    [
        |h| Box::pin(of_two_changes_of_one_version_one_is_taken(h)),
        |h| Box::pin(workitems_are_bounded_and_listed_in_order(h)),
        |h| Box::pin(reports_are_numbered_and_survive(h)),
        |h| Box::pin(what_is_over_is_forgotten_unless_it_is_locked(h)),
    ]
}

fn tenant(n: u8) -> Tenant {
    Tenant::parse(["east", "west"][usize::from(n % 2)]).unwrap()
}

fn name(n: u8) -> Uid {
    uid(&format!("1.5.{n}"))
}

/// A workitem that says which change it is from.
fn workitem(state: WorkitemState, mark: u8, is_ours: bool, is_locked: bool) -> Workitem {
    let mut dataset = Dataset::new();
    dataset.insert("00741204".to_owned(), serde_json::json!({"vr": "LO", "Value": [format!("mark {mark}")]}));
    Workitem {
        state,
        is_ours,
        transaction: if state == WorkitemState::Scheduled { String::new() } else { "1.9".to_owned() },
        dataset,
        subscribers: BTreeMap::from([("WATCHER".to_owned(), is_locked)]),
        base: "http://x/dicom-web".to_owned(),
        study: is_ours.then(|| uid("1.2.1")),
        request: String::new(),
    }
}

fn report(n: u8, mark: u8) -> Report {
    let dataset = workitem(WorkitemState::Scheduled, mark, false, false).dataset;
    Report { tenant: tenant(n), to: vec!["WATCHER".to_owned()], dataset }
}

fn new(n: u8, max_open: u64) -> NewWorkitem {
    NewWorkitem {
        uid: name(n),
        tenant: tenant(n),
        workitem: workitem(WorkitemState::Scheduled, 0, n.is_multiple_of(3), false),
        max_open,
        reports: vec![report(n, 0)],
    }
}

fn change(n: u8, version: u64, state: WorkitemState, mark: u8) -> WorkitemChange {
    let workitem = workitem(state, mark, n.is_multiple_of(3), mark % 2 == 1);
    WorkitemChange { uid: name(n), version, workitem, reports: vec![report(n, mark)] }
}

fn listed(tenants: Option<Vec<Tenant>>, to_be_performed: bool, limit: usize) -> WorkitemQuery {
    WorkitemQuery { tenants, to_be_performed, after: None, limit }
}

async fn of_two_changes_of_one_version_one_is_taken<H: Harness>(h: &mut H) {
    use WorkitemState::{Canceled, Completed, InProgress};
    let store = h.store();
    assert_eq!(store.create_workitem(new(0, 9)).await, Ok(Done::Now));
    assert_eq!(store.create_workitem(new(0, 9)).await, Ok(Done::Before));
    let other = NewWorkitem { tenant: tenant(1), ..new(0, 9) };
    assert_eq!(store.create_workitem(other).await, Err(StoreError::WorkitemExists(name(0))));
    let (one, two) = (change(0, 1, InProgress, 1), change(0, 1, InProgress, 2));
    let (first, second) = tokio::join!(store.change_workitem(one.clone()), store.change_workitem(two.clone()));
    let changed = Err(StoreError::WorkitemChanged(name(0)));
    assert!((first == Ok(Done::Now) && second == changed) || (first == changed && second == Ok(Done::Now)));
    let taken = if first.is_ok() { one } else { two };
    h.reopen().await;
    let store = h.store();
    assert_eq!(store.change_workitem(taken.clone()).await, Ok(Done::Before), "an answer may be lost");
    let held = store.workitem(&name(0)).await.unwrap().unwrap();
    assert_eq!((held.version, &held.tenant, &held.workitem), (2, &tenant(0), &taken.workitem));
    assert_eq!(store.change_workitem(change(0, 2, Completed, 3)).await, Ok(Done::Now));
    assert_eq!(store.change_workitem(taken).await, Err(StoreError::WorkitemChanged(name(0))));
    assert_eq!(store.change_workitem(change(7, 1, Canceled, 1)).await, Err(StoreError::NoWorkitem(name(7))));
    assert_eq!(store.workitem(&name(7)).await, Ok(None));
}

async fn workitems_are_bounded_and_listed_in_order<H: Harness>(h: &mut H) {
    let store = h.store();
    for n in [4, 0, 2] {
        assert_eq!(store.create_workitem(new(n, 3)).await, Ok(Done::Now));
        h.advance(10);
    }
    assert_eq!(store.create_workitem(new(6, 3)).await, Err(StoreError::TooManyWorkitems { limit: 3 }));
    assert_eq!(store.create_workitem(new(1, 3)).await, Ok(Done::Now), "another tenant has a limit of its own");
    let names = async |query: WorkitemQuery| -> Vec<Uid> {
        h.store().workitems(query).await.unwrap().into_iter().map(|record| record.uid).collect()
    };
    assert_eq!(names(listed(None, false, 9)).await, [name(4), name(0), name(2), name(1)]);
    assert_eq!(names(listed(Some(vec![tenant(1), tenant(0)]), false, 2)).await, [name(4), name(0)]);
    let first = store.workitem(&name(4)).await.unwrap().unwrap();
    let rest = WorkitemQuery { after: Some((first.created_at_ms, first.uid)), ..listed(None, false, 2) };
    assert_eq!(names(rest).await, [name(0), name(2)]);
    assert_eq!(names(listed(None, true, 9)).await, [name(0)]);
    // What is over makes room, and is not to be performed.
    assert_eq!(store.change_workitem(change(0, 1, WorkitemState::Canceled, 1)).await, Ok(Done::Now));
    assert_eq!(names(listed(None, true, 9)).await, []);
    assert_eq!(store.create_workitem(new(6, 3)).await, Ok(Done::Now));
}

async fn reports_are_numbered_and_survive<H: Harness>(h: &mut H) {
    assert_eq!(h.store().last_worklist_report().await, Ok(0));
    assert_eq!(h.store().worklist_reports(0, 9).await, Ok(Vec::new()));
    h.store().create_workitem(new(0, 9)).await.unwrap();
    h.store().change_workitem(change(0, 1, WorkitemState::InProgress, 1)).await.unwrap();
    h.store().change_workitem(change(0, 1, WorkitemState::InProgress, 1)).await.unwrap();
    h.reopen().await;
    let store = h.store();
    assert_eq!(store.last_worklist_report().await, Ok(2), "what is repeated is told once");
    assert_eq!(store.worklist_reports(0, 9).await, Ok(vec![(1, report(0, 0)), (2, report(0, 1))]));
    assert_eq!(store.worklist_reports(1, 9).await, Ok(vec![(2, report(0, 1))]));
    assert_eq!(store.worklist_reports(2, 9).await, Ok(Vec::new()));
    let subscription = |title: &str, filter: Option<&str>| Subscription {
        title: title.to_owned(),
        is_locked: true,
        filter: filter.map(str::to_owned),
    };
    assert_eq!(store.subscribe_worklist(&tenant(0), subscription("B", None), 2).await, Ok(Done::Now));
    assert_eq!(store.subscribe_worklist(&tenant(0), subscription("B", None), 2).await, Ok(Done::Before));
    assert_eq!(store.subscribe_worklist(&tenant(0), subscription("A", Some("x=1")), 2).await, Ok(Done::Now));
    let many = Err(StoreError::TooManySubscriptions { limit: 2 });
    assert_eq!(store.subscribe_worklist(&tenant(0), subscription("C", None), 2).await, many);
    assert_eq!(store.subscribe_worklist(&tenant(0), subscription("B", Some("y=2")), 2).await, Ok(Done::Now));
    let all = store.worklist_subscriptions(&tenant(0)).await.unwrap();
    assert_eq!(all, [subscription("A", Some("x=1")), subscription("B", Some("y=2"))]);
    assert_eq!(store.worklist_subscriptions(&tenant(1)).await, Ok(Vec::new()));
    assert_eq!(store.unsubscribe_worklist(&tenant(0), "A").await, Ok(Done::Now));
    assert_eq!(store.unsubscribe_worklist(&tenant(0), "A").await, Ok(Done::Before));
}

async fn what_is_over_is_forgotten_unless_it_is_locked<H: Harness>(h: &mut H) {
    let store = h.store();
    for n in [0, 2, 4] {
        store.create_workitem(new(n, 9)).await.unwrap();
    }
    // The mark says whether somebody holds it.
    store.change_workitem(change(0, 1, WorkitemState::Completed, 2)).await.unwrap();
    store.change_workitem(change(2, 1, WorkitemState::Canceled, 3)).await.unwrap();
    h.advance(100);
    assert_eq!(store.forget_workitems(100, 200, 9).await, Ok(0));
    h.advance(1);
    assert_eq!(store.forget_workitems(100, 200, 9).await, Ok(1));
    assert_eq!(store.workitem(&name(0)).await, Ok(None));
    assert!(store.workitem(&name(2)).await.unwrap().is_some());
    h.advance(100);
    assert_eq!(store.forget_workitems(100, 200, 9).await, Ok(1));
    let left = store.workitems(listed(None, false, 9)).await.unwrap();
    assert_eq!(left.iter().map(|record| &record.uid).collect::<Vec<_>>(), [&name(4)]);
    assert_eq!(store.create_workitem(new(0, 9)).await, Ok(Done::Now), "its UID is free again");
}

/// A random operation.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Create { n: u8 },
    Change { n: u8, state: u8, mark: u8, stale: bool },
    Forget,
    Subscribe { n: u8, title: u8, filter: bool },
    Unsubscribe { n: u8, title: u8 },
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0_u8..4).prop_map(|n| Op::Create { n }),
        6 => (0_u8..4, 0_u8..4, 0_u8..4, prop::bool::weighted(0.2))
            .prop_map(|(n, state, mark, stale)| Op::Change { n, state, mark, stale }),
        1 => Just(Op::Forget),
        1 => (0_u8..2, 0_u8..3, any::<bool>()).prop_map(|(n, title, filter)| Op::Subscribe { n, title, filter }),
        1 => (0_u8..2, 0_u8..3).prop_map(|(n, title)| Op::Unsubscribe { n, title }),
    ]
}

/// Carries out an operation; the answer as text. `version` is that of the workitem in the model.
pub(super) async fn apply(store: &dyn JobStore, op: &Op, version: impl Fn(&Uid) -> u64) -> String {
    match op {
        Op::Create { n } => format!("{:?}", store.create_workitem(new(*n, 1)).await),
        Op::Change { n, state, mark, stale } => {
            let version = version(&name(*n)).saturating_sub(u64::from(*stale));
            let state = WorkitemState::ALL[usize::from(*state)];
            format!("{:?}", store.change_workitem(change(*n, version, state, *mark)).await)
        }
        Op::Forget => format!("{:?}", store.forget_workitems(20, 60, 2).await),
        Op::Subscribe { n, title, filter } => {
            let filter = (*filter).then(|| "x=1".to_owned());
            let subscription = Subscription { title: format!("AE{title}"), is_locked: filter.is_none(), filter };
            format!("{:?}", store.subscribe_worklist(&tenant(*n), subscription, 2).await)
        }
        Op::Unsubscribe { n, title } => {
            format!("{:?}", store.unsubscribe_worklist(&tenant(*n), &format!("AE{title}")).await)
        }
    }
}

/// All that can be seen of the worklist, as text.
pub(super) async fn view(store: &dyn JobStore) -> String {
    let mut seen = format!("{:?}\n", store.workitems(listed(None, false, usize::MAX)).await);
    seen += &format!("{:?}\n", store.workitems(listed(None, true, usize::MAX)).await);
    for n in 0..2 {
        seen += &format!("{:?}\n", store.workitems(listed(Some(vec![tenant(n)]), false, 2)).await);
        seen += &format!("{:?}\n", store.worklist_subscriptions(&tenant(n)).await);
    }
    seen + &format!("{:?}\n{:?}\n", store.worklist_reports(0, 100).await, store.last_worklist_report().await)
}
