//! [`JobStore`] for every backend that can run the state machine inside a transaction of its own.

use std::future::Future;

use async_trait::async_trait;
use prelim_proto::ids::{FencingToken, JobId, Tenant, Uid};
use prelim_proto::job::{JobKind, JobOutcome, JobSpec, Lease};

use super::delivery::{DeliveryEnd, DeliveryKey, DeliveryRecord, Wish};
use super::notes::{Note, Notes, PutNote};
use super::record::{
    AddInstances, Added, Arriving, CompleteStudies, Done, DraftRecord, Due, ExpiredLease, Heartbeat, InstanceRecord,
    JobRecord, LeaseRequest, Merged, Orders, Plan, QueueDepth, Reconciled, Reviewed, StudyQuery, StudyRecord,
    WorkerRecord,
};
use super::records::{Reads, Records, Result};
use super::step::{PutStep, StepRecord};
use super::worklist::{NewWorkitem, Report, Subscription, WorkitemChange, WorkitemQuery, WorkitemRecord, Worklist};
use super::{JobStore, StoreError, machine};
use crate::queue::Verdict;

/// Transactions over records, and a clock.
pub(crate) trait Backend: Send + Sync + 'static {
    /// A transaction that writes.
    type Write: Records;
    /// A consistent view.
    type Read: Reads;

    /// Runs `operation` in a transaction: committed durably where it returns a value, dropped where it returns an
    /// error. The number is the time in ms.
    fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Self::Write, i64) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send;

    /// Runs `query` on a consistent view.
    fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Self::Read, i64) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send;
}

#[async_trait]
impl<B: Backend> JobStore for B {
    async fn add_instances(&self, add: AddInstances) -> Result<Vec<Added>> {
        self.write(move |records, now_ms| machine::add_instances(records, now_ms, &add)).await
    }

    async fn preview_instances(&self, add: AddInstances) -> Result<Vec<Added>> {
        self.read(move |records, _| machine::preview_instances(records, &add)).await
    }

    async fn complete_studies(&self, request: CompleteStudies) -> Result<Done> {
        self.write(move |records, now_ms| machine::complete_studies(records, now_ms, &request)).await
    }

    async fn note_arriving(&self, study: &Uid, arriving: Arriving) -> Result<Done> {
        let study = study.clone();
        self.write(move |records, now_ms| machine::note_arriving(records, now_ms, &study, &arriving)).await
    }

    async fn complete_due(&self, due: Vec<Due>) -> Result<Vec<Uid>> {
        // Studies are looked at twice a second while they are received: a look costs no write.
        let looked = move |records: &B::Read, now_ms| -> Result<Vec<Due>> {
            let mut found = Vec::new();
            for due in due {
                if machine::is_due(records, now_ms, &due)? {
                    found.push(due);
                }
            }
            Ok(found)
        };
        let due = self.read(looked).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        self.write(move |records, now_ms| machine::complete_due(records, now_ms, &due)).await
    }

