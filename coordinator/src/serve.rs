//! A running coordinator: stores opened, work recovered, services served, tasks ended in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use prelim_imaging::sandbox::DecoderCommand;
use prelim_proto::trace::without_uids;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::accept::{self, Door};
use crate::access::{Access, AccessError};
use crate::audit::{Act, Audit, AuditError, Event};
use crate::bytes::{ByteStore, OpenError, Variables};
use crate::clock::SystemClock;
use crate::config::CoordinatorConfig;
use crate::deidentify::Veil;
use crate::deliver::deliver_until_stopped;
use crate::deliver::destinations::{self, Destinations};
use crate::dimse::scp::peers::Peers;
use crate::dimse::scp::{self, Scp};
use crate::folder;
use crate::grpc::{self, GateLayer};
use crate::metrics::{self, Beside};
use crate::retain::retain_until_stopped;
use crate::route::Rules;
use crate::service::{Coordinator, SiteFiles};
use crate::session::Gate;
use crate::store::embedded::EmbeddedStore;
use crate::store::record::Reconciled;
use crate::store::redis::{RedisOptions, RedisStore};
use crate::store::{JobStore, StoreError};
use crate::tls::{self, ServerTls, TlsError};
use crate::web::{self, Web};
use crate::worklist::perform_until_stopped;

/// How often leases, quiet studies and forgotten plans are looked after.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How often open questions are looked after.
const QUESTIONS_EVERY: Duration = Duration::from_secs(15);
/// How long a worker is remembered that was not heard of.
const FORGET_WORKERS_MS: u64 = 600_000;
/// How long a performed procedure step is remembered that does not change any more: longer than a study is waited for.
const FORGET_STEPS_MS: u64 = 8 * 86_400_000;
/// How long a request id is remembered.
const FORGET_REQUESTS_MS: u64 = 7 * 86_400_000;
/// Notes that have ended and are forgotten at once.
const FORGET_NOTES: usize = 10_000;
/// How often what is old is forgotten, and jobs and queues are compared.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(300);
/// After this, a connection with TLS takes no more calls: the client makes another.
const CONNECTION_AGE: Duration = Duration::from_secs(600);

/// The sockets that a coordinator serves on.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For metrics and probes, where they are served.
    pub metrics: Option<TcpListener>,
    /// What else is told there.
    pub beside: Option<Beside>,
    /// For DICOM, where it is served.
    pub dicom: Option<TcpListener>,
    /// For DICOMweb, where it is served.
    pub http: Option<TcpListener>,
    /// For this process's own worker, which shows [`Opened::inside_token`] there. On loopback, without TLS.
    pub inside: Option<TcpListener>,
}

impl Listeners {
    /// One socket for everybody.
    pub fn on(grpc: TcpListener) -> Self {
        Self { grpc, metrics: None, beside: None, dicom: None, http: None, inside: None }
    }
}

/// Why a coordinator did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Settings that contradict themselves.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
    /// The data folder cannot be made or written.
    #[error("data folder {folder} cannot be used: {source}; choose another with --data")]
    DataFolder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Redis could not be used.
    #[error(
        "the Redis of --redis cannot be used: {0}; is it up, and are host, port, password (PRELIM_REDIS_PASSWORD) and \
         redis:// or rediss:// right?"
    )]
    Redis(StoreError),
    /// The byte store could not be opened.
    #[error(transparent)]
    Bytes(#[from] OpenError),
    /// Certificates and keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The rules of access.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The audit.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The reflection service could not be built.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server failed.
    #[error("gRPC server: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A coordinator with its stores open, not yet serving. Opening apart from serving lets a caller report a data folder in use
/// before anything else starts.
pub struct Opened {
    coordinator: Arc<Coordinator>,
    stopping: CancellationToken,
    tls: Option<ServerTls>,
    /// The same for HTTP, which speaks another protocol over it.
    http_tls: Option<ServerTls>,
    access: Arc<Access>,
    peers: Peers,
    audit: Audit,
}

impl Opened {
    /// What this process's own worker shows at the inside door.
    pub fn inside_token(&self) -> &str {
        self.access.inside_token()
    }
}

/// Opens the stores and brings them in order after whatever happened before.
// Boxed, as [`serve`] is: a future is compiled where it is polled, and the whole coordinator hangs on these two. So it is
// compiled here, and not once more in every program and test that runs one.
pub fn open(config: CoordinatorConfig, decoder: DecoderCommand) -> BoxFuture<'static, Result<Opened, ServeError>> {
    Box::pin(open_all(config, decoder))
}

