//! Studies that are no longer kept: by age, or because somebody says so.
//!
//! A study goes in two steps. First nothing is added to it any more, in one operation of the store. A while later, when
//! what was on its way to it has come to its end, its bytes go, and then all that is known of it. A coordinator that dies
//! in between leaves a study that is being removed, which the next pass of any coordinator ends.
//!
//! # Layout
//! - `mark`: the time that studies grow old by (pure)

mod mark;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use prelim_proto::ids::Uid;
use prelim_proto::study::StudyState;
use prelim_proto::trace::without_uids;

use crate::audit::{Act, Audit, Event};
use crate::page;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::notes::PutNote;
use crate::store::record::{Done, StudyCursor, StudyQuery, StudyRecord};
use mark::{Ahead, Mark};

/// How often is looked for what is no longer kept.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often the mark is noted in the store, for the next start and for other coordinators.
const NOTE_EVERY: Duration = Duration::from_secs(300);
/// How often is said that the clock is not believed.
const TELL_EVERY: Duration = Duration::from_secs(86_400);
/// The note's name in the store.
const MARK_KEY: &str = "retain/mark/";
/// How long it lasts, in ms: ten years, which no clock that is set wrong makes up for.
const MARK_LASTS_MS: u64 = 10 * 366 * 86_400_000;
/// Studies that are asked for at once.
const PAGE: usize = 200;
/// States that a study may stay in for ever.
const SETTLED: [StudyState; 7] = [
    StudyState::Drafted,
    StudyState::Signed,
    StudyState::Amended,
    StudyState::Rejected,
    StudyState::Failed,
    StudyState::Cancelled,
    StudyState::Skipped,
];

/// How long studies are kept.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RetainConfig {
    /// Days after its last change for which a study is kept, with its images, jobs, drafts and deliveries. Studies that are
    /// worked on, or whose drafts are on their way, stay. Days go by while a coordinator runs: what the clock is ahead of
    /// that counts after an hour, or, past three days, after as long again. Without it, studies are kept until somebody
    /// removes them.
    #[arg(long, value_name = "DAYS", env = "PRELIM_KEEP_DAYS")]
    pub keep_days: Option<u32>,
    /// How long a study that is removed takes no images before its own go, in s: as long as an upload takes to end.
    #[arg(long, value_name = "S", default_value_t = 60, env = "PRELIM_REMOVAL_GRACE_S")]
    pub removal_grace_s: u32,
}

impl Default for RetainConfig {
    fn default() -> Self {
        Self { keep_days: None, removal_grace_s: 60 }
    }
}

impl RetainConfig {
    /// Every problem, in words; empty where the settings can be used.
    pub(crate) fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.keep_days.is_some_and(|days| !(1..=36_500).contains(&days)) {
            problems.push("--keep-days is not between 1 and 36,500".to_owned());
        }
        if self.removal_grace_s > 86_400 {
            problems.push("--removal-grace-s is more than 86,400".to_owned());
        }
        problems
    }
}

/// Removes what is no longer kept, until the coordinator stops.
pub(crate) async fn retain_until_stopped(coordinator: Arc<Coordinator>, audit: Audit) {
    let mut age = Age::default();
    while !coordinator.stopping.is_cancelled() {
        if let Err(error) = coordinator.remove_what_is_due(&mut age, &audit).await {
            tracing::error!(error = without_uids(&error), "removal of studies");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = coordinator.stopping.cancelled() => {}
        }
    }
    if let Some(mark) = age.mark
        && let Err(error) = coordinator.note_mark(mark).await
    {
        tracing::warn!(error = without_uids(&error), "how long was run is not noted: studies may be kept for longer");
    }
}

/// The place in a listing before the newest study that was received before `at_ms`.
fn first_before(at_ms: i64) -> Option<StudyCursor> {
    Uid::parse("0").ok().map(|uid| StudyCursor { received_at_ms: at_ms, uid })
}

/// What this process knows of the time that studies grow old by.
#[derive(Default)]
struct Age {
    mark: Option<Mark>,
    looked_at: Option<Instant>,
    noted_at: Option<Instant>,
    told_at: Option<Instant>,
}

fn is_past(at: Option<Instant>, duration: Duration) -> bool {
    at.is_none_or(|at| at.elapsed() >= duration)
}

fn hours(ms: i64) -> i64 {
    ms / 3_600_000
}

impl Coordinator {
    /// Begins to remove a study that is settled; one with a signed report where that is meant. It is gone a while later.
    pub async fn remove(&self, study: &Uid, signed_too: bool) -> Result<(), ServiceError> {
        let record = self.record(study).await?;
        if record.signed_version > 0 && !signed_too && record.state != StudyState::Removing {
            return Err(ServiceError::Signed(study.clone()));
        }
        self.store.remove_study(study, record.updated_at_ms).await?;
        self.changed(study);
        page::board::tell_others(self, study).await;
        Ok(())
    }

    async fn remove_what_is_due(&self, age: &mut Age, audit: &Audit) -> Result<(), ServiceError> {
        let settings = &self.config.retain;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let before = |now_ms: i64, seconds: u64| now_ms.saturating_sub_unsigned(seconds * 1_000);
        // Also where nothing goes by age: it may from the next start on.
        let aged_ms = self.carry_on(age, now_ms).await?;
        if let Some(days) = settings.keep_days {
            let studies = self.begin_by_age(before(aged_ms, u64::from(days) * 86_400), audit).await?;
            if studies > 0 {
                tracing::info!(studies, days, "removed: they did not change for as long as studies are kept");
            }
        }
        self.end_begun(before(now_ms, settings.removal_grace_s.into())).await
    }

