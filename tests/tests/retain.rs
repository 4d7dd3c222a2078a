//! Studies that are no longer kept: removed by hand and by age, with all that is known of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use prelim_tests::clock::Clock;
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, draft, eventually, phantoms, prelim, prelim_json, submit, words};
use serde_json::Value;

const DAY_S: i64 = 86_400;

/// Starts a coordinator with a worker in `folder`, which keeps studies for a day.
fn start(folder: &Path, more: &[&str], variables: &[(String, String)]) -> Server {
    let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data", "--removal-grace-s", "1"];
    arguments.extend(["--keep-days", "1", "--audit", "audit.jsonl"]);
    arguments.extend(more);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    Server::start(folder, &arguments, &variables)
}

/// Every file of the studies' bytes.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("data/objects/studies")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn listed(server: &Server) -> Vec<Value> {
    let listed = prelim_json(["studies", "--json", "--grpc", &server.grpc]);
    listed.as_array().expect("a list").clone()
}

/// Submits studies, and waits for their drafts.
fn drafted(server: &Server, folder: &Path, count: u32) -> Vec<String> {
    let drawn = folder.join("phantoms");
    phantoms(&drawn, count, 31, Some("dx"));
    let sent = submit(&server.grpc, &drawn);
    let uids: Vec<String> =
        sent["study_uids"].as_array().expect("studies").iter().map(|uid| uid.as_str().expect("a UID").into()).collect();
    assert_eq!(uids.len(), count as usize, "{sent}");
    let is_drafted = |study: &Value| study["state"] == "drafted";
    eventually(PATIENCE, || format!("{:#?}", listed(server)), || listed(server).iter().all(is_drafted));
    uids
}

/// A study that somebody removes is gone with its bytes, stays gone, and may come again; the other is untouched.
#[test]
fn a_study_is_removed_with_all_that_is_known_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path(), &[], &[]);
    let uids = drafted(&server, folder.path(), 2);
    let before = objects(folder.path()).len();
    let removed = prelim(["remove", "--grpc", &server.grpc, &uids[0]]);
    assert!(removed.status.success(), "{}", words(&removed));
    eventually(PATIENCE, || format!("{:#?}", listed(&server)), || listed(&server).len() == 1);
    assert_eq!(listed(&server)[0]["study_uid"], uids[1].as_str());
    assert_eq!(objects(folder.path()).len() * 2, before, "what both have is alike");
    assert!(!draft(&server.grpc, &uids[1], "json").is_empty());
    let unknown = prelim(["remove", "--grpc", &server.grpc, &uids[0]]);
    assert!(words(&unknown).contains(&format!("no study {}", uids[0])), "{}", words(&unknown));
    server.terminate();
    server.start_again();
    assert_eq!(listed(&server).len(), 1);
    // Sent again, it is a study like any other.
    submit(&server.grpc, &folder.path().join("phantoms"));
    let both = || listed(&server).iter().filter(|study| study["state"] == "drafted").count();
    eventually(PATIENCE, || format!("{:#?}", listed(&server)), || both() == 2);
    assert_eq!(objects(folder.path()).len(), before);
    let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("an audit");
    let deleted: Vec<&str> = audit.lines().filter(|line| line.contains("DICOM Study Deleted")).collect();
    assert!(deleted.len() == 1 && deleted[0].contains(&uids[0]), "{deleted:#?}");
}

/// What did not change for as long as it is kept goes; a clock that is wrong does not make it old, be it set in the middle or
/// found so at the start.
#[test]
fn old_studies_go_by_themselves_unless_the_clock_was_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::new(folder.path(), "wall");
    let mut server = start(folder.path(), &[], &clock.variables());
    let uids = drafted(&server, folder.path(), 2);
    clock.set(2 * DAY_S);
    let held_back = |server: &Server| server.log().matches("no study is removed for that").count();
    eventually(PATIENCE, || server.log(), || held_back(&server) == 1);
    server.terminate();
    server.start_again();
    eventually(PATIENCE, || server.log(), || held_back(&server) == 2);
    // Longer than a removal takes, and it is looked once more.
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(listed(&server).len(), uids.len());
    // Set right, and looked at; and two days later.
    server.terminate();
    clock.set(0);
    server.start_again();
    std::thread::sleep(Duration::from_secs(3));
    clock.pass(2 * DAY_S);
    eventually(PATIENCE, || format!("{:#?}", listed(&server)), || listed(&server).is_empty());
    assert_eq!(objects(folder.path()), Vec::<PathBuf>::new());
    let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("an audit");
    assert!(uids.iter().all(|uid| audit.lines().any(|line| line.contains("110105") && line.contains(uid.as_str()))));
}

/// The same on Redis: nothing of the study is left on the server.
#[test]
fn nothing_of_a_removed_study_is_left_in_redis() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(&folder.path().join("redis"));
    let server = start(folder.path(), &["--redis", &redis.url()], &[]);
    let uids = drafted(&server, folder.path(), 1);
    let keys = || -> Vec<String> {
        let names = redis.ask(&[b"KEYS", b"*"]);
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    };
    let named = || keys().iter().any(|key| key.contains(&uids[0]));
    assert!(named(), "{:?}", keys());
    let removed = prelim(["remove", "--grpc", &server.grpc, &uids[0]]);
    assert!(removed.status.success(), "{}", words(&removed));
    eventually(PATIENCE, || format!("{:?}", keys()), || !named());
    // No listing, and no index of instances, names it: what is left is the cluster's own.
    let own = ["clock", "notes", "open", "requests", "script", "token", "waiting", "workers"];
    let is_own = |key: &String| own.iter().any(|own| key.contains(&format!("}}:{own}")));
    let strangers: Vec<String> = keys().into_iter().filter(|key| !is_own(key)).collect();
    assert_eq!(strangers, Vec::<String>::new());
    // Other coordinators hear that it changed by a note, which ends by itself after some minutes; nobody's work is left.
    let notes = redis.ask(&[b"HKEYS", b"{prelim}:notes"]);
    let notes: Vec<String> = notes.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let hint = format!("changed/{}/", uids[0]);
    assert!(notes.iter().all(|note| !note.contains(&uids[0]) || *note == hint), "{notes:?}");
}
