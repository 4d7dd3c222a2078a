//! Errors to gRPC statuses, with details (AIP-193). The only file of this crate that makes a status.

use std::time::Duration;

use prelim_proto::trace::without_uids;
use prelim_proto::v1;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::access::Refusal;
use crate::bytes::BytesError;
use crate::dimse::scu::error::ScuError;
use crate::report::ReportError;
use crate::service::ServiceError;
use crate::store::StoreError;

/// The domain of error reasons.
const DOMAIN: &str = "prelim";
/// When to try again after a limit was reached.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The status for an error.
pub(super) fn of(error: ServiceError) -> Status {
    veiled(error, str::to_owned)
}

/// The same in words for who must not see UIDs: `say` gives what is said to them.
pub(super) fn veiled(error: ServiceError, say: impl Fn(&str) -> String) -> Status {
    let message = say(&error.to_string());
    let (code, reason) = class(&error);
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, std::collections::HashMap::new());
    match &error {
        ServiceError::Invalid { field, problem } => {
            details.add_bad_request_violation(*field, say(problem));
        }
        ServiceError::Store(StoreError::NoStudy(uid)) => {
            details.set_resource_info("study", say(uid.as_str()), "", "");
        }
        _ if matches!(code, Code::ResourceExhausted | Code::Unavailable) => {
            details.set_retry_info(Some(RETRY_AFTER));
        }
        _ => {}
    }
    if code == Code::Internal {
        tracing::error!(error = without_uids(&error), "request failed");
    }
    Status::with_error_details(code, message, details)
}

/// The same for a response that has something else to say, too.
pub(super) fn stopped(error: &ServiceError) -> v1::UploadStopped {
    let (code, reason) = class(error);
    if code == Code::Internal {
        tracing::error!(error = without_uids(error), "upload stopped");
    }
    let is_temporary = matches!(code, Code::ResourceExhausted | Code::Unavailable);
    v1::UploadStopped {
        reason: reason.to_owned(),
        message: error.to_string(),
        retry_in_ms: if is_temporary { RETRY_AFTER.as_millis() as u64 } else { 0 },
    }
}

/// Code and reason: who can do something about it.
fn class(error: &ServiceError) -> (Code, &'static str) {
    match error {
        ServiceError::Invalid { .. } => (Code::InvalidArgument, "INVALID"),
        ServiceError::NoDraft { .. } => (Code::FailedPrecondition, "NO_DRAFT"),
        ServiceError::NoVersion { .. } => (Code::NotFound, "NO_VERSION"),
        ServiceError::Contradicts(_) => (Code::FailedPrecondition, "CONTRADICTS"),
        ServiceError::DraftRejected { .. } => (Code::Aborted, "DRAFT_REJECTED"),
        ServiceError::Signed(_) => (Code::FailedPrecondition, "SIGNED"),
        ServiceError::NoKey => (Code::FailedPrecondition, "NO_KEY"),
        ServiceError::FoldersNotAllowed => (Code::PermissionDenied, "FOLDERS_NOT_ALLOWED"),
        ServiceError::NoFolder(_) => (Code::NotFound, "NO_FOLDER"),
        ServiceError::Stopping => (Code::Unavailable, "STOPPING"),
        ServiceError::NobodyAnswers(_) => (Code::FailedPrecondition, "NOBODY_ANSWERS"),
        ServiceError::NoQuestion(_) => (Code::NotFound, "NO_QUESTION"),
        ServiceError::TooManyQuestions { .. } => (Code::ResourceExhausted, "TOO_MANY_QUESTIONS"),
        ServiceError::NotThere { .. } => (Code::NotFound, "NOT_THERE"),
        ServiceError::Peer(error) => peer(error),
        ServiceError::Refused(refusal) => refused(refusal),
        ServiceError::Store(error) => store(error),
        ServiceError::Bytes(BytesError::Missing(_)) => (Code::NotFound, "NO_OBJECT"),
        ServiceError::Bytes(BytesError::Full) => (Code::ResourceExhausted, "DISK_FULL"),
        ServiceError::Bytes(BytesError::Damaged(_)) => (Code::DataLoss, "DAMAGED"),
        ServiceError::Bytes(BytesError::Unavailable(_)) => (Code::Unavailable, "OBJECT_STORE_UNAVAILABLE"),
        ServiceError::Bytes(BytesError::Refused(_)) => (Code::Internal, "OBJECT_STORE_REFUSES"),
        ServiceError::Report(ReportError::NothingToShow(_)) => (Code::FailedPrecondition, "NOTHING_TO_SHOW"),
        ServiceError::Bytes(BytesError::Store(_)) | ServiceError::Report(_) => (Code::Internal, "INTERNAL"),
    }
}

