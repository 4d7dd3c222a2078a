//! `prelim up`, `prelim coordinator`, `prelim worker`: the roles that run until they are stopped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use prelim_coordinator::{CoordinatorConfig, Listeners};
use prelim_proto::report::ModelProvenance;
use prelim_worker::config::{OfferConfig, WorkerConfig, WorkerLimits};
use prelim_worker::metrics::WorkerMetrics;
use prelim_worker::simulate::{Simulated, Times};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::first_account;
use crate::stack::{self, Stack, StackConfig};
use crate::table;

/// Run a coordinator and a worker in one process.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim up\n  prelim up --data /var/lib/prelim --grpc 127.0.0.1:7070 --model ~/models/medgemma-4b-it"
)]
pub(crate) struct Up {
    #[command(flatten)]
    coordinator: CoordinatorConfig,
    /// Folder with a Hugging Face checkpoint (MedGemma as published); the demonstration model where not given.
    #[arg(long, value_name = "DIR", env = "PRELIM_MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    offer: OfferConfig,
    #[command(flatten)]
    limits: WorkerLimits,
    /// For programs: the line that tells the address as JSON.
    #[arg(long)]
    json: bool,
}

impl Up {
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let made = first_account::provide(&mut self.coordinator)?;
        let data = self.coordinator.data.display().to_string();
        let accounts = self.coordinator.security.accounts.as_ref().map(|file| file.display().to_string());
        let audit = self.coordinator.security.audit.as_ref().map(|file| file.display().to_string());
        let told = self.coordinator.web.http_url.clone();
        let config =
            StackConfig { coordinator: self.coordinator, model: self.model, offer: self.offer, limits: self.limits };
        let stack = Stack::start(config).await?;
        let stop = stack::stop_signal();
        let grpc = stack.connection().args.grpc.clone();
        if self.json {
            let (model, device) = (&stack.model().name, stack.device());
            table::say(
                json!({"grpc": grpc, "data": data, "model": model, "device": device, "dicom": stack.dicom(), "http": stack.http(),
                       "accounts": accounts, "audit": audit,
                       "account": made.map(|made| json!({"name": made.name, "password": made.password}))}),
            )?;
        } else {
            table::say(format!(
                "prelim is up on {grpc}, data in {data}, reading with {}",
                model(stack.model(), stack.device())
            ))?;
            table::say_if(stack.dicom().map(|told| format!("DICOM: {told}")))?;
            table::say_if(stack.http().map(|told| format!("DICOMweb: {told}")))?;
            table::say_if(
                stack.http().map(|here| format!("reading room: {}", page_of(told.as_deref().unwrap_or(here)))),
            )?;
            table::say_if(
                made.map(|made| format!("sign in there as {}, password {} (told once)", made.name, made.password)),
            )?;
            table::say_if(accounts.filter(|_| stack.http().is_some()).map(|file| {
                format!("accounts: {file} (add or change one: prelim account add NAME --accounts {file})")
            }))?;
            table::say_if(audit.map(told_audit))?;
            table::say(format!("send studies: prelim submit --grpc {grpc} --wait DIR"))?;
            table::say(prelim_proto::UNSIGNED_DRAFT_STATEMENT)?;
        }
        stack.until(stop).await
    }
}

fn told_audit(file: String) -> String {
    format!("who did what: {file} (check it: prelim audit verify {file})")
}

/// The address of the page, beside that of DICOMweb.
fn page_of(http: &str) -> String {
    format!("{}/", http.trim_end_matches(prelim_coordinator::web::ROOT).trim_end_matches('/'))
}

/// A model in a few words, with the device: workers on two GPUs of a machine are told apart by it.
fn model(model: &ModelProvenance, device: &str) -> String {
    let what = if model.demonstration { " (a demonstration, not for patients)" } else { "" };
    format!("{}{what} in {} on {device}", model.name, model.arithmetic)
}

/// Run a coordinator.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim coordinator --data /var/lib/prelim --grpc 127.0.0.1:7070")]
pub(crate) struct Coordinator {
    #[command(flatten)]
    config: CoordinatorConfig,
    /// For programs: the line that tells the address as JSON.
    #[arg(long)]
    json: bool,
}

