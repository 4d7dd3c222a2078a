//! How much memory this machine has for the process: all limits that would end it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What limits memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// What is built in.
    Machine,
    /// A control group's limit: a container's.
    Group,
    /// A limit of the process: `ulimit -v`, `ulimit -d`.
    Process,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Machine => "this machine",
            Bound::Group => "this container (its control group)",
            Bound::Process => "this process (ulimit)",
        })
    }
}

/// Memory of the host, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostMemory {
    /// What can be taken: what nobody has, and what the system gives back when it is asked.
    pub free_bytes: u64,
    /// All.
    pub total_bytes: u64,
    /// What is the first to end.
    pub bound: Bound,
}

impl HostMemory {
    /// The narrowest limit. None where the system tells none as Linux does.
    pub fn read() -> Option<Self> {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Option<Self> {
        let all = machine(root).into_iter().chain(groups(root)).chain(process(root));
        all.min_by_key(|memory| memory.free_bytes)
    }
}

fn machine(root: &Path) -> Option<HostMemory> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let bytes = |name| Some(field(&text, name)? << 10);
    Some(HostMemory { free_bytes: bytes("MemAvailable:")?, total_bytes: bytes("MemTotal:")?, bound: Bound::Machine })
}

/// The control groups that the process is in, and those around them, in both versions.
fn groups(root: &Path) -> Vec<HostMemory> {
    let lines = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounts = root.join("sys/fs/cgroup");
    let mut found = Vec::new();
    for line in lines.lines() {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { continue };
        let (mount, files) = match controllers {
            "" => (mounts.clone(), &V2),
            _ if controllers.split(',').any(|name| name == "memory") => (mounts.join("memory"), &V1),
            _ => continue,
        };
        // A container sees its own group as the root of the mount, whatever its path is outside.
        let inner = mount.join(path.trim_start_matches('/'));
        let around: Vec<PathBuf> =
            inner.ancestors().take_while(|at| at.starts_with(&mount)).map(Path::to_owned).collect();
        found.extend(around.iter().filter_map(|at| files.read(at)));
    }
    found
}

/// How a version of control groups calls its files.
struct GroupFiles {
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`: what is read from files, which the system gives back.
    cached: [&'static str; 2],
}

const V2: GroupFiles =
    GroupFiles { limit: "memory.max", used: "memory.current", cached: ["inactive_file", "active_file"] };
const V1: GroupFiles = GroupFiles {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: ["total_inactive_file", "total_active_file"],
};

impl GroupFiles {
    fn read(&self, folder: &Path) -> Option<HostMemory> {
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        // Without a limit it is a word, or more than any machine has.
        let limit = number(self.limit).filter(|limit| *limit < 1 << 60)?;
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cached: u64 = self.cached.iter().filter_map(|name| field(&stat, name)).sum();
        let used = number(self.used)?.saturating_sub(cached);
        Some(HostMemory { free_bytes: limit.saturating_sub(used), total_bytes: limit, bound: Bound::Group })
    }
}

fn process(root: &Path) -> Vec<HostMemory> {
    let read = |name| fs::read_to_string(root.join("proc/self").join(name)).unwrap_or_default();
    let (limits, status) = (read("limits"), read("status"));
    let bounds = [("Max address space", "VmSize:"), ("Max data size", "VmData:")];
    let bound = |(limit, used): (&str, &str)| {
        let limit = field(&limits, limit)?;
        let used = field(&status, used)? << 10;
        Some(HostMemory { free_bytes: limit.saturating_sub(used), total_bytes: limit, bound: Bound::Process })
    };
    bounds.into_iter().filter_map(bound).collect()
}

/// The number behind a name at the begin of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let behind = |line: &str| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok();
    text.lines().find_map(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MEMINFO: &str = "MemTotal:       25165824 kB\nMemFree:         1048576 kB\nMemAvailable:   20971520 kB\n";
    const UNLIMITED: &str = "Max data size             unlimited            unlimited            bytes\n\
         Max address space         unlimited            unlimited            bytes\n";

    fn found(files: &[(&str, &str)]) -> Option<HostMemory> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        HostMemory::below(root.path())
    }

    fn of(free: u64, total: u64, bound: Bound) -> Option<HostMemory> {
        Some(HostMemory { free_bytes: free, total_bytes: total, bound })
    }

    #[test]
    fn a_machine_without_limits_has_what_it_can_give() {
        let files = [("proc/meminfo", MEMINFO), ("proc/self/limits", UNLIMITED), ("proc/self/cgroup", "0::/a.slice\n")];
        assert_eq!(found(&files), of(20 * GIB, 24 * GIB, Bound::Machine));
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn the_narrowest_group_counts_and_what_it_has_of_files_is_free() {
        let group = "sys/fs/cgroup/pods/one";
        let (limit, used, stat) =
            (format!("{group}/memory.max"), format!("{group}/memory.current"), format!("{group}/memory.stat"));
        let files = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/pods/one/worker\n"),
            (&limit, "8589934592\n"),
            (&used, "6442450944\n"),
            (&stat, "anon 1073741824\ninactive_file 3221225472\nactive_file 1073741824\n"),
            ("sys/fs/cgroup/pods/memory.max", "max\n"),
            ("sys/fs/cgroup/pods/memory.current", "6442450944\n"),
        ];
        assert_eq!(found(&files), of(6 * GIB, 8 * GIB, Bound::Group));
    }

    #[test]
    fn groups_of_the_first_version_are_known() {
        let files = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/outside/its/name\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1610612736\n"),
            ("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 536870912\n"),
        ];
        assert_eq!(found(&files), of(GIB, 2 * GIB, Bound::Group));
    }

    #[test]
    fn a_limit_of_the_process_counts() {
        let limits = "Max address space         4294967296           unlimited            bytes\n";
        let files = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/limits", limits),
            ("proc/self/status", "VmSize:\t 1048576 kB\nVmData:\t 500 kB\n"),
        ];
        assert_eq!(found(&files), of(3 * GIB, 4 * GIB, Bound::Process));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_some() {
        let memory = HostMemory::read().unwrap();
        assert!(memory.total_bytes > 1 << 26 && memory.free_bytes <= memory.total_bytes, "{memory:?}");
    }
}
