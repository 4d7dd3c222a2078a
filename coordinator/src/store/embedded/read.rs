//! Reading records and indexes in a redb transaction of either kind.

use prelim_proto::demand::Demand;
use prelim_proto::ids::{JobId, Tenant, Uid};
use prelim_proto::job::{JobKind, JobOutcome, JobSpec};

use super::keys::{self, Listing};
use super::tables::{self, Definition, Source};
use super::{Transaction, corrupt};
use crate::store::delivery::{DeliveryKey, DeliveryRecord};
use crate::store::notes::Note;
use crate::store::record::{
    DraftRecord, InstanceRecord, JobRecord, QueueDepth, RequestRecord, StudyQuery, StudyRecord, WorkerRecord,
};
use crate::store::records::{Reads, Result};
use crate::store::step::{MAX_STEPS_OF_STUDY, StepRecord};
use crate::store::worklist::{Report, Subscription, WorkitemQuery, WorkitemRecord};

/// The index to walk for a query: the one with the fewest entries, as a guess.
fn listing(query: &StudyQuery) -> Vec<Listing<'_>> {
    if let Some(number) = &query.accession_number {
        return vec![Listing::Accession(number)];
    }
    if let Some(id) = &query.patient_id {
        return vec![Listing::Patient(id)];
    }
    if let Some(date) = &query.study_date {
        return vec![Listing::Date(date)];
    }
    if query.states.is_empty() {
        return vec![Listing::All];
    }
    let mut states = query.states.clone();
    states.sort_by_key(|state| state.as_str());
    states.dedup();
    states.into_iter().map(Listing::State).collect()
}

impl<S: Source> Transaction<S> {
    /// Ids from an index of times whose keys begin with `prefix`, up to `now_ms`.
    fn timed(&self, table: Definition, prefix: &[u8], now_ms: i64, limit: usize) -> Result<Vec<JobId>> {
        let mut ids = Vec::new();
        tables::scan(&self.0, table, prefix, None, |key, _| {
            let time = key.get(prefix.len()..).and_then(keys::read_timed);
            let (at_ms, id) = time.ok_or_else(|| corrupt("time index"))?;
            if at_ms > now_ms || ids.len() >= limit {
                return Ok(false);
            }
            ids.push(id);
            Ok(true)
        })?;
        Ok(ids)
    }

    /// A counter.
    pub(super) fn counted(&self, key: &[u8]) -> Result<u64> {
        Ok(tables::get(&self.0, tables::COUNTS, key)?.unwrap_or(0))
    }
}

impl<S: Source> Reads for Transaction<S> {
    fn study(&self, uid: &Uid) -> Result<Option<StudyRecord>> {
        tables::get(&self.0, tables::STUDIES, &keys::study(uid))
    }

    fn studies(&self, query: &StudyQuery) -> Result<Vec<StudyRecord>> {
        let mut studies: Vec<StudyRecord> = Vec::new();
        for listing in listing(query) {
            let mut found = 0;
            let after = query.after.as_ref().map(|cursor| listing.entry(cursor));
            tables::scan(&self.0, tables::STUDY_INDEX, &listing.prefix(), after.as_deref(), |key, _| {
                if found >= query.limit {
                    return Ok(false);
                }
                let uid = listing.read(key).ok_or_else(|| corrupt("study index"))?;
                let study = self.study(&uid)?.ok_or_else(|| corrupt("study index"))?;
                if query.wants(&study) {
                    studies.push(study);
                    found += 1;
                }
                Ok(true)
            })?;
        }
        // Each listing is in order; several of them together are not.
        studies.sort_by(|a, b| b.received_at_ms.cmp(&a.received_at_ms).then_with(|| a.uid.cmp(&b.uid)));
        studies.truncate(query.limit);
        Ok(studies)
    }

    fn instance(&self, study: &Uid, instance: &Uid) -> Result<Option<InstanceRecord>> {
        tables::get(&self.0, tables::INSTANCES, &keys::instance(study, instance))
    }

    fn study_of(&self, instance: &Uid) -> Result<Option<Uid>> {
        tables::get(&self.0, tables::PLACES, &keys::study(instance))
    }

    fn instances(&self, study: &Uid) -> Result<Vec<InstanceRecord>> {
        tables::all(&self.0, tables::INSTANCES, &keys::study(study))
    }

    fn job(&self, id: &JobId) -> Result<Option<JobRecord>> {
        tables::get(&self.0, tables::JOBS, &keys::job(id))
    }

    fn spec(&self, id: &JobId) -> Result<Option<JobSpec>> {
        tables::get(&self.0, tables::SPECS, &keys::job(id))
    }

    fn jobs(&self, study: &Uid) -> Result<Vec<JobRecord>> {
        tables::all(&self.0, tables::JOBS, &keys::study(study))
    }

