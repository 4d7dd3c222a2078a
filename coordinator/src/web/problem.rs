//! Why a request is not answered with what it asks for: the one place where an error becomes an HTTP status.

use axum::body::Body;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, UPGRADE, WARNING, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use prelim_proto::trace::without_uids;
use serde_json::json;

use crate::access::Refusal;
use crate::bytes::BytesError;
use crate::service::ServiceError;
use crate::store::StoreError;
use crate::worklist::WorklistError;
use crate::worklist::rules::Refused;

/// When to try again after a limit was reached, in s.
const RETRY_AFTER_S: &str = "10";
/// Longest sentence of a problem, in characters.
const MAX_CHARS: usize = 500;

/// A problem (RFC 9457). Its sentence is for the caller: it may quote what was sent, and goes to no log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    allow: Option<&'static str>,
    /// What the standard has us say beside the status.
    warning: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into().chars().take(MAX_CHARS).collect(), allow: None, warning: None }
    }

    /// The request is wrong.
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such resource.
    pub(crate) fn nothing_here(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// What was sent is of a kind that is not taken.
    pub(crate) fn media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// There is no representation that the caller takes.
    pub(crate) fn not_acceptable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, detail)
    }

    /// The body is too long.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// The client was silent in the middle of its request.
    pub(crate) fn silence(idle_s: u64) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, format!("nothing came of the body within {idle_s} s"))
    }

    /// What is held cannot be read.
    pub(crate) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// A limit of ours.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// It does not fit what is there.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// It is not for this caller.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// It is for another host.
    pub(crate) fn misdirected(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, detail)
    }

    /// Another protocol is meant.
    pub(crate) fn upgrade(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, detail)
    }

    /// The same, with a header Warning.
    fn with_warning(self, words: impl Into<String>) -> Self {
        Self { warning: Some(words.into()), ..self }
    }

    /// Another method is meant.
    pub(crate) fn method(found: &str, allow: &'static str) -> Self {
        let found: String = found.chars().take(20).collect();
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("{found} is not served here")) }
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let title = self.status.canonical_reason().unwrap_or_default();
        let document = json!({"title": title, "status": self.status.as_u16(), "detail": self.detail});
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
            }
            _ => {}
        }
        if let Some(Ok(warning)) =
            self.warning.as_ref().map(|words| HeaderValue::from_str(&format!("299 prelim \"{words}\"")))
        {
            headers.insert(WARNING, warning);
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let status = status(&error);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = without_uids(&error), "request failed");
            return Self::new(status, "something is wrong here, and the log says what");
        }
        Self::new(status, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        ServiceError::from(error).into()
    }
}

impl From<BytesError> for Problem {
    fn from(error: BytesError) -> Self {
        ServiceError::from(error).into()
    }
}

impl From<Refusal> for Problem {
    fn from(error: Refusal) -> Self {
        ServiceError::from(error).into()
    }
}

impl From<WorklistError> for Problem {
    fn from(error: WorklistError) -> Self {
        const INCONSISTENT: &str = "The submitted request is inconsistent with the state of the UPS Instance.";
        let refused = match error {
            WorklistError::Refused(refused) => refused,
            WorklistError::Filter(words) => return Self::bad(words),
            WorklistError::Service(error) => return error.into(),
        };
        let words = refused.to_string();
        // Warnings of PS3.18 sections 11.6.3.2, 11.7.3.2 and 11.8.3.2.
        match refused {
            Refused::Dataset(_) => Self::bad(words),
            Refused::NoTransaction => Self::bad(words).with_warning("The Transaction UID is missing."),
            Refused::OtherTransaction => Self::bad(words).with_warning("The Transaction UID is incorrect."),
            Refused::NotClaimed => {
                Self::bad(words).with_warning("The target URI did not reference a claimed Workitem.")
            }
            Refused::Final(_) => Self::bad(words)
                .with_warning("The submitted request is inconsistent with the current state of the Workitem."),
            Refused::Over(state) => {
                Self::conflict(words).with_warning(format!("The UPS is already {}.", state.as_str()))
            }
            Refused::NotCanceled(_) => Self::conflict(words).with_warning("Performer chooses not to cancel."),
            Refused::State(_) => Self::conflict(words).with_warning(INCONSISTENT),
        }
    }
}

/// Who can do something about it.
fn status(error: &ServiceError) -> StatusCode {
    match error {
        ServiceError::Invalid { .. } => StatusCode::BAD_REQUEST,
        ServiceError::FoldersNotAllowed => StatusCode::FORBIDDEN,
        ServiceError::NoFolder(_) | ServiceError::NoDraft { .. } => StatusCode::NOT_FOUND,
        ServiceError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        ServiceError::NobodyAnswers(_)
        | ServiceError::Signed(_)
        | ServiceError::Contradicts(_)
        | ServiceError::DraftRejected { .. } => StatusCode::CONFLICT,
        ServiceError::NoQuestion(_) => StatusCode::NOT_FOUND,
        ServiceError::TooManyQuestions { .. } => StatusCode::TOO_MANY_REQUESTS,
        ServiceError::Refused(refusal) => refused(refusal),
        ServiceError::Store(StoreError::NoStudy(_) | StoreError::NoWorkitem(_)) => StatusCode::NOT_FOUND,
        ServiceError::Store(
            StoreError::WorkitemExists(_)
            | StoreError::WorkitemChanged(_)
            | StoreError::WrongState { .. }
            | StoreError::RequestReused(_),
        ) => StatusCode::CONFLICT,
        ServiceError::Store(
            StoreError::Unreachable(_)
            | StoreError::Disk(_)
            | StoreError::TooManyStudies { .. }
            | StoreError::TooManyOfTenant { .. }
            | StoreError::TooManyWorkitems { .. }
            | StoreError::TooManySubscriptions { .. }
            | StoreError::TooManyNotes { .. },
        ) => StatusCode::SERVICE_UNAVAILABLE,
        ServiceError::Store(StoreError::Full(_)) | ServiceError::Bytes(BytesError::Full) => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        ServiceError::Bytes(BytesError::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refused(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoCredentials(_) | Refusal::Token(_) | Refusal::CertificateExpired { .. } | Refusal::Expired => {
            StatusCode::UNAUTHORIZED
        }
        Refusal::NoKeys | Refusal::NoAudit => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::NoRule { .. }
        | Refusal::Role { .. }
        | Refusal::NoSuchCall
        | Refusal::NoPerson { .. }
        | Refusal::Tenant { .. } => StatusCode::FORBIDDEN,
        Refusal::TenantUnclear { .. } => StatusCode::BAD_REQUEST,
    }
}
