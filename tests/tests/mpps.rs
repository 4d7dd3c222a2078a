//! Performed procedure steps (MPPS) of a modality that is not ours, pynetdicom's: what they say decides when a study is
//! complete.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use prelim_tests::object::{CT, Object};
use prelim_tests::redis::Redis;
use prelim_tests::sender::Sender;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, eventually, prelim_json, repository, words};
use serde_json::{Value, json};

/// Longer than the quiet period of those who are waited for, and than any grace.
const A_WHILE: Duration = Duration::from_millis(2_500);
const MPPS: &str = "1.2.840.10008.3.1.2.3.3";
const IMPLICIT: &str = "1.2.840.10008.1.2";

const RULES: &str = r#"
[default]

[[completeness]]                 # its modality tells what it performs
sender = "CT_MPPS"
quiet_period_ms = 1000
association_grace_ms = 300
waits_for_mpps = true

[[completeness]]
sender = "CT_PLAIN"
association_grace_ms = 60000
"#;

struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("rules.toml"), RULES).expect("a file");
        let mut arguments = vec!["coordinator", "--grpc", "127.0.0.1:0", "--data", "data", "--json"];
        arguments.extend(["--dicom", "127.0.0.1:0", "--rules", "rules.toml", "--quiet-period-ms", "600000"]);
        arguments.extend(["--max-wait-ms", "900000"]);
        arguments.extend(more);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, folder }
    }

    fn port(&self) -> u16 {
        self.server.dicom.rsplit(':').next().expect("TITLE@HOST:PORT").parse().expect("a port")
    }

    /// A modality that calls itself so.
    fn modality(&self, title: &str) -> Modality {
        let root = repository();
        let mut command = Command::new(root.join("target/python/bin/python"));
        command.arg("-B").arg(root.join("tests/peers/mpps.py")).args(["127.0.0.1", &self.port().to_string(), title]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Modality { child, answers }
    }

    /// Sends slices of a study, from one number to another, in one association.
    fn send(&self, title: &str, study: &str, numbers: std::ops::RangeInclusive<u16>) {
        let files: Vec<PathBuf> = numbers.map(|number| self.file(study, number)).collect();
        let port = self.port().to_string();
        let mut command = Command::new("storescu");
        command.args(["-v", "-aet", title, "-aec", "PRELIM", "127.0.0.1", &port]).args(&files);
        let sent = command.output().expect("DCMTK is installed by tests/install.sh");
        let answered = words(&sent).matches("Received Store Response (Success)").count();
        assert_eq!(answered, files.len(), "{}", words(&sent));
    }

    fn file(&self, study: &str, number: u16) -> PathBuf {
        let path = self.folder.path().join(format!("{study}-{number}.dcm"));
        std::fs::write(&path, Object::image(CT, study, &slice(study, number), number * 5).file()).expect("a file");
        path
    }

    fn study(&self, uid: &str) -> Value {
        let listed = prelim_json(["studies", "--json", "--grpc", &self.server.grpc]);
        let mut studies = listed.as_array().expect("a list").iter();
        studies.find(|study| study["study_uid"] == uid).cloned().unwrap_or_default()
    }

    /// Waits until the study has its jobs; what it was called complete by, with how many instances.
    fn queued(&self, uid: &str) -> (String, String, u64) {
        let mut study = Value::Null;
        eventually(
            PATIENCE,
            || format!("{uid} is queued: {:#}\n{}", self.study(uid), self.server.log()),
            || {
                study = self.study(uid);
                study["state"] == "queued"
            },
        );
        let completion = &study["intake"]["completion"];
        let text = |field: &str| completion[field].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("detail"), study["instances"].as_u64().unwrap_or_default())
    }

    /// Says that the study is still received after a while.
    fn waits(&self, uid: &str) {
        std::thread::sleep(A_WHILE);
        assert_eq!(self.study(uid)["state"], "receiving", "{:#}", self.study(uid));
    }
}

fn slice(study: &str, number: u16) -> String {
    format!("{study}.1.{number}")
}

fn slices(study: &str, numbers: std::ops::RangeInclusive<u16>) -> Vec<String> {
    numbers.map(|number| slice(study, number)).collect()
}

/// A modality as pynetdicom plays it.
struct Modality {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Modality {
    /// Sends a message; its status, and an Error ID where there is one.
    fn say(&mut self, line: Value) -> String {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "{line}").expect("it listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer");
        answer.trim().to_owned()
    }

    fn create(&mut self, uid: &str, studies: &[&str]) -> String {
        self.say(json!({"do": "create", "uid": uid, "studies": studies}))
    }

    fn end(&mut self, uid: &str, status: &str, listed: &[String]) -> String {
        self.say(json!({"do": "set", "uid": uid, "status": status, "listed": listed, "mixed": true}))
    }
}

