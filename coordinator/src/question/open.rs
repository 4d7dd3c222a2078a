//! Open questions: their leases, answers and failures, and those that nobody answers.

use prelim_proto::ids::{FencingToken, JobId};
use prelim_proto::job::{JobOutcome, JobState, Lease};
use prelim_proto::trace::without_uids;

use super::held::{Answered, LOST, NEW_MS, QUESTIONS};
use super::{End, Held, now_ms, put, read};
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::traces;

/// How long a question may wait for a worker, in ms. Nobody sits before it longer.
const MAX_WAIT_MS: i64 = 600_000;
/// How long one waits where no worker answers any more, in ms: workers are started anew.
const MAX_WAIT_FOR_NOBODY_MS: i64 = 60_000;
/// Questions that are looked after at once.
const AT_ONCE: usize = 10_000;

impl Coordinator {
    /// A lease with what is asked, where the job is to answer a question; none where it was withdrawn meanwhile.
    pub(crate) async fn with_question(&self, lease: Lease) -> Result<Option<Lease>, ServiceError> {
        let job = &lease.job.id;
        if !job.is_question() {
            return Ok(Some(lease));
        }
        match self.held_question(job.study(), job.number()).await? {
            // What people write is not de-identified.
            Some((held, version)) if self.veil.is_some() => {
                let why = "questions are not given to workers here any more (--deidentify)";
                self.end_held(&held, version, failed(why)).await?;
            }
            Some((held, _)) if held.end.is_none() => {
                return Ok(Some(Lease { asked: Some(held.asked()), ..lease }));
            }
            _ => {}
        }
        self.store.end_question(job, Some(lease.token)).await?;
        Ok(None)
    }

    /// Keeps what a worker answers. Fenced; the first answer stays.
    pub(crate) async fn answered(
        &self,
        job: &JobId,
        token: FencingToken,
        outcome: JobOutcome,
    ) -> Result<(), ServiceError> {
        self.check_lease(job, token).await?;
        let answer = outcome.answer.ok_or_else(|| super::invalid("outcome", "it has no answer"))?;
        if let Some((held, version)) = self.held_question(job.study(), job.number()).await?
            && held.end.is_none()
        {
            let shown = answer.shown.iter().map(|place| held.images.get(*place as usize).cloned());
            let images = shown.collect::<Option<Vec<_>>>();
            let mut images =
                images.ok_or_else(|| super::invalid("outcome", "it names an image that is not the job's"))?;
            if answer.box_shown
                && let Some(first) = images.first_mut()
            {
                first.bounds = held.image.as_ref().and_then(|image| image.bounds);
            }
            let spent_s = outcome.cost.spent_s();
            let end = End::Answered(Answered {
                at_ms: now_ms(),
                text: answer.text,
                truncated: outcome.truncated,
                images,
                model: outcome.model.name,
                adapter: answer.adapter,
                prompt_version: outcome.model.prompt_version,
                demonstration: outcome.model.demonstration,
                seconds: if spent_s.is_finite() { spent_s.max(0.0) } else { 0.0 },
            });
            // Before the job goes: who dies in between leaves a job that ends when it is leased next.
            self.end_held(&held, version, end).await?;
        }
        self.store.end_question(job, Some(token)).await?;
        self.changed(job.study());
        Ok(())
    }

    /// Notes why a question whose job was given up has no answer.
    pub(crate) async fn not_answered(&self, job: &JobId, reason: &str) -> Result<(), ServiceError> {
        if let Some((held, version)) = self.held_question(job.study(), job.number()).await?
            && held.end.is_none()
        {
            self.end_held(&held, version, failed(&format!("The model did not answer: {reason}."))).await?;
        }
        Ok(())
    }

    /// Ends questions that lost their jobs, that wait too long, and that nobody answers any more.
    pub(crate) async fn look_after_questions(&self) -> Result<(), ServiceError> {
        for (held, version) in self.store.notes(QUESTIONS, AT_ONCE).await?.into_iter().filter_map(read) {
            if held.end.is_some() {
                continue;
            }
            let waited_ms = now_ms().saturating_sub(held.asked_at_ms);
            let problem = match self.store.job(&held.job()).await?.map(|job| job.state) {
                Some(JobState::Leased) => None,
                Some(_) if waited_ms > MAX_WAIT_MS => Some("No worker answered within ten minutes.".to_owned()),
                Some(_) if waited_ms > MAX_WAIT_FOR_NOBODY_MS => {
                    self.answers_kind(&held.demand, held.kind).await?.err()
                }
                Some(_) => None,
                None => (waited_ms > NEW_MS).then(|| LOST.to_owned()),
            };
            if let Some(problem) = problem {
                let hash = traces::hash(&held.study);
                tracing::warn!(study.hash = hash, "a question ends without an answer");
                self.end_held(&held, version, failed(&problem)).await?;
                self.store.end_question(&held.job(), None).await?;
                self.changed(&held.study);
            }
        }
        Ok(())
    }

    /// Keeps how a question ended, unless it ended before or is withdrawn.
    async fn end_held(&self, held: &Held, version: u64, end: End) -> Result<(), ServiceError> {
        let result = if matches!(end, End::Answered(_)) { "answered" } else { "failed" };
        match self.store.put_note(put(&held.ended(end), version, u64::MAX)).await {
            Ok(_) => {
                self.metrics.question(result);
                if result == "answered" {
                    self.metrics.question_answered(now_ms().saturating_sub(held.asked_at_ms));
                }
                Ok(())
            }
            Err(StoreError::NoteChanged { .. }) => Ok(()),
            Err(error) => {
                tracing::warn!(error = without_uids(&error), "the end of a question is not kept");
                Err(error.into())
            }
        }
    }
}

fn failed(problem: &str) -> End {
    End::Failed { at_ms: now_ms(), problem: problem.to_owned() }
}
