//! De-identification: files for research sets, held against programs of others, and what workers get to see.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use prelim_proto::v1::worker_service_client::WorkerServiceClient;
use prelim_proto::v1::{
    CompleteRequest, HeldLease, JobKind, JobOutcome, LeaseRequest, LeaseStatus, ModelProvenance, ReadObjectRequest,
    RenewRequest, Unread, UnreadReason,
};
use prelim_tests::object::DX;
use prelim_tests::patient::Patient;
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, draft, eventually, prelim, prelim_json, repository, words};
use serde_json::Value;

/// A key that nobody else may read.
fn key(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, format!("{name:x>48}0123456789abcdef\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// De-identifies a folder, of which some files are refused; gives the file that each of the others became.
fn set(from: &Path, to: &Path, key: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let output = prelim(["deidentify", "--json", &text(from), "-o", &text(to), "--key", &text(key)]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
    let word = |file: &Value, member: &str| file[member].as_str().unwrap().to_owned();
    let written = files(to);
    let place = |uid: &str| written.iter().find(|path| path.ends_with(format!("{uid}.dcm"))).unwrap().clone();
    let all = said["files"].as_array().unwrap();
    all.iter()
        .filter(|file| word(file, "outcome") != "refused")
        .map(|file| (PathBuf::from(word(file, "path")), place(&word(file, "instance_uid"))))
        .collect()
}

/// Promise: a set agrees attribute by attribute with dicom-anonymizer and its table E.1-1, pydicom reads it, dciodvfy finds
/// nothing new in it, UIDs are what their definition says, and references within it hold.
#[test]
fn a_set_is_as_programs_of_others_would_have_it() {
    let work = tempfile::tempdir().unwrap();
    let key = key(work.path(), "key");
    // The larger collection is beside the repository on some machines.
    let collection = repository().join("../shared/data/dicom");
    let from = if collection.is_dir() { collection } else { repository().join("tests/data/dicom") };
    let pairs = set(&from, &work.path().join("set"), &key);
    assert!(pairs.len() >= 40, "{}", pairs.len());
    let pairs: Vec<_> = pairs.iter().map(|(before, after)| (text(before), text(after))).collect();
    let python = repository().join("target/python/bin/python");
    let script = repository().join("tests/peers/deidentify.py");
    let mut peer = Command::new(python)
        .arg(script)
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python of tests/install.sh");
    peer.stdin.take().unwrap().write_all(serde_json::to_string(&pairs).unwrap().as_bytes()).unwrap();
    let output = peer.wait_with_output().unwrap();
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 1, "{said}");
    let counts: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(counts["compared"], pairs.len(), "{counts}");
    assert!(counts["references within the set"].as_u64().unwrap() >= 9, "{counts}");
}

#[test]
fn a_set_depends_on_the_key_is_never_overwritten_and_its_table_leads_back() {
    let work = tempfile::tempdir().unwrap();
    let (one, other) = (key(work.path(), "key-1"), key(work.path(), "key-2"));
    let from = repository().join("tests/data/dicom/ct_series");
    let to = |name: &str| work.path().join(name);
    let first = set(&from, &to("first"), &one);
    assert_eq!(first.len(), 4);
    let again = set(&from, &to("again"), &one);
    for (before, after) in &first {
        assert_eq!(fs::read(after).unwrap(), fs::read(&again[before]).unwrap());
    }
    let names = |set: &BTreeMap<PathBuf, PathBuf>| {
        set.values().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(names(&set(&from, &to("other"), &other)).iter().all(|name| !names(&first).contains(name)));
    // What is there stays, whether or not it is the same.
    let changed = first.values().next().unwrap();
    fs::write(changed, "mine").unwrap();
    let table = work.path().join("table.csv");
    let run = |more: &[&str]| {
        let (from, to, one) = (text(&from), text(&to("first")), text(&one));
        let arguments = [&["deidentify", &from, "-o", &to, "--key", &one][..], more].concat();
        prelim(arguments)
    };
    let output = run(&["--table", &text(&table)]);
    let said = words(&output);
    assert!(!output.status.success() && said.contains("3 there already, 1 refused"), "{said}");
    assert_eq!(fs::read(changed).unwrap(), b"mine");
    // The table is for its owner alone, has every UID, and is not overwritten nor given away.
    assert_eq!(fs::metadata(&table).unwrap().permissions().mode() & 0o777, 0o600);
    let rows = fs::read_to_string(&table).unwrap();
    for kind in ["patient_id", "study_uid", "series_uid", "instance_uid"] {
        assert!(rows.lines().any(|row| row.starts_with(&format!("{kind},"))), "{rows}");
    }
    for (arguments, says) in [
        (["--table", &text(&table)], "already"),
        (["--table", &text(&to("first").join("table.csv"))], "must not go with the set"),
        (["--retain", "everything"], "possible values"),
    ] {
        let said = words(&run(&arguments));
        assert!(said.contains(says), "{said}");
    }
    let inside = prelim(["deidentify", &text(&from), "-o", &text(&from.join("set")), "--key", &text(&one)]);
    let _ = fs::remove_dir(from.join("set"));
    assert!(words(&inside).contains("which is read"), "{}", words(&inside));
    fs::set_permissions(&one, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(words(&run(&[])).contains("chmod 600"), "{}", words(&run(&[])));
}

#[test]
fn options_are_in_the_files_and_refusals_are_told() {
    let work = tempfile::tempdir().unwrap();
    let key = text(&key(work.path(), "key"));
    let from = text(&repository().join("tests/data/dicom/ct_series"));
    let out = text(&work.path().join("set"));
    let kept =
        prelim_json(["deidentify", "--json", &from, "-o", &out, "--key", &key, "--retain", "dates,characteristics"]);
    assert_eq!(kept["files"].as_array().unwrap().len(), 4);
    for file in files(Path::new(&out)) {
        let dump = Command::new("dcmdump").arg(&file).output().unwrap();
        let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
        for code in ["113100", "113107", "113108", "MODIFIED"] {
            assert!(dump.contains(code), "{code}: {dump}");
        }
    }
    let strict = work.path().join("strict");
    let output = prelim(["deidentify", &from, "-o", &text(&strict), "--key", &key, "--refuse-burned-in"]);
    let said = words(&output);
    assert!(!output.status.success() && said.contains("4 refused") && said.contains("face"), "{said}");
    assert!(files(&strict).is_empty());
}

/// What went one way over a connection that is passed on as it is.
struct Wire {
    address: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    /// A way to `server`; what it answers is kept.
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heard) = (listener.local_addr().unwrap().to_string(), Arc::new(Mutex::new(Vec::new())));
        let (server, kept) = (server.to_owned(), heard.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let (mut asks, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut asks, &mut to));
                let (mut answers, mut back, kept) = (server, client, kept.clone());
                thread::spawn(move || {
                    let mut bytes = [0; 1 << 16];
                    while let Ok(count @ 1..) = answers.read(&mut bytes) {
                        kept.lock().unwrap().extend(&bytes[..count]);
                        if back.write_all(&bytes[..count]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, heard }
    }
}

/// What is found of a patient in bytes.
fn found(patient: &Patient, bytes: &[u8]) -> Vec<String> {
    [&patient.name, &patient.dates[0], &patient.dates[1], &patient.uid].iter().filter_map(|m| m.find(bytes)).collect()
}

/// A coordinator, with the key where one is given.
fn coordinator(folder: &Path, key: Option<&Path>, more: &[&str]) -> Server {
    let data = text(&folder.join("data"));
    let mut arguments = vec!["coordinator", "--json", "--grpc", "127.0.0.1:0", "--data", &data];
    let key = key.map(text);
    if let Some(key) = &key {
        arguments.extend(["--deidentify", key]);
    }
    arguments.extend(more);
    Server::start(folder, &arguments, &[("PRELIM_LOG", "info")])
}

fn send(grpc: &str, folder: &Path, objects: &[Vec<u8>]) {
    fs::create_dir_all(folder).unwrap();
    for (number, object) in objects.iter().enumerate() {
        fs::write(folder.join(format!("{number}.dcm")), object).unwrap();
    }
    let sent = prelim(["submit", "--grpc", grpc, &text(folder)]);
    assert!(sent.status.success(), "{}", words(&sent));
}

/// Promise: with a key nothing that names a patient, in a real worker's conversation with a coordinator, and drafts that
/// name the real images, the same as without.
#[test]
fn a_worker_hears_nothing_that_names_a_patient_and_drafts_are_the_same() {
    let work = tempfile::tempdir().unwrap();
    let key = key(work.path(), "key");
    let mut patient = Patient::default();
    let (chest, thorax) = (patient.next_study(), patient.next_study());
    let objects = [patient.film(&chest, 2), patient.volume(&thorax, 6)].concat();
    prelim_tests::phantoms(&work.path().join("phantoms"), 2, 7, None);
    let mut drafts = Vec::new();
    for (name, key) in [("open", None), ("veiled", Some(key.as_path()))] {
        let folder = work.path().join(name);
        let server = coordinator(&folder, key, &["--audit", &text(&folder.join("audit.jsonl"))]);
        let wire = Wire::to(&server.grpc);
        let worker = Server::start(
            &folder.join("worker"),
            &["worker", "--json", "--grpc", &wire.address, "--worker-id", "reader"],
            &[("PRELIM_LOG", "debug")],
        );
        send(&server.grpc, &folder.join("sent"), &objects);
        prelim_tests::submit(&server.grpc, &work.path().join("phantoms"));
        let studies = || {
            let listed = prelim_json(["studies", "--json", "--grpc", &server.grpc]);
            let of = |study: &Value, member: &str| study[member].as_str().unwrap().to_owned();
            let all = listed.as_array().unwrap().clone();
            all.iter().map(|study| (of(study, "study_uid"), of(study, "state"))).collect::<BTreeMap<_, _>>()
        };
        eventually(
            PATIENCE,
            || format!("{:?} {}", studies(), server.log()),
            || studies().len() == 4 && studies().values().all(|state| state == "drafted"),
        );
        let all: Vec<(String, Vec<u8>)> =
            studies().into_keys().map(|study| (study.clone(), draft(&server.grpc, &study, "json"))).collect();
        let heard = wire.heard.lock().unwrap().clone();
        assert!(heard.len() > 500_000, "{} bytes were heard", heard.len());
        let leaks = found(&patient, &heard);
        if key.is_none() {
            // What is looked for is found where nothing hides it.
            assert!(leaks.len() >= 4, "{leaks:?}");
        } else {
            assert!(leaks.is_empty(), "{leaks:#?}");
            for (study, _) in &all {
                assert!(!heard.windows(study.len()).any(|window| window == study.as_bytes()), "{study} was heard");
            }
            assert!(found(&patient, worker.log().as_bytes()).is_empty(), "{}", worker.log());
            check_way_back(&server, &folder, &chest);
        }
        drafts.push(all);
    }
    for (open, veiled) in drafts[0].iter().zip(&drafts[1]) {
        assert_eq!(open.0, veiled.0);
        let text = |draft: &[u8]| String::from_utf8_lossy(draft).into_owned();
        assert_eq!(text(&open.1), text(&veiled.1), "{}", open.0);
    }
    let evidence = drafts[1].iter().any(|(_, draft)| String::from_utf8_lossy(draft).contains("\"instance\""));
    assert!(evidence, "no draft names an image");
}

/// Pseudonyms lead back by the key, for those who may, and on record.
fn check_way_back(server: &Server, folder: &Path, study: &str) {
    let set = folder.join("set");
    let key = text(&folder.parent().unwrap().join("key"));
    let output = prelim(["deidentify", &text(&folder.join("sent")), "-o", &text(&set), "--key", &key]);
    assert!(output.status.success(), "{}", words(&output));
    let file = files(&set).remove(0);
    let wanted = ["+P", "0010,0020", "+P", "0020,000d", "+P", "0008,0018", "+P", "0020,000e"];
    let dump = Command::new("dcmdump").args(wanted).arg(&file).output().unwrap();
    let dump = String::from_utf8(dump.stdout).unwrap();
    let values: Vec<&str> = dump.split('[').skip(1).filter_map(|rest| rest.split(']').next()).collect();
    assert_eq!(values.len(), 4, "{dump}");
    let mut kinds = Vec::new();
    for pseudonym in values {
        let answer = prelim_json(["reidentify", "--json", "--grpc", &server.grpc, pseudonym.trim()]);
        for found in answer.as_array().unwrap() {
            kinds.push(found["kind"].as_str().unwrap().to_owned());
            assert!(found["study_uid"].as_str().unwrap().starts_with(study.rsplit_once('.').unwrap().0), "{found}");
        }
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["instance_uid", "patient_id", "series_uid", "study_uid"]);
    let unknown = prelim(["reidentify", "--grpc", &server.grpc, "2.25.1"]);
    assert!(words(&unknown).contains("another key"), "{}", words(&unknown));
    let audit = fs::read_to_string(folder.join("audit.jsonl")).unwrap();
    let asked: Vec<&str> = audit.lines().filter(|line| line.contains("\"Reidentify\"")).collect();
    assert!(asked.len() > 5 && asked.iter().any(|line| line.contains("110103") && line.contains(study)), "{asked:#?}");
}

/// Promise: any coordinator with the key knows what another gave out, errors name nothing real, images that cannot be given
/// are listed as not read, and without the key nobody goes back.
#[test]
fn coordinators_take_over_from_each_other_and_say_nothing_real_in_errors() {
    let work = tempfile::tempdir().unwrap();
    let key = key(work.path(), "key");
    let redis = Redis::start(&work.path().join("redis"));
    let bytes = format!("file://{}", work.path().join("bytes").display());
    let more = ["--redis", &redis.url(), "--bytes", &bytes, "--deidentify-refuse-burned-in"];
    let [one, other] = ["one", "other"].map(|name| coordinator(&work.path().join(name), Some(&key), &more));
    let mut patient = Patient::default();
    let study = patient.next_study();
    let mut burned = patient.image(DX, &study, 3);
    burned.text((0x28, 0x301), "CS", "YES");
    let objects = [patient.film(&study, 2), vec![burned.file()]].concat();
    send(&one.grpc, &work.path().join("sent"), &objects);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let heard = runtime.block_on(async {
        let connect = |grpc: &str| WorkerServiceClient::connect(format!("http://{grpc}"));
        let (mut one, mut other) = (connect(&one.grpc).await.unwrap(), connect(&other.grpc).await.unwrap());
        let mut heard = Vec::new();
        let ask = LeaseRequest {
            worker_id: "w".into(),
            kinds: vec![JobKind::ReadXray as i32],
            wait_ms: 20_000,
            request_id: "r1".into(),
            ..LeaseRequest::default()
        };
        let lease = one.lease(ask).await.unwrap().into_inner().lease.expect("a job");
        heard.push(format!("{lease:?}").into_bytes());
        let job = lease.job.unwrap();
        assert_eq!(job.images.len(), 2, "the one with burned-in text is not given");
        let held = || HeldLease { job_id: job.id.clone(), token: lease.token };
        for image in &job.images {
            let read = |digest: &str, token| ReadObjectRequest {
                digest: digest.to_owned(),
                job_id: job.id.clone(),
                token,
                chunks_only: false,
            };
            let mut parts = other.read_object(read(&image.digest, lease.token)).await.unwrap().into_inner();
            let mut object = Vec::new();
            while let Some(part) = parts.message().await.unwrap() {
                object.extend(part.chunk);
            }
            assert_eq!(object.len() as u64, image.size_bytes);
            assert_eq!(prelim_imaging::header::digest(&object).to_string(), image.digest);
            heard.push(object);
            for (digest, token) in [(&image.digest, 99), (&"0".repeat(64), lease.token)] {
                let status = other.read_object(read(digest, token)).await.unwrap_err();
                heard.push(format!("{status:?}").into_bytes());
            }
            // What is stored is not had by its own digest.
            let stored = prelim_imaging::header::digest(&objects[0]).to_string();
            assert!(one.read_object(read(&stored, lease.token)).await.is_err());
        }
        let renew = RenewRequest { worker_id: "w".into(), leases: vec![held()], ..RenewRequest::default() };
        let renewed = other.renew(renew).await.unwrap().into_inner().leases.remove(0);
        assert_eq!((renewed.status(), &renewed.job_id), (LeaseStatus::Renewed, &job.id));
        let outcome = |instance: &str| JobOutcome {
            unread: vec![Unread {
                instance_uid: instance.to_owned(),
                frame: Some(1),
                reason: UnreadReason::Corrupt as i32,
                detail: format!("{instance} is damaged"),
            }],
            frames_read: 1,
            model: Some(ModelProvenance { digest: "0".repeat(64), ..ModelProvenance::default() }),
            ..JobOutcome::default()
        };
        let complete = |instance: &str| CompleteRequest {
            worker_id: "w".into(),
            lease: Some(held()),
            outcome: Some(outcome(instance)),
            ..CompleteRequest::default()
        };
        let foreign = other.complete(complete("2.25.5")).await.unwrap_err();
        assert_eq!(foreign.code(), tonic::Code::InvalidArgument);
        heard.push(format!("{foreign:?}").into_bytes());
        other.complete(complete(&job.images[0].instance_uid)).await.unwrap();
        let late = HeldLease { job_id: job.id.clone(), token: 77 };
        let late = CompleteRequest { lease: Some(late), ..complete(&job.images[0].instance_uid) };
        heard.push(format!("{:?}", one.complete(late).await.unwrap_err()).into_bytes());
        // A job by its real name is nobody's.
        let real = HeldLease { job_id: format!("{study}/0"), token: lease.token };
        let real = RenewRequest { worker_id: "w".into(), leases: vec![real], ..RenewRequest::default() };
        assert_eq!(one.renew(real).await.unwrap().into_inner().leases[0].status(), LeaseStatus::Lost);
        heard
    });
    for said in heard {
        let leaks = found(&patient, &said);
        assert!(leaks.is_empty(), "{leaks:?} in {}", String::from_utf8_lossy(&said));
    }
    let state = || prelim_json(["studies", "--json", "--grpc", &one.grpc])[0]["state"].as_str().unwrap().to_owned();
    eventually(PATIENCE, || state() + &one.log(), || state() == "drafted");
    let draft = String::from_utf8(draft(&one.grpc, &study, "json")).unwrap();
    assert!(draft.contains(&format!("{study}.1.1 is damaged")), "{draft}");
    assert!(draft.contains("burned into the pixels") && draft.contains(&format!("{study}.1.3")), "{draft}");
    assert!(found(&patient, one.log().as_bytes()).is_empty(), "{}", one.log());
}

#[test]
fn a_key_that_is_no_secret_and_addresses_of_a_bucket_are_refused_in_words() {
    let work = tempfile::tempdir().unwrap();
    let key = key(work.path(), "key");
    let start = |more: &[&str]| {
        let (data, key) = (text(&work.path().join("data")), text(&key));
        let all = [&["coordinator", "--grpc", "127.0.0.1:0", "--data", &data, "--deidentify", &key][..], more].concat();
        words(&prelim(all))
    };
    let said = start(&["--bytes", "s3://bucket/x", "--bytes-direct"]);
    assert!(said.contains("--bytes-direct and --deidentify exclude each other"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(start(&[]).contains("chmod 600"), "{}", start(&[]));
    fs::write(&key, "short").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(start(&[]).contains("openssl rand -hex 32"), "{}", start(&[]));
}
