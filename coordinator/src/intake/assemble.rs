//! Objects to whole studies, and whole studies to jobs.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use futures::stream::{self, TryStreamExt as _};
use opentelemetry::KeyValue;
use prelim_proto::ids::Uid;
use prelim_proto::study::StudyState;

use super::complete;
use crate::clock::today;
use crate::partition::{Partition, partition};
use crate::priors::fetch;
use crate::queue::head_start_ms;
use crate::route::{self, Decision, Facts, Rules};
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::{CompleteStudies, Done, Plan, StudyCursor, StudyQuery, StudyRecord, by_series};
use crate::traces;

/// Plans of one study that may be overtaken by late instances before we wait for the next signal.
const MAX_PLANS: usize = 8;
/// Plans made at once.
const PLANS_AT_ONCE: usize = 16;
/// Studies looked at together.
const PAGE: usize = 500;

impl Coordinator {
    /// The sender says that these studies are whole: they are planned and queued. Idempotent by request id.
    pub async fn complete(&self, request_id: Option<String>, studies: Vec<Uid>) -> Result<(), ServiceError> {
        if studies.is_empty() {
            return Ok(());
        }
        let request = CompleteStudies { request_id, studies: studies.clone(), completion: complete::told() };
        self.store.complete_studies(request).await?;
        for study in &studies {
            self.plan(study).await?;
        }
        Ok(())
    }

    /// Gives a complete study its jobs; leaves one in any other state alone.
    async fn plan(&self, uid: &Uid) -> Result<(), ServiceError> {
        for _ in 0..MAX_PLANS {
            let began = SystemTime::now();
            let record = self.record(uid).await?;
            if record.state != StudyState::Complete {
                break;
            }
            let completion = record.completion.as_ref().map(|completion| completion.reason);
            let plan = self.make_plan(record).await?;
            let (jobs, skipped) = (plan.jobs.len() as i64, plan.skipped);
            tracing::info!(study.hash = traces::hash(uid), jobs, unread = plan.unread.len(), "study partitioned");
            match self.store.plan_study(uid, plan).await {
                // Instances came in between: look again.
                Err(StoreError::Outdated(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(done) => {
                    // Another coordinator may have been quicker with the same plan.
                    if done == Done::Now {
                        completion.into_iter().for_each(|reason| self.metrics.study_completed(reason));
                        traces::add(uid, "plan", began, [KeyValue::new("prelim.jobs", jobs)]);
                        if jobs == 0 {
                            self.metrics.study_settled(if skipped { "skipped" } else { "failed" });
                            self.end_trace(uid, if skipped { "skipped" } else { "nothing to read" }).await;
                        }
                    }
                    break;
                }
            }
        }
        self.work.notify_waiters();
        self.changed(uid);
        Ok(())
    }

    /// How a complete study is to be read, by the site's rules and by what it holds.
    async fn make_plan(&self, record: StudyRecord) -> Result<Plan, ServiceError> {
        let (generation, first_job, missing) = (record.generation, record.next_job, complete::missing(&record));
        let instances = self.store.instances(&record.uid).await?;
        let mut study = record.into_study(by_series(instances));
        let rules = self.rules.get();
        let decision = rules.decide(&Facts::of(&study, today()));
        study.priority = study.priority.max(decision.action.priority);
        // What was fetched as an earlier study is held, and stands in no queue.
        let held = fetch::is_fetched(&study.intake.senders).then(|| fetch::HELD.to_owned());
        let skipped = decision.skipped().or(held);
        let mut parts = match &skipped {
            Some(reason) => {
                Partition { unread: route::unread(&study, reason), failure: reason.clone(), ..Partition::default() }
            }
            None => partition(&study, first_job, &self.config.partition_limits()),
        };
        if let Some((held, expected)) = missing {
            parts.notes.push(format!("Only {held} of {expected} instances that were announced were there."));
        }
        parts.jobs.iter_mut().for_each(|job| job.demand.clone_from(&decision.action.demand));
        if !parts.jobs.is_empty() {
            let missing = self.fetch_priors(&study, &rules.priors).await;
            let decided = self.decide_priors(&study, &rules.priors, missing).await?;
            self.store_priors(&study.uid, &decided, &mut parts.jobs).await?;
            parts.notes.extend(decided.notes);
        }
        Ok(Plan {
            generation,
            jobs: parts.jobs,
            priority: study.priority,
            route: decision.route(),
            head_start_ms: head_start_ms(study.priority),
            unread: parts.unread,
            notes: parts.notes,
            failure: parts.failure,
            skipped: skipped.is_some(),
        })
    }

    /// What rules would make of a study that is held: the coordinator's own, or those of a file that is given.
    ///
    /// # Errors
    /// [`StoreError::NoStudy`]; a file that cannot be used.
    pub async fn test_route(&self, uid: &Uid, rules: &str) -> Result<Decision, ServiceError> {
        let wrong = |error: route::RulesError| ServiceError::Invalid { field: "rules", problem: error.to_string() };
        let given = match rules {
            "" => None,
            text => Some(Rules::parse(text, self.config.completeness()).map_err(wrong)?),
        };
        let facts = Facts::of(&self.study(uid).await?, today());
        Ok(given.as_ref().unwrap_or(&*self.rules.get()).decide(&facts))
    }

    /// Completes studies whose time has come, and plans those that were complete when a coordinator died; several at a time,
    /// for a PACS may be waited for.
    pub(crate) async fn assemble_stragglers(&self) -> Result<(), ServiceError> {
        let (rules, default) = (self.rules.get(), self.config.completeness());
        let mut after = None;
        let mut receiving_now = HashSet::new();
        loop {
            let states = vec![StudyState::Receiving, StudyState::Complete];
            let page = self.store.studies(StudyQuery { states, after, limit: PAGE, ..StudyQuery::default() }).await?;
            // Those of a coordinator that died are complete, and have no jobs.
            let mut complete: Vec<Uid> = Vec::new();
            let mut due = Vec::new();
            let mut receiving: Vec<&StudyRecord> = Vec::new();
            for study in &page {
                match study.state {
                    StudyState::Complete => complete.push(study.uid.clone()),
                    _ => receiving.push(study),
                }
            }
            for (study, performed) in receiving.iter().zip(self.performed(&receiving).await?) {
                let rule = rules.completeness(study.arrival.senders.iter().map(String::as_str), default);
                due.push(complete::due(study, &performed, &rule));
            }
            receiving_now.extend(receiving.iter().map(|study| study.uid.clone()));
            let reasons: HashMap<_, _> = due.iter().map(|due| (due.study.clone(), due.completion.reason)).collect();
            if !due.is_empty() {
                for uid in self.store.complete_due(due).await? {
                    let reason = reasons.get(&uid).map(|reason| reason.as_str());
                    tracing::info!(study.hash = traces::hash(&uid), reason, "study complete");
                    complete.push(uid);
                }
            }
            let plans = complete.iter().map(|uid| Ok(self.plan(uid)));
            stream::iter(plans).try_for_each_concurrent(PLANS_AT_ONCE, |plan| plan).await?;
            let last = page.last().filter(|_| page.len() == PAGE);
            after = last.map(StudyCursor::from);
            if after.is_none() {
                break;
            }
        }
        self.forget_performed(&receiving_now);
        Ok(())
    }
}
