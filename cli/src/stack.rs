//! A coordinator and a worker in this process, speaking gRPC over loopback as they would across machines.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prelim_coordinator::dimse::scp::config::DicomConfig;
use prelim_coordinator::{Beside, CoordinatorConfig, Listeners};
use prelim_imaging::sandbox::DecoderCommand;
use prelim_proto::demand::ModelName;
use prelim_proto::report::ModelProvenance;
use prelim_worker::config::{OfferConfig, WorkerConfig, WorkerLimits};
use prelim_worker::connection::ConnectionArgs;
use prelim_worker::metrics::WorkerMetrics;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::client::Connection;

/// Where a coordinator serves when nobody says.
pub(crate) const DEFAULT_GRPC: &str = "127.0.0.1:7070";
/// Where it keeps its data when nobody says.
pub(crate) const DEFAULT_DATA: &str = "prelim-data";

/// How both are run.
pub(crate) struct StackConfig {
    pub(crate) coordinator: CoordinatorConfig,
    pub(crate) model: Option<PathBuf>,
    pub(crate) offer: OfferConfig,
    pub(crate) limits: WorkerLimits,
}

impl StackConfig {
    /// For a run of our own: a port that is free, data in `data`.
    pub(crate) fn on_a_free_port(data: &Path, model: Option<PathBuf>) -> Self {
        let coordinator = CoordinatorConfig {
            data: data.to_owned(),
            grpc: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..CoordinatorConfig::default()
        };
        Self { coordinator, model, offer: OfferConfig::default(), limits: WorkerLimits::default() }
    }
}

/// A running coordinator with its worker.
pub(crate) struct Stack {
    connection: Connection,
    model: ModelProvenance,
    /// The same with each adapter that rules can choose.
    adapted: Vec<ModelProvenance>,
    /// What it computes on, as the device is called.
    device: String,
    /// What DICOM senders are told, where DICOM is served.
    dicom: Option<String>,
    /// The address of DICOMweb, where it is served.
    http: Option<String>,
    stopping: CancellationToken,
    worker_stopping: CancellationToken,
    // Dropped with the stack: work that is interrupted leaves nothing running.
    coordinator: AbortOnDropHandle<anyhow::Result<()>>,
    worker: AbortOnDropHandle<anyhow::Result<()>>,
}

impl Stack {
    /// Loads the model, then opens the port, then the store: a mistake in one leaves no trace in the next.
    pub(crate) async fn start(config: StackConfig) -> anyhow::Result<Self> {
        let mut worker_config = WorkerConfig {
            connection: ConnectionArgs::to(&config.coordinator.grpc.to_string()),
            model: config.model,
            offer: config.offer,
            simulate: None,
            limits: config.limits,
            metrics: None,
            worker_id: None,
        };
        let reader = prelim_worker::run::load(&worker_config, decoder()?).await?;
        let (model, adapted) = (reader.provenance().clone(), reader.adapted().cloned().collect());
        let device = reader.device().name.clone();
        let listener = bind(config.coordinator.grpc).await?;
        let url = url(&listener, &config.coordinator)?;
        let guarded =
            config.coordinator.security.tls_cert.is_some() || config.coordinator.security.tells_callers_apart();
        let metrics = bind_asked("--metrics", config.coordinator.metrics).await?;
        let dicom_listener = bind_asked("--dicom", config.coordinator.dicom.dicom).await?;
        let dicom = dicom_address(&dicom_listener, &config.coordinator.dicom)?;
        let http_listener = bind_asked("--http", config.coordinator.web.http).await?;
        let http = web_url(&http_listener, &config.coordinator)?;
        let opened = prelim_coordinator::open(config.coordinator, decoder()?).await?;
        // The worker of this process needs no certificate of its own: it has a door, and a token that nobody else is told.
        let inside = if guarded { Some(bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?) } else { None };
        worker_config.connection = match &inside {
            None => ConnectionArgs::to(&url),
            Some(door) => ConnectionArgs {
                token: Some(opened.inside_token().parse()?),
                ..ConnectionArgs::to(&door.local_addr()?.to_string())
            },
        };
        let (stopping, worker_stopping) = (CancellationToken::new(), CancellationToken::new());
        let stop = stopping.clone().cancelled_owned().boxed();
        let worker_metrics = Arc::<WorkerMetrics>::default();
        let beside = Beside::new({
            let numbers = worker_metrics.clone();
            move || prelim_worker::metrics::told(numbers.clone()).boxed()
        });
        let listeners = Listeners {
            grpc: listener,
            metrics,
            beside: Some(beside),
            dicom: dicom_listener,
            http: http_listener,
            inside,
        };
        let coordinator = tokio::spawn(async move { Ok(prelim_coordinator::serve(opened, listeners, stop).await?) });
        let stop = worker_stopping.clone().cancelled_owned().boxed();
        let worker =
            tokio::spawn(
                async move { Ok(prelim_worker::run::serve(reader, &worker_config, worker_metrics, stop).await?) },
            );
        let connection = Connection { args: ConnectionArgs::to(&url) };
        let (coordinator, worker) = (AbortOnDropHandle::new(coordinator), AbortOnDropHandle::new(worker));
        Ok(Self { connection, model, adapted, device, dicom, http, stopping, worker_stopping, coordinator, worker })
    }

    /// How clients reach it.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Where it listens to DICOM, in words for those who set up a sender.
    pub(crate) fn dicom(&self) -> Option<&str> {
        self.dicom.as_deref()
    }

