//! Objects to whole studies, and whole studies to jobs.

use std::time::SystemTime;

use opentelemetry::KeyValue;
use prelim_proto::ids::Uid;
use prelim_proto::study::StudyState;

use crate::partition::partition;
use crate::queue::head_start_ms;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::{CompleteStudies, Done, Plan, StudyQuery, by_series};
use crate::traces;

/// Plans of one study that may be overtaken by late instances before we wait for the next signal.
const MAX_PLANS: usize = 8;
/// Studies looked at together.
const PAGE: usize = 500;

impl Coordinator {
    /// The sender says that these studies are whole: they are planned and queued. Idempotent by request id.
    pub async fn complete(&self, request_id: Option<String>, studies: Vec<Uid>) -> Result<(), ServiceError> {
        if studies.is_empty() {
            return Ok(());
        }
        let request = CompleteStudies { request_id, studies: studies.clone() };
        self.store.complete_studies(request).await?;
        for study in &studies {
            self.plan(study).await?;
        }
        Ok(())
    }

    /// Gives a complete study its jobs; leaves one in any other state alone.
    async fn plan(&self, uid: &Uid) -> Result<(), ServiceError> {
        for _ in 0..MAX_PLANS {
            let began = SystemTime::now();
            let record = self.record(uid).await?;
            if record.state != StudyState::Complete {
                break;
            }
            let (generation, first_job, priority) = (record.generation, record.next_job, record.priority);
            let instances = self.store.instances(uid).await?;
            let study = record.into_study(by_series(instances));
            let parts = partition(&study, first_job, &self.config.partition_limits());
            let (hash, jobs) = (traces::hash(uid), parts.jobs.len() as i64);
            tracing::info!(study.hash = hash, jobs, unread = parts.unread.len(), "study partitioned");
            let plan = Plan {
                generation,
                jobs: parts.jobs,
                head_start_ms: head_start_ms(priority),
                unread: parts.unread,
                notes: parts.notes,
                failure: parts.failure,
            };
            match self.store.plan_study(uid, plan).await {
                // Instances came in between: look again.
                Err(StoreError::Outdated(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(done) => {
                    // Another coordinator may have been quicker with the same plan.
                    if done == Done::Now {
                        traces::add(uid, "plan", began, [KeyValue::new("prelim.jobs", jobs)]);
                        if jobs == 0 {
                            self.metrics.study_settled("failed");
                            self.end_trace(uid, "nothing to read").await;
                        }
                    }
                    break;
                }
            }
        }
        self.work.notify_waiters();
        self.changed(uid);
        Ok(())
    }

    /// Completes studies whose sender went away, and plans those that were complete when a coordinator died.
    pub(crate) async fn assemble_stragglers(&self) -> Result<(), ServiceError> {
        for study in self.in_state(StudyState::Receiving).await? {
            self.store.complete_quiet(&study, self.config.quiet_period_ms).await?;
        }
        for study in self.in_state(StudyState::Complete).await? {
            self.plan(&study).await?;
        }
        Ok(())
    }

    async fn in_state(&self, state: StudyState) -> Result<Vec<Uid>, ServiceError> {
        let query = StudyQuery { states: vec![state], limit: PAGE, ..StudyQuery::default() };
        Ok(self.store.studies(query).await?.into_iter().map(|study| study.uid).collect())
    }
}
