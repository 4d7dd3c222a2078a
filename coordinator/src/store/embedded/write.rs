//! Writing records in a redb transaction, with the indexes that follow from them.

use std::collections::{BTreeMap, BTreeSet};

use prelim_proto::ids::{FencingToken, JobId, Tenant, Uid};
use prelim_proto::job::{JobOutcome, JobSpec, JobState};
use redb::WriteTransaction;

use super::keys::{self, Listing};
use super::tables::{self, Definition};
use super::{Transaction, corrupt};
use crate::store::delivery::DeliveryRecord;
use crate::store::notes::Note;
use crate::store::record::{
    DraftRecord, InstanceRecord, JobRecord, Reconciled, RequestRecord, StudyCursor, StudyRecord, WorkerRecord,
};
use crate::store::records::{Reads, Records, Result};
use crate::store::step::StepRecord;
use crate::store::worklist::{Report, Subscription, WorkitemRecord};

/// Where the newest fencing token is kept.
pub(super) const LAST_TOKEN: &[u8] = b"last_token";

/// The entries of a study in the study index.
fn study_entries(study: &StudyRecord) -> [Vec<u8>; 5] {
    let attributes = &study.attributes;
    [
        Listing::All,
        Listing::State(study.state),
        Listing::Patient(&attributes.patient_id),
        Listing::Accession(&attributes.accession_number),
        Listing::Date(&attributes.study_date),
    ]
    .map(|listing| listing.entry(&StudyCursor::from(study)))
}

/// The one queue entry of a job, by its state; none for a job that is done or cancelled.
fn job_entry(job: &JobRecord) -> Option<(Definition, Vec<u8>)> {
    match job.state {
        JobState::Ready if job.not_before_ms != 0 => {
            Some((tables::DELAYED, keys::delayed(job.kind, job.not_before_ms, &job.id)))
        }
        JobState::Ready => Some((tables::READY, keys::ready(job))),
        JobState::Leased => Some((tables::LEASES, keys::timed(job.expires_at_ms, &job.id))),
        JobState::Dead => Some((tables::DEAD, keys::job(&job.id))),
        JobState::Done | JobState::Cancelled => None,
    }
}

/// The counter that a job is counted in, by its state.
fn job_counter(job: &JobRecord) -> Option<Vec<u8>> {
    (job.state == JobState::Leased).then(|| keys::leased_count(job.kind, &job.tenant))
}

/// The counter that a study is counted in, by its state.
fn study_counter(study: &StudyRecord) -> Option<Vec<u8>> {
    (!study.state.is_settled()).then(|| keys::open_count(&study.tenant))
}

impl Transaction<WriteTransaction> {
    /// Counts something in one counter that was counted in another, or in none.
    fn recount(&mut self, before: Option<Vec<u8>>, after: Option<Vec<u8>>) -> Result<()> {
        if before == after {
            return Ok(());
        }
        if let Some(key) = before {
            let count = self.counted(&key)?.saturating_sub(1);
            tables::put(&self.0, tables::COUNTS, &key, &count)?;
        }
        if let Some(key) = after {
            let count = self.counted(&key)? + 1;
            tables::put(&self.0, tables::COUNTS, &key, &count)?;
        }
        Ok(())
    }

    /// Counts everything again; how many counters were wrong.
    fn mend_counts(&mut self) -> Result<u64> {
        let mut right: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for job in tables::all::<JobRecord>(&self.0, tables::JOBS, &[])? {
            job_counter(&job).into_iter().for_each(|key| *right.entry(key).or_default() += 1);
        }
        for study in tables::all::<StudyRecord>(&self.0, tables::STUDIES, &[])? {
            study_counter(&study).into_iter().for_each(|key| *right.entry(key).or_default() += 1);
        }
        let mut held: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        tables::scan(&self.0, tables::COUNTS, &[], None, |key, value| {
            held.insert(key.to_vec(), serde_json::from_slice(value).map_err(super::storage)?);
            Ok(true)
        })?;
        let keys: BTreeSet<Vec<u8>> = held.keys().chain(right.keys()).cloned().collect();
        let mut wrong = 0;
        for key in keys {
            let count = right.get(&key).copied().unwrap_or(0);
            if held.get(&key).copied().unwrap_or(0) != count {
                tables::put(&self.0, tables::COUNTS, &key, &count)?;
                wrong += 1;
            }
        }
        Ok(wrong)
    }
}

impl Records for Transaction<WriteTransaction> {
    fn put_study(&mut self, study: &StudyRecord) -> Result<()> {
        let before = self.study(&study.uid)?;
        self.recount(before.as_ref().and_then(study_counter), study_counter(study))?;
        let before = before.map(|before| study_entries(&before)).unwrap_or_default();
        let after = study_entries(study);
        for entry in before.iter().filter(|entry| !entry.is_empty() && !after.contains(entry)) {
            tables::remove(&self.0, tables::STUDY_INDEX, entry)?;
        }
        for entry in after.iter().filter(|entry| !before.contains(entry)) {
            tables::mark(&self.0, tables::STUDY_INDEX, entry)?;
        }
        tables::put(&self.0, tables::STUDIES, &keys::study(&study.uid), study)
    }

