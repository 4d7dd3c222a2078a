//! The worklist: workitems held, changed and forgotten.

use prelim_proto::ids::Tenant;

use super::StoreError;
use crate::store::record::Done;
use crate::store::records::{Records, Result};
use crate::store::worklist::{NewWorkitem, Report, Subscription, WorkitemChange, WorkitemRecord};

/// [`crate::store::worklist::Worklist::create_workitem`].
pub(crate) fn create_workitem(records: &mut impl Records, now_ms: i64, new: &NewWorkitem) -> Result<Done> {
    if let Some(held) = records.workitem(&new.uid)? {
        let is_same = held.version == 1 && held.tenant == new.tenant && held.workitem == new.workitem;
        return if is_same { Ok(Done::Before) } else { Err(StoreError::WorkitemExists(new.uid.clone())) };
    }
    if records.open_workitems(&new.tenant)? >= new.max_open {
        return Err(StoreError::TooManyWorkitems { limit: new.max_open });
    }
    records.put_workitem(&WorkitemRecord {
        uid: new.uid.clone(),
        tenant: new.tenant.clone(),
        version: 1,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
        workitem: new.workitem.clone(),
    })?;
    tell(records, &new.reports)?;
    Ok(Done::Now)
}

/// [`crate::store::worklist::Worklist::change_workitem`].
pub(crate) fn change_workitem(records: &mut impl Records, now_ms: i64, change: &WorkitemChange) -> Result<Done> {
    let held = records.workitem(&change.uid)?.ok_or_else(|| StoreError::NoWorkitem(change.uid.clone()))?;
    if held.version == change.version + 1 && held.workitem == change.workitem {
        return Ok(Done::Before);
    }
    if held.version != change.version {
        return Err(StoreError::WorkitemChanged(change.uid.clone()));
    }
    let workitem = change.workitem.clone();
    records.put_workitem(&WorkitemRecord { version: held.version + 1, updated_at_ms: now_ms, workitem, ..held })?;
    tell(records, &change.reports)?;
    Ok(Done::Now)
}

/// [`crate::store::worklist::Worklist::forget_workitems`].
pub(crate) fn forget_workitems(
    records: &mut impl Records,
    now_ms: i64,
    age_ms: u64,
    locked_age_ms: u64,
    limit: usize,
) -> Result<u64> {
    let before = |age_ms: u64| now_ms.saturating_sub(i64::try_from(age_ms).unwrap_or(i64::MAX));
    let over = records.workitems_over(before(age_ms), limit)?;
    let is_old = |record: &&WorkitemRecord| {
        !record.workitem.is_locked() || record.updated_at_ms < before(locked_age_ms.max(age_ms))
    };
    let old: Vec<&WorkitemRecord> = over.iter().filter(is_old).collect();
    for record in &old {
        records.remove_workitem(record)?;
    }
    Ok(old.len() as u64)
}

/// [`crate::store::worklist::Worklist::subscribe_worklist`].
pub(crate) fn subscribe_worklist(
    records: &mut impl Records,
    tenant: &Tenant,
    subscription: &Subscription,
    max: u64,
) -> Result<Done> {
    let held = records.subscriptions(tenant)?;
    if held.contains(subscription) {
        return Ok(Done::Before);
    }
    let is_known = held.iter().any(|known| known.title == subscription.title);
    if !is_known && held.len() as u64 >= max {
        return Err(StoreError::TooManySubscriptions { limit: max });
    }
    records.put_subscription(tenant, subscription)?;
    Ok(Done::Now)
}

/// [`crate::store::worklist::Worklist::unsubscribe_worklist`].
pub(crate) fn unsubscribe_worklist(records: &mut impl Records, tenant: &Tenant, title: &str) -> Result<Done> {
    let is_known = records.subscriptions(tenant)?.iter().any(|known| known.title == title);
    records.remove_subscription(tenant, title)?;
    Ok(if is_known { Done::Now } else { Done::Before })
}

fn tell(records: &mut impl Records, reports: &[Report]) -> Result<()> {
    reports.iter().try_for_each(|report| records.add_report(report))
}
