//! DICOMweb (PS3.18): STOW-RS, QIDO-RS, WADO-RS and UPS-RS below [`ROOT`], over HTTP/1.1, with TLS where gRPC has it.
//!
//! # Layout
//! - [`config`]: flags; `connection`: one connection; `request`: one request, from the gate to its answer
//! - `route`: paths to what they ask for (pure); `problem`: the one place where an error turns into an HTTP status
//! - `negotiate`: `Accept` and media types (pure); `multipart`: related parts in and out (pure); `cors`: pages of others
//! - `body`: bodies of requests, bounded; `memory`: room for objects, shared by all requests
//! - `stow`: objects in, by [`crate::intake`]; `stored`: the answer for them (pure)
//! - `qido`: searches; `query`: what they ask (pure); `matching`: what fits (pure); `listed`: results as JSON (pure)
//! - `wado`: objects out, `plain` those that are written anew; `metadata`, `frames`, `bulkdata`, `rendered`: other representations of them
//! - `held`: a study with what is held of it; `draft`: its draft, as instances of it
//! - `workitems`: the worklist (UPS-RS), `worklist_route` its paths (pure); `channel`: event reports over WebSocket
//! - `json`: the DICOM JSON model (PS3.18 annex F; pure)
//!
//! **Invariant**: nothing is served that the gate has not let in, and no study of another tenant exists for a caller.
//! **Invariant**: an object is stored durably and in its study's record before it is answered for.
//! **Invariant**: what all requests hold together is bounded: bodies stream, and what is held whole takes its room first.
//! **Invariant**: no path, query or header of a request is in a log: they name patients.

pub(crate) mod body;
mod bulkdata;
mod channel;
pub mod config;
mod connection;
pub(crate) mod cors;
mod draft;
mod frames;
pub(crate) mod held;
mod host;
mod json;
mod listed;
pub(crate) mod matching;
pub(crate) mod memory;
mod metadata;
mod multipart;
mod negotiate;
mod plain;
pub(crate) mod problem;
mod qido;
pub(crate) mod query;
mod rendered;
mod request;
mod route;
mod stored;
mod stow;
mod wado;
mod workitems;
mod worklist_route;

pub(crate) use route::tag;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::config::WebConfig;
use self::draft::Drafts;
use self::held::Held;
use self::memory::Memory;
use crate::accept::{self, Door, Serving};
use crate::page::Page;
use crate::service::Coordinator;
use crate::session::Gate;
use crate::tls::ServerTls;

/// Where all of it is.
pub const ROOT: &str = "/dicom-web";
/// Connections at once; more are closed.
const MAX_CONNECTIONS: usize = 2_048;

/// How long those who listen to the worklist may take to hear that we stop.
const CLOSING: Duration = Duration::from_secs(2);

/// What all requests share.
pub(crate) struct Web {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) config: WebConfig,
    pub(crate) gate: Gate,
    /// The port that it is served at, once that is known.
    port: Option<u16>,
    /// Requests that may be served.
    pub(crate) requests: Arc<Semaphore>,
    /// Room for objects that are held whole.
    pub(crate) memory: Memory,
    /// What is for the page.
    pub(crate) page: Page,
    /// Studies that were asked for lately.
    held: Held,
    /// Drafts that were asked for lately.
    drafts: Drafts,
}

impl Web {
    pub(crate) fn new(coordinator: Arc<Coordinator>, gate: Gate) -> Self {
        let config = coordinator.config.web.clone();
        let requests = Arc::new(Semaphore::new(config.http_requests));
        let memory = Memory::new(config.http_memory_mib);
        Self {
            coordinator,
            config,
            gate,
            port: None,
            requests,
            memory,
            page: Page::new(),
            held: Held::default(),
            drafts: Drafts::default(),
        }
    }

    /// How long a client may be silent.
    fn idle(&self) -> Duration {
        Duration::from_secs(self.config.http_idle_s)
    }
}

/// Serves until the coordinator stops; then lets open requests end, for as long as the coordinator gives open calls.
pub(crate) async fn serve(mut web: Web, listener: TcpListener, tls: Option<ServerTls>) {
    web.port = listener.local_addr().ok().map(|address| address.port());
    let web = Arc::new(web);
    let serving = Serving {
        what: "HTTP",
        most: MAX_CONNECTIONS,
        stopping: web.coordinator.stopping.clone(),
        grace: Duration::from_secs(web.coordinator.config.close_s),
        audit: &web.gate.audit,
    };
    let door = Door { listener, tls, is_inside: false };
    accept::serve_each(door, serving, |connection| connection::serve(web.clone(), connection)).await;
    web.coordinator.worklist.closed(CLOSING).await;
}
