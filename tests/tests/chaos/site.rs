//! A site: Redis, two coordinators that share it, and workers, each on a host of its own.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use prelim_coordinator::store::redis::config::RedisConfig;
use prelim_coordinator::store::redis::{RedisOptions, RedisStore};
use prelim_tests::{binary, prelim, words};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::network::Network;
use crate::program::{Program, Recipe};
use crate::schedule::Role;

/// Coordinators of every site.
pub(crate) const COORDINATORS: usize = 2;
/// How long anything may take that must come. Generous: machines are slow now and then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// What a site is like.
pub(crate) struct Plan {
    /// How long a worker may be silent.
    pub(crate) lease_ttl_ms: u64,
    /// Attempts at a job.
    pub(crate) max_attempts: u32,
    /// How many workers.
    pub(crate) workers: usize,
    /// Jobs of a worker at once.
    pub(crate) slots: usize,
    /// The lines of the file with the workers' times.
    pub(crate) times: &'static str,
    /// Variables of every process on a host, by the host's name.
    pub(crate) variables: fn(&Path, &str) -> Vec<(String, String)>,
}

impl Default for Plan {
    fn default() -> Self {
        let variables = |_: &Path, _: &str| Vec::new();
        Self { lease_ttl_ms: 1_000, max_attempts: 4, workers: 2, slots: 2, times: "xray,50\nxray,150", variables }
    }
}

/// A running site.
pub(crate) struct Site {
    /// The server of the store.
    pub(crate) redis: Program,
    /// The coordinators.
    pub(crate) coordinators: Vec<Program>,
    /// The workers; half of them ask one coordinator, half the other.
    pub(crate) workers: Vec<Program>,
    /// For clients.
    pub(crate) runtime: Runtime,
    work: TempDir,
    _network: Network,
    // Released last.
    _turn: MutexGuard<'static, ()>,
}

impl Site {
    /// Builds a site and starts Redis and the coordinators; the workers start with [`Site::start_workers`].
    pub(crate) fn new(plan: &Plan) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (network, work) = (Network::new(), tempfile::tempdir().expect("a folder"));
        let folder = work.path();
        let path = |name: &str| folder.join(name).display().to_string();
        std::fs::write(folder.join("times"), plan.times).expect("a file");
        std::fs::create_dir(folder.join("redis")).expect("a folder");
        std::fs::create_dir(folder.join("bytes")).expect("a folder");
        let variables = |name: &str| {
            let log = [("PRELIM_LOG", "info"), ("PRELIM_LOG_JSON", "true")];
            let log = log.map(|(name, value)| (name.to_owned(), value.to_owned()));
            log.into_iter().chain((plan.variables)(folder, name)).collect()
        };
        let program = |name: &str, number: u8, program: String, arguments: Vec<String>| {
            let recipe = Recipe { program, arguments, variables: variables(name) };
            Program::new(name, network.host(number), recipe, folder)
        };
        let arguments = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();

