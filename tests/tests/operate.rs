//! What an operator sees of a cluster, and does to it, with real processes and a real terminal.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use prelim_tests::ports::free_address;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, Process, eventually, phantoms, prelim, prelim_json, words};
use serde_json::Value;

/// The time of a lease; a heartbeat is due after a third of it.
const LEASE_MS: &str = "12000";
/// A heartbeat, and what busy cores may add to it: together less than a lease, which would end by itself.
const HEARTBEAT: Duration = Duration::from_secs(4);
const SLACK: Duration = Duration::from_secs(7);

/// A coordinator, and a simulated worker of one slot whose jobs take `ms`.
struct Site {
    coordinator: Process,
    worker: Process,
    work: tempfile::TempDir,
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
        Self { coordinator, worker, work, studies }
    }

    /// The folder in which a study's files lie.
    fn folder_of(&self, study: &str) -> String {
        let folders = std::fs::read_dir(self.work.path().join("studies")).expect("phantoms");
        let is_it = |folder: &std::path::PathBuf| {
            let truth = std::fs::read_to_string(folder.join("truth.json")).unwrap_or_default();
            truth.contains(&format!("\"{study}\""))
        };
        let found = folders.map(|entry| entry.expect("a folder").path()).find(is_it);
        found.expect("the study was drawn").display().to_string()
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
            PATIENCE,
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
/// The job is much longer than the heartbeat within which a worker hears of it.
#[test]
fn a_drained_worker_finishes_its_job_and_ends() {
    let mut site = Site::start(16_000, 2);
    let first = site.being_read();
    let workers = site.prelim(&["workers", "--json"]);
    let listed: Value = serde_json::from_slice(&workers.stdout).unwrap_or_else(|_| panic!("{}", words(&workers)));
    assert_eq!(listed["workers"][0]["id"], "reader-7", "{listed}");
    let output = site.prelim(&["drain", "reader-7"]);
    assert!(output.status.success(), "{}", words(&output));
    eventually(PATIENCE, || "the worker ends".to_owned(), || !site.worker.is_alive());
    // Its last job is merged meanwhile.
    eventually(PATIENCE, || "the first study is drafted".to_owned(), || site.state(&first) == "drafted");
    let second = site.studies.iter().find(|study| **study != first).expect("there are two");
    assert_eq!(site.state(second), "queued");
    let output = site.prelim(&["drain", "nobody"]);
    assert!(!output.status.success() && words(&output).contains("nobody"), "{}", words(&output));
}

/// A worker that waits for a job hears of it with the answer, and not with the next heartbeat.
#[test]
fn an_idle_worker_hears_at_once_that_it_is_to_stop() {
    let mut site = Site::start(10, 1);
    eventually(PATIENCE, || "the study is drafted".to_owned(), || site.state(&site.studies[0]) == "drafted");
    // Soon after a heartbeat: without a job the next one is ten seconds away.
    let silent_ms = || {
        let output = site.prelim(&["workers", "--json"]);
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
        listed["workers"][0]["silent_ms"].as_u64().expect("a number")
    };
    eventually(PATIENCE, || format!("a heartbeat, silent for {} ms", silent_ms()), || silent_ms() < 1_000);
    let began = Instant::now();
    let output = site.prelim(&["drain", "reader-7"]);
    assert!(output.status.success(), "{}", words(&output));
    eventually(PATIENCE, || "the worker ends".to_owned(), || !site.worker.is_alive());
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
}

/// A study sent again as STAT goes before others, and the list says so.
#[test]
fn a_study_sent_again_as_stat_goes_ahead() {
    let site = Site::start(600_000, 3);
    let reading = site.being_read();
    let waiting: Vec<_> = site.studies.iter().filter(|study| **study != reading).collect();
    let listed = |study: &str| {
        let output = site.prelim(&["studies", "--json"]);
        let studies: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
        studies.as_array().unwrap().iter().find(|each| each["study_uid"] == study).unwrap().clone()
    };
    assert_eq!(
        (&listed(waiting[1])["priority"], &listed(waiting[1])["tenant"]),
        (&"routine".into(), &"default".into())
    );
    let table = |column: &str| words(&site.prelim(&["studies"])).contains(column);
    assert!(!table("Priority") && !table("Tenant"), "what every row would say is left out");
    // The one that came last.
    let place = |study: &str| site.studies.iter().position(|each| each == study).expect("it is one of them");
    let last = if place(waiting[0]) > place(waiting[1]) { waiting[0] } else { waiting[1] };
    let folder = site.folder_of(last);
    let output = site.prelim(&["submit", "--priority", "stat", &folder]);
    assert!(output.status.success() && words(&output).contains("1 held already"), "{}", words(&output));
    assert_eq!(listed(last)["priority"], "stat");
    assert!(table("Priority") && words(&site.prelim(&["studies"])).contains("stat"));
    assert!(site.prelim(&["submit", &folder]).status.success());
    assert_eq!(listed(last)["priority"], "stat", "less is no reason to fall behind");
    assert!(site.prelim(&["cancel", &reading]).status.success());
    eventually(HEARTBEAT + SLACK, || "the STAT study is read".to_owned(), || site.state(last) == "reading");
}

/// What goes wrong with one of several things is told, and does not keep the others from being done.
#[test]
fn several_studies_and_jobs_are_each_answered_for() {
    let site = Site::start(10, 1);
    let study = &site.studies[0];
    eventually(PATIENCE, || "the study is drafted".to_owned(), || site.state(study) == "drafted");
    let job = format!("{study}/0");
    let output = site.prelim(&["requeue", &job]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(words(&output).contains("not given up") && !words(&output).contains("ready again"), "{}", words(&output));
    let output = site.prelim(&["requeue", "--all"]);
    assert!(output.status.success() && words(&output).contains("0 jobs ready again"), "{}", words(&output));

    let waiting = Site::start(600_000, 2);
    let (one, other) = (&waiting.studies[0], &waiting.studies[1]);
    let output = waiting.prelim(&["cancel", one, "1.2.3.4", "no uid", other]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    for said in ["1.2.3.4: ", "no uid: ", "2 of 4 studies not cancelled"] {
        assert!(words(&output).contains(said), "{said}: {}", words(&output));
    }
    assert_eq!((waiting.state(one), waiting.state(other)), ("cancelled".into(), "cancelled".into()));
}

/// A terminal of 130 by 34 that shows `prelim watch`, on a server of its own.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn watch(grpc: &str) -> Self {
        let terminal = Self { socket: format!("prelim-test-{}", std::process::id()) };
        let command =
            format!("{} watch --grpc {grpc}; echo 'it ended with' $?; sleep 600", prelim_tests::binary().display());
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
        eventually(PATIENCE, missing, || {
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
    let told: Value = serde_json::from_slice(&refused.stdout).unwrap_or_else(|_| panic!("{}", words(&refused)));
    assert_eq!(told["objects"][0]["disposition"], "refused", "{told}");
    // Held already, and one for which there is no room: each file has its outcome, and people are told what to do.
    let both = prelim(["submit", "--json", "--grpc", &coordinator.grpc, &at("first"), &at("second")]);
    assert_eq!(both.status.code(), Some(1), "{}", words(&both));
    let told: Value = serde_json::from_slice(&both.stdout).unwrap_or_else(|_| panic!("{}", words(&both)));
    let outcomes = told["objects"].as_array().expect("a list").iter();
    let mut outcomes: Vec<_> = outcomes.map(|object| object["disposition"].as_str().expect("a word")).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["duplicate", "refused"], "{told}");
    assert!(told["stopped"].as_str().is_some_and(|why| why.contains("send the same again in 10 s")), "{told}");
    let both = prelim(["submit", "--grpc", &coordinator.grpc, &at("first"), &at("second")]);
    for said in ["1 held already, 1 refused", "not all of 2 files taken", "send the same again"] {
        assert!(words(&both).contains(said), "{said}: {}", words(&both));
    }
    // By path: files of one name lie in many folders.
    for said in [format!("  held {}/", at("first")), format!("  refused {}/", at("second"))] {
        assert!(words(&both).contains(&said), "{said}: {}", words(&both));
    }
    let sent: Value = serde_json::from_slice(&taken.stdout).expect("JSON");
    let first = sent["study_uids"][0].as_str().expect("a UID");
    assert!(prelim(["cancel", "--grpc", &coordinator.grpc, first]).status.success());
    let taken = submit("second");
    assert!(taken.status.success(), "{}", words(&taken));
}

/// Two workers that were given one name are told so, both, and whoever lists them sees it.
#[test]
fn two_workers_of_one_name_do_not_go_unnoticed() {
    let site = Site::start(600_000, 1);
    let folder = site.work.path().join("second");
    let times = site.work.path().join("times").display().to_string();
    let arguments =
        ["worker", "--json", "--simulate", &times, "--worker-id", "reader-7", "--grpc", &site.coordinator.grpc];
    let second = Server::start(&folder, &arguments, &[]);
    let listed = || {
        let output = site.prelim(&["workers", "--json"]);
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
        listed["workers"][0].clone()
    };
    eventually(
        PATIENCE,
        || format!("the name is known to be shared: {}, {}", listed(), second.log()),
        || listed()["shares_name"] == true && second.log().contains("another process runs under this worker's name"),
    );
    assert!(words(&site.prelim(&["workers"])).contains("two processes have this name"));
}

/// `prelim submit --wait` goes on where the coordinator is started again, and says what it waits for.
#[test]
fn waiting_for_drafts_outlives_the_coordinator() {
    let work = tempfile::tempdir().expect("a folder");
    let at = |name: &str| work.path().join(name).display().to_string();
    std::fs::write(at("times"), "xray,10").expect("a file");
    phantoms(&work.path().join("studies"), 1, 5, Some("dx"));
    let address = free_address();
    let (data, audit) = (at("data"), at("audit.jsonl"));
    let arguments = ["coordinator", "--json", "--grpc", &address, "--data", &data, "--audit", &audit];
    let mut coordinator = Server::start(&work.path().join("logs"), &arguments, &[]);
    let told = std::fs::File::create(at("told")).expect("a file");
    let mut waiting = Command::new(prelim_tests::binary())
        .args(["submit", "--wait", "--json", "--grpc", &address, &at("studies")])
        .stdout(std::process::Stdio::piped())
        .stderr(told)
        .spawn()
        .expect("prelim starts");
    // It has the answer to what it sent, and asks what becomes of it.
    let audited = || std::fs::read_to_string(&audit).unwrap_or_default();
    eventually(PATIENCE, audited, || audited().contains("\"WatchStudies\""));
    assert!(words(&prelim(["studies", "--grpc", &address])).contains("queued"));
    coordinator.kill();
    let said = || std::fs::read_to_string(at("told")).expect("a file");
    eventually(PATIENCE, said, || said().contains("no coordinator answers"));
    assert!(said().contains("still waiting; trying again in "), "{}", said());
    coordinator.start_again();
    // Stopped in good order, it ends its watches: that is no end either.
    coordinator.terminate();
    coordinator.start_again();
    let _worker =
        Process::start(["worker", "--json", "--grpc", &coordinator.grpc, "--simulate", &at("times"), "--slots", "1"]);
    eventually(
        PATIENCE,
        || format!("the draft is made: {}", said()),
        || waiting.try_wait().expect("our process").is_some(),
    );
    let output = waiting.wait_with_output().expect("our process");
    assert!(output.status.success(), "{} {}", words(&output), said());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
    assert_eq!(answer["studies"][0]["state"], "drafted");
}

/// Bytes that are not there end in a dead letter that says so, and not in a draft that passes over them; when they are back,
/// the job is read.
#[test]
fn a_missing_object_is_a_dead_letter_and_can_be_requeued() {
    let work = tempfile::tempdir().expect("a folder");
    let data = work.path().join("data");
    let coordinator =
        Process::start(["coordinator", "--json", "--grpc", "127.0.0.1:0", "--data", &data.display().to_string()]);
    phantoms(&work.path().join("studies"), 1, 5, Some("dx"));
    let studies = work.path().join("studies").display().to_string();
    let sent = prelim_json(["submit", "--json", "--grpc", &coordinator.grpc, &studies]);
    let study = sent["study_uids"][0].as_str().expect("a UID").to_owned();
    let away = |path: &Path| path.with_extension("away");
    let objects = prelim_tests::s3::objects_below(&data);
    assert!(!objects.is_empty());
    for object in &objects {
        std::fs::rename(object, away(object)).expect("our file");
    }
    let _worker = Process::start(["worker", "--json", "--grpc", &coordinator.grpc]);
    let dead = || prelim_json(["dead", "--json", "--grpc", &coordinator.grpc]);
    eventually(
        PATIENCE,
        || format!("the job is given up: {}", dead()),
        || dead().as_array().is_some_and(|dead| !dead.is_empty()),
    );
    let letter = dead()[0].clone();
    assert_eq!(letter["attempts"], 4, "another worker might have seen it: {letter}");
    let reason = letter["failures"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("is missing from the byte store"), "{reason}");
    for object in &objects {
        std::fs::rename(away(object), object).expect("our file");
    }
    let output = prelim(["requeue", "--grpc", &coordinator.grpc, letter["job_id"].as_str().expect("an id")]);
    assert!(output.status.success() && words(&output).contains("1 job ready again"), "{}", words(&output));
    let followed = prelim(["watch", "--grpc", &coordinator.grpc, &study]);
    assert!(words(&followed).contains("drafted"), "{}", words(&followed));
    let draft = prelim_tests::draft(&coordinator.grpc, &study, "json");
    assert!(!String::from_utf8_lossy(&draft).contains("job_dead"), "all of it was read");
}
