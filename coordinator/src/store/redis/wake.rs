//! Hearing of jobs that another coordinator queued. A signal may be lost when a connection breaks: whoever waits looks
//! again now and then anyway.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::link::Link;

/// The pause before a broken connection is made again.
const PAUSE: Duration = Duration::from_millis(500);

/// Listens to `channel` until the handle is dropped. The number grows with each signal.
pub(super) fn listen(link: Arc<Link>, channel: String) -> (watch::Receiver<u64>, AbortOnDropHandle<()>) {
    let (tell, wakes) = watch::channel(0);
    let listening = tokio::spawn(async move {
        loop {
            match link.listen(&channel).await {
                Ok(mut listener) => {
                    let mut signals = listener.on_message();
                    // Something may have come while nobody listened.
                    tell.send_modify(|count| *count += 1);
                    while signals.next().await.is_some() {
                        tell.send_modify(|count| *count += 1);
                    }
                }
                Err(error) => tracing::debug!(%error, "not listening for jobs"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    (wakes, AbortOnDropHandle::new(listening))
}
