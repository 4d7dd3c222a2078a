//! KEDA's external scaler: how much work waits. It tells numbers only, nothing of a study.

use std::sync::Arc;
use std::time::Duration;

use prelim_proto::demand::Offer;
use prelim_proto::image::ImageKind;
use prelim_proto::keda;
use prelim_proto::keda::external_scaler_server::ExternalScaler;
use prelim_proto::question::QuestionKind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::status;
use crate::backlog::Pool;
use crate::service::Coordinator;

/// The measure.
const METRIC: &str = "prelim_backlog_gpu_seconds";
/// Which kinds of job a pool of workers takes: `xray`, `ct`, or both with a comma; all where not given.
const KINDS: &str = "kinds";
/// The model that the workers of a pool read with, by name: then only what they could do and do counts.
const MODEL: &str = "model";
/// Prompts that they offer besides, with commas.
const PROMPTS: &str = "prompts";
/// Adapters of the model that they offer besides, with commas.
const ADAPTERS: &str = "adapters";
/// How much of the backlog one replica is to have.
const TARGET: &str = "targetGpuSeconds";
/// That much where not given, in s: a minute's work a replica.
const DEFAULT_TARGET_S: f64 = 60.0;
/// How often the stream looks.
const LOOK: Duration = Duration::from_secs(2);

/// The service.
pub(crate) struct Scaler(pub(crate) Arc<Coordinator>);

type Answer<T> = Result<Response<T>, Status>;

impl Scaler {
    async fn backlog_s(&self, of: &keda::ScaledObjectRef) -> Result<f64, Status> {
        let pool = pool(of)?;
        self.0.backlog_of_s(&pool).await.map_err(status::of)
    }
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    type StreamIsActiveStream = ReceiverStream<Result<keda::IsActiveResponse, Status>>;

    async fn is_active(&self, request: Request<keda::ScaledObjectRef>) -> Answer<keda::IsActiveResponse> {
        let result = self.backlog_s(request.get_ref()).await? > 0.0;
        Ok(Response::new(keda::IsActiveResponse { result }))
    }

    async fn stream_is_active(&self, request: Request<keda::ScaledObjectRef>) -> Answer<Self::StreamIsActiveStream> {
        let pool = pool(request.get_ref())?;
        let (sender, receiver) = mpsc::channel(1);
        let coordinator = self.0.clone();
        tokio::spawn(async move {
            let mut told = None;
            while !coordinator.stopping.is_cancelled() && !sender.is_closed() {
                // A store that does not answer for a moment is no reason to scale down.
                if let Ok(backlog_s) = coordinator.backlog_of_s(&pool).await {
                    let result = backlog_s > 0.0;
                    if told != Some(result) && sender.send(Ok(keda::IsActiveResponse { result })).await.is_err() {
                        return;
                    }
                    told = Some(result);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_metric_spec(&self, request: Request<keda::ScaledObjectRef>) -> Answer<keda::GetMetricSpecResponse> {
        let of = request.get_ref();
        pool(of)?;
        let target_s = match of.scaler_metadata.get(TARGET) {
            None => DEFAULT_TARGET_S,
            Some(text) => match text.parse::<f64>() {
                Ok(target_s) if target_s.is_finite() && target_s > 0.0 => target_s,
                _ => return Err(status::invalid(TARGET, format!("{text:?} is no number of seconds above 0"))),
            },
        };
        let spec = keda::MetricSpec {
            metric_name: METRIC.to_owned(),
            target_size: target_s.ceil() as i64,
            target_size_float: target_s,
        };
        Ok(Response::new(keda::GetMetricSpecResponse { metric_specs: vec![spec] }))
    }

    async fn get_metrics(&self, request: Request<keda::GetMetricsRequest>) -> Answer<keda::GetMetricsResponse> {
        let of = request.get_ref().scaled_object_ref.clone().unwrap_or_default();
        let backlog_s = self.backlog_s(&of).await?;
        let value = keda::MetricValue {
            metric_name: METRIC.to_owned(),
            metric_value: backlog_s.ceil() as i64,
            metric_value_float: backlog_s,
        };
        Ok(Response::new(keda::GetMetricsResponse { metric_values: vec![value] }))
    }
}

/// What is scaled.
fn pool(of: &keda::ScaledObjectRef) -> Result<Pool, Status> {
    let given = |name: &str| of.scaler_metadata.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let names = |of: &str| -> Vec<String> {
        given(of).into_iter().flat_map(|text| text.split(',')).map(|name| name.trim().to_owned()).collect()
    };
    let (adapters, prompts) = (names(ADAPTERS), names(PROMPTS));
    let offer = match given(MODEL) {
        None if !prompts.is_empty() => return Err(status::invalid(PROMPTS, format!("give {MODEL}, too"))),
        None if !adapters.is_empty() => return Err(status::invalid(ADAPTERS, format!("give {MODEL}, too"))),
        None => None,
        // What its workers can be asked it does not say.
        Some(model) => {
            let offer = Offer::from_wire(model, &adapters, &prompts).map_err(|error| status::of(error.into()))?;
            Some(offer.with_questions(QuestionKind::ALL))
        }
    };
    Ok(Pool { kinds: kinds(of)?, offer })
}

/// The kinds of job that the pool takes.
fn kinds(of: &keda::ScaledObjectRef) -> Result<Vec<ImageKind>, Status> {
    let Some(text) = of.scaler_metadata.get(KINDS).filter(|text| !text.trim().is_empty()) else {
        return Ok(vec![ImageKind::Xray, ImageKind::Ct]);
    };
    let mut kinds = Vec::new();
    for word in text.split(',').map(str::trim) {
        let kind = match word {
            "xray" => ImageKind::Xray,
            "ct" => ImageKind::Ct,
            other => return Err(status::invalid(KINDS, format!("{other:?} is neither xray nor ct"))),
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}
