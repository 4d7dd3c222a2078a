//! The DICOM listener: C-ECHO, C-STORE, performed procedure steps and storage commitment as an SCP (PS3.4 annexes A, B, F
//! and J), over TCP or TLS.
//!
//! # Layout
//! - [`config`]: flags; [`peers`]: who may call, and from where
//! - `negotiate`: what an association is about (pure); `association`: one association from its request to its end
//! - `steps`: performed procedure steps, begun and changed
//! - `report`: what is held, told to whoever asked for a commitment
//!
//! **Invariant**: an object is stored durably and in its study's record before its C-STORE is answered with success.
//! **Invariant**: a data set is not parsed here: its bytes are kept as they came, and go through the scan of every object.
//! **Invariant**: what all associations hold together is bounded; what does not fit is answered with A700.

mod association;
pub mod config;
mod negotiate;
pub mod peers;
mod report;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use self::config::DicomConfig;
use self::peers::Peers;
use crate::accept::{self, Door, Serving};
use crate::audit::Audit;
use crate::dimse::MEMORY_UNIT;
use crate::service::Coordinator;
use crate::tls::ServerTls;

/// Connections at once, those without an association included; more are closed.
const MAX_CONNECTIONS: usize = 2_048;

/// What all associations share.
pub(crate) struct Scp {
    coordinator: Arc<Coordinator>,
    config: DicomConfig,
    peers: Peers,
    audit: Audit,
    /// Associations that may be open.
    associations: Arc<Semaphore>,
    /// Bytes of objects that are being received, in units of [`MEMORY_UNIT`].
    memory: Arc<Semaphore>,
}

impl Scp {
    pub(crate) fn new(coordinator: Arc<Coordinator>, peers: Peers, audit: Audit) -> Self {
        let config = coordinator.config.dicom.clone();
        let associations = Arc::new(Semaphore::new(config.dicom_associations));
        let memory = Arc::new(Semaphore::new((config.dicom_memory_mib << 20).div_ceil(MEMORY_UNIT)));
        Self { coordinator, config, peers, audit, associations, memory }
    }
}

/// Serves until the coordinator stops; then lets open associations end, for as long as the coordinator gives open calls.
pub(crate) async fn serve(scp: Arc<Scp>, listener: TcpListener, tls: Option<ServerTls>) {
    warn_of_an_open_door(&scp, &listener, tls.is_some());
    let serving = Serving {
        what: "DICOM",
        most: MAX_CONNECTIONS,
        stopping: scp.coordinator.stopping.clone(),
        grace: Duration::from_secs(scp.coordinator.config.close_s),
        audit: &scp.audit,
    };
    accept::serve_each(Door { listener, tls, is_inside: false }, serving, |connection| {
        let span = tracing::info_span!("association", peer = connection.address().map(tracing::field::display));
        association::serve(scp.clone(), connection).instrument(span)
    })
    .await;
}

/// Says what is open to whoever reaches the address.
fn warn_of_an_open_door(scp: &Scp, listener: &TcpListener, has_tls: bool) {
    let Ok(address) = listener.local_addr() else { return };
    if address.ip().is_loopback() {
        return;
    }
    if scp.peers == Peers::Any {
        tracing::warn!(%address, "open: whoever reaches this address and knows the title can send studies; set --dicom-peers");
    }
    if !has_tls {
        tracing::warn!(%address, "not encrypted: studies can be read on the way; set --dicom-tls");
    }
}
