//! What a coordinator tells of itself in numbers, for Prometheus, and whether it is alive and ready.
//!
//! **Invariant**: labels are words of ours or of the site's rules; nothing of a study or a patient is in any of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::future::BoxFuture;
use prelim_proto::cost::JobCost;
use prelim_proto::image::ImageKind;
use prelim_proto::report::Report;
use prelim_proto::review::Decision;
use prelim_proto::study::CompletionReason;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::report::present;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::delivery::DeliveryState;

/// A counter a word.
type Counters = Family<[(&'static str, &'static str); 1], Counter>;
/// A gauge a model and prompt, by the names that rules give.
type Demands = Family<[(&'static str, String); 2], Gauge>;
/// A histogram a word.
type Histograms = Family<[(&'static str, &'static str); 1], Histogram>;

/// What an upload can find at its limit.
const REASONS: [&str; 5] = ["open_studies", "open_studies_of_tenant", "store_full", "bytes_full", "failure"];
/// How an attempt to send a draft can end.
const DELIVERIES: [&str; 7] = ["sent", "committed", "retried", "refused", "given_up", "superseded", "empty"];
/// What a study may be called complete by.
const COMPLETIONS: [CompletionReason; 6] = [
    CompletionReason::Told,
    CompletionReason::CountReached,
    CompletionReason::StepsPerformed,
    CompletionReason::AssociationsEnded,
    CompletionReason::QuietPeriod,
    CompletionReason::MaximumWait,
];
/// Kinds of HTTP answers, from 200 on.
const ANSWERS: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// What HTTP requests ask for.
const OPERATIONS: [&str; 17] = [
    "store",
    "search",
    "instances",
    "metadata",
    "frames",
    "bulkdata",
    "rendered",
    "preflight",
    "page",
    "page_session",
    "page_worklist",
    "page_events",
    "page_study",
    "page_pixels",
    "page_agreement",
    "page_questions",
    "none",
];
/// What may come of a password, or of what an issuer says.
const SIGN_INS: [&str; 3] = ["signed_in", "refused", "slowed"];
/// How long the store may take before a coordinator counts as not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// The media type that Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The last line of what is told, of which there is one.
const END: &str = "# EOF\n";

/// The numbers.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) leases_lost: Counter,
    pub(crate) jobs_leased: Counter,
    jobs_finished: Counters,
    studies_completed: Counters,
    studies_settled: Counters,
    pub(crate) studies_removed: Counter,
    instances_received: Counters,
    intake_refused: Counters,
    reviews: Counters,
    findings_assessed: Counters,
    sign_ins: Counters,
    access_outdated: Family<[(&'static str, &'static str); 1], Gauge>,
    pub(crate) questions_asked: Counter,
    questions: Counters,
    question_answer: Histogram,
    deliveries: Counters,
    delivery_time: Histogram,
    job_wait: Histogram,
    job_read: Histogram,
    study_turnaround: Histogram,
    store_operation: Histograms,
    store_errors: Counter,
    deidentified: Histograms,
    pub(crate) http_in_flight: Gauge,
    http_answers: Counters,
    http_request: Histograms,
    depth: Depth,
}

/// Numbers that are looked up when they are asked for.
#[derive(Default)]
struct Depth {
    ready: Gauge,
    leased: Gauge,
    delayed: Gauge,
    dead: Gauge,
    open: Gauge,
    questions: Gauge,
    age: Gauge<f64, AtomicU64>,
    gpu_seconds: Gauge<f64, AtomicU64>,
    demanded: Demands,
    unmet: Gauge,
    deliveries: Family<[(&'static str, String); 1], Gauge>,
}

/// The word of a label.
fn completion_word(reason: CompletionReason) -> &'static str {
    match reason {
        CompletionReason::Told => "told",
        CompletionReason::CountReached => "count_reached",
        CompletionReason::StepsPerformed => "steps_performed",
        CompletionReason::AssociationsEnded => "associations_ended",
        CompletionReason::QuietPeriod => "quiet_period",
        CompletionReason::MaximumWait => "maximum_wait",
    }
}

/// Seconds from milliseconds to hours.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 20))
}

/// Seconds from tens of microseconds to seconds.
fn short_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let new = Self {
            registry: Registry::with_prefix("prelim"),
            leases_lost: Counter::default(),
            jobs_leased: Counter::default(),
            jobs_finished: Counters::default(),
            studies_completed: Counters::default(),
            studies_settled: Counters::default(),
            studies_removed: Counter::default(),
            instances_received: Counters::default(),
            intake_refused: Counters::default(),
            reviews: Counters::default(),
            findings_assessed: Counters::default(),
            sign_ins: Counters::default(),
            access_outdated: Family::default(),
            questions_asked: Counter::default(),
            questions: Counters::default(),
            question_answer: seconds(),
            deliveries: Counters::default(),
            delivery_time: seconds(),
            job_wait: seconds(),
            job_read: seconds(),
            study_turnaround: seconds(),
            store_operation: Histograms::new_with_constructor(short_seconds),
            store_errors: Counter::default(),
            deidentified: Histograms::new_with_constructor(seconds),
            http_in_flight: Gauge::default(),
            http_answers: Counters::default(),
            http_request: Histograms::new_with_constructor(seconds),
            depth: Depth::default(),
        };
        new.registered()
    }
}

