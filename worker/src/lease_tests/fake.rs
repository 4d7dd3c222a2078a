//! A coordinator that hands out a list of jobs and writes down what it is told.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use prelim_proto::ids::{FencingToken, JobId, Uid};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{JobKind, JobSpec, Lease};
use prelim_proto::study::Priority;
use prelim_proto::v1;
use prelim_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// How long leases last: longer than a machine stands still that does much else.
pub(super) const TTL_MS: u64 = 3_000;
/// How often is looked at what was written down, every 10 ms, before it is given up.
const LOOKS: usize = 6_000;

/// What a worker told the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Completed(u32, u64),
    Failed(u32, String, bool),
    Released(u32, u64),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) waiting: VecDeque<u32>,
    pub(super) events: Vec<Event>,
    pub(super) renewals: HashMap<u32, u32>,
    /// Jobs whose leases are answered otherwise than with renewal.
    pub(super) ended: HashMap<u32, v1::LeaseStatus>,
    /// Errors that the next calls of `complete` get.
    pub(super) complete_errors: VecDeque<tonic::Code>,
    pub(super) lease_errors: u32,
    pub(super) workers: Vec<String>,
    /// Requests for work, by name, with the studies at hand.
    pub(super) requests: Vec<(String, Vec<String>)>,
    /// Requests for the next job that came along with outcomes, and whether they were repeated.
    pub(super) nexts: Vec<(String, bool)>,
    pub(super) heartbeats: Vec<u32>,
    /// Whether the worker is told to stop.
    pub(super) drain: bool,
    pub(super) left: u32,
}

#[derive(Clone, Default)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    pub(super) ttl_ms: u64,
}

impl Fake {
    pub(super) fn with_jobs(jobs: impl IntoIterator<Item = u32>) -> Self {
        let fake = Self { ttl_ms: TTL_MS, ..Self::default() };
        fake.state().waiting.extend(jobs);
        fake
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn lease_of(&self, number: u32) -> v1::Lease {
        let token = FencingToken(100 + u64::from(number));
        Lease {
            job: job(number),
            token,
            attempt: 1,
            ttl_ms: self.ttl_ms,
            waited_ms: 0,
            attempt_waited_ms: 0,
            asked: None,
        }
        .into()
    }

    /// Serves on a free port.
    pub(super) async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = WorkerServiceServer::new(self.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// Waits until `count` events are written down, and returns them in order.
    pub(super) async fn events(&self, count: usize) -> Vec<Event> {
        for _ in 0..LOOKS {
            let mut events = self.state().events.clone();
            if events.len() >= count {
                events.sort();
                return events;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{:?} instead of {count} events", self.state().events);
    }

    /// Waits until the worker asked for work `count` times.
    pub(super) async fn requests(&self, count: usize) {
        for _ in 0..LOOKS {
            if self.state().requests.len() >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{:?} instead of {count} requests", self.state().requests);
    }
}

pub(super) fn job(number: u32) -> JobSpec {
    JobSpec {
        id: JobId::new(Uid::parse("1.2.3").unwrap(), number),
        kind: JobKind::Read(ImageKind::Xray),
        images: Vec::new(),
        body_part: None,
        priority: Priority::Routine,
        demand: Default::default(),
        told: None,
        compared: None,
    }
}

fn number(lease: &Option<v1::HeldLease>) -> (u32, u64) {
    let lease = lease.as_ref().expect("a lease");
    (JobId::parse(&lease.job_id).unwrap().number(), lease.token)
}

#[tonic::async_trait]
impl WorkerService for Fake {
    async fn lease(&self, request: Request<v1::LeaseRequest>) -> Result<Response<v1::LeaseResponse>, Status> {
        let message = request.into_inner();
        assert_eq!(message.kinds, [v1::JobKind::ReadXray as i32]);
        assert_eq!((message.model.as_str(), message.prompts.as_slice()), ("a model", ["p".to_owned()].as_slice()));
        let next = {
            let mut state = self.state();
            state.requests.push((message.request_id, message.studies_held));
            if state.lease_errors > 0 {
                state.lease_errors -= 1;
                return Err(Status::unavailable("stopping"));
            }
            state.workers.push(message.worker_id);
            state.waiting.pop_front()
        };
        let Some(next) = next else {
            tokio::time::sleep(std::time::Duration::from_millis(message.wait_ms)).await;
            return Ok(Response::new(v1::LeaseResponse::default()));
        };
        Ok(Response::new(v1::LeaseResponse { lease: Some(self.lease_of(next)), drain: false }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let mut state = self.state();
        let request = request.into_inner();
        if let Some(status) = &request.status {
            state.heartbeats.push(status.slots);
        }
        if request.leaving {
            state.left += 1;
        }
        let drain = state.drain;
        let answer = |lease: v1::HeldLease| {
            let (number, _) = number(&Some(lease.clone()));
            *state.renewals.entry(number).or_default() += 1;
            let status = state.ended.get(&number).copied().unwrap_or(v1::LeaseStatus::Renewed);
            v1::RenewedLease { job_id: lease.job_id, status: status as i32, ttl_ms: self.ttl_ms }
        };
        let leases = request.leases.into_iter().map(answer).collect();
        Ok(Response::new(v1::RenewResponse { leases, drain, shares_name: false }))
    }

    async fn complete(&self, request: Request<v1::CompleteRequest>) -> Result<Response<v1::CompleteResponse>, Status> {
        let mut state = self.state();
        let request = request.into_inner();
        let lease = request.lease;
        let (number, token) = number(&lease);
        if let Some(code) = state.complete_errors.pop_front() {
            // As the coordinator says it: with the job's whole id.
            let job = lease.map(|lease| lease.job_id).unwrap_or_default();
            return Err(Status::new(code, format!("job {job} is not completed")));
        }
        state.events.push(Event::Completed(number, token));
        if let Some(next) = &request.next {
            state.nexts.push((next.request_id.clone(), next.repeated));
        }
        let next = request.next.and_then(|_| state.waiting.pop_front()).map(|next| self.lease_of(next));
        Ok(Response::new(v1::CompleteResponse { next, drain: false }))
    }

    async fn fail(&self, request: Request<v1::FailRequest>) -> Result<Response<v1::FailResponse>, Status> {
        let message = request.into_inner();
        let (number, _) = number(&message.lease);
        self.state().events.push(Event::Failed(number, message.reason, message.retryable));
        Ok(Response::new(v1::FailResponse { will_retry: message.retryable }))
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        let (number, token) = number(&request.into_inner().lease);
        self.state().events.push(Event::Released(number, token));
        Ok(Response::new(v1::ReleaseResponse {}))
    }

    type ReadObjectStream = tokio_stream::Iter<std::vec::IntoIter<Result<v1::ReadObjectResponse, Status>>>;

    async fn read_object(&self, _: Request<v1::ReadObjectRequest>) -> Result<Response<Self::ReadObjectStream>, Status> {
        Ok(Response::new(tokio_stream::iter(Vec::new())))
    }
}
