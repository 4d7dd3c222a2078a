//! The worklist, kept at hand: a line for each study, brought up to date when somebody looks. Ten thousand studies are filtered
//! and counted in a few milliseconds, and the store is asked only for what changed.
//!
//! What this coordinator changes is known at once. Of what others on the same store change, studies that are worked on are
//! looked up each time, reviews leave a note, and everything is read again now and then.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prelim_proto::ids::{Tenant, Uid};
use prelim_proto::study::StudyState;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::list;
use super::reading;
use super::row::{Reader, Row};
use crate::service::Coordinator;
use crate::store::StoreError;
use crate::store::notes::PutNote;
use crate::store::record::{StudyCursor, StudyQuery, StudyRecord};

/// Studies that are kept, those that changed last.
const MAX_ROWS: usize = 50_000;
/// Studies that are read at once.
const PAGE: usize = 500;
/// The newest studies that each look reads, and as many more until one is known: some come and are read between two looks.
const NEWEST: usize = 32;
/// What was brought up to date so lately is up to date.
const FRESH: Duration = Duration::from_millis(200);
/// After this all is read again.
const ALL_AGAIN: Duration = Duration::from_secs(120);
/// Changes that are remembered for those who follow.
const MAX_CHANGES: usize = 4_096;
/// Notes of changed studies begin so.
const CHANGED: &str = "changed/";
/// How long such a note lasts, in ms: longer than anybody waits between two looks.
const CHANGED_MS: u64 = 150_000;
/// Such notes, and people who read, that are looked at.
const MAX_NOTES: usize = 10_000;

/// The worklist.
#[derive(Default)]
pub(super) struct Board(tokio::sync::Mutex<State>);

#[derive(Default)]
struct State {
    rows: HashMap<Uid, Arc<Row>>,
    /// All lines, in no order.
    all: Arc<Vec<Arc<Row>>>,
    readers: Arc<BTreeMap<Uid, Vec<Reader>>>,
    changes: VecDeque<(u64, Change)>,
    last_change: u64,
    hears: Option<Receiver<Uid>>,
    looked_at: Option<Instant>,
    read_all_at: Option<Instant>,
    /// Notes of changes that were taken up, by their version.
    noted: BTreeMap<String, u64>,
}

/// Something that happened to a line.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// It is another, or new.
    Row(Arc<Row>),
    /// It is gone.
    Gone(Uid, Tenant),
    /// Others read the study.
    Readers(Uid, Tenant),
}

/// The worklist as it is.
#[derive(Clone)]
pub(super) struct View {
    pub(super) rows: Arc<Vec<Arc<Row>>>,
    pub(super) readers: Arc<BTreeMap<Uid, Vec<Reader>>>,
    /// The number of the newest change.
    pub(super) last_change: u64,
}

