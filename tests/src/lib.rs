//! Support for end-to-end checks: `prelim` as processes, as a user runs it.
//!
//! # Layout
//! - here: the binary, a serving process, phantoms, submitting and fetching
//! - [`browser`]: a browser without a screen
//! - [`certificates`]: an authority and what it signs; [`issuer`]: an OpenID Connect issuer
//! - [`s3`]: a server that speaks S3; [`redis`]: one that speaks Redis; [`collector`]: one that takes traces
//! - [`server`]: a serving process whose every word is kept
//! - [`pacs`]: systems of others that take and give studies: Orthanc, DCMTK's, pynetdicom's
//! - [`object`]: DICOM objects byte by byte, also broken ones; [`patient`]: patients who are nobody
//! - [`planted`]: the search for what was put into them
//! - [`workspace`]: the repository's files and crates, as the gate reads them
//! - [`source`]: Rust source without its comments and strings
//!
//! **Invariant**: a check starts what it needs and ends it; ports are free ones, folders are temporary.

pub mod browser;
pub mod certificates;
pub mod clock;
pub mod collector;
pub mod issuer;
pub mod object;
pub mod pacs;
pub mod patient;
pub mod planted;
pub mod ports;
pub mod redis;
pub mod s3;
pub mod sender;
pub mod server;
pub mod source;
pub mod workspace;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that must come. It is for what never comes: a machine of two cores that does much else at the same
/// time must not fail a check.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository")
}

/// The binary, built from the same profile as the running test.
///
/// # Panics
/// Where it was not built: `cargo build --release` comes before the tests.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("a running test has a path");
        let profile = test.ancestors().nth(2).expect("tests lie in PROFILE/deps");
        let binary = profile.join("prelim");
        assert!(binary.is_file(), "{} is not there: run `cargo build --release` first", binary.display());
        binary
    })
}

/// Runs `prelim` with `arguments` to its end.
pub fn prelim<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().expect("prelim starts")
}

/// Runs `prelim` and returns its stdout as JSON.
///
/// # Panics
/// Where it ends with an error, or prints no JSON.
pub fn prelim_json<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Value {
    let output = prelim(arguments);
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&output)))
}

/// What a process said, for a failing assertion.
pub fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\nstdout: {}\nstderr: {}", output.status, text(&output.stdout), text(&output.stderr))
}

/// The folder with the stand-in for the CUDA driver, built where needed: a program that finds it there has a GPU that is
/// simulated.
///
/// # Panics
/// Where it cannot be built.
pub fn stand_in_driver() -> PathBuf {
    let folder = repository().join("target/simulator/sound");
    let script = repository().join("kernels/cuda/simulator/build.sh");
    let output = Command::new(script).arg(&folder).output().expect("bash and g++");
    assert!(output.status.success(), "{}", words(&output));
    folder
}

/// A serving process (`up`, `coordinator`, `worker`), killed when dropped.
pub struct Process {
    child: Child,
    /// The address that it serves, from its first line.
    pub grpc: String,
}

impl Process {
    /// Starts `prelim ROLE …` and waits for the line by which it says that it is ready.
    ///
    /// # Panics
    /// Where it ends before that.
    pub fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self::start_as(Command::new(binary()).args(arguments))
    }

    /// Starts `command`, which is the binary with arguments, variables and a log of its own, and waits as [`Process::start`].
    ///
    /// # Panics
    /// As [`Process::start`].
    pub fn start_as(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("prelim starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("not ready: {line:?}")
        });
        Self { child, grpc: ready["grpc"].as_str().unwrap_or_default().to_owned() }
    }

    /// A coordinator and a worker in one process, on a free port.
    pub fn up(data: &Path) -> Self {
        Self::start([
            "up".as_ref(),
            "--json".as_ref(),
            "--grpc".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--data".as_ref(),
            data.as_os_str(),
        ])
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the process is ours").is_none()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Draws phantom studies below `folder`.
pub fn phantoms(folder: &Path, count: u32, seed: u64, modality: Option<&str>) {
    let mut arguments = vec![
        "phantom".to_owned(),
        "--out".to_owned(),
        folder.display().to_string(),
        "--count".to_owned(),
        count.to_string(),
        "--seed".to_owned(),
        seed.to_string(),
    ];
    if let Some(modality) = modality {
        arguments.extend(["--modality".to_owned(), modality.to_owned()]);
    }
    let output = prelim(&arguments);
    assert!(output.status.success(), "{}", words(&output));
}

/// Submits `folder` and waits for the drafts. The answer names every file, also where none was accepted.
///
/// # Panics
/// Where it prints no JSON.
pub fn submit(grpc: &str, folder: &Path) -> Value {
    let arguments = ["submit", "--grpc", grpc, "--wait", "--json"].map(OsStr::new);
    let output = prelim(arguments.into_iter().chain([folder.as_os_str()]));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&output)))
}

/// The draft of a study in one form.
///
/// # Panics
/// Where there is none.
pub fn draft(grpc: &str, study: &str, format: &str) -> Vec<u8> {
    let output = prelim(["report", "--grpc", grpc, study, "--format", format]);
    assert!(output.status.success(), "{}", words(&output));
    output.stdout
}

/// The lines of a file that is written to, as far as they are whole: the last may be in the middle of being written.
pub fn whole_lines(text: &str) -> std::str::Lines<'_> {
    text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines()
}

/// Waits until `holds`.
///
/// # Panics
/// Where it does not hold in time, with what `wanted` says then.
pub fn eventually(patience: Duration, wanted: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < patience, "not within {patience:?}: {}", wanted());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The demonstration model in a folder of its own, that is asked about studies in these words, or not at all.
pub fn asked_model(folder: &Path, questions: Option<&Value>) -> String {
    std::fs::create_dir_all(folder).expect("a folder");
    for entry in std::fs::read_dir(repository().join("worker/demo-model/checkpoint")).expect("the model") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("copied");
        }
    }
    let profile = folder.join("prelim.json");
    let text = std::fs::read_to_string(&profile).expect("a profile");
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    let fields = document.as_object_mut().expect("an object");
    fields.remove("questions");
    fields.extend(questions.map(|words| ("questions".to_owned(), words.clone())));
    std::fs::write(profile, document.to_string()).expect("written");
    folder.display().to_string()
}
