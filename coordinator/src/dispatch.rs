//! Jobs to workers and back: leases with long poll, objects, renewals, outcomes, failures.

use std::sync::Arc;
use std::time::Duration;

use prelim_proto::demand::{ModelName, Offer};
use prelim_proto::ids::{Digest, FencingToken, JobId, Tenant, Uid};
use prelim_proto::job::{JobKind, JobOutcome, JobState, Lease};
use prelim_proto::trace::{for_log, without_uids};
use tokio::sync::oneshot;

use crate::bytes::{Pieces, SignedAddress};
use crate::queue::Verdict;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::{Done, Heartbeat, LeaseRequest, Orders};
use crate::traces;

/// Leases taken back in one sweep.
const SWEEP: usize = 256;
/// A worker that is to stop and asks for work all the same is answered after so long: it may not listen.
const DRAINED_WAIT: Duration = Duration::from_secs(1);

/// Why a question has no answer whose workers all died.
const WORKERS_LOST: &str = "the workers that had the question were not heard of any more";

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who asks.
    pub worker: String,
    /// Its name for the request.
    pub request: String,
    /// Whether it made the request before.
    pub repeats: bool,
    /// The kinds of job that it takes.
    pub kinds: Vec<JobKind>,
    /// The model and prompts that it offers.
    pub offer: Offer,
    /// The tenants whose jobs it may have; none is all.
    pub tenants: Option<Vec<Tenant>>,
    /// Studies whose images it has at hand.
    pub held: Vec<Uid>,
}

/// What became of a lease on renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It lives on for this many ms.
    Renewed(u64),
    /// Someone else has the job, or it is done.
    Lost,
    /// The study was cancelled.
    Cancelled,
}

/// How a worker gets an object.
pub enum Object {
    /// It reads it itself.
    At(SignedAddress),
    /// Through this coordinator.
    Pieces(Pieces),
}