    async fn plan_study(&self, study: &Uid, plan: Plan) -> Result<Done> {
        let study = study.clone();
        self.write(move |records, now_ms| machine::plan_study(records, now_ms, &study, &plan)).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Option<Lease>> {
        // Most calls of an idle worker find nothing: a look costs no write.
        let wanted = request.clone();
        let any = move |records: &B::Read, now_ms| -> Result<bool> {
            if wanted.repeats {
                return Ok(true);
            }
            for kind in JobKind::ALL {
                let waits = wanted.kinds.contains(&kind)
                    && records.waiting(kind)?.iter().any(|(_, demand)| wanted.offer.meets(demand));
                if waits || !records.due(kind, now_ms, 1)?.is_empty() {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        if !self.read(any).await? {
            return Ok(None);
        }
        self.write(move |records, now_ms| machine::lease(records, now_ms, &request)).await
    }

    async fn renew(&self, job: &JobId, token: FencingToken, ttl_ms: u64) -> Result<()> {
        let job = job.clone();
        self.write(move |records, now_ms| machine::renew(records, now_ms, &job, token, ttl_ms)).await
    }

    async fn release(&self, job: &JobId, token: FencingToken) -> Result<Done> {
        let job = job.clone();
        self.write(move |records, now_ms| machine::release(records, now_ms, &job, token)).await
    }

    async fn complete_job(&self, job: &JobId, token: FencingToken, outcome: JobOutcome) -> Result<Done> {
        let job = job.clone();
        self.write(move |records, now_ms| machine::complete_job(records, now_ms, &job, token, &outcome)).await
    }

    async fn fail_job(&self, job: &JobId, token: FencingToken, reason: &str, verdict: Verdict) -> Result<bool> {
        let (job, reason) = (job.clone(), reason.to_owned());
        self.write(move |records, now_ms| machine::fail_job(records, now_ms, &job, token, &reason, verdict)).await
    }

    async fn expired(&self, limit: usize) -> Result<Vec<ExpiredLease>> {
        self.read(move |records, now_ms| {
            let mut leases = Vec::new();
            for id in records.expired(now_ms, limit)? {
                let job = records.job(&id)?.ok_or_else(|| StoreError::NoJob(id.clone()))?;
                leases.push(ExpiredLease { job: id, token: job.token, attempt: job.attempts });
            }
            Ok(leases)
        })
        .await
    }

    async fn expire(&self, job: &JobId, token: FencingToken, verdict: Verdict) -> Result<Done> {
        let job = job.clone();
        self.write(move |records, now_ms| machine::expire(records, now_ms, &job, token, verdict)).await
    }

    async fn commit_merge(&self, job: &JobId, token: FencingToken, merged: Merged) -> Result<Done> {
        let job = job.clone();
        self.write(move |records, now_ms| machine::commit_merge(records, now_ms, &job, token, &merged)).await
    }

    async fn commit_review(&self, study: &Uid, review: Reviewed) -> Result<Done> {
        let study = study.clone();
        self.write(move |records, now_ms| machine::commit_review(records, now_ms, &study, &review)).await
    }

    async fn add_deliveries(&self, study: &Uid, version: u32, wishes: Vec<Wish>, again: bool) -> Result<Done> {
        let study = study.clone();
        let add = move |records: &mut B::Write, now_ms| {
            machine::add_deliveries(records, now_ms, &study, version, &wishes, again)
        };
        self.write(add).await
    }

    async fn lease_deliveries(&self, destination: &str, ttl_ms: u64, limit: usize) -> Result<Vec<DeliveryRecord>> {
        let name = destination.to_owned();
        // Most of the time there is nothing: a look costs no write.
        if self.read(move |records, now_ms| records.due_deliveries(&name, now_ms, 1)).await?.is_empty() {
            return Ok(Vec::new());
        }
        let name = destination.to_owned();
        self.write(move |records, now_ms| machine::lease_deliveries(records, now_ms, &name, ttl_ms, limit)).await
    }

    async fn end_delivery(&self, key: &DeliveryKey, token: FencingToken, end: DeliveryEnd) -> Result<Done> {
        let key = key.clone();
        self.write(move |records, now_ms| machine::end_delivery(records, now_ms, &key, token, &end)).await
    }

    async fn deliveries(&self, study: &Uid) -> Result<Vec<DeliveryRecord>> {
        let study = study.clone();
        self.read(move |records, _| records.deliveries(&study)).await
    }

    async fn open_deliveries(&self, destination: &str, limit: usize) -> Result<Vec<DeliveryRecord>> {
        let name = destination.to_owned();
        self.read(move |records, _| {
            let keys = records.due_deliveries(&name, i64::MAX, limit)?;
            keys.iter().map(|key| machine::delivery(records, key)).collect()
        })
        .await
    }

    async fn cancel_study(&self, study: &Uid, reason: &str) -> Result<Done> {
        let (study, reason) = (study.clone(), reason.to_owned());
        self.write(move |records, now_ms| machine::cancel_study(records, now_ms, &study, &reason)).await
    }

    async fn remove_study(&self, study: &Uid, updated_at_ms: i64) -> Result<Done> {
        let study = study.clone();
        self.write(move |records, now_ms| machine::remove_study(records, now_ms, &study, updated_at_ms)).await
    }

    async fn forget_study(&self, study: &Uid) -> Result<Done> {
        let study = study.clone();
        self.write(move |records, _| machine::forget_study(records, &study)).await
    }

    async fn requeue_job(&self, job: &JobId) -> Result<Done> {
        let job = job.clone();
        self.write(move |records, now_ms| machine::requeue_job(records, now_ms, &job)).await
    }

    async fn ask(&self, spec: JobSpec, head_start_ms: i64) -> Result<Done> {
        self.write(move |records, now_ms| machine::ask(records, now_ms, &spec, head_start_ms)).await
    }

    async fn end_question(&self, job: &JobId, token: Option<FencingToken>) -> Result<Done> {
        let job = job.clone();
        self.write(move |records, _| machine::end_question(records, &job, token)).await
    }

    async fn reconcile(&self) -> Result<Reconciled> {
        self.write(|records, now_ms| {
            let mut mended = records.mend_indexes()?;
            mended.far_times = machine::mend_times(records, now_ms)?;
            mended.missing_merges = machine::mend_studies(records, now_ms)?;
            Ok(mended)
        })
        .await
    }

    async fn put_step(&self, put: PutStep) -> Result<bool> {
        self.write(move |records, now_ms| machine::put_step(records, now_ms, &put)).await
    }

    async fn step(&self, uid: &Uid) -> Result<Option<StepRecord>> {
        let uid = uid.clone();
        self.read(move |records, _| records.step(&uid)).await
    }

    async fn steps_of(&self, studies: Vec<Uid>) -> Result<Vec<Vec<StepRecord>>> {
        self.read(move |records, _| studies.iter().map(|study| records.steps_of(study)).collect()).await
    }

    async fn forget_steps(&self, age_ms: u64) -> Result<u64> {
        let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
        // Most of the time there is nothing: a look costs no write.
        if self.read(move |records, now_ms| records.old_steps(now_ms.saturating_sub(age_ms), 1)).await?.is_empty() {
            return Ok(0);
        }
        self.write(move |records, now_ms| machine::forget_steps(records, now_ms.saturating_sub(age_ms))).await
    }

    async fn forget_requests(&self, age_ms: u64) -> Result<u64> {
        let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
        self.write(move |records, now_ms| records.forget_requests(now_ms.saturating_sub(age_ms))).await
    }

    async fn study(&self, uid: &Uid) -> Result<Option<StudyRecord>> {
        let uid = uid.clone();
        self.read(move |records, _| records.study(&uid)).await
    }

    async fn studies(&self, query: StudyQuery) -> Result<Vec<StudyRecord>> {
        self.read(move |records, _| records.studies(&query)).await
    }

    async fn instances(&self, study: &Uid) -> Result<Vec<InstanceRecord>> {
        let study = study.clone();
        self.read(move |records, _| records.instances(&study)).await
    }

    async fn studies_of(&self, instances: Vec<Uid>) -> Result<Vec<Option<Uid>>> {
        self.read(move |records, _| instances.iter().map(|uid| records.study_of(uid)).collect()).await
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>> {
        let id = id.clone();
        self.read(move |records, _| records.job(&id)).await
    }

    async fn jobs(&self, study: &Uid) -> Result<Vec<(JobRecord, JobSpec, Option<JobOutcome>)>> {
        let study = study.clone();
        self.read(move |records, _| {
            let whole = |job: JobRecord| {
                let spec = records.spec(&job.id)?.ok_or_else(|| StoreError::NoJob(job.id.clone()))?;
                let outcome = records.outcome(&job.id)?;
                Ok((job, spec, outcome))
            };
            records.jobs(&study)?.into_iter().filter(|job| !job.id.is_question()).map(whole).collect()
        })
        .await
    }

    async fn dead_jobs(&self, after: Option<&JobId>, limit: usize) -> Result<Vec<JobRecord>> {
        let after = after.cloned();
        self.read(move |records, _| {
            let letter = |id: JobId| records.job(&id)?.ok_or(StoreError::NoJob(id));
            records.dead(after.as_ref(), limit)?.into_iter().map(letter).collect()
        })
        .await
    }

    async fn draft(&self, study: &Uid, version: Option<u32>) -> Result<Option<DraftRecord>> {
        let study = study.clone();
        self.read(move |records, _| {
            let newest = || Ok(records.study(&study)?.map(|study| study.draft_version));
            match version.map_or_else(newest, |version| Ok(Some(version)))? {
                Some(version) => records.draft(&study, version),
                None => Ok(None),
            }
        })
        .await
    }

    async fn depth(&self) -> Result<QueueDepth> {
        self.read(|records, now_ms| records.depth(now_ms)).await
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Orders> {
        self.write(move |records, now_ms| machine::heartbeat(records, now_ms, &heartbeat)).await
    }

    async fn drain_worker(&self, worker: &str, drain: bool) -> Result<Done> {
        let worker = worker.to_owned();
        self.write(move |records, _| machine::drain_worker(records, &worker, drain)).await
    }

    async fn forget_worker(&self, worker: &str) -> Result<Done> {
        let worker = worker.to_owned();
        self.write(move |records, _| machine::forget_worker(records, &worker)).await
    }

    async fn forget_workers(&self, age_ms: u64) -> Result<u64> {
        let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
        self.write(move |records, now_ms| machine::forget_workers(records, now_ms.saturating_sub(age_ms))).await
    }

    async fn workers(&self) -> Result<Vec<(WorkerRecord, u64)>> {
        self.read(|records, now_ms| {
            let silent_ms = |worker: &WorkerRecord| now_ms.saturating_sub(worker.seen_at_ms).max(0) as u64;
            Ok(records.workers()?.into_iter().map(|worker| (worker.clone(), silent_ms(&worker))).collect())
        })
        .await
    }
}

#[async_trait]
impl<B: Backend> Notes for B {
    async fn put_note(&self, put: PutNote) -> Result<u64> {
        self.write(move |records, now_ms| machine::put_note(records, now_ms, &put)).await
    }

    async fn note(&self, key: &str) -> Result<Option<Note>> {
        let key = key.to_owned();
        self.read(move |records, now_ms| machine::note(records, now_ms, &key)).await
    }

    async fn notes(&self, beginning: &str, limit: usize) -> Result<Vec<Note>> {
        let beginning = beginning.to_owned();
        self.read(move |records, now_ms| {
            let mut notes = records.notes(&beginning)?;
            notes.retain(|note| note.ends_at_ms > now_ms);
            notes.truncate(limit);
            Ok(notes)
        })
        .await
    }

    async fn drop_notes(&self, beginning: &str) -> Result<u64> {
        let beginning = beginning.to_owned();
        self.write(move |records, _| machine::drop_notes(records, &beginning)).await
    }

    async fn forget_notes(&self, limit: usize) -> Result<u64> {
        // Most of the time there is nothing: a look costs no write.
        if self.read(|records, now_ms| records.ended_notes(now_ms, 1)).await?.is_empty() {
            return Ok(0);
        }
        self.write(move |records, now_ms| machine::forget_notes(records, now_ms, limit)).await
    }
}

#[async_trait]
impl<B: Backend> Worklist for B {
    async fn create_workitem(&self, new: NewWorkitem) -> Result<Done> {
        self.write(move |records, now_ms| machine::create_workitem(records, now_ms, &new)).await
    }

    async fn change_workitem(&self, change: WorkitemChange) -> Result<Done> {
        self.write(move |records, now_ms| machine::change_workitem(records, now_ms, &change)).await
    }

    async fn workitem(&self, uid: &Uid) -> Result<Option<WorkitemRecord>> {
        let uid = uid.clone();
        self.read(move |records, _| records.workitem(&uid)).await
    }

    async fn workitems(&self, query: WorkitemQuery) -> Result<Vec<WorkitemRecord>> {
        self.read(move |records, _| records.workitems(&query)).await
    }

    async fn forget_workitems(&self, age_ms: u64, locked_age_ms: u64, limit: usize) -> Result<u64> {
        let forget = move |records: &mut B::Write, now_ms| {
            machine::forget_workitems(records, now_ms, age_ms, locked_age_ms, limit)
        };
        self.write(forget).await
    }

    async fn subscribe_worklist(&self, tenant: &Tenant, subscription: Subscription, max: u64) -> Result<Done> {
        let tenant = tenant.clone();
        self.write(move |records, _| machine::subscribe_worklist(records, &tenant, &subscription, max)).await
    }

    async fn unsubscribe_worklist(&self, tenant: &Tenant, title: &str) -> Result<Done> {
        let (tenant, title) = (tenant.clone(), title.to_owned());
        self.write(move |records, _| machine::unsubscribe_worklist(records, &tenant, &title)).await
    }

    async fn worklist_subscriptions(&self, tenant: &Tenant) -> Result<Vec<Subscription>> {
        let tenant = tenant.clone();
        self.read(move |records, _| records.subscriptions(&tenant)).await
    }

    async fn worklist_reports(&self, after: u64, limit: usize) -> Result<Vec<(u64, Report)>> {
        self.read(move |records, _| records.reports(after, limit)).await
    }

    async fn last_worklist_report(&self) -> Result<u64> {
        self.read(|records, _| records.last_report()).await
    }
}
