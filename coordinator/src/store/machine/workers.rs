//! Workers make themselves known, and are told to stop.

use super::StoreError;
use crate::store::record::{Done, Heartbeat, Orders, PROCESSES_KEPT, WorkerRecord};
use crate::store::records::{Records, Result};

/// [`crate::store::JobStore::heartbeat`].
pub(crate) fn heartbeat(records: &mut impl Records, now_ms: i64, heartbeat: &Heartbeat) -> Result<Orders> {
    let new = || WorkerRecord {
        heartbeat: heartbeat.clone(),
        since_ms: now_ms,
        seen_at_ms: now_ms,
        draining: false,
        processes: Vec::new(),
        shared_at_ms: 0,
    };
    let mut worker = records.worker(&heartbeat.worker)?.unwrap_or_else(new);
    worker.heartbeat.clone_from(heartbeat);
    worker.seen_at_ms = now_ms;
    let process = &heartbeat.process;
    if !process.is_empty() && worker.processes.last() != Some(process) {
        if let Some(place) = worker.processes.iter().position(|known| known == process) {
            worker.processes.remove(place);
            worker.shared_at_ms = now_ms;
        }
        worker.processes.push(process.clone());
        if worker.processes.len() > PROCESSES_KEPT {
            worker.processes.remove(0);
        }
    }
    records.put_worker(&worker)?;
    Ok(Orders { drain: worker.draining, shares_name: worker.shares_name(now_ms) })
}

/// [`crate::store::JobStore::drain_worker`].
pub(crate) fn drain_worker(records: &mut impl Records, id: &str, drain: bool) -> Result<Done> {
    let mut worker = records.worker(id)?.ok_or_else(|| StoreError::NoWorker(id.to_owned()))?;
    if worker.draining == drain {
        return Ok(Done::Before);
    }
    worker.draining = drain;
    records.put_worker(&worker)?;
    Ok(Done::Now)
}

/// [`crate::store::JobStore::forget_worker`].
pub(crate) fn forget_worker(records: &mut impl Records, id: &str) -> Result<Done> {
    if records.worker(id)?.is_none() {
        return Ok(Done::Before);
    }
    records.remove_worker(id)?;
    Ok(Done::Now)
}

/// [`crate::store::JobStore::forget_workers`].
pub(crate) fn forget_workers(records: &mut impl Records, before_ms: i64) -> Result<u64> {
    let mut forgotten = 0;
    for worker in records.workers()? {
        if worker.seen_at_ms < before_ms {
            records.remove_worker(&worker.heartbeat.worker)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}