impl Metrics {
    /// Gives every number its name and meaning: the list of what is told. What has not happened yet is told as 0.
    fn registered(mut self) -> Self {
        let known: [(&Counters, &'static str, &[&'static str]); 11] = [
            (&self.sign_ins, "result", &SIGN_INS),
            (&self.studies_completed, "reason", &COMPLETIONS.map(completion_word)),
            (&self.jobs_finished, "result", &["done", "retried", "dead"]),
            (&self.studies_settled, "state", &["drafted", "failed", "cancelled", "skipped"]),
            (&self.instances_received, "verdict", &["accepted", "duplicate", "refused"]),
            (&self.intake_refused, "reason", &REASONS),
            (&self.reviews, "standing", &["signed", "amended", "rejected"]),
            (&self.findings_assessed, "decision", &Decision::ALL.map(Decision::as_str)),
            (&self.deliveries, "result", &DELIVERIES),
            (&self.questions, "result", &["answered", "failed", "withdrawn"]),
            (&self.http_answers, "status", &ANSWERS),
        ];
        for (counters, label, words) in known {
            for word in words {
                drop(counters.get_or_create(&[(label, *word)]));
            }
        }
        for name in OPERATIONS {
            drop(self.http_request.get_or_create(&[("operation", name)]));
        }
        for result in ["given", "refused"] {
            drop(self.deidentified.get_or_create(&[("result", result)]));
        }
        drop(self.depth.demanded.get_or_create(&[("model", String::new()), ("prompt", String::new())]));
        let depth = &self.depth;
        let all = &mut self.registry;
        all.register("jobs_ready", "Read jobs that wait for a worker, now or after a pause", depth.ready.clone());
        all.register("jobs_leased", "Read jobs that run", depth.leased.clone());
        all.register("jobs_delayed", "Jobs that pause after a failure", depth.delayed.clone());
        all.register("jobs_dead", "Jobs that were given up", depth.dead.clone());
        all.register("studies_open", "Studies that are not settled", depth.open.clone());
        all.register("backlog_age_seconds", "How long the next job has waited", depth.age.clone());
        let help = "Work that waits and runs, in expected seconds of one worker";
        all.register("backlog_gpu_seconds", help, depth.gpu_seconds.clone());
        let help = "Read jobs that wait, by the model and prompt that they demand; both are empty where any will do";
        all.register("jobs_demanded", help, depth.demanded.clone());
        let help = "Read jobs that wait for a model or prompt that no worker offers";
        all.register("jobs_without_worker", help, depth.unmet.clone());
        let help = "Drafts that are on their way to a destination, up to 1,000";
        all.register("deliveries_open", help, depth.deliveries.clone());
        all.register("leases_lost", "Leases that ran out, or were renewed too late", self.leases_lost.clone());
        all.register("jobs_leased", "Jobs given to workers", self.jobs_leased.clone());
        all.register("jobs_finished", "Attempts that ended: done, retried, dead", self.jobs_finished.clone());
        let help = "Studies that were called complete, by the reason";
        all.register("studies_completed", help, self.studies_completed.clone());
        let help = "Studies that were settled: drafted, failed, cancelled, skipped";
        all.register("studies_settled", help, self.studies_settled.clone());
        all.register("studies_removed", "Studies that were removed", self.studies_removed.clone());
        let help = "Instances received: accepted, duplicate, refused";
        all.register("instances_received", help, self.instances_received.clone());
        let help = "Calls to take in studies that were refused, by what was at its limit";
        all.register("intake_refused", help, self.intake_refused.clone());
        let help = "Reports that were reviewed: signed, amended, rejected";
        all.register("reviews", help, self.reviews.clone());
        let help = "Findings that reviewers decided on: accepted, changed, rejected, added";
        all.register("findings_assessed", help, self.findings_assessed.clone());
        all.register("questions_asked", "Questions about studies that were asked", self.questions_asked.clone());
        let help = "Questions that are over: answered, failed, withdrawn";
        all.register("questions", help, self.questions.clone());
        let help = "From a question to its answer";
        all.register("question_answer_seconds", help, self.question_answer.clone());
        let help = "Questions that wait for a worker, or are being answered";
        all.register("questions_open", help, depth.questions.clone());
        let help = "Sign-ins on the page: signed_in, refused, slowed";
        all.register("sign_ins", help, self.sign_ins.clone());
        let help =
            "Files of accounts and rules of access that were changed and cannot be used: what they said before counts";
        all.register("access_files_outdated", help, self.access_outdated.clone());
        let help = "Attempts to send a draft: sent, committed, retried, refused, given_up, superseded, empty";
        all.register("deliveries", help, self.deliveries.clone());
        all.register("delivery_seconds", "From a draft to its destination's yes", self.delivery_time.clone());
        all.register("job_wait_seconds", "From a job's queueing to its lease", self.job_wait.clone());
        all.register("job_read_seconds", "A worker's time for a job", self.job_read.clone());
        let help = "From a study's first instance to its draft";
        all.register("study_turnaround_seconds", help, self.study_turnaround.clone());
        all.register("store_operation_seconds", "Time of the store's operations", self.store_operation.clone());
        all.register("store_errors", "Operations that the store did not carry out", self.store_errors.clone());
        let help = "Time to de-identify an object for a worker, that of reading it included: given, refused";
        all.register("deidentify_seconds", help, self.deidentified.clone());
        all.register(
            "http_requests_in_flight",
            "HTTP requests that are served: DICOMweb and the page",
            self.http_in_flight.clone(),
        );
        all.register("http_answers", "HTTP answers, by the kind of their status", self.http_answers.clone());
        let help = "Time of an HTTP request, to the end of its answer";
        all.register("http_request_seconds", help, self.http_request.clone());
        self
    }

    pub(crate) fn job_finished(&self, result: &'static str) {
        self.jobs_finished.get_or_create(&[("result", result)]).inc();
    }

    pub(crate) fn job_done(&self, cost: &JobCost) {
        self.job_finished("done");
        self.job_read.observe(cost.spent_s());
    }

    /// An object was de-identified for a worker, or could not be.
    pub(crate) fn deidentified(&self, given: bool, took: Duration) {
        let result = if given { "given" } else { "refused" };
        self.deidentified.get_or_create(&[("result", result)]).observe(took.as_secs_f64());
    }

    pub(crate) fn job_given(&self, waited_ms: u64) {
        self.jobs_leased.inc();
        self.job_wait.observe(waited_ms as f64 / 1_000.0);
    }

    pub(crate) fn study_completed(&self, reason: CompletionReason) {
        self.studies_completed.get_or_create(&[("reason", completion_word(reason))]).inc();
    }

    pub(crate) fn study_settled(&self, state: &'static str) {
        self.studies_settled.get_or_create(&[("state", state)]).inc();
    }

    /// A draft of a study whose first instance came at `received_at_ms`.
    pub(crate) fn study_drafted(&self, received_at_ms: i64) {
        self.study_settled("drafted");
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        self.study_turnaround.observe((now_ms - received_at_ms).max(0) as f64 / 1_000.0);
    }

    /// A report was reviewed.
    pub(crate) fn reviewed(&self, report: &Report) {
        self.reviews.get_or_create(&[("standing", present::standing_word(report.standing()))]).inc();
        for assessment in report.review.iter().flat_map(|review| &review.assessments) {
            self.findings_assessed.get_or_create(&[("decision", assessment.decision.as_str())]).inc();
        }
    }

    /// An attempt to send a draft that was noted at `created_at_ms` ended so.
    pub(crate) fn delivery(&self, state: DeliveryState, created_at_ms: i64) {
        let result = match state {
            DeliveryState::Waiting | DeliveryState::Sending => "retried",
            DeliveryState::Sent | DeliveryState::Committing => "sent",
            DeliveryState::Committed => "committed",
            DeliveryState::Refused => "refused",
            DeliveryState::GivenUp => "given_up",
            DeliveryState::Superseded => "superseded",
            DeliveryState::Empty => "empty",
        };
        self.deliveries.get_or_create(&[("result", result)]).inc();
        if result == "sent" {
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
            self.delivery_time.observe((now_ms - created_at_ms).max(0) as f64 / 1_000.0);
        }
    }

    /// Somebody signed in to the page, or was not let in.
    pub(crate) fn signed_in(&self, result: &'static str) {
        self.sign_ins.get_or_create(&[("result", result)]).inc();
    }

    /// Which files of access are not as they are read.
    pub(crate) fn access_outdated(&self, files: [(&'static str, bool); 2]) {
        for (file, is_outdated) in files {
            self.access_outdated.get_or_create(&[("file", file)]).set(i64::from(is_outdated));
        }
    }

    /// A question is over.
    pub(crate) fn question(&self, result: &'static str) {
        self.questions.get_or_create(&[("result", result)]).inc();
    }

    /// A question was answered so long after it was asked.
    pub(crate) fn question_answered(&self, after_ms: i64) {
        self.question_answer.observe(after_ms.max(0) as f64 / 1_000.0);
    }

    pub(crate) fn instance_received(&self, verdict: &'static str) {
        self.instances_received.get_or_create(&[("verdict", verdict)]).inc();
    }

    pub(crate) fn intake_refused(&self, reason: &'static str) {
        self.intake_refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// An HTTP request was answered with this status.
    pub(crate) fn http_answered(&self, status: u16) {
        let kind = ANSWERS[usize::from(status / 100).clamp(2, 5) - 2];
        self.http_answers.get_or_create(&[("status", kind)]).inc();
    }

    pub(crate) fn http_request(&self, operation: &'static str, took: Duration) {
        self.http_request.get_or_create(&[("operation", operation)]).observe(took.as_secs_f64());
    }

    pub(crate) fn store_operation(&self, operation: &'static str, took: Duration, failed: bool) {
        self.store_operation.get_or_create(&[("operation", operation)]).observe(took.as_secs_f64());
        self.store_errors.inc_by(failed.into());
    }
}

/// What else is told with a coordinator's numbers, as text for Prometheus: those of a worker in the same process.
pub struct Beside(Box<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>);

impl Beside {
    /// What `text` tells each time that it is asked, if anything.
    pub fn new(text: impl Fn() -> BoxFuture<'static, Option<String>> + Send + Sync + 'static) -> Self {
        Self(Box::new(text))
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

/// Serves the numbers, and whether the coordinator is alive and ready, until it stops.
pub(crate) async fn serve(
    coordinator: Arc<Coordinator>,
    listener: TcpListener,
    beside: Option<Beside>,
) -> std::io::Result<()> {
    let stopping = coordinator.stopping.clone();
    let beside = beside.map(Arc::new);
    let routes = Router::new()
        .route("/metrics", get(move |coordinator| metrics(coordinator, beside)))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .with_state(coordinator);
    axum::serve(listener, routes).with_graceful_shutdown(stopping.cancelled_owned()).await
}

async fn metrics(State(coordinator): State<Arc<Coordinator>>, beside: Option<Arc<Beside>>) -> impl IntoResponse {
    let numbers = &coordinator.metrics;
    // Where the store does not answer, what is known without it is told.
    if let Ok(Ok(depth)) = tokio::time::timeout(READY_WITHIN, coordinator.depth()).await {
        let gauges = &numbers.depth;
        gauges.ready.set(depth.ready.reads() as i64);
        gauges.leased.set(depth.leased.reads() as i64);
        gauges.delayed.set(depth.delayed as i64);
        gauges.dead.set(depth.dead as i64);
        gauges.open.set(depth.open_studies as i64);
        gauges.questions.set((depth.ready.answer + depth.leased.answer) as i64);
        gauges.age.set(depth.longest_wait_ms.max(0) as f64 / 1_000.0);
        if let Ok(demanded) = coordinator.demanded(&depth).await {
            let unmet = demanded.iter().filter(|(_, workers)| *workers == 0).map(|(each, _)| each.ready.reads());
            gauges.unmet.set(unmet.sum::<u64>() as i64);
            gauges.demanded.clear();
            let any = depth.ready.reads().saturating_sub(demanded.iter().map(|(each, _)| each.ready.reads()).sum());
            gauges.demanded.get_or_create(&[("model", String::new()), ("prompt", String::new())]).set(any as i64);
            for (each, _) in demanded {
                let [model, prompt] = [each.demand.model.map(Into::into), each.demand.prompt.map(Into::into)];
                let labels = [("model", model.unwrap_or_default()), ("prompt", prompt.unwrap_or_default())];
                gauges.demanded.get_or_create(&labels).set(each.ready.reads() as i64);
            }
        }
        gauges.gpu_seconds.set(coordinator.needs.backlog_s(&depth, &[ImageKind::Xray, ImageKind::Ct]));
    }
    if let Ok(Ok(open)) = tokio::time::timeout(READY_WITHIN, coordinator.deliveries_open()).await {
        let gauges = &numbers.depth.deliveries;
        gauges.clear();
        for (destination, count) in open {
            gauges.get_or_create(&[("destination", destination)]).set(count as i64);
        }
    }
    let mut text = String::new();
    let encoded = encode(&mut text, &numbers.registry);
    if let Some(beside) = beside
        && let Some(more) = (beside.0)().await
    {
        text.truncate(text.trim_end_matches(END).len());
        text.push_str(&more);
    }
    match encoded {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, OPEN_METRICS)], text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new()),
    }
}

async fn ready(State(coordinator): State<Arc<Coordinator>>) -> (StatusCode, &'static str) {
    if coordinator.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if coordinator.bytes.check_place().is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the folder for bytes was moved, or its volume is gone\n");
    }
    match tokio::time::timeout(READY_WITHIN, coordinator.depth()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ready\n"),
        Ok(Err(ServiceError::Store(StoreError::Disk(_)))) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the disk of the data folder fails, or the folder was moved\n")
        }
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n"),
    }
}