impl Drop for Modality {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Promise: a study of a modality that tells what it performs is complete when the step is and all that it lists is there, and
/// not before; whichever comes first, the step's end or the last image; and when a step is discontinued, by the quiet period.
#[test]
fn a_study_is_complete_when_its_steps_are_and_all_that_they_list_is_there() {
    let site = Site::start(&[]);
    let mut modality = site.modality("CT_MPPS");
    // The step is over after its images.
    let first = "1.2.826.88.1";
    assert_eq!(modality.create("1.2.826.88.100.1", &[first]), "0000");
    site.send("CT_MPPS", first, 1..=3);
    site.waits(first);
    assert_eq!(modality.end("1.2.826.88.100.1", "COMPLETED", &slices(first, 1..=3)), "0000");
    let (reason, detail, instances) = site.queued(first);
    assert_eq!((reason.as_str(), instances), ("steps_performed", 3), "{detail}");
    assert_eq!(detail, "all 3 instances that 1 performed procedure step lists are there");

    // Images come before the first word of the step, and after its last.
    let second = "1.2.826.88.2";
    site.send("CT_MPPS", second, 1..=1);
    site.waits(second);
    assert_eq!(modality.create("1.2.826.88.100.2", &[second]), "0000");
    site.send("CT_MPPS", second, 2..=2);
    assert_eq!(modality.end("1.2.826.88.100.2", "COMPLETED", &slices(second, 1..=4)), "0000");
    // One that it does not list is none of those that are waited for.
    site.send("CT_MPPS", second, 9..=10);
    site.waits(second);
    site.send("CT_MPPS", second, 3..=4);
    assert_eq!(site.queued(second).0, "steps_performed");

    // Two steps of one study: both have to end.
    let third = "1.2.826.88.3";
    for step in ["1.2.826.88.100.3", "1.2.826.88.100.4"] {
        assert_eq!(modality.create(step, &[third]), "0000");
    }
    site.send("CT_MPPS", third, 1..=4);
    assert_eq!(modality.end("1.2.826.88.100.3", "COMPLETED", &slices(third, 1..=2)), "0000");
    site.waits(third);
    assert_eq!(modality.end("1.2.826.88.100.4", "COMPLETED", &slices(third, 3..=4)), "0000");
    assert_eq!(site.queued(third).1, "all 4 instances that 2 performed procedure steps list are there");

    // Discontinued: what came is all that comes.
    let fourth = "1.2.826.88.4";
    assert_eq!(modality.create("1.2.826.88.100.5", &[fourth]), "0000");
    site.send("CT_MPPS", fourth, 1..=2);
    site.waits(fourth);
    assert_eq!(modality.end("1.2.826.88.100.5", "DISCONTINUED", &slices(fourth, 1..=5)), "0000");
    let (reason, detail, _) = site.queued(fourth);
    assert_eq!(reason, "quiet_period");
    assert_eq!(detail, "nothing came for 1 s; a performed procedure step was discontinued");
    let log = site.server.log();
    assert!(log.contains("performed procedure step") && !log.contains("1.2.826.88"), "{log}");
    assert!(!log.contains("PLANTED") && !log.contains("Planted"), "{log}");
}

/// Promise: a list helps also where it is not waited for: the study is complete long before its quiet period.
#[test]
fn a_list_completes_a_study_of_a_sender_that_is_not_waited_for() {
    let site = Site::start(&[]);
    let mut modality = site.modality("OTHER");
    let uid = "1.2.826.88.5";
    site.send("CT_PLAIN", uid, 1..=2);
    assert_eq!(modality.create("1.2.826.88.100.6", &[uid]), "0000");
    site.waits(uid);
    assert_eq!(modality.end("1.2.826.88.100.6", "COMPLETED", &slices(uid, 1..=2)), "0000");
    assert_eq!(site.queued(uid).0, "steps_performed");
    let table = words(&prelim_tests::prelim(["studies", "--grpc", &site.server.grpc]));
    assert!(table.contains("steps performed"), "{table}");
}

/// Promise: a step is known to every coordinator, also after a restart, and also where it came before its study did.
fn a_step_outlives_the_coordinator_that_heard_of_it(mut one: Site, two: Option<Site>) {
    let uid = "1.2.826.88.6";
    assert_eq!(one.modality("CT_MPPS").create("1.2.826.88.100.7", &[uid]), "0000");
    one.server.kill();
    one.server.start_again();
    let other = two.as_ref().unwrap_or(&one);
    other.send("CT_MPPS", uid, 1..=2);
    other.waits(uid);
    assert_eq!(one.modality("CT_MPPS").end("1.2.826.88.100.7", "COMPLETED", &slices(uid, 1..=3)), "0000");
    one.server.kill();
    one.server.start_again();
    let other = two.as_ref().unwrap_or(&one);
    other.waits(uid);
    one.send("CT_MPPS", uid, 3..=3);
    assert_eq!(one.queued(uid).0, "steps_performed");
}

#[test]
fn a_step_outlives_a_coordinator_on_the_embedded_store() {
    a_step_outlives_the_coordinator_that_heard_of_it(Site::start(&[]), None);
}

#[test]
fn a_step_outlives_a_coordinator_on_redis() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(&folder.path().join("redis"));
    let bytes = format!("file://{}", folder.path().join("bytes").display());
    let [one, two] = [(), ()].map(|()| Site::start(&["--redis", &redis.url(), "--bytes", &bytes]));
    a_step_outlives_the_coordinator_that_heard_of_it(one, Some(two));
}

