//! What can go wrong in a store.

use prelim_proto::ids::{FencingToken, JobId, Tenant, Uid};
use prelim_proto::study::StudyState;

use super::delivery::DeliveryKey;

/// An operation that a store refused, or could not carry out. Nothing changed, unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The caller named a study that is not held.
    #[error("no study {0}")]
    NoStudy(Uid),
    /// The caller named a job that is not held.
    #[error("no job {0}")]
    NoJob(JobId),
    /// The token is not that of the job's present lease: someone else has the job, or it is finished.
    #[error("lease {} of job {job} is no longer held", .token.0)]
    LeaseLost {
        /// The job.
        job: JobId,
        /// The token that was shown.
        token: FencingToken,
    },
    /// The study of the job was cancelled.
    #[error("job {0} was cancelled with its study")]
    Cancelled(JobId),
    /// The operation does not fit where the study stands.
    #[error("study {study} is {}", .state.as_str())]
    WrongState {
        /// The study.
        study: Uid,
        /// Where it stands.
        state: StudyState,
    },
    /// The plan or draft was made from an older state of the study: look at it again.
    #[error("study {0} has changed meanwhile")]
    Outdated(Uid),
    /// Drafts of the study are still to be sent.
    #[error("drafts of study {0} are on their way to where they are sent")]
    Sending(Uid),
    /// The delivery is not under the lease that was shown: someone else has it, or it is over.
    #[error("the delivery of {} to {} is no longer held", .0.object, .0.destination)]
    DeliveryLost(Box<DeliveryKey>),
    /// The plan or commit contradicts itself. A mistake of ours.
    #[error("operation does not fit job or study {0}")]
    Misfit(String),
    /// The request id stands for something else.
    #[error("request id {0:?} was used for something else: take another")]
    RequestReused(String),
    /// Too much is waiting.
    #[error("{limit} studies are open, which is the limit")]
    TooManyStudies {
        /// The limit.
        limit: u64,
    },
    /// Too much of the tenant is waiting.
    #[error("{limit} studies of {tenant} are open, which is its limit")]
    TooManyOfTenant {
        /// The tenant.
        tenant: Tenant,
        /// The limit.
        limit: u64,
    },
    /// Too many performed procedure steps are held.
    #[error("{limit} performed procedure steps are held, which is the limit")]
    TooManySteps {
        /// The limit.
        limit: u64,
    },
    /// The caller named a worker that was not heard of.
    #[error("no worker {0:?} was heard of lately")]
    NoWorker(String),
    /// The caller named a workitem that is not held.
    #[error("no workitem {0}")]
    NoWorkitem(Uid),
    /// Another workitem has this UID.
    #[error("workitem {0} exists already")]
    WorkitemExists(Uid),
    /// The change was made from an older version of the workitem: look at it again.
    #[error("workitem {0} has changed meanwhile")]
    WorkitemChanged(Uid),
    /// Too many workitems of the tenant are open.
    #[error("{limit} workitems are open, which is the limit")]
    TooManyWorkitems {
        /// The limit.
        limit: u64,
    },
    /// Too many have subscribed to the tenant's worklist.
    #[error("{limit} have subscribed to the worklist, which is the limit")]
    TooManySubscriptions {
        /// The limit.
        limit: u64,
    },
    /// The note was written anew since it was looked at: look at it again.
    #[error("it was written anew meanwhile")]
    NoteChanged {
        /// The newest version; 0 where it is gone.
        newest: u64,
    },
    /// Too many notes are held.
    #[error("{limit} notes are held, which is the limit")]
    TooManyNotes {
        /// The limit.
        limit: u64,
    },
    /// The study would get too large.
    #[error("study {study} would have more than {limit} instances")]
    TooManyInstances {
        /// The study.
        study: Uid,
        /// The limit.
        limit: u32,
    },
    /// Another coordinator has the data folder open.
    #[error("data folder {0} is in use by another coordinator; stop that one or choose another folder")]
    InUse(String),
    /// No room is left.
    #[error("{}", .0.words())]
    Full(Room),
    /// The disk under the store failed. Whether the operation happened is not known: repeat it.
    #[error("the disk under the store failed: {0}")]
    Disk(String),
    /// The server of the store does not answer. Whether the operation happened is not known: repeat it.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// The store contradicts itself.
    #[error("store: {0}")]
    Storage(String),
}

/// What a store has none left of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Space of a disk.
    Disk,
    /// Memory of a Redis.
    Memory,
}

impl Room {
    fn words(self) -> &'static str {
        match self {
            Self::Disk => "no space is left on the disk of the store; free some, nothing was lost",
            Self::Memory => {
                "no memory is left for the store: Redis is at its maxmemory; give it more, nothing was lost"
            }
        }
    }
}

impl StoreError {
    /// Whether the same operation may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Storage(_)
                | Self::Disk(_)
                | Self::Full(_)
                | Self::Unreachable(_)
                | Self::TooManyStudies { .. }
                | Self::TooManyOfTenant { .. }
                | Self::TooManySteps { .. }
                | Self::TooManyNotes { .. }
                | Self::Outdated(_)
                | Self::WorkitemChanged(_)
        )
    }
}
