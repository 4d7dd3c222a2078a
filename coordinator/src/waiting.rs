//! Workers that wait for a job. Each coordinator keeps those that ask it in a line, and looks for work for the first of
//! a kind at a time: a job that comes in wakes one worker, not a thousand.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prelim_proto::ids::Tenant;
use prelim_proto::job::{JobKind, Lease};
use tokio::sync::{Notify, oneshot};

use crate::service::Coordinator;
use crate::store::record::LeaseRequest;

/// How often the line looks at the store without being told to: delayed jobs come due, and a signal may be lost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A worker in the line.
struct Waiter {
    request: LeaseRequest,
    give: oneshot::Sender<Lease>,
}

/// What a worker can take. Where there is nothing for one, there is nothing for another that can take the same.
type Wants = (Vec<JobKind>, Option<Vec<Tenant>>);

fn wants(request: &LeaseRequest) -> Wants {
    (request.kinds.clone(), request.tenants.clone())
}

/// The line.
#[derive(Default)]
pub(crate) struct Line {
    waiters: Mutex<VecDeque<Waiter>>,
    joined: Notify,
}

impl Line {
    fn waiters(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a worker at the end of the line. What is returned resolves with its job; dropping it leaves the line.
    pub(crate) fn join(&self, request: LeaseRequest) -> oneshot::Receiver<Lease> {
        let (give, given) = oneshot::channel();
        self.waiters().push_back(Waiter { request, give });
        self.joined.notify_one();
        given
    }

    /// The first in the line who still waits and wants something that is not in `without`.
    fn next(&self, without: &HashSet<Wants>) -> Option<Waiter> {
        let mut waiters = self.waiters();
        waiters.retain(|waiter| !waiter.give.is_closed());
        let place = waiters.iter().position(|waiter| !without.contains(&wants(&waiter.request)))?;
        waiters.remove(place)
    }

    fn return_to_front(&self, waiter: Waiter) {
        self.waiters().push_front(waiter);
    }

    fn is_empty(&self) -> bool {
        self.waiters().is_empty()
    }
}

impl Coordinator {
    /// Gives jobs to those in the line, until the coordinator stops.
    pub(crate) async fn serve_line(&self) {
        while !self.stopping.is_cancelled() {
            // Registered before the look, so that a job queued in between is not slept through.
            let woken = self.work.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            self.serve_waiting().await;
            let look_again = async {
                if self.line.is_empty() {
                    self.line.joined.notified().await;
                } else {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            };
            tokio::select! {
                () = woken => {}
                () = look_again => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// Passes on what the store tells of jobs that another coordinator queued, until the coordinator stops.
    pub(crate) async fn hear_of_work(&self) {
        let Some(mut wakes) = self.store.wakes() else { return };
        loop {
            tokio::select! {
                heard = wakes.changed() => {
                    if heard.is_err() {
                        return;
                    }
                }
                () = self.stopping.cancelled() => return,
            }
            self.work.notify_waiters();
            self.merges.notify_one();
        }
    }

    /// Gives jobs while there are any that somebody waits for.
    async fn serve_waiting(&self) {
        let mut without = HashSet::new();
        while let Some(waiter) = self.line.next(&without) {
            match self.store.lease(waiter.request.clone()).await {
                Ok(Some(lease)) => {
                    self.changed(lease.job.id.study());
                    let Err(lease) = waiter.give.send(lease) else { continue };
                    // The worker went away meanwhile: the next one gets the job.
                    self.take_back(&lease).await;
                }
                Ok(None) => {
                    without.insert(wants(&waiter.request));
                    self.line.return_to_front(waiter);
                }
                Err(error) => {
                    tracing::error!(%error, "no work for those who wait");
                    self.line.return_to_front(waiter);
                    return;
                }
            }
        }
    }
}
