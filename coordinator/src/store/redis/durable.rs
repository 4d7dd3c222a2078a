//! Waiting until a write is on the server's disk, where the server syncs only now and then (WAITAOF, from Redis 7.2 and
//! in Valkey).
//!
//! WAITAOF waits for the writes of its own connection. A connection of its own therefore writes something after the
//! others' writes and waits for that: what lies before it in the log is on the disk as well. One wait serves all who
//! came before it began.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::RedisOptions;
use super::link::Link;
use super::reply;
use crate::store::StoreError;
use crate::store::records::Result;

/// How long the server may take to sync, in ms. With `appendfsync everysec` it syncs every second.
const WAIT_MS: u64 = 8_000;
/// Writes that may wait for one sync.
const WAITING: usize = 65_536;

/// The one who waits, for all.
pub(super) struct Durable {
    waiting: mpsc::Sender<oneshot::Sender<Result<()>>>,
}

impl Durable {
    pub(super) fn start(options: &RedisOptions, prefix: &str) -> Result<Self> {
        let link = Arc::new(Link::new(&options.address, &options.credentials)?);
        let (waiting, mut came) = mpsc::channel::<oneshot::Sender<Result<()>>>(WAITING);
        let key = format!("{prefix}synced");
        // It ends when the store is dropped: the channel closes.
        tokio::spawn(async move {
            let mut together = Vec::new();
            while came.recv_many(&mut together, WAITING).await > 0 {
                let outcome = sync(&link, &key).await;
                for one in together.drain(..) {
                    let _ = one.send(outcome.clone());
                }
            }
        });
        Ok(Self { waiting })
    }

    /// Returns when everything that was written before this call is on the server's disk.
    pub(super) async fn reached(&self) -> Result<()> {
        let gone = || StoreError::Unreachable("the wait for the server's disk has ended".to_owned());
        let (tell, told) = oneshot::channel();
        self.waiting.send(tell).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

async fn sync(link: &Link, key: &str) -> Result<()> {
    // One connection carries both, in this order.
    let mut write = redis::cmd("INCR");
    write.arg(key);
    link.ask(&write).await?;
    let mut wait = redis::cmd("WAITAOF");
    wait.arg(1).arg(0).arg(WAIT_MS);
    let answer = reply::list(link.ask(&wait).await?)?;
    match answer.first().map(reply::number).transpose()? {
        Some(1..) => Ok(()),
        _ => Err(StoreError::Disk("the server did not sync its log in time".to_owned())),
    }
}
