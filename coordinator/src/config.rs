//! The coordinator's settings.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::Args;

use crate::access::SecurityConfig;
use crate::partition::PartitionLimits;
use crate::queue::{IntakeLimits, RetryPolicy};

/// How a coordinator is run.
#[derive(Debug, Clone, Args)]
pub struct CoordinatorConfig {
    /// Folder for studies, jobs and drafts. Made where it is missing; one coordinator at a time.
    #[arg(long, value_name = "DIR", default_value = "prelim-data", env = "PRELIM_DATA")]
    pub data: PathBuf,
    /// Address for gRPC: clients and workers. Loopback by default, since by default nobody signs in.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070", env = "PRELIM_GRPC", value_parser = address)]
    pub grpc: SocketAddr,
    /// How long a worker may be silent before its jobs are given to another, in ms.
    #[arg(long, value_name = "MS", default_value_t = 30_000, env = "PRELIM_LEASE_TTL_MS")]
    pub lease_ttl_ms: u64,
    /// A study whose sender went away is complete when nothing came for so long, in ms.
    #[arg(long, value_name = "MS", default_value_t = 60_000, env = "PRELIM_QUIET_PERIOD_MS")]
    pub quiet_period_ms: u64,
    /// Attempts at a job before it is given up.
    #[arg(long, value_name = "N", default_value_t = RetryPolicy::default().max_attempts, env = "PRELIM_MAX_ATTEMPTS")]
    pub max_attempts: u32,
    /// Studies that may wait or be read at once; more are refused until some are done.
    #[arg(long, value_name = "N", default_value_t = IntakeLimits::default().max_open_studies, env = "PRELIM_MAX_OPEN_STUDIES")]
    pub max_open_studies: u64,
    /// X-ray views that one job shows together.
    #[arg(long, value_name = "N", default_value_t = PartitionLimits::default().max_views_per_job, env = "PRELIM_VIEWS_PER_JOB")]
    pub views_per_job: usize,
    /// CT slices that one job reads.
    #[arg(long, value_name = "N", default_value_t = PartitionLimits::default().slab_slices, env = "PRELIM_SLAB_SLICES")]
    pub slab_slices: usize,
    /// Let clients on this machine submit folders by name instead of sending the files.
    #[arg(long, env = "PRELIM_ALLOW_FOLDERS")]
    pub allow_folders: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become help text")]
    pub security: SecurityConfig,
}

/// An address to serve on, as `HOST:PORT`; a name stands for the first address that it has.
///
/// # Errors
/// A sentence that names what was given.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let usage = "give HOST:PORT, for example 127.0.0.1:7070";
    let found =
        text.to_socket_addrs().map_err(|error| format!("{text:?} is no address to serve on ({error}); {usage}"));
    found?.next().ok_or_else(|| format!("{text:?} has no address; {usage}"))
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            data: "prelim-data".into(),
            grpc: SocketAddr::from(([127, 0, 0, 1], 7070)),
            lease_ttl_ms: 30_000,
            quiet_period_ms: 60_000,
            max_attempts: RetryPolicy::default().max_attempts,
            max_open_studies: IntakeLimits::default().max_open_studies,
            views_per_job: PartitionLimits::default().max_views_per_job,
            slab_slices: PartitionLimits::default().slab_slices,
            allow_folders: false,
            security: SecurityConfig::default(),
        }
    }
}

impl CoordinatorConfig {
    /// Every problem, in words; empty where the settings can be used.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        need((1_000..=3_600_000).contains(&self.lease_ttl_ms), "--lease-ttl-ms is not between 1,000 and 3,600,000");
        need(self.quiet_period_ms >= 1_000, "--quiet-period-ms is less than 1,000");
        need((1..=100).contains(&self.max_attempts), "--max-attempts is not between 1 and 100");
        need(self.max_open_studies > 0, "--max-open-studies is 0");
        need((1..=64).contains(&self.views_per_job), "--views-per-job is not between 1 and 64");
        need((1..=1_000).contains(&self.slab_slices), "--slab-slices is not between 1 and 1,000");
        problems.extend(self.security.validate());
        problems
    }

    /// What intake may hold.
    pub fn intake_limits(&self) -> IntakeLimits {
        IntakeLimits { max_open_studies: self.max_open_studies, ..IntakeLimits::default() }
    }

    /// How studies are cut up.
    pub fn partition_limits(&self) -> PartitionLimits {
        PartitionLimits {
            max_views_per_job: self.views_per_job,
            slab_slices: self.slab_slices,
            ..PartitionLimits::default()
        }
    }

    /// When failed attempts are made again.
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy { max_attempts: self.max_attempts, ..RetryPolicy::default() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        config: CoordinatorConfig,
    }

    #[test]
    fn the_defaults_are_those_of_the_flags_and_are_valid() {
        let config = Line::parse_from(["coordinator"]).config;
        assert_eq!(format!("{config:?}"), format!("{:?}", CoordinatorConfig::default()));
        assert_eq!(config.validate(), Vec::<String>::new());
    }

    #[test]
    fn an_address_may_be_a_name() {
        assert!(address("localhost:7070").unwrap().ip().is_loopback());
        assert!(address("127.0.0.1").unwrap_err().contains("HOST:PORT"));
    }

    #[test]
    fn every_problem_is_told() {
        let config =
            CoordinatorConfig { lease_ttl_ms: 1, max_attempts: 0, slab_slices: 0, ..CoordinatorConfig::default() };
        assert_eq!(config.validate().len(), 3);
    }
}
