//! The DICOM listener, with senders that are not ours: DCMTK's tools and pynetdicom.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use prelim_tests::certificates::Authority;
use prelim_tests::ports::free_port;
use prelim_tests::server::Server;
use prelim_tests::workspace::{dicom_files, texts};
use prelim_tests::{PATIENCE, eventually, phantoms, prelim, prelim_json, repository, words};
use serde_json::{Value, json};

/// A coordinator with a worker that listens to DICOM, and its folder.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut arguments =
            vec!["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data", "--quiet-period-ms", "1000"];
        arguments.extend(["--dicom", "127.0.0.1:0"]);
        arguments.extend(more);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, folder }
    }

    fn port(&self) -> &str {
        self.server.dicom.rsplit(':').next().expect("TITLE@HOST:PORT")
    }

    /// Runs one of DCMTK's tools against the listener.
    fn dcmtk(&self, tool: &str, flags: &[&str], files: &[PathBuf]) -> Output {
        let mut command = Command::new(tool);
        command.args(flags).args(["-aec", "PRELIM", "127.0.0.1", self.port()]).args(files);
        command.output().expect("DCMTK is installed by tests/install.sh")
    }

    /// What pynetdicom says.
    fn pynetdicom(&self, what: &str, more: &[String]) -> Value {
        let root = repository();
        let mut command = Command::new(root.join("target/python/bin/python"));
        command.arg("-B").arg(root.join("tests/peers/dimse.py")).args(["127.0.0.1", self.port(), what]).args(more);
        let output = command.output().expect("python starts");
        assert!(output.status.success(), "{}\n{}", words(&output), self.server.log());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&output)))
    }

    /// Waits until the log has said all of that: the peer is answered first.
    fn has_logged(&self, wanted: &[&str]) {
        let log = || self.server.log();
        eventually(
            PATIENCE,
            || format!("all of {wanted:?} in {}", log()),
            || wanted.iter().all(|each| log().contains(each)),
        );
    }

    fn studies(&self) -> Vec<Value> {
        let listed = prelim_json(["studies", "--json", "--grpc", &self.server.grpc, "--limit", "500"]);
        listed.as_array().expect("a list").clone()
    }

    /// Waits until every study has its draft, or failed, and there are `count`.
    fn settled(&self, count: usize) -> Vec<Value> {
        let is_settled = |study: &Value| ["drafted", "failed"].contains(&study["state"].as_str().expect("a word"));
        let mut studies = Vec::new();
        eventually(
            PATIENCE,
            || format!("{count} settled: {:#?}", self.studies()),
            || {
                studies = self.studies();
                studies.len() == count && studies.iter().all(is_settled)
            },
        );
        studies
    }
}

fn drawn(site: &Site, count: u32) -> Vec<PathBuf> {
    let folder = site.folder.path().join("phantoms");
    phantoms(&folder, count, 11, None);
    dicom_files(&folder)
}

/// Issue promise: C-ECHO and C-STORE from DCMTK; studies sent so are drafted; the same study sent twice is one study.
#[test]
fn studies_sent_by_dcmtk_are_drafted() {
    let site = Site::start(&[]);
    let echo = site.dcmtk("echoscu", &["-v"], &[]);
    assert!(echo.status.success(), "{}", words(&echo));
    let files = drawn(&site, 3);
    for _ in 0..2 {
        let sent = site.dcmtk("storescu", &["-v", "-R"], &files);
        assert!(sent.status.success(), "{}", words(&sent));
        let answered = words(&sent).matches("Received Store Response (Success)").count();
        assert_eq!(answered, files.len(), "{}", words(&sent));
    }
    let studies = site.settled(3);
    assert!(studies.iter().all(|study| study["state"] == "drafted"), "{studies:#?}");
    let instances: u64 = studies.iter().map(|study| study["instances"].as_u64().expect("a number")).sum();
    assert_eq!(instances as usize, files.len());
}

