//! What is promised of drafts on their way out.

use prelim_proto::ids::Uid;

use super::super::Harness;
use super::super::fixture::{XRAY, draft, outcome, wish};
use super::{planned, take};
use crate::store::StoreError;
use crate::store::delivery::{DeliveryEnd, DeliveryRecord, DeliveryState};
use crate::store::record::Done;
use prelim_proto::job::JobKind;
use prelim_proto::study::Priority;

/// A study with a draft, which goes to `pacs` and to `archive`.
pub(super) async fn drafted(h: &impl Harness, n: u8) -> Uid {
    let uid = planned(h, n, &[XRAY], Priority::Routine).await;
    let lease = take(h, &[XRAY]).await.unwrap();
    h.store().complete_job(&lease.job.id, lease.token, outcome(1)).await.unwrap();
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    assert_eq!(h.store().commit_merge(&merge.job.id, merge.token, draft(1)).await, Ok(Done::Now));
    // A repeated commit brings nothing twice.
    assert_eq!(h.store().commit_merge(&merge.job.id, merge.token, draft(1)).await, Ok(Done::Before));
    uid
}

fn end(state: DeliveryState, due_in_ms: u64) -> DeliveryEnd {
    let answer = state.as_str().to_owned();
    DeliveryEnd { state, due_in_ms, answer, instance: "1.2".into(), transaction: String::new() }
}

async fn send(h: &impl Harness, destination: &str) -> Option<DeliveryRecord> {
    h.store().lease_deliveries(destination, 1_000, 10).await.unwrap().into_iter().next()
}

pub(super) async fn a_draft_brings_its_deliveries(h: &mut impl Harness) {
    let uid = drafted(h, 1).await;
    h.reopen().await;
    let held = h.store().deliveries(&uid).await.unwrap();
    let told: Vec<_> = held.iter().map(|each| (each.key.version, &*each.key.destination, each.state)).collect();
    assert_eq!(told, [(1, "archive", DeliveryState::Waiting), (1, "pacs", DeliveryState::Waiting)]);
    assert_eq!(h.store().open_deliveries("pacs", 10).await.unwrap(), held[1..]);
    assert_eq!(h.store().open_deliveries("elsewhere", 10).await, Ok(Vec::new()));
    // What is asked for again is not there twice, and a draft that is not there goes nowhere.
    let wishes = || vec![wish("pacs", "sr")];
    assert_eq!(h.store().add_deliveries(&uid, 1, wishes(), false).await, Ok(Done::Before));
    assert_eq!(h.store().add_deliveries(&uid, 2, wishes(), false).await, Err(StoreError::Outdated(uid.clone())));
    assert_eq!(h.store().deliveries(&uid).await.unwrap(), held);
    assert_eq!(h.store().add_deliveries(&uid, 1, vec![wish("pacs", "html")], false).await, Ok(Done::Now));
    assert_eq!(h.store().deliveries(&uid).await.unwrap().len(), 3);
}

pub(super) async fn a_delivery_is_fenced_and_made_at_least_once(h: &mut impl Harness) {
    let uid = drafted(h, 1).await;
    let first = send(h, "pacs").await.unwrap();
    assert_eq!((first.attempts, first.state), (1, DeliveryState::Sending));
    assert_eq!(send(h, "pacs").await, None);
    // Its sender died: after the lease another sends it, and the first one's word counts no more.
    h.advance(1_001);
    h.reopen().await;
    let second = send(h, "pacs").await.unwrap();
    assert_eq!(second.attempts, 2);
    assert!(second.token > first.token);
    let store = h.store();
    let late = store.end_delivery(&first.key, first.token, end(DeliveryState::Sent, 0)).await;
    assert_eq!(late, Err(StoreError::DeliveryLost(Box::new(first.key.clone()))));
    // It is to be tried again, and not before its time.
    let again = end(DeliveryState::Waiting, 500);
    assert_eq!(store.end_delivery(&second.key, second.token, again.clone()).await, Ok(Done::Now));
    assert_eq!(store.end_delivery(&second.key, second.token, again).await, Ok(Done::Before));
    assert_eq!(send(h, "pacs").await, None);
    h.advance(501);
    let third = send(h, "pacs").await.unwrap();
    // It is taken, and has to be committed; the wait for that ends under the same token.
    assert_eq!(store.end_delivery(&third.key, third.token, end(DeliveryState::Committing, 900)).await, Ok(Done::Now));
    assert_eq!(store.end_delivery(&third.key, third.token, end(DeliveryState::Committed, 0)).await, Ok(Done::Now));
    assert_eq!(store.open_deliveries("pacs", 10).await, Ok(Vec::new()));
    h.advance(100_000);
    assert_eq!(send(h, "pacs").await, None);
    let told = &store.deliveries(&uid).await.unwrap()[1];
    assert_eq!((told.state, &*told.answer, told.attempts), (DeliveryState::Committed, "committed", 3));
    // Asked for again, it is sent again, with all its attempts.
    assert_eq!(store.add_deliveries(&uid, 1, vec![wish("pacs", "sr")], true).await, Ok(Done::Now));
    assert_eq!(send(h, "pacs").await.unwrap().attempts, 1);
    // While it is being sent, it is not begun once more.
    assert_eq!(store.add_deliveries(&uid, 1, vec![wish("pacs", "sr")], true).await, Ok(Done::Before));
}
