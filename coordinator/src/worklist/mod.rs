//! The worklist (Unified Procedure Step, PS3.4 annex CC): prelim keeps it for others, as the Task Manager of IHE AIW-I, and
//! performs the workitems that are addressed to it, as a Task Performer.
//!
//! # Layout
//! - `dataset`: data sets in the DICOM JSON model (pure); `rules`: what a workitem must have and may become (pure)
//! - `matching`: searches and filters (pure); `reports`: event reports (pure)
//! - `subscribe`: who is told; `channels`: those who are connected, and are told
//! - `ours`: which workitems prelim performs (pure); `perform`: how; `results`: what came of it
//!
//! Each change is made from a version that was read, by rules that know nothing of the store, and takes its place only where
//! nobody was faster; then it is looked at again. The reports of a change are noted in the same step, for those who had
//! subscribed by then; each coordinator gives them to those who are connected to it.
//!
//! Deliberately absent: a workitem for each study that comes in by itself. In AIW-I workitems are made by the Task Requester, who
//! knows what is wanted of a study and who is to be told; who wants to see such a study's work follows the study, by
//! `WatchStudies`. A workitem that nobody asked for would be in everybody's worklist.

pub(crate) mod channels;
pub(crate) mod dataset;
pub(crate) mod matching;
pub(crate) mod ours;
mod perform;
pub(crate) mod reports;
mod results;
pub(crate) mod rules;
#[cfg(test)]
mod statement;
mod subscribe;

pub(crate) use perform::perform_until_stopped;
pub(crate) use subscribe::{Scope, Subscribe};

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use prelim_proto::ids::{Tenant, Uid};

use self::dataset::Dataset;
use self::matching::Filter;
use self::rules::Refused;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::Done;
use crate::store::worklist::{NewWorkitem, Report, Workitem, WorkitemChange, WorkitemRecord, WorkitemState};

/// Workitems of one tenant that may be open.
pub(crate) const MAX_OPEN: u64 = 10_000;
/// How long a workitem is kept that is over.
pub(crate) const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// The same where a subscriber holds a deletion lock.
pub(crate) const KEPT_LOCKED: Duration = Duration::from_secs(30 * 86_400);
/// Workitems that are forgotten in one step.
const FORGOTTEN_AT_ONCE: usize = 1_000;
/// How often a change is made again that somebody else was faster than.
const MAX_CHANGES: usize = 10;

/// Why something is not done with the worklist.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorklistError {
    /// It breaks a rule.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The filter of a subscription or search is wrong.
    #[error("{0}")]
    Filter(String),
    /// It could not be done.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<StoreError> for WorklistError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

/// What became of a request for cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancellation {
    /// The workitem is canceled now.
    Done,
    /// It was canceled before.
    Before,
    /// Its performer was told, if it listens.
    Told,
}

impl Coordinator {
    /// Creates a workitem; whether anything of it was changed.
    pub(crate) async fn create_workitem(
        &self,
        tenant: &Tenant,
        uid: &Uid,
        dataset: Dataset,
        base: &str,
    ) -> Result<bool, WorklistError> {
        let (dataset, is_changed) = rules::created(dataset, uid, Timestamp::now())?;
        let is_ours = ours::is_addressed_to(&dataset, &self.config.dicom.aet);
        let study = if is_ours { ours::study(&dataset).ok() } else { None };
        let subscribers: BTreeMap<String, bool> = self.subscribers_of_new(tenant, &dataset).await?;
        let workitem = Workitem {
            state: WorkitemState::Scheduled,
            is_ours,
            transaction: String::new(),
            dataset,
            subscribers,
            base: base.to_owned(),
            study,
            request: format!("{:032x}", rand::random::<u128>()),
        };
        let told = std::iter::once(reports::state(uid, &workitem)).chain(reports::assigned(uid, &workitem)).collect();
        let reports = addressed(tenant, &workitem, told);
        let new = NewWorkitem { uid: uid.clone(), tenant: tenant.clone(), workitem, max_open: MAX_OPEN, reports };
        self.store.create_workitem(new).await?;
        self.worklist.changed();
        Ok(is_changed)
    }

    /// Changes attributes of a workitem.
    pub(crate) async fn update_workitem(
        &self,
        uid: &Uid,
        transaction: Option<&str>,
        changes: &Dataset,
    ) -> Result<(), WorklistError> {
        let title = self.config.dicom.aet.as_str();
        self.alter(uid, |record| {
            let mut after = rules::updated(&record.workitem, transaction, changes.clone(), Timestamp::now())?;
            if after.state == WorkitemState::Scheduled {
                // Whose it is may have changed.
                after.is_ours = ours::is_addressed_to(&after.dataset, title);
                after.study = if after.is_ours { ours::study(&after.dataset).ok() } else { None };
            }
            Ok(Some(after))
        })
        .await?;
        Ok(())
    }

    /// Claims, completes or cancels a workitem; false where it is in that state already.
    pub(crate) async fn change_workitem_state(
        &self,
        uid: &Uid,
        transaction: Option<&str>,
        to: WorkitemState,
    ) -> Result<bool, WorklistError> {
        self.alter(uid, |record| {
            let mut moved = rules::moved(&record.workitem, transaction, to, Timestamp::now())?;
            if let Some(claimed) = &mut moved
                && to == WorkitemState::InProgress
            {
                // Whoever claims it performs it, also where it was addressed to prelim.
                claimed.is_ours = false;
                claimed.study = None;
            }
            Ok(moved)
        })
        .await
    }

