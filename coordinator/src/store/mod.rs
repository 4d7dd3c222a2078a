//! Where studies, jobs, leases, outcomes and drafts are recorded.
//!
//! # Layout
//! - [`JobStore`]: the operations and what they guarantee
//! - [`record`]: what is held, and what operations take and give; [`delivery`]: the same of reports on their way out; `version`: of a report's versions; [`step`]: of performed procedure steps; [`worklist`]: workitems; [`notes`]: what ends by itself; [`StoreError`] is in `error`
//! - `machine`: the state machine, which is the specification; `records` is what it asks of a transaction
//! - [`embedded`]: the default, a redb file in the data folder; [`redis`]: for a cluster
//! - `measured`: a store whose operations are timed
//! - `memory` and `conformance` (tests only): the machine on plain maps, and the suite that every store must pass
//!
//! **Invariant**: rules (order, backoff, limits) arrive as arguments; a store moves records and decides nothing.
//! **Invariant**: patient attributes are in study records and workitems only: never in a job, a key or an error.
//! **Invariant**: no pixels and no report texts are here; bytes lie in [`crate::bytes`], by digest.

#[cfg(test)]
pub(crate) mod conformance;
pub mod delivery;
pub mod embedded;
mod error;
mod machine;
pub(crate) mod measured;
#[cfg(test)]
pub(crate) mod memory;
pub mod notes;
pub mod record;
mod records;
pub mod redis;
pub mod step;
mod transact;
mod version;
pub mod worklist;

pub use error::{Room, StoreError};

use async_trait::async_trait;
use prelim_proto::ids::{FencingToken, JobId, Uid};
use prelim_proto::job::{JobOutcome, JobSpec, Lease};
use tokio::sync::watch;

use crate::queue::Verdict;
use delivery::{DeliveryEnd, DeliveryKey, DeliveryRecord, Wish};
use record::{
    AddInstances, Added, Arriving, CompleteStudies, Done, DraftRecord, Due, ExpiredLease, Heartbeat, InstanceRecord,
    JobRecord, LeaseRequest, Merged, Orders, Plan, QueueDepth, Reconciled, Reviewed, StudyQuery, StudyRecord,
    WorkerRecord,
};
use step::{PutStep, StepRecord};

/// The record of studies and the queue of jobs.
///
/// Every operation that writes is
/// - **atomic**: it happens whole or not at all, also when the process or the machine dies in the middle of it;
/// - **durable**: when it has answered, it survives a crash;
/// - **serialisable**: operations behave as if they came one after another, from however many coordinators;
/// - **safe to repeat** after a lost answer, as each one's text says.
///
/// Time is the store's: leases end and retries begin by one clock, whoever asks. No operation blocks on another's work,
/// and none waits for something to happen: waiting is the service's part.
///
/// An error means that nothing changed, except [`StoreError::Storage`], [`StoreError::Disk`], [`StoreError::Full`] and
/// [`StoreError::Unreachable`], after which the operation may or may not have happened: repeat it.
#[async_trait]
pub trait JobStore: worklist::Worklist + notes::Notes {
    /// Adds instances to a study, which begins with its first one. Idempotent: an instance held already, with the same
    /// digest, is a duplicate. One with another digest is a conflict, and the first is kept. If anything is accepted, a
    /// study that was past receiving is received again (its jobs are dropped, their leases lost, its drafts kept), but
    /// a cancelled one stays so. One answer an instance, in order. Nothing is added past a limit. A study that is wanted
    /// sooner than before is so from now on, with its jobs, also where nothing is accepted or no instance is named; it is
    /// never put back.
    async fn add_instances(&self, add: AddInstances) -> Result<Vec<Added>, StoreError>;

    /// What [`JobStore::add_instances`] would answer now, its refusals included. Nothing is changed, and nothing is
    /// reserved: another coordinator may add in between.
    async fn preview_instances(&self, add: AddInstances) -> Result<Vec<Added>, StoreError>;

