//! Cases about how studies arrive: when they are complete, and what the site's rules make of them.

use prelim_proto::study::{Completion, CompletionReason, Priority, StudyState};

use super::Harness;
use super::cases::{Case, record};
use super::fixture::{XRAY, add, complete, completion, instance, plan, study};
use crate::store::StoreError;
use crate::store::record::{Arrival, Arriving, Done, Due, MAX_ASSOCIATIONS, MAX_SENDERS, Plan, StudyRecord};

/// Every case.
pub(super) fn cases<H: Harness>() -> [for<'a> fn(&'a mut H) -> Case<'a>; 5] {
    [
        |h| Box::pin(a_study_is_complete_when_its_time_has_come_and_nothing_changed(h)),
        |h| Box::pin(associations_and_senders_are_noted_once(h)),
        |h| Box::pin(what_is_kept_of_senders_has_limits(h)),
        |h| Box::pin(a_study_that_is_opened_again_is_complete_for_another_reason(h)),
        |h| Box::pin(a_skipped_study_has_its_reason_and_can_be_opened_again(h)),
    ]
}

fn due(study: &StudyRecord, at_ms: i64) -> Due {
    let completion = completion(CompletionReason::QuietPeriod);
    Due { study: study.uid.clone(), changes: study.arrival.changes, at_ms, completion }
}

fn begun(association: &str, sender: &str) -> Arriving {
    Arriving::Begun { association: association.into(), sender: sender.into() }
}

fn ended(association: &str, whole: bool) -> Arriving {
    Arriving::Ended { association: association.into(), whole }
}

async fn a_study_is_complete_when_its_time_has_come_and_nothing_changed(h: &mut impl Harness) {
    let (store, uid) = (h.store(), study(1));
    let begun = first(h).await;
    let at_ms = begun.last_instance_at_ms + 100;
    let early = due(&begun, at_ms);
    let unknown = Due { study: study(9), ..early.clone() };
    assert_eq!(store.complete_due(vec![unknown, early.clone()]).await, Ok(vec![]));
    h.advance(80);
    // What comes in between, and what is learnt, make an older decision void.
    store.add_instances(add(&uid, vec![instance(&uid, 2, 1)])).await.unwrap();
    let before = due(&record(h, &uid).await, at_ms);
    h.advance(30);
    assert_eq!(store.complete_due(vec![early]).await, Ok(vec![]));
    store.note_arriving(&uid, Arriving::Expected(7)).await.unwrap();
    assert_eq!(store.complete_due(vec![before]).await, Ok(vec![]));
    // A duplicate is no news.
    let now = due(&record(h, &uid).await, at_ms + 80);
    store.add_instances(add(&uid, vec![instance(&uid, 2, 1)])).await.unwrap();
    assert_eq!(store.complete_due(vec![now.clone()]).await, Ok(vec![]));
    h.advance(70);
    h.reopen().await;
    let unknown = Due { study: study(9), ..now.clone() };
    for want in [vec![uid.clone()], vec![]] {
        assert_eq!(h.store().complete_due(vec![unknown.clone(), now.clone()]).await, Ok(want));
    }
    let held = record(h, &uid).await;
    assert_eq!((held.state, held.completion), (StudyState::Complete, Some(now.completion)));
    assert_eq!(held.arrival.expected_instances, Some(7));
}

/// The record of a study that begins now.
async fn first(h: &impl Harness) -> StudyRecord {
    let uid = study(1);
    h.store().add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
    record(h, &uid).await
}

async fn associations_and_senders_are_noted_once(h: &mut impl Harness) {
    let uid = study(1);
    assert_eq!(h.store().note_arriving(&uid, begun("a", "CT1")).await, Err(StoreError::NoStudy(uid.clone())));
    let before = first(h).await;
    let store = h.store();
    for (arriving, want) in [
        (begun("a", "CT1"), Done::Now),
        (begun("a", "CT1"), Done::Before),
        (begun("b", "CT1"), Done::Now),
        (begun("c", "A PACS"), Done::Now),
        (ended("z", true), Done::Before),
        (ended("b", true), Done::Now),
        (ended("b", true), Done::Before),
        (Arriving::Expected(4), Done::Now),
        (Arriving::Expected(4), Done::Before),
    ] {
        assert_eq!(store.note_arriving(&uid, arriving.clone()).await, Ok(want), "{arriving:?}");
    }
    h.reopen().await;
    let held = record(h, &uid).await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let expected = Arrival {
        opened_at_ms: before.arrival.opened_at_ms,
        changes: before.arrival.changes + 5,
        senders: names(&["A PACS", "CT1"]),
        open: names(&["a", "c"]),
        ended_at_ms: Some(h.now_ms()),
        expected_instances: Some(4),
    };
    assert_eq!(held.arrival, expected);
    // One that breaks off says that more is to come.
    h.store().note_arriving(&uid, ended("a", false)).await.unwrap();
    assert_eq!(record(h, &uid).await.arrival.ended_at_ms, None);
}

