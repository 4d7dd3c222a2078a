//! What a worker tells of itself in numbers, for Prometheus, and whether it is alive and ready.
//!
//! **Invariant**: nothing here waits for the model: a worker whose device is busy is alive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prelim_proto::cost::JobCost;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::backend::LoadedDevice;
use crate::engine::handle::Watch;

/// The media type that Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The numbers.
pub struct WorkerMetrics {
    registry: Registry,
    running: Gauge,
    slots: Gauge,
    prompt_tokens: Counter,
    prompt_tokens_cached: Counter,
    generated_tokens: Counter,
    forced_tokens: Counter,
    images_encoded: Counter,
    images_cached: Counter,
    stages: Family<[(&'static str, &'static str); 1], Histogram>,
    devices: Family<[(&'static str, String); 3], Gauge>,
    memory: Gauge,
    memory_used: Gauge,
    graphs_captured: Counter,
    graphs_launched: Counter,
    device: OnceLock<Arc<LoadedDevice>>,
    engine: OnceLock<Watch>,
    is_ready: AtomicBool,
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.005, 2.0, 20));
        let mut new = Self {
            registry: Registry::with_prefix("prelim_worker"),
            running: Gauge::default(),
            slots: Gauge::default(),
            prompt_tokens: Counter::default(),
            prompt_tokens_cached: Counter::default(),
            generated_tokens: Counter::default(),
            forced_tokens: Counter::default(),
            images_encoded: Counter::default(),
            images_cached: Counter::default(),
            stages: Family::new_with_constructor(seconds),
            devices: Family::default(),
            memory: Gauge::default(),
            memory_used: Gauge::default(),
            graphs_captured: Counter::default(),
            graphs_launched: Counter::default(),
            device: OnceLock::new(),
            engine: OnceLock::new(),
            is_ready: AtomicBool::new(false),
        };
        let all = &mut new.registry;
        all.register("jobs_running", "Jobs that the worker does now", new.running.clone());
        all.register("slots", "Jobs that it does at once", new.slots.clone());
        all.register("prompt_tokens", "Tokens read, image tokens included", new.prompt_tokens.clone());
        let help = "Tokens of prompts whose keys and values another prompt had left in the cache";
        all.register("prompt_tokens_cached", help, new.prompt_tokens_cached.clone());
        all.register("generated_tokens", "Tokens generated, forced ones included", new.generated_tokens.clone());
        let help = "Tokens that a grammar forced or that closed an answer, for which nothing was chosen";
        all.register("forced_tokens", help, new.forced_tokens.clone());
        all.register("images_encoded", "Images that went through the vision tower", new.images_encoded.clone());
        let help = "Images found encoded by an earlier prompt or another of a pass; not those whose tokens were found in the cache";
        all.register("images_cached", help, new.images_cached.clone());
        let help = "Time of a job's stages: fetch, decode, preprocess, vision, prefill, generate";
        all.register("stage_seconds", help, new.stages.clone());
        let help = "The device that the model computes on, and its arithmetic; always 1";
        all.register("device", help, new.devices.clone());
        let help = "Memory of the device, 0 where it has none of its own";
        all.register("device_memory_bytes", help, new.memory.clone());
        let help = "Memory of the device that is taken, by whomever";
        all.register("device_memory_used_bytes", help, new.memory_used.clone());
        let help = "Graphs that were made of passes that repeat, 0 where the device has none";
        all.register("device_graphs_captured", help, new.graphs_captured.clone());
        let help = "Passes that were started as graphs";
        all.register("device_graphs_launched", help, new.graphs_launched.clone());
        for stage in ["fetch", "decode", "preprocess", "vision", "prefill", "generate"] {
            // What has not happened yet is told as 0.
            drop(new.stages.get_or_create(&[("stage", stage)]));
        }
        new
    }
}

impl WorkerMetrics {
    /// The model is loaded: the worker asks for jobs now, this many at once.
    pub fn ready(&self, slots: usize) {
        self.slots.set(slots as i64);
        self.is_ready.store(true, Ordering::Relaxed);
    }

    /// What the model computes on. It is loaded once.
    pub(crate) fn computes_on(&self, device: &Arc<LoadedDevice>, arithmetic: &str) {
        let labels =
            [("name", device.name.clone()), ("kind", device.kind.to_owned()), ("arithmetic", arithmetic.to_owned())];
        self.devices.get_or_create(&labels).set(1);
        self.device.get_or_init(|| Arc::clone(device));
    }

    /// The engine that reads. There is one.
    pub(crate) fn reads_with(&self, engine: Watch) {
        self.engine.get_or_init(|| engine);
    }

