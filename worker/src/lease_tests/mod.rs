//! The loop against a coordinator that writes down what it is told.

mod fake;

use std::sync::atomic::{AtomicUsize, Ordering};

use prelim_proto::cost::JobCost;
use prelim_proto::ids::Digest;
use prelim_proto::image::ImageKind;
use prelim_proto::report::ModelProvenance;
use prelim_proto::v1::WorkerStatus;
use tonic::Code;

use super::*;
use crate::connection::ConnectionArgs;
use crate::engine::request::EngineError;
use crate::logged::Logged;
use fake::{Event, Fake, TTL_MS};

/// Does each job as its number says.
#[derive(Default)]
struct Script {
    running: AtomicUsize,
    most: AtomicUsize,
    dropped: Arc<AtomicUsize>,
}

/// Counts a job that is given up before it ends.
struct Guard(Arc<AtomicUsize>, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(usize::from(!self.1), Ordering::Relaxed);
    }
}

const LONG: u32 = 50;
const BLOCKING: u32 = 60;
const FAILING: u32 = 70;
const FATAL: u32 = 80;

impl Work for Script {
    fn kinds(&self) -> Vec<JobKind> {
        vec![JobKind::Read(ImageKind::Xray)]
    }

    fn offer(&self) -> Offer {
        Offer::from_wire("a model", &[], &["p".to_owned()]).unwrap()
    }

    async fn run(&self, lease: &Lease) -> Result<JobOutcome, JobError> {
        let mut guard = Guard(Arc::clone(&self.dropped), false);
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(running, Ordering::Relaxed);
        match lease.job.id.number() {
            LONG => tokio::time::sleep(Duration::from_secs(3_600)).await,
            // Longer than the lease, on a thread of the runtime, as inference must never be.
            BLOCKING => std::thread::sleep(Duration::from_millis(2 * TTL_MS)),
            _ => tokio::time::sleep(Duration::from_millis(30)).await,
        }
        self.running.fetch_sub(1, Ordering::Relaxed);
        guard.1 = true;
        match lease.job.id.number() {
            FAILING => Err(JobError::Kind("X-rays")),
            FATAL => Err(EngineError::Stopped.into()),
            _ => Ok(outcome()),
        }
    }
}

fn outcome() -> JobOutcome {
    JobOutcome {
        findings: Vec::new(),
        frames_read: 1,
        unread: Vec::new(),
        truncated: false,
        limitations: Vec::new(),
        model: ModelProvenance {
            name: "none".to_owned(),
            digest: Digest::from_bytes(&[0; 32]),
            prompt_version: "1".to_owned(),
            preprocess_version: "1".to_owned(),
            arithmetic: "none".to_owned(),
            software_version: "1".to_owned(),
            demonstration: true,
            base: None,
        },
        cost: JobCost::default(),
        answer: None,
    }
}

struct Running {
    work: Arc<Script>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<bool>,
}

impl Running {
    async fn start(fake: &Fake, slots: usize, drain: Duration) -> Self {
        let address = fake.serve().await.to_string();
        let coordinator = Coordinator::new(&ConnectionArgs::to(&address), "w").unwrap();
        let status = WorkerStatus { slots: 7, ..WorkerStatus::default() };
        let renewer = Renewer::start(ConnectionArgs::to(&address), "w".to_owned(), status).unwrap();
        let (work, stop) = (Arc::new(Script::default()), CancellationToken::new());
        let serving = serve(Arc::clone(&work), coordinator, renewer, slots, drain, stop.clone());
        Self { work, stop, serving: tokio::spawn(serving) }
    }

    async fn stop(self) -> bool {
        self.stop.cancel();
        self.serving.await.unwrap()
    }
}

const NO_DRAIN: Duration = Duration::ZERO;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_is_done_once_under_its_token_and_slots_are_kept() {
    let fake = Fake::with_jobs(0..9);
    let running = Running::start(&fake, 3, NO_DRAIN).await;
    let expected: Vec<_> = (0..9).map(|number| Event::Completed(number, 100 + u64::from(number))).collect();
    assert_eq!(fake.events(9).await, expected);
    assert_eq!(running.work.most.load(Ordering::Relaxed), 3);
    assert!(running.stop().await);
}

