//! Why a call of the page is not answered with what it asks for, as JSON. Which status an error has is decided where DICOMweb
//! decides it.

use axum::body::Body;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value};

use crate::access::Refusal;
use crate::service::ServiceError;
use crate::store::StoreError;
use crate::web::problem::Problem;

/// A call that went wrong. Its words are for the caller: they may quote what was sent, and go to no log.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    words: String,
    /// What else the page is told.
    more: Vec<(String, Value)>,
    allow: Option<&'static str>,
    retry_after_s: Option<u64>,
}

impl Fault {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into(), more: Vec::new(), allow: None, retry_after_s: None }
    }

    /// A field of what was sent is wrong.
    pub(super) fn invalid(field: &str, words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words).with("field", field)
    }

    /// There is no such thing.
    pub(super) fn nothing_here(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }

    /// Nobody is signed in.
    pub(super) fn signed_out(words: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, words)
    }

    /// It is not for this caller.
    pub(super) fn forbidden(words: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, words)
    }

    /// It was made from what is no longer so.
    pub(super) fn conflict(words: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, words)
    }

    /// What is to be signed says two things at once.
    fn contradicts(words: impl Into<String>, found: Vec<String>) -> Self {
        let fault = Self::new(StatusCode::UNPROCESSABLE_ENTITY, words);
        fault.with("field", "contradictions_seen").with("contradictions", found)
    }

    /// What it takes the place of is not the newest.
    pub(super) fn not_newest(words: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, words)
    }

    /// What was sent is too long.
    pub(super) fn too_long(words: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, words)
    }

    /// What was sent is of another kind.
    pub(super) fn media_type(words: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words)
    }

    /// Another method is meant.
    pub(super) fn method(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("{allow} is served here")) }
    }

    /// Later.
    pub(super) fn busy(words: impl Into<String>) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, words) }
    }

    /// What it takes is not here.
    pub(super) fn unavailable(words: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    }

    /// The caller is to wait.
    pub(super) fn too_soon(wait_ms: i64) -> Self {
        let wait_s = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1_000).max(1);
        let words = format!("too many wrong passwords: try again in {wait_s} s");
        Self { retry_after_s: Some(wait_s), ..Self::new(StatusCode::TOO_MANY_REQUESTS, words) }
    }

    /// Tells the page something more.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.push((name.to_owned(), value.into()));
        self
    }

    /// The status.
    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer.
    pub(super) fn response(self) -> Response<Body> {
        let code = match self.status {
            StatusCode::UNAUTHORIZED => "unauthenticated",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "conflict",
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => "invalid",
            _ => "unavailable",
        };
        let mut document: Map<String, Value> = self.more.into_iter().collect();
        document.insert("error".to_owned(), self.words.into());
        document.insert("code".to_owned(), code.into());
        let mut response = Response::new(Body::from(Value::from(document).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(after_s) = self.retry_after_s {
            headers.insert(RETRY_AFTER, after_s.into());
        }
        response
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::new(problem.status(), problem.to_string())
    }
}

impl From<ServiceError> for Fault {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Invalid { field, problem } => Self::invalid(field, problem),
            ServiceError::Contradicts(ref found) => Self::contradicts(error.to_string(), found.clone()),
            error => Problem::from(error).into(),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        ServiceError::from(error).into()
    }
}

impl From<Refusal> for Fault {
    fn from(error: Refusal) -> Self {
        ServiceError::from(error).into()
    }
}
