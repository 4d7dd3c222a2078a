//! The worklist (UPS-RS), with clients that are not ours: workitems built and read by pydicom, outputs had by dicomweb-client,
//! event reports read by websockets.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use prelim_tests::certificates::Authority;
use prelim_tests::pacs::Orthanc;
use prelim_tests::ports::{free_address, free_port};
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::workspace::{dicom_files, texts};
use prelim_tests::{PATIENCE, Process, eventually, phantoms, prelim, prelim_json, repository, words};
use serde_json::{Value, json};

/// A role of `prelim` that serves DICOMweb, in a folder.
fn start(folder: &Path, role: &str, more: &[&str]) -> Server {
    start_at(folder, role, "127.0.0.1:0", more)
}

/// The same, with DICOMweb at an address that stays after a restart.
fn start_at(folder: &Path, role: &str, http: &str, more: &[&str]) -> Server {
    let mut arguments = vec![role, "--json", "--grpc", "127.0.0.1:0", "--data", "data", "--http", http];
    // Studies are complete when a workitem says so, or not at all.
    arguments.extend(["--quiet-period-ms", "600000"]);
    arguments.extend(more);
    Server::start(folder, &arguments, &[("PRELIM_LOG", "info")])
}

fn command(url: &str, what: &str, more: &[&str]) -> Command {
    let root = repository();
    let mut command = Command::new(root.join("target/python/bin/python"));
    command.arg("-B").arg(root.join("tests/peers/worklist.py")).args([url, what]).args(more);
    command
}

fn peer(server: &Server, what: &str, more: &[&str]) -> Value {
    let output = command(&server.http, what, more).output().expect("python starts");
    match serde_json::from_slice(&output.stdout) {
        Ok(answer) if output.status.success() => answer,
        _ => panic!("{}\n{}", words(&output), server.log()),
    }
}

/// A phantom that has findings, as a file.
fn drawn(folder: &Path) -> String {
    let folder = folder.join("phantoms");
    phantoms(&folder, 1, 17, Some("dx"));
    texts(&dicom_files(&folder)).remove(0)
}

/// The objects of a draft with findings, by their modalities.
fn modalities(answer: &Value) -> Vec<String> {
    let outputs = answer["outputs"].as_array().expect("a list");
    let mut found: Vec<_> = outputs.iter().map(|output| output[0].as_str().expect("a modality").to_owned()).collect();
    assert!(outputs.iter().all(|output| output[1] == true && output[2] == 200), "{answer:#}");
    found.sort();
    found
}