    /// Where it serves DICOMweb.
    pub(crate) fn http(&self) -> Option<&str> {
        self.http.as_deref()
    }

    /// What it reads with.
    pub(crate) fn model(&self) -> &ModelProvenance {
        &self.model
    }

    /// What it reads with where rules choose this adapter.
    pub(crate) fn adapted(&self, name: &ModelName) -> Option<&ModelProvenance> {
        self.adapted.iter().find(|model| model.name == name.as_str())
    }

    /// On which device.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// Runs until `signal`, or until one of the two ends by itself.
    pub(crate) async fn until(mut self, signal: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = signal => self.stop().await,
            ended = &mut self.coordinator => ended?,
            ended = &mut self.worker => ended?,
        }
    }

    /// What `work` comes to, with which both stop; an error where one of them ends before it.
    pub(crate) async fn during<T>(mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let done = tokio::select! {
            done = work => done,
            ended = &mut self.coordinator => {
                ended??;
                anyhow::bail!("the coordinator ended before all was read")
            }
            ended = &mut self.worker => {
                ended??;
                anyhow::bail!("the worker ended before all was read")
            }
        };
        self.stop().await?;
        done
    }

    /// Stops the worker, which gives its jobs back, then the coordinator.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.worker_stopping.cancel();
        let worker = self.worker.await?;
        self.stopping.cancel();
        self.coordinator.await??;
        worker
    }
}

/// Binds a port, or says what to do.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{address} cannot be used, another program may have it: stop that one, or choose another with --grpc")
    })
}

/// The address of a coordinator, as clients give it.
pub(crate) fn url(listener: &TcpListener, config: &CoordinatorConfig) -> anyhow::Result<String> {
    let scheme = if config.security.tls_cert.is_some() { "https://" } else { "" };
    Ok(format!("{scheme}{}", listener.local_addr()?))
}

/// Binds the port that `flag` asks for, where it asks for one.
pub(crate) async fn bind_asked(flag: &str, address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
    Ok(Some(bound.with_context(|| format!("{address} cannot be used: choose another with {flag}"))?))
}

/// Title and address, as a sender is set up with them; nothing where DICOM is not served.
pub(crate) fn dicom_address(listener: &Option<TcpListener>, config: &DicomConfig) -> anyhow::Result<Option<String>> {
    let Some(listener) = listener else { return Ok(None) };
    Ok(Some(format!("{}@{}", config.aet.trim(), listener.local_addr()?)))
}

/// The address of DICOMweb, as clients are set up with it; nothing where it is not served.
pub(crate) fn web_url(listener: &Option<TcpListener>, config: &CoordinatorConfig) -> anyhow::Result<Option<String>> {
    let Some(listener) = listener else { return Ok(None) };
    let scheme = if config.security.tls_cert.is_some() { "https" } else { "http" };
    Ok(Some(format!("{scheme}://{}{}", listener.local_addr()?, prelim_coordinator::web::ROOT)))
}

/// This program as a decoder of hostile pixels.
pub(crate) fn decoder() -> anyhow::Result<DecoderCommand> {
    let program = std::env::current_exe().context("the path of this program is not known")?;
    Ok(DecoderCommand {
        program,
        arguments: vec!["decoder".into()],
        // mimalloc would reserve a gigabyte of address space at its start: all that a decoder process is given.
        environment: vec![("MIMALLOC_ARENA_RESERVE".into(), "0".into())],
    })
}

/// Ctrl-C, SIGTERM as service managers send it, or SIGHUP of a terminal that is closed, unless it is to be outlived (`nohup`).
/// They are heard from this call on, also before anybody waits for what it returns: who is told that a process is ready may
/// ask it to end at once.
pub(crate) fn stop_signal() -> BoxFuture<'static, ()> {
    let is_outlived = ignores_hangup(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    // Listening to it would end what ignores it.
    let hangup = if is_outlived { Ok(None) } else { signal(SignalKind::hangup()).map(Some) };
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (interrupt, terminate, hangup) else {
        // Without handlers the system's default applies: the process ends at once, and loses nothing by it.
        return std::future::pending().boxed();
    };
    async move {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = hung_up => {}
        }
    }
    .boxed()
}

/// Whether whoever started a process wants it to go on after its terminal, by its status as Linux tells it.
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored & 1 == 1)
}

/// The model that a worker would load, in a sentence.
pub(crate) fn describe_model(folder: Option<&Path>, offer: OfferConfig) -> anyhow::Result<String> {
    let config = WorkerConfig {
        connection: ConnectionArgs::to(DEFAULT_GRPC),
        model: folder.map(Path::to_owned),
        offer,
        simulate: None,
        limits: WorkerLimits::default(),
        metrics: None,
        worker_id: None,
    };
    let reader = tokio::runtime::Runtime::new()?.block_on(prelim_worker::run::load(&config, decoder()?))?;
    let model = reader.provenance();
    let what = if model.demonstration { ", a demonstration" } else { "" };
    let digest = &model.digest.as_str()[..12];
    Ok(format!("{}{what}, {}, digest {digest}", model.name, model.arithmetic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_is_ignored_is_known() {
        let status = |mask: &str| format!("SigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
        assert!(ignores_hangup(&status("0000000000001001")));
        assert!(!ignores_hangup(&status("0000000000001000")) && !ignores_hangup(""));
    }
}
