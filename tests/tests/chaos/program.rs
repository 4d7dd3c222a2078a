//! A process on a host of its own, with a log that outlives it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::network::Host;

/// How long a process may take to end that was asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to run.
pub(crate) struct Recipe {
    /// The program.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Variables that it has beside ours.
    pub(crate) variables: Vec<(String, String)>,
}

/// A process that is to run, whatever happens to it.
pub(crate) struct Program {
    /// What it is called in logs.
    pub(crate) name: String,
    /// Where it runs.
    pub(crate) host: Host,
    /// What to run; a change counts from the next start.
    pub(crate) recipe: Recipe,
    /// What it said, over all its lives.
    pub(crate) log: PathBuf,
    child: Option<Child>,
    is_wanted: bool,
    is_paused: bool,
    /// Times that it ended although nobody asked it to.
    pub(crate) ended_by_itself: u32,
}

impl Program {
    /// A program that is not started yet; its log lies in `folder`.
    pub(crate) fn new(name: &str, host: Host, recipe: Recipe, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let name = name.to_owned();
        Self { name, host, recipe, log, child: None, is_wanted: false, is_paused: false, ended_by_itself: 0 }
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&mut self) {
        self.is_wanted = true;
        if self.child.is_some() {
            return;
        }
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let mut command = self.host.command(&self.recipe.program);
        command.args(&self.recipe.arguments).envs(self.recipe.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.child = Some(command.spawn().expect("ip netns exec starts"));
        self.is_paused = false;
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.is_wanted = false;
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// Where it does not.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.is_wanted = false;
        self.signal(Signal::TERM);
        let (asked, mut child) = (Instant::now(), self.child.take().expect("it runs"));
        loop {
            if let Some(status) = child.try_wait().expect("our process") {
                return status;
            }
            if asked.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("{} does not end when it is asked to", self.name);
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Stops its clockwork: it does nothing, and notices nothing.
    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&mut self) {
        self.is_paused = false;
        self.signal(Signal::CONT);
    }

    /// Starts it again where it ended by itself.
    pub(crate) fn look_after(&mut self) {
        let ended = match &mut self.child {
            Some(child) if !self.is_paused => child.try_wait().expect("our process").is_some(),
            _ => false,
        };
        if ended {
            self.child = None;
            self.ended_by_itself += 1;
            if self.is_wanted {
                self.start();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // One that has ended by itself needs none.
        if let Some(id) = self.child.as_ref().and_then(|child| Pid::from_raw(child.id() as i32)) {
            let _ = kill_process(id, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
