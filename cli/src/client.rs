//! Connecting to a coordinator, and its errors in plain words.

use clap::Args;
use prelim_proto::v1::exchange_service_client::ExchangeServiceClient;
use prelim_proto::v1::question_service_client::QuestionServiceClient;
use prelim_proto::v1::queue_service_client::QueueServiceClient;
use prelim_proto::v1::review_service_client::ReviewServiceClient;
use prelim_proto::v1::study_service_client::StudyServiceClient;
use prelim_worker::connection::{ConnectError, ConnectionArgs, ConnectionError, Wire, explain};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Responses larger than this are refused: a study of 100,000 instances fits.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// Where the coordinator is, and what to show it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    #[command(flatten)]
    pub(crate) args: ConnectionArgs,
}

impl Connection {
    /// A client of the study service.
    pub(crate) async fn studies(&self) -> anyhow::Result<StudyServiceClient<Wire>> {
        Ok(StudyServiceClient::new(self.wire().await?).max_decoding_message_size(MAX_RESPONSE_BYTES))
    }

    /// A client of the queue service.
    pub(crate) async fn queue(&self) -> anyhow::Result<QueueServiceClient<Wire>> {
        Ok(QueueServiceClient::new(self.wire().await?))
    }

    /// A client of the question service.
    pub(crate) async fn questions(&self) -> anyhow::Result<QuestionServiceClient<Wire>> {
        Ok(QuestionServiceClient::new(self.wire().await?))
    }

    /// A client of the exchange service.
    pub(crate) async fn exchange(&self) -> anyhow::Result<ExchangeServiceClient<Wire>> {
        Ok(ExchangeServiceClient::new(self.wire().await?).max_decoding_message_size(MAX_RESPONSE_BYTES))
    }

    /// A client of the review service.
    pub(crate) async fn reviews(&self) -> anyhow::Result<ReviewServiceClient<Wire>> {
        Ok(ReviewServiceClient::new(self.wire().await?))
    }

    async fn wire(&self) -> anyhow::Result<Wire> {
        self.args.connect().await.map_err(|error| match error {
            ConnectionError::Connect(ConnectError::Unreachable { address, .. }) => NoCoordinator { address }.into(),
            error => error.into(),
        })
    }
}

/// Nobody answers.
#[derive(Debug, thiserror::Error)]
#[error("no coordinator answers at {address}: start one with `prelim up`, or name another with --grpc")]
pub(crate) struct NoCoordinator {
    address: String,
}

/// Whether the coordinator went away, or is about to, so that the same call may be answered later.
pub(crate) fn is_away(status: &Status) -> bool {
    let is_said = status.get_error_details().error_info().is_some();
    match status.code() {
        Code::Unavailable => true,
        Code::Cancelled | Code::Unknown | Code::Internal => !is_said && explain(status).is_none(),
        _ => false,
    }
}

/// What is to be done where a call came to nothing.
struct Advice {
    /// Where the connection broke.
    broken: &'static str,
    /// Where the coordinator says that it may be tried again, before the seconds.
    later: &'static str,
}

/// The coordinator's answer as one sentence, with the details that it sent.
pub(crate) fn plain(status: Status) -> anyhow::Error {
    told(status, &Advice { broken: "look at --grpc (is it https://?), and try again", later: "try again" })
}

/// The same for who submits: what the coordinator acknowledged is held.
pub(crate) fn plain_of_submitting(status: Status) -> anyhow::Error {
    told(
        status,
        &Advice {
            broken: "studies that it acknowledged are held: look with `prelim studies`, and at --grpc (is it https://?)",
            later: "what was held is kept, and the rest may be sent again",
        },
    )
}

fn told(status: Status, advice: &Advice) -> anyhow::Error {
    let mut text = status.message().to_owned();
    if text.is_empty() {
        text = status.code().to_string();
    }
    if let Some(why) = explain(&status) {
        return anyhow::anyhow!(why);
    }
    let details = status.get_error_details();
    // Said on this side, before anything was sent.
    let is_ours = details.error_info().is_none() && status.code() == Code::Unauthenticated;
    if is_ours {
        return anyhow::anyhow!(text);
    }
    if details.error_info().is_none()
        && matches!(
            status.code(),
            Code::Cancelled | Code::Unknown | Code::Unavailable | Code::Internal | Code::Unimplemented
        )
    {
        return anyhow::anyhow!(
            "the connection to the coordinator broke, or something else answers at that address ({text}); {}",
            advice.broken
        );
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        text.push_str(&format!("; {} in {} s", advice.later, delay.as_secs().max(1)));
    }
    if let Some(help) = details.help() {
        for link in &help.links {
            text.push_str("; ");
            text.push_str(&link.description);
        }
    }
    anyhow::anyhow!(text)
}
