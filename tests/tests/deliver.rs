//! Drafts out, to systems that are not ours: Orthanc (C-STORE and STOW-RS), DCMTK's storescp, and a PACS of pynetdicom that
//! misbehaves as it is told.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use prelim_tests::certificates::Authority;
use prelim_tests::pacs::{Orthanc, Peer};
use prelim_tests::ports::free_port;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, draft, eventually, phantoms, prelim, prelim_json, submit, words};
use serde_json::{Value, json};

/// A coordinator with a worker that sends its drafts to destinations.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(destinations: &str) -> Self {
        Self::with(destinations, &[])
    }

    fn with(destinations: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("destinations.toml"), destinations).expect("a file");
        let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data"];
        arguments.extend(["--destinations", "destinations.toml"]);
        arguments.extend(more);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, folder }
    }

    /// Draws studies, sends them in and waits for their drafts; their UIDs.
    fn drafted(&self, count: u32, seed: u64) -> Vec<String> {
        let studies = self.folder.path().join(format!("studies-{seed}"));
        phantoms(&studies, count, seed, Some("dx"));
        submitted(&self.server.grpc, &studies)
    }

    fn exported(&self) -> Vec<Value> {
        let listed = prelim_json(["export", "--json", "--grpc", &self.server.grpc]);
        listed.as_array().expect("a list").clone()
    }

    /// Waits until deliveries to `name` are over, and there are `count`.
    fn over(&self, name: &str, count: usize) -> Vec<Value> {
        let is_over =
            |each: &Value| !["waiting", "sending", "committing"].contains(&each["state"].as_str().expect("a word"));
        let mut found = Vec::new();
        eventually(
            PATIENCE,
            || format!("{count} over: {:#?}\n{}", self.exported(), self.server.log()),
            || {
                found = self.exported();
                found.retain(|each| each["destination"] == name);
                found.len() == count && found.iter().all(is_over)
            },
        );
        found
    }
}

fn submitted(grpc: &str, folder: &Path) -> Vec<String> {
    let outcome = submit(grpc, folder);
    let studies = outcome["studies"].as_array().expect("studies");
    assert!(studies.iter().all(|study| study["state"] == "drafted"), "{outcome}");
    studies.iter().map(|study| study["study_uid"].as_str().expect("a UID").to_owned()).collect()
}

/// A destination, with more lines.
fn destination(name: &str, address: &str, more: &str) -> String {
    format!("[[destination]]\nname = \"{name}\"\naddress = \"{address}\"\n{more}\n")
}

/// SOP Instance UID of a draft as it is exported.
fn instance_of(grpc: &str, study: &str) -> String {
    prelim_tests::object::instance_of(&draft(grpc, study, "sr"))
}

/// Issue promise: drafts go to a PACS by C-STORE and to an archive by STOW-RS; each object's answer is kept.
#[test]
fn drafts_reach_orthanc_by_c_store_and_by_stow() {
    let (first, second) = (Orthanc::start(free_port()), Orthanc::start(free_port()));
    let file = destination("pacs", &first.address(), "") + &destination("archive", &second.web(), "");
    let site = Site::with(&file, &["--audit", "audit.jsonl"]);
    let studies = site.drafted(2, 5);
    let expected: BTreeSet<String> = studies.iter().map(|study| instance_of(&site.server.grpc, study)).collect();
    for (name, orthanc, said) in [("pacs", &first, "0000, stored"), ("archive", &second, "HTTP 200 OK")] {
        let sent = site.over(name, 2);
        for each in &sent {
            assert_eq!((&each["state"], &each["attempts"], &each["object"]), (&json!("sent"), &json!(1), &json!("sr")));
            assert_eq!(each["answer"], said);
            assert!(expected.contains(each["instance_uid"].as_str().expect("a UID")), "{each}");
        }
        let held: BTreeSet<String> = orthanc.instances("SR").into_iter().collect();
        assert_eq!(held, expected, "{name}");
    }
    // That patient data left is in the audit, with where to.
    let audit = std::fs::read_to_string(site.folder.path().join("audit.jsonl")).expect("an audit");
    for study in &studies {
        let lines = audit.lines().filter(|line| line.contains(study) && line.contains("110104"));
        let to: BTreeSet<bool> = lines
            .filter(|line| line.contains("C-STORE") || line.contains("STOW-RS"))
            .map(|line| line.contains("pacs"))
            .collect();
        assert_eq!(to.len(), 2, "{audit}");
    }
    // Once more, on request: the same object, which Orthanc has already.
    let again = prelim_json(["export", "--json", "--grpc", &site.server.grpc, &studies[0], "--to", "pacs"]);
    assert_eq!(again[0]["destination"], "pacs", "{again}");
    site.over("pacs", 2);
    assert_eq!(first.instances("SR").len(), 2);
    let nowhere = prelim(["export", "--grpc", &site.server.grpc, &studies[0], "--to", "nowhere"]);
    assert!(!nowhere.status.success() && words(&nowhere).contains("there are pacs, archive"), "{}", words(&nowhere));
    assert!(!site.server.log().contains(&studies[0]), "a study is named in the log");
}

