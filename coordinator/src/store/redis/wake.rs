//! Hearing of jobs that another coordinator queued, of what workers are told there, and of what happened to workitems. A signal may be lost when a
//! connection breaks: whoever waits looks again now and then anyway.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::link::Link;

/// The pause before a broken connection is made again.
const PAUSE: Duration = Duration::from_millis(500);

/// What a signal says where it is not of a job.
const ORDERS: &[u8] = b"orders";
const WORKLIST: &[u8] = b"worklist";

/// Numbers that grow with each signal.
pub(super) struct Heard {
    /// Of jobs.
    pub(super) wakes: watch::Receiver<u64>,
    /// Of what workers are told.
    pub(super) orders: watch::Receiver<u64>,
    /// Of reports of workitems.
    pub(super) worklist: watch::Receiver<u64>,
}

/// Listens to `channel` until the handle is dropped.
pub(super) fn listen(link: Arc<Link>, channel: String) -> (Heard, AbortOnDropHandle<()>) {
    let (wake, wakes) = watch::channel(0);
    let (order, orders) = watch::channel(0);
    let (report, worklist) = watch::channel(0);
    let listening = tokio::spawn(async move {
        loop {
            match link.listen(&channel).await {
                Ok(mut listener) => {
                    let mut signals = listener.on_message();
                    // Something may have come while nobody listened.
                    for tell in [&wake, &order, &report] {
                        tell.send_modify(|count| *count += 1);
                    }
                    while let Some(signal) = signals.next().await {
                        let tell = match signal.get_payload_bytes() {
                            ORDERS => &order,
                            WORKLIST => &report,
                            _ => &wake,
                        };
                        tell.send_modify(|count| *count += 1);
                    }
                }
                Err(error) => tracing::debug!(%error, "not listening for jobs"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    (Heard { wakes, orders, worklist }, AbortOnDropHandle::new(listening))
}
