//! The loop of a worker: lease a job, do it while the lease lives, hand in what came of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prelim_proto::demand::Offer;
use prelim_proto::ids::{JobId, Uid};
use prelim_proto::job::{JobKind, JobOutcome, Lease};
use prelim_proto::question::QuestionKind;
use prelim_proto::trace::{for_log, without_uids};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::coordinator::{CallError, Coordinator, Want};
use crate::job::JobError;
use crate::renew::{HeldLease, Renewer};
use crate::retry::{backoff, entropy};
use crate::traces;

/// How long one request for work waits at the coordinator.
const LEASE_WAIT: Duration = Duration::from_secs(20);

/// Studies that the worker says it has at hand, at most: as many as the coordinator looks at. Each costs a look, so one
/// with few slots names only as many as it has jobs.
const MOST_HELD: usize = 16;

/// Questions answered at once, beside the jobs that are read: who asks does not wait for a long study to end.
const QUESTIONS_AT_ONCE: usize = 2;

/// Time to give jobs back, and to hand in what is done, after the signal to stop.
const PARTING: Duration = Duration::from_secs(5);

/// What does the jobs.
pub(crate) trait Work: Send + Sync + 'static {
    /// The kinds of job that it does.
    fn kinds(&self) -> Vec<JobKind>;

    /// The model and prompts that it offers.
    fn offer(&self) -> Offer;

    /// The kinds of question that it answers.
    fn questions(&self) -> Vec<QuestionKind> {
        Vec::new()
    }

    /// Does one. Dropping the future gives the job up.
    fn run(&self, lease: &Lease) -> impl Future<Output = Result<JobOutcome, JobError>> + Send;
}

/// What all slots share.
struct Crew<W> {
    work: Arc<W>,
    coordinator: Coordinator,
    renewer: Renewer,
    /// Studies whose images are at hand, the newest first.
    held: Mutex<VecDeque<Uid>>,
    /// How many of them are told.
    most_held: usize,
    stop: CancellationToken,
    give_back: CancellationToken,
    broken: CancellationToken,
}

/// Leases jobs, `slots` at once, until `stop`, or until the coordinator wants the worker to stop; then gives those in
/// flight `drain` to end. Returns early, with `false`, when the work says that it can do no more.
pub(crate) async fn serve<W: Work>(
    work: Arc<W>,
    coordinator: Coordinator,
    renewer: Renewer,
    slots: usize,
    drain: Duration,
    stop: CancellationToken,
) -> bool {
    let crew = Arc::new(Crew {
        work,
        coordinator,
        renewer,
        held: Mutex::default(),
        most_held: slots.min(MOST_HELD),
        stop,
        give_back: CancellationToken::new(),
        broken: CancellationToken::new(),
    });
    let (questions, reads): (Vec<_>, Vec<_>) = crew.work.kinds().into_iter().partition(|kind| *kind == JobKind::Answer);
    let lanes = [(reads, slots), (questions, QUESTIONS_AT_ONCE)].into_iter().filter(|(kinds, _)| !kinds.is_empty());
    let mut jobs = Vec::new();
    let mut drained = false;
    for (told, of_lane) in futures::future::join_all(lanes.map(|(kinds, slots)| lease_jobs(&crew, kinds, slots))).await
    {
        drained |= told;
        jobs.push(of_lane);
    }
    if drained {
        // Asked to stop by an operator: what is begun is finished, unless the signal to stop comes as well.
        tokio::select! {
            () = crew.stop.cancelled() => {}
            () = crew.broken.cancelled() => {}
            () = join_all(&mut jobs) => {}
        }
    }
    // Jobs that end in time hand in their outcomes; the others are given back.
    let _ = tokio::time::timeout(drain, join_all(&mut jobs)).await;
    crew.give_back.cancel();
    let _ = tokio::time::timeout(PARTING, join_all(&mut jobs)).await;
    !crew.broken.is_cancelled()
}

