//! Leases are taken, kept alive, given back, and run out.

use prelim_proto::ids::{FencingToken, JobId};
use prelim_proto::job::{JobKind, JobState, Lease};
use prelim_proto::study::StudyState;

use super::finish::note_failure;
use super::{StoreError, held, settled, study};
use crate::queue::Verdict;
use crate::store::record::{Done, LeaseRequest, Settlement};
use crate::store::records::{Records, Result};

/// `by_ms` after `now_ms`.
pub(super) fn later(now_ms: i64, by_ms: u64) -> i64 {
    now_ms.saturating_add(i64::try_from(by_ms).unwrap_or(i64::MAX))
}

/// [`crate::store::JobStore::lease`].
pub(crate) fn lease(records: &mut impl Records, now_ms: i64, request: &LeaseRequest) -> Result<Option<Lease>> {
    for id in records.due(now_ms, usize::MAX)? {
        let mut job = super::job(records, &id)?;
        job.not_before_ms = 0;
        records.put_job(&job)?;
    }
    let mut first = None;
    for kind in &request.kinds {
        first = match (first, records.first_ready(*kind)?) {
            (Some(a), Some(b)) => Some(std::cmp::min::<(i64, JobId)>(a, b)),
            (a, b) => a.or(b),
        };
    }
    let Some((_, id)) = first else { return Ok(None) };
    let spec = records.spec(&id)?.ok_or_else(|| StoreError::NoJob(id.clone()))?;
    let mut study = study(records, id.study())?;
    let mut job = super::job(records, &id)?;

    job.state = JobState::Leased;
    job.waited_ms = job.waited_ms.saturating_add(now_ms.saturating_sub(job.updated_at_ms).max(0));
    job.attempts += 1;
    job.token = records.next_token()?;
    job.expires_at_ms = later(now_ms, request.ttl_ms);
    job.worker.clone_from(&request.worker);
    job.updated_at_ms = now_ms;
    records.put_job(&job)?;
    if study.state == StudyState::Queued && job.kind != JobKind::Merge {
        study.state = StudyState::Reading;
        study.updated_at_ms = now_ms;
        records.put_study(&study)?;
    }
    Ok(Some(Lease { job: spec, token: job.token, attempt: job.attempts, ttl_ms: request.ttl_ms }))
}

/// [`crate::store::JobStore::renew`].
pub(crate) fn renew(
    records: &mut impl Records,
    now_ms: i64,
    id: &JobId,
    token: FencingToken,
    ttl_ms: u64,
) -> Result<()> {
    let mut job = held(records, id, token)?;
    job.expires_at_ms = later(now_ms, ttl_ms);
    records.put_job(&job)
}

/// [`crate::store::JobStore::release`].
pub(crate) fn release(records: &mut impl Records, now_ms: i64, id: &JobId, token: FencingToken) -> Result<Done> {
    if settled(records, id, token)? == Some(Settlement::Released) {
        return Ok(Done::Before);
    }
    let mut job = held(records, id, token)?;
    job.state = JobState::Ready;
    job.attempts -= 1;
    job.not_before_ms = 0;
    job.expires_at_ms = 0;
    job.settled = Some((token, Settlement::Released));
    job.updated_at_ms = now_ms;
    records.put_job(&job)?;
    Ok(Done::Now)
}

/// [`crate::store::JobStore::expire`].
pub(crate) fn expire(
    records: &mut impl Records,
    now_ms: i64,
    id: &JobId,
    token: FencingToken,
    verdict: Verdict,
) -> Result<Done> {
    let Some(job) = records.job(id)? else { return Ok(Done::Before) };
    if job.state != JobState::Leased || job.token != token || job.expires_at_ms > now_ms {
        return Ok(Done::Before);
    }
    note_failure(records, now_ms, job, "lease ran out: the worker was not heard of in time", verdict)?;
    Ok(Done::Now)
}
