//! What a store holds of performed procedure steps: what modalities say that they do, and did.

use prelim_proto::ids::{Tenant, Uid};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Steps that a store holds, at most; those that changed longest ago are forgotten in time.
pub const MAX_STEPS: u64 = 20_000;
/// Instances that one step may list.
pub const MAX_LISTED: usize = 20_000;
/// Studies that one step may be of.
pub const MAX_STUDIES: usize = 16;
/// Steps of one study that are looked at, the first of them by UID.
pub const MAX_STEPS_OF_STUDY: usize = 64;

/// Where a step stands (PS3.3 section C.4.14, Performed Procedure Step Status).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Images may still be made.
    InProgress,
    /// It ended as it was meant to.
    Completed,
    /// It ended before that.
    Discontinued,
}

/// A modality performed procedure step, as far as it says what studies will hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// SOP Instance UID.
    pub uid: Uid,
    /// Whose modality performs it.
    pub tenant: Tenant,
    /// Where it stands.
    pub state: StepState,
    /// Study Instance UIDs of its scheduled steps, each once, in order.
    pub studies: Vec<Uid>,
    /// Marks of the instances that it lists, each once, in order.
    pub listed: Vec<Mark>,
    /// How often it was written, from 1.
    pub revision: u64,
    /// Drawn anew for each write, by which one that is repeated is known.
    pub write: u64,
    /// When it was written last, on the store's clock.
    pub changed_at_ms: i64,
}

/// An instance, by the first eight bytes of the SHA-256 of its UID: twenty thousand of them are compared, and kept for days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark(u64);

impl Mark {
    /// The mark of an instance.
    pub fn of(instance: &Uid) -> Self {
        let digest = Sha256::digest(instance.as_str().as_bytes());
        Self(u64::from_be_bytes(digest[..8].try_into().expect("eight bytes")))
    }
}

/// A step to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutStep {
    /// What it is from now on; its revision and time are the store's.
    pub step: StepRecord,
    /// The revision that it takes the place of; none for a step that is new.
    pub after: Option<u64>,
    /// Steps that may be held.
    pub max_steps: u64,
}