    fn remove_study(&mut self, uid: &Uid) -> Result<()> {
        for job in self.jobs(uid)? {
            self.remove_job(&job.id)?;
        }
        for instance in self.instances(uid)? {
            let instance = &instance.instance.uid;
            // It may have come into another study since.
            if self.study_of(instance)?.as_ref() == Some(uid) {
                tables::remove(&self.0, tables::PLACES, &keys::study(instance))?;
            }
            tables::remove(&self.0, tables::INSTANCES, &keys::instance(uid, instance))?;
        }
        for delivery in self.deliveries(uid)? {
            tables::remove(&self.0, tables::DUE, &keys::due(delivery.due_at_ms, &delivery.key))?;
            tables::remove(&self.0, tables::DELIVERIES, &keys::delivery(&delivery.key))?;
        }
        let Some(study) = self.study(uid)? else { return Ok(()) };
        for version in 1..=study.draft_version {
            tables::remove(&self.0, tables::DRAFTS, &keys::draft(uid, version))?;
        }
        self.recount(study_counter(&study), None)?;
        for entry in study_entries(&study).iter().filter(|entry| !entry.is_empty()) {
            tables::remove(&self.0, tables::STUDY_INDEX, entry)?;
        }
        tables::remove(&self.0, tables::STUDIES, &keys::study(uid))?;
        Ok(())
    }

    fn put_instance(&mut self, study: &Uid, instance: &InstanceRecord) -> Result<()> {
        tables::put(&self.0, tables::PLACES, &keys::study(&instance.instance.uid), study)?;
        tables::put(&self.0, tables::INSTANCES, &keys::instance(study, &instance.instance.uid), instance)
    }

    fn put_spec(&mut self, spec: &JobSpec) -> Result<()> {
        tables::put(&self.0, tables::SPECS, &keys::job(&spec.id), spec)
    }

    fn put_job(&mut self, job: &JobRecord) -> Result<()> {
        let before = self.job(&job.id)?;
        self.recount(before.as_ref().and_then(job_counter), job_counter(job))?;
        if let Some((table, key)) = before.as_ref().and_then(job_entry) {
            tables::remove(&self.0, table, &key)?;
        }
        if let Some((table, key)) = job_entry(job) {
            tables::mark(&self.0, table, &key)?;
        }
        tables::put(&self.0, tables::JOBS, &keys::job(&job.id), job)
    }

    fn remove_job(&mut self, id: &JobId) -> Result<()> {
        let before = self.job(id)?;
        self.recount(before.as_ref().and_then(job_counter), None)?;
        if let Some((table, key)) = before.as_ref().and_then(job_entry) {
            tables::remove(&self.0, table, &key)?;
        }
        for table in [tables::JOBS, tables::SPECS, tables::OUTCOMES] {
            tables::remove(&self.0, table, &keys::job(id))?;
        }
        Ok(())
    }

    fn put_outcome(&mut self, id: &JobId, outcome: &JobOutcome) -> Result<()> {
        tables::put(&self.0, tables::OUTCOMES, &keys::job(id), outcome)
    }

    fn put_draft(&mut self, study: &Uid, draft: &DraftRecord) -> Result<()> {
        tables::put(&self.0, tables::DRAFTS, &keys::draft(study, draft.version), draft)
    }

    fn put_delivery(&mut self, delivery: &DeliveryRecord) -> Result<()> {
        if let Some(before) = self.delivery(&delivery.key)? {
            tables::remove(&self.0, tables::DUE, &keys::due(before.due_at_ms, &before.key))?;
        }
        if delivery.state.is_open() {
            tables::mark(&self.0, tables::DUE, &keys::due(delivery.due_at_ms, &delivery.key))?;
        }
        tables::put(&self.0, tables::DELIVERIES, &keys::delivery(&delivery.key), delivery)
    }

    fn put_request(&mut self, id: &str, request: &RequestRecord) -> Result<()> {
        tables::put(&self.0, tables::REQUESTS, id.as_bytes(), request)
    }

    fn forget_requests(&mut self, at_ms: i64) -> Result<u64> {
        let mut old = Vec::new();
        tables::scan(&self.0, tables::REQUESTS, &[], None, |key, value| {
            let request: RequestRecord = serde_json::from_slice(value).map_err(super::storage)?;
            if request.at_ms < at_ms {
                old.push(key.to_vec());
            }
            Ok(true)
        })?;
        for key in &old {
            tables::remove(&self.0, tables::REQUESTS, key)?;
        }
        Ok(old.len() as u64)
    }

    fn put_step(&mut self, step: &StepRecord) -> Result<()> {
        if let Some(before) = self.step(&step.uid)? {
            tables::remove(&self.0, tables::STEP_TIMES, &keys::timed_uid(before.changed_at_ms, &before.uid))?;
        }
        tables::mark(&self.0, tables::STEP_TIMES, &keys::timed_uid(step.changed_at_ms, &step.uid))?;
        for study in &step.studies {
            tables::mark(&self.0, tables::STEPS_OF, &keys::step_of(study, step.uid.as_str()))?;
        }
        tables::put(&self.0, tables::STEPS, step.uid.as_str().as_bytes(), step)
    }