async fn open_all(config: CoordinatorConfig, decoder: DecoderCommand) -> Result<Opened, ServeError> {
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(ServeError::Config(problems));
    }
    let wrong = |problem| ServeError::Config(vec![problem]);
    let shares = config.shares().map_err(wrong)?;
    let rules = config.open_rules().map_err(wrong)?;
    let redis = config.redis.options().map_err(wrong)?;
    // What is wrong with certificates and rules is told before anything is written.
    let tls = tls::open(&config.security, b"h2")?;
    let http_tls = tls::open(&config.security, b"http/1.1")?;
    let access = Arc::new(Access::open(&config.security)?);
    let peers = Peers::open(config.dicom.dicom_peers.as_deref()).map_err(wrong)?;
    let destinations = destinations::open(config.destinations.as_deref(), &config.dicom.aet).map_err(wrong)?;
    let veil = Veil::open(&config.deidentify).map_err(wrong)?;
    for (name, named_by) in unknown_destinations(&rules.get(), destinations.as_ref()) {
        tracing::warn!(destination = %name, "{named_by} names a destination that is not in --destinations");
    }
    if veil.is_some() {
        tracing::info!("workers are given de-identified images");
    }
    let unusable = |source| ServeError::DataFolder { folder: config.data.clone(), source };
    folder::make_private(&config.data).map_err(unusable)?;
    let store: Arc<dyn JobStore> = match redis {
        Some(options) => {
            if config.bytes.is_none() {
                tracing::warn!(
                    "studies are recorded in Redis, and their bytes in a folder of this machine: a second coordinator on \
                     this Redis needs the same --bytes (s3://…, or file:///… on a shared volume), else studies are lost to it"
                );
            }
            Arc::new(open_redis(&options).await.map_err(ServeError::Redis)?)
        }
        None => Arc::new(EmbeddedStore::open(&config.data, Arc::new(SystemClock::default()))?),
    };
    let place = config.bytes_place().map_err(OpenError::from)?;
    let bytes = ByteStore::open(&place, &Variables::of_this_process()).await?;
    let mended = store.reconcile().await?;
    tracing::info!(?mended, "store opened");
    let audit = match config.audit() {
        Some(file) => Audit::open(&file, config.security.audit_set_aside)?,
        None => Audit::default(),
    };
    let stopping = CancellationToken::new();
    let files = SiteFiles { shares, rules, destinations, veil };
    let coordinator = Coordinator::new(config, files, store, bytes, decoder, stopping.clone());
    Ok(Opened { coordinator: Arc::new(coordinator), stopping, tls, http_tls, access, peers, audit })
}

/// The destinations that rules name and the file of destinations has not, and what names them.
fn unknown_destinations(rules: &Rules, destinations: Option<&Destinations>) -> Vec<(String, &'static str)> {
    let known = destinations.map(|destinations| destinations.get()).unwrap_or_default();
    let by_rules = rules.destinations().into_iter().map(|name| (name, "a rule"));
    let by_priors = rules.priors.source.as_deref().map(|name| (name, "[priors] of the rules"));
    let named = by_rules.chain(by_priors);
    named
        .filter(|(name, _)| known.iter().all(|each| each.name != **name))
        .map(|(name, named_by)| (name.to_owned(), named_by))
        .collect()
}