/// Promise: a workitem that is addressed to prelim is claimed when its images are there, its study is read at once, and it is
/// completed with the draft's objects, which can be had from where it says; a watcher is told of each step.
#[test]
fn a_workitem_for_prelim_is_performed_and_watched() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), "up", &[]);
    let found = peer(&server, "whole", &[&drawn(folder.path())]);
    assert_eq!((&found["create"], &found["before"]), (&json!(201), &json!("SCHEDULED")), "{found:#}");
    assert_eq!(
        (&found["completed"], &found["state"]),
        (&json!(true), &json!("COMPLETED")),
        "{found:#}\n{}",
        server.log()
    );
    assert_eq!(modalities(&found), ["DOC", "KO", "OT", "PR", "SR"], "{found:#}");
    assert_eq!((&found["station"], &found["codes"]), (&json!(["PRELIM"]), &json!(["110004"])));
    assert_eq!((&found["times"], &found["percent"]), (&json!(true), &json!("100.0")));
    assert!(found["words"].as_str().is_some_and(|words| words.contains("not a medical device")), "{found:#}");
    let told = found["told"].as_array().expect("a list");
    let states: Vec<&Value> = told.iter().filter(|each| each[0] == 1).map(|each| &each[1]).collect();
    assert_eq!(states, ["SCHEDULED", "IN PROGRESS", "COMPLETED"], "{found:#}");
    assert!(told.contains(&json!([5, ""])) && told.iter().any(|each| each[0] == 3), "{found:#}");
    let studies = prelim_json(["studies", "--json", "--grpc", &server.grpc]);
    assert_eq!(studies[0]["priority"], "stat", "HIGH is STAT: {studies:#}");
    let study = studies[0]["study_uid"].as_str().expect("a UID");
    assert!(!server.log().contains(study) && !server.log().contains("Doe"), "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Promise: others perform workitems that are not addressed to prelim; who does not hold the claim changes nothing; what is
/// refused has the status and the words of PS3.18.
#[test]
fn others_claim_and_complete_workitems_and_are_held_to_the_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), "coordinator", &[]);
    let found = peer(&server, "outside", &[]);
    let warning = |words: &str| if words.is_empty() { String::new() } else { format!("299 prelim \"{words}\"") };
    let inconsistent = "The submitted request is inconsistent with the state of the UPS Instance.";
    for (what, status, words) in [
        ("subscribe", 201, ""),
        ("create", 201, ""),
        ("again", 409, ""),
        ("incomplete", 400, ""),
        ("modified", 201, "The Workitem was created with modifications."),
        ("no_json", 400, ""),
        ("xml", 415, ""),
        ("large", 413, ""),
        ("unknown", 400, ""),
        ("too_early", 409, inconsistent),
        ("no_transaction", 400, "The Transaction UID is missing."),
        ("update_scheduled", 200, ""),
        ("update_unclaimed", 400, "The target URI did not reference a claimed Workitem."),
        ("claim", 200, ""),
        ("claim_again", 409, inconsistent),
        ("claim_by_other", 400, "The Transaction UID is incorrect."),
        ("update_without", 400, "The Transaction UID is missing."),
        ("update_by_other", 400, "The Transaction UID is incorrect."),
        ("update", 200, ""),
        ("update_fixed", 400, ""),
        ("unfinished", 409, inconsistent),
        ("cancel_requested", 202, ""),
        ("results", 200, ""),
        ("complete_by_other", 400, "The Transaction UID is incorrect."),
        ("complete", 200, ""),
        ("complete_again", 200, "The UPS is already in the requested state of COMPLETED."),
        ("cancel_completed", 409, "The UPS is already COMPLETED."),
        ("update_completed", 400, "The submitted request is inconsistent with the current state of the Workitem."),
        ("cancel_scheduled", 202, ""),
        ("cancel_canceled", 202, "The UPS is already in the requested state of CANCELED."),
    ] {
        assert_eq!((&found[what][0], &found[what][1]), (&json!(status), &json!(warning(words))), "{what}: {found:#}");
    }
    assert_eq!(found["create"][3], true, "{found:#}");
    for (what, named) in
        [("incomplete", "Procedure Step Label"), ("update_fixed", "00100020"), ("unfinished", "0074,1216")]
    {
        assert!(found[what][2].as_str().is_some_and(|said| said.contains(named)), "{what}: {found:#}");
    }
    assert_eq!((&found["listed"], &found["by_date"], &found["unlisted"]), (&json!([true]), &json!(2), &json!(204)));
    assert_eq!(found["shown"], json!(["IN PROGRESS", false, "Chest AI, again"]), "the transaction is shown to nobody");
    let told = json!([[1, "SCHEDULED"], [5, ""], [1, "IN PROGRESS"], [3, "50.0"], [2, ""], [1, "COMPLETED"]]);
    assert_eq!(found["told"], told, "{found:#}");
    assert_eq!(found["asked"], json!([["REQUESTER", "no longer wanted", "Reading room"]]));
    assert_eq!(found["messages"], true);
    let told = json!([[1, "SCHEDULED"], [5, ""], [2, ""], [1, "IN PROGRESS"], [1, "CANCELED"]]);
    assert_eq!(found["told_canceled"], told, "{found:#}");
    assert_eq!(found["reason"], json!(["no longer wanted", true]));
    assert_eq!(found["nobody"], json!([null, 404, 404]));
}

