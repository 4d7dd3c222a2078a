//! Keeping leases alive, on a thread of its own that neither inference nor a busy runtime can hold up.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prelim_proto::ids::{FencingToken, JobId};
use prelim_proto::job::Lease;
use prelim_proto::trace::without_uids;
use prelim_proto::v1::WorkerStatus;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::connection::ConnectionArgs;
use crate::coordinator::{CallError, Coordinator, Heard, Renewal};
use crate::retry::entropy;

/// A lease is renewed when a third of its time has passed, so that two renewals may fail.
const RENEWALS_PER_LEASE: u32 = 3;

/// The shortest pause between two renewals.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// The longest: a worker without leases is heard of this often.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The first: two processes that are started together under one name are told apart by the second time that each is heard of.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(1);

/// A name for this process, which another that has the same worker's name does not have.
pub(crate) fn process_name() -> String {
    format!("{:016x}", entropy())
}

/// The thread, and the leases that it keeps alive. It ends when this is dropped.
pub(crate) struct Renewer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    held: Mutex<HashMap<JobId, Held>>,
    changed: Notify,
    stopped: CancellationToken,
    /// The coordinator wants the worker to stop.
    drained: CancellationToken,
    /// It was told that another process has the worker's name.
    shares_name: AtomicBool,
}

struct Held {
    token: FencingToken,
    ttl: Duration,
    expires_at: Instant,
    lost: CancellationToken,
}

/// A lease in hand. Dropping it ends its renewal.
pub(crate) struct HeldLease {
    job: JobId,
    token: FencingToken,
    lost: CancellationToken,
    shared: Arc<Shared>,
}

impl Renewer {
    /// Starts the thread, which makes its own connection and tells the coordinator what the worker is.
    pub(crate) fn start(connection: ConnectionArgs, worker_id: String, status: WorkerStatus) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("renewals".to_owned()).spawn(move || {
            runtime.block_on(async {
                // The settings were checked before; without a connection leases lapse, and nothing else is lost.
                if let Ok(coordinator) = Coordinator::new(&connection, &worker_id) {
                    keep_alive(&seen, &coordinator, &status).await;
                }
            });
        })?;
        Ok(Self { shared })
    }

    /// The same as a task of this runtime, for a worker that never holds its runtime up.
    pub(crate) fn on_this_runtime(coordinator: Coordinator, status: WorkerStatus) -> Self {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        tokio::spawn(async move { keep_alive(&seen, &coordinator, &status).await });
        Self { shared }
    }

    /// Keeps `lease` alive until what this returns is dropped.
    pub(crate) fn hold(&self, lease: &Lease) -> HeldLease {
        let lost = CancellationToken::new();
        let ttl = Duration::from_millis(lease.ttl_ms);
        let held = Held { token: lease.token, ttl, expires_at: Instant::now() + ttl, lost: lost.clone() };
        self.shared.held().insert(lease.job.id.clone(), held);
        self.shared.changed.notify_one();
        HeldLease { job: lease.job.id.clone(), token: lease.token, lost, shared: Arc::clone(&self.shared) }
    }
}

impl Renewer {
    /// Waits until the coordinator wants the worker to stop.
    pub(crate) async fn drained(&self) {
        self.shared.drained.cancelled().await;
    }

    /// The coordinator said that it does.
    pub(crate) fn drain(&self) {
        self.shared.drain();
    }

    /// Whether it does.
    pub(crate) fn is_drained(&self) -> bool {
        self.shared.drained.is_cancelled()
    }
}

impl Drop for Renewer {
    fn drop(&mut self) {
        self.shared.stopped.cancel();
    }
}

impl HeldLease {
    /// Waits until the lease is lost or its study is cancelled.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        let mut held = self.shared.held();
        // The same job may have been leased again since, under a newer token.
        if held.get(&self.job).is_some_and(|lease| lease.token == self.token) {
            held.remove(&self.job);
        }
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, HashMap<JobId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain(&self) {
        if !self.drained.is_cancelled() {
            tracing::info!("drained: taking no more jobs");
            self.drained.cancel();
        }
    }

    /// How long until the next renewal is due, and a heartbeat at the latest.
    fn pause(&self, heartbeat: Duration) -> Duration {
        let shortest = self.held().values().map(|held| held.ttl).min();
        shortest.map_or(heartbeat, |ttl| (ttl / RENEWALS_PER_LEASE).clamp(SHORTEST_PAUSE, heartbeat))
    }

