//! Performed procedure steps on the script.

use prelim_proto::ids::Uid;
use redis::Value;
use serde::{Deserialize, Serialize};

use super::RedisStore;
use super::reply::{self, odd};
use crate::store::StoreError;
use crate::store::records::Result;
use crate::store::step::{MAX_STEPS_OF_STUDY, Mark, PutStep, StepRecord, StepState};

/// What the script does not look into.
#[derive(Serialize, Deserialize)]
struct Rest {
    uid: Uid,
    tenant: prelim_proto::ids::Tenant,
    state: StepState,
    listed: Vec<Mark>,
}

impl RedisStore {
    /// [`crate::store::JobStore::put_step`].
    pub(super) async fn write_step(&self, put: &PutStep) -> Result<bool> {
        let step = &put.step;
        let rest =
            Rest { uid: step.uid.clone(), tenant: step.tenant.clone(), state: step.state, listed: step.listed.clone() };
        let studies: Vec<&str> = step.studies.iter().map(Uid::as_str).collect();
        let args = self
            .args()
            .texts(["put", step.uid.as_str()])
            .text(put.after.map(|revision| revision.to_string()).unwrap_or_default())
            .number(step.write)
            .text(step.tenant.as_str())
            .number(put.max_steps)
            .json(&rest)
            .text(studies.join(" "));
        let answer = reply::list(self.run_durably(&self.runner.scripts.steps, args).await?)?;
        match answer.first().map(reply::text).transpose()? {
            Some("now") => Ok(true),
            Some("no") => Ok(false),
            Some("full") => Err(StoreError::TooManySteps { limit: put.max_steps }),
            _ => Err(odd("an answer")),
        }
    }

    /// [`crate::store::JobStore::step`].
    pub(super) async fn read_step(&self, uid: &Uid) -> Result<Option<StepRecord>> {
        let answer =
            reply::list(self.run(&self.runner.scripts.steps, self.args().texts(["get", uid.as_str()])).await?)?;
        if answer.is_empty() { Ok(None) } else { record(answer).map(Some) }
    }

    /// [`crate::store::JobStore::steps_of`].
    pub(super) async fn read_steps_of(&self, studies: &[Uid]) -> Result<Vec<Vec<StepRecord>>> {
        let args = self.args().text("of").number(MAX_STEPS_OF_STUDY).texts(studies.iter().map(Uid::as_str));
        let of_study = |steps: Value| reply::list(steps)?.into_iter().map(|step| record(reply::list(step)?)).collect();
        reply::list(self.run(&self.runner.scripts.steps, args).await?)?.into_iter().map(of_study).collect()
    }

    /// [`crate::store::JobStore::forget_steps`].
    pub(super) async fn forget_old_steps(&self, age_ms: u64) -> Result<u64> {
        let args = self.args().text("forget").number(age_ms.min(i64::MAX as u64));
        reply::unsigned(&self.run(&self.runner.scripts.steps, args).await?)
    }
}

/// A step, as the script answers it.
fn record(answer: Vec<Value>) -> Result<StepRecord> {
    let [revision, write, changed, studies, rest] =
        <[Value; 5]>::try_from(answer).map_err(|_| odd("a performed procedure step"))?;
    let Rest { uid, tenant, state, listed } = reply::json(&rest)?;
    let studies = reply::text(&studies)?.split_whitespace().map(Uid::parse);
    Ok(StepRecord {
        uid,
        tenant,
        state,
        studies: studies.collect::<std::result::Result<_, _>>().map_err(|_| odd("a performed procedure step"))?,
        listed,
        revision: reply::unsigned(&revision)?,
        write: reply::text(&write)?.parse().map_err(|_| odd("a performed procedure step"))?,
        changed_at_ms: reply::number(&changed)?,
    })
}