/// Promise: subscriptions are to one workitem, to all, or to those that fit a filter when they are created.
#[test]
fn each_is_told_of_what_it_subscribed_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), "coordinator", &[]);
    let found = peer(&server, "subscriptions", &[]);
    let channel = format!("{}/subscribers/ONE", server.http.replacen("http", "ws", 1));
    assert_eq!(found["one"], json!([201, channel]), "{found:#}");
    assert_eq!((&found["every"], &found["some"], &found["nothing"]), (&json!(201), &json!(201), &json!(404)));
    assert_eq!((&found["no_filter"][0], &found["wrong_filter"][0]), (&json!(400), &json!(400)), "{found:#}");
    let told = &found["told"];
    assert_eq!(told["one"], json!([["first", 1, "SCHEDULED"], ["first", 1, "IN PROGRESS"]]), "{found:#}");
    let every = json!([
        ["first", 1, "SCHEDULED"],
        ["second", 1, "SCHEDULED"],
        ["second", 5, ""],
        ["first", 1, "IN PROGRESS"],
        ["second", 1, "IN PROGRESS"],
        ["second", 2, ""],
    ]);
    assert_eq!(told["every"], every, "suspended, it is told of no third: {found:#}");
    let some = json!([["second", 1, "SCHEDULED"], ["second", 5, ""], ["second", 1, "IN PROGRESS"]]);
    assert_eq!(told["some"], some, "{found:#}");
    let late = told["late"].as_array().expect("a list");
    assert_eq!(late.iter().filter(|each| each[0] == "third").count(), 5, "{found:#}");
    assert_eq!((&found["ended"], &found["plain"]), (&json!([200, 200]), &json!([426, "websocket"])), "{found:#}");
    assert_eq!(found["numbers"], true);
}

/// Promise: a claimed workitem outlives a kill; with its study it goes on where it stood; a request for cancellation stops the
/// study while it waits.
#[test]
fn a_workitem_survives_a_kill_and_can_be_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start_at(folder.path(), "coordinator", &free_address(), &[]);
    let image = drawn(folder.path());
    let begun = peer(&server, "begin", &[&image]);
    assert_eq!(begun["state"], "IN PROGRESS", "{begun:#}\n{}", server.log());
    let uid = begun["uid"].as_str().expect("a UID");
    let second = peer(&server, "begin", &[&image]);
    assert_eq!(second["state"], "IN PROGRESS", "{second:#}");
    server.kill();
    server.start_again();
    // Another workitem wants the study.
    let stopped = peer(&server, "stop", &[second["uid"].as_str().expect("a UID")]);
    assert_eq!(stopped, json!({"answer": [202, "", ""], "state": "CANCELED", "reason": "wrong patient"}));
    let state = || prelim_json(["studies", "--json", "--grpc", &server.grpc])[0]["state"].clone();
    assert_eq!(state(), "queued");
    let third = peer(&server, "begin", &[&image]);
    let third = third["uid"].as_str().expect("a UID").to_owned();
    {
        let _worker = Process::start(["worker", "--json", "--grpc", &server.grpc]);
        let ended = peer(&server, "wait", &[uid]);
        assert_eq!(modalities(&ended), ["DOC", "KO", "OT", "PR", "SR"], "{ended:#}");
        assert_eq!(peer(&server, "wait", &[&third])["state"], "COMPLETED");
    }
    // A study that nothing else wants is cancelled with its workitem.
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), "coordinator", &[]);
    let only = peer(&server, "begin", &[&image]);
    let stopped = peer(&server, "stop", &[only["uid"].as_str().expect("a UID")]);
    assert_eq!((&stopped["answer"][0], &stopped["state"]), (&json!(202), &json!("CANCELED")), "{stopped:#}");
    let studies = prelim_json(["studies", "--json", "--grpc", &server.grpc]);
    assert_eq!(studies[0]["state"], "cancelled", "{studies:#}");
}