/// Issue promise: retried with full jitter and a limit, never where the answer says that it will never be taken.
#[test]
fn answers_decide_what_is_tried_again() {
    let peer = |how: Value| Peer::pynetdicom(&how);
    let busy = peer(json!({"status": 0xA700, "times": 2}));
    let mismatch = peer(json!({"status": 0xA900}));
    let misunderstood = peer(json!({"status": 0xC123}));
    let refuses = peer(json!({"refuse": true}));
    let aborts = peer(json!({"abort": 2}));
    let full = peer(json!({"status": 0xA701}));
    let silent = peer(json!({"silent": true}));
    let quick = "longest_pause_s = 1";
    let nobody = format!("dicom://PACS@127.0.0.1:{}", free_port());
    let file = [
        destination("busy", &busy.address(), quick),
        destination("mismatch", &mismatch.address(), quick),
        destination("misunderstood", &misunderstood.address(), quick),
        destination("refuses", &refuses.address(), quick),
        destination("aborts", &aborts.address(), quick),
        destination("full", &full.address(), &format!("{quick}\nattempts = 3")),
        destination("silent", &silent.address(), &format!("{quick}\nattempts = 2\nidle_s = 5")),
        destination("nobody", &nobody, &format!("{quick}\nattempts = 2")),
    ];
    let site = Site::start(&file.concat());
    site.drafted(1, 6);
    for (name, state, attempts, said) in [
        ("busy", "sent", 3, "0000, stored"),
        ("mismatch", "refused", 1, "A900, data set does not match the SOP class: not today"),
        ("misunderstood", "refused", 1, "C123, cannot understand: not today"),
        ("refuses", "refused", 1, "refuses SOP class 1.2.840.10008.5.1.4.1.1.88.34: it does not take this SOP class"),
        ("aborts", "sent", 3, "0000, stored"),
        ("full", "given_up", 3, "A701, out of resources: not today"),
        ("silent", "given_up", 2, "did not answer the C-STORE within 5 s"),
        ("nobody", "given_up", 2, "cannot be reached"),
    ] {
        let over = &site.over(name, 1)[0];
        assert_eq!((&over["state"], &over["attempts"]), (&json!(state), &json!(attempts)), "{over}");
        assert!(over["answer"].as_str().is_some_and(|answer| answer.contains(said)), "{name}: {over}");
    }
    let answers = |peer: &Peer| -> Vec<Value> { peer.received().iter().map(|each| each["answer"].clone()).collect() };
    assert_eq!(answers(&busy), ["A700", "A700", "0000"]);
    assert_eq!(answers(&mismatch), ["A900"]);
    assert_eq!(answers(&aborts), ["abort", "abort", "0000"]);
    assert_eq!(answers(&silent).len(), 2);
}

/// Issue promise: `kill -9` of the coordinator in the middle of delivery ends with each object delivered, at least once and
/// as the same object, and none forgotten.
#[test]
fn a_kill_in_the_middle_of_delivery_forgets_nothing() {
    // What was on its way goes out again when the time is over that all of this may take.
    let times = "idle_s = 4\nconnect_s = 1\nanswer_s = 3\nlongest_pause_s = 1\nattempts = 10000";
    let port = free_port();
    let mut site = Site::start(&destination("pacs", &format!("dicom://PACS@127.0.0.1:{port}"), times));
    let studies = site.folder.path().join("studies");
    phantoms(&studies, 6, 8, Some("dx"));
    let uids = submitted(&site.server.grpc, &studies);
    // It listens when all wait for it, so that each kill finds more to send.
    let peer = Peer::pynetdicom_on(port, &json!({"slow_s": 0.7}));
    for _ in 0..2 {
        let before = peer.received().len();
        eventually(PATIENCE, || format!("more than {before} received"), || peer.received().len() > before);
        site.server.kill();
        // What was being sent is noted by then.
        std::thread::sleep(Duration::from_secs(2));
        site.server.start_again();
    }
    let sent = site.over("pacs", 6);
    assert!(sent.iter().all(|each| each["state"] == "sent"), "{sent:#?}");
    let expected: BTreeSet<String> = uids.iter().map(|study| instance_of(&site.server.grpc, study)).collect();
    let received = peer.received();
    let held: BTreeSet<String> =
        received.iter().map(|each| each["instance"].as_str().expect("a UID").to_owned()).collect();
    assert_eq!(held, expected);
    // Once a life at most is something sent again.
    assert!(received.len() <= 6 + 2, "{received:#?}");
}

