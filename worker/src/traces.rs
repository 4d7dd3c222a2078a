//! What a worker adds to a study's trace: an attempt at a job, and its steps. Without a collector set up, nothing.
//!
//! **Invariant**: no UID, name or text of a report is in a span.

use opentelemetry::trace::{FutureExt as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use prelim_proto::ids::Uid;
use prelim_proto::job::Lease;
use prelim_proto::trace::StudyTrace;

/// Does a job in a span of the study's trace.
pub(crate) async fn job<T>(lease: &Lease, doing: impl Future<Output = T>) -> T {
    let parent = StudyTrace::of(lease.job.id.study()).context();
    let attributes = [
        KeyValue::new("prelim.job.number", i64::from(lease.job.id.number())),
        KeyValue::new("prelim.job.attempt", i64::from(lease.attempt)),
        KeyValue::new("prelim.job.images", lease.job.images.len() as i64),
    ];
    let builder = SpanBuilder::from_name("job").with_kind(SpanKind::Consumer).with_attributes(attributes);
    within(parent.with_span(builder.start_with_context(&global::tracer("prelim"), &parent)), doing).await
}

/// Does a part of a job in a span of its own.
pub(crate) async fn step<T>(name: &'static str, doing: impl Future<Output = T>) -> T {
    within(Context::current_with_span(global::tracer("prelim").start(name)), doing).await
}

/// Says how the job in whose span this is called ended.
pub(crate) fn ended(failure: Option<String>) {
    let status = failure.map_or(Status::Ok, Status::error);
    Context::current().span().set_status(status);
}

/// Adds numbers to the span in which this is called.
pub(crate) fn note<const N: usize>(numbers: [KeyValue; N]) {
    Context::current().span().set_attributes(numbers);
}

/// What a study is called in logs.
pub(crate) fn hash(study: &Uid) -> String {
    StudyTrace::of(study).id()
}

async fn within<T>(context: Context, doing: impl Future<Output = T>) -> T {
    let done = doing.with_context(context.clone()).await;
    context.span().end();
    done
}