/// Promise: a workitem that cannot be performed is canceled with the reason: a study that a rule skips, an input of several
/// studies.
#[test]
fn what_cannot_be_performed_is_canceled_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = "[[rule]]\nname = \"films\"\nmodality = [\"DX\"]\nskip = \"nothing is read here\"\n[default]\n";
    std::fs::write(folder.path().join("rules.toml"), rules).expect("a file");
    let server = start(folder.path(), "up", &["--rules", "rules.toml"]);
    let image = drawn(folder.path());
    let sent = prelim(["submit", "--grpc", &server.grpc, &image]);
    assert!(sent.status.success(), "{}", words(&sent));
    let found = peer(&server, "reason", &[&image]);
    assert_eq!(found["state"], "CANCELED", "{found:#}");
    let said = |at: usize| found["reasons"][at].as_str().unwrap_or_default().to_owned();
    assert!(said(0).contains("skipped") && said(0).contains("nothing is read here"), "{found:#}");
    assert!(said(1).contains("2 studies"), "{found:#}");
    assert!(said(2).contains("another patient"), "{found:#}");
}

/// Whoever claims a workitem performs it, also one that is addressed to prelim.
#[test]
fn what_another_performer_claimed_is_left_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), "coordinator", &[]);
    let found = peer(&server, "taken", &[]);
    let expected = json!({"answers": [200, 200, 200], "left": ["IN PROGRESS", 40.0], "state": "COMPLETED"});
    assert_eq!(found, expected, "{}", server.log());
}

/// Promise: a study that a workitem names, and that a known PACS holds, is fetched from there; its draft is sent before the
/// workitem is completed, and the workitem says so.
#[test]
fn a_study_is_fetched_from_where_the_workitem_says() {
    let our_port = free_port();
    let orthanc = Orthanc::start(our_port);
    let folder = tempfile::tempdir().expect("a folder");
    let image = drawn(folder.path());
    let port = orthanc.port.to_string();
    let sent = Command::new("storescu").args(["-R", "-aec", "ORTHANC", "127.0.0.1", &port, &image]).output();
    assert!(sent.expect("DCMTK is installed by tests/install.sh").status.success());
    let listed = orthanc.get("/studies?expand");
    let study = listed[0]["MainDicomTags"]["StudyInstanceUID"].as_str().expect("a UID");
    let file = format!("[[destination]]\nname = \"pacs\"\naddress = \"{}\"\nobjects = [\"sr\"]\n", orthanc.address());
    std::fs::write(folder.path().join("destinations.toml"), file).expect("a file");
    let dicom = format!("127.0.0.1:{our_port}");
    let server = start(folder.path(), "up", &["--dicom", &dicom, "--destinations", "destinations.toml"]);
    let found = peer(&server, "fetched", &[study, "ORTHANC"]);
    assert_eq!(found["reached"], "COMPLETED", "{found:#}\n{}", server.log());
    assert_eq!(modalities(&found), ["DOC", "KO", "OT", "PR", "SR"], "{found:#}");
    let reports: Vec<&Value> =
        found["outputs"].as_array().expect("a list").iter().filter(|output| output[0] == "SR").collect();
    assert_eq!(reports[0][3], json!(["ORTHANC"]), "{found:#}");
}

/// Promise: two coordinators on one Redis keep one worklist: of many claims one holds, and who listens to one hears of what is
/// done at the other.
#[test]
fn two_coordinators_keep_one_worklist() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(&folder.path().join("redis"));
    let bytes = format!("file://{}", folder.path().join("bytes").display());
    let (url, more) = (redis.url(), ["--redis", "", "--bytes", &bytes]);
    let more: Vec<&str> = more.iter().map(|word| if word.is_empty() { url.as_str() } else { word }).collect();
    let servers = ["one", "two"].map(|name| start(&folder.path().join(name), "coordinator", &more));
    let _worker = Process::start(["worker", "--json", "--grpc", &servers[1].grpc]);
    let found = peer(&servers[0], "pair", &[&servers[1].http, &drawn(folder.path())]);
    assert_eq!(found["same"], "SCHEDULED", "{found:#}");
    let told = json!([[1, "SCHEDULED"], [5, ""], [1, "IN PROGRESS"]]);
    assert_eq!(found["told"], json!([told, told]), "one claim of many: {found:#}");
    assert_eq!((&found["heard"], &found["told_alike"]), (&json!([true, true]), &json!(true)), "{found:#}");
    assert_eq!(found["states"], json!(["SCHEDULED", "IN PROGRESS", "COMPLETED"]), "each step once: {found:#}");
}

