//! Clients that send studies all the while.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::client::submit_until_held;
use crate::site::{COORDINATORS, Site};
use crate::studies::TinyStudy;

/// How many there are.
const CLIENTS: u32 = 4;
/// How long a client goes on with one study.
const PATIENCE: Duration = Duration::from_secs(180);

/// Clients that send studies, evenly over a time.
pub(crate) struct Sending {
    clients: Vec<JoinHandle<u32>>,
}

impl Sending {
    /// Begins to send.
    pub(crate) fn start(site: &Site, studies: &[TinyStudy], over: Duration) -> Self {
        let pause = over / (studies.len() as u32).max(1) * CLIENTS;
        let client = |number: u32| {
            let mine: Vec<TinyStudy> =
                studies.iter().skip(number as usize).step_by(CLIENTS as usize).cloned().collect();
            let mut addresses = site.addresses();
            addresses.rotate_left(number as usize % COORDINATORS);
            site.runtime.spawn(async move {
                let (began, mut tries) = (Instant::now(), 0);
                for (place, study) in mine.iter().enumerate() {
                    // One that was held up sends the next ones sooner.
                    sleep_until(began + pause * place as u32).await;
                    tries += submit_until_held(&addresses, study, PATIENCE).await;
                }
                tries
            })
        };
        Self { clients: (0..CLIENTS).map(client).collect() }
    }

    /// Waits until every study is acknowledged; how many tries it took.
    ///
    /// # Panics
    /// Where a client gave up.
    pub(crate) fn finish(self, site: &mut Site) -> u32 {
        site.wait_for("every study to be acknowledged", |_| self.clients.iter().all(JoinHandle::is_finished));
        let tries = self.clients.into_iter().map(|client| site.runtime.block_on(client).expect("no client gave up"));
        tries.sum()
    }
}
