//! When studies are complete, and which are read: real senders against a coordinator with rules.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use prelim_proto::v1::worker_service_client::WorkerServiceClient;
use prelim_proto::v1::{JobKind, LeaseRequest};
use prelim_tests::object::{CT, DX, Object};
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::{eventually, prelim, prelim_json, repository, words};
use serde_json::Value;

/// How long a sign takes to be seen, and a study to be read, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const RULES: &str = r#"
[[rule]]
name = "phantoms"
quality_control = true
skip = "a phantom for quality control"

[[rule]]
name = "emergency"
sender = ["ER_*"]
priority = "stat"
destinations = ["er-worklist"]

[default]
destinations = ["pacs"]

[[completeness]]
sender = "CT*"
association_grace_ms = 300

[[completeness]]
sender = "ER_*"
association_grace_ms = 0
"#;

/// A coordinator with rules, alone or with a worker, and its folder. Its quiet period is far longer than any test.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(role: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("rules.toml"), RULES).expect("a file");
        let mut arguments = vec![role, "--grpc", "127.0.0.1:0", "--data", "data", "--quiet-period-ms", "600000"];
        arguments.extend(["--json", "--max-wait-ms", "900000", "--dicom", "127.0.0.1:0", "--rules", "rules.toml"]);
        arguments.extend(more);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, folder }
    }

    fn port(&self) -> &str {
        self.server.dicom.rsplit(':').next().expect("TITLE@HOST:PORT")
    }

    /// Writes objects to files.
    fn files(&self, objects: impl IntoIterator<Item = Object>) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for object in objects {
            let bytes = object.file();
            let name = format!("{}.dcm", prelim_imaging::header::digest(&bytes).as_str());
            let path = self.folder.path().join(name);
            std::fs::write(&path, bytes).expect("a file");
            paths.push(path);
        }
        paths
    }

    /// Sends files by DCMTK, in one association.
    fn send(&self, title: &str, files: &[PathBuf]) {
        let mut command = Command::new("storescu");
        command.args(["-v", "-aet", title, "-aec", "PRELIM", "127.0.0.1", self.port()]).args(files);
        let sent = command.output().expect("DCMTK is installed by tests/install.sh");
        let answered = words(&sent).matches("Received Store Response (Success)").count();
        assert_eq!(answered, files.len(), "{}", words(&sent));
    }

    /// Sends files in an association that stays open.
    fn hold(&self, title: &str, files: &[PathBuf]) -> Held {
        let root = repository();
        let mut command = Command::new(root.join("target/python/bin/python"));
        command.arg("-B").arg(root.join("tests/peers/hold.py")).args(["127.0.0.1", self.port(), title]).args(files);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let mut statuses = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut statuses).expect("its statuses");
        assert_eq!(statuses.split_whitespace().filter(|status| *status == "0000").count(), files.len(), "{statuses}");
        Held(child)
    }

    fn study(&self, uid: &str) -> Value {
        let listed = prelim_json(["studies", "--json", "--grpc", &self.server.grpc, "--limit", "500"]);
        let mut studies = listed.as_array().expect("a list").iter();
        studies.find(|study| study["study_uid"] == uid).cloned().unwrap_or_default()
    }

    /// Waits until the study is in that state.
    fn becomes(&self, uid: &str, state: &str) -> Value {
        let mut study = Value::Null;
        eventually(
            PATIENCE,
            || format!("{uid} is {state}: {:#}\n{}", self.study(uid), self.server.log()),
            || {
                study = self.study(uid);
                study["state"] == state
            },
        );
        study
    }

    /// The study's newest draft.
    fn draft(&self, uid: &str) -> Value {
        prelim_json(["report", uid, "--format", "json", "--grpc", &self.server.grpc])
    }
}

/// An association that stays open.
struct Held(Child);

impl Held {
    fn end(mut self, how: &str) {
        let mut input = self.0.stdin.take().expect("a pipe");
        input.write_all(format!("{how}\n").as_bytes()).expect("it listens");
        drop(input);
        assert!(self.0.wait().expect("it ends").success());
    }
}

/// Slices of a CT study, from one number to another.
fn slices(study: &str, numbers: std::ops::RangeInclusive<u16>) -> Vec<Object> {
    numbers.map(|number| Object::image(CT, study, &format!("{study}.1.{number}"), number * 5)).collect()
}

