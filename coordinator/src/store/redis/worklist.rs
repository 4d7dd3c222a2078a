//! [`Worklist`] on the scripts.

use async_trait::async_trait;
use prelim_proto::ids::{Tenant, Uid};
use redis::Value;
use tokio::sync::watch;

use super::RedisStore;
use super::reply::{self, odd};
use crate::store::StoreError;
use crate::store::record::Done;
use crate::store::records::Result;
use crate::store::worklist::{
    NewWorkitem, Report, Subscription, Workitem, WorkitemChange, WorkitemQuery, WorkitemRecord, Worklist,
};

/// Workitems that one script lists.
const PAGE: usize = 200;

fn flag(is_so: bool) -> &'static str {
    if is_so { "1" } else { "0" }
}

/// The word of a script's answer.
fn word(answer: Value) -> Result<String> {
    let answer = reply::list(answer)?;
    Ok(answer.first().map(reply::text).transpose()?.unwrap_or_default().to_owned())
}

/// A workitem from its fields: tenant, version, created, updated, record.
fn record(uid: Uid, fields: Value) -> Result<Option<WorkitemRecord>> {
    let fields = reply::list(fields)?;
    let [tenant, version, created, updated, workitem] = &fields[..] else { return Err(odd("a workitem")) };
    if *version == Value::Nil {
        return Ok(None);
    }
    Ok(Some(WorkitemRecord {
        uid,
        tenant: Tenant::parse(reply::text(tenant)?).map_err(|_| odd("a workitem"))?,
        version: reply::unsigned(version)?,
        created_at_ms: reply::number(created)?,
        updated_at_ms: reply::number(updated)?,
        workitem: reply::json::<Workitem>(workitem)?,
    }))
}

