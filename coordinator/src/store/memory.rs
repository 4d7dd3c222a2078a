//! Records in plain maps, searched from end to end: slow and plainly right. Tests compare other stores with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use prelim_proto::demand::Demand;
use prelim_proto::ids::{FencingToken, JobId, Tenant, Uid};
use prelim_proto::job::{JobKind, JobOutcome, JobSpec, JobState};

use super::delivery::{DeliveryKey, DeliveryRecord};
use super::notes::Note;
use super::record::{
    DraftRecord, InstanceRecord, JobRecord, QueueDepth, Reconciled, RequestRecord, StudyCursor, StudyQuery,
    StudyRecord, WorkerRecord,
};
use super::records::{Reads, Records, Result};
use super::step::{MAX_STEPS_OF_STUDY, StepRecord};
use super::transact::Backend;
use super::worklist::{MAX_REPORTS, Report, Subscription, WorkitemQuery, WorkitemRecord};
use crate::clock::Clock;

/// Everything there is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Maps {
    studies: BTreeMap<Uid, StudyRecord>,
    instances: BTreeMap<(Uid, Uid), InstanceRecord>,
    places: BTreeMap<Uid, Uid>,
    jobs: BTreeMap<JobId, JobRecord>,
    specs: BTreeMap<JobId, JobSpec>,
    outcomes: BTreeMap<JobId, JobOutcome>,
    drafts: BTreeMap<(Uid, u32), DraftRecord>,
    deliveries: BTreeMap<DeliveryKey, DeliveryRecord>,
    requests: BTreeMap<String, RequestRecord>,
    workers: BTreeMap<String, WorkerRecord>,
    steps: BTreeMap<Uid, StepRecord>,
    workitems: BTreeMap<Uid, WorkitemRecord>,
    notes: BTreeMap<String, Note>,
    subscriptions: BTreeMap<(Tenant, String), Subscription>,
    reports: BTreeMap<u64, Report>,
    last_report: u64,
    token: u64,
}

impl Maps {
    /// What no read of a store shows: the requests remembered, and the last token.
    pub(crate) fn hidden(&self) -> (BTreeMap<String, RequestRecord>, u64) {
        (self.requests.clone(), self.token)
    }

    /// Ids of jobs for which `key` gives a time up to `now_ms`, in order of time and id.
    fn timed(&self, now_ms: i64, limit: usize, key: impl Fn(&JobRecord) -> Option<i64>) -> Vec<JobId> {
        let times = self.jobs.values().filter_map(|job| Some((key(job)?, job.id.clone())));
        let mut due: Vec<_> = times.filter(|(at_ms, _)| *at_ms <= now_ms).collect();
        due.sort();
        due.into_iter().map(|(_, id)| id).take(limit).collect()
    }

    /// Waiting jobs whose time has come.
    fn ready(&self) -> impl Iterator<Item = &JobRecord> {
        self.jobs.values().filter(|job| job.state == JobState::Ready && job.not_before_ms == 0)
    }
}

impl Reads for Maps {
    fn study(&self, uid: &Uid) -> Result<Option<StudyRecord>> {
        Ok(self.studies.get(uid).cloned())
    }

    fn studies(&self, query: &StudyQuery) -> Result<Vec<StudyRecord>> {
        let wanted = |study: &&StudyRecord| {
            let older = |after: &StudyCursor| (-study.received_at_ms, &study.uid) > (-after.received_at_ms, &after.uid);
            query.wants(study) && query.after.as_ref().is_none_or(older)
        };
        let mut studies: Vec<_> = self.studies.values().filter(wanted).cloned().collect();
        studies.sort_by(|a, b| (-a.received_at_ms, &a.uid).cmp(&(-b.received_at_ms, &b.uid)));
        studies.truncate(query.limit);
        Ok(studies)
    }

    fn instance(&self, study: &Uid, instance: &Uid) -> Result<Option<InstanceRecord>> {
        Ok(self.instances.get(&(study.clone(), instance.clone())).cloned())
    }

    fn study_of(&self, instance: &Uid) -> Result<Option<Uid>> {
        Ok(self.places.get(instance).cloned())
    }