    /// The time that studies grow old by: never later than the clock, and than what it is believed of it.
    async fn carry_on(&self, age: &mut Age, now_ms: i64) -> Result<i64, ServiceError> {
        let keep_days = self.config.retain.keep_days;
        let mut mark = match age.mark {
            Some(mark) => mark,
            None => match self.noted_mark().await? {
                Some(noted) => noted,
                None => self.first_mark(now_ms).await?,
            },
        };
        let ran_ms = age.looked_at.replace(Instant::now()).map_or(0, |at| at.elapsed().as_millis() as i64);
        let ahead = mark.carry_on(now_ms, ran_ms, mark::largest_step_ms(keep_days));
        age.mark = Some(mark);
        match ahead {
            Some(Ahead { by_ms, wait_ms }) if keep_days.is_some() && is_past(age.told_at, TELL_EVERY) => {
                age.told_at = Some(Instant::now());
                tracing::error!(
                    ahead_h = hours(by_ms),
                    believed_in_h = hours(wait_ms + 3_599_999),
                    "the clock is ahead of the time that went by while a coordinator ran: no study is removed for that; set it \
                     right, or leave it, where none ran for so long"
                );
            }
            None if age.told_at.take().is_some() => tracing::info!("studies are removed by the clock again"),
            _ => {}
        }
        if is_past(age.noted_at, NOTE_EVERY) {
            if let Some(noted) = self.noted_mark().await? {
                mark.join(noted);
            }
            self.note_mark(mark).await?;
            (age.mark, age.noted_at) = (Some(mark), Some(Instant::now()));
        }
        Ok(mark.at_ms.min(now_ms))
    }

    /// The mark as the store has it. One that cannot be read is none.
    async fn noted_mark(&self) -> Result<Option<Mark>, ServiceError> {
        Ok(self.store.note(MARK_KEY).await?.and_then(|note| serde_json::from_str(&note.text).ok()))
    }

    async fn note_mark(&self, mark: Mark) -> Result<(), ServiceError> {
        let text = serde_json::to_string(&mark).unwrap_or_default();
        let put = PutNote { max_notes: u64::MAX, ..PutNote::new(MARK_KEY.to_owned(), text, MARK_LASTS_MS) };
        self.store.put_note(put).await?;
        Ok(())
    }

    /// The mark where none was noted: of studies that are there it is only known that the newest has come.
    async fn first_mark(&self, now_ms: i64) -> Result<Mark, ServiceError> {
        let newest = self.store.studies(StudyQuery { limit: 1, ..StudyQuery::default() }).await?;
        Ok(Mark::at(newest.first().map_or(now_ms, |study| study.received_at_ms.min(now_ms))))
    }

    /// Begins to remove the studies that did not change since `at_ms`; how many.
    async fn begin_by_age(&self, at_ms: i64, audit: &Audit) -> Result<u64, ServiceError> {
        // Listings go by when a study was received, and it has not changed before that.
        let (mut after, mut begun) = (None, 0);
        loop {
            let page = self.page(SETTLED.to_vec(), after.or_else(|| first_before(at_ms))).await?;
            after = page.last().map(StudyCursor::from);
            for study in page.iter().filter(|study| study.updated_at_ms < at_ms) {
                if self.stopping.is_cancelled() {
                    return Ok(begun);
                }
                match self.store.remove_study(&study.uid, study.updated_at_ms).await {
                    Ok(Done::Now) => {
                        begun += 1;
                        let event = Event { studies: vec![study.uid.clone()], ..Event::of(Act::Removed) };
                        // An audit that cannot be written has said so; the study was to go all the same.
                        let _ = audit.record(vec![event]).await;
                        self.changed(&study.uid);
                    }
                    // It is wanted again, is still sent, or another coordinator has it.
                    Ok(Done::Before)
                    | Err(StoreError::Outdated(_) | StoreError::Sending(_) | StoreError::WrongState { .. })
                    | Err(StoreError::NoStudy(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if page.len() < PAGE {
                return Ok(begun);
            }
        }
    }

    /// Removes the bytes and records of studies whose removal began before `at_ms`.
    async fn end_begun(&self, at_ms: i64) -> Result<(), ServiceError> {
        let mut after = None;
        loop {
            let page = self.page(vec![StudyState::Removing], after).await?;
            after = page.last().map(StudyCursor::from);
            for study in page.iter().filter(|study| study.updated_at_ms <= at_ms) {
                if self.stopping.is_cancelled() {
                    return Ok(());
                }
                self.bytes.remove(&study.uid).await?;
                page::forget(self, &study.uid).await?;
                if self.store.forget_study(&study.uid).await? == Done::Now {
                    self.metrics.studies_removed.inc();
                    self.changed(&study.uid);
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn page(
        &self,
        states: Vec<StudyState>,
        after: Option<StudyCursor>,
    ) -> Result<Vec<StudyRecord>, ServiceError> {
        Ok(self.store.studies(StudyQuery { states, after, limit: PAGE, ..StudyQuery::default() }).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_settled_state_may_go() {
        assert!(SETTLED.iter().all(|state| state.is_settled()));
        let rules = |keep_days| RetainConfig { keep_days, ..RetainConfig::default() }.validate();
        assert_eq!((rules(None).len(), rules(Some(1)).len(), rules(Some(0)).len()), (0, 0, 1));
    }
}
