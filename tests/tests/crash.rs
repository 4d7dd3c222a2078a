//! What a crash costs: time, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use prelim_tests::{PATIENCE, Process, binary, draft, eventually, phantoms, prelim_json, submit, words};

/// The drafts of all studies below `folder`, as JSON text, by study.
fn drafts(grpc: &str, folder: &Path) -> BTreeMap<String, String> {
    let outcome = submit(grpc, folder);
    let studies = outcome["studies"].as_array().expect("a list of studies");
    assert!(!studies.is_empty(), "{outcome}");
    let mut drafts = BTreeMap::new();
    for study in studies {
        assert_eq!(study["state"], "drafted", "{study}");
        let uid = study["study_uid"].as_str().expect("a UID").to_owned();
        let text = String::from_utf8(draft(grpc, &uid, "json")).expect("JSON is UTF-8");
        drafts.insert(uid, text);
    }
    drafts
}

/// Sends the studies without waiting for drafts.
fn send(grpc: &str, folder: &Path) {
    let output = Command::new(binary()).args(["submit", "--grpc", grpc]).arg(folder).output().expect("prelim starts");
    assert!(output.status.success(), "{}", words(&output));
}

/// Issue promise: `kill -9` of coordinator and worker in mid-study, then a restart, ends in the same drafts.
#[test]
fn drafts_are_the_same_after_the_process_is_killed_in_mid_study() {
    let work = tempfile::tempdir().unwrap();
    let studies = work.path().join("studies");
    phantoms(&studies, 4, 11, None);

    let undisturbed = Process::up(&work.path().join("undisturbed"));
    let expected = drafts(&undisturbed.grpc, &studies);
    undisturbed.kill();

    // What a life had in hand when it ended is taken up by the last one, when the lease is over.
    let data = work.path().join("disturbed").display().to_string();
    let up = ["up", "--json", "--grpc", "127.0.0.1:0", "--lease-ttl-ms", "10000", "--data", &data];
    let first = Process::start(up);
    send(&first.grpc, &studies);
    first.kill();
    // Each life is a little longer than the one before, so that the kill falls on different steps.
    for milliseconds in [150, 400, 900, 1_500] {
        let process = Process::start(up);
        std::thread::sleep(Duration::from_millis(milliseconds));
        process.kill();
    }
    let last = Process::start(up);
    assert_eq!(drafts(&last.grpc, &studies), expected);
}

/// Issue promise: the worker alone is killed, and another takes its jobs over.
#[test]
fn another_worker_takes_over_from_one_that_is_killed() {
    let work = tempfile::tempdir().unwrap();
    let studies = work.path().join("studies");
    phantoms(&studies, 2, 12, Some("ct"));
    let data = work.path().join("data");
    let coordinator = Process::start([
        "coordinator".as_ref(),
        "--json".as_ref(),
        "--grpc".as_ref(),
        "127.0.0.1:0".as_ref(),
        "--lease-ttl-ms".as_ref(),
        "6000".as_ref(),
        "--data".as_ref(),
        data.as_os_str(),
    ]);
    let worker = || Process::start(["worker", "--json", "--grpc", &coordinator.grpc]);
    let first = worker();
    send(&coordinator.grpc, &studies);
    let leased = || prelim_json(["workers", "--json", "--grpc", &coordinator.grpc])["queue"]["leased"].to_string();
    eventually(PATIENCE, leased, || leased().chars().any(|digit| ('1'..='9').contains(&digit)));
    first.kill();
    let _second = worker();
    assert_eq!(drafts(&coordinator.grpc, &studies).len(), 2);
}
