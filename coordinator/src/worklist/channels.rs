//! Subscribers that are connected: each coordinator reads the reports that were noted, by whichever coordinator, and gives them to
//! those that are connected to it. A report for who is not connected is not kept for it (PS3.4 section CC.2.4.3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prelim_proto::ids::Tenant;
use prelim_proto::trace::without_uids;
use tokio::sync::{Notify, mpsc, watch};

use super::dataset::Dataset;
use crate::service::Coordinator;
use crate::store::StoreError;

/// Channels that may be open at one coordinator.
pub(crate) const MAX_CHANNELS: usize = 256;
/// Reports that may wait for a slow subscriber; one that is further behind is hung up on.
const BACKLOG: usize = 1_024;
/// How often reports are looked for without being told of any: a signal may be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Reports that are read together.
const PAGE: usize = 500;

/// The channels that are open here.
#[derive(Default)]
pub(crate) struct Channels {
    open: Mutex<Open>,
    /// The number of the last report that was given; none while nobody is connected, for what comes then is nobody's.
    position: tokio::sync::Mutex<Option<u64>>,
    /// Set off when this process changed a workitem, or a channel was opened.
    changed: Notify,
    /// The same for what performs workitems.
    work: Notify,
}

#[derive(Default)]
struct Open {
    next: u64,
    channels: HashMap<u64, Channel>,
}

struct Channel {
    tenant: Tenant,
    title: String,
    reports: mpsc::Sender<Arc<Dataset>>,
}

/// A channel, until it is dropped.
pub(crate) struct Listening {
    channels: Arc<Channels>,
    number: u64,
    reports: mpsc::Receiver<Arc<Dataset>>,
}

impl Channels {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a channel for a subscriber, beside others that it may have; none where too many are open.
    fn listen(self: &Arc<Self>, tenant: Tenant, title: String) -> Option<Listening> {
        let (sender, reports) = mpsc::channel(BACKLOG);
        let number = {
            let mut open = self.open();
            if open.channels.len() >= MAX_CHANNELS {
                return None;
            }
            open.next += 1;
            let number = open.next;
            open.channels.insert(number, Channel { tenant, title, reports: sender });
            number
        };
        self.changed.notify_one();
        Some(Listening { channels: self.clone(), number, reports })
    }

    /// Notes that a workitem changed here.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
        self.work.notify_one();
    }

    /// Waits until a workitem changed here.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    /// Waits until those who listened have been told that we stop, for as long as `patience`.
    pub(crate) async fn closed(&self, patience: Duration) {
        let closing = async {
            while self.are_open() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Who does not read it in time is cut off.
        let _ = tokio::time::timeout(patience, closing).await;
    }

    fn are_open(&self) -> bool {
        !self.open().channels.is_empty()
    }

    /// Gives a report to those of the titles that are connected. Who is too far behind is hung up on.
    fn give(&self, tenant: &Tenant, to: &[String], dataset: Dataset) {
        let dataset = Arc::new(dataset);
        self.open().channels.retain(|_, channel| {
            let is_told = channel.tenant == *tenant && to.contains(&channel.title);
            !is_told || channel.reports.try_send(dataset.clone()).is_ok()
        });
    }
}

impl Listening {
    /// The next report; none where the subscriber was too slow.
    pub(crate) async fn next(&mut self) -> Option<Arc<Dataset>> {
        self.reports.recv().await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.channels.open().channels.remove(&self.number);
    }
}

impl Coordinator {
    /// Opens a channel for a subscriber, which is told of all that is reported from now on; none where too many are open.
    pub(crate) async fn listen_to_worklist(
        &self,
        tenant: Tenant,
        title: String,
    ) -> Result<Option<Listening>, StoreError> {
        let mut position = self.worklist.position.lock().await;
        if position.is_none() {
            *position = Some(self.store.last_worklist_report().await?);
        }
        Ok(self.worklist.listen(tenant, title))
    }

    /// Gives reports to those who are connected, until the coordinator stops.
    pub(crate) async fn report_until_stopped(&self) {
        let mut heard = self.store.worklist_changes();
        while !self.stopping.is_cancelled() {
            if let Err(error) = self.give_reports().await {
                tracing::warn!(error = without_uids(&error), "reports of workitems wait");
            }
            tokio::select! {
                () = self.worklist.changed.notified() => {}
                () = told(&mut heard) => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    async fn give_reports(&self) -> Result<(), StoreError> {
        let mut position = self.worklist.position.lock().await;
        if !self.worklist.are_open() {
            *position = None;
        }
        while let Some(after) = *position {
            let reports = self.store.worklist_reports(after, PAGE).await?;
            let is_last = reports.len() < PAGE;
            for (number, report) in reports {
                self.worklist.give(&report.tenant, &report.to, report.dataset);
                *position = Some(number);
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }
}

/// Waits until the store tells of a report; for ever where it tells of none.
async fn told(heard: &mut Option<watch::Receiver<u64>>) {
    if let Some(heard) = heard
        && heard.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
