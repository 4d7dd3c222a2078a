//! The coordinator, as a worker sees it: six calls, in domain types.

use std::time::Duration;

use prelim_proto::convert::ConvertError;
use prelim_proto::ids::{Digest, FencingToken, JobId};
use prelim_proto::job::{JobKind, JobOutcome, Lease};
use prelim_proto::v1;
use prelim_proto::v1::worker_service_client::WorkerServiceClient;
use tonic::{Code, Request, Status};

use crate::connection::{ConnectionArgs, ConnectionError, Wire, explain};

/// Largest message taken from a coordinator: a job of thousands of slices fits.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Time for a call that waits for nothing.
const CALL_TIME: Duration = Duration::from_secs(20);

/// Time between two pieces of an object.
const CHUNK_TIME: Duration = Duration::from_secs(20);

/// A call that was not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The coordinator is not there, or has no time now.
    #[error("coordinator is not available: {0}")]
    Unavailable(String),
    /// The lease is not the job's newest any more.
    #[error("lease is lost: {0}")]
    Superseded(String),
    /// There is no such object.
    #[error("not found: {0}")]
    NotFound(String),
    /// The coordinator does not let this worker do that, now: credentials are renewed, and roles given.
    #[error("coordinator does not let this worker in: {0}")]
    Barred(String),
    /// The coordinator refuses.
    #[error("coordinator refused: {0}")]
    Refused(String),
    /// The coordinator's answer is not understood.
    #[error("coordinator's answer is not understood: {0}")]
    Malformed(#[from] ConvertError),
    /// An object is longer than the job says.
    #[error("object {digest} is longer than the {size_bytes} bytes that the job says")]
    TooLong {
        /// The object.
        digest: Digest,
        /// What the job says.
        size_bytes: u64,
    },
}

impl CallError {
    /// Whether the same call may go better later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Barred(_))
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let said = explain(&status).unwrap_or(status.message());
        let message = format!("{said} ({})", status.code());
        match status.code() {
            Code::FailedPrecondition | Code::Aborted => Self::Superseded(message),
            Code::NotFound => Self::NotFound(message),
            Code::PermissionDenied | Code::Unauthenticated => Self::Barred(message),
            Code::InvalidArgument | Code::Unimplemented => Self::Refused(message),
            _ => Self::Unavailable(message),
        }
    }
}

/// What became of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It lasts this long from now.
    Renewed(Duration),
    /// Someone else has the job, or it is done.
    Lost,
    /// The study was cancelled.
    Cancelled,
}

/// The way to a coordinator. It connects when first used, and again after a loss. Clones share the connection.
#[derive(Clone)]
pub struct Coordinator {
    client: WorkerServiceClient<Wire>,
    worker_id: String,
}

impl Coordinator {
    /// The way to a coordinator. Must be called on the runtime that will make the calls.
    pub fn new(connection: &ConnectionArgs, worker_id: &str) -> Result<Self, ConnectionError> {
        let wire = connection.lazy(|endpoint| {
            endpoint
                .connect_timeout(Duration::from_secs(5))
                .http2_keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .keep_alive_while_idle(true)
        })?;
        let client = WorkerServiceClient::new(wire).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { client, worker_id: worker_id.to_owned() })
    }

    /// Waits up to `wait` for a job of one of the kinds.
    pub async fn lease(&self, kinds: &[JobKind], wait: Duration) -> Result<Option<Lease>, CallError> {
        let kinds = kinds.iter().map(|kind| v1::JobKind::from(*kind) as i32).collect();
        let wait_ms = wait.as_millis() as u64;
        let message = v1::LeaseRequest { worker_id: self.worker_id.clone(), kinds, wait_ms };
        let response = self.client.clone().lease(within(message, wait + CALL_TIME)).await?.into_inner();
        Ok(response.lease.map(Lease::try_from).transpose()?)
    }

    /// Keeps leases alive. The answers come in the order asked; a lease that the answer leaves out counts as lost.
    pub async fn renew(&self, held: &[(JobId, FencingToken)], time: Duration) -> Result<Vec<Renewal>, CallError> {
        let leases = held.iter().map(|(job, token)| held_lease(job, *token)).collect();
        let message = v1::RenewRequest { worker_id: self.worker_id.clone(), leases };
        let response = self.client.clone().renew(within(message, time)).await?.into_inner();
        let status = |job: &JobId| {
            let found = response.leases.iter().find(|lease| lease.job_id == job.to_string());
            match found.map(|lease| (lease.status(), lease.ttl_ms)) {
                Some((v1::LeaseStatus::Renewed, ttl_ms)) => Renewal::Renewed(Duration::from_millis(ttl_ms)),
                Some((v1::LeaseStatus::Cancelled, _)) => Renewal::Cancelled,
                _ => Renewal::Lost,
            }
        };
        Ok(held.iter().map(|(job, _)| status(job)).collect())
    }

    /// Hands in an outcome. May be repeated.
    pub async fn complete(&self, job: &JobId, token: FencingToken, outcome: JobOutcome) -> Result<(), CallError> {
        let message = v1::CompleteRequest {
            worker_id: self.worker_id.clone(),
            lease: Some(held_lease(job, token)),
            outcome: Some(outcome.into()),
        };
        self.client.clone().complete(within(message, CALL_TIME)).await?;
        Ok(())
    }

    /// Says that an attempt went wrong; answers whether there will be another.
    pub async fn fail(
        &self,
        job: &JobId,
        token: FencingToken,
        reason: &str,
        retryable: bool,
    ) -> Result<bool, CallError> {
        let message = v1::FailRequest {
            worker_id: self.worker_id.clone(),
            lease: Some(held_lease(job, token)),
            reason: reason.to_owned(),
            retryable,
        };
        Ok(self.client.clone().fail(within(message, CALL_TIME)).await?.into_inner().will_retry)
    }

    /// Gives a job back.
    pub async fn release(&self, job: &JobId, token: FencingToken) -> Result<(), CallError> {
        let message = v1::ReleaseRequest { worker_id: self.worker_id.clone(), lease: Some(held_lease(job, token)) };
        self.client.clone().release(within(message, CALL_TIME)).await?;
        Ok(())
    }

    /// The bytes of an object, at most `size_bytes` of them.
    pub async fn read_object(&self, digest: &Digest, size_bytes: u64) -> Result<Vec<u8>, CallError> {
        let message = v1::ReadObjectRequest { digest: digest.to_string() };
        let slow = || CallError::Unavailable(format!("object {digest} came too slowly"));
        let call = self.client.clone();
        let started = tokio::time::timeout(CHUNK_TIME, async move { call.clone().read_object(message).await });
        let mut stream = started.await.map_err(|_| slow())??.into_inner();
        let mut bytes = Vec::with_capacity(size_bytes.min(MAX_MESSAGE_BYTES as u64) as usize);
        while let Some(part) = tokio::time::timeout(CHUNK_TIME, stream.message()).await.map_err(|_| slow())?? {
            bytes.extend_from_slice(&part.chunk);
            if bytes.len() as u64 > size_bytes {
                return Err(CallError::TooLong { digest: digest.clone(), size_bytes });
            }
        }
        Ok(bytes)
    }
}

fn held_lease(job: &JobId, token: FencingToken) -> v1::HeldLease {
    v1::HeldLease { job_id: job.to_string(), token: token.0 }
}

fn within<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}