/// Opens the store for a cluster, and says what its server's settings risk.
async fn open_redis(options: &RedisOptions) -> Result<RedisStore, StoreError> {
    let store = RedisStore::open(options).await?;
    let report = store.report();
    let (server, version) = (&report.product, &report.version_text);
    tracing::info!(%server, %version, durability = report.durability(), "store connected");
    for risk in report.risks() {
        tracing::warn!(%risk, "setting of the store's server");
    }
    Ok(store)
}

/// Serves until `shutdown` resolves, then lets open calls end.
pub fn serve(
    opened: Opened,
    listeners: Listeners,
    shutdown: BoxFuture<'static, ()>,
) -> BoxFuture<'static, Result<(), ServeError>> {
    Box::pin(serve_until(opened, listeners, shutdown))
}

async fn serve_until(opened: Opened, listeners: Listeners, shutdown: BoxFuture<'static, ()>) -> Result<(), ServeError> {
    let Opened { coordinator, stopping, tls, http_tls, access, peers, audit } = opened;
    let gate = Gate { access, audit: audit.clone() };
    warn_of_open_doors(&listeners, tls.is_some(), &gate.access);
    let merging = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { coordinator.merge_until_stopped().await }
    });
    let sweeping = tokio::spawn({
        let (coordinator, access) = (coordinator.clone(), gate.access.clone());
        let retaining = retain_until_stopped(coordinator.clone(), audit.clone());
        async move {
            let (sweeping, assembling) = (sweep(coordinator.clone(), access), assemble(coordinator.clone()));
            tokio::join!(sweeping, assembling, coordinator.watch_demands(), retaining)
        }
    });
    let measuring =
        listeners.metrics.map(|listener| tokio::spawn(metrics::serve(coordinator.clone(), listener, listeners.beside)));
    let giving = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { tokio::join!(coordinator.serve_line(), coordinator.hear_of_work(), coordinator.hear_of_orders()) }
    });
    let dicom = listeners.dicom.map(|listener| {
        let tls = if coordinator.config.dicom.dicom_tls { tls.clone() } else { None };
        tokio::spawn(scp::serve(Arc::new(Scp::new(coordinator.clone(), peers, audit.clone())), listener, tls))
    });
    let delivering = tokio::spawn(deliver_until_stopped(coordinator.clone(), audit.clone()));
    let performing = tokio::spawn({
        let (coordinator, audit) = (coordinator.clone(), audit.clone());
        async move { tokio::join!(coordinator.report_until_stopped(), perform_until_stopped(coordinator.clone(), audit)) }
    });
    let http = listeners.http.map(|listener| {
        let web = Web::new(coordinator.clone(), gate.clone());
        tokio::spawn(web::serve(web, listener, http_tls))
    });
    let drain = Duration::from_secs(coordinator.config.close_s);
    let routes = grpc::services(coordinator).await?.routes();
    let stop = stopping.clone();
    let signal = async move {
        shutdown.await;
        // Long polls and watches end; other calls are let finish.
        stop.cancel();
    };
    // Certificates that were renewed are shown again on a new connection.
    let server = Server::builder().http2_keepalive_interval(Some(Duration::from_secs(20)));
    let server = if tls.is_some() { server.max_connection_age(CONNECTION_AGE) } else { server };
    let mut doors = vec![Door { listener: listeners.grpc, tls, is_inside: false }];
    doors.extend(listeners.inside.map(|listener| Door { listener, tls: None, is_inside: true }));
    let server = server
        .layer(GateLayer(gate))
        .add_routes(routes)
        .serve_with_incoming_shutdown(accept::connections(doors, &audit), signal);
    let drained = {
        let stopping = stopping.clone();
        async move {
            stopping.cancelled().await;
            tokio::time::sleep(drain).await;
        }
    };
    let served = tokio::select! {
        served = server => served,
        () = drained => Ok(()),
    };
    stopping.cancel();
    // A task that panicked has said so; there is nothing left for it to do.
    let _ = merging.await;
    let _ = sweeping.await;
    if let Some(measuring) = measuring {
        let _ = measuring.await;
    }
    let _ = giving.await;
    let _ = delivering.await;
    let _ = performing.await;
    if let Some(dicom) = dicom {
        let _ = dicom.await;
    }
    if let Some(http) = http {
        let _ = http.await;
    }
    // An audit that cannot be written has said so.
    let _ = audit.record(vec![Event::of(Act::Stopped)]).await;
    Ok(served?)
}