impl RedisStore {
    /// Workitems of one listing after a place in it that are wanted, as many as `limit` at most.
    async fn listed_workitems(&self, listing: &str, query: &WorkitemQuery) -> Result<Vec<WorkitemRecord>> {
        let (mut found, mut after) = (Vec::new(), query.after.clone());
        while found.len() < query.limit {
            let page = PAGE.min(query.limit);
            let mut args = self.args().text(listing).number(page);
            if let Some((created_at_ms, uid)) = &after {
                args = args.number(created_at_ms).text(uid.as_str());
            }
            let entries = reply::list(self.run(&self.runner.scripts.workitems, args).await?)?;
            let is_last = entries.len() < page;
            for entry in entries {
                let [uid, fields] = <[Value; 2]>::try_from(reply::list(entry)?).map_err(|_| odd("a listing"))?;
                let uid = Uid::parse(reply::text(&uid)?).map_err(|_| odd("a listing"))?;
                let Some(record) = record(uid, fields)? else { continue };
                after = Some((record.created_at_ms, record.uid.clone()));
                if query.wants(&record) {
                    found.push(record);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    fn subscriptions_key(&self, tenant: &Tenant) -> String {
        format!("{}wsub:{tenant}", self.runner.prefix)
    }
}

#[async_trait]
impl Worklist for RedisStore {
    async fn create_workitem(&self, new: NewWorkitem) -> Result<Done> {
        let workitem = &new.workitem;
        let args = self.args().text(new.uid.as_str()).text(new.tenant.as_str()).number(new.max_open.min(1 << 52));
        let args = args.text(flag(workitem.is_to_be_performed())).text(flag(workitem.is_locked())).json(workitem);
        let args = new.reports.iter().fold(args, |args, report| args.json(report));
        match word(self.run_durably(&self.runner.scripts.create_workitem, args).await?)?.as_str() {
            "now" => Ok(Done::Now),
            "before" => Ok(Done::Before),
            "exists" => Err(StoreError::WorkitemExists(new.uid)),
            "many" => Err(StoreError::TooManyWorkitems { limit: new.max_open }),
            _ => Err(odd("an answer")),
        }
    }

    async fn change_workitem(&self, change: WorkitemChange) -> Result<Done> {
        let workitem = &change.workitem;
        let args = self.args().text(change.uid.as_str()).number(change.version);
        let args = args.text(flag(!workitem.state.is_final())).text(flag(workitem.is_to_be_performed()));
        let args = args.text(flag(workitem.is_locked())).json(workitem);
        let args = change.reports.iter().fold(args, |args, report| args.json(report));
        match word(self.run_durably(&self.runner.scripts.change_workitem, args).await?)?.as_str() {
            "now" => Ok(Done::Now),
            "before" => Ok(Done::Before),
            "changed" => Err(StoreError::WorkitemChanged(change.uid)),
            "none" => Err(StoreError::NoWorkitem(change.uid)),
            _ => Err(odd("an answer")),
        }
    }

    async fn workitem(&self, uid: &Uid) -> Result<Option<WorkitemRecord>> {
        let mut get = redis::cmd("HMGET");
        get.arg(self.key("w", uid)).arg(&["tenant", "version", "created", "updated", "record"]);
        record(uid.clone(), self.runner.link.ask(&get).await?)
    }

    async fn workitems(&self, query: WorkitemQuery) -> Result<Vec<WorkitemRecord>> {
        let listings = match (&query.tenants, query.to_be_performed) {
            (_, true) => vec!["wdo".to_owned()],
            (None, false) => vec!["wl".to_owned()],
            (Some(tenants), false) => tenants.iter().map(|tenant| format!("wl:{tenant}")).collect(),
        };
        let mut found = Vec::new();
        for listing in listings {
            found.extend(self.listed_workitems(&listing, &query).await?);
        }
        found.sort_by(|a, b| (a.created_at_ms, &a.uid).cmp(&(b.created_at_ms, &b.uid)));
        found.truncate(query.limit);
        Ok(found)
    }

    async fn forget_workitems(&self, age_ms: u64, locked_age_ms: u64, limit: usize) -> Result<u64> {
        let args = self.args().number(age_ms.min(1 << 52)).number(locked_age_ms.min(1 << 52)).number(limit);
        reply::unsigned(&self.run_durably(&self.runner.scripts.forget_workitems, args).await?)
    }

    async fn subscribe_worklist(&self, tenant: &Tenant, subscription: Subscription, max: u64) -> Result<Done> {
        let args = self.args().texts([tenant.as_str(), &subscription.title]).json(&subscription).number(max);
        match word(self.run_durably(&self.runner.scripts.subscribe_worklist, args).await?)?.as_str() {
            "now" => Ok(Done::Now),
            "before" => Ok(Done::Before),
            "many" => Err(StoreError::TooManySubscriptions { limit: max }),
            _ => Err(odd("an answer")),
        }
    }

    async fn unsubscribe_worklist(&self, tenant: &Tenant, title: &str) -> Result<Done> {
        let mut remove = redis::cmd("HDEL");
        remove.arg(self.subscriptions_key(tenant)).arg(title);
        let removed = self.durably(|| self.runner.link.ask(&remove)).await?;
        Ok(if reply::number(&removed)? > 0 { Done::Now } else { Done::Before })
    }

    async fn worklist_subscriptions(&self, tenant: &Tenant) -> Result<Vec<Subscription>> {
        let mut get = redis::cmd("HGETALL");
        get.arg(self.subscriptions_key(tenant));
        let fields = reply::pairs(self.runner.link.ask(&get).await?)?;
        let mut found =
            fields.chunks_exact(2).map(|pair| reply::json(&pair[1])).collect::<Result<Vec<Subscription>>>()?;
        found.sort_by(|a, b| a.title.cmp(&b.title));
        Ok(found)
    }

    async fn worklist_reports(&self, after: u64, limit: usize) -> Result<Vec<(u64, Report)>> {
        let mut range = redis::cmd("XRANGE");
        range.arg(format!("{}wreports", self.runner.prefix)).arg(format!("{}-0", after.saturating_add(1))).arg("+");
        range.arg("COUNT").arg(limit);
        let one = |entry: Value| {
            let [id, fields] = <[Value; 2]>::try_from(reply::list(entry)?).map_err(|_| odd("a report"))?;
            let number = reply::text(&id)?.split('-').next().and_then(|number| number.parse().ok());
            let fields = reply::pairs(fields)?;
            let report = reply::json(fields.get(1).ok_or_else(|| odd("a report"))?)?;
            Ok((number.ok_or_else(|| odd("a report"))?, report))
        };
        reply::list(self.runner.link.ask(&range).await?)?.into_iter().map(one).collect()
    }

    async fn last_worklist_report(&self) -> Result<u64> {
        let mut get = redis::cmd("GET");
        get.arg(format!("{}wnumber", self.runner.prefix));
        match self.runner.link.ask(&get).await? {
            Value::Nil => Ok(0),
            number => reply::unsigned(&number),
        }
    }

    fn worklist_changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.heard.worklist.clone())
    }
}