/// Issue promise: all transfer syntaxes that we decode; objects are stored as they came.
#[test]
fn objects_are_taken_in_the_transfer_syntax_that_they_have() {
    let site = Site::start(&[]);
    // Implicit and explicit, little and big endian, RLE, JPEG, JPEG-LS, JPEG 2000, HTJ2K, deflated.
    let syntaxes = dicom_files(&repository().join("tests/data/dicom/transfer_syntaxes"));
    let answer = site.pynetdicom("store", &texts(&syntaxes));
    let statuses = answer["statuses"].as_array().expect("a list");
    assert_eq!(statuses.len(), syntaxes.len());
    for (file, status) in syntaxes.iter().zip(statuses) {
        // Files of one test pattern have one SOP Instance UID: some say the same, in another syntax, and some do not; MR and ultrasound are not stored here.
        let name = file.file_name().expect("a name").to_string_lossy();
        let expected: &[&str] = match &*name {
            "pd_MR_small_RLE.dcm" | "pd_MR_small_jpeg_ls_lossless.dcm" | "pd_ExplVR_BigEnd.dcm" => &["no context"],
            // They have no Study Instance UID.
            "pd_HTJ2K_08_RGB.dcm" | "pd_JPEGLSNearLossless_16.dcm" => &["C000"],
            _ => &["0000", "0111"],
        };
        assert!(expected.contains(&status.as_str().expect("a text")), "{name}: {status}");
    }
    let taken = statuses.iter().filter(|status| *status == "0000").count();
    assert_eq!(taken, 23, "{statuses:?}");
}

/// An object that comes again in another encoding is the one that is held; one that says something else is not.
#[test]
fn an_object_that_comes_again_in_another_encoding_is_held_already() {
    let site = Site::start(&[]);
    let file = drawn(&site, 3).into_iter().find(|path| path.to_string_lossy().contains("ct-")).expect("a slice");
    let again = |tool: &str, flags: &[&str]| {
        let to = site.folder.path().join(format!("{tool}{}.dcm", flags.concat()));
        let made = Command::new(tool).args(flags).args([&file, &to]).output().expect("DCMTK");
        assert!(made.status.success(), "{tool}: {}", words(&made));
        to
    };
    let changed = again("dcmconv", &["+te"]);
    let changing = Command::new("dcmodify").args(["-nb", "-i", "0010,1030=81.5"]).arg(&changed).output();
    assert!(changing.is_ok_and(|output| output.status.success()));
    let files = [
        file.clone(),
        again("dcmconv", &["+ti"]),
        again("dcmconv", &["+tb", "+e"]),
        again("dcmconv", &["+td", "-e"]),
        again("dcmcjpls", &["+el"]),
        again("dcmcjpeg", &["+e1"]),
        again("dcmcrle", &[]),
        changed.clone(),
        again("dcmcjpeg", &["+eb", "+un"]),
    ];
    let answer = site.pynetdicom("store", &texts(&files));
    // The last is lossy, with the UID of what it was made of.
    let expected = ["0000", "0000", "0000", "0000", "0000", "0000", "0000", "0111", "0111"];
    assert_eq!(answer["statuses"], json!(expected), "{answer}");
    let refused = prelim(["submit", "--grpc", &site.server.grpc, &changed.to_string_lossy()]);
    assert!(words(&refused).contains("it differs in PatientWeight (0010,1030)"), "{}", words(&refused));
    assert_eq!(site.studies()[0]["instances"], 1);
}

