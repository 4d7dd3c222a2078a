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

/// Whoever waits: the connection when the write began, and where to tell that it is on the disk.
type Waiter = (Mark, oneshot::Sender<Result<bool>>);

/// The connection of [`Durable`] at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

/// The one who waits, for all.
pub(super) struct Durable {
    link: Arc<Link>,
    waiting: mpsc::Sender<Waiter>,
}

impl Durable {
    pub(super) async fn start(options: &RedisOptions, prefix: &str) -> Result<Self> {
        let link = Arc::new(Link::new(&options.address, &options.credentials)?);
        let (waiting, mut came) = mpsc::channel::<Waiter>(WAITING);
        let key = format!("{prefix}synced");
        // Connected before the first mark is taken.
        touch(&link, &key).await?;
        let syncing = link.clone();
        // It ends when the store is dropped: the channel closes.
        tokio::spawn(async move {
            let mut together = Vec::new();
            while came.recv_many(&mut together, WAITING).await > 0 {
                let outcome = sync(&syncing, &key).await;
                let now = Mark(syncing.connections());
                for (mark, tell) in together.drain(..) {
                    let _ = tell.send(outcome.clone().map(|()| mark == now));
                }
            }
        });
        Ok(Self { link, waiting })
    }

    /// To be taken before a write.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.link.connections())
    }

    /// Returns when everything that was written between `mark` and this call is on the server's disk. `false` where the
    /// connection was another one meanwhile: the server may have crashed and come back without what was written, and only
    /// what it holds now is on the disk. In a cluster, whose connections the library makes anew by itself, that is not seen.
    pub(super) async fn reached(&self, mark: Mark) -> Result<bool> {
        let gone = || StoreError::Unreachable("the wait for the server's disk has ended".to_owned());
        let (tell, told) = oneshot::channel();
        self.waiting.send((mark, tell)).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

/// Writes something.
async fn touch(link: &Link, key: &str) -> Result<()> {
    let mut write = redis::cmd("INCR");
    write.arg(key);
    link.ask(&write).await.map(drop)
}

async fn sync(link: &Link, key: &str) -> Result<()> {
    // One connection carries both, in this order; where it is another one in between, the mark has changed as well.
    touch(link, key).await?;
    let mut wait = redis::cmd("WAITAOF");
    wait.arg(1).arg(0).arg(WAIT_MS);
    let answer = reply::list(link.ask(&wait).await?)?;
    match answer.first().map(reply::number).transpose()? {
        Some(1..) => Ok(()),
        _ => Err(StoreError::Disk("the server did not sync its log in time".to_owned())),
    }
}
