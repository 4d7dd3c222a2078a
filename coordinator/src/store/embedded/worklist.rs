//! Workitems in a redb transaction, with the listings that follow from them.

use prelim_proto::ids::{Tenant, Uid};
use redb::WriteTransaction;

use super::tables::{self, Source};
use super::{Transaction, corrupt, keys};
use crate::store::records::Result;
use crate::store::worklist::{MAX_REPORTS, Report, Subscription, WorkitemQuery, WorkitemRecord};

/// Where the number of the newest report is kept.
const LAST_REPORT: &[u8] = b"last_report";

/// What the keys of a listing begin with.
fn all() -> Vec<u8> {
    vec![b'a']
}

fn of_tenant(tenant: &Tenant) -> Vec<u8> {
    [b"t", tenant.as_str().as_bytes(), b"\0"].concat()
}

fn open_of_tenant(tenant: &Tenant) -> Vec<u8> {
    [b"n", tenant.as_str().as_bytes(), b"\0"].concat()
}

fn to_be_performed() -> Vec<u8> {
    vec![b'p']
}

fn over() -> Vec<u8> {
    vec![b'o']
}

/// A place in a listing by time and UID.
fn place(listing: &[u8], at_ms: i64, uid: &Uid) -> Vec<u8> {
    [listing, &keys::number(at_ms), uid.as_str().as_bytes()].concat()
}

/// The listings that a workitem is in.
fn places(record: &WorkitemRecord) -> Vec<Vec<u8>> {
    let mut listings = vec![all(), of_tenant(&record.tenant)];
    if record.workitem.is_to_be_performed() {
        listings.push(to_be_performed());
    }
    if !record.workitem.state.is_final() {
        listings.push(open_of_tenant(&record.tenant));
    }
    let mut places: Vec<Vec<u8>> =
        listings.iter().map(|listing| place(listing, record.created_at_ms, &record.uid)).collect();
    if record.workitem.state.is_final() {
        places.push(place(&over(), record.updated_at_ms, &record.uid));
    }
    places
}

fn subscription_key(tenant: &Tenant, title: &str) -> Vec<u8> {
    [tenant.as_str().as_bytes(), b"\0", title.as_bytes()].concat()
}

impl<S: Source> Transaction<S> {
    pub(super) fn get_workitem(&self, uid: &Uid) -> Result<Option<WorkitemRecord>> {
        tables::get(&self.0, tables::WORKITEMS, uid.as_str().as_bytes())
    }

    /// Workitems of a listing after a place in it, up to a time, as many as `limit` at most.
    fn listed(
        &self,
        listing: &[u8],
        after: Option<&(i64, Uid)>,
        until_ms: i64,
        limit: usize,
    ) -> Result<Vec<WorkitemRecord>> {
        let after = after.map(|(at_ms, uid)| place(listing, *at_ms, uid));
        let end = keys::number(until_ms);
        let mut uids = Vec::new();
        if limit == 0 {
            return Ok(Vec::new());
        }
        tables::scan(&self.0, tables::WORKITEM_INDEX, listing, after.as_deref(), |key, _| {
            let rest = key.get(listing.len()..).and_then(|rest| rest.split_first_chunk::<8>());
            let (time, uid) = rest.ok_or_else(|| corrupt("listing of workitems"))?;
            if *time > end {
                return Ok(false);
            }
            let uid = std::str::from_utf8(uid).ok().and_then(|uid| Uid::parse(uid).ok());
            uids.push(uid.ok_or_else(|| corrupt("listing of workitems"))?);
            Ok(uids.len() < limit)
        })?;
        let whole = |uid: &Uid| self.get_workitem(uid)?.ok_or_else(|| corrupt("listing of workitems"));
        uids.iter().map(whole).collect()
    }

