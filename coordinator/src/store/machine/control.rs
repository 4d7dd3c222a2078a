//! People step in: a study is cancelled, a dead letter is tried again.

use prelim_proto::ids::{JobId, Uid};
use prelim_proto::job::{JobKind, JobState};
use prelim_proto::study::StudyState;

use super::{StoreError, job, study};
use crate::store::record::{Done, StudyRecord};
use crate::store::records::{Records, Result};

/// [`crate::store::JobStore::cancel_study`].
pub(crate) fn cancel_study(records: &mut impl Records, now_ms: i64, uid: &Uid, reason: &str) -> Result<Done> {
    let mut study = study(records, uid)?;
    if study.state == StudyState::Cancelled {
        return Ok(Done::Before);
    }
    if study.state.is_settled() {
        return Err(StoreError::WrongState { study: study.uid, state: study.state });
    }
    for mut job in records.jobs(uid)? {
        if job.id.is_question() {
            records.remove_job(&job.id)?;
        } else if matches!(job.state, JobState::Ready | JobState::Leased | JobState::Dead) {
            job.state = JobState::Cancelled;
            job.not_before_ms = 0;
            job.expires_at_ms = 0;
            job.updated_at_ms = now_ms;
            records.put_job(&job)?;
        }
    }
    study.state = StudyState::Cancelled;
    study.state_reason = Some(reason.to_owned());
    study.updated_at_ms = now_ms;
    records.put_study(&study)?;
    Ok(Done::Now)
}

/// [`crate::store::JobStore::requeue_job`].
pub(crate) fn requeue_job(records: &mut impl Records, now_ms: i64, id: &JobId) -> Result<Done> {
    let mut letter = job(records, id)?;
    let mut study = study(records, id.study())?;
    match letter.state {
        JobState::Dead => {}
        JobState::Ready | JobState::Leased | JobState::Done => return Ok(Done::Before),
        JobState::Cancelled => return Err(StoreError::Cancelled(id.clone())),
    }
    if !matches!(study.state, StudyState::Queued | StudyState::Reading | StudyState::Drafted | StudyState::Failed) {
        return Err(StoreError::WrongState { study: study.uid, state: study.state });
    }
    if letter.kind != JobKind::Merge {
        withdraw_merge(records, now_ms, &mut study)?;
        study.jobs_finished -= 1;
    }
    study.state = StudyState::Reading;
    study.state_reason = None;
    study.updated_at_ms = now_ms;
    letter.state = JobState::Ready;
    letter.attempts = 0;
    letter.not_before_ms = 0;
    letter.updated_at_ms = now_ms;
    records.put_job(&letter)?;
    records.put_study(&study)?;
    Ok(Done::Now)
}

/// The study has no merge any more: one that is not done is cancelled, and its holder cannot commit it. The next last
/// job enqueues a new one.
fn withdraw_merge(records: &mut impl Records, now_ms: i64, study: &mut StudyRecord) -> Result<()> {
    let Some(id) = study.merge.take() else { return Ok(()) };
    let mut merge = job(records, &id)?;
    if merge.state != JobState::Done {
        merge.state = JobState::Cancelled;
        merge.not_before_ms = 0;
        merge.expires_at_ms = 0;
        merge.updated_at_ms = now_ms;
        records.put_job(&merge)?;
    }
    Ok(())
}
