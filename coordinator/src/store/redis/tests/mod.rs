//! The store on real servers: the conformance suite, crashes, recovery, and every way to reach one.

mod reach;
mod server;

use std::sync::Arc;

use async_trait::async_trait;
use prelim_proto::ids::{JobId, Tenant};
use prelim_proto::job::JobKind;
use prelim_proto::study::Priority;
use redis::Value;
use tokio::sync::Mutex;

use self::server::Server;
use super::address::{Address, Credentials};
use super::*;
use crate::clock::ManualClock;
use crate::queue::{MAX_LEASE_MS, Verdict};
use crate::store::conformance::fixture::{XRAY, add, complete, draft, instance, outcome, plan, study, uid, wanted};
use crate::store::conformance::{Harness, conformance};
use crate::store::record::{Done, Heartbeat, Reconciled, StudyQuery};
use crate::store::{JobStore, Room, StoreError};

/// How long a signal may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(url: &str, prefix: &str) -> RedisOptions {
    RedisOptions {
        address: Address::parse(url).unwrap(),
        credentials: Credentials::default(),
        prefix: prefix.to_owned(),
    }
}

/// A store under a prefix of its own.
struct OnServer {
    server: Arc<Mutex<Server>>,
    options: RedisOptions,
    store: Arc<RedisStore>,
    clock: Arc<ManualClock>,
    /// What reopening does to the server: nothing, or kill it.
    kills: bool,
}

impl OnServer {
    async fn new(server: Arc<Mutex<Server>>, prefix: &str, kills: bool) -> Self {
        let options = options(&server.lock().await.url(), prefix);
        let clock = Arc::new(ManualClock::at(1_000_000));
        let store = Arc::new(RedisStore::with_clock(&options, Some(clock.clone())).await.unwrap());
        Self { server, options, store, clock, kills }
    }

    async fn ask(&self, words: &[&str]) -> Value {
        let mut cmd = redis::cmd(words[0]);
        for word in &words[1..] {
            cmd.arg(word.replace("P:", &self.store.runner.prefix));
        }
        self.store.runner.link.ask(&cmd).await.unwrap()
    }
}

#[async_trait]
impl Harness for OnServer {
    fn store(&self) -> Arc<dyn JobStore> {
        self.store.clone()
    }
    fn advance(&self, by_ms: u32) {
        self.clock.advance(by_ms);
    }
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
    async fn reopen(&mut self) {
        if self.kills {
            let mut server = self.server.lock().await;
            server.kill();
            server.resume();
            // The store that is open finds its way back by itself. What it does meanwhile may be done twice, and is answered as
            // done before: the model compares answers, so something goes first whose answer is always the same.
            drop(server);
            assert!(self.store().cancel_study(&uid("9.9"), "nobody's").await.is_err());
            return;
        }
        self.store = Arc::new(RedisStore::with_clock(&self.options, Some(self.clock.clone())).await.unwrap());
    }
}