impl View {
    /// Those who read a study.
    pub(super) fn readers_of(&self, study: &Uid) -> &[Reader] {
        self.readers.get(study).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Board {
    /// The worklist, brought up to date.
    pub(super) async fn view(&self, coordinator: &Coordinator) -> Result<View, StoreError> {
        let mut state = self.0.lock().await;
        state.look(coordinator).await?;
        Ok(state.view())
    }

    /// What changed after a number; none where too much did, and all has to be looked at again.
    pub(super) async fn after(
        &self,
        coordinator: &Coordinator,
        number: u64,
    ) -> Result<(Option<Vec<Change>>, View), StoreError> {
        let mut state = self.0.lock().await;
        state.look(coordinator).await?;
        let first = state.changes.front().map_or(state.last_change + 1, |(first, _)| *first);
        let is_known = number <= state.last_change && number + 1 >= first;
        let later = state.changes.iter().filter(|(each, _)| *each > number).map(|(_, change)| change.clone());
        Ok((is_known.then(|| later.collect()), state.view()))
    }
}

impl State {
    fn view(&self) -> View {
        View { rows: self.all.clone(), readers: self.readers.clone(), last_change: self.last_change }
    }

    async fn look(&mut self, coordinator: &Coordinator) -> Result<(), StoreError> {
        let is_fresh = self.looked_at.is_some_and(|at| at.elapsed() < FRESH);
        // What was changed here is seen at once, by who changed it first of all.
        if is_fresh && self.hears.as_ref().is_some_and(Receiver::is_empty) {
            return Ok(());
        }
        let before = self.last_change;
        let mut dirty = BTreeSet::new();
        let mut is_behind = self.read_all_at.is_none_or(|at| at.elapsed() >= ALL_AGAIN);
        // Before anything is read: what changes meanwhile is read again.
        let hears = self.hears.get_or_insert_with(|| coordinator.subscribe());
        loop {
            match hears.try_recv() {
                Ok(uid) => drop(dirty.insert(uid)),
                Err(TryRecvError::Lagged(_)) => is_behind = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if is_behind {
            self.read_all(coordinator).await?;
        } else {
            if coordinator.store.wakes().is_some() {
                self.look_at_others(coordinator, &mut dirty).await?;
            }
            for uid in dirty {
                match coordinator.store.study(&uid).await? {
                    Some(record) => self.put(&record),
                    None => self.remove(&uid),
                }
            }
        }
        self.look_at_readers(coordinator).await?;
        if self.last_change != before || is_behind {
            self.all = Arc::new(self.rows.values().cloned().collect());
        }
        self.looked_at = Some(Instant::now());
        Ok(())
    }

    /// Reads every study, the newest ones first.
    async fn read_all(&mut self, coordinator: &Coordinator) -> Result<(), StoreError> {
        let (mut seen, mut after) = (BTreeSet::new(), None);
        while seen.len() < MAX_ROWS {
            let query = StudyQuery { after, limit: PAGE, ..StudyQuery::default() };
            let records = coordinator.store.studies(query).await?;
            for record in &records {
                self.put(record);
                seen.insert(record.uid.clone());
            }
            after = records.last().map(StudyCursor::from);
            if records.len() < PAGE {
                break;
            }
        }
        let gone: Vec<Uid> = self.rows.keys().filter(|uid| !seen.contains(*uid)).cloned().collect();
        gone.iter().for_each(|uid| self.remove(uid));
        if self.rows.len() > MAX_ROWS {
            let kept = list::newest(self.rows.values().cloned().collect(), MAX_ROWS);
            self.rows = kept.into_iter().map(|row| (row.uid.clone(), row)).collect();
        }
        self.read_all_at = Some(Instant::now());
        Ok(())
    }

    /// Finds what other coordinators on the same store changed.
    async fn look_at_others(&mut self, coordinator: &Coordinator, dirty: &mut BTreeSet<Uid>) -> Result<(), StoreError> {
        let states = vec![StudyState::Receiving, StudyState::Complete, StudyState::Queued, StudyState::Reading];
        let query = StudyQuery { states, limit: MAX_ROWS, ..StudyQuery::default() };
        let open = coordinator.store.studies(query).await?;
        let is_open: BTreeSet<&Uid> = open.iter().map(|record| &record.uid).collect();
        // What is being removed is gone some time.
        let may_change = |row: &&Arc<Row>| !row.state.is_settled() || row.state == StudyState::Removing;
        let was_open = self.rows.values().filter(may_change).map(|row| &row.uid);
        dirty.extend(was_open.filter(|uid| !is_open.contains(uid)).cloned());
        open.iter().for_each(|record| self.put(record));
        self.look_at_newest(coordinator).await?;
        let notes = coordinator.store.notes(CHANGED, MAX_NOTES).await?;
        for note in &notes {
            if self.noted.get(&note.key) != Some(&note.version) {
                dirty.extend(Uid::parse(&note.text));
            }
        }
        self.noted = notes.into_iter().map(|note| (note.key, note.version)).collect();
        Ok(())
    }

    /// Finds studies that came since the last look, also those that were read meanwhile.
    async fn look_at_newest(&mut self, coordinator: &Coordinator) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let query = StudyQuery { after, limit: NEWEST, ..StudyQuery::default() };
            let newest = coordinator.store.studies(query).await?;
            let all_are_new = newest.iter().all(|record| !self.rows.contains_key(&record.uid));
            newest.iter().for_each(|record| self.put(record));
            if !all_are_new || newest.len() < NEWEST {
                return Ok(());
            }
            after = newest.last().map(StudyCursor::from);
        }
    }

    async fn look_at_readers(&mut self, coordinator: &Coordinator) -> Result<(), StoreError> {
        let found = reading::all(&*coordinator.store, MAX_NOTES).await?;
        if found == *self.readers {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.readers, Arc::new(found));
        let studies: BTreeSet<Uid> = before.keys().chain(self.readers.keys()).cloned().collect();
        for uid in studies {
            if before.get(&uid) != self.readers.get(&uid)
                && let Some(row) = self.rows.get(&uid)
            {
                let tenant = row.tenant.clone();
                self.note(Change::Readers(uid, tenant));
            }
        }
        Ok(())
    }

    fn put(&mut self, record: &StudyRecord) {
        let row = Row::of(record);
        if self.rows.get(&row.uid).is_some_and(|held| **held == row) {
            return;
        }
        let row = Arc::new(row);
        self.rows.insert(row.uid.clone(), row.clone());
        self.note(Change::Row(row));
    }

    fn remove(&mut self, uid: &Uid) {
        if let Some(row) = self.rows.remove(uid) {
            self.note(Change::Gone(uid.clone(), row.tenant.clone()));
        }
    }

    fn note(&mut self, change: Change) {
        self.last_change += 1;
        self.changes.push_back((self.last_change, change));
        if self.changes.len() > MAX_CHANGES {
            self.changes.pop_front();
        }
    }
}

/// Tells pages of other coordinators on the same store that a study changed. They find out later where this does not work.
pub(crate) async fn tell_others(coordinator: &Coordinator, study: &Uid) {
    if coordinator.store.wakes().is_some() {
        let put = PutNote::new(format!("{CHANGED}{study}/"), study.as_str().to_owned(), CHANGED_MS);
        if let Err(error) = coordinator.store.put_note(put).await {
            tracing::warn!(
                error = prelim_proto::trace::without_uids(&error),
                "other coordinators not told of a change"
            );
        }
    }
}