/// Leases jobs of certain kinds, `slots` at once, until the worker is to take no more: whether the coordinator said so, and the
/// jobs in flight.
async fn lease_jobs<W: Work>(crew: &Arc<Crew<W>>, kinds: Vec<JobKind>, slots: usize) -> (bool, JoinSet<()>) {
    let free = Arc::new(Semaphore::new(slots));
    let mut jobs = JoinSet::new();
    let mut failures = 0;
    // A request whose answer was lost is repeated; one that was answered is over.
    let mut asked: Option<Want> = None;
    let drained = loop {
        let leasing = async {
            let slot = Arc::clone(&free).acquire_owned().await;
            let want = asked.get_or_insert_with(|| crew.want(&kinds));
            (slot, crew.coordinator.lease(want, failures > 0, LEASE_WAIT).await)
        };
        let (slot, leased) = tokio::select! {
            () = crew.stop.cancelled() => break false,
            () = crew.broken.cancelled() => break false,
            () = crew.renewer.drained() => break true,
            leased = leasing => leased,
        };
        while jobs.try_join_next().is_some() {}
        if let Ok(given) = &leased {
            asked = None;
            failures = 0;
            if given.drain {
                crew.renewer.drain();
            }
        }
        match leased.map(|given| given.lease) {
            Ok(Some(lease)) => {
                crew.remember(lease.job.id.study());
                let (crew, kinds) = (Arc::clone(crew), kinds.clone());
                jobs.spawn(async move {
                    crew.do_jobs(lease, &kinds).await;
                    drop(slot);
                });
            }
            Ok(None) => {}
            Err(error) => {
                failures += 1;
                let pause = backoff(failures, entropy());
                let said = without_uids(&error);
                tracing::warn!(error = said, pause_ms = pause.as_millis() as u64, "no work leased");
                tokio::select! {
                    () = crew.stop.cancelled() => break false,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    };
    (drained, jobs)
}

impl<W: Work> Crew<W> {
    /// What the worker could take of these kinds, under a new name.
    fn want(&self, kinds: &[JobKind]) -> Want {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let (offer, questions) = (self.work.offer(), self.work.questions());
        Want { request: format!("{:016x}", entropy()), kinds: kinds.to_vec(), offer, questions, held }
    }

    /// Whether the worker is to take more.
    fn is_taking(&self) -> bool {
        !self.stop.is_cancelled() && !self.broken.is_cancelled() && !self.renewer.is_drained()
    }

    /// Notes that images of a study are at hand; forgets the oldest.
    fn remember(&self, study: &Uid) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|known| known != study);
        held.push_front(study.clone());
        held.truncate(self.most_held);
    }

    /// Does a job, and those that come along with the answers to the ones before them.
    async fn do_jobs(&self, first: Lease, kinds: &[JobKind]) {
        let mut next = Some(first);
        while let Some(lease) = next {
            self.remember(lease.job.id.study());
            let held = self.renewer.hold(&lease);
            let (hash, number) = (traces::hash(lease.job.id.study()), lease.job.id.number());
            let span = tracing::info_span!("job", study.hash = hash, job.number = number, attempt = lease.attempt);
            next = traces::job(&lease, self.do_job(&lease, &held, kinds)).instrument(span).await;
        }
    }

    /// Does one job, unless the lease is lost meanwhile, hands in what came of it, and returns the next.
    async fn do_job(&self, lease: &Lease, held: &HeldLease, kinds: &[JobKind]) -> Option<Lease> {
        let (job, token) = (&lease.job.id, lease.token);
        tracing::debug!("started");
        let done = tokio::select! {
            () = held.lost() => None,
            () = self.give_back.cancelled() => {
                let released = self.coordinator.release(job, token).await;
                tracing::info!(released = released.is_ok(), "given back");
                traces::ended(Some("given back".to_owned()));
                return None;
            }
            done = self.work.run(lease) => Some(done),
        };
        let Some(done) = done else {
            tracing::info!("given up: the lease is lost");
            traces::ended(Some("the lease is lost".to_owned()));
            return None;
        };
        if done.as_ref().is_err_and(JobError::is_fatal) {
            self.broken.cancel();
        }
        // Whether it still counts, the coordinator decides: a lease that lapsed while none was there lives on until it is
        // taken back, and one that a renewal calls lost may be one whose outcome was stored a moment ago.
        traces::ended(done.as_ref().err().map(|error| without_study(error, job)));
        traces::step("hand in", self.hand_in(lease, done, kinds)).await
    }

    /// Hands in an outcome or a failure, again and again while the coordinator is away or does not let this worker in: both
    /// calls may be repeated, and work is not thrown away for a token that was not renewed in time.
    async fn hand_in(&self, lease: &Lease, done: Result<JobOutcome, JobError>, kinds: &[JobKind]) -> Option<Lease> {
        let (job, token) = (&lease.job.id, lease.token);
        let mut done = done.map_err(|error| (error.to_string(), error.is_retryable()));
        let want = self.is_taking().then(|| self.want(kinds));
        // By it the coordinator knows how long such a job takes.
        let model = lease.job.demand.model.clone().or_else(|| self.work.offer().model);
        let mut attempt = 0;
        loop {
            let answer = match &done {
                Ok(outcome) => {
                    let (model, next) = (model.as_ref(), want.as_ref());
                    self.coordinator.complete(lease, outcome.clone(), model, next, attempt > 0).await.map(Some)
                }
                Err((reason, retryable)) => self.coordinator.fail(job, token, reason, *retryable).await.map(|_| None),
            };
            match (answer, &done) {
                (Ok(given), Ok(outcome)) => {
                    tracing::info!(findings = outcome.findings.len(), frames = outcome.frames_read, "done");
                    if given.as_ref().is_some_and(|given| given.drain) {
                        self.renewer.drain();
                    }
                    return given.and_then(|given| given.lease);
                }
                (Ok(_), Err((reason, retryable))) => {
                    tracing::warn!(reason = without_study(reason, job), retryable, "failed");
                    return None;
                }
                (Err(CallError::Unavailable(error) | CallError::Barred(error)), _) => {
                    attempt += 1;
                    tracing::warn!(error = without_study(&error, job), attempt, "not handed in yet");
                    tokio::time::sleep(backoff(attempt, entropy())).await;
                }
                (Err(error @ CallError::Superseded(_)), _) => {
                    tracing::info!(error = without_study(&error, job), "outcome dropped");
                    return None;
                }
                // What the coordinator does not take must not be tried for ever.
                (Err(error), Ok(_)) => {
                    done = Err((format!("outcome not taken: {}", without_study(&error, job)), false));
                }
                (Err(error), Err(_)) => {
                    tracing::warn!(error = without_study(&error, job), "failure not taken");
                    return None;
                }
            }
        }
    }
}

async fn join_all(jobs: &mut [JoinSet<()>]) {
    for of_lane in jobs {
        while of_lane.join_next().await.is_some() {}
    }
}

/// What was said about `job`, fit for a log: UIDs must not reach one, nor must pages of a library's words.
pub(crate) fn without_study(said: &impl std::fmt::Display, job: &JobId) -> String {
    for_log(&said.to_string().replace(job.study().as_str(), "STUDY"))
}

#[cfg(test)]
#[path = "lease_tests/mod.rs"]
mod tests;