    fn instances(&self, study: &Uid) -> Result<Vec<InstanceRecord>> {
        Ok(self.instances.iter().filter(|((of, _), _)| of == study).map(|(_, record)| record.clone()).collect())
    }

    fn job(&self, id: &JobId) -> Result<Option<JobRecord>> {
        Ok(self.jobs.get(id).cloned())
    }

    fn spec(&self, id: &JobId) -> Result<Option<JobSpec>> {
        Ok(self.specs.get(id).cloned())
    }

    fn jobs(&self, study: &Uid) -> Result<Vec<JobRecord>> {
        Ok(self.jobs.values().filter(|job| job.id.study() == study).cloned().collect())
    }

    fn outcome(&self, id: &JobId) -> Result<Option<JobOutcome>> {
        Ok(self.outcomes.get(id).cloned())
    }

    fn draft(&self, study: &Uid, version: u32) -> Result<Option<DraftRecord>> {
        Ok(self.drafts.get(&(study.clone(), version)).cloned())
    }

    fn delivery(&self, key: &DeliveryKey) -> Result<Option<DeliveryRecord>> {
        Ok(self.deliveries.get(key).cloned())
    }

    fn deliveries(&self, study: &Uid) -> Result<Vec<DeliveryRecord>> {
        Ok(self.deliveries.values().filter(|record| record.key.study == *study).cloned().collect())
    }

    fn due_deliveries(&self, destination: &str, now_ms: i64, limit: usize) -> Result<Vec<DeliveryKey>> {
        let is_due = |record: &&DeliveryRecord| {
            record.state.is_open() && record.key.destination == destination && record.due_at_ms <= now_ms
        };
        let mut due: Vec<_> = self.deliveries.values().filter(is_due).map(|each| (each.due_at_ms, &each.key)).collect();
        due.sort();
        Ok(due.into_iter().map(|(_, key)| key.clone()).take(limit).collect())
    }

    fn request(&self, id: &str) -> Result<Option<RequestRecord>> {
        Ok(self.requests.get(id).cloned())
    }

    fn waiting(&self, kind: JobKind) -> Result<Vec<(Tenant, Demand)>> {
        let waiting = self.ready().filter(|job| job.kind == kind);
        let whose: BTreeSet<_> = waiting.map(|job| (job.tenant.clone(), job.demand.clone())).collect();
        Ok(whose.into_iter().collect())
    }

    fn first_ready(&self, kind: JobKind, tenant: &Tenant, demand: &Demand) -> Result<Option<(i64, JobId)>> {
        let ready = self.ready().filter(|job| job.kind == kind && job.tenant == *tenant && job.demand == *demand);
        Ok(ready.map(|job| (job.rank, job.id.clone())).min())
    }

    fn due(&self, kind: JobKind, now_ms: i64, limit: usize) -> Result<Vec<JobId>> {
        let is_delayed = |job: &JobRecord| job.state == JobState::Ready && job.kind == kind && job.not_before_ms != 0;
        Ok(self.timed(now_ms, limit, |job| is_delayed(job).then_some(job.not_before_ms)))
    }

    fn running(&self, tenant: &Tenant) -> Result<u64> {
        let runs = |job: &&JobRecord| job.state == JobState::Leased && job.kind.is_read() && job.tenant == *tenant;
        Ok(self.jobs.values().filter(runs).count() as u64)
    }

    fn leased_by(&self, worker: &str, request: &str) -> Result<Option<JobId>> {
        let mut leased = self.jobs.values().filter(|job| job.state == JobState::Leased);
        Ok(leased.find(|job| job.worker == worker && job.request == request).map(|job| job.id.clone()))
    }