fn reason(study: &Value) -> &str {
    study["intake"]["completion"]["reason"].as_str().unwrap_or_default()
}

/// Promise: a study is complete when the association that brought it is released, long before its quiet period; late
/// slices open it again and lead to an amended draft that names the one it replaces; the same study again changes nothing.
#[test]
fn the_end_of_an_association_completes_a_study_and_late_slices_amend_its_draft() {
    let site = Site::start("up", &[]);
    let uid = "1.2.826.77.1";
    let first = site.files(slices(uid, 1..=3));
    site.send("CT1", &first);
    let study = site.becomes(uid, "drafted");
    assert_eq!(reason(&study), "associations_ended", "{study:#}");
    assert_eq!(study["intake"]["senders"], serde_json::json!(["CT1"]));
    assert_eq!(study["intake"]["route"], serde_json::json!({"rule": "default", "destinations": ["pacs"]}));
    let draft = site.draft(uid);
    assert_eq!((&draft["report"]["version"], &draft["report"]["replaces"]), (&Value::from(1), &Value::Null));

    // The same study again, by the same and by another sender: no new draft, and nothing is read again.
    let jobs = |study: &Value| (study["jobs_total"].clone(), study["instances"].clone());
    site.send("CT1", &first);
    site.send("CT2", &first);
    std::thread::sleep(Duration::from_secs(2));
    let again = site.study(uid);
    assert_eq!((&again["state"], jobs(&again)), (&Value::from("drafted"), jobs(&study)), "{again:#}");
    assert_eq!(site.draft(uid), draft);

    site.send("CT1", &site.files(slices(uid, 4..=5)));
    let mut amended = Value::Null;
    eventually(
        PATIENCE,
        || format!("a second draft: {:#}", site.study(uid)),
        || {
            let study = site.study(uid);
            let is_drafted = study["state"] == "drafted";
            amended = if is_drafted { site.draft(uid) } else { Value::Null };
            amended["report"]["version"] == 2
        },
    );
    let replaced = &amended["report"]["replaces"];
    assert_eq!(replaced["version"], 1, "{replaced}");
    assert_eq!(replaced["digest"].as_str().map(str::len), Some(64), "{replaced}");
    assert_eq!(site.study(uid)["instances"], 5);
    for form in ["text", "html"] {
        let report = prelim(["report", uid, "--format", form, "--grpc", &site.server.grpc]);
        assert!(words(&report).contains("it replaces draft 1 of this study"), "{form}: {}", words(&report));
    }
}

/// Promise: two senders of one study at once meet in one study, which is complete when the last of them is done; one that
/// breaks off says that more is to come.
#[test]
fn two_associations_of_one_study_meet_and_the_last_end_counts() {
    let site = Site::start("coordinator", &[]);
    let uid = "1.2.826.77.2";
    let held = site.hold("CT1", &site.files(slices(uid, 1..=2)));
    site.send("CT2", &site.files(slices(uid, 3..=4)));
    // Ten times the grace.
    std::thread::sleep(Duration::from_secs(3));
    let waiting = site.study(uid);
    assert_eq!((&waiting["state"], &waiting["instances"]), (&Value::from("receiving"), &Value::from(4)), "{waiting:#}");
    held.end("release");
    let study = site.becomes(uid, "queued");
    assert_eq!((reason(&study), &study["instances"]), ("associations_ended", &Value::from(4)), "{study:#}");
    assert_eq!(study["intake"]["senders"], serde_json::json!(["CT1", "CT2"]));

    let other = "1.2.826.77.3";
    site.hold("CT1", &site.files(slices(other, 1..=2))).end("abort");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(site.study(other)["state"], "receiving", "{:#}", site.study(other));
    // Somebody who knows says that this is all.
    let told = prelim(["complete", other, "--grpc", &site.server.grpc]);
    assert!(told.status.success() && words(&told).contains("queued"), "{}", words(&told));
    assert_eq!(reason(&site.study(other)), "told");
}

