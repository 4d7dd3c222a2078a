//! The part of [`crate::store::JobStore`] that concerns drafts on their way out.

use prelim_proto::ids::{FencingToken, Uid};
use redis::Value;

use super::RedisStore;
use super::reply::{self, odd};
use crate::store::StoreError;
use crate::store::delivery::{DeliveryEnd, DeliveryKey, DeliveryRecord, DeliveryState, Wish};
use crate::store::record::Done;
use crate::store::records::Result;

/// Records of one script's answer.
const MOST: usize = 1_000;

/// A delivery's record as scripts pack it.
type Packed = (String, u32, u64, i64, String, String, String, i64, i64);

/// The place of a delivery among those of its study.
fn field(key: &DeliveryKey) -> String {
    format!("{} {} {}", key.version, key.destination, key.object)
}

fn record(study: Uid, field: &str, packed: &Value) -> Result<DeliveryRecord> {
    let wrong = || odd("a delivery");
    let packed: Packed = rmp_serde::from_slice(reply::bytes(packed)?).map_err(|_| wrong())?;
    let (state, attempts, token, due_at_ms, answer, instance, transaction, created_at_ms, updated_at_ms) = packed;
    let mut words = field.split(' ').map(str::to_owned);
    let mut word = || words.next().ok_or_else(wrong);
    let version = word()?.parse().map_err(|_| wrong())?;
    Ok(DeliveryRecord {
        key: DeliveryKey { study, version, destination: word()?, object: word()? },
        state: DeliveryState::ALL.into_iter().find(|each| each.as_str() == state).ok_or_else(wrong)?,
        attempts,
        token: FencingToken(token),
        due_at_ms,
        answer,
        instance,
        transaction,
        created_at_ms,
        updated_at_ms,
    })
}

/// Records of several studies, each with its study and field.
fn records(answer: Value) -> Result<Vec<DeliveryRecord>> {
    let one = |entry| {
        let [study, field, packed] = <[Value; 3]>::try_from(reply::list(entry)?).map_err(|_| odd("a delivery"))?;
        let study = Uid::parse(reply::text(&study)?).map_err(|_| odd("a delivery"))?;
        record(study, reply::text(&field)?, &packed)
    };
    reply::list(answer)?.into_iter().map(one).collect()
}

impl RedisStore {
    /// [`crate::store::JobStore::add_deliveries`].
    pub(super) async fn note_deliveries(
        &self,
        study: &Uid,
        version: u32,
        wishes: &[Wish],
        again: bool,
    ) -> Result<Done> {
        let mut args = self.args().text(study.as_str()).number(version).number(u8::from(again));
        for wish in wishes {
            args = args.texts([&wish.destination, &wish.object]);
        }
        let answer = reply::list(self.run_durably(&self.runner.scripts.add_deliveries, args).await?)?;
        match answer.first().map(reply::text).transpose()? {
            Some("now") => Ok(Done::Now),
            Some("before") => Ok(Done::Before),
            Some("study") => Err(StoreError::NoStudy(study.clone())),
            Some("outdated") => Err(StoreError::Outdated(study.clone())),
            _ => Err(odd("an answer")),
        }
    }

    /// [`crate::store::JobStore::lease_deliveries`].
    pub(super) async fn take_deliveries(
        &self,
        destination: &str,
        ttl_ms: u64,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>> {
        let args = self.args().text(destination).number(ttl_ms.min(i64::MAX as u64)).number(limit.min(MOST));
        records(self.run(&self.runner.scripts.lease_deliveries, args).await?)
    }

    /// [`crate::store::JobStore::end_delivery`].
    pub(super) async fn settle_delivery(
        &self,
        key: &DeliveryKey,
        token: FencingToken,
        end: &DeliveryEnd,
    ) -> Result<Done> {
        let args = self.args().text(key.study.as_str()).text(field(key)).number(token.0).text(end.state.as_str());
        let args = args.number(end.due_in_ms.min(i64::MAX as u64));
        let args = args.texts([&end.answer, &end.instance, &end.transaction]);
        let answer = reply::list(self.run_durably(&self.runner.scripts.end_delivery, args).await?)?;
        match answer.first().map(reply::text).transpose()? {
            Some("now") => Ok(Done::Now),
            Some("before") => Ok(Done::Before),
            Some("lost") => Err(StoreError::DeliveryLost(Box::new(key.clone()))),
            _ => Err(odd("an answer")),
        }
    }

    /// [`crate::store::JobStore::deliveries`].
    pub(super) async fn deliveries_of(&self, study: &Uid) -> Result<Vec<DeliveryRecord>> {
        let mut get = redis::cmd("HGETALL");
        get.arg(format!("{}dl:{study}", self.runner.prefix));
        let fields: Vec<Value> = match self.runner.link.ask(&get).await? {
            Value::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
            other => reply::list(other)?,
        };
        let one = |pair: &[Value]| record(study.clone(), reply::text(&pair[0])?, &pair[1]);
        let mut found = fields.chunks_exact(2).map(one).collect::<Result<Vec<_>>>()?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// [`crate::store::JobStore::open_deliveries`].
    pub(super) async fn deliveries_to(&self, destination: &str, limit: usize) -> Result<Vec<DeliveryRecord>> {
        let args = self.args().text(destination).number(limit.min(MOST));
        records(self.run(&self.runner.scripts.open_deliveries, args).await?)
    }
}
