//! Traces to an OpenTelemetry collector, where the environment names one.

use anyhow::Context as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prelim_coordinator::traces::StudyIds;

/// Runs `work`, and sends its spans as OTLP over gRPC where `OTEL_EXPORTER_OTLP_ENDPOINT` says whereto. `service` is the
/// name that the spans carry where `OTEL_SERVICE_NAME` gives no other.
pub(crate) async fn traced(
    service: &'static str,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let endpoints = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    let is_off = variable(&["OTEL_SDK_DISABLED"]).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_off || variable(&endpoints).is_none() {
        return work.await;
    }
    let provider = provider(service)?;
    opentelemetry::global::set_tracer_provider(provider.clone());
    let ended = work.await;
    // What is not sent yet is sent now. It blocks, for some seconds where the collector is away.
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || provider.shutdown()).await {
        tracing::warn!(%error, "the last spans were not sent");
    }
    ended
}

fn provider(service: &'static str) -> anyhow::Result<SdkTracerProvider> {
    let protocols = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    let protocol = variable(&protocols).unwrap_or_else(|| "grpc".to_owned());
    anyhow::ensure!(
        protocol == "grpc",
        "traces go out as OTLP over gRPC only, not {protocol:?}: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc and the collector's \
         port for it (4317 as a rule)"
    );
    // Before the SDK looks at the same variables, and says in its own words what it does instead.
    let sampler = sampler()?;
    let exporter = SpanExporter::builder().with_tonic().build().context("traces (OTEL_EXPORTER_OTLP_ENDPOINT)")?;
    let mut resource = Resource::builder();
    let names = variable(&["OTEL_RESOURCE_ATTRIBUTES"]).is_some_and(|given| given.contains("service.name="));
    if !names && variable(&["OTEL_SERVICE_NAME"]).is_none() {
        resource = resource.with_service_name(service);
    }
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Ok(SdkTracerProvider::builder()
        .with_resource(resource.with_attribute(version).build())
        .with_id_generator(StudyIds::default())
        .with_sampler(sampler)
        .with_batch_exporter(exporter)
        .build())
}

/// The sampler that the environment asks for. A study's trace begins on no machine in particular, so that there is no
/// parent to decide for the others: all decide by the trace's id, and alike.
fn sampler() -> anyhow::Result<Sampler> {
    let Some(name) = variable(&["OTEL_TRACES_SAMPLER"]) else { return Ok(Sampler::AlwaysOn) };
    match name.strip_prefix("parentbased_").unwrap_or(&name) {
        "always_on" => Ok(Sampler::AlwaysOn),
        "always_off" => Ok(Sampler::AlwaysOff),
        "traceidratio" => {
            let ratio = variable(&["OTEL_TRACES_SAMPLER_ARG"]).unwrap_or_else(|| "1".to_owned());
            let share = ratio.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            let share = share.with_context(|| format!("OTEL_TRACES_SAMPLER_ARG is {ratio:?}, not between 0 and 1"))?;
            Ok(Sampler::TraceIdRatioBased(share))
        }
        _ => anyhow::bail!("OTEL_TRACES_SAMPLER is {name:?}: always_on, always_off and traceidratio are known"),
    }
}

/// The first of the environment's variables that is set and not empty.
fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}