    pub(super) fn list_workitems(&self, query: &WorkitemQuery) -> Result<Vec<WorkitemRecord>> {
        let listings = match (&query.tenants, query.to_be_performed) {
            (_, true) => vec![to_be_performed()],
            (None, false) => vec![all()],
            (Some(tenants), false) => tenants.iter().map(of_tenant).collect(),
        };
        let mut found = Vec::new();
        for listing in listings {
            // Few are to be performed: those of other tenants among them are passed over.
            let limit = if query.to_be_performed { usize::MAX } else { query.limit };
            found.extend(self.listed(&listing, query.after.as_ref(), i64::MAX, limit)?);
        }
        found.retain(|record| query.wants(record));
        found.sort_by(|a, b| (a.created_at_ms, &a.uid).cmp(&(b.created_at_ms, &b.uid)));
        found.truncate(query.limit);
        Ok(found)
    }

    pub(super) fn count_open_workitems(&self, tenant: &Tenant) -> Result<u64> {
        let mut count = 0;
        tables::scan(&self.0, tables::WORKITEM_INDEX, &open_of_tenant(tenant), None, |_, _| {
            count += 1;
            Ok(true)
        })?;
        Ok(count)
    }

    pub(super) fn list_workitems_over(&self, before_ms: i64, limit: usize) -> Result<Vec<WorkitemRecord>> {
        self.listed(&over(), None, before_ms.saturating_sub(1), limit)
    }

    pub(super) fn list_subscriptions(&self, tenant: &Tenant) -> Result<Vec<Subscription>> {
        tables::all(&self.0, tables::SUBSCRIPTIONS, &subscription_key(tenant, ""))
    }

    pub(super) fn list_reports(&self, after: u64, limit: usize) -> Result<Vec<(u64, Report)>> {
        let mut found = Vec::new();
        tables::scan(&self.0, tables::REPORTS, &[], Some(&after.to_be_bytes()), |key, value| {
            if found.len() >= limit {
                return Ok(false);
            }
            let number = key.try_into().map(u64::from_be_bytes).map_err(|_| corrupt("number of a report"))?;
            found.push((number, serde_json::from_slice(value).map_err(super::storage)?));
            Ok(true)
        })?;
        Ok(found)
    }

    pub(super) fn newest_report(&self) -> Result<u64> {
        Ok(tables::get(&self.0, tables::META, LAST_REPORT)?.unwrap_or(0))
    }
}

impl Transaction<WriteTransaction> {
    pub(super) fn store_workitem(&mut self, record: &WorkitemRecord) -> Result<()> {
        let before = self.get_workitem(&record.uid)?.map(|before| places(&before)).unwrap_or_default();
        let after = places(record);
        for key in before.iter().filter(|key| !after.contains(key)) {
            tables::remove(&self.0, tables::WORKITEM_INDEX, key)?;
        }
        for key in after.iter().filter(|key| !before.contains(key)) {
            tables::mark(&self.0, tables::WORKITEM_INDEX, key)?;
        }
        tables::put(&self.0, tables::WORKITEMS, record.uid.as_str().as_bytes(), record)
    }

    pub(super) fn drop_workitem(&mut self, record: &WorkitemRecord) -> Result<()> {
        for key in places(record) {
            tables::remove(&self.0, tables::WORKITEM_INDEX, &key)?;
        }
        tables::remove(&self.0, tables::WORKITEMS, record.uid.as_str().as_bytes())?;
        Ok(())
    }

    pub(super) fn store_subscription(&mut self, tenant: &Tenant, subscription: &Subscription) -> Result<()> {
        tables::put(&self.0, tables::SUBSCRIPTIONS, &subscription_key(tenant, &subscription.title), subscription)
    }

    pub(super) fn drop_subscription(&mut self, tenant: &Tenant, title: &str) -> Result<()> {
        tables::remove(&self.0, tables::SUBSCRIPTIONS, &subscription_key(tenant, title))?;
        Ok(())
    }

    pub(super) fn store_report(&mut self, report: &Report) -> Result<()> {
        let number = self.newest_report()? + 1;
        tables::put(&self.0, tables::META, LAST_REPORT, &number)?;
        if number > MAX_REPORTS {
            tables::remove(&self.0, tables::REPORTS, &(number - MAX_REPORTS).to_be_bytes())?;
        }
        tables::put(&self.0, tables::REPORTS, &number.to_be_bytes(), report)
    }
}
