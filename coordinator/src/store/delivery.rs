//! What is to be sent where, and what became of it: the record of one object for one destination.

use prelim_proto::ids::{FencingToken, Uid};
use serde::{Deserialize, Serialize};

/// Which delivery: a version of a study's draft, a destination, and the object in which the draft goes there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryKey {
    /// The study.
    pub study: Uid,
    /// The draft's version.
    pub version: u32,
    /// The destination's name.
    pub destination: String,
    /// The object's word ([`crate::report::Format::as_str`]).
    pub object: String,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// To be sent when its time has come.
    Waiting,
    /// Under a lease of a coordinator that sends it.
    Sending,
    /// Taken by the destination, which was asked to commit itself to keeping it.
    Committing,
    /// Taken by the destination.
    Sent,
    /// Taken by the destination, which has committed itself to keeping it.
    Committed,
    /// Refused for good: the destination said that it will not take it.
    Refused,
    /// Given up after as many attempts as there may be.
    GivenUp,
    /// Not sent: a newer draft of the study is there.
    Superseded,
    /// Not sent: the draft has nothing to show as that object.
    Empty,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Sending,
        Self::Committing,
        Self::Sent,
        Self::Committed,
        Self::Refused,
        Self::GivenUp,
        Self::Superseded,
        Self::Empty,
    ];

    /// The state in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Committing => "committing",
            Self::Sent => "sent",
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::Superseded => "superseded",
            Self::Empty => "empty",
        }
    }

    /// Whether something is still to be done.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Sending | Self::Committing)
    }
}

/// A delivery as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// Which.
    pub key: DeliveryKey,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts so far, the present one included.
    pub attempts: u32,
    /// The token of the newest lease.
    pub token: FencingToken,
    /// While it is open: when it may be leased, on the store's clock. Of one that is being sent, when its lease ends; of one
    /// that waits for a commitment, when that is asked for again.
    pub due_at_ms: i64,
    /// What the destination said last, without anything of a patient.
    pub answer: String,
    /// SOP Instance UID of the object that was sent; empty before.
    pub instance: String,
    /// Transaction UID of the commitment asked for; empty where there is none.
    pub transaction: String,
    /// When it was asked for.
    pub created_at_ms: i64,
    /// When the record last changed.
    pub updated_at_ms: i64,
}

impl DeliveryRecord {
    /// A delivery that nobody has begun.
    pub fn new(key: DeliveryKey, now_ms: i64) -> Self {
        Self {
            key,
            state: DeliveryState::Waiting,
            attempts: 0,
            token: FencingToken(0),
            due_at_ms: now_ms,
            answer: String::new(),
            instance: String::new(),
            transaction: String::new(),
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        }
    }
}

/// Where a draft is to go: a destination, and in which object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The destination's name.
    pub destination: String,
    /// The object's word.
    pub object: String,
}

/// How an attempt ended. Which state follows was decided by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryEnd {
    /// What comes next.
    pub state: DeliveryState,
    /// For an open state: when it is due again, in ms from now.
    pub due_in_ms: u64,
    /// What the destination said.
    pub answer: String,
    /// SOP Instance UID of what was sent; empty where nothing was.
    pub instance: String,
    /// Transaction UID of a commitment asked for; empty where none was.
    pub transaction: String,
}