impl Coordinator {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let listener = stack::bind(self.config.grpc).await?;
        let grpc = stack::url(&listener, &self.config)?;
        let data = self.config.data.display().to_string();
        let audit = self.config.audit().map(|file| file.display().to_string());
        let metrics = stack::bind_asked("--metrics", self.config.metrics).await?;
        let dicom = stack::bind_asked("--dicom", self.config.dicom.dicom).await?;
        let told = stack::dicom_address(&dicom, &self.config.dicom)?;
        let http = stack::bind_asked("--http", self.config.web.http).await?;
        let web = stack::web_url(&http, &self.config)?;
        let url = self.config.web.http_url.clone();
        let opened = prelim_coordinator::open(self.config, stack::decoder()?).await?;
        let stop = stack::stop_signal();
        if self.json {
            table::say(json!({"grpc": grpc, "data": data, "dicom": told, "http": web, "audit": audit}))?;
        } else {
            table::say(format!("coordinator on {grpc}, data in {data}"))?;
            table::say_if(told.map(|told| format!("DICOM: {told}")))?;
            table::say_if(web.as_deref().map(|told| format!("DICOMweb: {told}")))?;
            table::say_if(web.map(|here| format!("reading room: {}", page_of(url.as_deref().unwrap_or(&here)))))?;
            table::say_if(audit.map(told_audit))?;
        }
        let listeners = Listeners { metrics, dicom, http, ..Listeners::on(listener) };
        Ok(prelim_coordinator::serve(opened, listeners, stop).await?)
    }
}

/// Run a worker.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim worker --grpc coordinator.example:7070 --model ~/models/medgemma-4b-it")]
pub(crate) struct Worker {
    #[command(flatten)]
    config: WorkerConfig,
    /// For programs: the line that tells that the model is loaded as JSON.
    #[arg(long)]
    json: bool,
}

impl Worker {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        // The port opens before the model loads: a large one takes a while, in which the worker is alive and not ready.
        let metrics = Arc::<WorkerMetrics>::default();
        let served = CancellationToken::new();
        if let Some(listener) = stack::bind_asked("--metrics", self.config.metrics).await? {
            tokio::spawn(prelim_worker::metrics::serve(listener, metrics.clone(), served.clone()));
        }
        let _served = served.drop_guard();
        if let Some(file) = &self.config.simulate {
            return self.simulate(file, metrics).await;
        }
        let reader = prelim_worker::run::load(&self.config, stack::decoder()?).await?;
        let stop = stack::stop_signal();
        if self.json {
            let (model, device) = (&reader.provenance().name, &reader.device().name);
            table::say(json!({"grpc": self.config.connection.grpc, "model": model, "device": device}))?;
        } else {
            table::say(format!(
                "worker for {}, reading with {}",
                self.config.connection.grpc,
                model(reader.provenance(), &reader.device().name)
            ))?;
        }
        Ok(prelim_worker::run::serve(reader, &self.config, metrics, stop).await?)
    }
}

impl Worker {
    /// Takes jobs and the time that a file says, and reads nothing.
    async fn simulate(&self, file: &Path, metrics: Arc<WorkerMetrics>) -> anyhow::Result<()> {
        let problems = self.config.validate();
        anyhow::ensure!(problems.is_empty(), "settings are not usable: {}", problems.join("; "));
        let text = std::fs::read_to_string(file).with_context(|| format!("--simulate {}", file.display()))?;
        let times = Times::parse(&text).map_err(|error| anyhow::anyhow!("--simulate {}: {error}", file.display()))?;
        let grpc = &self.config.connection.grpc;
        let stopped = stack::stop_signal();
        if self.json {
            table::say(json!({"grpc": grpc, "model": "simulation"}))?;
        } else {
            table::say(format!("simulated worker for {grpc}: it reads nothing, and every draft says so"))?;
        }
        let limits = &self.config.limits;
        let worker = Simulated {
            connection: self.config.connection.clone(),
            name: self.config.name(),
            model: self.config.offer.model_name.clone(),
            slots: limits.slots,
            times: Arc::new(times),
            drain: Duration::from_secs(limits.drain_s),
            metrics,
        };
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            stopped.await;
            stopping.cancel();
        });
        Ok(worker.work(stop, None).await?)
    }
}
