//! `WorkerService`: what workers ask.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use prelim_proto::demand::{MAX_ADAPTERS, MAX_PROMPTS, ModelName, Offer};
use prelim_proto::ids::{Digest, FencingToken, JobId, Uid};
use prelim_proto::job::{JobKind, JobOutcome, Lease};
use prelim_proto::question::QuestionKind;
use prelim_proto::v1;
use prelim_proto::v1::worker_service_server::WorkerService;
use tonic::{Request, Response, Status};

use super::status;
use crate::audit::Act;
use crate::dispatch::{Ask, Object, Renewal};
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;
use crate::store::StoreError;
use crate::store::record::{Heartbeat, MAX_HELD};

/// Longest wait of a long poll.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Leases renewed in one call.
const MAX_RENEWALS: usize = 1_024;
/// Longest name of a worker, in characters.
const MAX_WORKER_ID: usize = 64;
/// Bytes of a failure's reason that are kept.
const MAX_REASON_BYTES: usize = 2_000;
/// Bytes of a model's name that are kept.
const MAX_NAME_BYTES: usize = 200;

/// The service.
pub(crate) struct Workers(pub(crate) Arc<Coordinator>);

type Answer<T> = Result<Response<T>, Status>;

impl Workers {
    /// The status for an error, which names nothing that workers do not know.
    fn status(&self, error: ServiceError) -> Status {
        match &self.0.veil {
            Some(veil) => status::veiled(error, |said| veil.text(said)),
            None => status::of(error),
        }
    }

    /// The job and token of a lease in a message, if the caller may have to do with it.
    async fn lease_of(
        &self,
        session: &Session,
        held: Option<v1::HeldLease>,
    ) -> Result<(JobId, FencingToken), ServiceError> {
        let held = held.ok_or_else(|| ServiceError::Invalid { field: "lease", problem: "missing".to_owned() })?;
        let wrong = |problem: String| ServiceError::Invalid { field: "job_id", problem };
        let named = JobId::parse(&held.job_id).map_err(|error| wrong(error.to_string()))?;
        let token = FencingToken(held.token);
        let job = self.0.job_of(named, token).await?;
        session.allow(&self.0, job.study()).await?;
        Ok((job, token))
    }

    /// What a worker asks for in a message.
    fn ask(&self, request: v1::LeaseRequest, session: &Session) -> Result<Ask, Status> {
        check_worker(&request.worker_id)?;
        let kinds: Vec<JobKind> = request
            .kinds()
            .map(JobKind::try_from)
            .collect::<Result<_, _>>()
            .map_err(|error| status::of(error.into()))?;
        if kinds.is_empty() || kinds.contains(&JobKind::Merge) {
            return Err(status::invalid("kinds", "name the kinds of read job that the worker takes"));
        }
        if request.request_id.chars().count() > MAX_WORKER_ID {
            return Err(status::invalid("request_id", format!("longer than {MAX_WORKER_ID} characters")));
        }
        let held = request.studies_held.iter().take(MAX_HELD).map(|uid| Uid::parse(uid));
        let held =
            held.collect::<Result<_, _>>().map_err(|error| status::invalid("studies_held", error.to_string()))?;
        let offer = Offer::from_wire(&request.model, &request.adapters, &request.prompts)
            .map_err(|error| status::of(error.into()))?;
        // A newer worker may answer more than is known here.
        let answers: Vec<QuestionKind> = request.questions().filter_map(|kind| kind.try_into().ok()).collect();
        let offer = match (kinds.contains(&JobKind::Answer), request.questions.is_empty()) {
            (false, _) => offer,
            (true, true) => offer.with_questions(QuestionKind::ALL),
            (true, false) => offer.with_questions(answers),
        };
        Ok(Ask {
            worker: request.worker_id,
            request: request.request_id,
            repeats: request.repeated,
            kinds,
            offer,
            tenants: session.tenants(),
            held: self.0.studies_of_worker(held),
        })
    }

