//! `prelim.v1` over gRPC.
//!
//! # Layout
//! - `study_service`: what clients ask; `upload` and `watch` are its two streams
//! - `worker_service`: what workers ask; `queue_service`: what operators ask; `scaler`: what KEDA asks
//! - `question_service`: questions about studies
//! - `review_service`: reports signed and rejected
//! - `exchange_service`: drafts out to other systems, and studies in from them
//! - `gate`: who may call, by [`crate::session`]
//! - `status`: the one place where an error becomes a status
//!
//! **Invariant**: nothing is decided here: messages are checked, handed to [`crate::service::Coordinator`], and answered.

mod exchange_service;
mod gate;
mod question_service;
mod queue_service;
mod review_service;
mod route;
mod scaler;
mod status;
mod study_service;
mod upload;
mod watch;
mod worker_service;

use std::sync::Arc;

pub(crate) use gate::GateLayer;
use prelim_proto::keda::external_scaler_server::ExternalScalerServer;
use prelim_proto::v1::FILE_DESCRIPTOR_SET;
use prelim_proto::v1::exchange_service_server::ExchangeServiceServer;
use prelim_proto::v1::question_service_server::QuestionServiceServer;
use prelim_proto::v1::queue_service_server::QueueServiceServer;
use prelim_proto::v1::review_service_server::ReviewServiceServer;
use prelim_proto::v1::study_service_server::StudyServiceServer;
use prelim_proto::v1::worker_service_server::WorkerServiceServer;
use tonic::service::RoutesBuilder;

use crate::service::Coordinator;

/// Longest message taken. Uploads come in chunks of 1 MiB; the largest message is the outcome of a large slab.
const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// Longest message sent. A study of 20,000 instances is about 10 MB.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// All services: studies, workers, health, and reflection in both versions that clients speak.
pub(crate) async fn services(coordinator: Arc<Coordinator>) -> Result<RoutesBuilder, tonic_reflection::server::Error> {
    let studies = StudyServiceServer::new(study_service::Studies(coordinator.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_RESPONSE_BYTES);
    let queue = QueueServiceServer::new(queue_service::Queue(coordinator.clone()));
    let exchange = ExchangeServiceServer::new(exchange_service::Exchange(coordinator.clone()))
        .max_encoding_message_size(MAX_RESPONSE_BYTES);
    let reviews = ReviewServiceServer::new(review_service::Reviews(coordinator.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let questions = QuestionServiceServer::new(question_service::Questions(coordinator.clone()));
    let scaler = ExternalScalerServer::new(scaler::Scaler(coordinator.clone()));
    let workers =
        WorkerServiceServer::new(worker_service::Workers(coordinator)).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<StudyServiceServer<study_service::Studies>>().await;
    reporter.set_serving::<WorkerServiceServer<worker_service::Workers>>().await;
    reporter.set_serving::<QueueServiceServer<queue_service::Queue>>().await;
    reporter.set_serving::<ExchangeServiceServer<exchange_service::Exchange>>().await;
    reporter.set_serving::<ReviewServiceServer<review_service::Reviews>>().await;
    reporter.set_serving::<QuestionServiceServer<question_service::Questions>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(studies)
        .add_service(workers)
        .add_service(queue)
        .add_service(exchange)
        .add_service(reviews)
        .add_service(questions)
        .add_service(scaler)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(routes)
}
