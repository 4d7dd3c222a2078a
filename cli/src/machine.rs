//! What this machine is, and how much memory our processes hold.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The processor and its cores, in words.
pub(crate) fn processor() -> String {
    let name = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{name}, {cores} cores")
}

/// A line of `/proc/meminfo`, in GiB.
pub(crate) fn memory_gib(name: &str) -> Option<f64> {
    Some(kib("/proc/meminfo", name)? as f64 / f64::from(1 << 20))
}

/// The processor time that a process used so far, in s; none where the system does not say, or it is gone.
pub(crate) fn cpu_s(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which is in brackets and may hold anything: state, then eleven numbers, then user and system time.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// The most memory that this process and its children hold at once, while it is watched.
pub(crate) struct MemoryWatch {
    stopped: Arc<AtomicBool>,
    peak_kib: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

impl MemoryWatch {
    /// Begins to look.
    pub(crate) fn start() -> Self {
        let (stopped, peak_kib) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, peak) = (Arc::clone(&stopped), Arc::clone(&peak_kib));
        let looking = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(resident_kib(), Ordering::Relaxed);
                thread::sleep(LOOK);
            }
        });
        Self { stopped, peak_kib, looking }
    }

    /// Stops looking. The most that was seen, in MiB; none where the system does not say.
    pub(crate) fn stop(self) -> Option<f64> {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = self.looking.join();
        let peak = self.peak_kib.load(Ordering::Relaxed);
        (peak > 0).then(|| peak as f64 / 1024.0)
    }
}

/// Memory of this process and its children, in KiB.
fn resident_kib() -> u64 {
    let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children: String = tasks.map(children).collect();
    let all = children.split_whitespace().chain(["self"]);
    all.filter_map(|process| kib(Path::new("/proc").join(process).join("status"), "VmRSS")).sum()
}

/// The number on the line `name : … kB` of a file of the system's.
fn kib(path: impl AsRef<Path>, name: &str) -> Option<u64> {
    field(path, name)?.split_whitespace().next()?.parse().ok()
}

/// The value of the first line `name : value` of a file of the system's.
fn field(path: impl AsRef<Path>, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
