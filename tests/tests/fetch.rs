//! Studies from a PACS: Orthanc, DCMTK's dcmqrscp, and one of pynetdicom that holds what we do not store.

use std::path::{Path, PathBuf};
use std::process::Command;

use prelim_tests::pacs::{Orthanc, Peer};
use prelim_tests::ports::free_port;
use prelim_tests::server::Server;
use prelim_tests::workspace::dicom_files;
use prelim_tests::{PATIENCE, draft, eventually, phantoms, prelim, prelim_json, repository, words};
use serde_json::{Value, json};

/// A coordinator with a worker that fetches from `pacs`, and its DICOM port.
struct Site {
    server: Server,
    _folder: tempfile::TempDir,
}

impl Site {
    fn start(address: &str, our_port: u16) -> Self {
        Self::that_sends(address, our_port, "")
    }

    /// The same, that also sends its drafts there as these objects.
    fn that_sends(address: &str, our_port: u16, objects: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = format!("[[destination]]\nname = \"pacs\"\naddress = \"{address}\"\nobjects = [{objects}]\n");
        std::fs::write(folder.path().join("destinations.toml"), file).expect("a file");
        let dicom = format!("127.0.0.1:{our_port}");
        let arguments = [
            "up",
            "--json",
            "--grpc",
            "127.0.0.1:0",
            "--data",
            "data",
            "--dicom",
            &dicom,
            "--destinations",
            "destinations.toml",
        ];
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, _folder: folder }
    }

    fn fetch(&self, more: &[&str]) -> Value {
        let fixed = ["fetch", "--from", "pacs", "--json", "--grpc", &self.server.grpc];
        prelim_json(fixed.iter().chain(more))
    }

    fn refused(&self, more: &[&str]) -> String {
        let fixed = ["fetch", "--from", "pacs", "--grpc", &self.server.grpc];
        let output = prelim(fixed.iter().chain(more));
        assert!(!output.status.success(), "{}", words(&output));
        words(&output)
    }

    /// Waits for a study's draft.
    fn draft(&self, study: &str) {
        let output = prelim(["watch", "--grpc", &self.server.grpc, study]);
        assert!(output.status.success(), "{}", words(&output));
        assert!(!draft(&self.server.grpc, study, "json").is_empty());
    }
}

/// Draws studies, and sends them to a PACS.
fn filled(folder: &Path, title: &str, port: u16, kind: Option<&str>) -> Vec<PathBuf> {
    phantoms(folder, 2, 21, kind);
    let files = dicom_files(folder);
    let mut command = Command::new("storescu");
    command.args(["-R", "-aec", title, "127.0.0.1", &port.to_string()]).args(&files);
    let sent = command.output().expect("DCMTK is installed by tests/install.sh");
    assert!(sent.status.success(), "{}", words(&sent));
    files
}

/// Issue promise: studies by UID, accession number, patient and date come by C-GET through the normal intake; counts are
/// compared; they are drafted.
#[test]
fn studies_come_from_orthanc_by_c_get() {
    let our_port = free_port();
    let orthanc = Orthanc::start(our_port);
    let folder = tempfile::tempdir().expect("a folder");
    let files = filled(folder.path(), "ORTHANC", orthanc.port, None);
    let site = Site::start(&orthanc.address(), our_port);
    let (mut expected, mut studies) = (0, Vec::new());
    for study in orthanc.get("/studies?expand").as_array().expect("a list") {
        let tags = &study["MainDicomTags"];
        let patient = study["PatientMainDicomTags"]["PatientID"].as_str().expect("an id");
        let text = |name: &str| tags[name].as_str().expect("a text").to_owned();
        let (uid, accession, date) = (text("StudyInstanceUID"), text("AccessionNumber"), text("StudyDate"));
        let listed = site.fetch(&["--list", "--patient", patient, "--date", &date]);
        assert_eq!(listed[0]["study_uid"], uid, "{listed}");
        assert_eq!(listed[0]["patient_id"], patient);
        let count = listed[0]["instances"].as_u64().expect("a number");
        let brought = site.fetch(&["--accession", &accession]);
        let whole = json!([{"study_uid": uid, "by": "C-GET", "expected": count, "held": count, "accepted": count, "failed": 0, "reasons": []}]);
        assert_eq!(brought, whole);
        expected += count;
        studies.push(uid);
    }
    assert_eq!(expected as usize, files.len());
    for study in &studies {
        site.draft(study);
        // What is here already does not come twice.
        let again = site.fetch(&[study]);
        assert_eq!((&again[0]["held"], &again[0]["accepted"]), (&again[0]["expected"], &json!(0)), "{again}");
    }
    assert!(site.refused(&["1.2.3.4.5"]).contains("holds no study 1.2.3.4.5"));
    assert!(!site.server.log().contains(&studies[0]), "a study is named in the log");
}