/// Prefixes that no two stores share.
fn prefixes() -> impl Fn() -> String {
    let count = std::sync::atomic::AtomicU32::new(0);
    move || format!("t{}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

#[tokio::test]
async fn the_redis_store_conforms() {
    let server = Arc::new(Mutex::new(Server::start(&["--appendfsync", "no"])));
    let next = prefixes();
    conformance(async || OnServer::new(server.clone(), &next(), false).await).await;
}

#[tokio::test]
async fn the_store_conforms_on_valkey() {
    let server = Arc::new(Mutex::new(Server::valkey(&["--appendfsync", "no"])));
    let next = prefixes();
    conformance(async || OnServer::new(server.clone(), &next(), false).await).await;
}

/// With `everysec` alone the writes of the last second would be gone; what must last waits for them to be synced.
#[tokio::test]
async fn a_server_killed_between_two_syncs_loses_nothing_that_was_answered() {
    let server = Arc::new(Mutex::new(Server::valkey(&["--appendfsync", "everysec"])));
    let next = prefixes();
    let on = OnServer::new(server.clone(), &next(), false).await;
    assert!(on.store.durable.is_some(), "{}", on.store.report.durability());
    crate::store::conformance::explore(async || OnServer::new(server.clone(), &next(), true).await, 4).await;
}

#[tokio::test]
async fn a_server_that_is_killed_loses_nothing_that_was_answered() {
    let server = Arc::new(Mutex::new(Server::start(&[])));
    let next = prefixes();
    crate::store::conformance::explore(async || OnServer::new(server.clone(), &next(), true).await, 24).await;
}

#[tokio::test]
async fn recovery_reconciles_jobs_and_leases_both_ways() {
    let server = Arc::new(Mutex::new(Server::start(&[])));
    let on = OnServer::new(server, "mend", false).await;
    let (store, uid) = (on.store(), study(1));
    store.add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
    store.complete_studies(complete(&uid, None)).await.unwrap();
    store.plan_study(&uid, plan(&uid, 1, 0, &[XRAY, XRAY], Priority::Routine)).await.unwrap();
    let lease = store.lease(wanted("w", &[XRAY], 60_000)).await.unwrap().unwrap();
    // What a mistake, or an older version, might leave: a lease that no job has, a leased job without a lease, a
    // waiting job in no queue, a queue entry without a job, and a wrong count.
    let member = |number: u32, kind: &str| format!("{uid} {number:010} {kind}");
    on.ask(&["ZREM", "P:l:x:default", &member(lease.job.id.number(), "x")]).await;
    on.ask(&["ZREM", "P:q:x:default", &member(1, "x")]).await;
    on.ask(&["ZADD", "P:l:x:default", "5", &member(1, "x")]).await;
    on.ask(&["ZADD", "P:q:m:default", "5", &member(1, "m")]).await;
    on.ask(&["HSET", "P:open", "default", "7"]).await;
    let mended = Reconciled {
        stray_leases: 1,
        lost_leases: 1,
        lost_jobs: 1,
        stray_entries: 1,
        wrong_counts: 1,
        ..Reconciled::default()
    };
    assert_eq!(store.reconcile().await, Ok(mended));
    assert_eq!(store.reconcile().await, Ok(Reconciled::default()));
    // The lease that was lost has run out; the job that was lost can be leased.
    assert_eq!(store.expired(10).await.unwrap().len(), 1);
    assert!(store.lease(wanted("w", &[XRAY], MAX_LEASE_MS as u64 * 2)).await.unwrap().is_some());
    // And nothing lasts longer than anything may.
    assert_eq!(store.reconcile().await, Ok(Reconciled { far_times: 1, ..Reconciled::default() }));
    assert_eq!(store.expired(10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn setting_the_servers_clock_changes_nothing() {
    let server = Arc::new(Mutex::new(Server::start(&[])));
    let mut on = OnServer::new(server, "clock", false).await;
    // This store asks the server what time it is.
    on.store = Arc::new(RedisStore::open(&on.options).await.unwrap());
    let (store, uid) = (on.store(), study(1));
    store.add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
    store.complete_studies(complete(&uid, None)).await.unwrap();
    store.plan_study(&uid, plan(&uid, 1, 0, &[XRAY], Priority::Routine)).await.unwrap();
    let lease = store.lease(wanted("w", &[XRAY], 60_000)).await.unwrap().unwrap();
    // A clock that showed another time until now, for the same moment of the queue, has just been set.
    for by_ms in ["3600000", "-3600000", "999999999999", "-86400000"] {
        on.ask(&["HINCRBY", "P:clock", "seen", by_ms]).await;
        on.ask(&["HINCRBY", "P:clock", "behind", by_ms]).await;
        assert_eq!(store.expired(9).await, Ok(vec![]), "{by_ms}");
        assert_eq!(store.renew(&lease.job.id, lease.token, 60_000).await, Ok(()));
    }
    // Time goes on all the same.
    assert_eq!(store.renew(&lease.job.id, lease.token, 300).await, Ok(()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(store.expired(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn at_the_limit_of_memory_submits_are_refused_and_finished_work_is_stored() {
    let server = Arc::new(Mutex::new(Server::start(&["--maxmemory", "4mb"])));
    let on = OnServer::new(server, "full", false).await;
    let (store, uid) = (on.store(), study(1));
    store.add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
    store.complete_studies(complete(&uid, None)).await.unwrap();
    store.plan_study(&uid, plan(&uid, 1, 0, &[XRAY, XRAY], Priority::Routine)).await.unwrap();
    let first = store.lease(wanted("w", &[XRAY], 60_000)).await.unwrap().unwrap();
    // Something fills the memory, to the last corner.
    let mut size = 1 << 17;
    let mut fills = 0;
    while size > 8 {
        let mut fill = redis::cmd("SET");
        fill.arg(format!("{{full}}:fill{fills}")).arg(vec![b'x'; size]);
        match on.store.runner.link.ask(&fill).await {
            Ok(_) => fills += 1,
            Err(StoreError::Full(Room::Memory)) => size /= 2,
            Err(other) => panic!("{other}"),
        }
        assert!(fills < 10_000, "the memory has no limit");
    }
    let other = study(2);
    let refused = store.add_instances(add(&other, vec![instance(&other, 1, 1)])).await;
    assert_eq!(refused, Err(StoreError::Full(Room::Memory)));
    assert_eq!(store.study(&other).await, Ok(None));
    // All that was taken on is finished: outcomes, failures, leases and the draft.
    assert_eq!(store.renew(&first.job.id, first.token, 60_000).await, Ok(()));
    assert_eq!(store.complete_job(&first.job.id, first.token, outcome(1)).await, Ok(Done::Now));
    let second = store.lease(wanted("w", &[XRAY], 60_000)).await.unwrap().unwrap();
    assert_eq!(store.fail_job(&second.job.id, second.token, "bad", Verdict::Dead).await, Ok(false));
    let merge = store.lease(wanted("m", &[JobKind::Merge], 60_000)).await.unwrap().unwrap();
    assert_eq!(store.commit_merge(&merge.job.id, merge.token, draft(1)).await, Ok(Done::Now));
    for n in 0..fills {
        on.ask(&["DEL", &format!("{{full}}:fill{n}")]).await;
    }
    assert!(store.add_instances(add(&other, vec![instance(&other, 1, 1)])).await.is_ok());
}

#[tokio::test]
async fn no_key_names_a_patient() {
    let server = Arc::new(Mutex::new(Server::start(&["--rdbcompression", "no"])));
    let on = OnServer::new(server, "names", false).await;
    let (store, uid) = (on.store(), study(1));
    let mut whole = add(&uid, vec![instance(&uid, 1, 1)]);
    whole.attributes.patient_id = "PLANTED-ID".into();
    whole.attributes.patient_name = "PLANTED^NAME".into();
    whole.attributes.accession_number = "PLANTED-ACC".into();
    store.add_instances(whole).await.unwrap();
    store.complete_studies(complete(&uid, Some("r"))).await.unwrap();
    store.plan_study(&uid, plan(&uid, 1, 0, &[XRAY], Priority::Routine)).await.unwrap();
    let query = StudyQuery { patient_id: Some("PLANTED-ID".into()), limit: 5, ..StudyQuery::default() };
    assert_eq!(store.studies(query).await.unwrap().len(), 1);
    let keys = reply::list(on.ask(&["KEYS", "*"]).await).unwrap();
    assert!(keys.len() > 8);
    for key in keys {
        let key = reply::text(&key).unwrap();
        assert!(key.starts_with("{names}:") && !key.contains("PLANTED"), "{key}");
        // Patients are in the study's record and nowhere else.
        let holds = format!("{:?}", on.ask(&["DUMP", key]).await);
        let planted = "PLANTED".bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
        assert_eq!(holds.contains(&planted) || holds.contains("PLANTED"), key == "{names}:s:1.2.1", "{key}");
    }
}

#[tokio::test]
async fn another_coordinator_hears_of_a_job() {
    let server = Arc::new(Mutex::new(Server::start(&[])));
    let (here, there) =
        (OnServer::new(server.clone(), "wake", false).await, OnServer::new(server, "wake", false).await);
    let mut wakes = there.store.wakes().unwrap();
    // The first signal says that it listens now.
    tokio::time::timeout(PATIENCE, wakes.changed()).await.unwrap().unwrap();
    let (store, uid) = (here.store(), study(1));
    store.add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
    store.complete_studies(complete(&uid, None)).await.unwrap();
    store.plan_study(&uid, plan(&uid, 1, 0, &[XRAY], Priority::Routine)).await.unwrap();
    tokio::time::timeout(PATIENCE, wakes.changed()).await.unwrap().unwrap();
    let lease = there.store().lease(wanted("w", &[XRAY], 1_000)).await.unwrap();
    assert_eq!(lease.map(|lease| (lease.job.id, Tenant::default())), Some((JobId::new(uid, 0), Tenant::default())));
}

#[tokio::test]
async fn another_coordinator_hears_that_a_worker_is_to_stop() {
    let server = Arc::new(Mutex::new(Server::start(&[])));
    let (here, there) =
        (OnServer::new(server.clone(), "order", false).await, OnServer::new(server, "order", false).await);
    let (mut orders, mut wakes) = (there.store.orders().unwrap(), there.store.wakes().unwrap());
    // The first signal says that it listens now.
    for signal in [&mut orders, &mut wakes] {
        tokio::time::timeout(PATIENCE, signal.changed()).await.unwrap().unwrap();
        signal.mark_unchanged();
    }
    let said = Heartbeat {
        worker: "w".into(),
        kinds: vec![XRAY],
        slots: 1,
        running: 0,
        model: "m".into(),
        prompts: vec!["p".into()],
        adapters: vec!["a".into()],
        software_version: "0".into(),
        process: "p".into(),
        questions: Vec::new(),
    };
    here.store().heartbeat(said).await.unwrap();
    here.store().drain_worker("w", true).await.unwrap();
    tokio::time::timeout(PATIENCE, orders.changed()).await.unwrap().unwrap();
    assert!(there.store().workers().await.unwrap()[0].0.draining);
    assert!(!wakes.has_changed().unwrap(), "it is no job");
}
