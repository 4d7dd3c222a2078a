//! A complete study gets its jobs; recovery looks after studies that lost their way.

use prelim_proto::demand::Demand;
use prelim_proto::ids::{JobId, Uid};
use prelim_proto::job::{JobKind, JobSpec, JobState};
use prelim_proto::study::StudyState;

use super::{StoreError, study};
use crate::queue::MAX_LEASE_MS;
use crate::store::record::{Done, JobRecord, Plan, StudyQuery, StudyRecord};
use crate::store::records::{Records, Result};

/// [`crate::store::JobStore::plan_study`].
pub(crate) fn plan_study(records: &mut impl Records, now_ms: i64, uid: &Uid, plan: &Plan) -> Result<Done> {
    let mut study = study(records, uid)?;
    if study.generation != plan.generation {
        return Err(StoreError::Outdated(study.uid));
    }
    match study.state {
        StudyState::Complete => {}
        // Still open, or stopped: there is nothing to plan.
        StudyState::Receiving | StudyState::Cancelled => {
            return Err(StoreError::WrongState { study: study.uid, state: study.state });
        }
        _ => return Ok(Done::Before),
    }
    for (job, number) in plan.jobs.iter().zip(study.next_job..) {
        let is_like_the_first = job.demand == plan.jobs[0].demand;
        if job.id != JobId::new(uid.clone(), number) || !job.kind.is_read() || !is_like_the_first {
            return Err(StoreError::Misfit(job.id.to_string()));
        }
    }
    study.unread.clone_from(&plan.unread);
    study.partition_notes.clone_from(&plan.notes);
    study.priority = study.priority.max(plan.priority);
    study.route = Some(plan.route.clone());
    study.updated_at_ms = now_ms;
    if plan.jobs.is_empty() {
        study.state = if plan.skipped { StudyState::Skipped } else { StudyState::Failed };
        study.state_reason = Some(plan.failure.clone());
    } else {
        study.state = StudyState::Queued;
        study.rank = now_ms.saturating_sub(plan.head_start_ms);
        study.jobs_total = plan.jobs.len() as u32;
        study.next_job += study.jobs_total;
        for spec in &plan.jobs {
            records.put_spec(spec)?;
            records.put_job(&JobRecord::new(spec, &study.tenant, study.rank, now_ms))?;
        }
    }
    records.put_study(&study)?;
    Ok(Done::Now)
}

/// Enqueues the study's merge job. The caller stores the study.
pub(super) fn enqueue_merge(records: &mut impl Records, now_ms: i64, study: &mut StudyRecord) -> Result<()> {
    let spec = JobSpec {
        id: JobId::new(study.uid.clone(), study.next_job),
        kind: JobKind::Merge,
        images: Vec::new(),
        body_part: None,
        priority: study.priority,
        demand: Demand::default(),
        told: None,
        compared: None,
    };
    study.next_job += 1;
    study.merge = Some(spec.id.clone());
    records.put_spec(&spec)?;
    records.put_job(&JobRecord::new(&spec, &study.tenant, study.rank, now_ms))
}

/// The part of [`crate::store::JobStore::reconcile`] that concerns studies: counts their finished jobs again, and
/// enqueues a merge that is missing. How many merges were.
pub(crate) fn mend_studies(records: &mut impl Records, now_ms: i64) -> Result<u64> {
    let open = StudyQuery {
        states: vec![StudyState::Queued, StudyState::Reading],
        limit: usize::MAX,
        ..StudyQuery::default()
    };
    let mut missing = 0;
    for mut study in records.studies(&open)? {
        let jobs = records.jobs(&study.uid)?;
        let reads = jobs.iter().filter(|job| job.kind.is_read());
        let finished = reads.filter(|job| matches!(job.state, JobState::Done | JobState::Dead)).count() as u32;
        let unmerged = finished == study.jobs_total && study.merge.is_none();
        if unmerged {
            enqueue_merge(records, now_ms, &mut study)?;
            missing += 1;
        }
        if unmerged || finished != study.jobs_finished {
            study.jobs_finished = finished;
            records.put_study(&study)?;
        }
    }
    Ok(missing)
}

/// The part of [`crate::store::JobStore::reconcile`] that concerns a clock that was set back: leases and delays that
/// end later than any may end now. How many did.
pub(crate) fn mend_times(records: &mut impl Records, now_ms: i64) -> Result<u64> {
    let limit_ms = now_ms.saturating_add(MAX_LEASE_MS);
    let mut far = records.expired(i64::MAX, usize::MAX)?;
    for kind in JobKind::ALL {
        far.extend(records.due(kind, i64::MAX, usize::MAX)?);
    }
    let mut mended = 0;
    for id in far {
        let mut job = super::job(records, &id)?;
        if job.expires_at_ms.max(job.not_before_ms) <= limit_ms {
            continue;
        }
        match job.state {
            JobState::Leased => job.expires_at_ms = now_ms,
            _ => job.not_before_ms = now_ms,
        }
        records.put_job(&job)?;
        mended += 1;
    }
    Ok(mended)
}
