//! The coordinator's settings.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::Args;

use crate::access::SecurityConfig;
use crate::audit;
use crate::bytes::place::{Place, PlaceError};
use crate::deidentify::config::DeidentifyConfig;
use crate::dimse::scp::config::DicomConfig;
use crate::intake::complete::CompletenessRule;
use crate::partition::PartitionLimits;
use crate::queue::{IntakeLimits, RetryPolicy, Share, Shares};
use crate::retain::RetainConfig;
use crate::route::Rules;
use crate::store::redis::config::RedisConfig;
use crate::watched::Watched;
use crate::web::config::WebConfig;

/// How a coordinator is run.
#[derive(Debug, Clone, Args)]
pub struct CoordinatorConfig {
    /// Folder for studies, jobs and drafts. Made where it is missing; one coordinator at a time, unless they share a Redis.
    #[arg(long, value_name = "DIR", default_value = "prelim-data", env = "PRELIM_DATA")]
    pub data: PathBuf,
    /// Where instances and reports are kept: file:///FOLDER, or s3://BUCKET/PREFIX with the usual AWS_ variables
    /// (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP, AWS_CA_BUNDLE). Without
    /// it, a folder below --data.
    #[arg(long, value_name = "URL", env = "PRELIM_BYTES")]
    pub bytes: Option<String>,
    /// Let workers read instances from the bucket themselves, by addresses that the coordinator signs. Off by default:
    /// workers may have no way to the bucket. Those that have none still read through the coordinator.
    #[arg(long, env = "PRELIM_BYTES_DIRECT")]
    pub bytes_direct: bool,
    /// Address for gRPC: clients and workers. Loopback by default, since by default nobody signs in.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070", env = "PRELIM_GRPC", value_parser = address)]
    pub grpc: SocketAddr,
    /// Address for /metrics (Prometheus), /livez and /readyz, over plain HTTP. Not served where not given.
    #[arg(long, value_name = "ADDR", env = "PRELIM_METRICS", value_parser = address)]
    pub metrics: Option<SocketAddr>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become help text")]
    pub redis: RedisConfig,
    /// File in TOML that says who gets how much: a table [default] and tables [tenants.NAME] with weight, max_running and
    /// max_open_studies.
    #[arg(long, value_name = "FILE", env = "PRELIM_TENANTS")]
    pub tenants: Option<PathBuf>,
    /// File in TOML that says where drafts go, and where studies may be fetched: tables [[destination]] with name, address
    /// (dicom://TITLE@HOST:PORT, dicoms:// for TLS, https://HOST/dicom-web for STOW-RS, mllp://HOST:PORT or mllps:// for
    /// HL7, or fhir+https://HOST/fhir), objects, when (drafted, signed), tenants, commit and tls. Read again when it changes.
    #[arg(long, value_name = "FILE", env = "PRELIM_DESTINATIONS")]
    pub destinations: Option<PathBuf>,
    /// The organisation that radiologists sign reports for; a study's institution where not given.
    #[arg(long, value_name = "NAME", env = "PRELIM_ORGANIZATION")]
    pub organization: Option<String>,
    /// Time for open calls to end after the signal to stop, in s.
    #[arg(long, value_name = "S", default_value_t = 10, env = "PRELIM_CLOSE_S")]
    pub close_s: u64,
    /// How long a worker may be silent before its jobs are given to another, in ms.
    #[arg(long, value_name = "MS", default_value_t = 30_000, env = "PRELIM_LEASE_TTL_MS")]
    pub lease_ttl_ms: u64,
    /// A study whose sender went away is complete when nothing came for so long, in ms.
    #[arg(long, value_name = "MS", default_value_t = 60_000, env = "PRELIM_QUIET_PERIOD_MS")]
    pub quiet_period_ms: u64,
    /// A study is complete at the latest when it was received for so long, in ms, whatever still comes.
    #[arg(long, value_name = "MS", default_value_t = 3_600_000, env = "PRELIM_MAX_WAIT_MS")]
    pub max_wait_ms: u64,
    /// File in TOML that says which studies are read, how soon, and where their reports go: tables [[rule]] in order,
    /// [default] and [[completeness]]. Looked at again when it changes. Try it with `prelim route`.
    #[arg(long, value_name = "FILE", env = "PRELIM_RULES")]
    pub rules: Option<PathBuf>,
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
    pub retain: RetainConfig,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become help text")]
    pub dicom: DicomConfig,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become help text")]
    pub web: WebConfig,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become help text")]
    pub security: SecurityConfig,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become help text")]
    pub deidentify: DeidentifyConfig,
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
            bytes: None,
            bytes_direct: false,
            grpc: SocketAddr::from(([127, 0, 0, 1], 7070)),
            metrics: None,
            redis: RedisConfig::default(),
            tenants: None,
            organization: None,
            destinations: None,
            close_s: 10,
            lease_ttl_ms: 30_000,
            quiet_period_ms: 60_000,
            max_wait_ms: 3_600_000,
            rules: None,
            max_attempts: RetryPolicy::default().max_attempts,
            max_open_studies: IntakeLimits::default().max_open_studies,
            views_per_job: PartitionLimits::default().max_views_per_job,
            slab_slices: PartitionLimits::default().slab_slices,
            allow_folders: false,
            retain: RetainConfig::default(),
            dicom: DicomConfig::default(),
            web: WebConfig::default(),
            security: SecurityConfig::default(),
            deidentify: DeidentifyConfig::default(),
        }
    }
}