    /// Notes something about how a study arrives. Idempotent. It opens no study again.
    async fn note_arriving(&self, study: &Uid, arriving: Arriving) -> Result<Done, StoreError>;

    /// Declares studies complete: those that are received become complete; failed, cancelled and skipped ones are opened
    /// again and become complete; the others stay. Idempotent by request id, if there is one: a repeated request changes
    /// nothing, also when the study was cancelled in between. Refused with [`StoreError::RequestReused`] where the id
    /// named other studies.
    async fn complete_studies(&self, request: CompleteStudies) -> Result<Done, StoreError>;

    /// Declares each study complete that is being received, whose time has come, and of which nothing changed since that
    /// was decided: those that became complete now. A study that is not held is passed over. Idempotent.
    async fn complete_due(&self, due: Vec<Due>) -> Result<Vec<Uid>, StoreError>;

    /// Gives a complete study its jobs, all of them ready, or fails or skips it where there are none. Idempotent: a study of
    /// that generation that has its jobs is left alone. [`StoreError::Outdated`] when the study was opened again after
    /// the plan was made.
    async fn plan_study(&self, study: &Uid, plan: Plan) -> Result<Done, StoreError>;

    /// Leases a waiting job of the kinds and tenants asked for, among those whose time has come: whose turn it is says
    /// [`crate::queue::turn`], a tenant's jobs go by rank, then by id, and a job of a study that the worker has at hand
    /// goes first where it is of the same urgency and at most [`crate::queue::LOCALITY_MS`] behind. Its token is larger
    /// than every one given before. A request that says that it repeats itself gets the lease that it got before, for
    /// another `ttl_ms`, while that is held; any other request leases another job.
    async fn lease(&self, request: LeaseRequest) -> Result<Option<Lease>, StoreError>;

    /// Lets a lease last `ttl_ms` from now. Fenced: [`StoreError::LeaseLost`], or [`StoreError::Cancelled`].
    /// Idempotent. A lease that ran out and was not taken back yet lives on.
    async fn renew(&self, job: &JobId, token: FencingToken, ttl_ms: u64) -> Result<(), StoreError>;

    /// Gives a job back unfinished; the attempt does not count. Fenced. Idempotent by token.
    async fn release(&self, job: &JobId, token: FencingToken) -> Result<Done, StoreError>;

    /// Stores the outcome of a read job. Fenced. Idempotent by token: the first outcome stays. The last job of the
    /// study to be done or dead enqueues exactly one merge job, in the same step.
    async fn complete_job(&self, job: &JobId, token: FencingToken, outcome: JobOutcome) -> Result<Done, StoreError>;

    /// Ends an attempt without an outcome: the job waits again, or is dead, as the verdict says. Fenced. Idempotent by
    /// token: the first verdict stays. Whether the job will be tried again. A dead read job counts as finished; a dead
    /// merge fails the study.
    async fn fail_job(
        &self,
        job: &JobId,
        token: FencingToken,
        reason: &str,
        verdict: Verdict,
    ) -> Result<bool, StoreError>;

    /// Leases that have run out, the oldest first.
    async fn expired(&self, limit: usize) -> Result<Vec<ExpiredLease>, StoreError>;

    /// Takes a lease back that has run out, with the effect of [`JobStore::fail_job`]. Nothing happens where it was
    /// renewed, ended or taken back meanwhile. Idempotent.
    async fn expire(&self, job: &JobId, token: FencingToken, verdict: Verdict) -> Result<Done, StoreError>;

    /// Ends a merge job with a draft, which becomes the study's newest, or with the reason why there is none. Fenced.
    /// Idempotent by token.
    async fn commit_merge(&self, job: &JobId, token: FencingToken, merged: Merged) -> Result<Done, StoreError>;

