//! Deliveries: asked for, leased, ended.

use prelim_proto::ids::{FencingToken, Uid};

use prelim_proto::study::StudyState;

use super::lease::later;
use super::{StoreError, study};
use crate::store::delivery::{DeliveryEnd, DeliveryKey, DeliveryRecord, DeliveryState, Wish};
use crate::store::record::Done;
use crate::store::records::{Records, Result};

/// [`crate::store::JobStore::add_deliveries`].
pub(crate) fn add_deliveries(
    records: &mut impl Records,
    now_ms: i64,
    uid: &Uid,
    version: u32,
    wishes: &[Wish],
    again: bool,
) -> Result<Done> {
    let held = study(records, uid)?;
    if version == 0 || version > held.draft_version || held.state == StudyState::Removing {
        return Err(StoreError::Outdated(held.uid));
    }
    wish(records, now_ms, uid, version, wishes, again)
}

/// Notes what is to be sent of a draft that is held.
pub(super) fn wish(
    records: &mut impl Records,
    now_ms: i64,
    uid: &Uid,
    version: u32,
    wishes: &[Wish],
    again: bool,
) -> Result<Done> {
    let mut done = Done::Before;
    for Wish { destination, object } in wishes {
        let key = DeliveryKey { study: uid.clone(), version, destination: destination.clone(), object: object.clone() };
        let record = match records.delivery(&key)? {
            None => DeliveryRecord::new(key, now_ms),
            // What is under way is not begun twice.
            Some(held) if again && held.state != DeliveryState::Sending => DeliveryRecord {
                state: DeliveryState::Waiting,
                attempts: 0,
                due_at_ms: now_ms,
                transaction: String::new(),
                updated_at_ms: now_ms,
                ..held
            },
            Some(_) => continue,
        };
        records.put_delivery(&record)?;
        done = Done::Now;
    }
    Ok(done)
}

/// [`crate::store::JobStore::lease_deliveries`].
pub(crate) fn lease_deliveries(
    records: &mut impl Records,
    now_ms: i64,
    destination: &str,
    ttl_ms: u64,
    limit: usize,
) -> Result<Vec<DeliveryRecord>> {
    let mut leased = Vec::new();
    for key in records.due_deliveries(destination, now_ms, limit)? {
        let mut record = delivery(records, &key)?;
        record.state = DeliveryState::Sending;
        record.attempts += 1;
        record.token = records.next_token()?;
        record.due_at_ms = later(now_ms, ttl_ms);
        record.updated_at_ms = now_ms;
        records.put_delivery(&record)?;
        leased.push(record);
    }
    Ok(leased)
}

/// [`crate::store::JobStore::end_delivery`].
pub(crate) fn end_delivery(
    records: &mut impl Records,
    now_ms: i64,
    key: &DeliveryKey,
    token: FencingToken,
    end: &DeliveryEnd,
) -> Result<Done> {
    let lost = || StoreError::DeliveryLost(Box::new(key.clone()));
    let mut record = records.delivery(key)?.ok_or_else(lost)?;
    if record.token != token || token == FencingToken(0) {
        return Err(lost());
    }
    if record.state == end.state && record.answer == end.answer {
        return Ok(Done::Before);
    }
    if !matches!(record.state, DeliveryState::Sending | DeliveryState::Committing) {
        return Err(lost());
    }
    record.state = end.state;
    record.due_at_ms = if end.state.is_open() { later(now_ms, end.due_in_ms) } else { 0 };
    record.answer.clone_from(&end.answer);
    record.instance.clone_from(&end.instance);
    record.transaction.clone_from(&end.transaction);
    record.updated_at_ms = now_ms;
    records.put_delivery(&record)?;
    Ok(Done::Now)
}

/// The delivery, which the index names.
pub(crate) fn delivery(records: &impl crate::store::records::Reads, key: &DeliveryKey) -> Result<DeliveryRecord> {
    records.delivery(key)?.ok_or_else(|| StoreError::DeliveryLost(Box::new(key.clone())))
}