/// The same through two coordinators on one Redis.
#[test]
fn two_coordinators_on_one_redis_know_of_each_others_associations() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(&folder.path().join("redis"));
    let bytes = format!("file://{}", folder.path().join("bytes").display());
    let url = redis.url();
    let [one, other] = ["one", "other"].map(|_| Site::start("coordinator", &["--redis", &url, "--bytes", &bytes]));
    let uid = "1.2.826.77.4";
    let held = one.hold("CT1", &one.files(slices(uid, 1..=2)));
    other.send("CT2", &other.files(slices(uid, 3..=4)));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(other.study(uid)["state"], "receiving", "{:#}", other.study(uid));
    held.end("release");
    let study = other.becomes(uid, "queued");
    assert_eq!((reason(&study), &study["instances"]), ("associations_ended", &Value::from(4)), "{study:#}");
    assert_eq!(one.study(uid)["jobs_total"], study["jobs_total"]);
}

/// Promise: a study whose sender says how many instances it has is complete with the last of them, by whatever way it comes.
#[test]
fn a_study_is_complete_with_the_last_instance_that_was_announced() {
    let site = Site::start("coordinator", &[]);
    let uid = "1.2.826.77.5";
    let submit = |files: &[PathBuf]| {
        let files = files.iter().map(|file| file.display().to_string());
        let fixed = ["submit", "--json", "--instances", "4", "--grpc", &site.server.grpc].map(str::to_owned);
        prelim_json(fixed.into_iter().chain(files))
    };
    submit(&site.files(slices(uid, 1..=2)));
    std::thread::sleep(Duration::from_secs(2));
    let waiting = site.study(uid);
    assert_eq!(waiting["state"], "receiving", "{waiting:#}");
    assert_eq!(waiting["intake"]["expected_instances"], 4);
    // A modality sends the rest, in an association that goes on.
    let held = site.hold("MR1", &site.files(slices(uid, 3..=4)));
    let study = site.becomes(uid, "queued");
    assert_eq!(reason(&study), "count_reached", "{study:#}");
    held.end("release");
    // A client that says nothing of counts says at its end that its study is whole.
    let whole = "1.2.826.77.6";
    let file = site.files(slices(whole, 1..=1)).remove(0).display().to_string();
    prelim_json(["submit", "--json", "--grpc", &site.server.grpc, &file]);
    assert_eq!(reason(&site.becomes(whole, "queued")), "told");
}

/// Promise: a phantom for quality control is skipped with its reason, by rule, and every instance of it is named; nothing
/// is dropped in silence.
#[test]
fn a_phantom_is_skipped_with_its_reason() {
    let site = Site::start("coordinator", &[]);
    let uid = "1.2.826.77.7";
    let phantom = slices(uid, 1..=3).into_iter().map(|mut slice| {
        slice.text((0x10, 0x200), "CS", "YES");
        slice
    });
    let files = site.files(phantom);
    site.send("CT1", &files);
    let study = site.becomes(uid, "skipped");
    assert_eq!(study["state_reason"], "rule \"phantoms\": a phantom for quality control");
    assert_eq!(study["unread"].as_array().map(Vec::len), Some(3), "{study:#}");
    assert_eq!(study["intake"]["route"]["rule"], "phantoms");
    let table = words(&prelim(["studies", "--grpc", &site.server.grpc]));
    assert!(table.contains("skipped: rule") && table.contains("associations ended"), "{table}");

    // What the rules made of it, as a held study and as files.
    let held = prelim_json(["route", "test", uid, "--json", "--grpc", &site.server.grpc]);
    let rules = site.folder.path().join("rules.toml").display().to_string();
    let file = files[0].display().to_string();
    let from_file = prelim_json(["route", "test", &file, "--rules", &rules, "--sender", "CT1", "--json"]);
    assert_eq!(held, from_file);
    assert_eq!(held[0]["skip"], "a phantom for quality control", "{held:#}");
    assert_eq!(held[0]["steps"][0]["reasons"][0], "quality_control: Quality Control Subject is YES");
    // By other rules, which are not the coordinator's.
    let other = site.folder.path().join("other.toml");
    std::fs::write(
        &other,
        "[[rule]]\nname = 'films'\nmodality = ['DX']\nskip = 'no films'\n[default]\npriority = 'urgent'\n",
    )
    .expect("a file");
    let tried = prelim_json(
        ["route", "test", uid, "--json", "--grpc", &site.server.grpc, "--rules"]
            .map(str::to_owned)
            .into_iter()
            .chain([other.display().to_string()]),
    );
    assert_eq!(tried[0]["steps"][0]["reasons"][0], "modality: \"CT\": none fits \"DX\"", "{tried:#}");
    assert_eq!((&tried[0]["rule"], &tried[0]["priority"]), (&Value::from("default"), &Value::from("urgent")));
    assert_eq!(site.study(uid)["state"], "skipped", "a try changes nothing");
    // The log names neither the study nor its header.
    let log = site.server.log();
    assert!(!log.contains(uid) && log.contains("study complete"), "{log}");
}

