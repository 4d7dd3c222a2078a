//! Records as the state machine sees them: what a transaction can read and write.
//!
//! A backend keeps whatever indexes it needs to answer these; the machine never mentions one.

use prelim_proto::demand::Demand;
use prelim_proto::ids::{FencingToken, JobId, Tenant, Uid};
use prelim_proto::job::{JobKind, JobOutcome, JobSpec};

use super::StoreError;
use super::delivery::{DeliveryKey, DeliveryRecord};
use super::notes::Note;
use super::record::{
    DraftRecord, InstanceRecord, JobRecord, QueueDepth, Reconciled, RequestRecord, StudyQuery, StudyRecord,
    WorkerRecord,
};
use super::step::StepRecord;
use super::worklist::{Report, Subscription, WorkitemQuery, WorkitemRecord};

/// The result of every access.
pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// Reading.
pub(crate) trait Reads {
    /// One study.
    fn study(&self, uid: &Uid) -> Result<Option<StudyRecord>>;
    /// Studies, newest first, then by UID.
    fn studies(&self, query: &StudyQuery) -> Result<Vec<StudyRecord>>;
    /// One instance of a study.
    fn instance(&self, study: &Uid, instance: &Uid) -> Result<Option<InstanceRecord>>;
    /// The study that an instance was put into last.
    fn study_of(&self, instance: &Uid) -> Result<Option<Uid>>;
    /// The instances of a study, in order of UID.
    fn instances(&self, study: &Uid) -> Result<Vec<InstanceRecord>>;
    /// One job.
    fn job(&self, id: &JobId) -> Result<Option<JobRecord>>;
    /// What a job is to do.
    fn spec(&self, id: &JobId) -> Result<Option<JobSpec>>;
    /// The jobs of a study, in order of number.
    fn jobs(&self, study: &Uid) -> Result<Vec<JobRecord>>;
    /// What came of a read job.
    fn outcome(&self, id: &JobId) -> Result<Option<JobOutcome>>;
    /// A version of a study's draft.
    fn draft(&self, study: &Uid, version: u32) -> Result<Option<DraftRecord>>;
    /// One delivery.
    fn delivery(&self, key: &DeliveryKey) -> Result<Option<DeliveryRecord>>;
    /// The deliveries of a study, in order of key.
    fn deliveries(&self, study: &Uid) -> Result<Vec<DeliveryRecord>>;
    /// Open deliveries to a destination that are due at `now_ms`, at most `limit`, in order of time and key.
    fn due_deliveries(&self, destination: &str, now_ms: i64, limit: usize) -> Result<Vec<DeliveryKey>>;
    /// What a request id stands for.
    fn request(&self, id: &str) -> Result<Option<RequestRecord>>;
    /// Whose jobs of a kind, with which demand, wait and have their time come: each pair once.
    fn waiting(&self, kind: JobKind) -> Result<Vec<(Tenant, Demand)>>;
    /// The first waiting job of a tenant, kind and demand, by rank and id, among those without a time to wait for.
    fn first_ready(&self, kind: JobKind, tenant: &Tenant, demand: &Demand) -> Result<Option<(i64, JobId)>>;
    /// Waiting jobs of a kind whose time has come, at most `limit`, in order of time and id.
    fn due(&self, kind: JobKind, now_ms: i64, limit: usize) -> Result<Vec<JobId>>;
    /// Read jobs of a tenant under a lease.
    fn running(&self, tenant: &Tenant) -> Result<u64>;
    /// The job that a worker holds under a lease that it got by this request.
    fn leased_by(&self, worker: &str, request: &str) -> Result<Option<JobId>>;
    /// Leases that ran out at or before `now_ms`, at most `limit`, in order of time and id.
    fn expired(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>>;
    /// Dead letters, in order of id, at most `limit`, after `after`.
    fn dead(&self, after: Option<&JobId>, limit: usize) -> Result<Vec<JobId>>;
    /// How much there is.
    fn depth(&self, now_ms: i64) -> Result<QueueDepth>;
    /// Studies that are not settled: all, and those of a tenant.
    fn open_studies(&self, tenant: &Tenant) -> Result<(u64, u64)>;
    /// One performed procedure step.
    fn step(&self, uid: &Uid) -> Result<Option<StepRecord>>;
    /// The steps of a study, in order of UID, at most [`super::step::MAX_STEPS_OF_STUDY`].
    fn steps_of(&self, study: &Uid) -> Result<Vec<StepRecord>>;
    /// Steps that changed before `at_ms`, at most `limit`, in order of time and UID.
    fn old_steps(&self, at_ms: i64, limit: usize) -> Result<Vec<Uid>>;
    /// How many steps there are.
    fn count_steps(&self) -> Result<u64>;
    /// One workitem.
    fn workitem(&self, uid: &Uid) -> Result<Option<WorkitemRecord>>;
    /// Workitems, in order of creation, then by UID.
    fn workitems(&self, query: &WorkitemQuery) -> Result<Vec<WorkitemRecord>>;
    /// Workitems of a tenant that are not over.
    fn open_workitems(&self, tenant: &Tenant) -> Result<u64>;
    /// Workitems that are over and last changed before `before_ms`, at most `limit`, in order of time and UID.
    fn workitems_over(&self, before_ms: i64, limit: usize) -> Result<Vec<WorkitemRecord>>;
    /// Subscriptions to the worklist of a tenant, in order of title.
    fn subscriptions(&self, tenant: &Tenant) -> Result<Vec<Subscription>>;
    /// Reports after the one of that number, at most `limit`, in order, with their numbers.
    fn reports(&self, after: u64, limit: usize) -> Result<Vec<(u64, Report)>>;
    /// The number of the newest report; 0 before the first.
    fn last_report(&self) -> Result<u64>;
    /// One note, also where it has ended.
    fn note(&self, key: &str) -> Result<Option<Note>>;
    /// Notes whose keys begin so, also those that have ended, in order of key.
    fn notes(&self, beginning: &str) -> Result<Vec<Note>>;
    /// Notes that end at or before `now_ms`, at most `limit`, in order of time and key.
    fn ended_notes(&self, now_ms: i64, limit: usize) -> Result<Vec<Note>>;
    /// How many notes there are.
    fn count_notes(&self) -> Result<u64>;
    /// One worker.
    fn worker(&self, id: &str) -> Result<Option<WorkerRecord>>;
    /// Workers, in order of name.
    fn workers(&self) -> Result<Vec<WorkerRecord>>;
}

/// Reading and writing.
pub(crate) trait Records: Reads {
    /// Stores a study, in place of an older record of it.
    fn put_study(&mut self, study: &StudyRecord) -> Result<()>;
    /// Removes a study with its instances, jobs, drafts and deliveries, none of which is open.
    fn remove_study(&mut self, study: &Uid) -> Result<()>;
    /// Stores an instance.
    fn put_instance(&mut self, study: &Uid, instance: &InstanceRecord) -> Result<()>;
    /// Stores what a job is to do. It does not change afterwards.
    fn put_spec(&mut self, spec: &JobSpec) -> Result<()>;
    /// Stores a job, in place of an older record of it.
    fn put_job(&mut self, job: &JobRecord) -> Result<()>;
    /// Removes a job with its spec and outcome.
    fn remove_job(&mut self, id: &JobId) -> Result<()>;
    /// Stores what came of a read job.
    fn put_outcome(&mut self, id: &JobId, outcome: &JobOutcome) -> Result<()>;
    /// Stores a draft.
    fn put_draft(&mut self, study: &Uid, draft: &DraftRecord) -> Result<()>;
    /// Stores a delivery, in place of an older record of it.
    fn put_delivery(&mut self, delivery: &DeliveryRecord) -> Result<()>;
    /// Remembers a request.
    fn put_request(&mut self, id: &str, request: &RequestRecord) -> Result<()>;
    /// Forgets requests made before `at_ms`; how many.
    fn forget_requests(&mut self, at_ms: i64) -> Result<u64>;
    /// Stores a step, in place of an older record of it, whose studies are the same.
    fn put_step(&mut self, step: &StepRecord) -> Result<()>;
    /// Forgets a step.
    fn remove_step(&mut self, uid: &Uid) -> Result<()>;
    /// Stores a worker.
    fn put_worker(&mut self, worker: &WorkerRecord) -> Result<()>;
    /// Forgets a worker.
    fn remove_worker(&mut self, id: &str) -> Result<()>;
    /// Stores a workitem, in place of an older version of it.
    fn put_workitem(&mut self, record: &WorkitemRecord) -> Result<()>;
    /// Removes a workitem, as it is held.
    fn remove_workitem(&mut self, record: &WorkitemRecord) -> Result<()>;
    /// Stores a subscription, in place of another of its title.
    fn put_subscription(&mut self, tenant: &Tenant, subscription: &Subscription) -> Result<()>;
    /// Removes a subscription, where there is one.
    fn remove_subscription(&mut self, tenant: &Tenant, title: &str) -> Result<()>;
    /// Adds a report under the next number, and drops what is older than the newest [`super::worklist::MAX_REPORTS`].
    fn add_report(&mut self, report: &Report) -> Result<()>;
    /// Stores a note, in place of another under its key.
    fn put_note(&mut self, note: &Note) -> Result<()>;
    /// Forgets a note, as it is held.
    fn remove_note(&mut self, note: &Note) -> Result<()>;
    /// A token larger than every one before.
    fn next_token(&mut self) -> Result<FencingToken>;
    /// Compares every index with the records, both ways, and mends it.
    fn mend_indexes(&mut self) -> Result<Reconciled>;
}
