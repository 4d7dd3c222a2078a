//! Earlier studies of the patient: found, compared, and said in every form of the draft.
//!
//! Verifies the promise that a study is compared with the patient's earlier studies by date and body part, that the draft says
//! what changed and with what, and that no other patient's study is compared.

use std::path::Path;
use std::process::Command;

use prelim_tests::browser::{Browser, account};
use prelim_tests::pacs::Peer;
use prelim_tests::ports::free_port;
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, draft, eventually, phantoms, prelim_json, repository, submit, words};
use serde_json::Value;

/// Who the phantoms are said to be.
const JANE: [&str; 4] =
    ["PatientID=PLANTEDID", "PatientName=PLANTEDNAME^Jane", "PatientBirthDate=19580312", "PatientSex=F"];

fn python(script: &str, arguments: &[&str]) {
    let root = repository();
    let mut command = Command::new(root.join("target/python/bin/python"));
    let output = command.arg("-B").arg(root.join("tests/peers").join(script)).args(arguments).output();
    let output = output.expect("python is installed by tests/install.sh");
    assert!(output.status.success(), "{}", words(&output));
}

/// Phantom chest X-rays in a folder, the same for a seed; each study in a folder of its own.
fn films(folder: &Path, count: u32) -> Vec<std::path::PathBuf> {
    phantoms(folder, count, 11, Some("dx"));
    (1..=count).map(|number| folder.join(format!("dx-{number:05}"))).collect()
}

/// Says of the objects below a folder that they are of a patient, made at a date and time.
fn rewrite(folder: &Path, patient: &[&str], date: &str, time: &str) {
    let (date, time) = (format!("StudyDate={date}"), format!("StudyTime={time}"));
    let mut arguments = vec![folder.to_str().expect("a path"), &date, &time];
    arguments.extend(patient);
    python("rewrite.py", &arguments);
}

/// `prelim up` with these rules.
fn site(folder: &Path, rules: &str) -> Server {
    site_with(folder, rules, &[])
}

/// The same with more arguments.
fn site_with(folder: &Path, rules: &str, more: &[&str]) -> Server {
    std::fs::write(folder.join("rules.toml"), rules).expect("a file");
    let mut arguments = vec!["up", "--grpc", "127.0.0.1:0", "--data", "data", "--json", "--rules", "rules.toml"];
    arguments.extend(more);
    Server::start(folder, &arguments, &[("PRELIM_LOG", "info,prelim_coordinator=debug")])
}

/// Submits a folder and returns the draft of its study as JSON.
fn read(server: &Server, folder: &Path) -> Value {
    let submitted = submit(&server.grpc, folder);
    let study = submitted["study_uids"][0].as_str().unwrap_or_else(|| panic!("{submitted:#}"));
    json(server, study)
}

fn json(server: &Server, study: &str) -> Value {
    serde_json::from_slice(&draft(&server.grpc, study, "json")).expect("JSON")
}

fn comparison(draft: &Value) -> Vec<&str> {
    draft["report"]["comparison"]
        .as_array()
        .expect("sentences")
        .iter()
        .map(|line| line.as_str().expect("text"))
        .collect()
}

fn uid(draft: &Value) -> &str {
    draft["study"]["uid"].as_str().expect("a UID")
}