/// Says what is open to whoever reaches the address.
fn warn_of_open_doors(listeners: &Listeners, tls: bool, access: &Access) {
    // Where people have accounts, HTTP lets nobody in from another machine who shows nothing.
    let is_http_closed = access.accounts().is_some();
    for (listener, is_closed) in [(Some(&listeners.grpc), false), (listeners.http.as_ref(), is_http_closed)] {
        let Some(listener) = listener else { continue };
        let Ok(address) = listener.local_addr() else { continue };
        if address.ip().is_loopback() {
            continue;
        }
        if !access.tells_callers_apart() && !is_closed {
            tracing::warn!(%address, "open: whoever reaches this address can read and send studies; set --client-ca or --oidc-issuer");
        }
        if !tls {
            tracing::warn!(%address, "not encrypted: studies, reports and tokens can be read on the way; set --tls-cert and --tls-key");
        }
    }
}

/// Looks after studies whose senders went away, and plans that were not made. Apart from the rest, for a plan may wait.
async fn assemble(coordinator: Arc<Coordinator>) {
    while !coordinator.stopping.is_cancelled() {
        let assembled = tokio::select! {
            assembled = coordinator.assemble_stragglers() => assembled,
            // What is not planned now is planned after the next start.
            () = coordinator.stopping.cancelled() => return,
        };
        if let Err(error) = assembled {
            tracing::error!(error = without_uids(&error), "waiting studies");
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = coordinator.stopping.cancelled() => {}
        }
    }
}

/// Looks after what no request looks after: leases that ran out, files of access that cannot be used, and what is old.
async fn sweep(coordinator: Arc<Coordinator>, access: Arc<Access>) {
    let (mut kept_house, mut looked_at_questions) = (Instant::now(), Instant::now());
    while !coordinator.stopping.is_cancelled() {
        coordinator.metrics.access_outdated(access.outdated());
        if kept_house.elapsed() >= HOUSEKEEPING_EVERY {
            kept_house = Instant::now();
            if let Err(error) = keep_house(&coordinator).await {
                tracing::error!(error = without_uids(&error), "housekeeping");
            }
        }
        if looked_at_questions.elapsed() >= QUESTIONS_EVERY {
            looked_at_questions = Instant::now();
            if let Err(error) = coordinator.look_after_questions().await {
                tracing::error!(error = without_uids(&error), "open questions");
            }
        }
        if let Err(error) = coordinator.take_back_expired().await {
            tracing::error!(error = without_uids(&error), "expired leases");
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = coordinator.stopping.cancelled() => {}
        }
    }
}

/// Forgets what is old, and compares jobs with queues.
async fn keep_house(coordinator: &Coordinator) -> Result<(), StoreError> {
    coordinator.store.forget_workers(FORGET_WORKERS_MS).await?;
    coordinator.store.forget_requests(FORGET_REQUESTS_MS).await?;
    coordinator.store.forget_steps(FORGET_STEPS_MS).await?;
    coordinator.forget_workitems().await?;
    coordinator.store.forget_notes(FORGET_NOTES).await?;
    let mended = coordinator.store.reconcile().await?;
    if mended != Reconciled::default() {
        tracing::error!(?mended, "jobs and queues did not agree");
    }
    Ok(())
}
