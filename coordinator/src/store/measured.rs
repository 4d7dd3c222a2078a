//! A store whose operations are timed.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use prelim_proto::ids::{FencingToken, JobId, Tenant, Uid};
use prelim_proto::job::{JobOutcome, JobSpec, Lease};
use tokio::sync::watch;

use super::delivery::{DeliveryEnd, DeliveryKey, DeliveryRecord, Wish};
use super::notes::{Note, Notes, PutNote};
use super::record::{
    AddInstances, Added, Arriving, CompleteStudies, Done, DraftRecord, Due, ExpiredLease, Heartbeat, InstanceRecord,
    JobRecord, LeaseRequest, Merged, Orders, Plan, QueueDepth, Reconciled, Reviewed, StudyQuery, StudyRecord,
    WorkerRecord,
};
use super::step::{PutStep, StepRecord};
use super::worklist::{NewWorkitem, Report, Subscription, WorkitemChange, WorkitemQuery, WorkitemRecord, Worklist};
use super::{JobStore, StoreError};
use crate::metrics::Metrics;
use crate::queue::Verdict;

/// Another store, with a watch beside it.
pub(crate) struct Measured {
    store: Arc<dyn JobStore>,
    metrics: Arc<Metrics>,
}

impl Measured {
    pub(crate) fn new(store: Arc<dyn JobStore>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics }
    }

    fn timed<T>(&self, operation: &'static str, began: Instant, answer: &Result<T, StoreError>) {
        // What is refused with good reason is carried out.
        let failed = matches!(
            answer,
            Err(StoreError::Storage(_) | StoreError::Disk(_) | StoreError::Full(_) | StoreError::Unreachable(_))
        );
        self.metrics.store_operation(operation, began.elapsed(), failed);
    }
}

macro_rules! measured {
    ($trait:ident, $($hint:ident)*; $(fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $answer:ty;)*) => {
        #[async_trait]
        impl $trait for Measured {
            $(
                async fn $name(&self $(, $arg: $type)*) -> Result<$answer, StoreError> {
                    let began = Instant::now();
                    let answer = self.store.$name($($arg),*).await;
                    self.timed(stringify!($name), began, &answer);
                    answer
                }
            )*

            $(
                fn $hint(&self) -> Option<watch::Receiver<u64>> {
                    self.store.$hint()
                }
            )*
        }
    };
}

measured! {
    JobStore, wakes orders;
    fn add_instances(&self, add: AddInstances) -> Vec<Added>;
    fn preview_instances(&self, add: AddInstances) -> Vec<Added>;
    fn complete_studies(&self, request: CompleteStudies) -> Done;
    fn note_arriving(&self, study: &Uid, arriving: Arriving) -> Done;
    fn complete_due(&self, due: Vec<Due>) -> Vec<Uid>;
    fn plan_study(&self, study: &Uid, plan: Plan) -> Done;
    fn lease(&self, request: LeaseRequest) -> Option<Lease>;
    fn renew(&self, job: &JobId, token: FencingToken, ttl_ms: u64) -> ();
    fn release(&self, job: &JobId, token: FencingToken) -> Done;
    fn complete_job(&self, job: &JobId, token: FencingToken, outcome: JobOutcome) -> Done;
    fn fail_job(&self, job: &JobId, token: FencingToken, reason: &str, verdict: Verdict) -> bool;
    fn expired(&self, limit: usize) -> Vec<ExpiredLease>;
    fn expire(&self, job: &JobId, token: FencingToken, verdict: Verdict) -> Done;
    fn commit_merge(&self, job: &JobId, token: FencingToken, merged: Merged) -> Done;
    fn commit_review(&self, study: &Uid, review: Reviewed) -> Done;
    fn add_deliveries(&self, study: &Uid, version: u32, wishes: Vec<Wish>, again: bool) -> Done;
    fn lease_deliveries(&self, destination: &str, ttl_ms: u64, limit: usize) -> Vec<DeliveryRecord>;
    fn end_delivery(&self, key: &DeliveryKey, token: FencingToken, end: DeliveryEnd) -> Done;
    fn deliveries(&self, study: &Uid) -> Vec<DeliveryRecord>;
    fn open_deliveries(&self, destination: &str, limit: usize) -> Vec<DeliveryRecord>;
    fn cancel_study(&self, study: &Uid, reason: &str) -> Done;
    fn remove_study(&self, study: &Uid, updated_at_ms: i64) -> Done;
    fn forget_study(&self, study: &Uid) -> Done;
    fn requeue_job(&self, job: &JobId) -> Done;
    fn ask(&self, spec: JobSpec, head_start_ms: i64) -> Done;
    fn end_question(&self, job: &JobId, token: Option<FencingToken>) -> Done;
    fn reconcile(&self) -> Reconciled;
    fn put_step(&self, put: PutStep) -> bool;
    fn step(&self, uid: &Uid) -> Option<StepRecord>;
    fn steps_of(&self, studies: Vec<Uid>) -> Vec<Vec<StepRecord>>;
    fn forget_steps(&self, age_ms: u64) -> u64;
    fn forget_requests(&self, age_ms: u64) -> u64;
    fn study(&self, uid: &Uid) -> Option<StudyRecord>;
    fn studies(&self, query: StudyQuery) -> Vec<StudyRecord>;
    fn instances(&self, study: &Uid) -> Vec<InstanceRecord>;
    fn studies_of(&self, instances: Vec<Uid>) -> Vec<Option<Uid>>;
    fn job(&self, id: &JobId) -> Option<JobRecord>;
    fn jobs(&self, study: &Uid) -> Vec<(JobRecord, JobSpec, Option<JobOutcome>)>;
    fn dead_jobs(&self, after: Option<&JobId>, limit: usize) -> Vec<JobRecord>;
    fn draft(&self, study: &Uid, version: Option<u32>) -> Option<DraftRecord>;
    fn depth(&self) -> QueueDepth;
    fn heartbeat(&self, heartbeat: Heartbeat) -> Orders;
    fn drain_worker(&self, worker: &str, drain: bool) -> Done;
    fn forget_worker(&self, worker: &str) -> Done;
    fn forget_workers(&self, age_ms: u64) -> u64;
    fn workers(&self) -> Vec<(WorkerRecord, u64)>;
}

measured! {
    Notes, ;
    fn put_note(&self, put: PutNote) -> u64;
    fn note(&self, key: &str) -> Option<Note>;
    fn notes(&self, beginning: &str, limit: usize) -> Vec<Note>;
    fn drop_notes(&self, beginning: &str) -> u64;
    fn forget_notes(&self, limit: usize) -> u64;
}

measured! {
    Worklist, worklist_changes;
    fn create_workitem(&self, new: NewWorkitem) -> Done;
    fn change_workitem(&self, change: WorkitemChange) -> Done;
    fn workitem(&self, uid: &Uid) -> Option<WorkitemRecord>;
    fn workitems(&self, query: WorkitemQuery) -> Vec<WorkitemRecord>;
    fn forget_workitems(&self, age_ms: u64, locked_age_ms: u64, limit: usize) -> u64;
    fn subscribe_worklist(&self, tenant: &Tenant, subscription: Subscription, max: u64) -> Done;
    fn unsubscribe_worklist(&self, tenant: &Tenant, title: &str) -> Done;
    fn worklist_subscriptions(&self, tenant: &Tenant) -> Vec<Subscription>;
    fn worklist_reports(&self, after: u64, limit: usize) -> Vec<(u64, Report)>;
    fn last_worklist_report(&self) -> u64;
}
