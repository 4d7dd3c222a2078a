//! Jobs to workers and back: leases with long poll, objects, renewals, outcomes, failures.

use std::time::Duration;

use prelim_proto::ids::{Digest, FencingToken, JobId};
use prelim_proto::job::{JobKind, JobOutcome, JobState, Lease};
use tokio::time::{Instant, timeout_at};

use crate::bytes::{Pieces, SignedAddress};
use crate::queue::Verdict;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::LeaseRequest;

/// How often a waiting worker's poll looks at the store without being woken: delayed jobs come due, and another
/// coordinator may have queued some.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Leases taken back in one sweep.
const SWEEP: usize = 256;

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
    /// Waits up to `wait` for a job of the kinds named, and leases it.
    pub async fn lease(&self, worker: &str, kinds: &[JobKind], wait: Duration) -> Result<Option<Lease>, ServiceError> {
        let deadline = Instant::now() + wait;
        let request =
            LeaseRequest { worker: worker.to_owned(), kinds: kinds.to_vec(), ttl_ms: self.config.lease_ttl_ms };
        loop {
            // Registered before the look, so that a job queued in between is not slept through.
            let woken = self.work.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.stopping.is_cancelled() {
                return Err(ServiceError::Stopping);
            }
            if let Some(lease) = self.store.lease(request.clone()).await? {
                self.changed(lease.job.id.study());
                return Ok(Some(lease));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            let look_again = deadline.min(Instant::now() + LOOK_AGAIN);
            tokio::select! {
                _ = timeout_at(look_again, woken) => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// Keeps a lease alive.
    pub async fn renew(&self, job: &JobId, token: FencingToken) -> Result<Renewal, ServiceError> {
        let ttl_ms = self.config.lease_ttl_ms;
        match self.store.renew(job, token, ttl_ms).await {
            Ok(()) => Ok(Renewal::Renewed(ttl_ms)),
            Err(StoreError::Cancelled(_)) => Ok(Renewal::Cancelled),
            Err(StoreError::LeaseLost { .. } | StoreError::NoJob(_)) => Ok(Renewal::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores what came of a job.
    pub async fn complete_job(
        &self,
        job: &JobId,
        token: FencingToken,
        outcome: JobOutcome,
    ) -> Result<(), ServiceError> {
        self.store.complete_job(job, token, outcome).await?;
        self.merges.notify_one();
        self.changed(job.study());
        Ok(())
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
        tracing::warn!(job.number = job.number(), attempt, again, reason, "attempt failed");
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
        let record = self.store.job(job).await?;
        if !record.is_some_and(|record| record.state == JobState::Leased && record.token == token) {
            return Err(StoreError::LeaseLost { job: job.clone(), token }.into());
        }
        if takes_address
            && self.config.bytes_direct
            && let Some(address) = self.bytes.sign(job.study(), digest).await?
        {
            return Ok(Object::At(address));
        }
        Ok(Object::Pieces(self.bytes.read(job.study(), digest).await?))
    }

    /// Takes back leases that ran out.
    pub(crate) async fn take_back_expired(&self) -> Result<(), ServiceError> {
        for lease in self.store.expired(SWEEP).await? {
            let verdict = self.verdict(lease.attempt, true);
            tracing::warn!(job.number = lease.job.number(), lease.attempt, "lease ran out");
            self.store.expire(&lease.job, lease.token, verdict).await?;
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
