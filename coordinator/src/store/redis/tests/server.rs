//! A real server for tests, in a folder of its own on a port of its own, gone when it is dropped.

use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Debian's Redis.
const SERVER: &str = "redis-server";
/// Where `tests/install.sh` puts Valkey.
const VALKEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/valkey/valkey-server");
/// How long a server may take to start, on a machine that does much else.
const START: Duration = Duration::from_secs(120);
/// Below the ports that systems give to connections as they are opened, and so are those, higher by 10,000, at which servers of a
/// cluster speak to each other.
const PORTS: std::ops::Range<u16> = 12_000..20_000;

/// A running server.
pub(super) struct Server {
    /// Its files.
    folder: TempDir,
    /// Its port on the loopback interface.
    pub(super) port: u16,
    program: &'static str,
    settings: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// A `redis-server` that syncs every write, with more settings as on its command line (`--maxmemory 8mb`).
    pub(super) fn start(settings: &[&str]) -> Self {
        Self::at(SERVER, free_port(), settings)
    }

    /// The same of `valkey-server`.
    pub(super) fn valkey(settings: &[&str]) -> Self {
        Self::at(VALKEY, free_port(), settings)
    }

    /// Another program, for example `redis-sentinel`, which serves on `port` as its settings say.
    pub(super) fn at(program: &'static str, port: u16, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings.iter().map(ToString::to_string).collect();
        let mut server = Self { folder, port, program, settings, process: None };
        server.resume();
        server
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it as the system would when memory is short: without a word.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again on the same files and port.
    pub(super) fn resume(&mut self) {
        let mut command = Command::new(self.program);
        if [SERVER, VALKEY].contains(&self.program) {
            command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
            command.args(["--maxmemory-policy", "noeviction", "--dir"]).arg(self.folder.path());
            command.args(["--port", &self.port.to_string()]);
        }
        command.args(&self.settings).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        let process = command.spawn();
        let process = process.unwrap_or_else(|error| panic!("{} ({error}): run tests/install.sh first", self.program));
        self.process = Some(process);
        self.wait();
    }

    fn wait(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.process.as_mut().expect("it was started").try_wait().expect("a state");
            assert!(ended.is_none(), "{} ended at once: {ended:?}", self.program);
            assert!(started.elapsed() < START, "{} does not start", self.program);
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody serves, and that is given to no test again.
pub(super) fn free_port() -> u16 {
    // The same number's port of UDP is held for as long as this process lives, so that another gives it to none either.
    static TAKEN: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().expect("no test panics here");
    let first = std::process::id() as usize * 97;
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    for n in 0..PORTS.len() {
        let port = PORTS.start + ((first + n) % PORTS.len()) as u16;
        let Ok(held) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        if is_free(port) && is_free(port + 10_000) {
            taken.push(held);
            return port;
        }
    }
    panic!("no free port from {} to {}", PORTS.start, PORTS.end - 1)
}

/// Waits until something holds of servers.
pub(super) async fn until(wanted: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < START, "not within {START:?}: {wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
