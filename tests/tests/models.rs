//! Rules that name a model or a prompt: jobs go to the workers that offer it, in one cluster with two models.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prelim_proto::v1::worker_service_client::WorkerServiceClient;
use prelim_proto::v1::{JobKind, LeaseRequest};
use prelim_tests::ports::free_address;
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::{asked_model, eventually, phantoms, prelim, prelim_json, words};
use serde_json::Value;

/// How long a study takes to be read, and a changed file to be taken up, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const RULES: &str = r#"
[[rule]]
name = "volumes"
modality = ["CT"]
model = "reader b"

[default]
model = "reader-a"
"#;

/// A prompt of the site's: the demonstration model's words for X-rays, and one finding that the answer can name.
const PROMPT: &str = r#"
version = "3"
[xray]
prompt = "Report the findings on this chest radiograph."
findings = ["pacemaker"]
"#;

/// A coordinator with rules, and a folder.
struct Site {
    server: Server,
    metrics: String,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("rules.toml"), RULES).expect("a file");
        let metrics = free_address();
        let mut arguments = vec!["coordinator", "--grpc", "127.0.0.1:0", "--data", "data", "--json"];
        arguments.extend(["--rules", "rules.toml", "--metrics", &metrics]);
        arguments.extend(more);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, metrics, folder }
    }

    /// A worker with the demonstration model in a folder of its own, with these flags.
    fn worker(&self, name: &str, more: &[&str]) -> Server {
        let folder = self.folder.path().join(name);
        asked_model(&folder.join("model"), None);
        std::fs::create_dir_all(folder.join("model/prompts")).expect("a folder");
        std::fs::write(folder.join("model/prompts/pacemakers.toml"), PROMPT).expect("a file");
        let mut arguments = vec!["worker", "--grpc", &self.server.grpc, "--json", "--model", "model"];
        arguments.extend(more);
        Server::start(&folder, &arguments, &[])
    }

    fn json(&self, arguments: &[&str]) -> Value {
        prelim_json(arguments.iter().copied().chain(["--json", "--grpc", &self.server.grpc]))
    }

    /// Sends phantom studies; their UIDs.
    fn send(&self, modality: &str, count: u32, seed: u64) -> Vec<String> {
        let folder = self.folder.path().join(format!("{modality}-{seed}"));
        phantoms(&folder, count, seed, Some(modality));
        let sent = self.json(&["submit", &folder.display().to_string()]);
        let studies = sent["study_uids"].as_array().expect("a list").iter();
        studies.map(|study| study.as_str().expect("a UID").to_owned()).collect()
    }

    fn study(&self, uid: &str) -> Value {
        let listed = self.json(&["studies"]);
        let mut studies = listed.as_array().expect("a list").iter();
        studies.find(|study| study["study_uid"] == uid).cloned().unwrap_or_default()
    }

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

    /// What made a study's draft: names of models, and versions of prompts.
    fn read_with(&self, uid: &str) -> (BTreeSet<String>, BTreeSet<String>, Value) {
        let draft = prelim_json(["report", uid, "--format", "json", "--grpc", &self.server.grpc]);
        let models = draft["provenance"].as_array().cloned().unwrap_or_default();
        let each = |field: &str| models.iter().map(|model| model[field].as_str().expect("a text").to_owned()).collect();
        (each("model"), each("prompt_version"), draft)
    }

    fn number(&self, name: &str) -> f64 {
        let mut connection = TcpStream::connect(&self.metrics).expect("it listens");
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("it reads");
        let mut text = String::new();
        connection.read_to_string(&mut text).expect("an answer");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.trim().parse().expect("a number")
    }

    /// Waits until a number is told.
    fn tells(&self, name: &str, number: f64) {
        eventually(PATIENCE, || format!("{name} is {}", self.number(name)), || self.number(name) == number);
    }

    fn write_rules(&self, rules: &str) -> PathBuf {
        let path = self.folder.path().join("rules.toml");
        std::fs::write(&path, rules).expect("a file");
        path
    }
}

fn set(name: &str) -> BTreeSet<String> {
    [name.to_owned()].into()
}

