//! The loop of a worker: lease a job, do it while the lease lives, hand in what came of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use prelim_proto::ids::{JobId, Uid};
use prelim_proto::job::{JobKind, JobOutcome, Lease};
use prelim_proto::trace::without_uids;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::coordinator::{CallError, Coordinator};
use crate::job::JobError;
use crate::renew::{HeldLease, Renewer};
use crate::retry::{backoff, entropy};
use crate::traces;

/// How long one request for work waits at the coordinator.
const LEASE_WAIT: Duration = Duration::from_secs(20);

/// Studies that the worker says it has at hand: those whose jobs it has, and one before them, but no more than the
/// coordinator looks at. Each costs a look.
const HELD: (usize, usize) = (2, 16);

/// Time to give jobs back, and to hand in what is done, after the signal to stop.
const PARTING: Duration = Duration::from_secs(5);

/// What does the jobs.
pub(crate) trait Work: Send + Sync + 'static {
    /// The kinds of job that it does.
    fn kinds(&self) -> Vec<JobKind>;

    /// Does one. Dropping the future gives the job up.
    fn run(&self, lease: &Lease) -> impl Future<Output = Result<JobOutcome, JobError>> + Send;
}

/// Leases jobs, `slots` at once, until `stop`, or until the coordinator wants the worker to stop; then gives those in flight `drain` to end. Returns early, with `false`,
/// when the work says that it can do no more.
pub(crate) async fn serve<W: Work>(
    work: Arc<W>,
    coordinator: Coordinator,
    renewer: Renewer,
    slots: usize,
    drain: Duration,
    stop: CancellationToken,
) -> bool {
    let free = Arc::new(Semaphore::new(slots));
    let (give_back, broken) = (CancellationToken::new(), CancellationToken::new());
    let mut jobs = JoinSet::new();
    let mut failures = 0;
    let mut request = new_request();
    let mut held: VecDeque<Uid> = VecDeque::new();
    let drained = loop {
        let leasing = async {
            let slot = Arc::clone(&free).acquire_owned().await;
            (slot, coordinator.lease(&request, failures > 0, &work.kinds(), held.make_contiguous(), LEASE_WAIT).await)
        };
        let (slot, leased) = tokio::select! {
            () = stop.cancelled() => break false,
            () = broken.cancelled() => break false,
            () = renewer.drained() => break true,
            leased = leasing => leased,
        };
        // A request whose answer was lost is repeated; one that was answered is over.
        if leased.is_ok() {
            request = new_request();
        }
        while jobs.try_join_next().is_some() {}
        match leased {
            Ok(Some(lease)) => {
                failures = 0;
                remember(&mut held, lease.job.id.study(), (slots + HELD.0 - 1).min(HELD.1));
                let held = renewer.hold(&lease);
                let (hash, number) = (traces::hash(lease.job.id.study()), lease.job.id.number());
                let span = tracing::info_span!("job", study.hash = hash, job.number = number, attempt = lease.attempt);
                let (work, coordinator) = (Arc::clone(&work), coordinator.clone());
                let (give_back, broken) = (give_back.clone(), broken.clone());
                let doing = async move {
                    traces::job(&lease, do_job(&*work, &coordinator, &lease, &held, &give_back, &broken)).await;
                    drop(slot);
                };
                jobs.spawn(doing.instrument(span));
            }
            Ok(None) => failures = 0,
            Err(error) => {
                failures += 1;
                let pause = backoff(failures, entropy());
                let said = without_uids(&error);
                tracing::warn!(error = said, pause_ms = pause.as_millis() as u64, "no work leased");
                tokio::select! {
                    () = stop.cancelled() => break false,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    };
    if drained {
        // Asked to stop by an operator: what is begun is finished, unless the signal to stop comes as well.
        tokio::select! {
            () = stop.cancelled() => {}
            () = broken.cancelled() => {}
            () = join_all(&mut jobs) => {}
        }
    }
    // Jobs that end in time hand in their outcomes; the others are given back.
    let _ = tokio::time::timeout(drain, join_all(&mut jobs)).await;
    give_back.cancel();
    let _ = tokio::time::timeout(PARTING, join_all(&mut jobs)).await;
    !broken.is_cancelled()
}

/// A name for the next request for work.
fn new_request() -> String {
    format!("{:016x}", entropy())
}

/// Notes that images of a study are at hand; forgets the oldest.
fn remember(held: &mut VecDeque<Uid>, study: &Uid, most: usize) {
    held.retain(|known| known != study);
    held.push_front(study.clone());
    held.truncate(most);
}

async fn join_all(jobs: &mut JoinSet<()>) {
    while jobs.join_next().await.is_some() {}
}

/// Does one job, unless the lease is lost meanwhile, and hands in what came of it.
async fn do_job<W: Work>(
    work: &W,
    coordinator: &Coordinator,
    lease: &Lease,
    held: &HeldLease,
    give_back: &CancellationToken,
    broken: &CancellationToken,
) {
    let (job, token) = (&lease.job.id, lease.token);
    tracing::debug!("started");
    let done = tokio::select! {
        () = held.lost() => None,
        () = give_back.cancelled() => {
            let released = coordinator.release(job, token).await;
            tracing::info!(released = released.is_ok(), "given back");
            traces::ended(Some("given back".to_owned()));
            return;
        }
        done = work.run(lease) => Some(done),
    };
    let Some(done) = done else {
        tracing::info!("given up: the lease is lost");
        return traces::ended(Some("the lease is lost".to_owned()));
    };
    if done.as_ref().is_err_and(JobError::is_fatal) {
        broken.cancel();
    }
    // Whether it still counts, the coordinator decides: a lease that lapsed while none was there lives on until it is taken
    // back, and one that a renewal calls lost may be one whose outcome was stored a moment ago.
    traces::ended(done.as_ref().err().map(|error| without_study(error, job)));
    traces::step("hand in", hand_in(coordinator, lease, done)).await;
}

/// Hands in an outcome or a failure, again and again while the coordinator is away or does not let this worker in: both
/// calls may be repeated, and work is not thrown away for a token that was not renewed in time.
async fn hand_in(coordinator: &Coordinator, lease: &Lease, done: Result<JobOutcome, JobError>) {
    let (job, token) = (&lease.job.id, lease.token);
    let mut done = done.map_err(|error| (error.to_string(), error.is_retryable()));
    let mut attempt = 0;
    loop {
        let answer = match &done {
            Ok(outcome) => coordinator.complete(job, lease.job.kind, token, outcome.clone()).await,
            Err((reason, retryable)) => coordinator.fail(job, token, reason, *retryable).await.map(drop),
        };
        match (answer, &done) {
            (Ok(()), Ok(outcome)) => {
                return tracing::info!(findings = outcome.findings.len(), frames = outcome.frames_read, "done");
            }
            (Ok(()), Err((reason, retryable))) => {
                return tracing::warn!(reason = without_study(reason, job), retryable, "failed");
            }
            (Err(CallError::Unavailable(error) | CallError::Barred(error)), _) => {
                attempt += 1;
                tracing::warn!(error = without_study(&error, job), attempt, "not handed in yet");
                tokio::time::sleep(backoff(attempt, entropy())).await;
            }
            (Err(error @ CallError::Superseded(_)), _) => {
                return tracing::info!(error = without_study(&error, job), "outcome dropped");
            }
            // What the coordinator does not take must not be tried for ever.
            (Err(error), Ok(_)) => {
                done = Err((format!("outcome not taken: {}", without_study(&error, job)), false));
            }
            (Err(error), Err(_)) => return tracing::warn!(error = without_study(&error, job), "failure not taken"),
        }
    }
}

/// What was said about `job`, without UIDs: they must not reach a log.
pub(crate) fn without_study(said: &impl std::fmt::Display, job: &JobId) -> String {
    without_uids(&said.to_string().replace(job.study().as_str(), "STUDY"))
}

#[cfg(test)]
#[path = "lease_tests/mod.rs"]
mod tests;
