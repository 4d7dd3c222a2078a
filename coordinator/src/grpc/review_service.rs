//! `ReviewService`: reports signed and rejected.

use std::sync::Arc;

use prelim_proto::ids::Uid;
use prelim_proto::review::Standing;
use prelim_proto::v1;
use prelim_proto::v1::review_service_server::ReviewService;
use tonic::{Request, Response, Status};

use super::status;
use crate::review::Wanted;
use crate::service::Coordinator;
use crate::session::Session;

/// The service.
pub(crate) struct Reviews(pub(crate) Arc<Coordinator>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ReviewService for Reviews {
    async fn sign_report(&self, request: Request<v1::SignReportRequest>) -> Answer<v1::SignReportResponse> {
        let session = Session::of(&request);
        let mut request = request.into_inner();
        let edit = request.take_edit().map_err(|error| status::of(error.into()))?;
        let wanted = Wanted {
            study: uid(&request.study_uid)?,
            version: request.version,
            request: request.request_id,
            edit: Some(edit),
            reason: request.reason,
            contradictions_seen: request.contradictions_seen,
            rejection_seen: request.rejection_seen,
        };
        let (version, standing) = self.review(&session, wanted).await?;
        Ok(Response::new(v1::SignReportResponse { version, amended: standing == Standing::Amended }))
    }

    async fn reject_report(&self, request: Request<v1::RejectReportRequest>) -> Answer<v1::RejectReportResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let wanted = Wanted {
            study: uid(&request.study_uid)?,
            version: request.version,
            request: request.request_id,
            edit: None,
            reason: request.reason,
            contradictions_seen: false,
            rejection_seen: 0,
        };
        let (version, _) = self.review(&session, wanted).await?;
        Ok(Response::new(v1::RejectReportResponse { version }))
    }
}

impl Reviews {
    async fn review(&self, session: &Session, wanted: Wanted) -> Result<(u32, Standing), Status> {
        session.allow(&self.0, &wanted.study).await.map_err(status::of)?;
        self.0.review(session, wanted).await.map_err(status::of)
    }
}

fn uid(text: &str) -> Result<Uid, Status> {
    Uid::parse(text).map_err(|error| status::invalid("study_uid", error.to_string()))
}
