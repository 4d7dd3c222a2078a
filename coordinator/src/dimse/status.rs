//! What became of an object as a DIMSE status (PS3.4 table B.2-1, PS3.7 annex C): the one place where that is decided.

use super::message::Dropped;
use super::mpps::StepError;
use crate::intake::{Refused, Verdict};
use crate::service::ServiceError;
use crate::steps::StepRefusal;

/// A status with a comment for the sender; empty where all is well. It may quote what was found: it is not for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(super) code: u16,
    pub(super) comment: String,
    /// Error ID (0000,0903), where a service has one for it.
    pub(super) error_id: Option<u16>,
}

/// Success.
pub(super) const SUCCESS: u16 = 0x0000;
/// Out of resources: may be sent again later.
const OUT_OF_RESOURCES: u16 = 0xA700;
/// The data set is of another SOP class, or another instance, than the command says.
const MISMATCH: u16 = 0xA900;
/// The data set is not understood.
const NOT_UNDERSTOOD: u16 = 0xC000;
/// The instance is held, with other bytes.
const DUPLICATE_INSTANCE: u16 = 0x0111;
/// An argument that is none.
const INVALID_ARGUMENT: u16 = 0x0115;
/// An attribute has a value that it may not have.
const INVALID_ATTRIBUTE_VALUE: u16 = 0x0106;
/// The request cannot be carried out, for a reason of the service's own.
const PROCESSING_FAILURE: u16 = 0x0110;
/// There is no such instance.
const NO_SUCH_INSTANCE: u16 = 0x0112;
/// The SOP Instance UID is none.
const INVALID_INSTANCE: u16 = 0x0117;
/// An attribute is missing.
const MISSING_ATTRIBUTE: u16 = 0x0120;
/// An attribute has no value.
const MISSING_ATTRIBUTE_VALUE: u16 = 0x0121;
/// There is more than can be kept.
const RESOURCE_LIMITATION: u16 = 0x0213;
/// Error ID: the step has ended and may no longer be updated (PS3.4 table F.7.2-2).
const MAY_NO_LONGER_BE_UPDATED: u16 = 0xA710;
/// Not authorized.
const NOT_AUTHORIZED: u16 = 0x0124;
/// The operation is not known.
const UNRECOGNIZED_OPERATION: u16 = 0x0211;

impl Status {
    /// All is well.
    pub(super) fn success() -> Self {
        Self::new(SUCCESS, "")
    }

    /// The operation is none that is served.
    pub(super) fn unrecognized() -> Self {
        Self::new(UNRECOGNIZED_OPERATION, "not served in this presentation context")
    }

    /// A request whose data set says nothing that can be done.
    pub(super) fn invalid(what: &str) -> Self {
        Self::new(INVALID_ARGUMENT, what)
    }

    /// A request without the data set that it needs.
    pub(super) fn without_data_set() -> Self {
        Self::new(NOT_UNDERSTOOD, "no data set")
    }

    /// The command is of another SOP class than its presentation context.
    pub(super) fn mismatch(what: &str) -> Self {
        Self::new(MISMATCH, what)
    }

    fn new(code: u16, comment: impl Into<String>) -> Self {
        Self { code, comment: comment.into(), error_id: None }
    }
}

impl From<Dropped> for Status {
    fn from(dropped: Dropped) -> Self {
        match dropped {
            Dropped::TooLong => Self::new(NOT_UNDERSTOOD, "longer than any object may be"),
            Dropped::NoMemory => Self::new(OUT_OF_RESOURCES, "no memory for it now; send it again later"),
        }
    }
}

impl From<&Verdict> for Status {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Accepted | Verdict::Duplicate => Self::success(),
            Verdict::Refused(refused) => {
                let code = match refused {
                    Refused::Unreadable(_) | Refused::OtherPatient | Refused::Limit(_) => NOT_UNDERSTOOD,
                    Refused::NotAsClaimed(_) => MISMATCH,
                    Refused::Conflict { .. } => DUPLICATE_INSTANCE,
                    Refused::OtherTenant => NOT_AUTHORIZED,
                    Refused::Removing => OUT_OF_RESOURCES,
                };
                Self::new(code, refused.to_string())
            }
        }
    }
}

impl From<&StepError> for Status {
    fn from(error: &StepError) -> Self {
        let code = match error {
            StepError::Unreadable(_) => PROCESSING_FAILURE,
            StepError::Missing(_) => MISSING_ATTRIBUTE,
            StepError::Empty(_) => MISSING_ATTRIBUTE_VALUE,
            StepError::Invalid(_) => INVALID_ATTRIBUTE_VALUE,
            StepError::TooMuch(_) => RESOURCE_LIMITATION,
            StepError::Ended => PROCESSING_FAILURE,
            StepError::Duplicate => DUPLICATE_INSTANCE,
            StepError::Unknown => NO_SUCH_INSTANCE,
            StepError::NoUid => INVALID_INSTANCE,
        };
        let error_id = (*error == StepError::Ended).then_some(MAY_NO_LONGER_BE_UPDATED);
        Self { error_id, ..Self::new(code, error.to_string()) }
    }
}

impl From<&StepRefusal> for Status {
    fn from(refusal: &StepRefusal) -> Self {
        match refusal {
            StepRefusal::Step(error) => error.into(),
            // The log says which store it was; the modality can only ask again.
            StepRefusal::Service(_) => Self::new(PROCESSING_FAILURE, "cannot be stored now; send it again later"),
        }
    }
}

impl From<&ServiceError> for Status {
    fn from(_: &ServiceError) -> Self {
        // The log says which store it was; the sender can only send again.
        Self::new(OUT_OF_RESOURCES, "cannot be stored now; send it again later")
    }
}
