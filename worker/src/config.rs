//! The worker's settings: flags, environment variables and help in one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use prelim_proto::demand::ModelName;

use crate::backend::DeviceChoice;
use crate::connection::ConnectionArgs;
use crate::model::WeightType;

/// Longest name of a worker that a coordinator takes.
const MAX_WORKER_ID: usize = 64;

/// What a worker is told.
#[derive(Debug, Clone, Args)]
pub struct WorkerConfig {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become help text")]
    pub connection: ConnectionArgs,

    /// Folder with a Hugging Face checkpoint (MedGemma as published). Without it the demonstration model is used.
    #[arg(long, value_name = "DIR", env = "PRELIM_MODEL")]
    pub model: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become help text")]
    pub offer: OfferConfig,

    /// Read nothing: take as long for each job as this file says, in lines of xray,MS or ct,MS. For measuring a cluster, or
    /// trying one: a line poison,END makes jobs of studies whose UID ends so abort the process. Every draft says that no
    /// image was looked at.
    #[arg(long, value_name = "FILE", env = "PRELIM_SIMULATE", conflicts_with_all = ["model", "prompts", "adapters"])]
    pub simulate: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would become help text")]
    pub limits: WorkerLimits,

    /// Address for /metrics (Prometheus), /livez and /readyz, over plain HTTP. Not served where not given.
    #[arg(long, value_name = "ADDR", env = "PRELIM_METRICS")]
    pub metrics: Option<SocketAddr>,

    /// This worker's name, unique among those that run. Without it one is made of the host's name and the process.
    #[arg(long, value_name = "NAME", env = "PRELIM_WORKER_ID")]
    pub worker_id: Option<String>,
}

/// Where an adapter is, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAdapter {
    /// Its name.
    pub name: ModelName,
    /// Its folder.
    pub folder: PathBuf,
}

impl FromStr for NamedAdapter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, folder) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=DIR"))?;
        let name = ModelName::parse(name).map_err(|error| error.to_string())?;
        if folder.is_empty() {
            Err(format!("{text:?} names no folder"))
        } else {
            Ok(Self { name, folder: folder.into() })
        }
    }
}

/// What a worker offers to the rules that say which model and prompt a study is read with.
#[derive(Debug, Clone, Default, Args)]
pub struct OfferConfig {
    /// The name by which rules choose this worker's model, and drafts name it. Without it, the name in the model's profile,
    /// or that of its folder.
    #[arg(long, value_name = "NAME", env = "PRELIM_MODEL_NAME", value_parser = ModelName::parse)]
    pub model_name: Option<ModelName>,

    /// An adapter (LoRA, in PEFT's format) beside the model, by the name by which rules choose it and drafts name it; once
    /// for each. Jobs for it and for the model are computed together.
    #[arg(long = "adapter", value_name = "NAME=DIR", env = "PRELIM_ADAPTERS", value_delimiter = ',')]
    pub adapters: Vec<NamedAdapter>,

    /// Folder with prompts, NAME.toml each, that rules can choose besides the model's own.
    #[arg(long, value_name = "DIR", env = "PRELIM_PROMPTS")]
    pub prompts: Option<PathBuf>,
}

/// How much a worker takes on at once. The defaults suit one device, or a machine of a few cores.
#[derive(Debug, Clone, Args)]
pub struct WorkerLimits {
    /// Jobs in flight at once. Their prompts share the model's passes; more than a few mainly hold memory.
    #[arg(long, value_name = "N", default_value_t = 4, env = "PRELIM_SLOTS")]
    pub slots: usize,

    /// Prompts in flight at once, over all jobs.
    #[arg(long, value_name = "N", default_value_t = 16, env = "PRELIM_BATCH")]
    pub batch: usize,

    /// New tokens in one pass of the model, in tokens. Larger passes read prompts faster and make answers that are being
    /// generated wait longer.
    #[arg(long, value_name = "N", default_value_t = 512, env = "PRELIM_PASS_TOKENS")]
    pub pass_tokens: usize,

    /// Most memory for keys and values, in MiB. Less is taken where the batch cannot use it. Without it 2048, or what this machine
    /// has beside weights and passes; on a GPU what is free beside them. Where there is not enough, the worker says so with the
    /// numbers and does not start.
    #[arg(long, value_name = "MIB", env = "PRELIM_CACHE_MIB")]
    pub cache_mib: Option<usize>,

    /// Memory for fetched instances that another job may want, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256, env = "PRELIM_OBJECT_CACHE_MIB")]
    pub object_cache_mib: usize,

