//! The coordinator, as a worker sees it: seven calls, in domain types.

use std::time::Duration;

use prelim_proto::convert::ConvertError;
use prelim_proto::demand::{ModelName, Offer};
use prelim_proto::ids::{Digest, FencingToken, JobId, Uid};
use prelim_proto::job::{JobKind, JobOutcome, Lease};
use prelim_proto::question::QuestionKind;
use prelim_proto::v1;
use prelim_proto::v1::worker_service_client::WorkerServiceClient;
use tonic::{Code, Request, Status};

use crate::connection::{ConnectionArgs, ConnectionError, Wire, explain};
use crate::direct::Direct;

/// Largest message taken from a coordinator: a job of thousands of slices fits.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Time for a call that waits for nothing.
const CALL_TIME: Duration = Duration::from_secs(20);

/// Time to say good-bye.
const LEAVE_TIME: Duration = Duration::from_secs(2);

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
    /// What the object store holds is not what was put there.
    #[error("stored bytes are damaged: {0}")]
    Damaged(String),
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

    /// Whether other bytes came than were put: on the way, or in the store.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::TooLong { .. })
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let said = explain(&status).unwrap_or(status.message());
        let message = format!("{said} ({})", status.code());
        match status.code() {
            Code::FailedPrecondition | Code::Aborted => Self::Superseded(message),
            Code::NotFound => Self::NotFound(message),
            Code::DataLoss => Self::Damaged(message),
            Code::PermissionDenied | Code::Unauthenticated => Self::Barred(message),
            Code::InvalidArgument | Code::Unimplemented => Self::Refused(message),
            _ => Self::Unavailable(message),
        }
    }
}

/// Work that a worker could take.
#[derive(Debug, Clone)]
pub struct Want {
    /// A name for the request, never used for another.
    pub request: String,
    /// The kinds of job.
    pub kinds: Vec<JobKind>,
    /// The model and prompts that the worker offers.
    pub offer: Offer,
    /// The kinds of question that the worker's model answers.
    pub questions: Vec<QuestionKind>,
    /// Studies whose images are at hand: their jobs are preferred.
    pub held: Vec<Uid>,
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

/// What a coordinator answers a request for work.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// A job, or none.
    pub lease: Option<Lease>,
    /// The worker is to take no more jobs, finish those it has, and stop.
    pub drain: bool,
}

/// What a coordinator answers a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What became of the leases, in the order asked.
    pub renewals: Vec<Renewal>,
    /// The worker is to take no more jobs, finish those it has, and stop.
    pub drain: bool,
    /// Another process runs under the worker's name.
    pub shares_name: bool,
}