/// The findings of a draft that are there, each as its key and side.
fn seen(draft: &Value) -> Vec<(String, String)> {
    let findings = draft["report"]["findings"].as_array().expect("findings").iter();
    let there = findings.filter(|finding| finding["presence"] != "absent");
    there.map(|finding| (text(&finding["key"]), text(&finding["laterality"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether a program takes a file without an error.
fn check(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(file).output().expect("it is installed by tests/install.sh");
    words(&output)
}

/// Promise: the later of two studies of a patient is compared with the earlier one; each finding of either is told once, as what
/// became of it; every form of the draft says so; the same studies give the same draft elsewhere.
#[test]
fn the_later_study_says_what_changed_since_the_earlier_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let films = films(folder.path(), 4);
    let dates = ["20260320", "20260501", "20260501", "20260502"];
    for (film, date) in films.iter().zip(dates) {
        rewrite(film, &JANE, date, "101500");
    }
    let site_folder = tempfile::tempdir().expect("a folder");
    let server = site(site_folder.path(), "[default]\n");

    let earlier = read(&server, &films[0]);
    assert_eq!(comparison(&earlier), ["No earlier study was at hand."]);
    assert!(earlier["report"]["priors"].is_null());
    let later = read(&server, &films[1]);
    let said = comparison(&later);
    assert_eq!(
        said[0],
        "Compared with chest X-ray of 2026-03-20, 42 days before (draft by software, unsigned; demonstration model)."
    );
    let priors = later["report"]["priors"].as_array().expect("priors");
    assert_eq!(priors.len(), 1);
    assert_eq!((&priors[0]["study"], &priors[0]["days_before"]), (&earlier["study"]["uid"], &Value::from(42)));
    assert_eq!(priors[0]["source"]["kind"], "unsigned_draft");
    every_finding_is_told_once(&earlier, &later, &priors[0], &said);
    every_form_says_it(&server, &later, &said, site_folder.path());

    // The same day at the same time: which came first is not known. The day after: both are earlier, the newer one first.
    let same_day = read(&server, &films[2]);
    assert!(comparison(&same_day).iter().any(|line| line.contains("no time says which came first")), "{same_day:#}");
    let last = read(&server, &films[3]);
    let days: Vec<_> =
        last["report"]["priors"].as_array().expect("priors").iter().map(|p| p["days_before"].clone()).collect();
    assert_eq!(days, [1, 1, 43]);
    let compared = |prior: &Value| prior["changes"].as_array().is_some_and(|changes| !changes.is_empty());
    assert_eq!(last["report"]["priors"].as_array().expect("priors").iter().filter(|prior| compared(prior)).count(), 1);

    let notes = prelim_json(["studies", "--json", "--grpc", &server.grpc]).to_string();
    assert!(notes.contains("Compared with a chest X-ray 42 days before (draft 1 of ours, unsigned)"), "{notes}");
    let log = server.log();
    assert!(log.contains("priors chosen"), "{log}");
    for private in ["PLANTEDNAME", "PLANTEDID", "19580312", uid(&earlier), uid(&later)] {
        assert!(!log.contains(private), "{private} in {log}");
    }

    let again_folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(&again_folder.path().join("redis"));
    let again = site_with(again_folder.path(), "[default]\n", &["--redis", &redis.url()]);
    read(&again, &films[0]);
    read(&again, &films[1]);
    let bytes = |server: &Server| draft(&server.grpc, uid(&later), "json");
    assert!(bytes(&server) == bytes(&again), "the same studies give the same draft, on Redis too");
}

/// Each finding of the two drafts is in one change, which agrees with both lists and with the sentences.
fn every_finding_is_told_once(earlier: &Value, later: &Value, prior: &Value, said: &[&str]) {
    let changes = prior["changes"].as_array().expect("changes");
    let mut now: Vec<u64> = changes.iter().filter_map(|change| change["finding"].as_u64()).collect();
    now.sort_unstable();
    let there = later["report"]["findings"].as_array().expect("findings").iter().enumerate();
    let expected: Vec<u64> =
        there.filter(|(_, finding)| finding["presence"] != "absent").map(|(at, _)| at as u64).collect();
    assert_eq!(now, expected, "{prior:#}");
    let side = |finding: &Value| (text(&finding["key"]), text(&finding["laterality"]));
    let mut then: Vec<_> = changes.iter().filter(|c| !c["earlier"].is_null()).map(|c| side(&c["earlier"])).collect();
    then.sort();
    let mut expected = seen(earlier);
    expected.sort();
    assert_eq!(then, expected, "{prior:#}");
    assert!(!expected.is_empty() && expected != seen(later), "the phantoms of this seed differ: {expected:?}");
    for (change, heading) in [("new", "New: "), ("no_longer_seen", "No longer seen: "), ("unchanged", "Unchanged: ")] {
        let in_structure = changes.iter().any(|each| each["change"] == change);
        assert_eq!(said.iter().any(|line| line.starts_with(heading)), in_structure, "{change}: {said:#?}");
    }
}

/// The sentences are in text, HTML, PDF, FHIR, HL7 and SR, and the tools of others take these.
fn every_form_says_it(server: &Server, later: &Value, said: &[&str], folder: &Path) {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let write = |format: &str| {
        let file = folder.join(format!("draft.{format}"));
        std::fs::write(&file, draft(&server.grpc, uid(later), format)).expect("a file");
        file
    };
    let file = |format: &str| write(format).display().to_string();
    let pdf = Command::new("pdftotext").args([&file("pdf"), "-"]).output().expect("poppler is installed");
    let sr = check("dsrdump", &["+Pl"], &write("sr"));
    for (form, content) in [
        ("text", String::from_utf8_lossy(&std::fs::read(write("text")).expect("a file")).into_owned()),
        ("html", String::from_utf8_lossy(&std::fs::read(write("html")).expect("a file")).into_owned()),
        ("fhir", String::from_utf8_lossy(&std::fs::read(write("fhir")).expect("a file")).into_owned()),
        ("hl7", String::from_utf8_lossy(&std::fs::read(write("hl7")).expect("a file")).into_owned()),
        ("pdf", String::from_utf8_lossy(&pdf.stdout).into_owned()),
        ("sr", sr.clone()),
    ] {
        // Lines of a page are broken, and long values of a dump are cut.
        for line in said {
            let begin: String = line.chars().take(60).collect();
            assert!(flat(&content).contains(&flat(&begin)), "{form}: {line}\n{content}");
        }
    }
    assert!(sr.contains("Procedure Study Instance UID"), "{sr}");
    let verdict = check("dciodvfy", &[], &write("sr"));
    assert!(verdict.contains("Comprehensive3DSR") && !verdict.contains("Error"), "{verdict}");
    let script = repository().join("coordinator/tests/report/validate_fhir.mjs");
    let mut node = Command::new("node");
    node.env("NODE_FOLDER", repository().join("target/node")).arg(script).arg(write("fhir"));
    let output = node.output().expect("node is installed by tests/install.sh");
    assert!(output.status.success(), "{}", words(&output));
}

/// Promise: a study with the same Patient ID and another birth date is not compared, and the draft says why; nor is one of
/// another issuer; rules turn comparing off.
#[test]
fn another_patients_study_is_not_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let films = films(folder.path(), 5);
    let undated = ["PatientID=PLANTEDID", "PatientName=Miller^Bob", "PatientBirthDate=", "PatientSex=F"];
    let john = ["PatientID=PLANTEDID", "PatientName=Roe^John", "PatientBirthDate=19700101", "PatientSex=F"];
    let elsewhere = [&JANE[..], &["IssuerOfPatientID=ELSEWHERE"]].concat();
    let here = [&JANE[..], &["IssuerOfPatientID=HERE"]].concat();
    rewrite(&films[0], &john, "20260101", "080000");
    rewrite(&films[1], &elsewhere, "20260201", "080000");
    rewrite(&films[2], &here, "20260501", "080000");
    rewrite(&films[3], &here, "20260601", "080000");
    rewrite(&films[4], &undated, "20260401", "080000");
    let site_folder = tempfile::tempdir().expect("a folder");
    let accounts = site_folder.path().join("accounts.toml");
    account(&accounts, "rita", &[]);
    let more = ["--http", "127.0.0.1:0", "--accounts", "accounts.toml"];
    let server = site_with(site_folder.path(), "[default]\n", &more);
    let other = read(&server, &films[0]);
    read(&server, &films[1]);
    read(&server, &films[4]);
    let jane = read(&server, &films[2]);
    assert_eq!(
        comparison(&jane),
        [
            "Another study was not compared: the same Patient ID, but another birth date.",
            "Another study was not compared: the same Patient ID, but another name.",
            "Another study was not compared: the same Patient ID, but of another issuer."
        ]
    );
    assert!(jane["report"]["priors"].is_null() && !jane.to_string().contains(uid(&other)), "{jane:#}");

    // A changed file of rules is taken up without a restart.
    std::fs::write(site_folder.path().join("rules.toml"), "[priors]\nmost = 0\n[default]\n").expect("a file");
    eventually(PATIENCE, || server.log(), || server.log().contains("read again"));
    let off = read(&server, &films[3]);
    assert_eq!(comparison(&off), ["Earlier studies were not looked for: the site's rules say so."]);
    // The page lists by the same rule: no other patient's films hang beside these.
    let mut rita = Browser::signed_in(&server, "rita");
    let listed = rita.study(uid(&off))["priors"].clone();
    let listed: Vec<(&Value, &Value)> =
        listed.as_array().into_iter().flatten().map(|prior| (&prior["uid"], &prior["patient_name"])).collect();
    assert_eq!(listed, [(&Value::from(uid(&jane)), &Value::from("PLANTEDNAME^Jane"))]);
}

/// Promise: a report of another system stands for a study that we have no draft of; its coded findings are compared.
#[test]
fn a_report_of_another_system_is_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let films = films(folder.path(), 1);
    rewrite(&films[0], &JANE, "20260501", "080000");
    let reports = folder.path().join("reports");
    std::fs::create_dir(&reports).expect("a folder");
    let (film, report) = (films[0].join("film.dcm"), reports.join("report.dcm"));
    let paths = [&film, &report].map(|path| path.to_str().expect("a path"));
    python("prior_report.py", &[paths[0], paths[1], "1.2.826.77.9", "20251225", "XR CHEST"]);
    let site_folder = tempfile::tempdir().expect("a folder");
    let server = site(site_folder.path(), "[default]\n");
    submit(&server.grpc, &reports);
    let read = read(&server, &films[0]);
    let said = comparison(&read);
    assert_eq!(
        said[0],
        "Compared with chest X-ray of 2025-12-25, 127 days before (report of another system, verified)."
    );
    let prior = &read["report"]["priors"][0];
    assert_eq!((&prior["study"], &prior["source"]["kind"]), (&Value::from("1.2.826.77.9"), &Value::from("report")));
    let mass = prior["changes"].as_array().expect("changes").iter().find(|c| c["earlier"]["key"] == "mass");
    let mass = mass.unwrap_or_else(|| panic!("{prior:#}"));
    assert_eq!(
        (&mass["earlier"]["laterality"], &mass["earlier"]["size_mm"]),
        (&Value::from("left"), &Value::from(77.0))
    );
    assert!(said.iter().any(|line| line.contains("another reader")), "{said:#?}");
}

/// Promise: where the rules name a PACS, reports of earlier studies are fetched from it before a study is planned; what was
/// fetched is held and stands in no queue; a PACS that is away holds nothing up, and the draft says so.
#[test]
fn reports_are_fetched_from_a_pacs_that_the_rules_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let films = films(folder.path(), 3);
    rewrite(&films[0], &JANE, "20260501", "080000");
    rewrite(&films[1], &JANE, "20260601", "080000");
    let john = ["PatientID=PLANTEDID", "PatientName=Roe^John", "PatientBirthDate=19700101", "PatientSex=M"];
    rewrite(&films[2], &john, "20260101", "080000");
    let pacs = Peer::dcmqrscp(&[], free_port());
    for (film, study, date, about) in [
        (&films[0], "1.2.826.77.9", "20251225", "XR CHEST"),
        (&films[0], "1.2.826.77.10", "20251224", "XR KNEE"),
        (&films[0], "1.2.826.77.11", "20260502", "XR CHEST"),
        (&films[2], "1.2.826.77.12", "20251223", "XR CHEST"),
    ] {
        let report = folder.path().join(format!("{study}.dcm"));
        let paths = [&film.join("film.dcm"), &report].map(|path| path.to_str().expect("a path").to_owned());
        python("prior_report.py", &[&paths[0], &paths[1], study, date, about]);
        let mut storescu = Command::new("storescu");
        storescu.args(["-aec", "PACS", "127.0.0.1", &pacs.port.to_string(), &paths[1]]);
        let sent = storescu.output().expect("DCMTK is installed by tests/install.sh");
        assert!(sent.status.success(), "{}", words(&sent));
    }

    let site_folder = tempfile::tempdir().expect("a folder");
    let destinations = format!("[[destination]]\nname = \"pacs\"\naddress = \"{}\"\nobjects = []\n", pacs.address());
    std::fs::write(site_folder.path().join("destinations.toml"), destinations).expect("a file");
    let server = site_with(
        site_folder.path(),
        "[priors]\nsource = \"pacs\"\n[default]\n",
        &["--destinations", "destinations.toml"],
    );
    let first = read(&server, &films[0]);
    let priors = first["report"]["priors"].as_array().unwrap_or_else(|| panic!("{first:#}\n{}", server.log()));
    assert_eq!(priors.iter().map(|prior| text(&prior["study"])).collect::<Vec<_>>(), ["1.2.826.77.9"]);
    assert!(comparison(&first)[0].contains("report of another system, verified"), "{first:#}");
    let of = |uid: &str| {
        let listed = prelim_json(["studies", "--json", "--grpc", &server.grpc]);
        listed.as_array().expect("a list").iter().find(|study| study["study_uid"] == uid).cloned().unwrap_or_default()
    };
    eventually(PATIENCE, || of("1.2.826.77.9").to_string(), || of("1.2.826.77.9")["state"] == "skipped");
    let held = of("1.2.826.77.9");
    assert_eq!((&held["jobs_total"], &held["instances"]), (&Value::from(0), &Value::from(1)), "{held:#}");
    assert!(text(&held["state_reason"]).contains("fetched as an earlier study"), "{held:#}");
    assert!(of("1.2.826.77.10").is_null() && of("1.2.826.77.12").is_null(), "another part, and another patient");

    drop(pacs);
    let second = read(&server, &films[1]);
    let said = comparison(&second);
    assert!(
        said.iter().any(|line| line.starts_with("pacs was asked for earlier studies, and could not give them")),
        "{said:#?}"
    );
    assert_eq!(second["report"]["priors"].as_array().map(Vec::len), Some(2), "what was held is compared: {second:#}");
    for private in ["PLANTEDNAME", "PLANTEDID", "1.2.826.77"] {
        assert!(!server.log().contains(private), "{private} in {}", server.log());
    }
}
