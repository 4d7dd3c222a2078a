//! The embedded store against the conformance suite, and against crashes.

mod crash;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use prelim_proto::demand::Demand;
use prelim_proto::ids::Tenant;
use prelim_proto::job::JobKind;
use prelim_proto::study::Priority;
use tempfile::TempDir;

use super::*;
use crate::clock::ManualClock;
use crate::store::JobStore;
use crate::store::conformance::fixture::{XRAY, add, complete, instance, plan, study, wanted};
use crate::store::conformance::{Harness, conformance};
use crate::store::record::{JobRecord, Reconciled};
use crate::store::records::Reads as _;

/// What is acknowledged in a folder that was moved would be looked for in vain; where another took its place, no empty store is
/// begun there.
#[tokio::test]
async fn a_moved_folder_is_refused_until_it_is_back() {
    let work = tempfile::tempdir().unwrap();
    let (data, elsewhere) = (work.path().join("data"), work.path().join("elsewhere"));
    std::fs::create_dir(&data).unwrap();
    let store = EmbeddedStore::open(&data, Arc::new(ManualClock::at(1_000_000))).unwrap();
    let added = async |number| store.add_instances(add(&study(1), vec![instance(&study(1), number, number)])).await;
    added(1).await.unwrap();
    std::fs::rename(&data, &elsewhere).unwrap();
    for _ in 0..2 {
        assert!(matches!(added(2).await, Err(StoreError::Disk(said)) if said.contains("was moved")));
        assert!(matches!(store.study(&study(1)).await, Err(StoreError::Disk(_))));
        // The second time another folder is there.
        let _ = std::fs::create_dir(&data);
    }
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    std::fs::remove_dir(&data).unwrap();
    std::fs::rename(&elsewhere, &data).unwrap();
    added(2).await.unwrap();
    assert_eq!(store.instances(&study(1)).await.unwrap().len(), 2);
}

/// A store that can be closed and opened again while others hold on to it, as clients do to a server.
struct Reopened {
    inner: Mutex<Option<Arc<EmbeddedStore>>>,
}

impl Reopened {
    fn inner(&self) -> Arc<EmbeddedStore> {
        self.inner.lock().unwrap().clone().unwrap()
    }
}

impl Backend for Reopened {
    type Write = Transaction<WriteTransaction>;
    type Read = Transaction<ReadTransaction>;

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Self::Write, i64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner().write(operation).await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Self::Read, i64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner().read(query).await
    }
}

struct OnDisk {
    folder: TempDir,
    store: Arc<Reopened>,
    clock: Arc<ManualClock>,
}

impl OnDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_000_000));
        let store = Arc::new(EmbeddedStore::open(folder.path(), clock.clone()).unwrap());
        Self { folder, store: Arc::new(Reopened { inner: Mutex::new(Some(store)) }), clock }
    }
}

#[async_trait]
impl Harness for OnDisk {
    fn store(&self) -> Arc<dyn JobStore> {
        self.store.clone()
    }
    fn advance(&self, by_ms: u32) {
        self.clock.advance(by_ms);
    }
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
    async fn reopen(&mut self) {
        let mut inner = self.store.inner.lock().unwrap();
        *inner = None;
        *inner = Some(Arc::new(EmbeddedStore::open(self.folder.path(), self.clock.clone()).unwrap()));
    }
}

#[tokio::test]
async fn the_embedded_store_conforms() {
    conformance(async || OnDisk::new()).await;
}

#[tokio::test]
async fn a_second_coordinator_on_the_same_folder_is_refused() {
    let first = OnDisk::new();
    let second = EmbeddedStore::open(first.folder.path(), first.clock.clone());
    assert_eq!(second.err(), Some(StoreError::InUse(first.folder.path().display().to_string())));
}

#[tokio::test]
async fn recovery_reconciles_jobs_and_leases_both_ways() {
    let disk = OnDisk::new();
    let (store, uid) = (disk.store(), study(1));
    store.add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
    store.complete_studies(complete(&uid, None)).await.unwrap();
    store.plan_study(&uid, plan(&uid, 1, 0, &[XRAY, XRAY], Priority::Routine)).await.unwrap();
    let lease = store.lease(wanted("w", &[XRAY], 60_000)).await.unwrap().unwrap();
    // What a mistake, or an older version, might leave: a lease that no job has, a leased job without a lease, a
    // waiting job in no queue.
    let raw = disk.store.inner();
    raw.write(move |txn, _| {
        let tenant = Tenant::default();
        let job = txn.job(&lease.job.id)?.unwrap();
        assert!(tables::remove(&txn.0, tables::LEASES, &keys::timed(job.expires_at_ms, &job.id))?);
        let (_, waiting) = txn.first_ready(XRAY, &tenant, &Demand::default())?.unwrap();
        let job = txn.job(&waiting)?.unwrap();
        assert!(tables::remove(&txn.0, tables::READY, &keys::ready(&job))?);
        tables::mark(&txn.0, tables::LEASES, &keys::timed(5, &waiting))?;
        tables::mark(&txn.0, tables::READY, &keys::ready(&JobRecord { kind: JobKind::Merge, ..job }))?;
        tables::put(&txn.0, tables::COUNTS, &keys::open_count(&tenant), &7_u64)
    })
    .await
    .unwrap();
    let mended = Reconciled {
        stray_leases: 1,
        lost_leases: 1,
        lost_jobs: 1,
        stray_entries: 1,
        wrong_counts: 1,
        ..Reconciled::default()
    };
    assert_eq!(store.reconcile().await, Ok(mended));
    assert_eq!(store.reconcile().await, Ok(Reconciled::default()));
    // The lease that was lost has run out; the job that was lost can be leased.
    assert_eq!(store.expired(10).await.unwrap().len(), 1);
    assert!(store.lease(wanted("w", &[XRAY], 60_000)).await.unwrap().is_some());
}
