//! The store for a cluster: Redis or Valkey, one Lua script an operation, any number of coordinators.
//!
//! # Layout
//! - [`config`]: flags; [`address`]: where a Redis is; `link`: connections that mend themselves
//! - `script` and `lua/`: the operations; `reply`: what they answer, read into records
//! - `operations`, `deliveries`, `steps`, `notes` and `worklist`: [`super::JobStore`] on them; `together`: leases and outcomes, several in a script; `mend`: what recovery
//!   compares
//! - [`checks`]: what the server's settings risk; `durable`: waiting until a write is on the disk
//! - `wake`: hearing of jobs that another coordinator queued
//!
//! # Keys
//! All begin with the prefix, for example `{prelim}:`, whose hash tag puts them into one slot of a cluster. After it:
//!
//! | key | what it is |
//! |---|---|
//! | `s:UID` | hash: a study; fields `a:…` are the patient's and the request's, `by:…` its senders, `as:…` associations |
//! | `i:UID` | hash by SOP Instance UID: digest, then the instance's record as JSON |
//! | `at` | hash by SOP Instance UID: the study that it came into last |
//! | `j:UID` | hash: the jobs of a study; field `N` is a job's record and `fN` its failures, packed; `sN` is what it is to do and `oN` its outcome, as JSON; `begun` where one of them was leased |
//! | `d:UID` | hash by version: drafts, as JSON |
//! | `dl:UID` | hash by version, destination and object: deliveries, packed |
//! | `due:DESTINATION` | sorted set by time: deliveries that are not over |
//! | `q:KIND:TENANT`, `q:KIND:TENANT:DEMAND` | sorted set by rank: waiting jobs, apart by the model and prompt that they demand, if any; `waiting` is the set of those that may have any |
//! | `l:KIND:TENANT` | sorted set by time: jobs under a lease; `late`: jobs that wait for their time |
//! | `dead` | sorted set: dead letters |
//! | `open` | hash: open studies by tenant |
//! | `ix:…` | sorted sets: listings of studies; values of patients are in their names as digests only |
//! | `steps`, `steps:of`, `steps:at` | performed procedure steps: hashes by UID and by study, and a sorted set by time |
//! | `notes`, `notes:at`, `notes:ix` | notes, packed, by key; their keys by when they end, and by name |
//! | `token`, `requests`, `workers`, `clock` | the last token, request ids, workers, the queue's time |
//! | `w:UID` | hash: a workitem; `wl` and `wl:TENANT` are sorted sets of all by their creation, `wdo` of those that prelim has something to do for, `wover` of those that are over, by their last change; `wopen` is a hash of how many are open, by tenant |
//! | `wsub:TENANT` | hash by title: subscriptions to the worklist |
//! | `wreports`, `wnumber` | stream: reports of workitems; the number of the newest |
//! | `wake` | channel: a queue that was empty has a job, a worker is told to stop, or something is reported of a workitem |
//!
//! **Invariant**: nothing outside this folder names Redis.
//! **Invariant**: every script is safe to repeat, because its answer may be lost.
//! **Invariant**: the queue's time is the server's, without its jumps: no clock of a client, and no setting of the
//! server's clock, ends a lease.

pub mod address;
pub mod checks;
pub mod config;
mod deliveries;
mod durable;
mod link;
mod mend;
mod notes;
mod operations;
mod reply;
mod script;
mod steps;
#[cfg(test)]
mod tests;
mod together;
mod wake;
mod worklist;

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio_util::task::AbortOnDropHandle;

use self::address::{Address, Credentials};
use self::checks::ServerReport;
use self::durable::Durable;
use self::link::Link;
use self::script::{Args, Script};
use self::together::{Exchange, Runner};
use self::wake::Heard;
use super::StoreError;
use super::records::Result;
use crate::clock::Clock;

/// How often a write is done again that a server which went away may have lost.
const TRIES: u32 = 4;
/// How long a server may be away when a coordinator starts before that is given up.
const START: Duration = Duration::from_secs(5);

/// How to open a store.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// Where the server is.
    pub address: Address,
    /// How to make oneself known to it.
    pub credentials: Credentials,
    /// Name that sets this cluster's keys apart from others on the same server.
    pub prefix: String,
}

/// The store on a Redis or Valkey server.
pub struct RedisStore {
    runner: Runner,
    exchange: Exchange,
    durable: Option<Durable>,
    report: ServerReport,
    heard: Heard,
    _listening: AbortOnDropHandle<()>,
}

impl RedisStore {
    /// Connects, looks at the server's settings, and refuses a server that cannot be used.
    pub async fn open(options: &RedisOptions) -> Result<Self> {
        Self::with_clock(options, None).await
    }

    async fn with_clock(options: &RedisOptions, clock: Option<Arc<dyn Clock>>) -> Result<Self> {
        let report = checks::look(&Link::new(&options.address, &options.credentials)?.within(START)).await?;
        let link = Arc::new(Link::new(&options.address, &options.credentials)?);
        let prefix = format!("{{{}}}:", options.prefix);
        let durable = match report.needs_wait() {
            true => Some(Durable::start(options, &prefix).await?),
            false => None,
        };
        let (heard, listening) = wake::listen(link.clone(), format!("{prefix}wake"));
        let runner = Runner { link, scripts: Arc::default(), prefix, clock };
        let exchange = Exchange::start(runner.clone());
        Ok(Self { runner, exchange, durable, report, heard, _listening: listening })
    }

    /// What the server is, and what its settings risk.
    pub fn report(&self) -> &ServerReport {
        &self.report
    }

    /// The processor time that the server used so far, for everybody, in s.
    pub async fn server_cpu_s(&self) -> Result<f64> {
        checks::cpu_s(&self.runner.link).await
    }

    /// Removes every key of this store from the server: all studies and jobs. For what measures and tries.
    pub async fn erase(&self) -> Result<()> {
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(format!("{}*", self.runner.prefix)).arg("COUNT").arg(1_000);
            let answer = reply::list(self.runner.link.ask(&scan).await?)?;
            let [next, keys] = <[Value; 2]>::try_from(answer).map_err(|_| reply::odd("a list of keys"))?;
            let keys = reply::list(keys)?;
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                for key in &keys {
                    unlink.arg(reply::bytes(key)?);
                }
                self.runner.link.ask(&unlink).await?;
            }
            cursor = reply::text(&next)?.to_owned();
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    /// Arguments of a script, to which its own are added.
    fn args(&self) -> Args {
        self.runner.args()
    }

    /// Runs a script whose effect a crash of the server may undo: leases, renewals, and what can be asked again.
    async fn run(&self, script: &Script, args: Args) -> Result<Value> {
        self.runner.link.run(script, &args).await
    }

    /// Runs a script whose effect must survive a crash of the server once it was answered.
    async fn run_durably(&self, script: &Script, args: Args) -> Result<Value> {
        self.durably(|| self.runner.link.run(script, &args)).await
    }

    /// Does something that is safe to repeat until its effect survives a crash of the server, where the server can be asked.
    async fn durably<T, Doing: Future<Output = Result<T>>>(&self, mut act: impl FnMut() -> Doing) -> Result<T> {
        let Some(durable) = &self.durable else { return act().await };
        for _ in 0..TRIES {
            let mark = durable.mark();
            let answer = act().await?;
            if durable.reached(mark).await? {
                return Ok(answer);
            }
            // It may be gone, with the last second before the crash.
        }
        Err(StoreError::Unreachable(format!("it was away {TRIES} times in a row before a write was on its disk")))
    }
}
