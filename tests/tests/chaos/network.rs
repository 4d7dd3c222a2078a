//! Hosts of their own on this machine: a network namespace each, on one switch, with a cable that can be cut or slowed.

use std::process::{self, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use prelim_tests::words;

/// Namespaces of these checks begin with this, then the process that made them, the network and the host.
const NAMESPACE: &str = "prelim-chaos-";
/// Links begin with this, then the same numbers; a name has at most 15 bytes.
const LINK: &str = "pc";
/// Addresses for benchmarks of networks (RFC 2544): nobody's real network has them.
const NETWORK: &str = "198.18";
/// What one host sees of a slow link: a tenth of a second for a small call, more for several.
const SLOW: &str = "rate 64kbit burst 3kb latency 5s";

/// A switch of a run. It goes when this is dropped.
pub(crate) struct Network {
    bridge: String,
    /// The process and the number of this network, as they stand in names.
    id: (u32, u32),
}

impl Network {
    /// Makes a switch. What was left by runs that were killed is removed first.
    ///
    /// # Panics
    /// Where this machine does not permit it, with what is missing.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_stale();
        let id = (process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let bridge = format!("{LINK}{}n{}", id.0, id.1);
        let network = Self { bridge, id };
        let bridge = &network.bridge;
        ip(&format!("link add {bridge} type bridge"));
        ip(&format!("addr add {}/24 dev {bridge}", network.address(1)));
        ip(&format!("link set {bridge} up"));
        network
    }

    fn address(&self, host: u8) -> String {
        format!("{NETWORK}.{}.{host}", self.id.0 % 250)
    }

    /// Adds a host; numbers from 2.
    pub(crate) fn host(&self, number: u8) -> Host {
        let namespace = format!("{NAMESPACE}{}-{}-{number}", self.id.0, self.id.1);
        let link = format!("{}h{number}", self.bridge);
        ip(&format!("netns add {namespace}"));
        let host = Host { namespace, link, address: self.address(number) };
        let Host { namespace, link, address } = &host;
        ip(&format!("link add {link} type veth peer name eth0 netns {namespace}"));
        ip(&format!("link set {link} master {} up", self.bridge));
        ip(&format!("-n {namespace} link set lo up"));
        ip(&format!("-n {namespace} addr add {address}/24 dev eth0"));
        ip(&format!("-n {namespace} link set eth0 up"));
        host
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = run("ip", &format!("link del {}", self.bridge));
    }
}

/// A host. Its processes, its namespace and its cable go when this is dropped.
pub(crate) struct Host {
    namespace: String,
    link: String,
    /// Its address.
    pub(crate) address: String,
}

impl Host {
    /// A command that runs `program` on this host.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }

    /// Pulls its cable.
    pub(crate) fn cut(&self) {
        ip(&format!("link set {} down", self.link));
    }

    /// Puts the cable in again.
    pub(crate) fn join(&self) {
        ip(&format!("link set {} up", self.link));
    }

    /// Makes what is sent to it trickle.
    pub(crate) fn slow(&self) {
        must("tc", &format!("qdisc add dev {} root tbf {SLOW}", self.link));
    }

    /// Ends that.
    pub(crate) fn hasten(&self) {
        must("tc", &format!("qdisc del dev {} root", self.link));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = run("ip", &format!("link del {}", self.link));
        remove_namespace(&self.namespace);
    }
}

/// Removes what runs left behind that were killed.
fn remove_stale() {
    let is_stale = |numbers: &str| {
        let made_by: String = numbers.chars().take_while(char::is_ascii_digit).collect();
        !made_by.is_empty() && !std::path::Path::new("/proc").join(made_by).exists()
    };
    let names = |output: Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect::<Vec<_>>()
    };
    for name in names(run("ip", "netns list")) {
        if name.strip_prefix(NAMESPACE).is_some_and(is_stale) {
            remove_namespace(&name);
        }
    }
    for name in names(run("ip", "-br link show type bridge")) {
        if name.strip_prefix(LINK).is_some_and(is_stale) {
            let _ = run("ip", &format!("link del {name}"));
        }
    }
}

fn remove_namespace(name: &str) {
    let inside = run("ip", &format!("netns pids {name}"));
    for process in String::from_utf8_lossy(&inside.stdout).split_whitespace() {
        let id = process.parse().ok().and_then(rustix::process::Pid::from_raw);
        let _ = id.map(|id| rustix::process::kill_process(id, rustix::process::Signal::KILL));
    }
    let _ = run("ip", &format!("netns del {name}"));
}

fn ip(arguments: &str) {
    must("ip", arguments);
}

fn must(program: &str, arguments: &str) {
    let output = run(program, arguments);
    assert!(
        output.status.success(),
        "`{program} {arguments}`: {}\nthese checks need root and a kernel with network namespaces, veth, bridges and tbf",
        words(&output)
    );
}

fn run(program: &str, arguments: &str) -> Output {
    let output = Command::new(program).args(arguments.split_whitespace()).output();
    output.unwrap_or_else(|error| panic!("{program} ({error}) comes with iproute2: run tests/install.sh first"))
}