/// A study that has our own report in it by now is fetched again, with what came late: Orthanc
/// ends a C-GET at the first object that it finds no context for.
#[test]
fn a_study_with_our_report_in_it_is_fetched_again() {
    let our_port = free_port();
    let orthanc = Orthanc::start(our_port);
    let folder = tempfile::tempdir().expect("a folder");
    let files = filled(folder.path(), "ORTHANC", orthanc.port, Some("dx"));
    let site = Site::that_sends(&orthanc.address(), our_port, "\"sr\"");
    let study = uid_of(&files[0]);
    let held = || orthanc.get("/instances").as_array().expect("a list").len();
    let before = held();
    let first = site.fetch(&[&study]);
    assert_eq!((&first[0]["failed"], &first[0]["reasons"]), (&json!(0), &json!([])), "{first}");
    site.draft(&study);
    eventually(PATIENCE, || held().to_string(), || held() == before + 1);
    let late = folder.path().join("late.dcm");
    std::fs::copy(&files[0], &late).expect("a copy");
    let changed = Command::new("dcmodify").args(["-nb", "-gin"]).arg(&late).output();
    assert!(changed.is_ok_and(|output| output.status.success()));
    let mut sending = Command::new("storescu");
    sending.args(["-aec", "ORTHANC", "127.0.0.1", &orthanc.port.to_string()]).arg(&late);
    assert!(sending.output().is_ok_and(|output| output.status.success()));
    let again = site.fetch(&[&study]);
    let count = first[0]["expected"].as_u64().expect("a number");
    assert_eq!((&again[0]["accepted"], &again[0]["held"]), (&json!(1), &json!(count + 1)), "{again}");
    assert!(site.refused(&["--patient", "PHANTOM*"]).contains("fits more than one"));
}

/// An instance that is held and is another there is told, and the others come: Orthanc names it in its last answer, in a
/// place where it does not belong.
#[test]
fn what_is_held_and_is_another_there_is_told() {
    let our_port = free_port();
    let orthanc = Orthanc::start(our_port);
    let folder = tempfile::tempdir().expect("a folder");
    let files = filled(folder.path(), "ORTHANC", orthanc.port, Some("ct"));
    let site = Site::start(&orthanc.address(), our_port);
    let study = uid_of(&files[0]);
    let count = files.iter().filter(|file| uid_of(file) == study).count();
    let changed = Command::new("dcmodify").args(["-nb", "-i", "0010,1030=81.5"]).arg(&files[0]).output();
    assert!(changed.is_ok_and(|output| output.status.success()));
    let submitted = prelim(["submit", "--grpc", &site.server.grpc, &files[0].to_string_lossy()]);
    assert!(submitted.status.success(), "{}", words(&submitted));
    let brought = site.fetch(&[&study]);
    let told = &brought[0];
    assert_eq!((&told["held"], &told["accepted"]), (&json!(count), &json!(count - 1)), "{brought}");
    let reason = told["reasons"][0].as_str().expect("a reason");
    assert!(reason.contains("it differs in PatientWeight (0010,1030)"), "{brought}");
    site.draft(&study);
}

/// Issue promise: C-MOVE to our own listener where the PACS has no C-GET.
#[test]
fn studies_come_from_dcmqrscp_by_c_get_and_by_c_move() {
    for (flags, by) in [(&[][..], "C-GET"), (&["--disable-get"][..], "C-MOVE")] {
        let our_port = free_port();
        let pacs = Peer::dcmqrscp(flags, our_port);
        let folder = tempfile::tempdir().expect("a folder");
        filled(folder.path(), "PACS", pacs.port, None);
        let site = Site::start(&pacs.address(), our_port);
        for study in std::fs::read_dir(folder.path()).expect("studies") {
            let study = study.expect("an entry").path();
            if !study.is_dir() {
                continue;
            }
            let count = dicom_files(&study).len();
            let uid = uid_of(&dicom_files(&study)[0]);
            let brought = site.fetch(&[&uid]);
            assert_eq!((&brought[0]["by"], &brought[0]["failed"]), (&json!(by), &json!(0)), "{brought}");
            assert_eq!((&brought[0]["held"], &brought[0]["expected"]), (&json!(count), &json!(count)), "{brought}");
            site.draft(&uid);
        }
    }
}

/// Study Instance UID of a file, as DCMTK reads it.
fn uid_of(file: &Path) -> String {
    let output = Command::new("dcmdump").args(["+P", "0020,000d"]).arg(file).output().expect("dcmdump");
    let text = words(&output);
    let (_, rest) = text.split_once('[').expect("a value");
    rest.split(']').next().expect("a value").trim_end_matches('\0').to_owned()
}

/// Issue promise: sub-operations that failed, and instances that did not come, are told with their reason.
#[test]
fn what_did_not_come_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = folder.path().join("held");
    phantoms(&held, 1, 22, Some("dx"));
    let uid = uid_of(&dicom_files(&held)[0]);
    let count = dicom_files(&held).len();
    // A magnetic resonance image of the same study: it is not stored here.
    let mr = repository().join("tests/data/dicom/transfer_syntaxes/pd_MR_small_RLE.dcm");
    let copy = held.join("mr.dcm");
    std::fs::copy(mr, &copy).expect("a copy");
    let changed = Command::new("dcmodify").args(["-nb", "-i", &format!("0020,000D={uid}")]).arg(&copy).output();
    assert!(changed.is_ok_and(|output| output.status.success()));
    let pacs = Peer::pynetdicom(&json!({"holds": held, "get": true}));
    let site = Site::start(&pacs.address(), free_port());
    let said = site.refused(&[&uid]);
    assert!(said.contains(&format!("{count} of {} instances held", count + 1)), "{said}");
    assert!(said.contains("SOP class 1.2.840.10008.5.1.4.1.1.4 is not stored here"), "{said}");
    site.draft(&uid);
    // A PACS that answers no questions says so.
    let mute = Peer::pynetdicom(&json!({}));
    let site = Site::start(&mute.address(), free_port());
    let said = site.refused(&[&uid]);
    assert!(said.contains("refuses C-FIND in the Study Root model: it does not take this SOP class"), "{said}");
}
