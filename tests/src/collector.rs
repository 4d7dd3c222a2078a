//! A collector of OpenTelemetry traces that is not ours, from `tests/peers/collector.py`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{PATIENCE, repository, whole_lines};

/// The collector, ended when dropped.
pub struct Collector {
    child: Child,
    file: PathBuf,
    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    pub endpoint: String,
}

impl Collector {
    /// Starts one that writes to `file`, and waits until it serves.
    ///
    /// # Panics
    /// Where it does not start: `tests/install.sh` installs what it needs.
    pub fn start(file: &Path) -> Self {
        let python = repository().join("target/python/bin/python");
        let mut command = Command::new(python);
        command.arg(repository().join("tests/peers/collector.py")).stdin(Stdio::null());
        let mut child = command.stdout(File::create(file).expect("a file")).spawn().expect("python is installed");
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(file).expect("the file is there");
            if let Some((port, _)) = text.split_once('\n') {
                let endpoint = format!("http://127.0.0.1:{port}");
                return Self { child, file: file.to_owned(), endpoint };
            }
            let ended = child.try_wait().expect("the process is ours");
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "no collector: run tests/install.sh ({ended:?})");
            sleep(Duration::from_millis(50));
        }
    }

    /// The spans that came so far.
    ///
    /// # Panics
    /// Where a line is no JSON.
    pub fn spans(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.file).expect("the file is there");
        whole_lines(&text).skip(1).map(|line| serde_json::from_str(line).expect("a span")).collect()
    }

    /// Waits until the spans `hold`, and returns them.
    ///
    /// # Panics
    /// Where they do not in time.
    pub fn wait_for(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let spans = self.spans();
            if holds(&spans) {
                return spans;
            }
            assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}; these came: {spans:#?}");
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