    fn expired(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>> {
        Ok(self.timed(now_ms, limit, |job| (job.state == JobState::Leased).then_some(job.expires_at_ms)))
    }

    fn dead(&self, after: Option<&JobId>, limit: usize) -> Result<Vec<JobId>> {
        let dead = self.jobs.values().filter(|job| job.state == JobState::Dead).map(|job| job.id.clone());
        Ok(dead.filter(|id| after.is_none_or(|after| id > after)).take(limit).collect())
    }

    fn depth(&self, now_ms: i64) -> Result<QueueDepth> {
        let mut depth = QueueDepth::default();
        for job in self.jobs.values() {
            match job.state {
                JobState::Ready => *depth.ready.of(job.kind) += 1,
                JobState::Leased => *depth.leased.of(job.kind) += 1,
                JobState::Dead => depth.dead += 1,
                JobState::Done | JobState::Cancelled => {}
            }
        }
        let is_delayed = |job: &&JobRecord| job.state == JobState::Ready && job.not_before_ms != 0;
        depth.delayed = self.jobs.values().filter(is_delayed).count() as u64;
        depth.open_studies = self.studies.values().filter(|study| !study.state.is_settled()).count() as u64;
        for kind in JobKind::ALL {
            for (tenant, demand) in self.waiting(kind)? {
                let (_, first) = self.first_ready(kind, &tenant, &demand)?.expect("it waits");
                let ready = self.ready().filter(|job| job.kind == kind && job.tenant == tenant && job.demand == demand);
                let wait_ms = now_ms - self.jobs[&first].updated_at_ms;
                depth.note_waiting(kind, &demand, ready.count() as u64, wait_ms);
            }
        }
        Ok(depth)
    }

    fn open_studies(&self, tenant: &Tenant) -> Result<(u64, u64)> {
        let open: Vec<_> = self.studies.values().filter(|study| !study.state.is_settled()).collect();
        let of_tenant = open.iter().filter(|study| study.tenant == *tenant).count();
        Ok((open.len() as u64, of_tenant as u64))
    }

    fn step(&self, uid: &Uid) -> Result<Option<StepRecord>> {
        Ok(self.steps.get(uid).cloned())
    }

    fn steps_of(&self, study: &Uid) -> Result<Vec<StepRecord>> {
        let of_study = self.steps.values().filter(|step| step.studies.contains(study));
        Ok(of_study.take(MAX_STEPS_OF_STUDY).cloned().collect())
    }

    fn old_steps(&self, at_ms: i64, limit: usize) -> Result<Vec<Uid>> {
        let old = self.steps.values().filter(|step| step.changed_at_ms < at_ms);
        let mut old: Vec<_> = old.map(|step| (step.changed_at_ms, &step.uid)).collect();
        old.sort();
        Ok(old.into_iter().map(|(_, uid)| uid.clone()).take(limit).collect())
    }

    fn count_steps(&self) -> Result<u64> {
        Ok(self.steps.len() as u64)
    }

    fn workitem(&self, uid: &Uid) -> Result<Option<WorkitemRecord>> {
        Ok(self.workitems.get(uid).cloned())
    }

    fn workitems(&self, query: &WorkitemQuery) -> Result<Vec<WorkitemRecord>> {
        let later = |record: &&WorkitemRecord| {
            let place = (record.created_at_ms, record.uid.clone());
            query.after.as_ref().is_none_or(|after| place > *after)
        };
        let mut found: Vec<_> =
            self.workitems.values().filter(later).filter(|record| query.wants(record)).cloned().collect();
        found.sort_by(|a, b| (a.created_at_ms, &a.uid).cmp(&(b.created_at_ms, &b.uid)));
        found.truncate(query.limit);
        Ok(found)
    }

    fn open_workitems(&self, tenant: &Tenant) -> Result<u64> {
        let is_open = |record: &&WorkitemRecord| record.tenant == *tenant && !record.workitem.state.is_final();
        Ok(self.workitems.values().filter(is_open).count() as u64)
    }

    fn workitems_over(&self, before_ms: i64, limit: usize) -> Result<Vec<WorkitemRecord>> {
        let is_over = |record: &&WorkitemRecord| record.workitem.state.is_final() && record.updated_at_ms < before_ms;
        let mut over: Vec<_> = self.workitems.values().filter(is_over).cloned().collect();
        over.sort_by(|a, b| (a.updated_at_ms, &a.uid).cmp(&(b.updated_at_ms, &b.uid)));
        over.truncate(limit);
        Ok(over)
    }

    fn subscriptions(&self, tenant: &Tenant) -> Result<Vec<Subscription>> {
        Ok(self.subscriptions.iter().filter(|((of, _), _)| of == tenant).map(|(_, each)| each.clone()).collect())
    }

    fn reports(&self, after: u64, limit: usize) -> Result<Vec<(u64, Report)>> {
        let later = self.reports.iter().filter(|(number, _)| **number > after);
        Ok(later.map(|(number, report)| (*number, report.clone())).take(limit).collect())
    }

    fn last_report(&self) -> Result<u64> {
        Ok(self.last_report)
    }

    fn note(&self, key: &str) -> Result<Option<Note>> {
        Ok(self.notes.get(key).cloned())
    }

    fn notes(&self, beginning: &str) -> Result<Vec<Note>> {
        Ok(self.notes.values().filter(|note| note.key.starts_with(beginning)).cloned().collect())
    }

    fn ended_notes(&self, now_ms: i64, limit: usize) -> Result<Vec<Note>> {
        let mut ended: Vec<Note> = self.notes.values().filter(|note| note.ends_at_ms <= now_ms).cloned().collect();
        ended.sort_by(|a, b| (a.ends_at_ms, &a.key).cmp(&(b.ends_at_ms, &b.key)));
        ended.truncate(limit);
        Ok(ended)
    }

    fn count_notes(&self) -> Result<u64> {
        Ok(self.notes.len() as u64)
    }

    fn worker(&self, id: &str) -> Result<Option<WorkerRecord>> {
        Ok(self.workers.get(id).cloned())
    }

    fn workers(&self) -> Result<Vec<WorkerRecord>> {
        Ok(self.workers.values().cloned().collect())
    }
}

impl Records for Maps {
    fn put_study(&mut self, study: &StudyRecord) -> Result<()> {
        self.studies.insert(study.uid.clone(), study.clone());
        Ok(())
    }