    /// A lease for a message, once the audit has it.
    async fn given(&self, lease: Option<Lease>, session: &Session) -> Result<Option<v1::Lease>, Status> {
        let Some(lease) = lease else { return Ok(None) };
        let lease = self.0.with_question(lease).await.map_err(|error| self.status(error))?;
        let Some(lease) = lease else { return Ok(None) };
        session.note(Act::Leased, std::slice::from_ref(lease.job.id.study())).await.map_err(|e| self.status(e))?;
        Ok(self.0.veiled_lease(lease).await.map_err(|error| self.status(error))?.map(Into::into))
    }
}

#[tonic::async_trait]
impl WorkerService for Workers {
    type ReadObjectStream = BoxStream<'static, Result<v1::ReadObjectResponse, Status>>;

    async fn lease(&self, request: Request<v1::LeaseRequest>) -> Answer<v1::LeaseResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let wait = Duration::from_millis(request.wait_ms);
        if wait > MAX_WAIT {
            return Err(status::invalid("wait_ms", format!("more than {}", MAX_WAIT.as_millis())));
        }
        let ask = self.ask(request, &session)?;
        let worker = ask.worker.clone();
        let lease = self.0.lease(ask, wait).await.map_err(status::of)?;
        let lease = self.given(lease, &session).await?;
        Ok(Response::new(v1::LeaseResponse { lease, drain: self.0.drains.contains(&worker) }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Answer<v1::RenewResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        check_worker(&request.worker_id)?;
        if request.leases.len() > MAX_RENEWALS {
            return Err(status::invalid("leases", format!("more than {MAX_RENEWALS}")));
        }
        if request.leaving {
            self.0.farewell(&request.worker_id).await.map_err(status::of)?;
            return Ok(Response::new(v1::RenewResponse::default()));
        }
        let worker = request.worker_id;
        let shares_name = match request.status {
            Some(said) => self.0.heartbeat(heartbeat(worker.clone(), said)?).await.map_err(status::of)?.shares_name,
            None => false,
        };
        let mut leases = Vec::with_capacity(request.leases.len());
        for held in request.leases {
            let job_id = held.job_id.clone();
            let renewal = match self.lease_of(&session, Some(held)).await {
                Ok((job, token)) => self.0.renew(&job, token).await.map_err(|error| self.status(error))?,
                Err(ServiceError::Store(StoreError::LeaseLost { .. })) => Renewal::Lost,
                Err(error) => return Err(self.status(error)),
            };
            let (lease_status, ttl_ms) = match renewal {
                Renewal::Renewed(ttl_ms) => (v1::LeaseStatus::Renewed, ttl_ms),
                Renewal::Lost => (v1::LeaseStatus::Lost, 0),
                Renewal::Cancelled => (v1::LeaseStatus::Cancelled, 0),
            };
            leases.push(v1::RenewedLease { job_id, status: lease_status as i32, ttl_ms });
        }
        Ok(Response::new(v1::RenewResponse { leases, drain: self.0.drains.contains(&worker), shares_name }))
    }

    async fn complete(&self, request: Request<v1::CompleteRequest>) -> Answer<v1::CompleteResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        check_worker(&request.worker_id)?;
        let kind = JobKind::try_from(request.kind()).ok();
        let model = ModelName::parse(&request.model).ok();
        let (job, token) = self.lease_of(&session, request.lease).await.map_err(|error| self.status(error))?;
        let outcome = request.outcome.ok_or_else(|| status::invalid("outcome", "missing"))?;
        let outcome = JobOutcome::try_from(outcome).map_err(|error| status::of(error.into()))?;
        let next = request.next.map(|next| self.ask(next, &session)).transpose()?;
        let outcome = self.0.unveiled_outcome(&job, outcome).await.map_err(|error| self.status(error))?;
        let known = kind.map(|kind| (kind, model));
        if job.is_question() {
            session.note_question(Act::Answered, job.study(), "answer").await.map_err(|error| self.status(error))?;
        }
        let next = self.0.exchange(&job, token, known, outcome, next).await.map_err(|error| self.status(error))?;
        let (next, drain) = (self.given(next, &session).await?, self.0.drains.contains(&request.worker_id));
        Ok(Response::new(v1::CompleteResponse { next, drain }))
    }

