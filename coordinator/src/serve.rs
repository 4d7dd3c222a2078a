//! A running coordinator: stores opened, work recovered, services served, tasks ended in order.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prelim_imaging::sandbox::DecoderCommand;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::bytes::{ByteStore, OpenError, Variables};
use crate::clock::SystemClock;
use crate::config::CoordinatorConfig;
use crate::grpc;
use crate::metrics;
use crate::service::Coordinator;
use crate::store::embedded::EmbeddedStore;
use crate::store::record::Reconciled;
use crate::store::redis::{RedisOptions, RedisStore};
use crate::store::{JobStore, StoreError};

/// How often leases, quiet studies and forgotten plans are looked after.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How long a worker is remembered that was not heard of.
const FORGET_WORKERS_MS: u64 = 600_000;
/// How long a request id is remembered.
const FORGET_REQUESTS_MS: u64 = 7 * 86_400_000;
/// How often what is old is forgotten, and jobs and queues are compared.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(300);

/// The sockets that a coordinator serves on.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For metrics and probes, where they are served.
    pub metrics: Option<TcpListener>,
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
    /// The byte store could not be opened.
    #[error(transparent)]
    Bytes(#[from] OpenError),
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
}

/// Opens the stores and brings them in order after whatever happened before.
pub async fn open(config: CoordinatorConfig, decoder: DecoderCommand) -> Result<Opened, ServeError> {
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(ServeError::Config(problems));
    }
    let wrong = |problem| ServeError::Config(vec![problem]);
    let shares = config.shares().map_err(wrong)?;
    let redis = config.redis.options().map_err(wrong)?;
    make_folder(&config.data)?;
    let store: Arc<dyn JobStore> = match redis {
        Some(options) => Arc::new(open_redis(&options).await?),
        None => Arc::new(EmbeddedStore::open(&config.data, Arc::new(SystemClock::default()))?),
    };
    let place = config.bytes_place().map_err(OpenError::from)?;
    let bytes = ByteStore::open(&place, &Variables::of_this_process()).await?;
    let mended = store.reconcile().await?;
    tracing::info!(?mended, "store opened");
    let stopping = CancellationToken::new();
    let coordinator = Coordinator::new(config, shares, store, bytes, decoder, stopping.clone());
    Ok(Opened { coordinator: Arc::new(coordinator), stopping })
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

fn make_folder(folder: &Path) -> Result<(), ServeError> {
    std::fs::create_dir_all(folder).map_err(|source| ServeError::DataFolder { folder: folder.to_owned(), source })
}

/// Serves until `shutdown` resolves, then lets open calls end.
pub async fn serve(
    opened: Opened,
    listeners: Listeners,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let Opened { coordinator, stopping } = opened;
    let merging = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { coordinator.merge_until_stopped().await }
    });
    let sweeping = tokio::spawn(sweep(coordinator.clone()));
    let measuring = listeners.metrics.map(|listener| tokio::spawn(metrics::serve(coordinator.clone(), listener)));
    let giving = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { tokio::join!(coordinator.serve_line(), coordinator.hear_of_work()) }
    });
    let drain = Duration::from_secs(coordinator.config.close_s);
    let routes = grpc::services(coordinator).await?.routes();
    let stop = stopping.clone();
    let signal = async move {
        shutdown.await;
        // Long polls and watches end; other calls are let finish.
        stop.cancel();
    };
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listeners.grpc), signal);
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
    Ok(served?)
}

/// Looks after what no request looks after: leases that ran out, senders that went away, plans not made.
async fn sweep(coordinator: Arc<Coordinator>) {
    let mut kept_house = Instant::now();
    while !coordinator.stopping.is_cancelled() {
        if kept_house.elapsed() >= HOUSEKEEPING_EVERY {
            kept_house = Instant::now();
            if let Err(error) = keep_house(&coordinator).await {
                tracing::error!(%error, "housekeeping");
            }
        }
        if let Err(error) = coordinator.take_back_expired().await {
            tracing::error!(%error, "expired leases");
        }
        if let Err(error) = coordinator.assemble_stragglers().await {
            tracing::error!(%error, "waiting studies");
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
    let mended = coordinator.store.reconcile().await?;
    if mended != Reconciled::default() {
        tracing::error!(?mended, "jobs and queues did not agree");
    }
    Ok(())
}