    fn outcome(&self, id: &JobId) -> Result<Option<JobOutcome>> {
        tables::get(&self.0, tables::OUTCOMES, &keys::job(id))
    }

    fn draft(&self, study: &Uid, version: u32) -> Result<Option<DraftRecord>> {
        tables::get(&self.0, tables::DRAFTS, &keys::draft(study, version))
    }

    fn delivery(&self, key: &DeliveryKey) -> Result<Option<DeliveryRecord>> {
        tables::get(&self.0, tables::DELIVERIES, &keys::delivery(key))
    }

    fn deliveries(&self, study: &Uid) -> Result<Vec<DeliveryRecord>> {
        tables::all(&self.0, tables::DELIVERIES, &keys::study(study))
    }

    fn due_deliveries(&self, destination: &str, now_ms: i64, limit: usize) -> Result<Vec<DeliveryKey>> {
        let (mut due, prefix) = (Vec::new(), keys::destination(destination));
        tables::scan(&self.0, tables::DUE, &prefix, None, |key, _| {
            let entry = key.get(prefix.len()..).and_then(keys::read_due);
            let (at_ms, key) = entry.ok_or_else(|| corrupt("index of deliveries"))?;
            if at_ms > now_ms || due.len() >= limit {
                return Ok(false);
            }
            due.push(key);
            Ok(true)
        })?;
        Ok(due)
    }

    fn request(&self, id: &str) -> Result<Option<RequestRecord>> {
        tables::get(&self.0, tables::REQUESTS, id.as_bytes())
    }

    fn waiting(&self, kind: JobKind) -> Result<Vec<(Tenant, Demand)>> {
        let mut queues: Vec<(Tenant, Demand)> = Vec::new();
        loop {
            // One look a queue: after the last one the next one begins.
            let after = queues.last().map(|(tenant, demand)| keys::past_queue(kind, tenant, demand));
            let mut next = None;
            tables::scan(&self.0, tables::READY, &[keys::kind(kind)], after.as_deref(), |key, _| {
                let (tenant, demand, ..) = keys::read_ready(key).ok_or_else(|| corrupt("ready index"))?;
                next = Some((tenant, demand));
                Ok(false)
            })?;
            match next {
                Some(queue) => queues.push(queue),
                None => return Ok(queues),
            }
        }
    }

    fn first_ready(&self, kind: JobKind, tenant: &Tenant, demand: &Demand) -> Result<Option<(i64, JobId)>> {
        let mut first = None;
        tables::scan(&self.0, tables::READY, &keys::queue(kind, tenant, demand), None, |key, _| {
            let (_, _, rank, id) = keys::read_ready(key).ok_or_else(|| corrupt("ready index"))?;
            first = Some((rank, id));
            Ok(false)
        })?;
        Ok(first)
    }

    fn due(&self, kind: JobKind, now_ms: i64, limit: usize) -> Result<Vec<JobId>> {
        self.timed(tables::DELAYED, &[keys::kind(kind)], now_ms, limit)
    }

    fn running(&self, tenant: &Tenant) -> Result<u64> {
        let reads = JobKind::ALL.into_iter().filter(|kind| kind.is_read());
        reads.map(|kind| self.counted(&keys::leased_count(kind, tenant))).sum()
    }

