//! What the coordinator says of the cluster.

use prelim_proto::v1::queue_service_client::QueueServiceClient;
use prelim_proto::v1::study_service_client::StudyServiceClient;
use prelim_proto::v1::{GetQueueRequest, ListStudiesRequest, ListWorkersRequest, Queue, Study, StudyState, Worker};
use prelim_worker::connection::Wire;

use crate::client::{Connection, plain};

/// Studies asked for in each group: more than a screen has lines.
const PAGE: u32 = 100;

/// The groups in which studies are shown, what is being read first.
const GROUPS: [&[StudyState]; 3] = [
    &[StudyState::Reading],
    &[StudyState::Queued, StudyState::Complete, StudyState::Receiving],
    &[
        StudyState::Drafted,
        StudyState::Failed,
        StudyState::Cancelled,
        StudyState::Skipped,
        StudyState::Signed,
        StudyState::Amended,
        StudyState::Rejected,
    ],
];

/// The cluster at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) queue: Queue,
    /// In order of name.
    pub(super) workers: Vec<Worker>,
    /// Those being read, then those that wait, then those settled; newest first in each group.
    pub(super) studies: Vec<Study>,
}

/// Where snapshots come from.
pub(super) struct Source {
    queue: QueueServiceClient<Wire>,
    studies: StudyServiceClient<Wire>,
}

impl Source {
    pub(super) async fn connect(connection: &Connection) -> anyhow::Result<Self> {
        Ok(Self { queue: connection.queue().await?, studies: connection.studies().await? })
    }

    /// Asks once.
    pub(super) async fn ask(&mut self) -> anyhow::Result<Snapshot> {
        let queue = self.queue.get_queue(GetQueueRequest {}).await.map_err(plain)?.into_inner().queue;
        let workers = self.queue.list_workers(ListWorkersRequest {}).await.map_err(plain)?.into_inner().workers;
        let mut studies = Vec::new();
        for states in GROUPS {
            let states = states.iter().map(|state| i32::from(*state)).collect();
            let request = ListStudiesRequest { page_size: PAGE, page_token: String::new(), states };
            studies.extend(self.studies.list_studies(request).await.map_err(plain)?.into_inner().studies);
        }
        Ok(Snapshot { queue: queue.unwrap_or_default(), workers, studies })
    }
}
