//! DICOM messages over associations (PS3.7, PS3.8), over TCP or TLS, in both roles.
//!
//! # Layout
//! - [`scp`]: what others ask of us: C-ECHO, C-STORE, storage commitment, performed procedure steps; [`scu`]: what we ask of others
//! - `commitment`, `mpps`: what the messages of storage commitment, and of performed procedure steps, say (pure)
//! - `wire`: a connection, PDU by PDU; `message`: fragments to messages (pure); `command`: command sets (PS3.7 annex E, pure)
//! - `status`: the one place where what became of an object turns into a DIMSE status
//! - [`part10`]: a data set as a file, and back (pure); `syntaxes`: what is stored, in which encoding; [`title`]: application
//!   entity titles
//!
//! **Invariant**: what comes from a peer has a cap and a time, whoever called whom.

mod command;
pub(crate) mod commitment;
mod message;
pub(crate) mod mpps;
pub mod part10;
pub mod scp;
pub mod scu;
#[cfg(test)]
pub(crate) mod statement;
mod status;
mod syntaxes;
pub mod title;
mod wire;

use dicom_ul::pdu::UserVariableItem;

use crate::intake::Outcome;
use crate::service::ServiceError;

/// The DICOM Application Context Name (PS3.7 annex A.2.1).
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Storage Commitment Push Model SOP Class (PS3.4 annex J).
pub(crate) const COMMITMENT: &str = dicom_dictionary_std::uids::STORAGE_COMMITMENT_PUSH_MODEL;
/// Modality Performed Procedure Step SOP Class (PS3.4 annex F).
pub(crate) const PERFORMED_STEP: &str = dicom_dictionary_std::uids::MODALITY_PERFORMED_PROCEDURE_STEP;
/// Longest PDU where the peer sets no limit, in bytes.
const NO_LIMIT: u32 = 1 << 20;
/// Bytes in a permit of the memory for objects that are being received.
const MEMORY_UNIT: usize = 1 << 20;

/// Longest PDU that the peer takes (PS3.8 annex D.1).
fn peer_limit(variables: &[UserVariableItem]) -> u32 {
    let given = variables.iter().find_map(|variable| match variable {
        UserVariableItem::MaxLength(bytes) => Some(*bytes),
        _ => None,
    });
    match given {
        None | Some(0) => NO_LIMIT,
        Some(bytes) => bytes,
    }
}

/// What we say of ourselves in a request or its acceptance.
fn our_variables(max_pdu_bytes: u32) -> Vec<UserVariableItem> {
    vec![
        UserVariableItem::MaxLength(max_pdu_bytes),
        UserVariableItem::ImplementationClassUID(part10::IMPLEMENTATION_CLASS.to_owned()),
        UserVariableItem::ImplementationVersionName(part10::IMPLEMENTATION_VERSION.to_owned()),
    ]
}

/// The SOP classes whose objects are stored.
pub(crate) fn stored_classes() -> Vec<String> {
    syntaxes::stored().collect()
}

/// Whether objects of this SOP class are stored.
pub(crate) fn is_stored(sop_class: &str) -> bool {
    syntaxes::is_stored(sop_class)
}

/// What a sender is told of an object that was taken in, or was not.
pub(crate) fn verdict_status(taken: &Result<Vec<Outcome>, ServiceError>) -> status::Status {
    match taken {
        Ok(outcomes) => outcomes.first().map_or_else(status::Status::without_data_set, |each| (&each.verdict).into()),
        Err(error) => error.into(),
    }
}