/// Issue promise: a changed draft makes a new delivery; the old one, where it waits, is not sent any more.
#[test]
fn a_newer_draft_takes_the_place_of_one_that_waits() {
    let port = free_port();
    let quick = "longest_pause_s = 1\nattempts = 10000";
    let site = Site::start(&destination("pacs", &format!("dicom://PACS@127.0.0.1:{port}"), quick));
    let studies = site.folder.path().join("studies");
    phantoms(&studies, 2, 12, Some("ct"));
    let study = std::fs::read_dir(&studies).expect("studies").next().expect("a study").expect("an entry").path();
    let part = site.folder.path().join("part");
    std::fs::create_dir(&part).expect("a folder");
    let mut files: Vec<_> =
        std::fs::read_dir(&study).expect("files").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "dcm"));
    files.sort();
    for file in &files[..files.len() - 2] {
        std::fs::copy(file, part.join(file.file_name().expect("a name"))).expect("a copy");
    }
    let uids = submitted(&site.server.grpc, &part);
    // The rest comes late: the study is read again.
    assert_eq!(submitted(&site.server.grpc, &study), uids);
    let peer = Peer::pynetdicom_on(port, &json!({}));
    let over = site.over("pacs", 2);
    let told: Vec<_> = over.iter().map(|each| (each["version"].as_u64().expect("a number"), &each["state"])).collect();
    assert_eq!(told, [(1, &json!("superseded")), (2, &json!("sent"))], "{over:#?}");
    let received = peer.received();
    assert_eq!(received.len(), 1, "{received:#?}");
    assert_eq!(received[0]["instance"], instance_of(&site.server.grpc, &uids[0]));
}

/// Issue promise: storage commitment where the peer offers it, reported on the same association or on one of the peer's; what is
/// not held is sent again.
#[test]
fn destinations_commit_themselves_to_what_they_took() {
    let our_port = free_port();
    let peer = |how: &str| Peer::pynetdicom(&json!({"commit": how, "to": our_port}));
    let (same, back, refused, none) = (peer("same"), peer("back"), peer("refused"), Peer::pynetdicom(&json!({})));
    let file = [
        destination("same", &same.address(), "commit = true"),
        destination("back", &back.address(), "commit = true"),
        destination("refused", &refused.address(), "commit = true"),
        destination("none", &none.address(), "commit = true"),
    ];
    let site = Site::with(&file.concat(), &["--dicom", &format!("127.0.0.1:{our_port}")]);
    let study = site.drafted(1, 14).remove(0);
    for (name, state, said) in [
        ("same", "committed", "stored and committed"),
        ("back", "committed", "stored and committed"),
        ("refused", "sent", "answers the N-ACTION with 0110"),
        ("none", "sent", "it offers no storage commitment"),
    ] {
        let over = &site.over(name, 1)[0];
        assert_eq!((&over["state"], &over["attempts"]), (&json!(state), &json!(1)), "{over}");
        assert!(over["answer"].as_str().is_some_and(|answer| answer.contains(said)), "{name}: {over}");
    }
    let instance = instance_of(&site.server.grpc, &study);
    for peer in [&same, &back] {
        // It notes our answer to its report when it has it.
        eventually(PATIENCE, || format!("{:#?}", peer.received()), || peer.received().len() == 3);
        let told: Vec<Value> = peer.received();
        assert_eq!(told[1]["asked"], json!([instance]));
        assert_eq!(told[2], json!({"reported": "0000", "failed": false}));
    }
}

