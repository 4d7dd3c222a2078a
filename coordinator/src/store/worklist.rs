//! The worklist: workitems (Unified Procedure Steps, PS3.4 annex CC), who subscribed to them, and the reports of what happened
//! to them.
//!
//! What a workitem may become is decided by the caller, in `crate::worklist`, on a version of it: the store takes the next
//! version only where that one is still the newest. So a claim, like every other change, is had by one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use prelim_proto::ids::{Tenant, Uid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::StoreError;
use super::record::Done;

/// Reports that are kept for coordinators that are behind; older ones are dropped.
pub const MAX_REPORTS: u64 = 10_000;

/// A data set in the DICOM JSON model (PS3.18 annex F), by tag.
pub type Dataset = Map<String, Value>;

/// Procedure Step State (0074,1000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WorkitemState {
    /// To be performed.
    #[serde(rename = "SCHEDULED")]
    Scheduled,
    /// Claimed by a performer.
    #[serde(rename = "IN PROGRESS")]
    InProgress,
    /// Stopped for good.
    #[serde(rename = "CANCELED")]
    Canceled,
    /// Done.
    #[serde(rename = "COMPLETED")]
    Completed,
}

impl WorkitemState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Scheduled, Self::InProgress, Self::Canceled, Self::Completed];

    /// The state as the standard writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::InProgress => "IN PROGRESS",
            Self::Canceled => "CANCELED",
            Self::Completed => "COMPLETED",
        }
    }

    /// Whether nothing more can happen to the workitem.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::Completed)
    }
}

/// A workitem. Patient and request are in the data set: it is kept as study records are, and never in keys or logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workitem {
    /// Where it stands.
    pub state: WorkitemState,
    /// Whether it is addressed to prelim, which performs it itself.
    pub is_ours: bool,
    /// Transaction UID of the claim; empty before. Who shows it owns the workitem; it is shown to nobody.
    pub transaction: String,
    /// Its attributes, without Transaction UID.
    pub dataset: Dataset,
    /// Application entities that are told of it, each with whether it wants the workitem kept when it is over.
    pub subscribers: BTreeMap<String, bool>,
    /// What addresses of results begin with, as its creator called us: `https://HOST/dicom-web`.
    pub base: String,
    /// The study that it is about, where prelim performs it.
    pub study: Option<Uid>,
    /// A name of the request that created it, which no other has: the same data set may be sent twice.
    pub request: String,
}

impl Workitem {
    /// Whether prelim still has something to do for it.
    pub fn is_to_be_performed(&self) -> bool {
        self.is_ours && !self.state.is_final()
    }

    /// Whether somebody wants it kept when it is over.
    pub fn is_locked(&self) -> bool {
        self.subscribers.values().any(|locked| *locked)
    }
}

/// A workitem as it is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkitemRecord {
    /// SOP Instance UID.
    pub uid: Uid,
    /// Whom it belongs to.
    pub tenant: Tenant,
    /// Grows by one with each change, from 1.
    pub version: u64,
    /// When it was created, on the store's clock.
    pub created_at_ms: i64,
    /// When it last changed.
    pub updated_at_ms: i64,
    /// The workitem itself.
    pub workitem: Workitem,
}

/// A workitem to be held.
#[derive(Debug, Clone, PartialEq)]
pub struct NewWorkitem {
    /// SOP Instance UID.
    pub uid: Uid,
    /// Whom it belongs to.
    pub tenant: Tenant,
    /// The workitem.
    pub workitem: Workitem,
    /// Workitems of the tenant that may be open.
    pub max_open: u64,
    /// What is to be told of it.
    pub reports: Vec<Report>,
}

/// The next version of a workitem.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkitemChange {
    /// SOP Instance UID.
    pub uid: Uid,
    /// The version that was looked at.
    pub version: u64,
    /// What it is to be.
    pub workitem: Workitem,
    /// What is to be told of it.
    pub reports: Vec<Report>,
}

