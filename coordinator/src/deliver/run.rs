//! What is due, leased and sent: one attempt at a time for each destination, so that one that is down holds up no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prelim_proto::trace::without_uids;
use tokio::task::JoinHandle;

use super::attempt::Attempt;
use super::destinations::{Destination, Route};
use super::fhir::Fhir;
use super::stow::Stow;
use crate::audit::Audit;
use crate::service::{Coordinator, ServiceError};

/// How often is looked for what is due without being woken: another coordinator may have made the draft.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Deliveries that one association makes.
const TOGETHER: usize = 8;
/// What a lease has on top of what the other side may take.
const MARGIN: Duration = Duration::from_secs(5);

/// Delivers until the coordinator stops, and then lets what was begun end, for as long as open calls may.
pub(crate) async fn deliver_until_stopped(coordinator: Arc<Coordinator>, audit: Audit) {
    let Some(destinations) = &coordinator.destinations else { return };
    let mut busy: HashMap<String, JoinHandle<()>> = HashMap::new();
    while !coordinator.stopping.is_cancelled() {
        busy.retain(|_, task| !task.is_finished());
        for destination in destinations.get().iter() {
            if !busy.contains_key(&destination.name) {
                let work = deliver_due(coordinator.clone(), destination.clone(), audit.clone());
                busy.insert(destination.name.clone(), tokio::spawn(work));
            }
        }
        tokio::select! {
            _ = tokio::time::timeout(LOOK_AGAIN, coordinator.deliveries.notified()) => {}
            () = coordinator.stopping.cancelled() => {}
        }
    }
    let grace = Duration::from_secs(coordinator.config.close_s);
    let ended = futures::future::join_all(busy.into_values());
    if tokio::time::timeout(grace, ended).await.is_err() {
        tracing::info!("deliveries cut off; they are made again");
    }
}

/// Makes the deliveries to one destination that are due.
async fn deliver_due(coordinator: Arc<Coordinator>, destination: Arc<Destination>, audit: Audit) {
    loop {
        match deliver_some(&coordinator, &destination, &audit).await {
            Ok(true) if !coordinator.stopping.is_cancelled() => {}
            Ok(_) => return,
            Err(error) => {
                tracing::error!(destination = %destination.name, error = without_uids(&error), "deliveries");
                return;
            }
        }
    }
}

/// Makes some deliveries; whether there were any.
async fn deliver_some(
    coordinator: &Coordinator,
    destination: &Destination,
    audit: &Audit,
) -> Result<bool, ServiceError> {
    let (begin, each) = match &destination.route {
        Route::Dicom(node) => (node.times.connect * 2 + node.times.answer, node.times.idle),
        Route::Stow(Stow(http)) | Route::Fhir(Fhir(http)) => (http.times.connect, http.times.connect + http.times.idle),
        Route::Mllp(mllp) => (mllp.times.connect, mllp.times.connect * 2 + mllp.times.idle),
    };
    // Whatever is begun before `until` has ended when the lease does.
    let (lease, until) = (begin + each * 2 + MARGIN, Instant::now() + begin + each);
    let ttl_ms = lease.as_millis() as u64;
    let records = coordinator.store.lease_deliveries(&destination.name, ttl_ms, TOGETHER).await?;
    if records.is_empty() {
        return Ok(false);
    }
    Attempt { coordinator, destination, audit, until }.make(records).await?;
    Ok(true)
}
