//! Coordinators as processes of their own on this machine, as in a cluster, for measuring.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use prelim_coordinator::store::redis::config::RedisConfig;
use tempfile::TempDir;

use crate::machine;

/// A folder in memory, where the system has one.
const IN_MEMORY: &str = "/dev/shm";

/// Running coordinators that share a Redis. They end when this is dropped.
pub(crate) struct Coordinators {
    processes: Vec<(Child, String)>,
    _data: TempDir,
}

/// Processor time, in s.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuTimes {
    pub(crate) redis_s: f64,
    pub(crate) coordinators_s: f64,
    pub(crate) own_s: f64,
}

impl CpuTimes {
    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            redis_s: self.redis_s - before.redis_s,
            coordinators_s: self.coordinators_s - before.coordinators_s,
            own_s: self.own_s - before.own_s,
        }
    }
}

impl Coordinators {
    /// Starts `count` coordinators on the server and prefix of `redis`, with as many threads together as there are cores.
    /// They keep what they store below `data`; without it, in memory where that can be had.
    pub(crate) async fn start(count: u32, redis: &RedisConfig, data: Option<&Path>) -> anyhow::Result<Self> {
        let data = match data {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir_in(IN_MEMORY).or_else(|_| tempfile::tempdir()),
        };
        let data = data.context("no folder for the coordinators")?;
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let mut started = Self { processes: Vec::new(), _data: data };
        for number in 0..count {
            let folder = started._data.path().join(number.to_string());
            let mut command = Command::new(std::env::current_exe().context("the path of this program is not known")?);
            command.args(["coordinator", "--json", "--grpc", "127.0.0.1:0", "--data"]).arg(folder);
            command.args(["--redis-prefix", &redis.prefix]);
            command.env("TOKIO_WORKER_THREADS", cores.div_ceil(count).to_string());
            // By the environment: what is on a command line, others see.
            let settings = [
                ("PRELIM_REDIS", redis.url.clone()),
                ("PRELIM_REDIS_USERNAME", redis.username.clone()),
                ("PRELIM_REDIS_PASSWORD", redis.password.clone()),
                ("PRELIM_REDIS_CA", redis.ca.as_ref().map(|file| file.display().to_string())),
                ("PRELIM_REDIS_CERT", redis.cert.as_ref().map(|file| file.display().to_string())),
                ("PRELIM_REDIS_KEY", redis.key.as_ref().map(|file| file.display().to_string())),
            ];
            command.envs(settings.into_iter().filter_map(|(name, value)| Some((name, value?))));
            let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
            let mut line = String::new();
            let stdout = process.stdout.take().context("a coordinator without an output")?;
            BufReader::new(stdout).read_line(&mut line)?;
            let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let address = ready["grpc"].as_str().unwrap_or_default().to_owned();
            started.processes.push((process, address.clone()));
            anyhow::ensure!(!address.is_empty(), "a coordinator did not start; its reason is above");
        }
        Ok(started)
    }

    /// The address of the coordinator whose turn it is.
    pub(crate) fn address(&self, number: u32) -> String {
        self.processes[number as usize % self.processes.len()].1.clone()
    }

    /// The processor time that all of them used so far, in s.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.processes.iter().filter_map(|(process, _)| machine::cpu_s(process.id())).sum()
    }
}

impl Drop for Coordinators {
    fn drop(&mut self) {
        for (process, _) in &mut self.processes {
            // Already ended is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