    /// Where the model computes: cpu, or cuda:N for the GPU that the driver calls N. One that cannot be used is an error:
    /// nothing falls back to the CPU. A GPU keeps weights in 16 bits, f16 unless --weights bf16.
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Cpu, env = "PRELIM_DEVICE")]
    pub device: DeviceChoice,

    /// How weights are kept in memory. int8 and int4 take a half and a quarter of the memory of 16 bits, and cost accuracy:
    /// prelim logits --beside and prelim eval show how much.
    #[arg(long, value_enum, default_value_t = WeightChoice::AsStored, env = "PRELIM_WEIGHTS")]
    pub weights: WeightChoice,

    /// What factors of products are rounded to. In bf16, products with weights in 16 bits or less are faster on processors with
    /// AMX or AVX-512 BF16, and weights of bf16 are used where they lie in the file, which workers share; drafts say which it
    /// was. Weights in 32 bits are always used exactly. A GPU computes in the 16 bits of its weights, and takes no bf16 here.
    #[arg(long, value_enum, default_value_t = ArithmeticChoice::Exact, env = "PRELIM_ARITHMETIC")]
    pub arithmetic: ArithmeticChoice,

    /// Time to finish jobs after the signal to stop, in s; what is not done then is given back. 0 gives all back at once.
    #[arg(long, value_name = "S", default_value_t = 0, env = "PRELIM_DRAIN_S")]
    pub drain_s: u64,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            slots: 4,
            batch: 16,
            pass_tokens: 512,
            cache_mib: None,
            object_cache_mib: 256,
            device: DeviceChoice::Cpu,
            weights: WeightChoice::AsStored,
            arithmetic: ArithmeticChoice::Exact,
            drain_s: 0,
        }
    }
}

/// How weights are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightChoice {
    /// As the checkpoint has them.
    AsStored,
    /// In 32 bits.
    F32,
    /// In 16 bits, bfloat16.
    Bf16,
    /// Those of the decoder in 8 bits with scales, and the rest in 16.
    Int8,
    /// Those of the decoder in 4 bits with scales, and the rest in 16.
    Int4,
}

impl From<WeightChoice> for WeightType {
    fn from(choice: WeightChoice) -> Self {
        match choice {
            WeightChoice::AsStored => Self::AsStored,
            WeightChoice::F32 => Self::F32,
            WeightChoice::Bf16 => Self::Bf16,
            WeightChoice::Int8 => Self::Int8,
            WeightChoice::Int4 => Self::Int4,
        }
    }
}

/// What factors of products are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ArithmeticChoice {
    /// Nothing is rounded: products of 32-bit floats.
    Exact,
    /// Both factors, to bfloat16; sums are 32-bit floats.
    Bf16,
}

impl WorkerConfig {
    /// Every problem of the settings, in words.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |good: bool, problem: &str| {
            if !good {
                problems.push(problem.to_owned());
            }
        };
        let limits = &self.limits;
        need((1..=256).contains(&limits.slots), "--slots is not 1 to 256");
        need((1..=1024).contains(&limits.batch), "--batch is not 1 to 1024");
        need((1..=65_536).contains(&limits.pass_tokens), "--pass-tokens is not 1 to 65536");
        let is_usable = limits.cache_mib.is_none_or(|mib| (1..=1 << 20).contains(&mib));
        need(is_usable, "--cache-mib is not 1 to 1048576");
        let is_heeded = limits.device == DeviceChoice::Cpu || limits.arithmetic == ArithmeticChoice::Exact;
        need(is_heeded, "--arithmetic bf16 is for processors: a GPU computes in bf16 with --weights bf16");
        need(limits.object_cache_mib <= 1 << 20, "--object-cache-mib is above 1048576");
        let named = self.worker_id.as_ref().is_none_or(|name| (1..=MAX_WORKER_ID).contains(&name.len()));
        need(named, "--worker-id is not 1 to 64 bytes long");
        let is_plain = self.worker_id.as_ref().is_none_or(|name| !name.chars().any(char::is_control));
        need(is_plain, "--worker-id has a control character");
        problems.extend(self.connection.validate());
        problems
    }

    /// This worker's name.
    pub fn name(&self) -> String {
        self.worker_id.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let host: String = host.trim().chars().filter(char::is_ascii).take(32).collect();
            let host = if host.is_empty() { "worker".to_owned() } else { host };
            format!("{host}-{}-{:08x}", std::process::id(), crate::retry::entropy() as u32)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_are_those_of_the_flags_and_are_valid() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            config: WorkerConfig,
        }
        let config = <Line as clap::Parser>::parse_from(["worker"]).config;
        assert_eq!(format!("{:?}", config.limits), format!("{:?}", WorkerLimits::default()));
        assert_eq!(config.validate(), Vec::<String>::new());
        assert!(config.name().len() <= MAX_WORKER_ID);
        assert_ne!(config.name(), config.name());
    }

    #[test]
    fn every_problem_is_told() {
        let (device, arithmetic) = (DeviceChoice::Cuda(0), ArithmeticChoice::Bf16);
        let limits = WorkerLimits { slots: 0, batch: 0, device, arithmetic, ..WorkerLimits::default() };
        let mut config = WorkerConfig {
            connection: ConnectionArgs::to(" "),
            model: None,
            offer: OfferConfig::default(),
            simulate: None,
            limits,
            metrics: None,
            worker_id: None,
        };
        assert_eq!(config.validate().len(), 4);
        config.limits.device = DeviceChoice::Cpu;
        config.worker_id = Some("a\u{1b}[31m".to_owned());
        assert!(config.validate().contains(&"--worker-id has a control character".to_owned()));
        config.worker_id = None;
        assert_eq!(config.validate().len(), 3, "bf16 on a processor");
    }
}