/// A PACS that forwards all it gets sends our draft back: it is answered with success, and does not have the study read again.
#[test]
fn a_draft_that_comes_back_is_no_instance_of_its_study() {
    let peer = Peer::storescp(&[]);
    let site =
        Site::with(&destination("pacs", &peer.address(), ""), &["--dicom", "127.0.0.1:0", "--quiet-period-ms", "1000"]);
    let study = site.drafted(1, 15).remove(0);
    let instance = site.over("pacs", 1)[0]["instance_uid"].as_str().expect("a UID").to_owned();
    let is_it = |path: &&std::path::PathBuf| path.to_string_lossy().ends_with(&instance);
    let file = peer.files().iter().find(is_it).expect("the draft").clone();
    let port = site.server.dicom.rsplit(':').next().expect("TITLE@HOST:PORT");
    let mut command = std::process::Command::new("storescu");
    let sent = command.args(["-v", "-R", "-aec", "PRELIM", "127.0.0.1", port]).arg(file).output().expect("DCMTK");
    assert!(words(&sent).contains("Received Store Response (Success)"), "{}", words(&sent));
    std::thread::sleep(Duration::from_secs(2));
    let held = prelim_json(["studies", "--json", "--grpc", &site.server.grpc]);
    assert_eq!(
        (&held[0]["study_uid"], &held[0]["instances"], &held[0]["state"]),
        (&json!(study), &json!(1), &json!("drafted"))
    );
    assert_eq!(site.exported().len(), 1);
}

/// Issue promise: TLS with authorities of one's own, and a client certificate where the PACS wants one.
#[test]
fn drafts_go_over_tls_with_a_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "hospital");
    let (theirs, ours, ca) = (authority.server(), authority.client("prelim"), authority.pem.display().to_string());
    let (key, cert) = (theirs.key.display().to_string(), theirs.cert.display().to_string());
    let peer = Peer::storescp(&["+tls", &key, &cert, "+cf", &ca, "-rc"]);
    let address = format!("dicoms://PACS@localhost:{}", peer.port);
    let pair = format!("cert = \"{}\"\nkey = \"{}\"", ours.cert.display(), ours.key.display());
    let quick = "attempts = 1\n[destination.tls]";
    let file = [
        destination("trusted", &address, &format!("{quick}\nca = \"{ca}\"\n{pair}")),
        destination("anonymous", &address, &format!("{quick}\nca = \"{ca}\"")),
        destination("unknown", &address, &format!("{quick}\n{pair}")),
    ];
    let site = Site::start(&file.concat());
    let study = site.drafted(1, 9).remove(0);
    let state = |name: &str| site.over(name, 1).remove(0);
    assert_eq!(state("trusted")["state"], "sent", "{:#?}", state("trusted"));
    let unknown = state("unknown");
    assert_eq!(unknown["state"], "given_up");
    assert!(
        unknown["answer"].as_str().is_some_and(|said| said.contains("TLS") && said.contains("UnknownIssuer")),
        "{unknown}"
    );
    assert_eq!(state("anonymous")["state"], "given_up");
    let instance = instance_of(&site.server.grpc, &study);
    let held = peer.files().iter().filter(|path| path.to_string_lossy().contains(&instance)).count();
    assert_eq!(held, 1, "{:?}", peer.files());
}

/// A file that says something else is refused at the start, with what is wrong.
#[test]
fn a_wrong_file_of_destinations_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("destinations.toml");
    std::fs::write(&file, "[[destination]]\nname = \"pacs\"\naddress = \"pacs:104\"\n").expect("a file");
    let (file, data) = (file.display().to_string(), folder.path().join("data").display().to_string());
    let output = prelim(["coordinator", "--grpc", "127.0.0.1:0", "--data", &data, "--destinations", &file]);
    assert!(!output.status.success());
    let said = words(&output);
    assert!(said.contains("destination \"pacs\"") && said.contains("dicom://TITLE@HOST:PORT"), "{said}");
}