#[tokio::test(flavor = "current_thread")]
async fn a_job_that_blocks_the_runtime_keeps_its_lease() {
    let fake = Fake::with_jobs([BLOCKING]);
    // The coordinator must not share the thread that is blocked.
    let (sender, receiver) = std::sync::mpsc::channel();
    let served = fake.clone();
    std::thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            sender.send(served.serve().await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let address = receiver.recv().unwrap().to_string();
    let coordinator = Coordinator::new(&ConnectionArgs::to(&address), "w").unwrap();
    let status = WorkerStatus { slots: 7, ..WorkerStatus::default() };
    let renewer = Renewer::start(ConnectionArgs::to(&address), "w".to_owned(), status).unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(Arc::new(Script::default()), coordinator, renewer, 1, NO_DRAIN, stop.clone()));
    assert_eq!(fake.events(1).await, [Event::Completed(BLOCKING, 160)]);
    let renewals = fake.state().renewals[&BLOCKING];
    assert!(renewals >= 2, "{renewals} renewals of a job of two leases");
    stop.cancel();
    assert!(serving.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_or_cancelled_lease_ends_the_work_and_nothing_is_handed_in() {
    for status in [prelim_proto::v1::LeaseStatus::Lost, prelim_proto::v1::LeaseStatus::Cancelled] {
        let fake = Fake::with_jobs([LONG, 1]);
        fake.state().ended.insert(LONG, status);
        let running = Running::start(&fake, 1, NO_DRAIN).await;
        assert_eq!(fake.events(1).await, [Event::Completed(1, 101)], "the slot was free again");
        assert_eq!(running.work.dropped.load(Ordering::Relaxed), 1);
        assert!(running.stop().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_work_is_finished_in_time_or_given_back() {
    let fake = Fake::with_jobs([LONG, 1]);
    let running = Running::start(&fake, 2, Duration::from_secs(3)).await;
    while running.work.most.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(running.stop().await);
    assert_eq!(fake.events(2).await, [Event::Completed(1, 101), Event::Released(LONG, 150)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_handed_in_again_while_the_coordinator_is_away() {
    let fake = Fake::with_jobs([1]);
    fake.state().lease_errors = 2;
    fake.state().complete_errors.extend([Code::Unavailable, Code::DeadlineExceeded]);
    let running = Running::start(&fake, 1, NO_DRAIN).await;
    assert_eq!(fake.events(1).await, [Event::Completed(1, 101)]);
    fake.requests(4).await;
    assert!(running.stop().await);
    // A request for work that was not answered is repeated as it was; the next one is another, with what is at hand.
    let requests = fake.state().requests.clone();
    assert_eq!((&requests[0], &requests[1]), (&requests[2], &requests[2]));
    assert!(requests[3].0 != requests[2].0 && requests[3].1 == ["1.2.3"], "{requests:?}");
    // So is the one for the next job that went along with the outcome.
    let nexts = fake.state().nexts.clone();
    assert!(matches!(&nexts[..], [(name, true)] if *name != requests[2].0), "{nexts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_job_comes_along_with_the_answer_to_the_last() {
    let fake = Fake::with_jobs(0..4);
    let running = Running::start(&fake, 1, NO_DRAIN).await;
    fake.events(4).await;
    // One request for the first, and one that waits for a fifth.
    fake.requests(2).await;
    assert_eq!(fake.state().requests.len(), 2);
    assert_eq!(fake.state().nexts.len(), 4);
    assert!(running.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_handed_in_also_when_a_renewal_calls_its_lease_lost() {
    let fake = Fake::with_jobs([1]);
    fake.state().complete_errors.extend([Code::Unavailable; 100]);
    let running = Running::start(&fake, 1, NO_DRAIN).await;
    while fake.state().complete_errors.len() == 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It was stored, and only the answer did not come: to a renewal the lease is gone.
    let renewals = || fake.state().renewals.get(&1).copied().unwrap_or_default();
    let before = renewals();
    fake.state().ended.insert(1, prelim_proto::v1::LeaseStatus::Lost);
    while renewals() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fake.state().complete_errors.clear();
    assert_eq!(fake.events(1).await, [Event::Completed(1, 101)]);
    assert!(running.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_worker_finishes_what_it_has_and_stops() {
    let fake = Fake::with_jobs([1, BLOCKING]);
    let running = Running::start(&fake, 2, NO_DRAIN).await;
    fake.events(1).await;
    {
        let mut state = fake.state();
        assert_eq!(state.heartbeats, [7], "it made itself known once");
        state.waiting.clear();
        state.drain = true;
    }
    // Heard with the next renewal.
    assert!(running.serving.await.unwrap());
    assert_eq!(fake.events(2).await, [Event::Completed(1, 101), Event::Completed(BLOCKING, 160)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_comes_too_late_or_is_not_taken_is_not_pressed() {
    let fake = Fake::with_jobs([1, 2, 3]);
    fake.state().complete_errors.extend([Code::FailedPrecondition, Code::InvalidArgument]);
    let running = Running::start(&fake, 1, NO_DRAIN).await;
    let events = fake.events(2).await;
    assert_eq!(events[0], Event::Completed(3, 103));
    assert!(matches!(&events[1], Event::Failed(2, reason, false) if reason.contains("outcome not taken")));
    assert!(running.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_says_whether_another_try_may_help_and_a_fatal_one_ends_the_worker() {
    let fake = Fake::with_jobs([FAILING, FATAL]);
    let running = Running::start(&fake, 1, NO_DRAIN).await;
    assert!(!running.serving.await.unwrap());
    assert_eq!(
        fake.events(2).await,
        [
            Event::Failed(FAILING, "the model reads no X-rays".to_owned(), false),
            Event::Failed(FATAL, "engine has stopped".to_owned(), true),
        ]
    );
}

// On one thread, where everything that is logged is seen.
#[tokio::test]
async fn what_is_logged_names_jobs_by_number_and_no_study() {
    let logged = Logged::start();
    let fake = Fake::with_jobs([1, 2, 3, FAILING]);
    fake.state().complete_errors.extend([Code::Unavailable, Code::FailedPrecondition, Code::InvalidArgument]);
    let running = Running::start(&fake, 1, NO_DRAIN).await;
    let events = fake.events(3).await;
    assert!(matches!(&events[1], Event::Failed(2, reason, false) if !reason.contains("1.2.3")), "{events:?}");
    assert!(running.stop().await);
    let text = logged.text();
    for said in ["job.number=1 ", "not handed in yet", "outcome dropped", "outcome not taken", "job.number=70 "] {
        assert!(text.contains(said), "{said:?} is not in {text}");
    }
    assert!(!text.contains("1.2.3"), "{text}");
}
