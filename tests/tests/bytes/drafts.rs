//! Studies whose bytes are in a bucket, from upload to draft.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use prelim_tests::s3::{BUCKET, KEY_ID, S3, SECRET, damage};
use prelim_tests::{PATIENCE, Process, binary, draft, eventually, prelim, prelim_json, repository, submit, words};
use serde_json::Value;

/// A coordinator with its bytes in a bucket, and what it and its workers wrote to their logs.
struct Site {
    s3: S3,
    coordinator: Process,
    logs: PathBuf,
    // Removed last.
    _work: tempfile::TempDir,
}

impl Site {
    fn start(flags: &[&str]) -> Self {
        let work = tempfile::tempdir().unwrap();
        let (s3, logs) = (S3::start(&work.path().join("s3")), work.path().join("logs"));
        let place = format!("s3://{BUCKET}/site-a");
        let mut command = Command::new(binary());
        command
            .args(["coordinator", "--json", "--grpc", "127.0.0.1:0", "--bytes", &place, "--data"])
            .arg(work.path().join("data"))
            .args(flags)
            .envs(s3.variables())
            .stderr(log(&logs));
        let coordinator = Process::start_as(&mut command);
        Self { s3, coordinator, logs, _work: work }
    }

    fn grpc(&self) -> &str {
        &self.coordinator.grpc
    }

    /// A worker that knows nothing of the bucket.
    fn worker(&self) -> Process {
        self.worker_with(&[])
    }

    fn worker_with(&self, variables: &[(&str, &str)]) -> Process {
        let mut command = Command::new(binary());
        command.args(["worker", "--json", "--grpc", self.grpc()]).envs(variables.iter().copied());
        Process::start_as(command.stderr(log(&self.logs)))
    }

    /// What was logged so far; nothing in it may open the bucket.
    fn logged(&self) -> String {
        let logged = std::fs::read_to_string(&self.logs).expect("a log");
        for secret in [SECRET, KEY_ID, "X-Amz-Signature"] {
            assert!(!logged.contains(secret), "{secret} in: {logged}");
        }
        logged
    }

    /// The study as it is.
    fn study(&self, uid: &str) -> Value {
        let all = prelim_json(["studies", "--grpc", self.grpc(), "--json"]);
        let studies = all.as_array().expect("a list of studies");
        studies.iter().find(|study| study["study_uid"] == uid).expect("the study").clone()
    }
}

fn log(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a log")
}

/// Four slices of a real CT series.
fn slices() -> PathBuf {
    repository().join("tests/data/dicom/ct_series")
}

/// Sends the slices without waiting; their study.
fn send(grpc: &str) -> String {
    let output = prelim(["submit", "--grpc", grpc, "--json", slices().to_str().unwrap()]);
    assert!(output.status.success(), "{}", words(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    answer["study_uids"][0].as_str().expect("one study").to_owned()
}

/// Sends the slices and waits; the draft as JSON and as a page.
fn drafted(grpc: &str) -> (String, String) {
    let answer = submit(grpc, &slices());
    assert_eq!(answer["studies"][0]["state"], "drafted", "{answer}");
    let uid = answer["study_uids"][0].as_str().expect("one study");
    let text = |format| String::from_utf8(draft(grpc, uid, format)).expect("text");
    (text("json"), text("html"))
}

/// Issue promise: bytes behind `object_store`: a directory, and S3; read through the coordinator, or by signed address.
#[test]
fn a_study_is_drafted_alike_from_a_folder_from_a_bucket_and_by_signed_address() {
    let work = tempfile::tempdir().unwrap();
    let alone = Process::up(&work.path().join("data"));
    let expected = drafted(&alone.grpc);
    for (flags, is_direct) in [(&[][..], false), (&["--bytes-direct"][..], true)] {
        let site = Site::start(flags);
        let _worker = site.worker();
        assert_eq!(drafted(site.grpc()), expected, "{flags:?}");
        if is_direct {
            // The server's words come by a pipe.
            eventually(PATIENCE, || "a signed read".to_owned(), || site.s3.signed_reads() > 0);
        }
        assert_eq!(site.s3.signed_reads() > 0, is_direct, "{flags:?}");
        let keys: Vec<String> = site.s3.objects().into_iter().map(|(key, _)| key).collect();
        // Four slices and a draft, all of one study, which no key names.
        let (folder, _) = keys[0].rsplit_once('/').unwrap();
        assert_eq!(keys.len(), 5, "{keys:?}");
        assert!(keys.iter().all(|key| key.starts_with(folder) && key.starts_with("site-a/studies/")), "{keys:?}");
        site.logged();
    }
}

/// Decision: workers may have no way to the object store; those read through the coordinator.
#[test]
fn a_worker_without_a_way_to_the_bucket_reads_through_the_coordinator() {
    let site = Site::start(&["--bytes-direct"]);
    // Nothing listens there: HTTP fails, while gRPC asks no proxy.
    let _worker = site.worker_with(&[("HTTP_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", ""), ("no_proxy", "")]);
    drafted(site.grpc());
    assert_eq!(site.s3.signed_reads(), 0);
    let logged = site.logged();
    assert_eq!(logged.matches("object not read from its address").count(), 1, "it is tried once: {logged}");
}

/// Issue promise: workers verify digests.
#[test]
fn a_damaged_object_is_named_and_nothing_is_drafted_from_it() {
    for flags in [&[][..], &["--bytes-direct"]] {
        let site = Site::start(flags);
        let uid = send(site.grpc());
        let (_, object) = site.s3.objects().swap_remove(1);
        damage(&object);
        let digest = object.file_name().unwrap().to_str().unwrap();
        let _worker = site.worker();
        let answer = submit(site.grpc(), &slices());
        assert_eq!(answer["studies"][0]["state"], "failed", "{answer}");
        let study = site.study(&uid);
        let reason = study["state_reason"].as_str().unwrap_or_default();
        assert!(reason.contains(digest) && reason.contains("damaged"), "{study}");
        let report = prelim(["report", "--grpc", site.grpc(), &uid, "--format", "json"]);
        assert!(!report.status.success(), "{}", words(&report));
        assert!(site.logged().contains(digest));
    }
}

/// Promise: an object store that goes away and comes back costs time, and nothing else.
#[test]
fn a_study_outlives_an_absence_of_the_bucket() {
    let mut site = Site::start(&[]);
    let uid = send(site.grpc());
    site.s3.stop();
    let _worker = site.worker();
    eventually(PATIENCE, || site.logged(), || site.logged().contains("object waited for"));
    assert_eq!(site.study(&uid)["state"], "reading");
    // An upload is told to come back, and nothing of it is recorded.
    let other = tempfile::tempdir().unwrap();
    prelim_tests::phantoms(other.path(), 1, 21, Some("dx"));
    let refused = prelim(["submit", "--grpc", site.grpc(), other.path().to_str().unwrap()]);
    assert!(
        !refused.status.success() && words(&refused).contains("object store is not available"),
        "{}",
        words(&refused)
    );
    site.s3.start_again();
    let again = submit(site.grpc(), &slices());
    assert_eq!(again["studies"][0]["state"], "drafted", "{again}");
    assert_eq!(submit(site.grpc(), other.path())["studies"][0]["state"], "drafted");
    site.logged();
}