    fn remove_step(&mut self, uid: &Uid) -> Result<()> {
        let Some(step) = self.step(uid)? else { return Ok(()) };
        tables::remove(&self.0, tables::STEP_TIMES, &keys::timed_uid(step.changed_at_ms, uid))?;
        for study in &step.studies {
            tables::remove(&self.0, tables::STEPS_OF, &keys::step_of(study, uid.as_str()))?;
        }
        tables::remove(&self.0, tables::STEPS, uid.as_str().as_bytes()).map(drop)
    }

    fn put_worker(&mut self, worker: &WorkerRecord) -> Result<()> {
        tables::put(&self.0, tables::WORKERS, worker.heartbeat.worker.as_bytes(), worker)
    }

    fn remove_worker(&mut self, id: &str) -> Result<()> {
        tables::remove(&self.0, tables::WORKERS, id.as_bytes())?;
        Ok(())
    }

    fn put_workitem(&mut self, record: &WorkitemRecord) -> Result<()> {
        self.store_workitem(record)
    }

    fn remove_workitem(&mut self, record: &WorkitemRecord) -> Result<()> {
        self.drop_workitem(record)
    }

    fn put_subscription(&mut self, tenant: &Tenant, subscription: &Subscription) -> Result<()> {
        self.store_subscription(tenant, subscription)
    }

    fn remove_subscription(&mut self, tenant: &Tenant, title: &str) -> Result<()> {
        self.drop_subscription(tenant, title)
    }

    fn add_report(&mut self, report: &Report) -> Result<()> {
        self.store_report(report)
    }

    fn put_note(&mut self, note: &Note) -> Result<()> {
        self.store_note(note)
    }

    fn remove_note(&mut self, note: &Note) -> Result<()> {
        self.drop_note(note)
    }

    fn next_token(&mut self) -> Result<FencingToken> {
        let last: Option<u64> = tables::get(&self.0, tables::META, LAST_TOKEN)?;
        let next = last.unwrap_or(0) + 1;
        tables::put(&self.0, tables::META, LAST_TOKEN, &next)?;
        Ok(FencingToken(next))
    }

    fn mend_indexes(&mut self) -> Result<Reconciled> {
        let mut mended = Reconciled::default();
        // One way: entries whose job does not ask for them.
        for table in [tables::READY, tables::DELAYED, tables::LEASES, tables::DEAD] {
            for key in stray_entries(self, table)? {
                tables::remove(&self.0, table, &key)?;
                match same(table, tables::LEASES) {
                    true => mended.stray_leases += 1,
                    false => mended.stray_entries += 1,
                }
            }
        }
        // The other way: jobs without the entry that they ask for.
        for job in tables::all::<JobRecord>(&self.0, tables::JOBS, &[])? {
            let Some((table, key)) = job_entry(&job) else { continue };
            if tables::has(&self.0, table, &key)? {
                continue;
            }
            tables::mark(&self.0, table, &key)?;
            match job.state {
                JobState::Leased => {
                    mended.lost_leases += 1;
                    // Nobody could renew it: let it run out at once.
                    self.put_job(&JobRecord { expires_at_ms: 0, ..job })?;
                }
                _ => mended.lost_jobs += 1,
            }
        }
        mended.wrong_counts = self.mend_counts()?;
        Ok(mended)
    }
}

fn same(a: Definition, b: Definition) -> bool {
    use redb::TableHandle as _;
    a.name() == b.name()
}

/// Keys of a queue index that no job accounts for.
fn stray_entries(txn: &Transaction<WriteTransaction>, table: Definition) -> Result<Vec<Vec<u8>>> {
    let mut stray = Vec::new();
    tables::scan(&txn.0, table, &[], None, |key, _| {
        let id = match table {
            _ if same(table, tables::READY) => keys::read_ready(key).map(|(.., id)| id),
            _ if same(table, tables::DEAD) => keys::read_job(key),
            _ if same(table, tables::DELAYED) => key.get(1..).and_then(keys::read_timed).map(|(_, id)| id),
            _ => keys::read_timed(key).map(|(_, id)| id),
        };
        let job = match id {
            Some(id) => txn.job(&id)?,
            None => None,
        };
        let entry = job.as_ref().and_then(job_entry);
        if !entry.is_some_and(|(of, wanted)| same(of, table) && wanted == key) {
            stray.push(key.to_vec());
        }
        Ok(true)
    })?;
    Ok(stray)
}

/// Fails where the file was written by a version that this one does not know; marks a new file.
pub(super) fn check_format(txn: &WriteTransaction) -> Result<()> {
    const FORMAT: &[u8] = b"format";
    const VERSION: u32 = 2;
    match tables::get::<u32>(txn, tables::META, FORMAT)? {
        None => tables::put(txn, tables::META, FORMAT, &VERSION),
        Some(VERSION) => Ok(()),
        Some(_) => Err(corrupt("format version: written by another version of prelim")),
    }
}
