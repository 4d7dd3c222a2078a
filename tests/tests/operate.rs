//! What an operator sees of a cluster, and does to it, with real processes and a real terminal.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use prelim_tests::{Process, eventually, phantoms, prelim, prelim_json, words};
use serde_json::Value;

/// The time of a lease; a heartbeat is due after a third of it.
const LEASE_MS: &str = "6000";
/// A heartbeat, and what two busy cores may add to it.
const HEARTBEAT: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(3);

/// A coordinator, and a simulated worker of one slot whose jobs take `ms`.
struct Site {
    coordinator: Process,
    worker: Process,
    _work: tempfile::TempDir,
    studies: Vec<String>,
}

impl Site {
    /// Starts both and submits `count` X-ray studies.
    fn start(ms: u32, count: u32) -> Self {
        let work = tempfile::tempdir().expect("a folder");
        let at = |name: &str| work.path().join(name).display().to_string();
        std::fs::write(at("times"), format!("xray,{ms}")).expect("a file");
        let coordinator = Process::start([
            "coordinator",
            "--json",
            "--grpc",
            "127.0.0.1:0",
            "--lease-ttl-ms",
            LEASE_MS,
            "--data",
            &at("data"),
        ]);
        let worker = Process::start([
            "worker",
            "--json",
            "--grpc",
            &coordinator.grpc,
            "--simulate",
            &at("times"),
            "--worker-id",
            "reader-7",
            "--slots",
            "1",
        ]);
        phantoms(Path::new(&at("studies")), count, 5, Some("dx"));
        let sent = prelim_json(["submit", "--json", "--grpc", &coordinator.grpc, &at("studies")]);
        let studies = sent["study_uids"].as_array().expect("studies").iter();
        let studies = studies.map(|uid| uid.as_str().expect("a UID").to_owned()).collect();
        Self { coordinator, worker, _work: work, studies }
    }

    fn prelim(&self, arguments: &[&str]) -> Output {
        prelim(arguments.iter().copied().chain(["--grpc", &self.coordinator.grpc]))
    }

    fn state(&self, study: &str) -> String {
        let output = self.prelim(&["studies", "--json"]);
        let studies: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
        let studies = studies.as_array().expect("a list");
        let found = studies.iter().find(|each| each["study_uid"] == *study).expect("the study is listed");
        found["state"].as_str().expect("a word").to_owned()
    }

    /// The study that is being read.
    fn being_read(&self) -> String {
        let mut reading = None;
        eventually(
            Duration::from_secs(20),
            || "a study is being read".to_owned(),
            || {
                reading = self.studies.iter().find(|study| self.state(study) == "reading").cloned();
                reading.is_some()
            },
        );
        reading.expect("found above")
    }
}

/// Issue promise: cancel reaches a running job within one heartbeat. The worker has one slot and jobs of ten minutes: it can
/// take the other study only when it has let go of the first.
#[test]
fn a_cancelled_study_is_let_go_within_a_heartbeat() {
    let site = Site::start(600_000, 2);
    let first = site.being_read();
    let second = site.studies.iter().find(|study| **study != first).expect("there are two").clone();
    assert_eq!(site.state(&second), "queued");
    let output = site.prelim(&["cancel", &first, "--reason", "sent twice"]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("cancelled: sent twice"), "{}", words(&output));
    eventually(
        HEARTBEAT + SLACK,
        || "the worker reads the other study".to_owned(),
        || site.state(&second) == "reading",
    );
    assert_eq!(site.state(&first), "cancelled");
    // Again is no error; what is not there is one.
    assert!(site.prelim(&["cancel", &first]).status.success());
    let output = site.prelim(&["cancel", "1.2.3.4"]);
    assert!(!output.status.success() && words(&output).contains("1.2.3.4"), "{}", words(&output));
}

