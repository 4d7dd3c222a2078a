//! What can go wrong with a peer that we call, in the words of its answer.

use std::io;

use dicom_ul::pdu::{
    AbortRQSource, AssociationRJ, AssociationRJResult, AssociationRJSource, PresentationContextResultReason,
};
use prelim_imaging::syntax::TransferSyntax;

use crate::dimse::wire::WireError;

/// Why a peer did not do what we asked.
#[derive(Debug, thiserror::Error)]
pub enum ScuError {
    /// No connection.
    #[error("{node} cannot be reached: {source}")]
    Connect {
        /// The peer.
        node: String,
        /// What the system said.
        source: io::Error,
    },
    /// No TLS.
    #[error("no TLS with {node}: {source}")]
    Tls {
        /// The peer.
        node: String,
        /// What is wrong.
        source: io::Error,
    },
    /// It said nothing in time.
    #[error("{node} did not answer {what} within {seconds} s")]
    Late {
        /// The peer.
        node: String,
        /// What was asked.
        what: &'static str,
        /// How long we waited.
        seconds: u64,
    },
    /// It rejected the association.
    #[error("{node} rejects the association: {words}")]
    Rejected {
        /// The peer.
        node: String,
        /// Result, source and reason (PS3.8 table 9-21).
        words: String,
    },
    /// It aborted.
    #[error("{node} aborted the association: {words}")]
    Aborted {
        /// The peer.
        node: String,
        /// Source and reason (PS3.8 table 9-26).
        words: String,
    },
    /// The connection broke, or carries no DICOM.
    #[error("the association with {node} broke: {source}")]
    Broken {
        /// The peer.
        node: String,
        /// What happened.
        source: Break,
    },
    /// It refused the presentation contexts that are needed.
    #[error("{node} refuses {what}: {words}")]
    Refused {
        /// The peer.
        node: String,
        /// SOP class, in words.
        what: String,
        /// Why (PS3.8 table 9-18).
        words: String,
        /// Whether it says that it never takes them.
        is_final: bool,
    },
    /// It carried out none of what was asked.
    #[error("{node} answers {what} with {status:04X}{}", .comment.as_deref().map(|said| format!(": {said}")).unwrap_or_default())]
    Failed {
        /// The peer.
        node: String,
        /// What was asked.
        what: &'static str,
        /// The status.
        status: u16,
        /// Its comment.
        comment: Option<String>,
    },
    /// It answered what was not asked.
    #[error("{node} answered {what}")]
    Unexpected {
        /// The peer.
        node: String,
        /// With what.
        what: String,
    },
    /// What was to be sent is no DICOM object that can be.
    #[error("{0}")]
    Object(String),
}

/// Why a connection broke: the details are nobody else's.
#[derive(Debug)]
pub struct Break(pub(super) WireError);

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Break {}

impl ScuError {
    /// Whether the same may succeed later. Not where the peer says that it does not take such objects at all.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Refused { is_final: true, .. } | Self::Object(_))
    }
}

/// A rejection in words.
pub(super) fn rejection(rejected: &AssociationRJ) -> String {
    let for_good = match rejected.result {
        AssociationRJResult::Permanent => "permanently",
        AssociationRJResult::Transient => "for the moment",
    };
    let source = match &rejected.source {
        AssociationRJSource::ServiceUser(_) => "service user",
        AssociationRJSource::ServiceProviderASCE(_) => "service provider, association control",
        AssociationRJSource::ServiceProviderPresentation(_) => "service provider, presentation",
    };
    format!("{for_good}, {} ({source})", rejected.source)
}

/// An abort in words.
pub(super) fn abort(source: &AbortRQSource) -> String {
    match source {
        AbortRQSource::ServiceUser => "service user".to_owned(),
        AbortRQSource::ServiceProvider(reason) => format!("service provider, {reason}"),
        AbortRQSource::Reserved => "source that is none".to_owned(),
    }
}

/// Why a context was not accepted, in words, and whether that is for good.
pub(super) fn refusal(reason: &PresentationContextResultReason, syntaxes: &[String]) -> (String, bool) {
    use PresentationContextResultReason as Reason;
    match reason {
        Reason::Acceptance => ("accepted, with a transfer syntax that was not proposed".to_owned(), true),
        Reason::UserRejection => ("rejected by its user".to_owned(), true),
        Reason::NoReason => ("no reason given".to_owned(), false),
        Reason::AbstractSyntaxNotSupported => ("it does not take this SOP class".to_owned(), true),
        Reason::TransferSyntaxesNotSupported => {
            let names: Vec<_> = syntaxes.iter().map(|uid| TransferSyntax::new(uid).to_string()).collect();
            (format!("it takes none of the transfer syntaxes ({})", names.join(", ")), true)
        }
    }
}