/// The way to a coordinator. It connects when first used, and again after a loss. Clones share the connection.
#[derive(Clone)]
pub struct Coordinator {
    client: WorkerServiceClient<Wire>,
    direct: Direct,
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
        Ok(Self { client, direct: Direct::default(), worker_id: worker_id.to_owned() })
    }

    /// Waits up to `wait` for a job; answers the one that a request got which is repeated under its name.
    pub async fn lease(&self, want: &Want, repeated: bool, wait: Duration) -> Result<Given, CallError> {
        let message = self.request(want, repeated, wait);
        let response = self.client.clone().lease(within(message, wait + CALL_TIME)).await?.into_inner();
        Ok(Given { lease: response.lease.map(Lease::try_from).transpose()?, drain: response.drain })
    }

    fn request(&self, want: &Want, repeated: bool, wait: Duration) -> v1::LeaseRequest {
        v1::LeaseRequest {
            worker_id: self.worker_id.clone(),
            kinds: want.kinds.iter().map(|kind| v1::JobKind::from(*kind) as i32).collect(),
            wait_ms: wait.as_millis() as u64,
            request_id: want.request.clone(),
            studies_held: want.held.iter().map(ToString::to_string).collect(),
            repeated,
            model: want.offer.model.clone().map(Into::into).unwrap_or_default(),
            adapters: want.offer.adapters.iter().map(ToString::to_string).collect(),
            prompts: want.offer.prompts.iter().map(ToString::to_string).collect(),
            questions: want.questions.iter().map(|kind| v1::QuestionKind::from(*kind) as i32).collect(),
        }
    }

    /// Keeps leases alive, and says what the worker is, where `status` is given. The answers come in the order asked; a
    /// lease that the answer leaves out counts as lost.
    pub async fn renew(
        &self,
        held: &[(JobId, FencingToken)],
        status: Option<v1::WorkerStatus>,
        time: Duration,
    ) -> Result<Heard, CallError> {
        let leases = held.iter().map(|(job, token)| held_lease(job, *token)).collect();
        let message = v1::RenewRequest { worker_id: self.worker_id.clone(), leases, status, leaving: false };
        let response = self.client.clone().renew(within(message, time)).await?.into_inner();
        let status = |job: &JobId| {
            let found = response.leases.iter().find(|lease| lease.job_id == job.to_string());
            match found.map(|lease| (lease.status(), lease.ttl_ms)) {
                Some((v1::LeaseStatus::Renewed, ttl_ms)) => Renewal::Renewed(Duration::from_millis(ttl_ms)),
                Some((v1::LeaseStatus::Cancelled, _)) => Renewal::Cancelled,
                _ => Renewal::Lost,
            }
        };
        let renewals = held.iter().map(|(job, _)| status(job)).collect();
        Ok(Heard { renewals, drain: response.drain, shares_name: response.shares_name })
    }

    /// Says that the worker stops now.
    pub async fn leave(&self) -> Result<(), CallError> {
        let message = v1::RenewRequest { worker_id: self.worker_id.clone(), leaving: true, ..Default::default() };
        self.client.clone().renew(within(message, LEAVE_TIME)).await?;
        Ok(())
    }

    /// Hands in an outcome, says which model it is of, and gets the next job along with the answer where one is wanted and waits. May be repeated, and
    /// then says so.
    pub async fn complete(
        &self,
        lease: &Lease,
        outcome: JobOutcome,
        model: Option<&ModelName>,
        next: Option<&Want>,
        repeated: bool,
    ) -> Result<Given, CallError> {
        let message = v1::CompleteRequest {
            worker_id: self.worker_id.clone(),
            lease: Some(held_lease(&lease.job.id, lease.token)),
            outcome: Some(outcome.into()),
            kind: v1::JobKind::from(lease.job.kind) as i32,
            next: next.map(|want| self.request(want, repeated, Duration::ZERO)),
            model: model.map(ToString::to_string).unwrap_or_default(),
        };
        let response = self.client.clone().complete(within(message, CALL_TIME)).await?.into_inner();
        // A job that is not understood is not held against the one that is stored; its lease runs out.
        Ok(Given { lease: response.next.and_then(|next| Lease::try_from(next).ok()), drain: response.drain })
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

    /// The bytes of an object of a leased job, at most `size_bytes` of them, by the way given. They are not checked.
    pub async fn read_object(
        &self,
        lease: &Lease,
        digest: &Digest,
        size_bytes: u64,
        way: Way,
    ) -> Result<Vec<u8>, CallError> {
        let chunks_only = way == Way::Chunks || !self.direct.is_worth_a_try();
        match self.read_parts(lease, digest, size_bytes, chunks_only).await? {
            Object::Bytes(bytes) => Ok(bytes),
            Object::Address(url) => match self.direct.read(&url, size_bytes).await {
                Ok(bytes) => Ok(bytes),
                Err(error) => {
                    tracing::warn!(%error, "object not read from its address; the coordinator is asked for it");
                    match self.read_parts(lease, digest, size_bytes, true).await? {
                        Object::Bytes(bytes) => Ok(bytes),
                        Object::Address(_) => {
                            Err(CallError::Refused("an address where bytes were asked for".to_owned()))
                        }
                    }
                }
            },
        }
    }

    async fn read_parts(
        &self,
        lease: &Lease,
        digest: &Digest,
        size_bytes: u64,
        chunks_only: bool,
    ) -> Result<Object, CallError> {
        let (job_id, token) = (lease.job.id.to_string(), lease.token.0);
        let message = v1::ReadObjectRequest { digest: digest.to_string(), job_id, token, chunks_only };
        let slow = || CallError::Unavailable(format!("object {digest} came too slowly"));
        let mut call = self.client.clone();
        let started = tokio::time::timeout(CHUNK_TIME, call.read_object(message));
        let mut stream = started.await.map_err(|_| slow())??.into_inner();
        let mut bytes = Vec::with_capacity(capacity(size_bytes));
        while let Some(part) = tokio::time::timeout(CHUNK_TIME, stream.message()).await.map_err(|_| slow())?? {
            if !part.signed_url.is_empty() {
                return Ok(Object::Address(part.signed_url));
            }
            if (bytes.len() + part.chunk.len()) as u64 > size_bytes {
                return Err(CallError::TooLong { digest: digest.clone(), size_bytes });
            }
            bytes.extend_from_slice(&part.chunk);
        }
        Ok(Object::Bytes(bytes))
    }
}

/// How an object may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As the coordinator likes: from an address, or in chunks.
    Any,
    /// In chunks, which the coordinator has checked.
    Chunks,
}

/// What the coordinator gave.
enum Object {
    Bytes(Vec<u8>),
    /// Not to be logged.
    Address(String),
}

/// Memory set aside for an object of that size before any of it came.
pub(crate) fn capacity(size_bytes: u64) -> usize {
    size_bytes.min(MAX_MESSAGE_BYTES as u64) as usize
}

fn held_lease(job: &JobId, token: FencingToken) -> v1::HeldLease {
    v1::HeldLease { job_id: job.to_string(), token: token.0 }
}

fn within<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}
