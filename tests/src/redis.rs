//! A Redis server of a test's own, and a client for it that knows nothing of ours.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// The server, ended when dropped.
pub struct Redis {
    child: Child,
    socket: PathBuf,
}

/// An answer, flat: what is nested is told in the order in which it comes.
pub type Answer = Vec<Vec<u8>>;

impl Redis {
    /// Starts a server with its files and its socket in `folder`.
    ///
    /// # Panics
    /// Where it does not start: `tests/install.sh` installs it.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let socket = folder.join("socket");
        let log = File::create(folder.join("log")).expect("a log");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--dir"]).arg(folder).arg("--unixsocket");
        command.arg(&socket).stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let child = command.spawn().expect("redis-server: run tests/install.sh");
        let began = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(began.elapsed() < PATIENCE, "redis-server does not start; see {}", folder.display());
            sleep(Duration::from_millis(10));
        }
        Self { child, socket }
    }

    /// What `--redis` is set to.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// What it answers to one command.
    ///
    /// # Panics
    /// Where it answers with an error.
    pub fn ask(&self, command: &[&[u8]]) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        let mut request = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            request.extend(format!("${}\r\n", word.len()).bytes().chain(word.iter().copied()).chain(*b"\r\n"));
        }
        stream.write_all(&request).expect("it listens");
        let mut answer = Vec::new();
        read(&mut BufReader::new(stream), &mut answer);
        answer
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one value of RESP, version 2.
fn read(from: &mut BufReader<UnixStream>, to: &mut Answer) {
    let mut line = String::new();
    from.read_line(&mut line).expect("an answer");
    let (kind, rest) = line.trim_end().split_at_checked(1).expect("a kind");
    let length = || rest.parse::<i64>().expect("a length");
    match kind {
        "*" => (0..length()).for_each(|_| read(from, to)),
        "$" if length() >= 0 => {
            let mut value = vec![0; length() as usize + 2];
            from.read_exact(&mut value).expect("a whole value");
            value.truncate(value.len() - 2);
            to.push(value);
        }
        "$" => {}
        "+" | ":" => to.push(rest.as_bytes().to_vec()),
        _ => panic!("Redis says {line:?}"),
    }
}
