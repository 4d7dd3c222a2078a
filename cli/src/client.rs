//! Connecting to a coordinator, and its errors in plain words.

use clap::Args;
use prelim_proto::v1::queue_service_client::QueueServiceClient;
use prelim_proto::v1::study_service_client::StudyServiceClient;
use prelim_worker::coordinator::endpoint;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Responses larger than this are refused: a study of 100,000 instances fits.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// Where the coordinator is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// Address of the coordinator's gRPC port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070", env = "PRELIM_GRPC")]
    pub(crate) grpc: String,
}

impl Connection {
    /// A client of the study service.
    pub(crate) async fn studies(&self) -> anyhow::Result<StudyServiceClient<Channel>> {
        Ok(StudyServiceClient::new(self.channel().await?).max_decoding_message_size(MAX_RESPONSE_BYTES))
    }

    /// A client of the queue service.
    pub(crate) async fn queue(&self) -> anyhow::Result<QueueServiceClient<Channel>> {
        Ok(QueueServiceClient::new(self.channel().await?))
    }

    async fn channel(&self) -> anyhow::Result<Channel> {
        endpoint(&self.grpc)?.connect().await.map_err(|_| {
            anyhow::anyhow!(
                "no coordinator answers at {}: start one with `prelim up`, or name another with --grpc",
                self.grpc
            )
        })
    }
}

/// The coordinator's answer as one sentence, with the details that it sent.
pub(crate) fn plain(status: Status) -> anyhow::Error {
    let mut text = status.message().to_owned();
    if text.is_empty() {
        text = status.code().to_string();
    }
    let details = status.get_error_details();
    if details.error_info().is_none()
        && matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Internal | Code::Unimplemented)
    {
        return anyhow::anyhow!(
            "the connection to the coordinator broke, or something else answers at that address ({text}); studies that it \
             acknowledged are held: look with `prelim studies`, and at --grpc"
        );
    }
    if let Some(help) = details.help() {
        for link in &help.links {
            text.push_str("; ");
            text.push_str(&link.description);
        }
    }
    anyhow::anyhow!(text)
}
