//! `prelim doctor`: what this machine has.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use prelim_kernels::{Backend, Cuda, DeviceError, Precision};
use prelim_worker::config::OfferConfig;
use prelim_worker::memory::HostMemory;
use serde::Serialize;

use crate::machine;
use crate::stack;
use crate::table;

/// Free space below which a store is soon full, in bytes.
const LITTLE_SPACE_BYTES: u64 = 5 << 30;

/// Say what this machine has, and what stands in the way.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim doctor\n  prelim doctor --model ~/models/medgemma-4b-it --json")]
pub(crate) struct Doctor {
    /// A Hugging Face checkpoint folder to look at; the demonstration model where not given.
    #[arg(long, value_name = "DIR", env = "PRELIM_MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    offer: OfferConfig,
    /// The data folder to look at.
    #[arg(long, value_name = "DIR", default_value = stack::DEFAULT_DATA, env = "PRELIM_DATA")]
    data: PathBuf,
    /// The gRPC address to look at.
    #[arg(long, value_name = "ADDR", default_value = stack::DEFAULT_GRPC, env = "PRELIM_GRPC", value_parser = prelim_coordinator::config::address)]
    grpc: SocketAddr,
    /// For programs: a JSON array.
    #[arg(long)]
    json: bool,
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Good,
    Note,
    Bad,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    health: Health,
    found: String,
}

impl Check {
    fn new(what: &'static str, health: Health, found: impl Into<String>) -> Self {
        Self { what, health, found: found.into() }
    }
}

impl Doctor {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let checks =
            vec![cpu(), memory(), gpu(), model(self.model.as_deref(), self.offer), port(self.grpc), store(&self.data)];
        let bad = checks.iter().filter(|check| check.health == Health::Bad).count();
        if self.json {
            table::say(serde_json::to_string_pretty(&checks)?)?;
        } else {
            let mut rows = table::new(&["", "", "Found"]);
            for check in &checks {
                let mark = match check.health {
                    Health::Good => "ok",
                    Health::Note => "note",
                    Health::Bad => "PROBLEM",
                };
                rows.add_row([check.what, mark, &check.found]);
            }
            table::say(rows)?;
        }
        anyhow::ensure!(bad == 0, "{bad} of {} checks found a problem", checks.len());
        Ok(())
    }
}

/// The processor, and what the kernels can use of it.
fn cpu() -> Check {
    let processor = machine::processor();
    let features = cpu_features();
    let (health, listed) = if features.is_empty() {
        (Health::Note, "none that the kernels know: slow".to_owned())
    } else {
        (Health::Good, features.join(" "))
    };
    Check::new("CPU", health, format!("{processor}; vector features: {listed}"))
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! look { ($($name:tt)*) => { $(if std::arch::is_x86_feature_detected!($name) { found.push($name); })* } }
    look!("avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vnni" "avx512bf16");
    found
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! look { ($($name:tt)*) => { $(if std::arch::is_aarch64_feature_detected!($name) { found.push($name); })* } }
    look!("neon" "fp16" "bf16" "dotprod");
    found
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<&'static str> {
    Vec::new()
}

/// Memory in all, and free, of what is the first to end: this machine, its container, or a limit of the process.
fn memory() -> Check {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    match HostMemory::read() {
        Some(HostMemory { free_bytes, total_bytes, bound }) => {
            let found = format!("{:.1} GiB, {:.1} GiB free, of {bound}", gib(total_bytes), gib(free_bytes));
            Check::new("Memory", Health::Good, found)
        }
        None => Check::new("Memory", Health::Note, "the system does not say"),
    }
}

/// Graphics processors that the model could compute on.
fn gpu() -> Check {
    match Cuda::count() {
        Err(DeviceError::NoDriver) | Ok(0) => Check::new("GPU", Health::Good, "none; the CPU computes"),
        Err(error) => Check::new("GPU", Health::Note, error.to_string()),
        Ok(count) => Check::new("GPU", Health::Note, gpus((0..count).map(described_gpu).collect())),
    }
}

/// What the driver finds, a GPU a line, and whether any of them can be used.
fn gpus(described: Vec<Result<String, DeviceError>>) -> String {
    let usable = if described.iter().any(Result::is_ok) {
        "used with --device cuda:N (our kernels have not yet run on a GPU: see kernels/README.md)"
    } else {
        "none that can be used; the CPU computes"
    };
    let line = |(ordinal, gpu): (usize, Result<String, DeviceError>)| {
        gpu.unwrap_or_else(|error| format!("cuda:{ordinal} cannot be used: {error}"))
    };
    let lines = described.into_iter().enumerate().map(line).chain([usable.to_owned()]);
    lines.collect::<Vec<_>>().join("\n")
}

fn described_gpu(ordinal: usize) -> Result<String, DeviceError> {
    let cuda = Cuda::open(ordinal, Precision::default())?;
    let memory = cuda.memory()?;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    Ok(format!("{}, {:.1} of {:.1} GiB free", cuda.name(), gib(memory.free_bytes), gib(memory.total_bytes)))
}

/// The model: whether it is whole, and what it is.
fn model(folder: Option<&Path>, offer: OfferConfig) -> Check {
    match stack::describe_model(folder, offer) {
        Ok(found) => Check::new("Model", Health::Good, found),
        Err(error) => Check::new("Model", Health::Bad, format!("{error:#}")),
    }
}

/// Whether the port is free, or a coordinator answers there.
fn port(address: SocketAddr) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::new("Port", Health::Good, format!("{address} is free")),
        Err(_) if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() => {
            Check::new("Port", Health::Note, format!("{address} is in use: a coordinator may be running"))
        }
        Err(error) => {
            Check::new("Port", Health::Bad, format!("{address} cannot be used: {error}; choose another with --grpc"))
        }
    }
}

/// Whether the data folder can be written, and the space left.
fn store(data: &Path) -> Check {
    let nearest = data.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let place = if data.is_dir() { data.display().to_string() } else { format!("{} (not made yet)", data.display()) };
    if let Err(error) = tempfile::NamedTempFile::new_in(nearest) {
        return Check::new(
            "Store",
            Health::Bad,
            format!("{place} cannot be written: {error}; choose another with --data"),
        );
    }
    match rustix::fs::statvfs(nearest) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let health = if free < LITTLE_SPACE_BYTES { Health::Note } else { Health::Good };
            Check::new("Store", health, format!("{place}, {:.1} GiB free", free as f64 / f64::from(1 << 30)))
        }
        Err(error) => Check::new("Store", Health::Note, format!("{place}; free space unknown: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_cannot_be_used_is_not_offered() {
        let old = || {
            let (name, found) = ("Tesla T4".to_owned(), "7.5".to_owned());
            Err(DeviceError::Architecture { name, found, needed: "8.0" })
        };
        let told = gpus(vec![old()]);
        assert!(told.starts_with("cuda:0 cannot be used: Tesla T4 is of compute capability 7.5"), "{told}");
        assert!(told.ends_with("\nnone that can be used; the CPU computes"), "{told}");
        let told = gpus(vec![old(), Ok("cuda:1 (A10, sm_86, f16), 21.9 of 22.0 GiB free".to_owned())]);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 3, "{told}");
        assert!(lines[1].starts_with("cuda:1 (A10") && lines[2].starts_with("used with --device cuda:N"), "{told}");
    }
}
