//! [`Notes`] on the scripts.

use async_trait::async_trait;
use redis::Value;

use super::RedisStore;
use super::reply::{self, odd};
use crate::store::StoreError;
use crate::store::notes::{Note, Notes, PutNote};
use crate::store::records::Result;

/// More than any limit on what is listed.
const ALL: usize = 1 << 30;

/// A note, as the script tells it.
fn note(told: Value) -> Result<Note> {
    let [key, version, after, text, written, ends] =
        <[Value; 6]>::try_from(reply::list(told)?).map_err(|_| odd("a note"))?;
    let whole = |value: &Value| reply::text(value)?.parse::<u64>().map_err(|_| odd("a note"));
    let time = |value: &Value| reply::text(value)?.parse::<i64>().map_err(|_| odd("a note"));
    Ok(Note {
        key: reply::text(&key)?.to_owned(),
        version: whole(&version)?,
        after: whole(&after)?,
        text: reply::text(&text)?.to_owned(),
        written_at_ms: time(&written)?,
        ends_at_ms: time(&ends)?,
    })
}

#[async_trait]
impl Notes for RedisStore {
    async fn put_note(&self, put: PutNote) -> Result<u64> {
        let after = put.after.map(|version| version.to_string()).unwrap_or_default();
        let args = self.args().texts([&put.key, &put.text, &after]).number(put.lasts_ms.min(1 << 52));
        let args = args.number(put.max_notes.min(1 << 52));
        let answer = reply::list(self.run_durably(&self.runner.scripts.put_note, args).await?)?;
        let version = || -> Result<u64> {
            let version = answer.get(1).ok_or_else(|| odd("a note"))?;
            reply::text(version)?.parse().map_err(|_| odd("a note"))
        };
        match answer.first().map(reply::text).transpose()?.unwrap_or_default() {
            "now" => version(),
            "changed" => Err(StoreError::NoteChanged { newest: version()? }),
            "many" => Err(StoreError::TooManyNotes { limit: put.max_notes }),
            _ => Err(odd("an answer")),
        }
    }

    async fn note(&self, key: &str) -> Result<Option<Note>> {
        let answer = self.run(&self.runner.scripts.notes, self.args().texts(["get", key])).await?;
        if reply::list(answer.clone())?.is_empty() { Ok(None) } else { note(answer).map(Some) }
    }

    async fn notes(&self, beginning: &str, limit: usize) -> Result<Vec<Note>> {
        let args = self.args().texts(["list", beginning]).number(limit.min(ALL));
        reply::list(self.run(&self.runner.scripts.notes, args).await?)?.into_iter().map(note).collect()
    }

    async fn drop_notes(&self, beginning: &str) -> Result<u64> {
        let args = self.args().texts(["drop", beginning]);
        reply::unsigned(&self.run_durably(&self.runner.scripts.notes, args).await?)
    }

    async fn forget_notes(&self, limit: usize) -> Result<u64> {
        let args = self.args().text("forget").number(limit.min(ALL));
        reply::unsigned(&self.run(&self.runner.scripts.notes, args).await?)
    }
}