/// Promise: each study is read by the model that its rule names; one whose model nobody offers waits, which is said
/// wherever one looks, until a worker offers it; a worker of a version that names no model gets neither.
fn each_study_goes_to_its_model(site: &Site) {
    let _a = site.worker("a", &["--model-name", "reader-a"]);
    let film = &site.send("dx", 1, 31)[0];
    let volume = &site.send("ct", 1, 32)[0];
    site.becomes(film, "drafted");
    assert_eq!(site.read_with(film).0, set("reader-a"));
    let waiting = site.study(volume);
    assert_eq!(waiting["state"], "queued", "{waiting:#}");
    assert_eq!(waiting["state_reason"], "waits for a worker that offers model \"reader b\"; none is known");
    assert_eq!(waiting["intake"]["route"]["model"], "reader b");
    let table = words(&prelim(["studies", "--grpc", &site.server.grpc]));
    assert!(table.contains("queued: waits for a worker that offers model"), "{table}");
    let workers = words(&prelim(["workers", "--grpc", &site.server.grpc]));
    assert!(workers.contains("for model \"reader b\"") && workers.contains("NO WORKER OFFERS IT"), "{workers}");
    let jobs = waiting["jobs_total"].as_f64().expect("a number");
    assert!(jobs >= 1.0);
    site.tells("prelim_jobs_without_worker ", jobs);
    site.tells("prelim_jobs_demanded{model=\"reader b\",prompt=\"\"} ", jobs);
    eventually(
        PATIENCE,
        || format!("a line in {}", site.server.log()),
        || site.server.log().contains("jobs wait for what no worker offers"),
    );
    assert_eq!(lease(&site.server.grpc), None, "it names no model");
    let rules = site.folder.path().join("rules.toml").display().to_string();
    let checked = prelim(["route", "check", &rules, "--offered", "--grpc", &site.server.grpc]);
    let said = words(&checked);
    assert!(!checked.status.success() && said.contains("no worker offers 1 of"), "{said}");
    assert!(said.contains("model \"reader b\"; no worker offers it") && said.contains("offered by 1 worker"), "{said}");
    let tried = site.json(&["route", "test", volume]);
    assert_eq!((&tried[0]["model"], &tried[0]["prompt"]), (&Value::from("reader b"), &Value::Null));

    let mut b = site.worker("b", &["--model-name", "reader b"]);
    let read = site.becomes(volume, "drafted");
    assert_eq!((&read["state_reason"], site.read_with(volume).0), (&Value::Null, set("reader b")));
    site.tells("prelim_jobs_without_worker ", 0.0);
    // Without it, another waits again; rules that are changed are for studies that are planned anew.
    b.terminate();
    let other = &site.send("ct", 1, 33)[0];
    site.becomes(other, "queued");
    eventually(PATIENCE, || "b is gone".to_owned(), || !site.study(other)["state_reason"].is_null());
    site.write_rules("[default]\nmodel = 'reader-a'\n");
    std::thread::sleep(Duration::from_millis(1_500));
    for command in ["cancel", "complete"] {
        let said = prelim([command, other, "--grpc", &site.server.grpc]);
        assert!(said.status.success(), "{}", words(&said));
    }
    site.becomes(other, "drafted");
    assert_eq!(site.read_with(other).0, set("reader-a"));
}

#[test]
fn each_study_goes_to_its_model_on_the_embedded_store() {
    each_study_goes_to_its_model(&Site::start(&[]));
}

#[test]
fn each_study_goes_to_its_model_on_redis() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(&folder.path().join("redis"));
    let bytes = format!("file://{}", folder.path().join("bytes").display());
    each_study_goes_to_its_model(&Site::start(&["--redis", &redis.url(), "--bytes", &bytes]));
}

/// The job that a worker gets next which names no model, as those of older versions do.
fn lease(grpc: &str) -> Option<String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut client = WorkerServiceClient::connect(format!("http://{grpc}")).await.expect("it listens");
        let request = LeaseRequest {
            worker_id: "old".to_owned(),
            kinds: vec![JobKind::ReadXray as i32, JobKind::ReadCt as i32],
            wait_ms: 1_500,
            ..LeaseRequest::default()
        };
        let lease = client.lease(request).await.expect("an answer").into_inner().lease;
        lease.and_then(|lease| lease.job).map(|job| job.id)
    })
}

/// Promise: a study is read with the prompt that its rule names, whose version and digest its draft names, and the answer
/// can name nothing that the prompt leaves out; a prompt that is not for its images fails it with the reason; and the
/// demonstration model takes no prompt from elsewhere.
#[test]
fn a_prompt_that_a_rule_names_is_part_of_the_draft() {
    let site = Site::start(&[]);
    site.write_rules("[default]\n");
    let _a = site.worker("a", &["--model-name", "reader-a"]);
    let own: Vec<String> = site.send("dx", 6, 41);
    for uid in &own {
        site.becomes(uid, "drafted");
        assert_eq!(site.read_with(uid).1, set("demo-2"));
    }
    site.write_rules("[default]\nprompt = 'pacemakers'\n");
    std::thread::sleep(Duration::from_millis(1_500));
    let prompted: Vec<String> = site.send("dx", 6, 42);
    let mut digests = BTreeSet::new();
    for uid in &prompted {
        let study = site.becomes(uid, "drafted");
        assert_eq!(study["intake"]["route"]["prompt"], "pacemakers", "{study:#}");
        let (_, versions, draft) = site.read_with(uid);
        digests.extend(versions);
        for finding in draft["report"]["findings"].as_array().expect("a list") {
            assert_eq!(finding["key"], "pacemaker", "{finding:#}");
        }
        assert!(draft.to_string().contains("confidences are not calibrated"), "{draft:#}");
    }
    let digest = prelim_imaging::header::digest(PROMPT.as_bytes());
    assert_eq!(digests, set(&format!("pacemakers 3 (SHA-256 {}…)", &digest.as_str()[..16])));
    let workers = site.json(&["workers"]);
    assert_eq!(workers["workers"][0]["prompts"], serde_json::json!(["pacemakers"]), "{workers:#}");

    let volume = &site.send("ct", 1, 43)[0];
    let failed = site.becomes(volume, "failed");
    let dead = prelim_json(["dead", "--json", "--grpc", &site.server.grpc]);
    let reason = dead[0]["failures"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("prompt \"pacemakers\" is not for CT"), "{dead:#}\n{failed:#}");

    let foreign = site.folder.path().join("foreign");
    std::fs::create_dir_all(&foreign).expect("a folder");
    std::fs::write(foreign.join("short.toml"), PROMPT).expect("a file");
    let refused = worker_with_prompts(&site.server.grpc, &foreign);
    assert!(refused.contains("trained with its own prompt"), "{refused}");
    std::fs::write(foreign.join("short.toml"), "version = '1'\n[mr]\n").expect("a file");
    let refused = worker_with_prompts(&site.server.grpc, &foreign);
    assert!(refused.contains("short.toml is not usable"), "{refused}");
}

/// What a worker with the demonstration model says that is given prompts.
fn worker_with_prompts(grpc: &str, prompts: &Path) -> String {
    let output = prelim(["worker", "--grpc", grpc, "--prompts", &prompts.display().to_string()]);
    assert!(!output.status.success(), "{}", words(&output));
    words(&output)
}
