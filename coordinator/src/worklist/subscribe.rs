//! Who is told of workitems (PS3.4 section CC.2.3): of one of them, of all, or of those that fit a filter.
//!
//! A subscription to the worklist is for workitems that are created from then on, and is written into those that are open when it
//! is made. A workitem carries who is told of it.

use std::collections::BTreeMap;

use prelim_proto::ids::{Tenant, Uid};

use super::dataset::Dataset;
use super::matching::Filter;
use super::{WorklistError, filter, reports};
use crate::service::Coordinator;
use crate::store::StoreError;
use crate::store::worklist::{Report, Subscription, Workitem, WorkitemChange, WorkitemQuery, WorkitemRecord};

/// Application entities that may subscribe to the worklist of a tenant.
pub(super) const MAX_SUBSCRIPTIONS: u64 = 64;
/// Application entities that may subscribe to one workitem.
pub(super) const MAX_SUBSCRIBERS: usize = 128;
/// Workitems that are read together.
const PAGE: usize = 200;

/// What is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One workitem.
    Workitem(Uid),
    /// All of them; of those that fit a filter, where there is one.
    Worklist(Option<String>),
}

/// A request to subscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscribe {
    /// Whose worklist.
    pub(crate) tenant: Tenant,
    /// Application entity title of who is to be told.
    pub(crate) title: String,
    /// What it is told of.
    pub(crate) scope: Scope,
    /// Whether workitems are to be kept for it when they are over.
    pub(crate) is_locked: bool,
}

impl Coordinator {
    /// Who is told of a new workitem.
    pub(super) async fn subscribers_of_new(
        &self,
        tenant: &Tenant,
        dataset: &Dataset,
    ) -> Result<BTreeMap<String, bool>, WorklistError> {
        let all = self.store.worklist_subscriptions(tenant).await?;
        let fits = |each: &Subscription| {
            let filter = each.filter.as_deref().map(Filter::parse);
            filter.is_none_or(|filter| filter.is_ok_and(|filter| filter.fits(dataset)))
        };
        Ok(all.into_iter().filter(fits).map(|each| (each.title, each.is_locked)).collect())
    }

    /// Subscribes, and has the subscriber told how things stand.
    pub(crate) async fn subscribe_to(&self, asked: Subscribe) -> Result<(), WorklistError> {
        let Subscribe { tenant, title, scope, is_locked } = asked;
        let add = |workitem: &Workitem| {
            let mut after = workitem.clone();
            let is_known = after.subscribers.insert(title.clone(), is_locked).is_some();
            (is_known || after.subscribers.len() <= MAX_SUBSCRIBERS).then_some(after)
        };
        match scope {
            Scope::Workitem(uid) => {
                let (to, uid) = (vec![title.clone()], uid);
                self.rewrite(&uid, |record| {
                    let after = add(&record.workitem)
                        .ok_or(StoreError::TooManySubscriptions { limit: MAX_SUBSCRIBERS as u64 })?;
                    let dataset = reports::state(&record.uid, &after);
                    Ok(Some((after, vec![Report { tenant: tenant.clone(), to: to.clone(), dataset }])))
                })
                .await
            }
            Scope::Worklist(wanted) => {
                let fits = wanted.as_deref().map(filter).transpose()?.unwrap_or_default();
                let subscription = Subscription { title: title.clone(), is_locked, filter: wanted };
                self.store.subscribe_worklist(&tenant, subscription, MAX_SUBSCRIPTIONS).await?;
                self.rewrite_each(&tenant, |record| {
                    if record.workitem.state.is_final() || !fits.fits(&record.workitem.dataset) {
                        return Ok(None);
                    }
                    let Some(after) = add(&record.workitem) else { return Ok(None) };
                    let dataset = reports::state(&record.uid, &after);
                    // Who keeps workitems is told of each (PS3.4 section CC.2.4.3).
                    let report = Report { tenant: tenant.clone(), to: vec![title.clone()], dataset };
                    Ok(Some((after, if is_locked { vec![report] } else { Vec::new() })))
                })
                .await
            }
        }
    }

    /// Ends a subscription, with its deletion lock.
    pub(crate) async fn unsubscribe_from(
        &self,
        tenant: &Tenant,
        title: &str,
        scope: Scope,
    ) -> Result<(), WorklistError> {
        let without = |record: &WorkitemRecord| {
            let mut after = record.workitem.clone();
            let was_told = after.subscribers.remove(title).is_some();
            Ok(was_told.then_some((after, Vec::new())))
        };
        match scope {
            Scope::Workitem(uid) => self.rewrite(&uid, without).await,
            Scope::Worklist(_) => {
                self.store.unsubscribe_worklist(tenant, title).await?;
                self.rewrite_each(tenant, without).await
            }
        }
    }

    /// Has the subscriber told of no workitems that are created from now on; of those that are there it still is.
    pub(crate) async fn suspend(&self, tenant: &Tenant, title: &str) -> Result<(), WorklistError> {
        self.store.unsubscribe_worklist(tenant, title).await?;
        Ok(())
    }

    /// Rewrites one workitem, where `next` makes something of it.
    async fn rewrite(
        &self,
        uid: &Uid,
        next: impl Fn(&WorkitemRecord) -> Result<Option<(Workitem, Vec<Report>)>, WorklistError>,
    ) -> Result<(), WorklistError> {
        for _ in 0..super::MAX_CHANGES {
            let record = self.workitem_record(uid).await?;
            let Some((workitem, reports)) = next(&record)? else { return Ok(()) };
            let change = WorkitemChange { uid: uid.clone(), version: record.version, workitem, reports };
            match self.store.change_workitem(change).await {
                Ok(_) => {
                    self.worklist.changed();
                    return Ok(());
                }
                Err(StoreError::WorkitemChanged(_)) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::WorkitemChanged(uid.clone()).into())
    }

    /// The same for each workitem of a tenant.
    async fn rewrite_each(
        &self,
        tenant: &Tenant,
        next: impl Fn(&WorkitemRecord) -> Result<Option<(Workitem, Vec<Report>)>, WorklistError>,
    ) -> Result<(), WorklistError> {
        let mut query = WorkitemQuery { tenants: Some(vec![tenant.clone()]), limit: PAGE, ..WorkitemQuery::default() };
        loop {
            let page = self.store.workitems(query.clone()).await?;
            for record in &page {
                if next(record)?.is_some() {
                    match self.rewrite(&record.uid, &next).await {
                        // It was forgotten meanwhile.
                        Err(WorklistError::Service(crate::service::ServiceError::Store(StoreError::NoWorkitem(_)))) => {
                        }
                        done => done?,
                    }
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => query.after = Some((last.created_at_ms, last.uid.clone())),
                _ => return Ok(()),
            }
        }
    }
}
