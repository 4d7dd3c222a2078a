//! Tables of the redb file, and typed access to them.

use std::ops::Bound;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::storage;
use crate::store::records::Result;

/// Every table maps bytes to bytes.
pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) const STUDIES: Definition = TableDefinition::new("studies");
pub(super) const STUDY_INDEX: Definition = TableDefinition::new("study_index");
pub(super) const INSTANCES: Definition = TableDefinition::new("instances");
/// The study of each instance, by instance.
pub(super) const PLACES: Definition = TableDefinition::new("places");
pub(super) const JOBS: Definition = TableDefinition::new("jobs");
pub(super) const SPECS: Definition = TableDefinition::new("specs");
pub(super) const OUTCOMES: Definition = TableDefinition::new("outcomes");
pub(super) const DRAFTS: Definition = TableDefinition::new("drafts");
pub(super) const DELIVERIES: Definition = TableDefinition::new("deliveries");
/// Open deliveries by destination, time and key.
pub(super) const DUE: Definition = TableDefinition::new("due");
pub(super) const REQUESTS: Definition = TableDefinition::new("requests");
/// Waiting jobs by kind, tenant, demand, rank and id.
pub(super) const READY: Definition = TableDefinition::new("ready");
/// Waiting jobs whose time has not come, by kind and time.
pub(super) const DELAYED: Definition = TableDefinition::new("delayed");
/// Leased jobs, by the time at which the lease ends.
pub(super) const LEASES: Definition = TableDefinition::new("leases");
/// Dead letters, by id.
pub(super) const DEAD: Definition = TableDefinition::new("dead");
/// Performed procedure steps, by UID.
pub(super) const STEPS: Definition = TableDefinition::new("steps");
/// The same by study and UID.
pub(super) const STEPS_OF: Definition = TableDefinition::new("steps_of");
/// The same by the time of their last change, and UID.
pub(super) const STEP_TIMES: Definition = TableDefinition::new("step_times");
/// Workers, by name.
pub(super) const WORKERS: Definition = TableDefinition::new("workers");
/// Leased jobs by tenant and kind, and open studies by tenant.
pub(super) const COUNTS: Definition = TableDefinition::new("counts");
/// Workitems, by UID.
pub(super) const WORKITEMS: Definition = TableDefinition::new("workitems");
/// Listings of workitems, by time and UID.
pub(super) const WORKITEM_INDEX: Definition = TableDefinition::new("workitem_index");
/// Subscriptions to the worklist, by tenant and title.
pub(super) const SUBSCRIPTIONS: Definition = TableDefinition::new("subscriptions");
/// Reports of workitems, by number.
pub(super) const REPORTS: Definition = TableDefinition::new("reports");
/// Notes, by key.
pub(super) const NOTES: Definition = TableDefinition::new("notes");
/// The same by when they end, and key.
pub(super) const NOTE_ENDS: Definition = TableDefinition::new("note_ends");
/// The last token, the last report and the format's version.
pub(super) const META: Definition = TableDefinition::new("meta");

pub(super) const ALL: [Definition; 27] = [
    STUDIES,
    STUDY_INDEX,
    INSTANCES,
    PLACES,
    JOBS,
    SPECS,
    OUTCOMES,
    DRAFTS,
    DELIVERIES,
    DUE,
    REQUESTS,
    READY,
    DELAYED,
    LEASES,
    DEAD,
    STEPS,
    STEPS_OF,
    STEP_TIMES,
    WORKERS,
    COUNTS,
    WORKITEMS,
    WORKITEM_INDEX,
    SUBSCRIPTIONS,
    REPORTS,
    NOTES,
    NOTE_ENDS,
    META,
];

/// A transaction of either kind, as far as reading goes.
pub(crate) trait Source {
    /// An open table.
    type Table<'a>: ReadableTable<&'static [u8], &'static [u8]> + ReadableTableMetadata
    where
        Self: 'a;

    /// Opens a table.
    fn table(&self, definition: Definition) -> Result<Self::Table<'_>>;
}

impl Source for ReadTransaction {
    type Table<'a> = ReadOnlyTable<&'static [u8], &'static [u8]>;

    fn table(&self, definition: Definition) -> Result<Self::Table<'_>> {
        self.open_table(definition).map_err(storage)
    }
}

impl Source for WriteTransaction {
    type Table<'a> = Table<'a, &'static [u8], &'static [u8]>;

    fn table(&self, definition: Definition) -> Result<Self::Table<'_>> {
        self.open_table(definition).map_err(storage)
    }
}

/// The record under a key.
pub(super) fn get<T: DeserializeOwned>(source: &impl Source, table: Definition, key: &[u8]) -> Result<Option<T>> {
    let table = source.table(table)?;
    let value = table.get(key).map_err(storage)?;
    value.map(|value| serde_json::from_slice(value.value()).map_err(storage)).transpose()
}

/// The records whose keys begin with `prefix`, in order of key.
pub(super) fn all<T: DeserializeOwned>(source: &impl Source, table: Definition, prefix: &[u8]) -> Result<Vec<T>> {
    let mut records = Vec::new();
    scan(source, table, prefix, None, |_, value| {
        records.push(serde_json::from_slice(value).map_err(storage)?);
        Ok(true)
    })?;
    Ok(records)
}

/// Visits the entries whose keys begin with `prefix`, after the key `after`, in order, until `visit` says false.
pub(super) fn scan(
    source: &impl Source,
    table: Definition,
    prefix: &[u8],
    after: Option<&[u8]>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool>,
) -> Result<()> {
    let table = source.table(table)?;
    let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
    for entry in table.range::<&[u8]>((from, Bound::Unbounded)).map_err(storage)? {
        let (key, value) = entry.map_err(storage)?;
        if !key.value().starts_with(prefix) || !visit(key.value(), value.value())? {
            break;
        }
    }
    Ok(())
}

/// Whether there is an entry under a key.
pub(super) fn has(source: &impl Source, table: Definition, key: &[u8]) -> Result<bool> {
    Ok(source.table(table)?.get(key).map_err(storage)?.is_some())
}

/// Entries of a table.
pub(super) fn count(source: &impl Source, table: Definition) -> Result<u64> {
    source.table(table)?.len().map_err(storage)
}

/// Stores a record.
pub(super) fn put(txn: &WriteTransaction, table: Definition, key: &[u8], record: &impl Serialize) -> Result<()> {
    let value = serde_json::to_vec(record).map_err(storage)?;
    txn.table(table)?.insert(key, value.as_slice()).map_err(storage)?;
    Ok(())
}

/// Adds an entry that is all key.
pub(super) fn mark(txn: &WriteTransaction, table: Definition, key: &[u8]) -> Result<()> {
    txn.table(table)?.insert(key, [].as_slice()).map_err(storage)?;
    Ok(())
}

/// Removes an entry; whether there was one.
pub(super) fn remove(txn: &WriteTransaction, table: Definition, key: &[u8]) -> Result<bool> {
    Ok(txn.table(table)?.remove(key).map_err(storage)?.is_some())
}
