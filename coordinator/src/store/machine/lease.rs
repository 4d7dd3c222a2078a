//! Leases are taken, kept alive, given back, and run out.

use std::collections::BTreeMap;

use prelim_proto::demand::Demand;
use prelim_proto::ids::{FencingToken, JobId, Tenant};
use prelim_proto::job::{JobKind, JobState, Lease};
use prelim_proto::study::StudyState;

use super::finish::note_failure;
use super::{StoreError, held, settled, study};
use crate::queue::{Candidate, LOCALITY_MS, Verdict, turn, urgency};
use crate::store::record::{Done, JobRecord, LeaseRequest, MAX_HELD, Settlement};
use crate::store::records::{Reads, Records, Result};

/// `by_ms` after `now_ms`.
pub(super) fn later(now_ms: i64, by_ms: u64) -> i64 {
    now_ms.saturating_add(i64::try_from(by_ms).unwrap_or(i64::MAX))
}

/// [`crate::store::JobStore::lease`].
pub(crate) fn lease(records: &mut impl Records, now_ms: i64, request: &LeaseRequest) -> Result<Option<Lease>> {
    if let Some(mut job) = repeated(records, request)? {
        job.expires_at_ms = later(now_ms, request.ttl_ms);
        records.put_job(&job)?;
        return given(records, &job, request.ttl_ms, 0).map(Some);
    }
    for kind in JobKind::ALL {
        for id in records.due(kind, now_ms, usize::MAX)? {
            let mut job = super::job(records, &id)?;
            // It waits for a worker from its time on.
            job.updated_at_ms = job.not_before_ms;
            job.not_before_ms = 0;
            records.put_job(&job)?;
        }
    }
    let Some(id) = choose(records, now_ms, request)? else { return Ok(None) };
    let mut study = study(records, id.study())?;
    let mut job = super::job(records, &id)?;

    job.state = JobState::Leased;
    let waited_ms = now_ms.saturating_sub(job.updated_at_ms).max(0);
    job.waited_ms = job.waited_ms.saturating_add(waited_ms);
    job.attempts += 1;
    job.token = records.next_token()?;
    job.expires_at_ms = later(now_ms, request.ttl_ms);
    job.worker.clone_from(&request.worker);
    job.request.clone_from(&request.request);
    job.updated_at_ms = now_ms;
    records.put_job(&job)?;
    if study.state == StudyState::Queued && job.kind.is_read() {
        study.state = StudyState::Reading;
        study.updated_at_ms = now_ms;
        records.put_study(&study)?;
    }
    given(records, &job, request.ttl_ms, waited_ms as u64).map(Some)
}

/// The job that this very request got before, while the worker holds it.
fn repeated(records: &impl Reads, request: &LeaseRequest) -> Result<Option<JobRecord>> {
    if !request.repeats || request.request.is_empty() {
        return Ok(None);
    }
    match records.leased_by(&request.worker, &request.request)? {
        Some(id) => records.job(&id),
        None => Ok(None),
    }
}

fn given(records: &impl Reads, job: &JobRecord, ttl_ms: u64, attempt_waited_ms: u64) -> Result<Lease> {
    let spec = records.spec(&job.id)?.ok_or_else(|| StoreError::NoJob(job.id.clone()))?;
    let waited_ms = job.waited_ms.max(0) as u64;
    Ok(Lease { job: spec, token: job.token, attempt: job.attempts, ttl_ms, waited_ms, attempt_waited_ms, asked: None })
}

/// The job that is next for this worker: the first of the tenant whose turn it is, or one of the same urgency, not far
/// behind it, of a study that the worker has at hand.
fn choose(records: &impl Reads, now_ms: i64, request: &LeaseRequest) -> Result<Option<JobId>> {
    let allowed = |tenant: &Tenant| request.tenants.as_ref().is_none_or(|tenants| tenants.contains(tenant));
    let mut candidates: BTreeMap<Tenant, (Candidate, Vec<(JobKind, Demand)>)> = BTreeMap::new();
    for kind in &request.kinds {
        for (tenant, demand) in records.waiting(*kind)? {
            if !allowed(&tenant) || !request.offer.meets(&demand) {
                continue;
            }
            let running = records.running(&tenant)?;
            let cap = request.shares.of(&tenant).max_running;
            if kind.is_read() && cap.is_some_and(|cap| running >= cap.into()) {
                continue;
            }
            let Some((rank, job)) = records.first_ready(*kind, &tenant, &demand)? else { continue };
            let new = || (Candidate { tenant: tenant.clone(), rank, job: job.clone(), running }, Vec::new());
            let (candidate, kinds) = candidates.entry(tenant.clone()).or_insert_with(new);
            if (rank, &job) < (candidate.rank, &candidate.job) {
                (candidate.rank, candidate.job) = (rank, job);
            }
            kinds.push((*kind, demand));
        }
    }
    let heads = candidates.values().map(|(candidate, _)| candidate.clone()).collect();
    let Some(head) = turn(heads, &request.shares, now_ms) else { return Ok(None) };
    // Somebody waits for an answer: nothing goes before it.
    if head.job.is_question() {
        return Ok(Some(head.job));
    }
    let kinds = &candidates[&head.tenant].1;
    let mut best: Option<(i64, JobId)> = None;
    for uid in request.held.iter().take(MAX_HELD) {
        let Some(study) = records.study(uid)?.filter(|study| study.tenant == head.tenant) else { continue };
        let near = study.rank.saturating_sub(head.rank) <= LOCALITY_MS;
        if !near || urgency(study.rank, now_ms) != urgency(head.rank, now_ms) {
            continue;
        }
        let is_open = |job: &JobRecord| {
            !job.id.is_question() && kinds.iter().any(|(kind, demand)| (*kind, demand) == (job.kind, &job.demand))
        };
        let waits = |job: &JobRecord| job.state == JobState::Ready && job.not_before_ms == 0 && is_open(job);
        let first = records.jobs(uid)?.into_iter().find(waits).map(|job| (job.rank, job.id));
        best = [best, first].into_iter().flatten().min();
    }
    Ok(Some(best.map_or(head.job, |(_, id)| id)))
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
