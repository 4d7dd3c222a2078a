//! The machine dies at any point: under the store lies a disk that loses power after so many writes, keeping an
//! arbitrary part of what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use redb::StorageBackend;

use super::*;
use crate::store::conformance::model::{Model, Op, apply, apply_to_model, named, op, runner, view};
use crate::store::record::RequestRecord;

/// Sequences with crashes tried, unless `PRELIM_MODEL_CASES` says otherwise.
const CASES: u32 = 48;

/// What is on the platter, and what is still in the drive's memory.
#[derive(Debug, Default)]
struct Disk {
    synced: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<(u64, Vec<u8>)>,
    /// Writes and syncs until the power fails; none while it does not.
    fuse: Option<u32>,
    dead: bool,
    /// No space is left: writes fail, reads do not.
    full: bool,
}

impl Disk {
    /// Burns a step of the fuse.
    fn step(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => self.dead = true,
            Some(left) => *left -= 1,
            None => {}
        }
        match (self.dead, self.full) {
            (true, _) => Err(io::Error::other("power failed")),
            (false, true) => Err(io::ErrorKind::StorageFull.into()),
            (false, false) => Ok(()),
        }
    }

    /// The power is back: of the writes that were not synced, those stand whose bit in `kept` is set.
    fn restart(&mut self, kept: u64) {
        let length = self.current.len();
        self.current = std::mem::take(&mut self.synced);
        self.current.resize(length.max(self.current.len()), 0);
        for (number, (offset, data)) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if kept >> (number % 64) & 1 == 1 {
                self.current[offset as usize..][..data.len()].copy_from_slice(&data);
            }
        }
        self.synced = self.current.clone();
        self.fuse = None;
        self.dead = false;
    }
}

/// The disk as redb sees it.
#[derive(Debug, Clone, Default)]
struct Drive(Arc<Mutex<Disk>>);

impl StorageBackend for Drive {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().current.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        if disk.dead {
            return Err(io::Error::other("power failed"));
        }
        out.copy_from_slice(&disk.current[offset as usize..][..out.len()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        disk.current.resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        disk.synced = disk.current.clone();
        disk.pending.clear();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        disk.current[offset as usize..][..data.len()].copy_from_slice(data);
        disk.pending.push((offset, data.to_vec()));
        Ok(())
    }
}

fn open(drive: &Drive, clock: &Arc<ManualClock>) -> EmbeddedStore {
    let drive = drive.clone();
    let open = move || {
        // A small cache makes redb write early, so that there is more to lose.
        let database = Database::builder().set_cache_size(1 << 16).create_with_backend(drive.clone());
        database.map_err(|error| storage(redb::Error::from(error)))
    };
    EmbeddedStore::with(Box::new(open), Box::new(|| Ok(())), clock.clone()).unwrap()
}

/// All that is recorded: what one sees, and what shows only in later answers.
async fn whole(store: &EmbeddedStore) -> String {
    let hidden = store
        .read(|txn, _| {
            let mut requests = BTreeMap::new();
            tables::scan(&txn.0, tables::REQUESTS, &[], None, |key, value| {
                let record: RequestRecord = serde_json::from_slice(value).map_err(storage)?;
                requests.insert(String::from_utf8_lossy(key).into_owned(), record);
                Ok(true)
            })?;
            let token: Option<u64> = tables::get(&txn.0, tables::META, write::LAST_TOKEN)?;
            Ok((requests, token.unwrap_or(0)))
        })
        .await;
    format!("{}\n{:?}", view(store).await, hidden.unwrap())
}

/// The same of the model.
async fn whole_model(model: &Model) -> String {
    format!("{}\n{:?}", view(&model.store).await, model.store.maps().hidden())
}

/// An operation, and when the power fails in it, and what is kept then.
type Step = (Op, Option<(u32, u64)>);

fn step() -> impl Strategy<Value = Step> {
    let crash = prop::option::weighted(0.4, (0_u32..6, any::<u64>()));
    (op(), crash)
}

/// Runs a sequence. What was answered must be there after a crash; the operation that was under way may have happened
/// or not, but not by half.
async fn run(steps: &[Step]) -> std::result::Result<u32, String> {
    let drive = Drive::default();
    let mut model = Model::new(1_000_000);
    let clock = Arc::new(ManualClock::at(1_000_000));
    let mut store = open(&drive, &clock);
    let mut crashes = 0;
    for (number, (op, crash)) in steps.iter().enumerate() {
        if let Op::Advance { by_ms } = op {
            clock.advance(*by_ms);
            model.clock.advance(*by_ms);
        }
        drive.0.lock().unwrap().fuse = crash.map(|(fuse, _)| fuse);
        let got = apply(&store, op, &model.store.maps(), named(op, &model)).await;
        let died = drive.0.lock().unwrap().dead || matches!(op, Op::Reopen);
        drive.0.lock().unwrap().fuse = None;
        if !died {
            let want = apply_to_model(op, &mut model).await;
            if got != want {
                return Err(format!("step {number} {op:?} answers\n  {got}\ninstead of\n  {want}"));
            }
            continue;
        }
        crashes += 1;
        // Nothing is written on the way down: the power is off.
        drive.0.lock().unwrap().dead = true;
        drop(store);
        drive.0.lock().unwrap().restart(crash.map_or(u64::MAX, |(_, kept)| kept));
        store = open(&drive, &clock);
        let seen = whole(&store).await;
        let mut after = model.fork();
        let answer = apply_to_model(op, &mut after).await;
        if seen == whole_model(&after).await {
            model = after;
        } else if got == answer {
            return Err(format!("step {number} {op:?} was acknowledged with {got} and is gone"));
        } else if seen != whole_model(&model).await {
            return Err(format!("after a crash in step {number} {op:?} one sees neither before nor after:\n  {seen}"));
        }
        if store.reconcile().await != Ok(Reconciled::default()) {
            return Err(format!("after a crash in step {number} {op:?} the indexes do not agree with the records"));
        }
    }
    Ok(crashes)
}

#[tokio::test]
async fn a_crash_at_any_point_loses_nothing_that_was_answered() {
    let mut runner = runner();
    let sequences = prop::collection::vec(step(), 1..40);
    let cases = std::env::var("PRELIM_MODEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let mut crashes = 0;
    for case in 0..cases {
        let tree = sequences.new_tree(&mut runner).unwrap();
        match run(&tree.current()).await {
            Ok(died) => crashes += died,
            Err(why) => panic!("case {case}: {why}"),
        }
    }
    assert!(crashes > cases / 2, "the sequences crash often enough to mean something: {crashes} crashes in {cases}");
}

#[tokio::test]
async fn a_full_disk_is_said_and_forgotten_when_there_is_space_again() {
    let (drive, clock) = (Drive::default(), Arc::new(ManualClock::at(1_000_000)));
    let store = open(&drive, &clock);
    let new = |n: u8| add(&study(n), vec![instance(&study(n), 1, 1)]);
    store.add_instances(new(1)).await.unwrap();
    drive.0.lock().unwrap().full = true;
    for _ in 0..2 {
        assert_eq!(store.add_instances(new(2)).await, Err(StoreError::Full(Room::Disk)));
    }
    drive.0.lock().unwrap().full = false;
    assert_eq!(store.add_instances(new(2)).await.map(|added| added.len()), Ok(1));
    assert!(JobStore::study(&store, &study(1)).await.unwrap().is_some());
    assert_eq!(store.reconcile().await, Ok(Reconciled::default()));
}