    /// Makes what came of a review the newest version of a study's report. Idempotent by request id. Of a version that is not
    /// the study's newest: [`StoreError::Outdated`]. [`StoreError::WrongState`] where the study has no report, or is read
    /// again, and where something signed would be rejected. Where a draft is rejected after something was signed, that stands.
    async fn commit_review(&self, study: &Uid, review: Reviewed) -> Result<Done, StoreError>;

    /// Notes where a draft is to go. Idempotent: what was noted before stays as it is, but with `again` it is to be sent
    /// once more, unless it is being sent. [`StoreError::Outdated`] where there is no such draft. A draft's deliveries are
    /// noted by [`JobStore::commit_merge`]; this is for those that were asked for later.
    async fn add_deliveries(
        &self,
        study: &Uid,
        version: u32,
        wishes: Vec<Wish>,
        again: bool,
    ) -> Result<Done, StoreError>;

    /// Leases deliveries to a destination whose time has come, in order of time and key: each under a token larger than
    /// every one given before, for `ttl_ms`. One whose lease ran out may be leased again: a delivery is made at least once.
    async fn lease_deliveries(
        &self,
        destination: &str,
        ttl_ms: u64,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// Ends an attempt at a delivery, or the wait for a commitment. Fenced: [`StoreError::DeliveryLost`]. Idempotent by
    /// token, state and answer.
    async fn end_delivery(&self, key: &DeliveryKey, token: FencingToken, end: DeliveryEnd) -> Result<Done, StoreError>;

    /// What became of a study's drafts on their way out, in order of version, destination and object.
    async fn deliveries(&self, study: &Uid) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// Deliveries to a destination that are not over, in order of their time and key.
    async fn open_deliveries(&self, destination: &str, limit: usize) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// Cancels a study that is not settled, with its jobs; their leases are lost. Idempotent.
    async fn cancel_study(&self, study: &Uid, reason: &str) -> Result<Done, StoreError>;

    /// Begins to remove a settled study: from now on nothing is added to it, so that its bytes can go. Nothing happens, and
    /// [`StoreError::Outdated`] is answered, where it is not as it was at `updated_at_ms`. [`StoreError::WrongState`] while
    /// it is worked on, [`StoreError::Sending`] while drafts of it are on their way. Idempotent.
    async fn remove_study(&self, study: &Uid, updated_at_ms: i64) -> Result<Done, StoreError>;

    /// Forgets all that is known of a study that is being removed, whose bytes are gone. Idempotent: a study that is not
    /// held is forgotten.
    async fn forget_study(&self, study: &Uid) -> Result<Done, StoreError>;

    /// Makes a dead job ready again with all its attempts. A dead read job withdraws its study's merge: the study is
    /// read again and merged again. Idempotent: a job that is not dead any more is left alone.
    async fn requeue_job(&self, job: &JobId) -> Result<Done, StoreError>;

    /// Adds a question about a study: a job that waits from now on, `head_start_ms` ahead of routine ones. It is no part of the
    /// study: whatever becomes of it changes nothing there, and the study's jobs are listed without it. It goes when images
    /// come late, when the study is cancelled and when the study goes. Idempotent: one that is there is left alone.
    /// [`StoreError::WrongState`] where the study is being removed, [`StoreError::Misfit`] where the job is no question.
    async fn ask(&self, spec: JobSpec, head_start_ms: i64) -> Result<Done, StoreError>;

    /// Ends a question, whose answer is elsewhere: nothing is known of it afterwards. With a token it is fenced:
    /// [`StoreError::LeaseLost`]; with none it is taken from whoever has it. Idempotent: one that is not there has ended. A
    /// question that is given up ends as well: it is no dead letter.
    async fn end_question(&self, job: &JobId, token: Option<FencingToken>) -> Result<Done, StoreError>;

    /// Compares jobs, leases, queue entries and counters both ways and mends what does not agree: a leased job without a
    /// lease gets one that has run out, a lease without a leased job goes, a waiting job is in the queue once, a study
    /// whose jobs are finished has its merge, and nothing lasts longer than [`crate::queue::MAX_LEASE_MS`]. For the start,
    /// and now and then. Idempotent.
    async fn reconcile(&self) -> Result<Reconciled, StoreError>;

    /// Writes a performed procedure step: a new one where `after` is none, else in the place of that revision. Whether it is
    /// written: not where there is one already, or none of that revision. Idempotent by the step's `write`. What was decided
    /// of when its studies are complete is void, as if something else had changed about how they arrive.
    /// [`StoreError::TooManySteps`].
    async fn put_step(&self, put: PutStep) -> Result<bool, StoreError>;

    /// One performed procedure step.
    async fn step(&self, uid: &Uid) -> Result<Option<StepRecord>, StoreError>;

    /// The steps of each study, in order of UID, at most [`step::MAX_STEPS_OF_STUDY`]. One answer a study, in order.
    async fn steps_of(&self, studies: Vec<Uid>) -> Result<Vec<Vec<StepRecord>>, StoreError>;

    /// Forgets steps that did not change for `age_ms`; how many. Idempotent.
    async fn forget_steps(&self, age_ms: u64) -> Result<u64, StoreError>;

    /// Forgets request ids older than `age_ms`; how many. Idempotent.
    async fn forget_requests(&self, age_ms: u64) -> Result<u64, StoreError>;

    /// One study.
    async fn study(&self, uid: &Uid) -> Result<Option<StudyRecord>, StoreError>;

    /// Studies, newest first, then by UID.
    async fn studies(&self, query: StudyQuery) -> Result<Vec<StudyRecord>, StoreError>;

    /// The instances of a study, in order of UID.
    async fn instances(&self, study: &Uid) -> Result<Vec<InstanceRecord>, StoreError>;

    /// The study of each instance, where it is held; of one that is held in several, the one that it came into last. One
    /// answer an instance, in order.
    async fn studies_of(&self, instances: Vec<Uid>) -> Result<Vec<Option<Uid>>, StoreError>;

    /// One job.
    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError>;

    /// The jobs of a study's present generation, in order and without questions, each with what it is to do and what came of it. One
    /// consistent view.
    async fn jobs(&self, study: &Uid) -> Result<Vec<(JobRecord, JobSpec, Option<JobOutcome>)>, StoreError>;

    /// Dead letters in order of id, after `after`.
    async fn dead_jobs(&self, after: Option<&JobId>, limit: usize) -> Result<Vec<JobRecord>, StoreError>;

    /// A version of a study's draft; the newest where `version` is none.
    async fn draft(&self, study: &Uid, version: Option<u32>) -> Result<Option<DraftRecord>, StoreError>;

    /// How much waits, runs and was given up.
    async fn depth(&self) -> Result<QueueDepth, StoreError>;

    /// Notes what a worker says of itself; what it is to be told. Idempotent.
    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Orders, StoreError>;

    /// Tells a worker to take no more jobs, or to take them again. Idempotent. [`StoreError::NoWorker`].
    async fn drain_worker(&self, worker: &str, drain: bool) -> Result<Done, StoreError>;

    /// Forgets a worker that has left. Its leases, if it has any, run out. Idempotent.
    async fn forget_worker(&self, worker: &str) -> Result<Done, StoreError>;

    /// Forgets workers that were not heard of for `age_ms`; how many. Idempotent.
    async fn forget_workers(&self, age_ms: u64) -> Result<u64, StoreError>;

    /// The workers known, in order of name, each with the time since it was last heard of, in ms.
    async fn workers(&self) -> Result<Vec<(WorkerRecord, u64)>, StoreError>;

    /// Changes when a queue that was empty has a job, whoever put it there. None where only this process can. A hint: some
    /// may be lost, and some mean nothing.
    fn wakes(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Changes when a worker was told to take no more jobs, or to take them again, by another process. A hint, as
    /// [`JobStore::wakes`].
    fn orders(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}
