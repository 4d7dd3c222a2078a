//! What a coordinator adds to a study's trace. Without a collector set up, nothing.
//!
//! **Invariant**: no UID, name or text of a report is in a span: what a collector keeps, it keeps elsewhere and for long.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span as _, SpanBuilder, SpanId, SpanKind, Status, TraceId};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use prelim_proto::cost::StudyCost;
use prelim_proto::ids::Uid;
use prelim_proto::image::ImageKind;
use prelim_proto::job::{JobKind, JobOutcome, JobSpec, JobState, Lease};
use prelim_proto::trace::StudyTrace;

use crate::service::Coordinator;
use crate::store::record::JobRecord;

/// A job as the store lists it.
pub(crate) type StudyJob = (JobRecord, JobSpec, Option<JobOutcome>);

thread_local! {
    /// The study whose root is begun on this thread at this moment.
    static ROOT: Cell<Option<StudyTrace>> = const { Cell::new(None) };
}

/// Random ids, except for a study's root, whose ids everybody knows.
#[derive(Debug, Default)]
pub struct StudyIds(RandomIdGenerator);

impl IdGenerator for StudyIds {
    fn new_trace_id(&self) -> TraceId {
        ROOT.get().map_or_else(|| self.0.new_trace_id(), |root| TraceId::from(root.trace_id))
    }

    fn new_span_id(&self) -> SpanId {
        ROOT.get().map_or_else(|| self.0.new_span_id(), |root| SpanId::from(root.root_span_id))
    }
}

/// Adds something that began at `began` and ended now.
pub(crate) fn add<const N: usize>(study: &Uid, name: &'static str, began: SystemTime, attributes: [KeyValue; N]) {
    let parent = StudyTrace::of(study).context();
    builder(name, began, attributes).start_with_context(&global::tracer("prelim"), &parent).end();
}

/// Adds how long a job waited for the worker that has it now, since it was last ready.
pub(crate) fn add_wait(lease: &Lease) {
    let began = SystemTime::now() - Duration::from_millis(lease.attempt_waited_ms);
    let job = &lease.job;
    let kind = match job.kind {
        JobKind::Read(ImageKind::Xray) => "xray",
        JobKind::Read(ImageKind::Ct) => "ct",
        JobKind::Merge => "merge",
        JobKind::Answer => "answer",
    };
    let attributes = [
        KeyValue::new("prelim.job.number", i64::from(job.id.number())),
        KeyValue::new("prelim.job.kind", kind),
        KeyValue::new("prelim.job.attempt", i64::from(lease.attempt)),
    ];
    add(job.id.study(), "wait", began, attributes);
}

/// Adds the root, from the first instance to the first draft, or to the end without one and why.
pub(crate) fn add_root(study: &Uid, received_at_ms: i64, failure: Option<&'static str>) {
    let began = SystemTime::UNIX_EPOCH + Duration::from_millis(received_at_ms.max(0) as u64);
    ROOT.set(Some(StudyTrace::of(study)));
    let mut root = builder("study", began, []).start_with_context(&global::tracer("prelim"), &Context::new());
    ROOT.set(None);
    if let Some(why) = failure {
        root.set_status(Status::error(why));
    }
    root.end();
}

/// What a study is called in logs.
pub(crate) fn hash(study: &Uid) -> String {
    StudyTrace::of(study).id()
}

/// Whether a study's root was added, as far as its records tell. Jobs are forgotten when a study is opened again, the time
/// that merges took is kept: only one that was stopped, or failed without a merge, and is sent again has a second root.
pub(crate) fn has_root(drafts: u32, cost: &StudyCost, jobs: &[StudyJob]) -> bool {
    let was_merged = |(job, ..): &StudyJob| job.kind == JobKind::Merge && job.state == JobState::Done;
    drafts > 0 || cost.report_ms > 0.0 || jobs.iter().any(was_merged)
}

impl Coordinator {
    /// Ends the trace of a study that ended without a merge.
    pub(crate) async fn end_trace(&self, study: &Uid, why: &'static str) {
        // Where the store does not answer, the trace stays without a root.
        if let (Ok(record), Ok(jobs)) = (self.record(study).await, self.store.jobs(study).await)
            && !has_root(record.draft_version, &record.cost, &jobs)
        {
            add_root(study, record.received_at_ms, Some(why));
        }
    }
}

fn builder<const N: usize>(name: &'static str, began: SystemTime, attributes: [KeyValue; N]) -> SpanBuilder {
    SpanBuilder::from_name(name).with_kind(SpanKind::Internal).with_start_time(began).with_attributes(attributes)
}
