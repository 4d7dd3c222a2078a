//! Workers that wait for a job. Each coordinator keeps those that ask it in a line, and looks for work for the first of
//! a kind at a time: a job that comes in wakes one worker, not a thousand.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use prelim_proto::demand::Offer;
use prelim_proto::ids::Tenant;
use prelim_proto::job::{JobKind, Lease};
use prelim_proto::trace::without_uids;
use tokio::sync::{Notify, oneshot};

use crate::service::Coordinator;
use crate::store::record::LeaseRequest;

/// How often the line looks at the store without being told to: delayed jobs come due, and a signal may be lost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Most workers in the line for whom jobs are asked at once: a store that takes several calls together is then asked once
/// for all of them.
const AT_ONCE: usize = 32;

/// A worker in the line.
struct Waiter {
    request: LeaseRequest,
    give: oneshot::Sender<Lease>,
}

/// What a worker can take. Where there is nothing for one, there is nothing for another that can take the same.
type Wants = (Vec<JobKind>, Offer, Option<Vec<Tenant>>);

fn wants(request: &LeaseRequest) -> Wants {
    (request.kinds.clone(), request.offer.clone(), request.tenants.clone())
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

    /// The first in the line, at most so many, who still wait and want something that is not in `without`.
    fn next(&self, without: &HashSet<Wants>, most: usize) -> Vec<Waiter> {
        let mut waiters = self.waiters();
        waiters.retain(|waiter| !waiter.give.is_closed());
        let mut next = || {
            let place = waiters.iter().position(|waiter| !without.contains(&wants(&waiter.request)))?;
            waiters.remove(place)
        };
        std::iter::from_fn(&mut next).take(most).collect()
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

    /// Gives jobs while there are any that somebody waits for: to one worker first, then to twice as many each time.
    async fn serve_waiting(&self) {
        let (mut without, mut most) = (HashSet::new(), 1);
        loop {
            let waiters = self.line.next(&without, most);
            if waiters.is_empty() {
                return;
            }
            most = AT_ONCE.min(2 * most);
            let ask = async |waiter: Waiter| (self.store.lease(waiter.request.clone()).await, waiter);
            let answers = join_all(waiters.into_iter().map(ask)).await;
            let mut is_over = false;
            // The last first, so that those who return to the front stand there as before.
            for (answer, waiter) in answers.into_iter().rev() {
                match answer {
                    Ok(Some(lease)) => {
                        self.given(&lease);
                        let Err(lease) = waiter.give.send(lease) else { continue };
                        // The worker went away meanwhile: the next one gets the job.
                        self.take_back(&lease).await;
                    }
                    Ok(None) => {
                        without.insert(wants(&waiter.request));
                        self.line.return_to_front(waiter);
                    }
                    Err(error) => {
                        tracing::error!(error = without_uids(&error), "no work for those who wait");
                        self.line.return_to_front(waiter);
                        is_over = true;
                    }
                }
            }
            if is_over {
                return;
            }
        }
    }
}
