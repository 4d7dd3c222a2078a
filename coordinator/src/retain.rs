//! Studies that are no longer kept: by age, or because somebody says so.
//!
//! A study goes in two steps. First nothing is added to it any more, in one operation of the store. A while later, when
//! what was on its way to it has come to its end, its bytes go, and then all that is known of it. A coordinator that dies
//! in between leaves a study that is being removed, which the next pass of any coordinator ends.

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
use crate::store::record::{Done, StudyCursor, StudyQuery, StudyRecord};

/// How often is looked for what is no longer kept.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A step of the clock that is no longer taken for time gone by.
const MAX_STEP: Duration = Duration::from_secs(60);
/// How long nothing is removed by age after such a step: a clock that was set wrong makes everything old.
const PAUSE: Duration = Duration::from_secs(3_600);
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
    /// worked on, or whose drafts are on their way, stay. Without it, studies are kept until somebody removes them.
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
    let mut clock = SteadyClock::new(SystemTime::now(), Instant::now());
    let goes_by_age = coordinator.config.retain.keep_days.is_some();
    while !coordinator.stopping.is_cancelled() {
        let is_steady = goes_by_age && clock.is_steady(SystemTime::now(), Instant::now());
        if let Err(error) = coordinator.remove_what_is_due(is_steady, &audit).await {
            tracing::error!(error = without_uids(&error), "removal of studies");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = coordinator.stopping.cancelled() => {}
        }
    }
}

/// The place in a listing before the newest study that was received before `at_ms`.
fn first_before(at_ms: i64) -> Option<StudyCursor> {
    Uid::parse("0").ok().map(|uid| StudyCursor { received_at_ms: at_ms, uid })
}

/// Whether the wall's clock goes as time does.
struct SteadyClock {
    seen: (SystemTime, Instant),
    trusted_from: Instant,
}

impl SteadyClock {
    fn new(wall: SystemTime, now: Instant) -> Self {
        Self { seen: (wall, now), trusted_from: now }
    }

    /// Whether the clock was not set lately.
    fn is_steady(&mut self, wall: SystemTime, now: Instant) -> bool {
        let (wall_before, before) = std::mem::replace(&mut self.seen, (wall, now));
        let expected = wall_before + now.duration_since(before);
        let step = wall.duration_since(expected).unwrap_or_else(|error| error.duration());
        if step > MAX_STEP {
            tracing::error!(step_s = step.as_secs(), "the clock was set: no study is removed by its age for an hour");
            self.trusted_from = now + PAUSE;
        }
        now >= self.trusted_from
    }
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

    async fn remove_what_is_due(&self, is_steady: bool, audit: &Audit) -> Result<(), ServiceError> {
        let settings = &self.config.retain;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let before = |seconds: u64| now_ms.saturating_sub_unsigned(seconds * 1_000);
        if let Some(days) = settings.keep_days
            && is_steady
        {
            self.begin_by_age(before(u64::from(days) * 86_400), audit).await?;
        }
        self.end_begun(before(settings.removal_grace_s.into())).await
    }

    /// Begins to remove the studies that did not change since `at_ms`.
    async fn begin_by_age(&self, at_ms: i64, audit: &Audit) -> Result<(), ServiceError> {
        // Listings go by when a study was received, and it has not changed before that.
        let mut after = None;
        loop {
            let page = self.page(SETTLED.to_vec(), after.or_else(|| first_before(at_ms))).await?;
            after = page.last().map(StudyCursor::from);
            for study in page.iter().filter(|study| study.updated_at_ms < at_ms) {
                if self.stopping.is_cancelled() {
                    return Ok(());
                }
                match self.store.remove_study(&study.uid, study.updated_at_ms).await {
                    Ok(Done::Now) => {
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
                return Ok(());
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
    fn a_clock_that_was_set_is_not_believed_for_an_hour() {
        let (wall, now) = (UNIX_EPOCH + Duration::from_secs(1_000_000), Instant::now());
        let at = |s: u64| Duration::from_secs(s);
        let mut clock = SteadyClock::new(wall, now);
        assert!(clock.is_steady(wall + at(10), now + at(10)));
        // Drift, and a leap second.
        assert!(clock.is_steady(wall + at(25), now + at(20)));
        let a_year = at(31_536_000);
        assert!(!clock.is_steady(wall + a_year, now + at(30)));
        assert!(!clock.is_steady(wall + a_year + at(10), now + at(40)));
        // Set back: that is a step as well.
        assert!(!clock.is_steady(wall + at(50), now + at(50)));
        assert!(!clock.is_steady(wall + at(3_640), now + at(3_640)));
        assert!(clock.is_steady(wall + at(3_660), now + at(3_660)));
    }

    #[test]
    fn every_settled_state_may_go() {
        assert!(SETTLED.iter().all(|state| state.is_settled()));
        let rules = |keep_days| RetainConfig { keep_days, ..RetainConfig::default() }.validate();
        assert_eq!((rules(None).len(), rules(Some(1)).len(), rules(Some(0)).len()), (0, 0, 1));
    }
}