    async fn fail(&self, request: Request<v1::FailRequest>) -> Answer<v1::FailResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        check_worker(&request.worker_id)?;
        let (job, token) = self.lease_of(&session, request.lease).await.map_err(|error| self.status(error))?;
        let mut reason = request.reason;
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        let reason = self.0.unveiled_reason(&job, reason).await.map_err(|error| self.status(error))?;
        let will_retry =
            self.0.fail_job(&job, token, &reason, request.retryable).await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::FailResponse { will_retry }))
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Answer<v1::ReleaseResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        check_worker(&request.worker_id)?;
        let (job, token) = self.lease_of(&session, request.lease).await.map_err(|error| self.status(error))?;
        self.0.release(&job, token).await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::ReleaseResponse {}))
    }

    async fn read_object(&self, request: Request<v1::ReadObjectRequest>) -> Answer<Self::ReadObjectStream> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let digest = Digest::parse(&request.digest).map_err(|error| status::invalid("digest", error.to_string()))?;
        let held = v1::HeldLease { job_id: request.job_id, token: request.token };
        let (job, token) = self.lease_of(&session, Some(held)).await.map_err(|error| self.status(error))?;
        let object = self.0.object(&job, token, &digest, !request.chunks_only).await;
        let object = object.map_err(|error| self.status(error))?;
        let messages = match object {
            Object::At(address) => stream::iter([Ok(v1::ReadObjectResponse {
                signed_url: address.url,
                expires_in_ms: address.expires_in.as_millis() as u64,
                ..v1::ReadObjectResponse::default()
            })])
            .boxed(),
            Object::Pieces(pieces) => pieces
                .map(|piece| match piece {
                    Ok(chunk) => Ok(v1::ReadObjectResponse { chunk, ..v1::ReadObjectResponse::default() }),
                    Err(error) => Err(status::of(ServiceError::from(error))),
                })
                .boxed(),
        };
        Ok(Response::new(messages))
    }
}

fn check_worker(id: &str) -> Result<(), Status> {
    if id.is_empty() || id.chars().count() > MAX_WORKER_ID {
        return Err(status::invalid("worker_id", format!("not between 1 and {MAX_WORKER_ID} characters")));
    }
    Ok(())
}

/// What a worker says of itself in a message.
fn heartbeat(worker: String, said: v1::WorkerStatus) -> Result<Heartbeat, Status> {
    let kinds = said.kinds().map(JobKind::try_from).collect::<Result<_, _>>();
    // A newer worker may be asked for more than is known here.
    let mut questions: Vec<QuestionKind> = said.questions().filter_map(|kind| kind.try_into().ok()).collect();
    questions.truncate(QuestionKind::ALL.len());
    let mut heartbeat = Heartbeat {
        worker,
        kinds: kinds.map_err(|error| status::of(error.into()))?,
        slots: said.slots,
        running: said.running,
        model: said.model,
        prompts: said.prompts,
        adapters: said.adapters,
        software_version: said.software_version,
        process: said.process,
        questions,
    };
    for text in [&mut heartbeat.model, &mut heartbeat.software_version, &mut heartbeat.process] {
        text.truncate(text.floor_char_boundary(MAX_NAME_BYTES));
    }
    heartbeat.prompts.truncate(MAX_PROMPTS);
    heartbeat.adapters.truncate(MAX_ADAPTERS);
    for text in heartbeat.prompts.iter_mut().chain(&mut heartbeat.adapters) {
        text.truncate(text.floor_char_boundary(MAX_NAME_BYTES));
    }
    Ok(heartbeat)
}