    /// Asks that a workitem be canceled: done where nobody has claimed it, or where we have and have not ended; else its
    /// performer is told.
    pub(crate) async fn request_cancellation(
        &self,
        uid: &Uid,
        requesting: &str,
        asked: &Dataset,
    ) -> Result<Cancellation, WorklistError> {
        for _ in 0..MAX_CHANGES {
            let record = self.workitem_record(uid).await?;
            let before = &record.workitem;
            let mut told = vec![reports::cancel_requested(uid, requesting, asked)];
            let after = match before.state {
                WorkitemState::Completed => return Err(Refused::Over(WorkitemState::Completed).into()),
                WorkitemState::Canceled => return Ok(Cancellation::Before),
                WorkitemState::InProgress if !before.is_ours => before.clone(),
                state => {
                    if state == WorkitemState::InProgress {
                        self.stop_work(&record).await?;
                    } else {
                        // By way of IN PROGRESS (PS3.4 table CC.1.1-2).
                        let begun = rules::in_state(before, WorkitemState::InProgress, Timestamp::now());
                        told.push(reports::state(uid, &begun));
                    }
                    let canceled = canceled(before, asked);
                    told.push(reports::state(uid, &canceled));
                    canceled
                }
            };
            let is_over = after.state.is_final();
            let reports = addressed(&record.tenant, before, told);
            let change = WorkitemChange { uid: uid.clone(), version: record.version, workitem: after, reports };
            match self.store.change_workitem(change).await {
                Ok(_) => {
                    self.worklist.changed();
                    return Ok(if is_over { Cancellation::Done } else { Cancellation::Told });
                }
                Err(StoreError::WorkitemChanged(_)) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::WorkitemChanged(uid.clone()).into())
    }

    /// One workitem.
    pub(crate) async fn workitem_record(&self, uid: &Uid) -> Result<WorkitemRecord, WorklistError> {
        Ok(self.store.workitem(uid).await?.ok_or_else(|| StoreError::NoWorkitem(uid.clone()))?)
    }

    /// Puts what `next` makes of a workitem in its place, with the reports of the change; false where it makes nothing of it.
    async fn alter(
        &self,
        uid: &Uid,
        next: impl Fn(&WorkitemRecord) -> Result<Option<Workitem>, WorklistError>,
    ) -> Result<bool, WorklistError> {
        for _ in 0..MAX_CHANGES {
            let record = self.workitem_record(uid).await?;
            let Some(after) = next(&record)? else { return Ok(false) };
            match self.put_workitem(&record, after).await {
                Ok(_) => return Ok(true),
                Err(StoreError::WorkitemChanged(_)) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::WorkitemChanged(uid.clone()).into())
    }

    /// Puts the next version of a workitem in place of the one that was read, with the reports of the change.
    async fn put_workitem(&self, before: &WorkitemRecord, after: Workitem) -> Result<Done, StoreError> {
        let told = reports::of_change(&before.uid, &before.workitem, &after);
        let reports = addressed(&before.tenant, &after, told);
        let change = WorkitemChange { uid: before.uid.clone(), version: before.version, workitem: after, reports };
        let done = self.store.change_workitem(change).await?;
        self.worklist.changed();
        Ok(done)
    }

    /// Forgets workitems that have been over for long enough.
    pub(crate) async fn forget_workitems(&self) -> Result<(), StoreError> {
        let ms = |time: Duration| time.as_millis() as u64;
        self.store.forget_workitems(ms(KEPT), ms(KEPT_LOCKED), FORGOTTEN_AT_ONCE).await?;
        Ok(())
    }
}

/// Reports for those who subscribed to the workitem; none where nobody did.
fn addressed(tenant: &Tenant, workitem: &Workitem, told: Vec<Dataset>) -> Vec<Report> {
    let to: Vec<String> = workitem.subscribers.keys().cloned().collect();
    if to.is_empty() {
        return Vec::new();
    }
    told.into_iter().map(|dataset| Report { tenant: tenant.clone(), to: to.clone(), dataset }).collect()
}

/// The workitem as it is canceled on a request, with the reason that came with it.
fn canceled(before: &Workitem, asked: &Dataset) -> Workitem {
    use dataset::tag;
    let mut with_reason = before.clone();
    let mut progress = dataset::items(&before.dataset, tag::PROGRESS).next().cloned().unwrap_or_default();
    for tag in [tag::CANCELLATION_REASON, tag::DISCONTINUATION_CODES] {
        if let Some(attribute) = asked.get(tag) {
            progress.insert(tag.to_owned(), attribute.clone());
        }
    }
    dataset::put_items(&mut with_reason.dataset, tag::PROGRESS, [progress]);
    rules::in_state(&with_reason, WorkitemState::Canceled, Timestamp::now())
}

/// The filter in a subscription or search.
fn filter(text: &str) -> Result<Filter, WorklistError> {
    Filter::parse(text).map_err(WorklistError::Filter)
}