    fn remove_study(&mut self, study: &Uid) -> Result<()> {
        self.studies.remove(study);
        self.instances.retain(|(of, _), _| of != study);
        self.places.retain(|_, of| of != study);
        self.jobs.retain(|id, _| id.study() != study);
        self.specs.retain(|id, _| id.study() != study);
        self.outcomes.retain(|id, _| id.study() != study);
        self.drafts.retain(|(of, _), _| of != study);
        self.deliveries.retain(|key, _| key.study != *study);
        Ok(())
    }

    fn put_instance(&mut self, study: &Uid, instance: &InstanceRecord) -> Result<()> {
        self.places.insert(instance.instance.uid.clone(), study.clone());
        self.instances.insert((study.clone(), instance.instance.uid.clone()), instance.clone());
        Ok(())
    }

    fn put_spec(&mut self, spec: &JobSpec) -> Result<()> {
        self.specs.insert(spec.id.clone(), spec.clone());
        Ok(())
    }

    fn put_job(&mut self, job: &JobRecord) -> Result<()> {
        self.jobs.insert(job.id.clone(), job.clone());
        Ok(())
    }

    fn remove_job(&mut self, id: &JobId) -> Result<()> {
        self.jobs.remove(id);
        self.specs.remove(id);
        self.outcomes.remove(id);
        Ok(())
    }

    fn put_outcome(&mut self, id: &JobId, outcome: &JobOutcome) -> Result<()> {
        self.outcomes.insert(id.clone(), outcome.clone());
        Ok(())
    }

    fn put_draft(&mut self, study: &Uid, draft: &DraftRecord) -> Result<()> {
        self.drafts.insert((study.clone(), draft.version), draft.clone());
        Ok(())
    }

    fn put_delivery(&mut self, delivery: &DeliveryRecord) -> Result<()> {
        self.deliveries.insert(delivery.key.clone(), delivery.clone());
        Ok(())
    }

    fn put_request(&mut self, id: &str, request: &RequestRecord) -> Result<()> {
        self.requests.insert(id.to_owned(), request.clone());
        Ok(())
    }

    fn forget_requests(&mut self, at_ms: i64) -> Result<u64> {
        let before = self.requests.len();
        self.requests.retain(|_, request| request.at_ms >= at_ms);
        Ok((before - self.requests.len()) as u64)
    }

    fn put_step(&mut self, step: &StepRecord) -> Result<()> {
        self.steps.insert(step.uid.clone(), step.clone());
        Ok(())
    }

