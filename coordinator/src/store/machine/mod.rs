//! The state machine of studies and jobs: the specification that every store is held to.
//!
//! Each function is one operation of [`super::JobStore`], on records inside one transaction. They read no clock, draw
//! no random number and know no index. The embedded store runs them in its own transactions; a store that cannot (Redis
//! runs scripts) is compared with them, operation by operation, by the conformance suite.
//!
//! **Invariant**: a function that returns an error has written nothing.
//! **Invariant**: a job is leased exactly while it has an expiry, and at most one token at a time may commit it.
//! **Invariant**: a study has one merge job when all its read jobs are finished, and none before.

mod control;
mod deliver;
#[cfg(test)]
mod explore;
mod finish;
mod intake;
mod lease;
mod notes;
mod plan;
mod question;
mod remove;
mod review;
mod steps;
mod workers;
mod worklist;

pub(crate) use control::{cancel_study, requeue_job};
pub(crate) use deliver::{add_deliveries, delivery, end_delivery, lease_deliveries};
pub(crate) use finish::{commit_merge, complete_job, fail_job};
#[cfg(test)]
pub(crate) use intake::new_study;
pub(crate) use intake::{add_instances, complete_due, complete_studies, is_due, note_arriving, preview_instances};
pub(crate) use lease::{expire, lease, release, renew};
pub(crate) use notes::{drop_notes, forget_notes, note, put_note};
pub(crate) use plan::{mend_studies, mend_times, plan_study};
pub(crate) use question::{ask, end_question};
pub(crate) use remove::{forget_study, remove_study};
pub(crate) use review::commit_review;
pub(crate) use steps::{forget_steps, put_step};
pub(crate) use workers::{drain_worker, forget_worker, forget_workers, heartbeat};
pub(crate) use worklist::{
    change_workitem, create_workitem, forget_workitems, subscribe_worklist, unsubscribe_worklist,
};

use prelim_proto::ids::{FencingToken, JobId, Uid};
use prelim_proto::job::JobState;
use prelim_proto::study::StudyState;

use super::StoreError;
use super::record::{JobRecord, Settlement, StudyRecord};
use super::records::{Reads, Records, Result};

/// The study, which must be held.
fn study(records: &impl Reads, uid: &Uid) -> Result<StudyRecord> {
    records.study(uid)?.ok_or_else(|| StoreError::NoStudy(uid.clone()))
}

/// The job, which must be held.
fn job(records: &impl Reads, id: &JobId) -> Result<JobRecord> {
    records.job(id)?.ok_or_else(|| StoreError::NoJob(id.clone()))
}

/// The job, which must be leased under `token`.
fn held(records: &impl Reads, id: &JobId, token: FencingToken) -> Result<JobRecord> {
    let lost = || StoreError::LeaseLost { job: id.clone(), token };
    // A job that is gone belonged to an older generation of its study.
    let job = records.job(id)?.ok_or_else(lost)?;
    match job.state {
        JobState::Leased if job.token == token => Ok(job),
        JobState::Cancelled if job.token == token => Err(StoreError::Cancelled(id.clone())),
        _ => Err(lost()),
    }
}

/// How the holder of `token` ended its lease, if it did.
fn settled(records: &impl Reads, id: &JobId, token: FencingToken) -> Result<Option<Settlement>> {
    let settled = records.job(id)?.and_then(|job| job.settled);
    Ok(settled.filter(|(of, _)| *of == token).map(|(_, how)| how))
}

/// Opens a study again: its jobs are forgotten, its drafts are kept.
fn reopen(records: &mut impl Records, now_ms: i64, study: &mut StudyRecord, state: StudyState) -> Result<()> {
    for job in records.jobs(&study.uid)? {
        records.remove_job(&job.id)?;
    }
    study.state = state;
    study.state_reason = None;
    study.generation += 1;
    study.jobs_total = 0;
    study.jobs_finished = 0;
    study.merge = None;
    study.unread.clear();
    study.partition_notes.clear();
    study.arrival.opened_at_ms = now_ms;
    study.completion = None;
    study.route = None;
    Ok(())
}