    /// Asks engine and device for their numbers: what their work waits for is not waited for.
    fn look(&self) {
        if let Some(engine) = self.engine.get() {
            let progress = engine.progress();
            // The engine counts, and only ever upwards.
            self.prompt_tokens_cached.inner().store(progress.prompt_tokens_cached, Ordering::Relaxed);
            self.images_encoded.inner().store(progress.images_encoded, Ordering::Relaxed);
            self.images_cached.inner().store(progress.images_cached, Ordering::Relaxed);
        }
        let Some(device) = self.device.get() else { return };
        if let Some(memory) = device.memory() {
            self.memory.set(memory.total_bytes as i64);
            self.memory_used.set(memory.total_bytes.saturating_sub(memory.free_bytes) as i64);
        }
        if let Some(graphs) = device.graphs() {
            // So does the device.
            self.graphs_captured.inner().store(graphs.captured, Ordering::Relaxed);
            self.graphs_launched.inner().store(graphs.launched, Ordering::Relaxed);
        }
    }

    /// A job begins; it ends when what this returns is dropped.
    pub(crate) fn begin(&self) -> Running<'_> {
        self.running.inc();
        Running(&self.running)
    }

    /// What a job cost that was done.
    pub(crate) fn done(&self, cost: &JobCost) {
        self.prompt_tokens.inc_by(cost.prompt_tokens);
        self.generated_tokens.inc_by(cost.generated_tokens);
        self.forced_tokens.inc_by(cost.forced_tokens);
        let stages = [
            ("fetch", cost.fetch_ms),
            ("decode", cost.decode_ms),
            ("preprocess", cost.preprocess_ms),
            ("vision", cost.vision_ms),
            ("prefill", cost.prefill_ms),
            ("generate", cost.generate_ms),
        ];
        for (stage, ms) in stages {
            self.stages.get_or_create(&[("stage", stage)]).observe(ms / 1_000.0);
        }
    }
}

/// A job under way.
pub(crate) struct Running<'a>(&'a Gauge);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Serves the numbers, and whether the worker is alive and ready, until `stop`.
pub async fn serve(listener: TcpListener, metrics: Arc<WorkerMetrics>, stop: CancellationToken) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(numbers))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .with_state(metrics);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// The numbers as text for Prometheus; nothing where they cannot be written.
pub async fn told(metrics: Arc<WorkerMetrics>) -> Option<String> {
    let looking = Arc::clone(&metrics);
    // A driver may take its time. One that panics leaves the numbers of before.
    drop(tokio::task::spawn_blocking(move || looking.look()).await);
    let mut text = String::new();
    encode(&mut text, &metrics.registry).ok().map(|()| text)
}

async fn numbers(State(metrics): State<Arc<WorkerMetrics>>) -> impl IntoResponse {
    match told(metrics).await {
        Some(text) => (StatusCode::OK, [(header::CONTENT_TYPE, OPEN_METRICS)], text),
        None => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new()),
    }
}

async fn ready(State(metrics): State<Arc<WorkerMetrics>>) -> (StatusCode, &'static str) {
    match metrics.is_ready.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the model is being loaded\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use prelim_kernels::{DeviceMemory, GraphCounts};

    use super::*;

    #[test]
    fn a_device_is_asked_for_its_numbers_when_they_are_told() {
        let metrics = WorkerMetrics::default();
        let launched = Arc::new(AtomicU64::new(7));
        let counted = Arc::clone(&launched);
        let memory = DeviceMemory { free_bytes: 40, total_bytes: 100 };
        let graphs = move || Some(GraphCounts { captured: 2, launched: counted.load(Ordering::Relaxed) });
        let memory = Box::new(move || Some(memory));
        let device = LoadedDevice { name: "a GPU".to_owned(), kind: "cuda", memory, graphs: Box::new(graphs) };
        metrics.computes_on(&Arc::new(device), "cuda f16");
        for count in [7, 9] {
            launched.store(count, Ordering::Relaxed);
            metrics.look();
            let mut text = String::new();
            encode(&mut text, &metrics.registry).unwrap();
            for line in [
                "prelim_worker_device_memory_bytes 100".to_owned(),
                "prelim_worker_device_memory_used_bytes 60".to_owned(),
                "prelim_worker_device_graphs_captured_total 2".to_owned(),
                format!("prelim_worker_device_graphs_launched_total {count}"),
            ] {
                assert!(text.lines().any(|told| told == line), "no {line} in {text}");
            }
        }
    }
}