impl Coordinator {
    /// Waits up to `wait` for a job and leases it. Without a wait, only one that waits already.
    pub async fn lease(self: &Arc<Self>, ask: Ask, wait: Duration) -> Result<Option<Lease>, ServiceError> {
        if self.stopping.is_cancelled() {
            return Err(ServiceError::Stopping);
        }
        let worker = ask.worker.clone();
        if self.drains.contains(&worker) {
            tokio::time::sleep(wait.min(DRAINED_WAIT)).await;
            return Ok(None);
        }
        let request = LeaseRequest {
            worker: ask.worker,
            request: ask.request,
            repeats: ask.repeats,
            kinds: ask.kinds,
            offer: ask.offer,
            tenants: ask.tenants,
            held: ask.held,
            ttl_ms: self.config.lease_ttl_ms,
            shares: self.shares.clone(),
        };
        // On a task of its own: a call that is given up in the middle of it must not keep a job from everybody.
        let (coordinator, asked) = (self.clone(), request.clone());
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let leased = coordinator.store.lease(asked).await;
            if let Err(Ok(Some(lease))) = tell.send(leased) {
                coordinator.take_back(&lease).await;
            }
        });
        if let Some(lease) = told.await.map_err(|_| ServiceError::Stopping)?? {
            self.given(&lease);
            return Ok(Some(lease));
        }
        if wait.is_zero() {
            return Ok(None);
        }
        let mut given = self.line.join(request);
        tokio::select! {
            lease = &mut given => return Ok(lease.ok()),
            () = tokio::time::sleep(wait) => {}
            () = self.drains.until(&worker) => {}
            () = self.stopping.cancelled() => {}
        }
        // One may have been given at this very moment.
        given.close();
        Ok(given.try_recv().ok())
    }

    /// Notes that a job was given to a worker.
    pub(crate) fn given(&self, lease: &Lease) {
        self.metrics.job_given(lease.waited_ms);
        traces::add_wait(lease);
        self.changed(lease.job.id.study());
    }

    /// Gives a job to others whose worker went away before it got it.
    pub(crate) async fn take_back(&self, lease: &Lease) {
        if let Err(error) = self.release(&lease.job.id, lease.token).await {
            tracing::warn!(error = without_uids(&error), "a job for a worker that is gone is not given back yet");
        }
    }

    /// Notes what a worker says of itself; what it is to be told.
    pub async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Orders, ServiceError> {
        let worker = heartbeat.worker.clone();
        let orders = self.store.heartbeat(heartbeat).await?;
        self.drains.note(&worker, orders.drain);
        Ok(orders)
    }

    /// Forgets a worker that stops.
    pub async fn farewell(&self, worker: &str) -> Result<(), ServiceError> {
        self.store.forget_worker(worker).await?;
        self.drains.note(worker, false);
        Ok(())
    }

    /// Keeps a lease alive.
    pub async fn renew(&self, job: &JobId, token: FencingToken) -> Result<Renewal, ServiceError> {
        let ttl_ms = self.config.lease_ttl_ms;
        match self.store.renew(job, token, ttl_ms).await {
            Ok(()) => Ok(Renewal::Renewed(ttl_ms)),
            Err(StoreError::Cancelled(_)) => Ok(Renewal::Cancelled),
            Err(StoreError::LeaseLost { .. } | StoreError::NoJob(_)) => {
                self.metrics.leases_lost.inc();
                Ok(Renewal::Lost)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores what came of a job, of which the worker may say what kind it was, and which model read it.
    pub async fn complete_job(
        &self,
        job: &JobId,
        token: FencingToken,
        known: Option<(JobKind, Option<ModelName>)>,
        outcome: JobOutcome,
    ) -> Result<(), ServiceError> {
        if job.is_question() {
            return self.answered(job, token, outcome).await;
        }
        let cost = outcome.cost;
        if self.store.complete_job(job, token, outcome).await? == Done::Now {
            self.metrics.job_done(&cost);
        }
        if let Some((kind, model)) = known {
            self.needs.note(kind, model, &cost);
        }
        self.merges.notify_one();
        self.changed(job.study());
        Ok(())
    }

    /// The same, and leases the next job where one is wanted and waits. The store is asked for both at once: one that takes
    /// calls together does them in one step, outcomes first.
    pub async fn exchange(
        self: &Arc<Self>,
        job: &JobId,
        token: FencingToken,
        known: Option<(JobKind, Option<ModelName>)>,
        outcome: JobOutcome,
        next: Option<Ask>,
    ) -> Result<Option<Lease>, ServiceError> {
        let stored = self.complete_job(job, token, known, outcome);
        let Some(ask) = next else { return stored.await.map(|()| None) };
        let (stored, next) = tokio::join!(stored, self.lease(ask, Duration::ZERO));
        // Where no job could be leased the outcome may be stored all the same: the worker asks again by itself.
        let next = next.unwrap_or_default();
        match (stored, next) {
            (Ok(()), next) => Ok(next),
            (Err(error), next) => {
                if let Some(lease) = next {
                    self.take_back(&lease).await;
                }
                Err(error)
            }
        }
    }

    /// Ends an attempt that went wrong; whether there will be another.
    pub async fn fail_job(
        &self,
        job: &JobId,
        token: FencingToken,
        reason: &str,
        retryable: bool,
    ) -> Result<bool, ServiceError> {
        let attempt = self.store.job(job).await?.map_or(1, |record| record.attempts);
        let verdict = self.verdict(attempt, retryable);
        let again = self.store.fail_job(job, token, reason, verdict).await?;
        match (again, job.is_question()) {
            (true, _) => self.metrics.job_finished("retried"),
            (false, true) => self.not_answered(job, reason).await?,
            (false, false) => self.metrics.job_finished("dead"),
        }
        let (hash, said) = (traces::hash(job.study()), for_log(&reason));
        tracing::warn!(study.hash = hash, job.number = job.number(), attempt, again, reason = said, "attempt failed");
        self.merges.notify_one();
        self.changed(job.study());
        Ok(again)
    }

    /// Takes a job back that a stopping worker did not finish.
    pub async fn release(&self, job: &JobId, token: FencingToken) -> Result<(), ServiceError> {
        self.store.release(job, token).await?;
        self.work.notify_waiters();
        Ok(())
    }

    /// The bytes of an object, for the holder of a lease on a job of its study: an address where such are given and
    /// wanted, or the bytes.
    pub async fn object(
        &self,
        job: &JobId,
        token: FencingToken,
        digest: &Digest,
        takes_address: bool,
    ) -> Result<Object, ServiceError> {
        if let Some(veil) = &self.veil {
            return Ok(Object::Pieces(self.veiled_object(veil, job, token, digest).await?));
        }
        self.check_lease(job, token).await?;
        if takes_address
            && self.config.bytes_direct
            && let Some(address) = self.bytes.sign(job.study(), digest).await?
        {
            return Ok(Object::At(address));
        }
        Ok(Object::Pieces(self.bytes.read(job.study(), digest).await?))
    }

    /// Whether the lease is the job's newest and lasts.
    pub(crate) async fn check_lease(&self, job: &JobId, token: FencingToken) -> Result<(), ServiceError> {
        let record = self.store.job(job).await?;
        if record.is_some_and(|record| record.state == JobState::Leased && record.token == token) {
            return Ok(());
        }
        Err(StoreError::LeaseLost { job: job.clone(), token }.into())
    }

    /// Takes back leases that ran out.
    pub(crate) async fn take_back_expired(&self) -> Result<(), ServiceError> {
        for lease in self.store.expired(SWEEP).await? {
            let verdict = self.verdict(lease.attempt, true);
            let hash = traces::hash(lease.job.study());
            tracing::warn!(study.hash = hash, job.number = lease.job.number(), lease.attempt, "lease ran out");
            if self.store.expire(&lease.job, lease.token, verdict).await? == Done::Now {
                self.metrics.leases_lost.inc();
                match (verdict, lease.job.is_question()) {
                    (Verdict::RetryIn(_), _) => self.metrics.job_finished("retried"),
                    (Verdict::Dead, true) => self.not_answered(&lease.job, WORKERS_LOST).await?,
                    (Verdict::Dead, false) => self.metrics.job_finished("dead"),
                }
            }
            self.work.notify_waiters();
            self.merges.notify_one();
            self.changed(lease.job.study());
        }
        Ok(())
    }

    fn verdict(&self, attempt: u32, retryable: bool) -> Verdict {
        self.config.retry_policy().after_failure(attempt, retryable, rand::random())
    }
}
