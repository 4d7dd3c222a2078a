//! `QueueService`: what operators ask of the queue and its workers.

use std::sync::Arc;

use prelim_proto::ids::JobId;
use prelim_proto::image::ImageKind;
use prelim_proto::v1;
use prelim_proto::v1::queue_service_server::QueueService;
use tonic::{Request, Response, Status};

use super::status;
use crate::audit::Act;
use crate::service::Coordinator;
use crate::session::Session;
use crate::store::record::{ByKind, JobRecord, WorkerRecord};

/// Dead letters a page where the client does not say, and at most.
const PAGE: (u32, u32) = (50, 500);

/// The service.
pub(crate) struct Queue(pub(crate) Arc<Coordinator>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl QueueService for Queue {
    async fn get_queue(&self, _: Request<v1::GetQueueRequest>) -> Answer<v1::GetQueueResponse> {
        let depth = self.0.depth().await.map_err(status::of)?;
        let counts = |counts: ByKind| v1::JobCounts {
            xray: counts.xray,
            ct: counts.ct,
            merge: counts.merge,
            answer: counts.answer,
        };
        let demanded = self.0.demanded(&depth).await.map_err(status::of)?;
        let demanded = demanded.into_iter().map(|(each, workers)| v1::DemandedJobs {
            model: each.demand.model.map(Into::into).unwrap_or_default(),
            prompt: each.demand.prompt.map(Into::into).unwrap_or_default(),
            ready: Some(counts(each.ready)),
            longest_wait_ms: each.longest_wait_ms.max(0) as u64,
            workers: workers as u32,
        });
        let queue = v1::Queue {
            demanded: demanded.collect(),
            ready: Some(counts(depth.ready)),
            delayed: depth.delayed,
            leased: Some(counts(depth.leased)),
            dead: depth.dead,
            open_studies: depth.open_studies,
            longest_wait_ms: depth.longest_wait_ms.max(0) as u64,
            backlog_seconds: self.0.needs.backlog_s(&depth, &[ImageKind::Xray, ImageKind::Ct]),
        };
        Ok(Response::new(v1::GetQueueResponse { queue: Some(queue) }))
    }

    async fn list_workers(&self, _: Request<v1::ListWorkersRequest>) -> Answer<v1::ListWorkersResponse> {
        let workers = self.0.workers().await.map_err(status::of)?;
        let workers = workers.into_iter().map(|(record, silent_ms)| worker(record, silent_ms)).collect();
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }

    async fn drain_worker(&self, request: Request<v1::DrainWorkerRequest>) -> Answer<v1::DrainWorkerResponse> {
        let request = request.into_inner();
        self.0.drain_worker(&request.worker_id, !request.undo).await.map_err(status::of)?;
        Ok(Response::new(v1::DrainWorkerResponse {}))
    }

    async fn list_dead_jobs(&self, request: Request<v1::ListDeadJobsRequest>) -> Answer<v1::ListDeadJobsResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let page = if request.page_size == 0 { PAGE.0 } else { request.page_size.min(PAGE.1) } as usize;
        let after = match request.page_token.as_str() {
            "" => None,
            token => {
                let foreign = |_| status::invalid("page_token", "not a token of this list; start again without one");
                Some(JobId::parse(token).map_err(foreign)?)
            }
        };
        // One more than asked for tells whether there is another page.
        let mut dead = self.0.dead_jobs(after.as_ref(), page + 1).await.map_err(status::of)?;
        let is_last = dead.len() <= page;
        dead.truncate(page);
        let next_page_token = match dead.last() {
            Some(last) if !is_last => last.id.to_string(),
            _ => String::new(),
        };
        // A page of somebody who sees some tenants only may be short, or empty, and have another after it.
        dead.retain(|job| session.caller().may_see(&job.tenant));
        let jobs = dead.into_iter().map(dead_job).collect();
        Ok(Response::new(v1::ListDeadJobsResponse { jobs, next_page_token }))
    }

    async fn requeue_job(&self, request: Request<v1::RequeueJobRequest>) -> Answer<v1::RequeueJobResponse> {
        let session = Session::of(&request);
        let job = JobId::parse(&request.into_inner().job_id);
        let job = job.map_err(|error| status::invalid("job_id", error.to_string()))?;
        session.allow(&self.0, job.study()).await.map_err(status::of)?;
        let requeued = self.0.requeue(&job).await.map_err(status::of)?;
        session.note(Act::Requeued, std::slice::from_ref(job.study())).await.map_err(status::of)?;
        Ok(Response::new(v1::RequeueJobResponse { requeued }))
    }
}

fn worker(record: WorkerRecord, silent_ms: u64) -> v1::Worker {
    let now_ms = record.seen_at_ms.saturating_add(i64::try_from(silent_ms).unwrap_or(i64::MAX));
    let shares_name = record.shares_name(now_ms);
    let said = record.heartbeat;
    let status = v1::WorkerStatus {
        kinds: said.kinds.into_iter().map(|kind| v1::JobKind::from(kind) as i32).collect(),
        slots: said.slots,
        running: said.running,
        model: said.model,
        prompts: said.prompts,
        adapters: said.adapters,
        software_version: said.software_version,
        process: said.process,
        questions: said.questions.into_iter().map(|kind| v1::QuestionKind::from(kind) as i32).collect(),
    };
    let (since_ms, draining) = (record.since_ms, record.draining);
    v1::Worker { id: said.worker, status: Some(status), since_ms, silent_ms, draining, shares_name }
}

fn dead_job(job: JobRecord) -> v1::DeadJob {
    let failure = |failure: crate::store::record::Failure| v1::JobFailure {
        attempt: failure.attempt,
        worker_id: failure.worker,
        reason: failure.reason,
        at_ms: failure.at_ms,
    };
    v1::DeadJob {
        job_id: job.id.to_string(),
        kind: v1::JobKind::from(job.kind) as i32,
        tenant: job.tenant.into(),
        attempts: job.attempts,
        failures: job.failures.into_iter().map(failure).collect(),
    }
}