    /// The leases that are not lost.
    fn alive(&self) -> Vec<(JobId, FencingToken)> {
        let held = self.held();
        let alive = held.iter().filter(|(_, lease)| !lease.lost.is_cancelled());
        alive.map(|(job, lease)| (job.clone(), lease.token)).collect()
    }

    /// Notes what became of the leases `asked`, or that nobody answered.
    fn note(&self, asked: &[(JobId, FencingToken)], answer: Result<Heard, CallError>) {
        let now = Instant::now();
        let mut held = self.held();
        match answer {
            Ok(heard) => {
                if heard.drain {
                    self.drain();
                }
                if heard.shares_name && !self.shares_name.swap(true, Ordering::Relaxed) {
                    tracing::warn!("another process runs under this worker's name: give each its own with --worker-id");
                }
                for ((job, token), renewal) in asked.iter().zip(heard.renewals) {
                    let Some(lease) = held.get_mut(job).filter(|lease| lease.token == *token) else { continue };
                    match renewal {
                        Renewal::Renewed(ttl) => (lease.ttl, lease.expires_at) = (ttl, now + ttl),
                        Renewal::Lost | Renewal::Cancelled => {
                            tracing::info!(job.number = job.number(), ?renewal, "lease ended");
                            lease.lost.cancel();
                        }
                    }
                }
            }
            Err(error) if asked.is_empty() => tracing::debug!(error = without_uids(&error), "heartbeat not heard"),
            Err(error) => tracing::warn!(error = without_uids(&error), leases = asked.len(), "leases not renewed"),
        }
        for (job, lease) in held.iter().filter(|(_, lease)| lease.expires_at <= now && !lease.lost.is_cancelled()) {
            tracing::warn!(job.number = job.number(), "lease lapsed without a coordinator");
            lease.lost.cancel();
        }
    }
}

/// How long until a worker is heard of again that was so often before.
fn next_heartbeat(told: u32) -> Duration {
    FIRST_HEARTBEAT.saturating_mul(1 << told.saturating_sub(1).min(8)).min(HEARTBEAT)
}

/// Renews all leases again and again, and tells the coordinator what the worker is, until the thread is to stop.
async fn keep_alive(shared: &Shared, coordinator: &Coordinator, status: &WorkerStatus) {
    let mut told_at: Option<Instant> = None;
    let mut renewed_at: Option<Instant> = None;
    let mut told: u32 = 0;
    loop {
        let heartbeat = next_heartbeat(told);
        let pause = shared.pause(heartbeat);
        // The first time at once: a worker is known before it has a job.
        let due = renewed_at.map_or_else(Instant::now, |at| at + pause);
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            // A new lease may be shorter than those before it.
            () = shared.changed.notified() => continue,
            () = tokio::time::sleep_until(due.into()) => renewed_at = Some(Instant::now()),
        }
        let asked = shared.alive();
        let is_due = told_at.is_none_or(|at| at.elapsed() + pause > heartbeat);
        let said = is_due.then(|| WorkerStatus { running: asked.len() as u32, ..status.clone() });
        if said.is_none() && asked.is_empty() {
            continue;
        }
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            // The first heartbeats come soon one after another, but are no less patient.
            answer = coordinator.renew(&asked, said, shared.pause(HEARTBEAT)) => {
                if is_due && answer.is_ok() {
                    (told_at, told) = (Some(Instant::now()), told.saturating_add(1));
                }
                shared.note(&asked, answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prelim_proto::ids::Uid;

    use super::*;
    use crate::logged::Logged;

    #[test]
    fn a_worker_is_heard_of_soon_after_its_start_and_then_now_and_then() {
        let seconds: Vec<u64> = [1, 2, 3, 4, 5, u32::MAX].map(|told| next_heartbeat(told).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn the_end_of_a_lease_is_logged_without_the_study() {
        let logged = Logged::start();
        let shared = Shared::default();
        let job = |number| JobId::new(Uid::parse("1.2.3").unwrap(), number);
        for number in [7, 8] {
            let (ttl, lost) = (Duration::ZERO, CancellationToken::new());
            let held = Held { token: FencingToken(1), ttl, expires_at: Instant::now(), lost };
            shared.held().insert(job(number), held);
        }
        // One is said to be lost; the other is past its time.
        shared.note(
            &[(job(7), FencingToken(1))],
            Ok(Heard { renewals: vec![Renewal::Lost], drain: false, shares_name: true }),
        );
        let text = logged.text();
        assert!(text.contains("--worker-id"), "{text}");
        assert!(text.contains("job.number=7 ") && text.contains("job.number=8 "), "{text}");
        assert!(!text.contains("1.2.3"), "{text}");
    }
}
