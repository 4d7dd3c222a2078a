//! A worker from start to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use prelim_imaging::sandbox::DecoderCommand;
use prelim_proto::demand::Offer;
use prelim_proto::job::{JobKind, JobOutcome, Lease};
use prelim_proto::question::QuestionKind;
use prelim_proto::v1::{self, WorkerStatus};
use tokio_util::sync::CancellationToken;

use crate::config::{OfferConfig, WorkerConfig};
use crate::connection::ConnectionError;
use crate::coordinator::Coordinator;
use crate::demo_model;
use crate::fetch::Objects;
use crate::job::{self, JobError};
use crate::lease::{self, Work};
use crate::metrics::WorkerMetrics;
use crate::reader::{LoadError, Reader};
use crate::renew::{Renewer, process_name};

/// Why a worker does not run, or does not run on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The settings.
    #[error("settings are not usable: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The way to the coordinator.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The demonstration model has no place.
    #[error("demonstration model is not unpacked to {folder}: {source}; give another cache folder with XDG_CACHE_HOME")]
    Demonstration {
        /// Where it was to go.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread or program of the worker's own.
    #[error("worker is not started: {0}")]
    Start(#[from] std::io::Error),
    /// Loading panicked.
    #[error("model loading panicked: {0}")]
    Panic(String),
    /// The engine is gone; its jobs go to other workers.
    #[error("engine has stopped: the device is lost, or out of memory; start the worker again")]
    EngineStopped,
}

/// Loads what a worker with these settings reads with; `decoder` decodes the pixels.
pub async fn load(config: &WorkerConfig, decoder: DecoderCommand) -> Result<Reader, WorkerError> {
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(WorkerError::Config(problems));
    }
    let folder = model_folder(config)?;
    let WorkerConfig { limits, offer: OfferConfig { model_name, adapters, prompts }, .. } = config.clone();
    let loading = tokio::task::spawn_blocking(move || {
        let reader = Reader::load(&folder, &adapters, &limits, decoder)?;
        let reader = model_name.into_iter().try_fold(reader, |reader, name| reader.called(&name))?;
        prompts.into_iter().try_fold(reader, |reader, folder| reader.with_prompts(&folder))
    });
    Ok(loading.await.map_err(|error| WorkerError::Panic(error.to_string()))??)
}

/// Leases jobs and reads them with `reader`, until `shutdown`. Jobs in flight then are finished within the time that
/// the settings give, and otherwise given back.
///
/// A coordinator that is away is waited for, also at the start.
// Boxed: a future is compiled where it is polled, and the whole worker hangs on this one.
pub fn serve<'a>(
    reader: Reader,
    config: &'a WorkerConfig,
    metrics: Arc<WorkerMetrics>,
    shutdown: BoxFuture<'a, ()>,
) -> BoxFuture<'a, Result<(), WorkerError>> {
    Box::pin(serve_until(reader, config, metrics, shutdown))
}

async fn serve_until(
    reader: Reader,
    config: &WorkerConfig,
    metrics: Arc<WorkerMetrics>,
    mut shutdown: BoxFuture<'_, ()>,
) -> Result<(), WorkerError> {
    metrics.computes_on(reader.device(), &reader.provenance().arithmetic);
    metrics.reads_with(reader.engine().watch());
    metrics.ready(config.limits.slots);
    let name = config.name();
    let coordinator = Coordinator::new(&config.connection, &name)?;
    let (provenance, offer) = (reader.provenance(), reader.offer());
    let status = WorkerStatus {
        kinds: reader.kinds().into_iter().map(|kind| v1::JobKind::from(kind) as i32).collect(),
        slots: config.limits.slots as u32,
        running: 0,
        model: offer.model.as_ref().map_or_else(|| provenance.name.clone(), ToString::to_string),
        adapters: offer.adapters.iter().map(ToString::to_string).collect(),
        prompts: offer.prompts.iter().map(ToString::to_string).collect(),
        software_version: provenance.software_version.clone(),
        process: process_name(),
        questions: reader.question_kinds().map(|kind| v1::QuestionKind::from(kind) as i32).collect(),
    };
    let renewer = Renewer::start(config.connection.clone(), name.clone(), status)?;
    let adapters: Vec<&str> = offer.adapters.iter().map(|adapter| adapter.as_str()).collect();
    let (model, arithmetic, device) = (&provenance.name, &provenance.arithmetic, &reader.device().name);
    tracing::info!(worker.id = %name, %model, adapters = adapters.join(", "), %device, %arithmetic, "ready");
    let objects = Objects::new(coordinator.clone(), config.limits.object_cache_mib << 20);
    let work = Arc::new(Reading { reader: Arc::new(reader), objects, metrics });
    let stop = CancellationToken::new();
    let drain = Duration::from_secs(config.limits.drain_s);
    let serving = lease::serve(work, coordinator.clone(), renewer, config.limits.slots, drain, stop.clone());
    tokio::pin!(serving);
    let sound = tokio::select! {
        sound = &mut serving => sound,
        () = &mut shutdown => {
            stop.cancel();
            serving.await
        }
    };
    // Without this the coordinator forgets the worker by itself, some minutes later.
    let _ = coordinator.leave().await;
    if sound { Ok(()) } else { Err(WorkerError::EngineStopped) }
}

/// The model's folder: the one given, or that of the demonstration model, unpacked where needed.
fn model_folder(config: &WorkerConfig) -> Result<PathBuf, WorkerError> {
    if let Some(folder) = &config.model {
        return Ok(folder.clone());
    }
    let cache = demo_model::default_cache();
    demo_model::unpack(&cache).map_err(|source| WorkerError::Demonstration { folder: cache, source })
}

/// The work of a worker: reading images.
struct Reading {
    reader: Arc<Reader>,
    metrics: Arc<WorkerMetrics>,
    objects: Objects<Coordinator>,
}

impl Work for Reading {
    fn kinds(&self) -> Vec<JobKind> {
        self.reader.kinds()
    }

    fn offer(&self) -> Offer {
        self.reader.offer()
    }

    fn questions(&self) -> Vec<QuestionKind> {
        self.reader.question_kinds().collect()
    }

    async fn run(&self, lease: &Lease) -> Result<JobOutcome, JobError> {
        let _running = self.metrics.begin();
        let outcome = job::run(&self.reader, &self.objects, lease).await?;
        self.metrics.done(&outcome.cost);
        Ok(outcome)
    }
}