    fn remove_step(&mut self, uid: &Uid) -> Result<()> {
        self.steps.remove(uid);
        Ok(())
    }

    fn put_worker(&mut self, worker: &WorkerRecord) -> Result<()> {
        self.workers.insert(worker.heartbeat.worker.clone(), worker.clone());
        Ok(())
    }

    fn remove_worker(&mut self, id: &str) -> Result<()> {
        self.workers.remove(id);
        Ok(())
    }

    fn put_workitem(&mut self, record: &WorkitemRecord) -> Result<()> {
        self.workitems.insert(record.uid.clone(), record.clone());
        Ok(())
    }

    fn remove_workitem(&mut self, record: &WorkitemRecord) -> Result<()> {
        self.workitems.remove(&record.uid);
        Ok(())
    }

    fn put_subscription(&mut self, tenant: &Tenant, subscription: &Subscription) -> Result<()> {
        self.subscriptions.insert((tenant.clone(), subscription.title.clone()), subscription.clone());
        Ok(())
    }

    fn remove_subscription(&mut self, tenant: &Tenant, title: &str) -> Result<()> {
        self.subscriptions.remove(&(tenant.clone(), title.to_owned()));
        Ok(())
    }

    fn add_report(&mut self, report: &Report) -> Result<()> {
        self.last_report += 1;
        self.reports.insert(self.last_report, report.clone());
        self.reports.retain(|number, _| number + MAX_REPORTS > self.last_report);
        Ok(())
    }

    fn put_note(&mut self, note: &Note) -> Result<()> {
        self.notes.insert(note.key.clone(), note.clone());
        Ok(())
    }

    fn remove_note(&mut self, note: &Note) -> Result<()> {
        self.notes.remove(&note.key);
        Ok(())
    }

    fn next_token(&mut self) -> Result<FencingToken> {
        self.token += 1;
        Ok(FencingToken(self.token))
    }

    fn mend_indexes(&mut self) -> Result<Reconciled> {
        Ok(Reconciled::default())
    }
}

/// A store that forgets everything when it is dropped.
pub(crate) struct MemoryStore {
    maps: Mutex<Maps>,
    clock: Arc<dyn Clock>,
}

impl MemoryStore {
    /// An empty store.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with(Maps::default(), clock)
    }

    /// A store that holds `maps`.
    pub(crate) fn with(maps: Maps, clock: Arc<dyn Clock>) -> Self {
        Self { maps: Mutex::new(maps), clock }
    }

    /// Everything in it.
    pub(crate) fn maps(&self) -> Maps {
        self.maps.lock().unwrap().clone()
    }
}

impl Backend for MemoryStore {
    type Write = Maps;
    type Read = Maps;

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Maps, i64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut held = self.maps.lock().unwrap();
        // A copy is the transaction: it takes the place of the original only where all went well.
        let mut maps = held.clone();
        let value = operation(&mut maps, self.clock.now_ms())?;
        *held = maps;
        Ok(value)
    }

    async fn read<T: Send + 'static>(&self, query: impl FnOnce(&Maps, i64) -> Result<T> + Send + 'static) -> Result<T> {
        query(&self.maps.lock().unwrap(), self.clock.now_ms())
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::clock::ManualClock;
    use crate::store::JobStore;
    use crate::store::conformance::{Harness, conformance};

    struct InMemory {
        store: Arc<MemoryStore>,
        clock: Arc<ManualClock>,
    }

    #[async_trait]
    impl Harness for InMemory {
        fn store(&self) -> Arc<dyn JobStore> {
            self.store.clone()
        }
        fn advance(&self, by_ms: u32) {
            self.clock.advance(by_ms);
        }
        fn now_ms(&self) -> i64 {
            self.clock.now_ms()
        }
        async fn reopen(&mut self) {}
    }

    #[tokio::test]
    async fn the_state_machine_on_maps_conforms() {
        conformance(async || {
            let clock = Arc::new(ManualClock::at(1_000_000));
            InMemory { store: Arc::new(MemoryStore::new(clock.clone())), clock }
        })
        .await;
    }
}