        let settings = "--bind 0.0.0.0 --protected-mode no --appendonly yes --appendfsync always \
                        --maxmemory-policy noeviction --save";
        let more = vec![String::new(), "--dir".to_owned(), path("redis")];
        let settings = arguments(settings).into_iter().chain(more).collect();
        let redis = program("redis", 2, "redis-server".to_owned(), settings);
        let prelim = binary().display().to_string();
        let coordinators: Vec<Program> = (0..COORDINATORS)
            .map(|number| {
                let name = format!("coordinator-{number}");
                let flags = format!(
                    "coordinator --json --grpc 0.0.0.0:7070 --redis redis://{} --bytes file://{} --data {} \
                     --lease-ttl-ms {} --quiet-period-ms 2000 --max-attempts {} --views-per-job 1 --close-s 5",
                    redis.host.address,
                    path("bytes"),
                    path(&name),
                    plan.lease_ttl_ms,
                    plan.max_attempts,
                );
                program(&name, 3 + number as u8, prelim.clone(), arguments(&flags))
            })
            .collect();
        let workers = (0..plan.workers)
            .map(|number| {
                let name = format!("worker-{number}");
                let coordinator = &coordinators[number % COORDINATORS].host.address;
                let flags = format!(
                    "worker --json --grpc {coordinator}:7070 --simulate {} --slots {} --worker-id {name}",
                    path("times"),
                    plan.slots,
                );
                program(&name, 10 + number as u8, prelim.clone(), arguments(&flags))
            })
            .collect();
        let runtime = Runtime::new().expect("a runtime");
        let mut site = Self { redis, coordinators, workers, runtime, work, _network: network, _turn: turn };
        site.redis.start();
        site.wait_for("Redis to answer", |site| site.redis_answers());
        for coordinator in &mut site.coordinators {
            coordinator.start();
        }
        site.wait_for("the coordinators to answer", |site| site.coordinators_answer());
        site
    }

    /// Starts the workers that do not run.
    pub(crate) fn start_workers(&mut self) {
        self.workers.iter_mut().for_each(Program::start);
    }

    /// Writes the file with the workers' times anew; workers that start read it.
    pub(crate) fn write_times(&self, text: &str) {
        std::fs::write(self.work.path().join("times"), text).expect("a file");
    }

    /// Where logs, offsets of clocks and the like lie.
    pub(crate) fn folder(&self) -> &Path {
        self.work.path()
    }

    /// One of them.
    pub(crate) fn program(&mut self, role: Role, number: usize) -> &mut Program {
        match role {
            Role::Redis => &mut self.redis,
            Role::Coordinator => &mut self.coordinators[number],
            Role::Worker => &mut self.workers[number],
        }
    }

    /// All of them.
    pub(crate) fn programs(&mut self) -> impl Iterator<Item = &mut Program> {
        std::iter::once(&mut self.redis).chain(&mut self.coordinators).chain(&mut self.workers)
    }

    /// The addresses of the coordinators.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.coordinators.iter().map(|coordinator| format!("{}:7070", coordinator.host.address)).collect()
    }

    /// The logs.
    pub(crate) fn logs(&mut self) -> Vec<PathBuf> {
        self.programs().map(|program| program.log.clone()).collect()
    }

    /// Runs a client command of `prelim` against the first coordinator.
    pub(crate) fn prelim(&self, arguments: &[&str]) -> Output {
        let address = &self.addresses()[0];
        prelim(arguments.iter().copied().chain(["--grpc", address]))
    }

    /// The same, and its output as JSON.
    pub(crate) fn prelim_json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.prelim(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&output)))
    }

    /// Asks Redis something.
    pub(crate) fn redis_cli(&self, arguments: &[&str]) -> String {
        let mut command = self.redis.host.command("redis-cli");
        let output = command.args(arguments).output().expect("ip netns exec starts");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Whether Redis is there and has read its files.
    pub(crate) fn redis_answers(&self) -> bool {
        self.redis_cli(&["ping"]) == "PONG"
    }

    /// Whether every coordinator takes calls.
    pub(crate) fn coordinators_answer(&self) -> bool {
        self.addresses().iter().all(|address| prelim(["studies", "--limit", "1", "--grpc", address]).status.success())
    }

    /// The store, opened beside the coordinators.
    pub(crate) fn store(&self) -> RedisStore {
        let url = Some(format!("redis://{}", self.redis.host.address));
        let config = RedisConfig { url, ..RedisConfig::default() };
        let options: RedisOptions = config.options().expect("an address").expect("a Redis");
        self.runtime.block_on(RedisStore::open(&options)).expect("Redis answers")
    }

    /// Waits until `holds`, and looks after processes meanwhile.
    ///
    /// # Panics
    /// Where it takes longer than [`PATIENCE`].
    pub(crate) fn wait_for(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}; see {}", self.folder().display());
            self.programs().for_each(Program::look_after);
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The logs are what a failure is understood from.
            self.work.disable_cleanup(true);
        }
    }
}