/// Issue promise: HL7 v2 messages over MLLP, acknowledged by a system that parses them, and tried again as its answers say.
#[test]
fn drafts_reach_a_ris_by_mllp() {
    let ris = Peer::hl7(&json!({}));
    let busy = Peer::hl7(&json!({"codes": ["AE", "AE"]}));
    let strict = Peer::hl7(&json!({"codes": ["AR"]}));
    let silent = Peer::hl7(&json!({"silent": true}));
    let at = |peer: &Peer| format!("mllp://127.0.0.1:{}", peer.port);
    let quick = "longest_pause_s = 1\nattempts = 3";
    let file = [
        destination("ris", &at(&ris), "receiver = \"RIS|WEST\""),
        destination("busy", &at(&busy), quick),
        destination("strict", &at(&strict), quick),
        destination("silent", &at(&silent), &format!("{quick}\nidle_s = 2")),
    ];
    let site = Site::start(&file.concat());
    let studies = site.drafted(1, 9);
    for (name, state, attempts, said) in [
        ("ris", "sent", 1, "AA"),
        ("busy", "sent", 3, "AA"),
        ("strict", "refused", 1, "AR"),
        ("silent", "given_up", 3, "no acknowledgement within 2 s"),
    ] {
        let over = &site.over(name, 1)[0];
        assert_eq!((&over["state"], &over["attempts"]), (&json!(state), &json!(attempts)), "{over}");
        assert!(over["answer"].as_str().is_some_and(|answer| answer.contains(said)), "{name}: {over}");
        assert_eq!(over["object"], "hl7");
    }
    let [received] = <[Value; 1]>::try_from(ris.received()).expect("one message");
    assert_eq!((&received["valid"], &received["receiver"]), (&json!(true), &json!(["RIS", "WEST"])), "{received}");
    assert_eq!(received["processing"], "T", "the demonstration's weights are for training only");
    // The same message each time, under the same control id, which is what the delivery names.
    let ids: BTreeSet<String> = busy.received().iter().map(|each| each["control_id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(site.over("busy", 1)[0]["instance_uid"].to_string(), *ids.first().expect("an id"));
    let draft = String::from_utf8(draft(&site.server.grpc, &studies[0], "hl7")).expect("UTF-8");
    let text = received["text"].as_str().expect("a message");
    assert_eq!(text.trim_end(), draft.replacen("|PRELIM||||", "|PRELIM||RIS|WEST|", 1).trim_end());
}

/// Issue promise: a FHIR server gets the draft as one transaction, which may be sent again without harm.
#[test]
fn drafts_reach_a_fhir_server() {
    let ehr = Peer::fhir(&json!({"statuses": [503]}));
    let strict = Peer::fhir(&json!({"statuses": [422]}));
    let at = |peer: &Peer| format!("fhir+http://127.0.0.1:{}/fhir", peer.port);
    let file = destination("ehr", &at(&ehr), "longest_pause_s = 1\ntoken_file = \"ehr.token\"")
        + &destination("strict", &at(&strict), "");
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("ehr.token");
    std::fs::write(&token, "a-secret\n").expect("a file");
    let site = Site::start(&file.replace("ehr.token", &token.display().to_string()));
    let studies = site.drafted(1, 10);
    let sent = &site.over("ehr", 1)[0];
    assert_eq!(
        (&sent["state"], &sent["attempts"], &sent["answer"]),
        (&json!("sent"), &json!(2), &json!("HTTP 200 OK"))
    );
    let refused = &site.over("strict", 1)[0];
    assert_eq!(refused["state"], "refused");
    assert_eq!(refused["answer"], "HTTP 422 Unprocessable Entity: processing");
    let received = ehr.received();
    assert!(received.iter().all(|each| each["problem"].is_null()), "{received:#?}");
    assert!(received.iter().all(|each| each["authorization"] == "Bearer a-secret"), "{received:#?}");
    let stored = || -> BTreeSet<String> {
        let names = ehr.files().into_iter().map(|path| path.file_name().expect("a name").display().to_string());
        names.filter(|name| name.ends_with(".json")).collect()
    };
    let before = stored();
    let reports: Vec<_> = before.iter().filter(|name| name.starts_with("DiagnosticReport-")).collect();
    assert_eq!(reports.len(), 1, "{before:?}");
    let report = std::fs::read_to_string(ehr.folder().join(reports[0])).expect("a resource");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["status"], "preliminary");
    // Once more, on request: nothing is there twice.
    prelim_json(["export", "--json", "--grpc", &site.server.grpc, &studies[0], "--to", "ehr"]);
    eventually(PATIENCE, || "sent again".to_owned(), || ehr.received().len() == 3);
    assert_eq!(stored(), before);
}

/// A form that shows findings on images has nothing to show of a normal study: that is no refusal, and nothing to mend.
#[test]
fn a_draft_with_nothing_to_show_is_no_refusal() {
    let peer = Peer::storescp(&[]);
    let site = Site::start(&destination("pacs", &peer.address(), "objects = [\"sr\", \"kos\"]"));
    site.drafted(6, 11);
    let over = site.over("pacs", 12);
    let states = |object: &str| -> BTreeSet<&str> {
        let of_it = over.iter().filter(|each| each["object"] == object);
        of_it.map(|each| each["state"].as_str().expect("a word")).collect()
    };
    assert_eq!(states("sr"), BTreeSet::from(["sent"]));
    assert_eq!(states("kos"), BTreeSet::from(["empty", "sent"]), "{over:#?}");
    let empty = over.iter().find(|each| each["state"] == "empty").expect("one");
    assert!(empty["answer"].as_str().is_some_and(|answer| answer.contains("nothing to show as kos")), "{empty}");
}
