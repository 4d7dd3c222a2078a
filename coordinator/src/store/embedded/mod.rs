//! The default store: one redb file in the data folder. Each operation is one transaction, synced before it is
//! answered.
//!
//! Where its folder is not the one that was opened any more, nothing is written or read: what is acknowledged then would be
//! looked for in vain.
//!
//! Records are JSON, so that a file can be looked into. Queue entries and listings are tables of keys that follow from
//! the records and change in the same transaction.

mod keys;
mod notes;
mod read;
mod tables;
#[cfg(test)]
mod tests;
mod worklist;
mod write;

use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageError, WriteTransaction};

use super::records::Result;
use super::transact::Backend;
use super::{Room, StoreError};
use crate::clock::Clock;
use crate::folder::Kept;
use tables::Source as _;

/// The file's name in the data folder.
pub const FILE_NAME: &str = "prelim.redb";
/// Memory for pages of the file. Records are small; the pictures are elsewhere.
const CACHE_BYTES: usize = 64 << 20;

/// A transaction of redb, seen as records.
pub(crate) struct Transaction<S>(S);

/// Says what is wrong with the place of the database, where something is. Asked before each operation.
type Watch = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// Opens the database file. Called again after the disk has failed: redb then refuses all work until it is reopened.
type Opener = Box<dyn Fn() -> Result<Database> + Send + Sync>;

/// The store in a redb file. It may be open in one process at a time.
pub struct EmbeddedStore {
    slot: Arc<Slot>,
    clock: Arc<dyn Clock>,
}

/// The open database, or none between a failure of the disk and the next operation.
struct Slot {
    database: RwLock<Option<Database>>,
    open: Opener,
    watch: Watch,
}

impl EmbeddedStore {
    /// Opens, or begins, the store in `folder`, which must exist. [`StoreError::InUse`] where another process has it
    /// open.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let (file, name) = (folder.join(FILE_NAME), folder.display().to_string());
        let open = move || {
            Database::builder().set_cache_size(CACHE_BYTES).create(&file).map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(name.clone()),
                error => storage(redb::Error::from(error)),
            })
        };
        let failed = |error: std::io::Error| StoreError::Disk(error.to_string());
        let folder = Kept::open(folder).map_err(failed)?;
        // Before it is opened again, too: a file that is made anew in another folder is an empty store.
        let watch = move || folder.check().map_err(StoreError::Disk);
        Self::with(Box::new(open), Box::new(watch), clock)
    }

    /// The store in the database that `open` opens.
    fn with(open: Opener, watch: Watch, clock: Arc<dyn Clock>) -> Result<Self> {
        let slot = Slot { database: RwLock::new(None), open, watch };
        slot.reopen()?;
        Ok(Self { slot: Arc::new(slot), clock })
    }
}

impl Slot {
    /// Opens the database, if it is not open, and checks its tables.
    fn reopen(&self) -> Result<()> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return Ok(());
        }
        let database = (self.open)()?;
        let txn = database.begin_write().map_err(storage)?;
        for table in tables::ALL {
            txn.table(table)?;
        }
        write::check_format(&txn)?;
        txn.commit().map_err(storage)?;
        *slot = Some(database);
        Ok(())
    }

    /// Runs `work` on the open database. Where the disk fails, the database is closed, for the next call to open it.
    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        (self.watch)()?;
        loop {
            let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let Some(database) = &*slot else {
                drop(slot);
                self.reopen()?;
                continue;
            };
            // The folder may have been moved in the middle of it, too.
            let result = work(database).and_then(|done| (self.watch)().map(|()| done));
            drop(slot);
            if matches!(result, Err(StoreError::Full(_) | StoreError::Disk(_))) {
                *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
            }
            return result;
        }
    }
}

impl Backend for EmbeddedStore {
    type Write = Transaction<WriteTransaction>;
    type Read = Transaction<ReadTransaction>;

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Self::Write, i64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (slot, clock) = (self.slot.clone(), self.clock.clone());
        off_thread(move || {
            slot.run(|database| {
                let mut txn = Transaction(database.begin_write().map_err(storage)?);
                let value = operation(&mut txn, clock.now_ms())?;
                txn.0.commit().map_err(storage)?;
                Ok(value)
            })
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Self::Read, i64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (slot, clock) = (self.slot.clone(), self.clock.clone());
        off_thread(move || {
            slot.run(|database| query(&Transaction(database.begin_read().map_err(storage)?), clock.now_ms()))
        })
        .await
    }
}

/// Runs work that blocks on the disk away from the tasks that must not wait. A transaction runs to its end, also when
/// nobody waits for it any more.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError::Storage(error.to_string())))
}

/// What redb, or the disk under it, says went wrong.
fn storage(error: impl Into<Fault>) -> StoreError {
    match error.into() {
        Fault::Redb(redb::Error::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
            StoreError::Full(Room::Disk)
        }
        Fault::Redb(error @ (redb::Error::Io(_) | redb::Error::PreviousIo)) => StoreError::Disk(error.to_string()),
        Fault::Redb(error) => StoreError::Storage(error.to_string()),
        Fault::Record(error) => StoreError::Storage(format!("unreadable record: {error}")),
    }
}

/// The file contradicts itself.
fn corrupt(what: impl Display) -> StoreError {
    StoreError::Storage(format!("inconsistent {what}"))
}

/// Errors from below.
enum Fault {
    Redb(redb::Error),
    Record(serde_json::Error),
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Record(error)
    }
}

macro_rules! faults {
    ($($error:ty),*) => { $(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        }
    )* };
}
faults!(redb::Error, StorageError, redb::TableError, redb::TransactionError, redb::CommitError);