/// Issue promise: `prelim drain WORKER`, `prelim workers`. A drained worker finishes what it has, takes nothing more and ends.
/// The job is longer than the ten seconds within which a worker hears of it.
#[test]
fn a_drained_worker_finishes_its_job_and_ends() {
    let mut site = Site::start(12_000, 2);
    let first = site.being_read();
    let workers = site.prelim(&["workers", "--json"]);
    let listed: Value = serde_json::from_slice(&workers.stdout).unwrap_or_else(|_| panic!("{}", words(&workers)));
    assert_eq!(listed["workers"][0]["id"], "reader-7", "{listed}");
    let output = site.prelim(&["drain", "reader-7"]);
    assert!(output.status.success(), "{}", words(&output));
    eventually(Duration::from_secs(30), || "the worker ends".to_owned(), || !site.worker.is_alive());
    assert_eq!(site.state(&first), "drafted");
    let second = site.studies.iter().find(|study| **study != first).expect("there are two");
    assert_eq!(site.state(second), "queued");
    let output = site.prelim(&["drain", "nobody"]);
    assert!(!output.status.success() && words(&output).contains("nobody"), "{}", words(&output));
}

/// A terminal of 130 by 34 that shows `prelim watch`, on a server of its own.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn watch(grpc: &str) -> Self {
        let terminal = Self { socket: format!("prelim-test-{}", std::process::id()) };
        let command =
            format!("{} watch --grpc {grpc}; echo 'it ended with' $?; sleep 60", prelim_tests::binary().display());
        terminal.tmux(&["new-session", "-d", "-x", "130", "-y", "34", &command]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.socket, "-f", "/dev/null"]).args(arguments).output();
        let output = output.expect("tmux is installed by tests/install.sh");
        assert!(output.status.success(), "{}", words(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn shows(&self, wanted: &[&str]) {
        let screen = || self.tmux(&["capture-pane", "-p"]);
        let missing = || format!("all of {wanted:?} in\n{}", screen());
        eventually(Duration::from_secs(20), missing, || {
            let screen = screen();
            wanted.iter().all(|each| screen.contains(each))
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing is left to end where it ended by itself.
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

/// Issue promise: `prelim watch` as a live view of the cluster. It goes on while the coordinator is away, and gives the
/// terminal back.
#[test]
fn the_cluster_is_watched_on_a_terminal() {
    let site = Site::start(600_000, 3);
    let reading = site.being_read();
    let terminal = Terminal::watch(&site.coordinator.grpc);
    terminal.shows(&["2 jobs waiting, 1 running", "3 studies open", "Workers (1)", "reader-7", "1/1", &reading]);
    assert!(site.prelim(&["cancel", &reading]).status.success());
    terminal.shows(&["1 job waiting, 1 running", "cancelled"]);
    site.coordinator.kill();
    terminal.shows(&["trying again: the connection to the coordinator broke", "reader-7"]);
    terminal.tmux(&["send-keys", "q"]);
    terminal.shows(&["it ended with 0"]);
}

/// Issue promise: back-pressure that says how long to wait, told to people as what to do.
#[test]
fn a_full_cluster_refuses_in_words_and_takes_work_again_later() {
    let work = tempfile::tempdir().expect("a folder");
    let at = |name: &str| work.path().join(name).display().to_string();
    let data = at("data");
    let arguments = ["coordinator", "--json", "--grpc", "127.0.0.1:0", "--max-open-studies", "1", "--data", &data];
    let coordinator = Process::start(arguments);
    phantoms(&work.path().join("first"), 1, 5, Some("dx"));
    phantoms(&work.path().join("second"), 1, 6, Some("dx"));
    let submit = |folder: &str| prelim(["submit", "--json", "--grpc", &coordinator.grpc, &at(folder)]);
    let taken = submit("first");
    assert!(taken.status.success(), "{}", words(&taken));
    let refused = submit("second");
    assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
    assert!(words(&refused).contains("1 studies are open, which is the limit"), "{}", words(&refused));
    let sent: Value = serde_json::from_slice(&taken.stdout).expect("JSON");
    let first = sent["study_uids"][0].as_str().expect("a UID");
    assert!(prelim(["cancel", "--grpc", &coordinator.grpc, first]).status.success());
    let taken = submit("second");
    assert!(taken.status.success(), "{}", words(&taken));
}
