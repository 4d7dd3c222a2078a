//! The watch stream: what studies are now, then each change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prelim_proto::ids::Uid;
use prelim_proto::v1::{Progress, Study, WatchStudiesResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::status;
use super::study_service::summary;
use crate::access::Refusal;
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;
use crate::store::record::{StudyQuery, StudyRecord};

/// Messages that may wait for a slow watcher.
const BACKLOG: usize = 16;
/// Studies followed where none is named: the newest.
const FOLLOWED: usize = 1_000;
/// Changes closer together than this are told together.
const PAUSE: Duration = Duration::from_millis(100);

type Sender = mpsc::Sender<Result<WatchStudiesResponse, Status>>;

/// Follows `studies`, or the newest ones where none is named.
pub(super) fn watch(
    coordinator: Arc<Coordinator>,
    session: Session,
    studies: Vec<Uid>,
) -> ReceiverStream<Result<WatchStudiesResponse, Status>> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        if let Err(error) = follow(&coordinator, &session, &studies, &sender).await {
            let _ = sender.send(Err(status::of(error))).await;
        }
    });
    ReceiverStream::new(receiver)
}

/// Tells every change until all named studies are settled, the watcher is gone or its credentials have run out, or the
/// coordinator stops.
async fn follow(
    coordinator: &Coordinator,
    session: &Session,
    named: &[Uid],
    sender: &Sender,
) -> Result<(), ServiceError> {
    let mut changes = coordinator.subscribe();
    let mut told: BTreeMap<Uid, i64> = BTreeMap::new();
    let mut told_progress = None;
    loop {
        let records = look(coordinator, session, named).await?;
        let progress = progress(&records);
        let is_settled = records.iter().all(|record| record.state.is_settled());
        for record in records {
            if told.get(&record.uid) == Some(&record.updated_at_ms) && !is_settled {
                continue;
            }
            told.insert(record.uid.clone(), record.updated_at_ms);
            if !tell(sender, Some(summary(record)), progress).await {
                return Ok(());
            }
        }
        if told_progress != Some(progress) && !tell(sender, None, progress).await {
            return Ok(());
        }
        told_progress = Some(progress);
        if is_settled && !named.is_empty() {
            return Ok(());
        }
        tokio::select! {
            () = coordinator.next_change(&mut changes) => {}
            () = coordinator.stopping.cancelled() => return Err(ServiceError::Stopping),
            () = sender.closed() => return Ok(()),
            () = session.expired() => return Err(Refusal::Expired.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends a message; false where nobody listens any more.
async fn tell(sender: &Sender, study: Option<Study>, progress: Progress) -> bool {
    sender.send(Ok(WatchStudiesResponse { study, progress: Some(progress) })).await.is_ok()
}

async fn look(coordinator: &Coordinator, session: &Session, named: &[Uid]) -> Result<Vec<StudyRecord>, ServiceError> {
    if named.is_empty() {
        return coordinator
            .studies(StudyQuery { tenants: session.tenants(), limit: FOLLOWED, ..StudyQuery::default() })
            .await;
    }
    let mut records = Vec::with_capacity(named.len());
    for study in named {
        records.push(coordinator.record(study).await?);
    }
    Ok(records)
}

fn progress(records: &[StudyRecord]) -> Progress {
    let mut sum = Progress { studies_total: records.len() as u32, ..Progress::default() };
    for record in records {
        sum.studies_settled += u32::from(record.state.is_settled());
        sum.jobs_total += record.jobs_total;
        sum.jobs_finished += record.jobs_finished;
        sum.prompt_tokens += record.cost.jobs.prompt_tokens;
        sum.generated_tokens += record.cost.jobs.generated_tokens;
    }
    sum
}
