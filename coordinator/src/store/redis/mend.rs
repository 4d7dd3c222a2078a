//! Recovery: jobs, queues and counters compared both ways, a part at a time, so that the server is never held up.

use prelim_proto::ids::Tenant;

use super::RedisStore;
use super::reply::{self, odd};
use crate::queue::MAX_LEASE_MS;
use crate::store::record::Reconciled;
use crate::store::records::Result;

/// Entries of a queue, or studies, that one script looks at.
const TOGETHER: usize = 200;

impl RedisStore {
    /// [`crate::store::JobStore::reconcile`].
    pub(super) async fn mend(&self) -> Result<Reconciled> {
        let mut mended = Reconciled::default();
        // One way: entries whose job does not ask for them.
        for queue in self.queues().await? {
            let stray = self.mend_queue(&queue).await?;
            match queue.starts_with("l:") {
                true => mended.stray_leases += stray,
                false => mended.stray_entries += stray,
            }
        }
        // The other way: jobs without the entry that they ask for, and studies without the merge that is due.
        for studies in self.members("ix:*").await?.chunks(TOGETHER) {
            let args = self.args().number(MAX_LEASE_MS).texts(studies);
            let counts = reply::list(self.run_durably(&self.runner.scripts.mend_studies, args).await?)?;
            let [lost_leases, lost_jobs, far_times, missing_merges] = counts.as_slice() else {
                return Err(odd("a count"));
            };
            mended.lost_leases += reply::unsigned(lost_leases)?;
            mended.lost_jobs += reply::unsigned(lost_jobs)?;
            mended.far_times += reply::unsigned(far_times)?;
            mended.missing_merges += reply::unsigned(missing_merges)?;
        }
        mended.wrong_counts = reply::unsigned(&self.run(&self.runner.scripts.mend_counts, self.args()).await?)?;
        Ok(mended)
    }

    /// The names of all queues.
    async fn queues(&self) -> Result<Vec<String>> {
        let mut queues: Vec<String> = ["late", "dead"].map(str::to_owned).into();
        let mut tenants = redis::cmd("HKEYS");
        tenants.arg(format!("{}open", self.runner.prefix));
        for tenant in reply::list(self.runner.link.ask(&tenants).await?)? {
            let tenant = Tenant::parse(reply::text(&tenant)?).map_err(|_| odd("a tenant"))?;
            for kind in ["x", "c", "m", "a"] {
                queues.extend([format!("q:{kind}:{tenant}"), format!("l:{kind}:{tenant}")]);
            }
        }
        let mut waiting = redis::cmd("SMEMBERS");
        waiting.arg(format!("{}waiting", self.runner.prefix));
        for known in reply::list(self.runner.link.ask(&waiting).await?)? {
            // Kind, tenant and, where something is demanded, what.
            let mut words = reply::text(&known)?.splitn(3, ' ');
            if let (Some(kind), Some(tenant), Some(demand)) = (words.next(), words.next(), words.next()) {
                queues.push(format!("q:{kind}:{tenant}:{demand}"));
            }
        }
        Ok(queues)
    }

    async fn mend_queue(&self, queue: &str) -> Result<u64> {
        let mut stray = 0;
        for members in self.members(queue).await?.chunks(TOGETHER) {
            let args = self.args().text(queue).texts(members);
            stray += reply::unsigned(&self.run(&self.runner.scripts.mend_entries, args).await?)?;
        }
        Ok(stray)
    }

    /// The members of a sorted set.
    async fn members(&self, name: &str) -> Result<Vec<String>> {
        let mut members = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("ZSCAN");
            scan.arg(format!("{}{name}", self.runner.prefix)).arg(&cursor).arg("COUNT").arg(TOGETHER);
            let answer = reply::list(self.runner.link.ask(&scan).await?)?;
            let [next, entries] = <[redis::Value; 2]>::try_from(answer).map_err(|_| odd("a queue"))?;
            for member in reply::list(entries)?.iter().step_by(2) {
                members.push(reply::text(member)?.to_owned());
            }
            cursor = reply::text(&next)?.to_owned();
            if cursor == "0" {
                // A scan may name a member twice.
                members.sort();
                members.dedup();
                return Ok(members);
            }
        }
    }
}