/// Promise: who listens is told that the coordinator goes down, and is hung up on in the way of the protocol.
#[test]
fn listeners_are_told_that_the_coordinator_goes_down() {
    let folder = tempfile::tempdir().expect("a folder");
    // Who is waited for in vain is waited for for a minute.
    let mut server = start(folder.path(), "coordinator", &["--close-s", "60"]);
    let mut listening = command(&server.http, "closing", &[]).stdout(Stdio::piped()).spawn().expect("python starts");
    let mut lines = BufReader::new(listening.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("listening"));
    let (status, took) = server.terminate();
    assert!(status.success() && took < Duration::from_secs(30), "{status} after {took:?}");
    let said: Value = serde_json::from_str(&lines.next().and_then(Result::ok).unwrap_or_default()).expect("JSON");
    let told = json!({"status": "GOING DOWN", "kind": 4, "closed": 1001});
    assert_eq!(said, json!([told, told]), "to one that reads at once, and to one that speaks first");
    assert!(listening.wait().expect("it ends").success());
}

/// Promise: the roles and tenants of everything else hold for the worklist, and each access is recorded.
#[test]
fn callers_see_and_change_what_is_theirs() {
    const RULES: &str = r#"
        [[certificate]]
        name = "east"
        roles = ["submit", "read"]
        tenants = ["east"]
        [[certificate]]
        name = "reader"
        roles = ["read"]
        tenants = ["east"]
        [[certificate]]
        name = "west"
        roles = ["submit", "read"]
        tenants = ["west"]
    "#;
    let work = tempfile::tempdir().expect("a folder");
    let folder = work.path();
    let authority = Authority::new(folder, "hospital");
    let pair = authority.server();
    let (rules, audit) = (folder.join("access.toml"), folder.join("audit.jsonl"));
    std::fs::write(&rules, RULES).expect("a file");
    let text = |path: &Path| path.display().to_string();
    let (cert, key, ca) = (text(&pair.cert), text(&pair.key), text(&authority.pem));
    let (rules, audit_file) = (text(&rules), text(&audit));
    let more = ["--tls-cert", &cert, "--tls-key", &key, "--client-ca", &ca, "--access", &rules, "--audit", &audit_file];
    let server = start(&folder.join("coordinator"), "coordinator", &more);
    let callers = ["east", "reader", "west", "stranger"].map(|name| authority.client(name));
    let pairs = callers.iter().flat_map(|pair| [text(&pair.cert), text(&pair.key)]);
    let line: Vec<String> = std::iter::once(ca.clone()).chain(pairs).collect();
    let found = peer(&server, "access", &line.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = json!([[201, 200, 200, 426], [403, 200, 200, 426], [409, 404, 204, 426], [403, 403, 403, 403]]);
    assert_eq!(found["answers"], expected, "{found:#}");
    eventually(
        PATIENCE,
        || std::fs::read_to_string(&audit).expect("the audit"),
        || {
            let lines = std::fs::read_to_string(&audit).expect("the audit");
            let has = |words: &[&str]| lines.lines().any(|line| words.iter().all(|word| line.contains(word)));
            has(&["110111", "UPS-RS", "\"east\"", "\"action\":\"C\""])
                && has(&["110111", "UPS-RS", "\"reader\"", "\"action\":\"R\""])
                && has(&["110113", "UPS-RS", "\"reader\""])
                && has(&["110113", "UPS-RS", "\"west\"", "tenant east"])
        },
    );
}
