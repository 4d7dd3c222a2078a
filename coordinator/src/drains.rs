//! Workers that were told to stop, as far as this coordinator knows: they hear of it with the next answer, and one that
//! waits for a job hears of it at once. What is missed here, the next heartbeat tells.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prelim_proto::trace::without_uids;
use tokio::sync::Notify;

use crate::service::Coordinator;

/// The workers.
#[derive(Default)]
pub(crate) struct Drains {
    workers: Mutex<HashSet<String>>,
    changed: Notify,
}

impl Drains {
    fn workers(&self) -> MutexGuard<'_, HashSet<String>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a worker is to stop.
    pub(crate) fn contains(&self, worker: &str) -> bool {
        self.workers().contains(worker)
    }

    /// Notes that a worker is to stop, or not.
    pub(crate) fn note(&self, worker: &str, drain: bool) {
        let is_new = match drain {
            true => !self.contains(worker) && self.workers().insert(worker.to_owned()),
            false => self.workers().remove(worker),
        };
        if is_new {
            self.changed.notify_waiters();
        }
    }

    /// Waits until a worker is to stop.
    pub(crate) async fn until(&self, worker: &str) {
        loop {
            // Registered before the look, so that nothing is missed in between.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.contains(worker) {
                return;
            }
            changed.await;
        }
    }

    fn replace(&self, workers: HashSet<String>) {
        *self.workers() = workers;
        self.changed.notify_waiters();
    }
}

impl Coordinator {
    /// Looks who is to stop whenever the store tells that another coordinator told a worker so, until the coordinator
    /// stops.
    pub(crate) async fn hear_of_orders(&self) {
        let Some(mut orders) = self.store.orders() else { return };
        loop {
            tokio::select! {
                heard = orders.changed() => {
                    if heard.is_err() {
                        return;
                    }
                }
                () = self.stopping.cancelled() => return,
            }
            match self.store.workers().await {
                Ok(workers) => {
                    let draining = workers.into_iter().map(|(worker, _)| worker).filter(|worker| worker.draining);
                    self.drains.replace(draining.map(|worker| worker.heartbeat.worker).collect());
                }
                Err(error) => tracing::warn!(error = without_uids(&error), "who is to stop is not known yet"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_worker_that_waits_hears_that_it_is_to_stop_and_others_go_on() {
        let drains = Arc::new(Drains::default());
        let wait = |worker: &'static str| {
            let drains = drains.clone();
            tokio::spawn(async move { drains.until(worker).await })
        };
        let (told, other) = (wait("a"), wait("b"));
        tokio::time::sleep(Duration::from_millis(20)).await;
        drains.note("a", true);
        told.await.unwrap();
        assert!(drains.contains("a") && !other.is_finished());
        drains.note("a", false);
        assert!(!drains.contains("a"));
        drains.replace(HashSet::from(["b".to_owned()]));
        other.await.unwrap();
    }
}
