//! Attempts end: with an outcome, a failure, or a draft.

use prelim_proto::ids::{FencingToken, JobId};
use prelim_proto::job::{JobKind, JobOutcome, JobState};
use prelim_proto::review::Standing;
use prelim_proto::study::StudyState;

use super::deliver::wish;
use super::lease::later;
use super::plan::enqueue_merge;
use super::{StoreError, held, settled, study};
use crate::queue::Verdict;
use crate::store::record::{Done, DraftRecord, Failure, JobRecord, MAX_FAILURES_KEPT, Merged, Settlement, StudyRecord};
use crate::store::records::{Records, Result};

/// [`crate::store::JobStore::complete_job`].
pub(crate) fn complete_job(
    records: &mut impl Records,
    now_ms: i64,
    id: &JobId,
    token: FencingToken,
    outcome: &JobOutcome,
) -> Result<Done> {
    if settled(records, id, token)? == Some(Settlement::Completed) {
        return Ok(Done::Before);
    }
    let mut job = held(records, id, token)?;
    if !job.kind.is_read() {
        return Err(StoreError::Misfit(id.to_string()));
    }
    let mut study = study(records, id.study())?;
    finish(&mut job, now_ms);
    records.put_job(&job)?;
    records.put_outcome(id, outcome)?;
    study.cost.jobs += outcome.cost;
    study.cost.queue_ms += job.waited_ms as f64;
    count_finished(records, now_ms, study)?;
    Ok(Done::Now)
}

/// Marks the job as done under its present token.
fn finish(job: &mut JobRecord, now_ms: i64) {
    job.state = JobState::Done;
    job.expires_at_ms = 0;
    job.settled = Some((job.token, Settlement::Completed));
    job.updated_at_ms = now_ms;
}

/// One more read job of the study is done or dead; the last one enqueues the merge.
fn count_finished(records: &mut impl Records, now_ms: i64, mut study: StudyRecord) -> Result<()> {
    study.jobs_finished += 1;
    study.updated_at_ms = now_ms;
    if study.jobs_finished == study.jobs_total {
        enqueue_merge(records, now_ms, &mut study)?;
    }
    records.put_study(&study)
}

/// [`crate::store::JobStore::fail_job`]; whether the job will be tried again.
pub(crate) fn fail_job(
    records: &mut impl Records,
    now_ms: i64,
    id: &JobId,
    token: FencingToken,
    reason: &str,
    verdict: Verdict,
) -> Result<bool> {
    match settled(records, id, token)? {
        Some(Settlement::Retried) => return Ok(true),
        Some(Settlement::Buried) => return Ok(false),
        _ => {}
    }
    let mut job = held(records, id, token)?;
    let retried = verdict != Verdict::Dead;
    job.settled = Some((token, if retried { Settlement::Retried } else { Settlement::Buried }));
    note_failure(records, now_ms, job, reason, verdict)?;
    Ok(retried)
}

/// Ends a leased job's attempt with a failure, whoever says so.
pub(super) fn note_failure(
    records: &mut impl Records,
    now_ms: i64,
    mut job: JobRecord,
    reason: &str,
    verdict: Verdict,
) -> Result<()> {
    let failure =
        Failure { attempt: job.attempts, worker: job.worker.clone(), reason: reason.to_owned(), at_ms: now_ms };
    job.failures.push(failure);
    let excess = job.failures.len().saturating_sub(MAX_FAILURES_KEPT);
    job.failures.drain(..excess);
    job.expires_at_ms = 0;
    job.updated_at_ms = now_ms;
    match verdict {
        Verdict::RetryIn(delay_ms) => {
            job.state = JobState::Ready;
            job.not_before_ms = if delay_ms == 0 { 0 } else { later(now_ms, delay_ms) };
            records.put_job(&job)
        }
        // Nobody but who asked could ask again: a question that is given up is no dead letter.
        Verdict::Dead if job.id.is_question() => records.remove_job(&job.id),
        Verdict::Dead => {
            job.state = JobState::Dead;
            let mut study = study(records, job.id.study())?;
            records.put_job(&job)?;
            if job.kind.is_read() {
                return count_finished(records, now_ms, study);
            }
            study.state = StudyState::Failed;
            study.state_reason = Some(format!("the findings could not be merged: {reason}"));
            study.updated_at_ms = now_ms;
            records.put_study(&study)
        }
    }
}

/// [`crate::store::JobStore::commit_merge`].
pub(crate) fn commit_merge(
    records: &mut impl Records,
    now_ms: i64,
    id: &JobId,
    token: FencingToken,
    merged: &Merged,
) -> Result<Done> {
    if settled(records, id, token)? == Some(Settlement::Completed) {
        return Ok(Done::Before);
    }
    let mut job = held(records, id, token)?;
    if job.kind != JobKind::Merge {
        return Err(StoreError::Misfit(id.to_string()));
    }
    let mut study = study(records, id.study())?;
    // The record last changed when the merge was leased.
    study.cost.report_ms += now_ms.saturating_sub(job.updated_at_ms) as f64;
    match merged {
        Merged::Draft { version, digest, size_bytes, objects, summary, unread, deliveries } => {
            if *version != study.draft_version + 1 {
                return Err(StoreError::Outdated(study.uid));
            }
            let draft = DraftRecord {
                version: *version,
                digest: digest.clone(),
                size_bytes: *size_bytes,
                drafted_at_ms: now_ms,
                standing: Standing::Draft,
                request: String::new(),
            };
            records.put_draft(&study.uid, &draft)?;
            study.draft_version = *version;
            study.draft_objects.clone_from(objects);
            study.summary = Some((**summary).clone());
            study.state = StudyState::Drafted;
            study.state_reason = None;
            study.unread.clone_from(unread);
            wish(records, now_ms, &study.uid, *version, deliveries, false)?;
        }
        Merged::Nothing { reason, unread } => {
            study.state = StudyState::Failed;
            study.state_reason = Some(reason.clone());
            study.unread.clone_from(unread);
        }
    }
    study.updated_at_ms = now_ms;
    finish(&mut job, now_ms);
    records.put_job(&job)?;
    records.put_study(&study)?;
    Ok(Done::Now)
}