/// Promise: what a rule calls STAT overtakes what waits.
#[test]
fn a_study_that_a_rule_calls_stat_overtakes_the_others() {
    let site = Site::start("coordinator", &[]);
    let (routine, stat) = ("1.2.826.77.8", "1.2.826.77.9");
    site.send("CT1", &site.files(slices(routine, 1..=2)));
    site.becomes(routine, "queued");
    site.send("ER_XR", &site.files([Object::image(DX, stat, "1.2.826.77.9.1.1", 1)]));
    let study = site.becomes(stat, "queued");
    assert_eq!(
        (&study["priority"], &study["intake"]["route"]["rule"]),
        (&Value::from("stat"), &Value::from("emergency"))
    );
    let next = lease(&site.server.grpc);
    assert!(next.starts_with(&format!("{stat}/")), "{next}");
    assert!(lease(&site.server.grpc).starts_with(&format!("{routine}/")));
}

/// The job that a worker gets next.
fn lease(grpc: &str) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let address = if grpc.contains("://") { grpc.to_owned() } else { format!("http://{grpc}") };
        let mut client = WorkerServiceClient::connect(address).await.expect("it listens");
        let request = LeaseRequest {
            worker_id: "test".to_owned(),
            kinds: vec![JobKind::ReadXray as i32, JobKind::ReadCt as i32],
            wait_ms: 5_000,
            ..LeaseRequest::default()
        };
        let lease = client.lease(request).await.expect("an answer").into_inner().lease;
        let job = lease.and_then(|lease| lease.job).expect("a job");
        let text = serde_json::json!(format!("{job:?}")).to_string();
        assert!(!text.contains("er-worklist") && !text.contains("emergency"), "{text}");
        job.id
    })
}

/// Promise: rules are read at the start, with a mistake named by its line; a changed file is taken up without a restart.
#[test]
fn a_file_with_a_mistake_is_refused_by_line_and_a_changed_one_is_taken_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.toml");
    std::fs::write(&wrong, "[default]\n\n[[rule]]\nname = 'x'\nmodalty = ['CT']\n").expect("a file");
    let wrong = wrong.display().to_string();
    let checked = prelim(["route", "check", &wrong]);
    assert!(!checked.status.success() && words(&checked).contains("line 5"), "{}", words(&checked));
    let started = prelim(["coordinator", "--rules", &wrong, "--grpc", "127.0.0.1:0", "--data", &folder_of(&folder)]);
    assert!(!started.status.success() && words(&started).contains("--rules"), "{}", words(&started));

    let site = Site::start("coordinator", &[]);
    let rules = site.folder.path().join("rules.toml");
    let good = prelim_json(["route".to_owned(), "check".to_owned(), rules.display().to_string(), "--json".to_owned()]);
    assert_eq!(good, serde_json::json!({"rules": 2, "destinations": ["er-worklist", "pacs"]}));
    std::fs::write(&rules, format!("[[rule]]\nname = 'all CT'\nmodality = ['CT']\nskip = 'closed'\n{}", tail()))
        .expect("a file");
    std::thread::sleep(Duration::from_millis(1_200));
    let uid = "1.2.826.77.10";
    site.send("CT1", &site.files(slices(uid, 1..=1)));
    assert_eq!(site.becomes(uid, "skipped")["state_reason"], "rule \"all CT\": closed");
    // A file that is broken changes nothing.
    std::fs::write(&rules, "[[rule]").expect("a file");
    std::thread::sleep(Duration::from_millis(1_200));
    let uid = "1.2.826.77.11";
    site.send("CT1", &site.files(slices(uid, 1..=1)));
    site.becomes(uid, "skipped");
    eventually(
        PATIENCE,
        || format!("a line in {}", site.server.log()),
        || site.server.log().contains("changed files not taken up"),
    );
}

fn folder_of(folder: &tempfile::TempDir) -> String {
    Path::join(folder.path(), "data").display().to_string()
}

/// The end of the rules, from their default.
fn tail() -> &'static str {
    &RULES[RULES.find("[default]").expect("a default")..]
}