fn refused(refusal: &Refusal) -> (Code, &'static str) {
    match refusal {
        Refusal::NoCredentials(_) => (Code::Unauthenticated, "NO_CREDENTIALS"),
        Refusal::Token(_) => (Code::Unauthenticated, "TOKEN_REFUSED"),
        Refusal::CertificateExpired { .. } => (Code::Unauthenticated, "CERTIFICATE_EXPIRED"),
        Refusal::Expired => (Code::Unauthenticated, "EXPIRED"),
        Refusal::NoKeys => (Code::Unavailable, "NO_KEYS"),
        Refusal::NoAudit => (Code::Unavailable, "NO_AUDIT"),
        Refusal::NoRule { .. } => (Code::PermissionDenied, "NO_RULE"),
        Refusal::Role { .. } => (Code::PermissionDenied, "ROLE_MISSING"),
        Refusal::NoSuchCall => (Code::PermissionDenied, "NO_SUCH_CALL"),
        Refusal::Tenant { .. } => (Code::PermissionDenied, "OTHER_TENANT"),
        Refusal::NoPerson { .. } => (Code::FailedPrecondition, "NO_PERSON"),
        Refusal::TenantUnclear { .. } => (Code::InvalidArgument, "TENANT_UNCLEAR"),
    }
}

/// What another system said, or did not say.
fn peer(error: &ScuError) -> (Code, &'static str) {
    match error {
        ScuError::Refused { .. } | ScuError::Failed { .. } => (Code::FailedPrecondition, "PEER_REFUSES"),
        ScuError::Object(_) => (Code::Internal, "INTERNAL"),
        _ => (Code::Unavailable, "PEER_UNAVAILABLE"),
    }
}

fn store(error: &StoreError) -> (Code, &'static str) {
    match error {
        StoreError::NoStudy(_) => (Code::NotFound, "NO_STUDY"),
        StoreError::NoJob(_) => (Code::NotFound, "NO_JOB"),
        StoreError::LeaseLost { .. } => (Code::FailedPrecondition, "LEASE_LOST"),
        StoreError::Cancelled(_) => (Code::FailedPrecondition, "CANCELLED"),
        StoreError::WrongState { .. } => (Code::FailedPrecondition, "WRONG_STATE"),
        StoreError::DeliveryLost(_) => (Code::Aborted, "DELIVERY_LOST"),
        StoreError::Sending(_) => (Code::FailedPrecondition, "STILL_SENDING"),
        StoreError::Outdated(_) => (Code::Aborted, "OUTDATED"),
        StoreError::RequestReused(_) => (Code::InvalidArgument, "REQUEST_REUSED"),
        StoreError::NoWorker(_) => (Code::NotFound, "NO_WORKER"),
        StoreError::NoWorkitem(_) => (Code::NotFound, "NO_WORKITEM"),
        StoreError::WorkitemExists(_) => (Code::AlreadyExists, "WORKITEM_EXISTS"),
        StoreError::WorkitemChanged(_) | StoreError::NoteChanged { .. } => (Code::Aborted, "OUTDATED"),
        StoreError::TooManyStudies { .. }
        | StoreError::TooManyWorkitems { .. }
        | StoreError::TooManySubscriptions { .. }
        | StoreError::TooManyOfTenant { .. }
        | StoreError::TooManySteps { .. }
        | StoreError::TooManyNotes { .. }
        | StoreError::TooManyInstances { .. } => (Code::ResourceExhausted, "LIMIT_REACHED"),
        StoreError::Full(_) => (Code::ResourceExhausted, "STORE_FULL"),
        StoreError::Unreachable(_) => (Code::Unavailable, "STORE_UNREACHABLE"),
        StoreError::Disk(_) => (Code::Unavailable, "DISK_FAILED"),
        StoreError::InUse(_) | StoreError::Misfit(_) | StoreError::Storage(_) => (Code::Internal, "INTERNAL"),
    }
}

/// The status for a field of a message that is wrong.
pub(super) fn invalid(field: &'static str, problem: impl Into<String>) -> Status {
    of(ServiceError::Invalid { field, problem: problem.into() })
}
