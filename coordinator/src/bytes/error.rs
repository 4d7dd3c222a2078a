//! What can go wrong with bytes, and what is behind an error of `object_store`.
//!
//! Its texts are not passed on as they are: an answer of S3 may repeat the access key and what was signed.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use object_store::client::HttpError;
use prelim_proto::ids::Digest;

use super::place::PlaceError;
use crate::causes::causes;

/// Why bytes were not stored or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BytesError {
    /// Nothing is held under that digest.
    #[error("no object {0}")]
    Missing(Digest),
    /// The disk is full.
    #[error("no space left for objects; free some, and send again: nothing acknowledged was lost")]
    Full,
    /// What is held under that digest has another one: the disk or the store changed it.
    #[error("object {0} is damaged in the store")]
    Damaged(Digest),
    /// The store is not there, or has no time. Try again.
    #[error("object store is not available: {0}")]
    Unavailable(String),
    /// The store refuses: its bucket is gone, or the credentials do not suffice any more.
    #[error("object store refuses: {0}")]
    Refused(String),
    /// The store failed.
    #[error("object store: {0}")]
    Store(String),
}

impl BytesError {
    /// Whether the same call may go better later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full)
    }
}

/// Why the store of bytes was not opened. Names what was found; holds no credential.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The folder cannot be made.
    #[error("folder {folder} for bytes cannot be used: {source}; choose another with --bytes file:///FOLDER")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No credentials for a bucket.
    #[error(
        "--bytes is in S3, and of the variables that give credentials {found} is set; set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN with temporary ones), or AWS_WEB_IDENTITY_TOKEN_FILE with \
         AWS_ROLE_ARN, or AWS_METADATA_ENDPOINT where the machine's own role is meant"
    )]
    Credentials {
        /// The variables that were set.
        found: String,
    },
    /// The server's address.
    #[error("{variable} {problem}")]
    Endpoint {
        /// The variable that names it.
        variable: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The certificates of authorities.
    #[error("AWS_CA_BUNDLE {file} cannot be used: {problem}")]
    Authorities {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Other settings.
    #[error("store of bytes cannot be used: {0}")]
    Settings(String),
    /// There is no such bucket.
    #[error("{place}: there is no such bucket; make it, or correct --bytes, AWS_ENDPOINT_URL or AWS_REGION")]
    NoBucket {
        /// Where.
        place: String,
    },
    /// The credentials do not suffice.
    #[error(
        "{place}: access is denied ({said}): a probe was not {doing}; check the credentials, and that they may put, \
         get and delete objects there"
    )]
    Denied {
        /// Where.
        place: String,
        /// What was not done.
        doing: &'static str,
        /// What the store or the system said.
        said: String,
    },
    /// The server does not answer.
    #[error("{place}: {endpoint} cannot be reached ({cause}); check AWS_ENDPOINT_URL and the network")]
    Unreachable {
        /// Where.
        place: String,
        /// The server.
        endpoint: String,
        /// What happened.
        cause: String,
    },
    /// Something else.
    #[error("{place}: a probe was not {doing}: {cause}")]
    Probe {
        /// Where.
        place: String,
        /// What was not done.
        doing: &'static str,
        /// What happened.
        cause: String,
    },
}

/// What is behind an error of `object_store`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No such object.
    NotFound,
    /// No such bucket.
    NoBucket,
    /// Access is denied.
    Denied(String),
    /// It may go better later.
    Unavailable(String),
    /// No space is left.
    Full,
    /// Anything else.
    Other(String),
}

impl Fault {
    /// Looks through `error` and its causes.
    pub(super) fn of(error: &object_store::Error) -> Self {
        use object_store::Error::{Generic, NotFound, PermissionDenied, Unauthenticated};
        let answer = Answer::within(error);
        if causes(error).any(|cause| io_kind(cause) == Some(std::io::ErrorKind::StorageFull)) {
            return Self::Full;
        }
        match error {
            _ if answer.code.as_deref() == Some("NoSuchBucket") => Self::NoBucket,
            NotFound { .. } => Self::NotFound,
            PermissionDenied { .. } | Unauthenticated { .. } => Self::Denied(answer.or(root(error))),
            Generic { .. } if answer.is_transient() => Self::Unavailable(answer.to_string()),
            _ if causes(error).any(|cause| cause.is::<HttpError>()) => Self::Unavailable(root(error)),
            _ => Self::Other(answer.or(error.to_string())),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such object"),
            Self::NoBucket => f.write_str("there is no such bucket"),
            Self::Full => f.write_str("no space is left"),
            Self::Denied(text) | Self::Unavailable(text) | Self::Other(text) => f.write_str(text),
        }
    }
}

