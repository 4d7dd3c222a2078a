//! What operators ask: how much waits, who works, what was given up; and stepping in.

use prelim_proto::ids::JobId;

use crate::backlog::Pool;
use crate::service::{Coordinator, ServiceError};
use crate::store::record::{Done, JobRecord, QueueDepth, WorkerRecord};

impl Coordinator {
    /// How much waits, runs and was given up.
    pub async fn depth(&self) -> Result<QueueDepth, ServiceError> {
        Ok(self.store.depth().await?)
    }

    /// The work that waits for a pool of workers, and that it does, in expected seconds of one worker's time.
    pub async fn backlog_of_s(&self, pool: &Pool) -> Result<f64, ServiceError> {
        let depth = self.store.depth().await?;
        let workers = if pool.offer.is_some() { self.store.workers().await? } else { Vec::new() };
        Ok(self.needs.backlog_of_s(pool, &depth, workers.iter().map(|(worker, _)| &worker.heartbeat)))
    }

    /// The workers heard of lately, each with the time since then, in ms.
    pub async fn workers(&self) -> Result<Vec<(WorkerRecord, u64)>, ServiceError> {
        Ok(self.store.workers().await?)
    }

    /// Tells a worker to take no more jobs, or to take them again.
    pub async fn drain_worker(&self, worker: &str, drain: bool) -> Result<(), ServiceError> {
        self.store.drain_worker(worker, drain).await?;
        self.drains.note(worker, drain);
        tracing::info!(worker.id = worker, drain, "worker told");
        Ok(())
    }

    /// Dead letters in order of id, after `after`.
    pub async fn dead_jobs(&self, after: Option<&JobId>, limit: usize) -> Result<Vec<JobRecord>, ServiceError> {
        Ok(self.store.dead_jobs(after, limit).await?)
    }

    /// Makes a dead job ready again; whether it was dead.
    pub async fn requeue(&self, job: &JobId) -> Result<bool, ServiceError> {
        let done = self.store.requeue_job(job).await?;
        self.work.notify_waiters();
        self.changed(job.study());
        Ok(done == Done::Now)
    }
}