/// Issue promise: others are refused in negotiation with the reason logged; the title is checked.
#[test]
fn what_is_not_stored_is_refused_in_negotiation_and_the_log_says_why() {
    let site = Site::start(&[]);
    let answer = site.pynetdicom("refused", &[]);
    assert_eq!(answer["accepted"], json!(["1.2.840.10008.1.1"]));
    // 3: abstract syntax not supported (PS3.8 table 9-18).
    assert_eq!(answer["rejected"], json!([["1.2.840.10008.5.1.4.1.1.4", 3]]));
    assert_eq!(answer["stranger"], true);
    let class = "SOP class 1.2.840.10008.5.1.4.1.1.4 is not stored here";
    site.has_logged(&[class, r#"it called "NOBODY", and we are "PRELIM""#]);
}

/// A command that names another object than it brings is not believed.
#[test]
fn an_object_that_is_not_what_its_command_says_is_refused() {
    let site = Site::start(&[]);
    let ct: Vec<PathBuf> = drawn(&site, 3).into_iter().filter(|path| path.to_string_lossy().contains("ct-")).collect();
    let answer = site.pynetdicom("lie", &texts(&ct[..2]));
    assert_eq!(answer["status"], "A900", "{answer}");
    assert!(answer["comment"].as_str().is_some_and(|said| said.contains("SOP Instance UID")), "{answer}");
    assert_eq!(site.studies(), Vec::<Value>::new());
}

/// Issue promise: stored durably before the response: what was answered with success is there after kill -9.
#[test]
fn what_was_answered_with_success_survives_a_kill() {
    let mut site = Site::start(&[]);
    let files = drawn(&site, 4);
    let sent = site.dcmtk("storescu", &["-v"], &files);
    let answered = words(&sent).matches("Received Store Response (Success)").count();
    site.server.kill();
    assert_eq!(answered, files.len(), "{}", words(&sent));
    site.server.start_again();
    let studies = site.settled(4);
    let instances: u64 = studies.iter().map(|study| study["instances"].as_u64().expect("a number")).sum();
    assert_eq!(instances as usize, answered);
    assert!(studies.iter().all(|study| study["state"] == "drafted"), "{studies:#?}");
}

/// Issue promise: a sender that dies in the middle, an abort in every state, noise: the server stays up and goes on.
#[test]
fn whoever_breaks_off_or_sends_noise_harms_nobody() {
    let mut site = Site::start(&[]);
    let files = drawn(&site, 1);
    site.pynetdicom("abort", &texts(&files));
    assert!(site.server.is_alive());
    assert_eq!(site.studies(), Vec::<Value>::new(), "half an object is none");
    let sent = site.dcmtk("storescu", &["-v"], &files);
    assert!(sent.status.success(), "{}", words(&sent));
    site.has_logged(&["in the middle of a message"]);
    assert!(!site.server.log().contains("panicked"), "{}", site.server.log());
}

/// Issue promise: limits on associations: those past it are rejected for the moment, and the others served.
#[test]
fn a_crowd_gets_as_many_associations_as_there_are() {
    let site = Site::start(&["--dicom-associations", "20"]);
    let answer = site.pynetdicom("crowd", &["50".to_owned()]);
    assert_eq!(answer, json!({"accepted": 20, "rejected": 30, "echoes": ["0000"]}));
    // The places are free again, once it is noticed that they are.
    eventually(PATIENCE, || "a place".to_owned(), || site.dcmtk("echoscu", &[], &[]).status.success());
}

/// Issue promise: a slow-loris association: a PDU that has begun must be whole within the time that a peer may be silent.
#[test]
fn a_byte_now_and_then_does_not_hold_a_place() {
    let site = Site::start(&["--dicom-idle-s", "2"]);
    let answer = site.pynetdicom("drip", &[]);
    let seconds = answer["seconds"].as_f64().expect("a number");
    // Without the setting it would be a minute, and where each byte counted, three.
    assert!((1.5..40.0).contains(&seconds), "it was stood for {seconds} s");
}

/// Issue promise: every hostile file over C-STORE, byte for byte: the server stays up, and each is answered.
#[test]
fn hostile_objects_are_answered_and_harm_nobody() {
    let mut site = Site::start(&[]);
    let hostile = dicom_files(&repository().join("tests/data/dicom/malformed"));
    let answer = site.pynetdicom("hostile", &texts(&hostile));
    let statuses = answer["statuses"].as_object().expect("an object");
    assert_eq!(statuses.len(), hostile.len());
    let said = |name: &str| {
        let found = statuses.iter().find(|(file, _)| file.ends_with(name));
        found.and_then(|(_, status)| status.as_str()).unwrap_or_else(|| panic!("no {name} in {statuses:#?}"))
    };
    // 1,000 sequences within each other, a length of 4 GiB: C000, cannot understand.
    for name in ["gen_nest_1000.dcm", "gen_len_4gib.dcm"] {
        assert_eq!(said(name), "C000", "{name}");
    }
    let sent = statuses.values().filter(|status| status.as_str().is_some_and(|said| said.len() == 4)).count();
    assert!(sent >= 20, "{statuses:#?}");
    assert!(site.server.is_alive());
    assert!(!site.server.log().contains("panicked"), "{}", site.server.log());
    assert!(site.dcmtk("echoscu", &[], &[]).status.success());
}

/// Issue promise: AE title and address allow-lists, with the tenant that a sender's studies go to.
#[test]
fn only_listed_peers_may_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("peers.toml");
    std::fs::write(&list, "[[peer]]\naet = \"CT1\"\naddresses = [\"127.0.0.0/8\"]\n\n[[peer]]\naet = \"CT2\"\naddresses = [\"10.0.0.0/8\"]\n")
        .expect("a file");
    let site = Site::start(&["--dicom-peers", &list.display().to_string()]);
    let may = |title: &str| site.dcmtk("echoscu", &["-aet", title], &[]).status.success();
    assert_eq!([may("CT1"), may("CT2"), may("CT3")], [true, false, false]);
    site.has_logged(&["does not call from this address", "no peer has this title"]);
}

/// Issue promise: storage commitment as an SCP: what is held durably is reported, on the same association or, where the modality
/// did not wait, on one to it.
#[test]
fn modalities_are_told_what_is_held() {
    let port = free_port();
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("destinations.toml");
    let text =
        format!("[[destination]]\nname = \"modality\"\naddress = \"dicom://PYNET@127.0.0.1:{port}\"\nobjects = []\n");
    std::fs::write(&list, text).expect("a file");
    let site = Site::start(&["--destinations", &list.display().to_string()]);
    let files = drawn(&site, 1);
    let instances: Vec<Value> = files.iter().map(|file| json!(value_of(file, "0008,0018"))).collect();
    for (how, on) in [("commit", "the same"), ("commit_late", "another")] {
        let answer = site.pynetdicom(how, &[vec![port.to_string()], texts(&files)].concat());
        assert_eq!(answer["action"], "0000", "{answer}");
        let failed = json!([["1.2.3.4.5", "0112"], [instances[0], "0119"]]);
        let report = json!({"event": 2, "held": instances, "failed": failed, "on": on, "uid": "2.25.4711"});
        assert_eq!(answer["reports"], json!([report]), "{how}: {answer}\n{}", site.server.log());
    }
}

/// A value of a file, as DCMTK reads it.
fn value_of(file: &Path, tag: &str) -> String {
    let output = Command::new("dcmdump").args(["+P", tag]).arg(file).output().expect("dcmdump");
    let text = words(&output);
    let (_, rest) = text.split_once('[').expect("a value");
    rest.split(']').next().expect("a value").trim_end_matches('\0').to_owned()
}

/// Issue promise: TLS.
#[test]
fn dicom_is_spoken_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "hospital");
    let pair = authority.server();
    let (cert, key) = (pair.cert.display().to_string(), pair.key.display().to_string());
    let site = Site::start(&["--tls-cert", &cert, "--tls-key", &key, "--dicom-tls"]);
    let secure = site.dcmtk("echoscu", &["+tla", "+cf", &authority.pem.display().to_string()], &[]);
    assert!(secure.status.success(), "{}", words(&secure));
    let plain = site.dcmtk("echoscu", &["-ta", "5"], &[]);
    assert!(!plain.status.success(), "{}", words(&plain));
}
