//! Questions about a study: jobs that take no part in what becomes of it.

use prelim_proto::ids::{FencingToken, JobId};
use prelim_proto::job::{JobKind, JobSpec, JobState};
use prelim_proto::study::StudyState;

use super::{StoreError, study};
use crate::store::record::{Done, JobRecord};
use crate::store::records::{Records, Result};

/// [`crate::store::JobStore::ask`].
pub(crate) fn ask(records: &mut impl Records, now_ms: i64, spec: &JobSpec, head_start_ms: i64) -> Result<Done> {
    if spec.kind != JobKind::Answer || !spec.id.is_question() {
        return Err(StoreError::Misfit(spec.id.to_string()));
    }
    let study = study(records, spec.id.study())?;
    if study.state == StudyState::Removing {
        return Err(StoreError::WrongState { study: study.uid, state: study.state });
    }
    if records.job(&spec.id)?.is_some() {
        return Ok(Done::Before);
    }
    records.put_spec(spec)?;
    records.put_job(&JobRecord::new(spec, &study.tenant, now_ms.saturating_sub(head_start_ms), now_ms))?;
    Ok(Done::Now)
}

/// [`crate::store::JobStore::end_question`].
pub(crate) fn end_question(records: &mut impl Records, id: &JobId, token: Option<FencingToken>) -> Result<Done> {
    if !id.is_question() {
        return Err(StoreError::Misfit(id.to_string()));
    }
    let Some(job) = records.job(id)? else { return Ok(Done::Before) };
    if let Some(token) = token
        && (job.state != JobState::Leased || job.token != token)
    {
        return Err(StoreError::LeaseLost { job: id.clone(), token });
    }
    records.remove_job(id)?;
    Ok(Done::Now)
}
