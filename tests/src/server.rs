//! A serving process whose every word is kept: both its streams go to files, over all its lives.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{PATIENCE, binary, whole_lines};

/// A role of `prelim` in a folder of its own, which is its working folder; killed when dropped.
pub struct Server {
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    folder: PathBuf,
    child: Option<Child>,
    /// The address that it serves, from its newest first line.
    pub grpc: String,
    /// Title and address for DICOM, from the same line; empty where it is not served.
    pub dicom: String,
    /// The address of DICOMweb, from the same line; empty where it is not served.
    pub http: String,
}

impl Server {
    /// Starts `prelim` with these arguments and variables, and waits until it says that it is ready. What it says is kept
    /// in `folder`, as `stdout` and `stderr`.
    ///
    /// # Panics
    /// As [`Server::start_again`].
    pub fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        fs::create_dir_all(folder.join("tmp")).expect("a folder");
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut variables: Vec<_> =
            variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        variables.push(("TMPDIR".to_owned(), folder.join("tmp").display().to_string()));
        let mut server = Self {
            arguments,
            variables,
            folder: folder.to_owned(),
            child: None,
            grpc: String::new(),
            dicom: String::new(),
            http: String::new(),
        };
        server.start_again();
        server
    }

    /// Starts it where it does not run.
    ///
    /// # Panics
    /// Where it ends before it is ready.
    pub fn start_again(&mut self) {
        let open = |name: &str| {
            let file = File::options().create(true).append(true).open(self.folder.join(name));
            file.expect("a file for what it says")
        };
        let lines = whole_lines(&self.stdout()).count();
        let mut command = Command::new(binary());
        command.args(&self.arguments).envs(self.variables.iter().cloned()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(open("stdout")).stderr(open("stderr"));
        self.child = Some(command.spawn().expect("prelim starts"));
        let began = Instant::now();
        while whole_lines(&self.stdout()).count() == lines {
            let waits = self.child.as_mut().is_some_and(|child| child.try_wait().expect("our process").is_none());
            assert!(waits && began.elapsed() < PATIENCE, "{:?} is not ready: {}", self.arguments, self.log());
            sleep(Duration::from_millis(20));
        }
        let ready = whole_lines(&self.stdout()).last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let told = |what: &str| ready.as_ref().and_then(|ready| ready[what].as_str()).unwrap_or_default().to_owned();
        (self.grpc, self.dicom, self.http) = (told("grpc"), told("dicom"), told("http"));
    }

    fn stdout(&self) -> String {
        fs::read_to_string(self.folder.join("stdout")).unwrap_or_default()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Already ended is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("our process").is_none())
    }

    /// Its process id.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sends it a signal by name: `STOP`, `CONT`.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{name} was not sent");
    }

    /// What it said on stderr so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }

    /// Asks it to end, as a service manager does, and waits until it has; how it ended, and how long that took.
    ///
    /// # Panics
    /// Where it does not end.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.signal("TERM");
        let (mut child, began) = (self.child.take().expect("it runs"), Instant::now());
        loop {
            if let Some(status) = child.try_wait().expect("our process") {
                return (status, began.elapsed());
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("{:?} does not end when it is asked to", self.arguments);
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