impl From<Fault> for BytesError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            Fault::Unavailable(cause) => Self::Unavailable(cause),
            Fault::NoBucket => Self::Refused(fault.to_string()),
            Fault::Denied(said) => Self::Refused(format!("access is denied ({said})")),
            Fault::NotFound => Self::Store(fault.to_string()),
            Fault::Other(text) => Self::Store(text),
        }
    }
}

impl From<object_store::Error> for BytesError {
    fn from(error: object_store::Error) -> Self {
        Fault::of(&error).into()
    }
}

/// What a server answered, as far as it may be repeated: the status, and the code of S3 in the body.
#[derive(Debug, Default)]
struct Answer {
    status: Option<u16>,
    code: Option<String>,
}

impl Answer {
    /// `object_store` keeps the type of this error to itself: what it prints is all that there is.
    fn within(error: &object_store::Error) -> Self {
        let text = error.to_string();
        let status = text.split("status code: ").nth(1).and_then(|rest| rest.get(..3)?.parse().ok());
        let code = text.split("<Code>").nth(1).and_then(|rest| Some(rest.split_once("</Code>")?.0));
        let is_name = |code: &&str| code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric());
        Self { status, code: code.filter(is_name).map(str::to_owned) }
    }

    fn is_transient(&self) -> bool {
        self.status.is_some_and(|status| status >= 500 || matches!(status, 408 | 429))
            || matches!(self.code.as_deref(), Some("SlowDown" | "InternalError" | "ServiceUnavailable"))
    }

    /// The answer in words, or `other` where there was none.
    fn or(&self, other: String) -> String {
        if self.status.is_some() || self.code.is_some() { self.to_string() } else { other }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.status, &self.code) {
            (Some(status), Some(code)) => write!(f, "{status} {code}"),
            (Some(status), None) => write!(f, "status {status}"),
            (None, code) => f.write_str(code.as_deref().unwrap_or("no answer")),
        }
    }
}

fn io_kind(error: &(dyn StdError + 'static)) -> Option<std::io::ErrorKind> {
    error.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
}

/// The innermost cause, in words: without the addresses that the outer ones name.
fn root(error: &object_store::Error) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpErrorKind;

    use super::*;

    fn answered(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn answers_are_told_apart_and_repeat_no_secret() {
        let denied = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
            <AWSAccessKeyId>AKIAKEY</AWSAccessKeyId></Error>";
        let denied = object_store::Error::PermissionDenied { path: "x".into(), source: denied.into() };
        assert_eq!(Fault::of(&denied), Fault::Denied("403 SignatureDoesNotMatch".to_owned()));
        let gone = "Server returned non-2xx status code: 404 Not Found: <Code>NoSuchBucket</Code>";
        let gone = object_store::Error::NotFound { path: "x".into(), source: gone.into() };
        assert_eq!(Fault::of(&gone), Fault::NoBucket);
        let key = object_store::Error::NotFound { path: "x".into(), source: "<Code>NoSuchKey</Code>".into() };
        assert_eq!(Fault::of(&key), Fault::NotFound);
        let busy = answered("Server returned non-2xx status code: 503 Service Unavailable: <Code>SlowDown</Code>");
        assert_eq!(Fault::of(&busy), Fault::Unavailable("503 SlowDown".to_owned()));
        let region = answered("Server returned non-2xx status code: 400 Bad Request: <Code>Mal</Code> AKIAKEY");
        assert_eq!(Fault::of(&region), Fault::Other("400 Mal".to_owned()));
    }

    #[test]
    fn a_server_that_is_away_may_be_back_later() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let http = HttpError::new(HttpErrorKind::Connect, refused);
        let error = object_store::Error::Generic { store: "S3", source: Box::new(http) };
        assert_eq!(Fault::of(&error), Fault::Unavailable("connection refused".to_owned()));
        assert!(BytesError::from(error).is_retryable());
    }

    #[test]
    fn a_full_disk_is_known_however_deep() {
        let full = std::io::Error::new(std::io::ErrorKind::StorageFull, "full");
        let error = object_store::Error::Generic { store: "folder", source: Box::new(full) };
        assert_eq!(BytesError::from(error), BytesError::Full);
    }
}