impl CoordinatorConfig {
    /// The audit's file: the one that is named, or where people or callers are told apart, one beside the data. Who looks at
    /// patients is then on record.
    pub fn audit(&self) -> Option<PathBuf> {
        let is_guarded = self.security.accounts.is_some() || self.security.tells_callers_apart();
        self.security.audit.clone().or_else(|| is_guarded.then(|| self.data.join(audit::FILE)))
    }

    /// Every problem, in words; empty where the settings can be used.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = self.redis.validate();
        let mut need = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        need((1_000..=3_600_000).contains(&self.lease_ttl_ms), "--lease-ttl-ms is not between 1,000 and 3,600,000");
        need(self.quiet_period_ms >= CompletenessRule::MIN_QUIET_PERIOD_MS, "--quiet-period-ms is less than 1,000");
        need(
            (self.quiet_period_ms..=CompletenessRule::MAX_MS).contains(&self.max_wait_ms),
            "--max-wait-ms is not between --quiet-period-ms and 604,800,000",
        );
        need((1..=100).contains(&self.max_attempts), "--max-attempts is not between 1 and 100");
        need(self.close_s <= 3_600, "--close-s is more than 3,600");
        need(self.max_open_studies > 0, "--max-open-studies is 0");
        let place = self.bytes_place();
        let has_addresses = !matches!(place, Ok(Place::Folder(_)));
        need(
            !self.bytes_direct || has_addresses,
            "--bytes-direct needs --bytes s3://BUCKET: a folder has no addresses",
        );
        need(
            !self.bytes_direct || self.deidentify.deidentify.is_none(),
            "--bytes-direct and --deidentify exclude each other: what lies in the bucket names patients",
        );
        need((1..=64).contains(&self.views_per_job), "--views-per-job is not between 1 and 64");
        need((1..=1_000).contains(&self.slab_slices), "--slab-slices is not between 1 and 1,000");
        problems.extend(self.security.validate());
        problems.extend(self.dicom.validate(self.security.tls_cert.is_some()));
        problems.extend(self.web.validate());
        let do_people_sign_in = self.security.accounts.is_some() || self.security.oidc_client_id.is_some();
        if let Some(path) = self.web.told_path().filter(|_| do_people_sign_in) {
            problems.push(format!(
                "--http-url has the path /{path}, and the page, to which people sign in here (--accounts, --oidc-client-id), is not served below one: give it a name or port of its own, or leave the path out; DICOMweb alone may have one"
            ));
        }
        problems.extend(self.retain.validate());
        problems.extend(place.err().map(|error| error.to_string()));
        problems
    }

    /// Where instances and reports are kept.
    pub fn bytes_place(&self) -> Result<Place, PlaceError> {
        match &self.bytes {
            Some(text) => Place::parse(text),
            None => Ok(Place::Folder(self.data.join("objects"))),
        }
    }

    /// What intake may hold for a tenant with this share.
    pub fn intake_limits(&self, share: &Share) -> IntakeLimits {
        let max_open_of_tenant = share.max_open_studies.unwrap_or(u64::MAX);
        IntakeLimits { max_open_studies: self.max_open_studies, max_open_of_tenant, ..IntakeLimits::default() }
    }

    /// Who gets how much.
    ///
    /// # Errors
    /// A sentence: the file cannot be read, or says something else.
    pub fn shares(&self) -> Result<Shares, String> {
        let Some(file) = &self.tenants else { return Ok(Shares::default()) };
        let wrong = |problem: String| format!("--tenants {}: {problem}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let shares: Shares = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if shares.tenants.values().chain([&shares.default]).any(|share| !(1..=1_000).contains(&share.weight)) {
            return Err(wrong("a weight is not between 1 and 1,000".to_owned()));
        }
        Ok(shares)
    }

    /// When studies are complete of senders that the rules do not name.
    pub fn completeness(&self) -> CompletenessRule {
        CompletenessRule {
            quiet_period_ms: self.quiet_period_ms,
            // A modality may open an association for each series, or each image.
            association_grace_ms: None,
            max_wait_ms: self.max_wait_ms,
            believes_counts: true,
            waits_for_steps: false,
        }
    }

    /// The site's rules, read again when their file changes.
    ///
    /// # Errors
    /// A sentence: the file cannot be read, or says something else.
    pub(crate) fn open_rules(&self) -> Result<Watched<Rules, String>, String> {
        let (file, default) = (self.rules.clone(), self.completeness());
        let read = move || {
            let Some(file) = &file else { return Ok(Rules::default()) };
            let wrong = |problem: String| format!("--rules {}: {problem}", file.display());
            let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
            Rules::parse(&text, default).map_err(|error| wrong(error.to_string()))
        };
        Watched::open("rules", self.rules.iter().cloned().collect(), read)
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
    use prelim_proto::ids::Tenant;

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
    fn shares_are_read_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenants.toml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            CoordinatorConfig { tenants: Some(file.clone()), ..CoordinatorConfig::default() }.shares()
        };
        let shares = read("[default]\nmax_running = 8\n[tenants.east]\nweight = 3\nmax_open_studies = 100").unwrap();
        let (east, other) = (Tenant::parse("east").unwrap(), Tenant::parse("other").unwrap());
        assert_eq!((shares.of(&east).weight, shares.of(&east).max_open_studies), (3, Some(100)));
        assert_eq!((shares.of(&other).weight, shares.of(&other).max_running), (1, Some(8)));
        for (text, says) in [("[tenant.a]", "tenant"), ("[default]\nweight = 0", "weight"), ("[tenants.A]", "tenant")] {
            assert!(read(text).unwrap_err().contains(says), "{text}");
        }
    }

    #[test]
    fn every_problem_is_told() {
        let config =
            CoordinatorConfig { lease_ttl_ms: 1, max_attempts: 0, slab_slices: 0, ..CoordinatorConfig::default() };
        assert_eq!(config.validate().len(), 3);
        let bytes = |url: Option<&str>| CoordinatorConfig {
            bytes: url.map(str::to_owned),
            bytes_direct: true,
            ..CoordinatorConfig::default()
        };
        assert_eq!(bytes(None).validate().len(), 1);
        assert_eq!(bytes(Some("file:///srv")).validate().len(), 1);
        assert_eq!(bytes(Some("ftp://host")).validate().len(), 1);
        assert_eq!(bytes(Some("s3://scans/a")).validate(), Vec::<String>::new());
    }
}