/// Promise: what is wrong is answered with the status of the standard, and changes nothing (PS3.4 section F.7.2, PS3.7 annex C).
#[test]
fn what_is_wrong_with_a_message_is_answered_by_its_status() {
    let folder = tempfile::tempdir().expect("a folder");
    let peers = folder.path().join("peers.toml");
    std::fs::write(&peers, "[[peer]]\naet = 'CT_MPPS'\n[[peer]]\naet = 'WEST'\ntenant = 'west'\n").expect("a file");
    let site = Site::start(&["--dicom-peers", &peers.display().to_string()]);
    let mut modality = site.modality("CT_MPPS");
    let uid = "1.2.826.88.7";
    let step = "1.2.826.88.100.8";
    let create = |more: Value| {
        let mut line = json!({"do": "create", "uid": step, "studies": [uid]});
        line.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        line
    };
    for (line, status) in [
        (create(json!({"without": ["PerformedProcedureStepStatus"]})), "0120"),
        (create(json!({"without": ["ScheduledStepAttributesSequence"]})), "0120"),
        (create(json!({"studies": []})), "0121"),
        (create(json!({"studies": [""]})), "0121"),
        (create(json!({"status": "COMPLETED"})), "0106"),
        (create(json!({"status": "PAUSED"})), "0106"),
        (create(json!({"studies": (0..17).map(|n| format!("1.2.{n}")).collect::<Vec<_>>()})), "0213"),
        (create(json!({"depth": 200})), "0110"),
        (json!({"do": "set", "uid": step, "status": "COMPLETED", "listed": []}), "0112"),
        (create(json!({})), "0000"),
        (create(json!({})), "0111"),
        (json!({"do": "set", "uid": step, "status": "LATER", "listed": []}), "0106"),
        (json!({"do": "set", "uid": step, "status": "COMPLETED", "listed": ["x.y"]}), "0106"),
        (json!({"do": "set", "uid": step, "status": "COMPLETED", "listed": slices("1.2.3", 1..=20_001)}), "0213"),
        (json!({"do": "set", "uid": "1.2.3.4", "status": "COMPLETED", "listed": []}), "0112"),
        // Nothing of that has ended it, nor has an abort in place of the release.
        (
            json!({"do": "set", "uid": step, "status": "IN PROGRESS", "listed": slices(uid, 1..=1), "abort": true}),
            "0000",
        ),
    ] {
        assert_eq!(modality.say(line.clone()), status, "{}", line.to_string().chars().take(300).collect::<String>());
    }
    assert_eq!(site.modality("WEST").end(step, "COMPLETED", &slices(uid, 1..=1)), "0112", "another tenant's");
    assert_eq!(modality.end(step, "COMPLETED", &slices(uid, 1..=2)), "0000");
    for status in ["COMPLETED", "IN PROGRESS"] {
        assert_eq!(modality.end(step, status, &[]), "0110 A710");
    }
    site.send("CT_MPPS", uid, 1..=2);
    assert_eq!(site.queued(uid).0, "steps_performed");
    // Another tenant's step of the same study says nothing of it.
    let other = "1.2.826.88.8";
    assert_eq!(site.modality("WEST").create("1.2.826.88.100.9", &[other]), "0000");
    assert_eq!(modality.create("1.2.826.88.100.10", &[other]), "0000");
    site.send("CT_MPPS", other, 1..=1);
    assert_eq!(modality.end("1.2.826.88.100.10", "COMPLETED", &slices(other, 1..=1)), "0000");
    assert_eq!(site.queued(other).0, "steps_performed");
}

/// Promise: a modality that breaks off in the middle of a message has said nothing, and the next one is served.
#[test]
fn a_message_that_breaks_off_says_nothing() {
    let site = Site::start(&[]);
    let associate = || Sender::associate(site.port(), vec![(MPPS.to_owned(), IMPLICIT.to_owned())]).expect("accepted");
    for bytes in [&[][..], &[4, 0, 0, 0, 0, 60], &[4, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1], &[4, 0, 0, 0, 0, 4, 0, 0, 0, 2]]
    {
        let mut sender = associate();
        sender.write_raw(bytes).expect("it reads");
        sender.hang_up();
    }
    // An object is none of what is said here.
    assert_eq!(associate().store(0, "1.2.3", &[8, 0, 0x18, 0, 2, 0, 0, 0, b'1', 0]).expect("an answer"), 0x0211);
    let uid = "1.2.826.88.9";
    let mut modality = site.modality("CT_MPPS");
    assert_eq!(modality.create("1.2.826.88.100.11", &[uid]), "0000");
    assert_eq!(modality.end("1.2.826.88.100.11", "COMPLETED", &slices(uid, 1..=1)), "0000");
}