    fn leased_by(&self, worker: &str, request: &str) -> Result<Option<JobId>> {
        for id in self.expired(i64::MAX, usize::MAX)? {
            let job = self.job(&id)?.ok_or_else(|| corrupt("lease index"))?;
            if job.worker == worker && job.request == request {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn expired(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>> {
        self.timed(tables::LEASES, &[], now_ms, limit)
    }

    fn dead(&self, after: Option<&JobId>, limit: usize) -> Result<Vec<JobId>> {
        let mut ids = Vec::new();
        let after = after.map(keys::job);
        tables::scan(&self.0, tables::DEAD, &[], after.as_deref(), |key, _| {
            if ids.len() >= limit {
                return Ok(false);
            }
            ids.push(keys::read_job(key).ok_or_else(|| corrupt("dead letter index"))?);
            Ok(true)
        })?;
        Ok(ids)
    }

    fn depth(&self, now_ms: i64) -> Result<QueueDepth> {
        let entries = |table, prefix: &[u8]| {
            let mut entries = 0;
            tables::scan(&self.0, table, prefix, None, |_, _| {
                entries += 1;
                Ok(true)
            })?;
            Ok::<u64, crate::store::StoreError>(entries)
        };
        let mut depth = QueueDepth { dead: tables::count(&self.0, tables::DEAD)?, ..QueueDepth::default() };
        for kind in JobKind::ALL {
            let delayed = entries(tables::DELAYED, &[keys::kind(kind)])?;
            depth.delayed += delayed;
            *depth.ready.of(kind) = delayed;
            for (tenant, demand) in self.waiting(kind)? {
                let Some((_, first)) = self.first_ready(kind, &tenant, &demand)? else { continue };
                let since_ms = self.job(&first)?.ok_or_else(|| corrupt("ready index"))?.updated_at_ms;
                let jobs = entries(tables::READY, &keys::queue(kind, &tenant, &demand))?;
                *depth.ready.of(kind) += jobs;
                depth.note_waiting(kind, &demand, jobs, now_ms - since_ms);
            }
        }
        tables::scan(&self.0, tables::COUNTS, b"l", None, |key, value| {
            let kind = JobKind::ALL.into_iter().find(|kind| key.get(1) == Some(&keys::kind(*kind)));
            let count: u64 = serde_json::from_slice(value).map_err(super::storage)?;
            *depth.leased.of(kind.ok_or_else(|| corrupt("counter"))?) += count;
            Ok(true)
        })?;
        depth.open_studies = self.open_studies(&Tenant::default())?.0;
        Ok(depth)
    }

    fn open_studies(&self, tenant: &Tenant) -> Result<(u64, u64)> {
        let mut all = 0;
        tables::scan(&self.0, tables::COUNTS, b"o", None, |_, value| {
            all += serde_json::from_slice::<u64>(value).map_err(super::storage)?;
            Ok(true)
        })?;
        Ok((all, self.counted(&keys::open_count(tenant))?))
    }

    fn step(&self, uid: &Uid) -> Result<Option<StepRecord>> {
        tables::get(&self.0, tables::STEPS, uid.as_str().as_bytes())
    }

    fn steps_of(&self, study: &Uid) -> Result<Vec<StepRecord>> {
        let (mut uids, prefix) = (Vec::new(), keys::step_of(study, ""));
        tables::scan(&self.0, tables::STEPS_OF, &prefix, None, |key, _| {
            let uid = key.get(prefix.len()..).and_then(keys::read_uid);
            uids.push(uid.ok_or_else(|| corrupt("index of steps"))?);
            Ok(uids.len() < MAX_STEPS_OF_STUDY)
        })?;
        uids.iter().map(|uid| self.step(uid)?.ok_or_else(|| corrupt("index of steps"))).collect()
    }

    fn old_steps(&self, at_ms: i64, limit: usize) -> Result<Vec<Uid>> {
        let mut old = Vec::new();
        tables::scan(&self.0, tables::STEP_TIMES, &[], None, |key, _| {
            let (changed_at_ms, uid) = keys::read_timed_uid(key).ok_or_else(|| corrupt("times of steps"))?;
            let is_old = changed_at_ms < at_ms && old.len() < limit;
            old.extend(is_old.then_some(uid));
            Ok(is_old)
        })?;
        Ok(old)
    }

    fn count_steps(&self) -> Result<u64> {
        tables::count(&self.0, tables::STEPS)
    }

    fn note(&self, key: &str) -> Result<Option<Note>> {
        self.get_note(key)
    }

    fn notes(&self, beginning: &str) -> Result<Vec<Note>> {
        self.list_notes(beginning)
    }

    fn ended_notes(&self, now_ms: i64, limit: usize) -> Result<Vec<Note>> {
        self.list_ended_notes(now_ms, limit)
    }

    fn count_notes(&self) -> Result<u64> {
        tables::count(&self.0, tables::NOTES)
    }

    fn worker(&self, id: &str) -> Result<Option<WorkerRecord>> {
        tables::get(&self.0, tables::WORKERS, id.as_bytes())
    }

    fn workers(&self) -> Result<Vec<WorkerRecord>> {
        tables::all(&self.0, tables::WORKERS, &[])
    }

    fn workitem(&self, uid: &Uid) -> Result<Option<WorkitemRecord>> {
        self.get_workitem(uid)
    }

    fn workitems(&self, query: &WorkitemQuery) -> Result<Vec<WorkitemRecord>> {
        self.list_workitems(query)
    }

    fn open_workitems(&self, tenant: &Tenant) -> Result<u64> {
        self.count_open_workitems(tenant)
    }

    fn workitems_over(&self, before_ms: i64, limit: usize) -> Result<Vec<WorkitemRecord>> {
        self.list_workitems_over(before_ms, limit)
    }

    fn subscriptions(&self, tenant: &Tenant) -> Result<Vec<Subscription>> {
        self.list_subscriptions(tenant)
    }

    fn reports(&self, after: u64, limit: usize) -> Result<Vec<(u64, Report)>> {
        self.list_reports(after, limit)
    }

    fn last_report(&self) -> Result<u64> {
        self.newest_report()
    }
}