/// An event report (PS3.4 section CC.2.4), for those that it is to be sent to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whose workitem it is about.
    pub tenant: Tenant,
    /// Application entity titles of those that are told.
    pub to: Vec<String>,
    /// The report.
    pub dataset: Dataset,
}

/// A subscription to the worklist, for workitems that are created from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Application entity title of the subscriber.
    pub title: String,
    /// Whether workitems are to be kept for it when they are over.
    pub is_locked: bool,
    /// What workitems must match, as the parameters of a search; all do where there is none.
    pub filter: Option<String>,
}

/// Which workitems are listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkitemQuery {
    /// Of these tenants; of all where there is none.
    pub tenants: Option<Vec<Tenant>>,
    /// Only those that prelim has something to do for.
    pub to_be_performed: bool,
    /// After this one: when it was created, and its UID.
    pub after: Option<(i64, Uid)>,
    /// At most so many.
    pub limit: usize,
}

impl WorkitemQuery {
    /// Whether a workitem is wanted, but for its place.
    pub(crate) fn wants(&self, record: &WorkitemRecord) -> bool {
        let is_of = self.tenants.as_ref().is_none_or(|tenants| tenants.contains(&record.tenant));
        is_of && (!self.to_be_performed || record.workitem.is_to_be_performed())
    }
}

/// The record of workitems. The guarantees are those of [`super::JobStore`].
#[async_trait]
pub trait Worklist: Send + Sync + 'static {
    /// Holds a new workitem and notes what is to be told. [`StoreError::WorkitemExists`] where another has its UID, also one of
    /// another tenant; the same again changes nothing. [`StoreError::TooManyWorkitems`] past the limit.
    async fn create_workitem(&self, new: NewWorkitem) -> Result<Done, StoreError>;

    /// Puts the next version in place of the one that was looked at and notes what is to be told.
    /// [`StoreError::WorkitemChanged`] where that is not the newest; the same change again changes nothing.
    /// [`StoreError::NoWorkitem`].
    async fn change_workitem(&self, change: WorkitemChange) -> Result<Done, StoreError>;

    /// One workitem.
    async fn workitem(&self, uid: &Uid) -> Result<Option<WorkitemRecord>, StoreError>;

    /// Workitems, in order of creation, then by UID.
    async fn workitems(&self, query: WorkitemQuery) -> Result<Vec<WorkitemRecord>, StoreError>;

    /// Forgets workitems that are over and did not change for `age_ms`; for `locked_age_ms` where somebody wants them kept. At
    /// most `limit`; how many. Idempotent.
    async fn forget_workitems(&self, age_ms: u64, locked_age_ms: u64, limit: usize) -> Result<u64, StoreError>;

    /// Notes a subscription, in place of another of the same title. [`StoreError::TooManySubscriptions`] past `max` of the
    /// tenant. Idempotent.
    async fn subscribe_worklist(
        &self,
        tenant: &Tenant,
        subscription: Subscription,
        max: u64,
    ) -> Result<Done, StoreError>;

    /// Forgets a subscription. Idempotent.
    async fn unsubscribe_worklist(&self, tenant: &Tenant, title: &str) -> Result<Done, StoreError>;

    /// The subscriptions of a tenant, in order of title.
    async fn worklist_subscriptions(&self, tenant: &Tenant) -> Result<Vec<Subscription>, StoreError>;

    /// Reports after the one of that number, in order, each with its number. Only the newest [`MAX_REPORTS`] are there.
    async fn worklist_reports(&self, after: u64, limit: usize) -> Result<Vec<(u64, Report)>, StoreError>;

    /// The number of the newest report; 0 before the first.
    async fn last_worklist_report(&self) -> Result<u64, StoreError>;

    /// Changes when a report was noted, by whomever. None where only this process can. A hint: some may be lost.
    fn worklist_changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}