async fn what_is_kept_of_senders_has_limits(h: &mut impl Harness) {
    let uid = first(h).await.uid;
    for n in 0..MAX_ASSOCIATIONS + 3 {
        h.store().note_arriving(&uid, begun(&format!("a{n}"), &format!("S{n}"))).await.unwrap();
    }
    assert_eq!(h.store().note_arriving(&uid, begun("more", "MORE")).await, Ok(Done::Before));
    let held = record(h, &uid).await.arrival;
    assert_eq!((held.open.len(), held.senders.len()), (MAX_ASSOCIATIONS, MAX_SENDERS));
    assert_eq!(held.changes, 1 + MAX_ASSOCIATIONS as u64);
}

async fn a_study_that_is_opened_again_is_complete_for_another_reason(h: &mut impl Harness) {
    let (uid, store) = (first(h).await.uid, h.store());
    store.complete_studies(complete(&uid, None)).await.unwrap();
    let told = Completion { reason: CompletionReason::Told, ..completion(CompletionReason::Told) };
    assert_eq!(record(h, &uid).await.completion, Some(told));
    store.plan_study(&uid, plan(&uid, 1, 0, &[XRAY], Priority::Stat)).await.unwrap();
    let planned = record(h, &uid).await;
    assert_eq!(planned.priority, Priority::Stat);
    assert_eq!(planned.route, Some(plan(&uid, 1, 0, &[], Priority::Stat).route));
    // An association that only brings what is held, and a count, open nothing.
    store.note_arriving(&uid, begun("a", "CT1")).await.unwrap();
    assert_eq!(record(h, &uid).await.state, StudyState::Queued);

    h.advance(50);
    store.add_instances(add(&uid, vec![instance(&uid, 2, 1)])).await.unwrap();
    let open = record(h, &uid).await;
    assert_eq!((open.state, open.completion.clone(), open.route.clone()), (StudyState::Receiving, None, None));
    assert_eq!(open.arrival.opened_at_ms, planned.arrival.opened_at_ms + 50);
    assert_eq!(open.arrival.open.len(), 1, "its association is open still");
    assert_eq!(store.complete_due(vec![due(&open, 0)]).await, Ok(vec![uid.clone()]));
    // A rule puts nothing back.
    let second = Plan { priority: Priority::Routine, ..plan(&uid, 2, open.next_job, &[XRAY], Priority::Routine) };
    assert_eq!(store.plan_study(&uid, second).await, Ok(Done::Now));
    let held = record(h, &uid).await;
    assert_eq!(held.completion.map(|completion| completion.reason), Some(CompletionReason::QuietPeriod));
    assert_eq!(held.priority, Priority::Stat);
}

async fn a_skipped_study_has_its_reason_and_can_be_opened_again(h: &mut impl Harness) {
    let (uid, store) = (first(h).await.uid, h.store());
    store.complete_studies(complete(&uid, None)).await.unwrap();
    let skip = Plan { skipped: true, failure: "a phantom".into(), ..plan(&uid, 1, 0, &[], Priority::Routine) };
    assert_eq!(store.plan_study(&uid, skip.clone()).await, Ok(Done::Now));
    assert_eq!(store.plan_study(&uid, skip).await, Ok(Done::Before));
    h.reopen().await;
    let held = record(h, &uid).await;
    assert_eq!((held.state, held.state_reason.as_deref()), (StudyState::Skipped, Some("a phantom")));
    assert_eq!((held.unread.len(), h.store().depth().await.unwrap().open_studies), (1, 0));
    let refused = h.store().cancel_study(&uid, "no").await;
    assert_eq!(refused, Err(StoreError::WrongState { study: uid.clone(), state: StudyState::Skipped }));
    // The rules may say otherwise now.
    assert_eq!(h.store().complete_studies(complete(&uid, None)).await, Ok(Done::Now));
    let again = record(h, &uid).await;
    assert_eq!((again.state, again.state_reason, again.generation), (StudyState::Complete, None, 2));
    assert_eq!(h.store().depth().await.unwrap().open_studies, 1);
}
