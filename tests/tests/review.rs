//! Reports that radiologists answer for: signed, amended, rejected, and what other systems hear of it.

use std::ffi::OsString;
use std::path::Path;
use std::process::Output;

use prelim_tests::certificates::{Authority, Pair};
use prelim_tests::object::instance_of;
use prelim_tests::pacs::{Orthanc, Peer};
use prelim_tests::ports::free_port;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, eventually, phantoms, prelim, words};
use serde_json::{Value, json};

/// `jane` is a radiologist, `robot` may review and is nobody by name, `reader` may look.
const RULES: &str = r#"
    [[certificate]]
    name = "jane"
    roles = ["submit", "read", "review", "admin"]
    person = "Doe^Jane^^Dr."
    [[certificate]]
    name = "robot"
    roles = ["read", "review"]
    [[certificate]]
    name = "reader"
    roles = ["read"]
"#;

/// A coordinator with a worker, where callers are told apart.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
    ca: OsString,
    jane: Pair,
    robot: Pair,
    reader: Pair,
}

impl Site {
    fn start(destinations: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let work = folder.path();
        let ours = Authority::new(work, "ours");
        let server = ours.server();
        std::fs::write(work.join("access.toml"), RULES).expect("a file");
        std::fs::write(work.join("destinations.toml"), destinations).expect("a file");
        let (cert, key) = (server.cert.display().to_string(), server.key.display().to_string());
        let ca = ours.pem.display().to_string();
        let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data", "--audit", "audit.jsonl"];
        arguments.extend(["--tls-cert", &cert, "--tls-key", &key, "--client-ca", &ca, "--access", "access.toml"]);
        arguments.extend(["--organization", "St. Mary"]);
        if !destinations.is_empty() {
            arguments.extend(["--destinations", "destinations.toml"]);
        }
        let server = Server::start(work, &arguments, &[("PRELIM_LOG", "info")]);
        let (jane, robot, reader) = (ours.client("jane"), ours.client("robot"), ours.client("reader"));
        Self { server, ca: ours.pem.clone().into_os_string(), folder, jane, robot, reader }
    }

    /// `prelim` with this command line, as somebody.
    fn by(&self, who: &Pair, arguments: &[&str]) -> Output {
        let mut line: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        line.extend(["--grpc".into(), OsString::from(&self.server.grpc), "--ca".into(), self.ca.clone()]);
        line.extend(["--cert".into(), who.cert.clone().into(), "--key".into(), who.key.clone().into()]);
        prelim(line)
    }

    /// What a command of `jane`'s prints.
    fn jane(&self, arguments: &[&str]) -> String {
        let output = self.by(&self.jane, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.jane(arguments)).expect("JSON")
    }

    /// What a command of somebody's that must fail says.
    fn refusal(&self, who: &Pair, arguments: &[&str]) -> String {
        let output = self.by(who, arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", words(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A study of a generated film with at least two findings in its draft.
    fn drafted(&self) -> String {
        for seed in 0..20 {
            let films = self.folder.path().join(format!("films-{seed}"));
            phantoms(&films, 1, 100 + seed, Some("dx"));
            let sent = self.json(&["submit", "--wait", "--json", &films.display().to_string()]);
            let study = sent["studies"][0]["study_uid"].as_str().expect("a UID").to_owned();
            let document = self.document(&study);
            if document["report"]["findings"].as_array().expect("findings").len() >= 2 {
                return study;
            }
        }
        panic!("no draft with two findings")
    }

    fn document(&self, study: &str) -> Value {
        self.json(&["report", study, "--format", "json"])
    }

    fn text(&self, study: &str, version: &str) -> String {
        self.jane(&["report", study, "--report-version", version])
    }

    fn state(&self, study: &str) -> String {
        let listed = self.json(&["studies", "--json"]);
        let found = listed.as_array().expect("a list").iter().find(|each| each["study_uid"] == study).cloned();
        found.expect("the study")["state"].as_str().expect("a word").to_owned()
    }

    /// Deliveries of a study that are over, as "version destination object state", once there are `count`.
    fn sent(&self, study: &str, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        let is_over = |each: &Value| !["waiting", "sending"].contains(&each["state"].as_str().expect("a word"));
        eventually(
            PATIENCE,
            || format!("{count} deliveries:\n{}\n{}", self.jane(&["export", study]), self.server.log()),
            || {
                let listed = self.json(&["export", study, "--json"]);
                let listed = listed.as_array().expect("a list");
                let told = |each: &Value| {
                    let word = |name: &str| each[name].as_str().expect("a word").to_owned();
                    format!("{} {} {} {}", each["version"], word("destination"), word("object"), word("state"))
                };
                found = listed.iter().map(told).collect();
                found.sort();
                found.len() == count && listed.iter().all(is_over)
            },
        );
        found
    }

    fn audit(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("audit.jsonl")).expect("an audit")
    }
}

fn destination(name: &str, address: &str, more: &str) -> String {
    format!("[[destination]]\nname = \"{name}\"\naddress = \"{address}\"\n{more}\n")
}

/// The tags of the structured reports that Orthanc holds.
fn reports(orthanc: &Orthanc) -> Vec<Value> {
    let held = orthanc.get("/instances");
    let ids = held.as_array().expect("a list").iter().map(|id| id.as_str().expect("an id").to_owned());
    let tags = ids.map(|id| orthanc.get(&format!("/instances/{id}/simplified-tags")));
    tags.filter(|tags| tags["Modality"] == "SR").collect()
}

/// Issue promise: reports go out once they are signed, as rules say; a draft goes only where drafts are wanted.
#[test]
fn a_signed_report_reaches_the_pacs_and_its_draft_does_not() {
    let (orthanc, ris) = (Orthanc::start(free_port()), Peer::hl7(&json!({})));
    let ehr = Peer::fhir(&json!({}));
    let file = destination("pacs", &orthanc.address(), "when = \"signed\"\nobjects = [\"sr\", \"assessment\"]")
        + &destination("ris", &format!("mllp://127.0.0.1:{}", ris.port), "when = [\"drafted\", \"signed\"]")
        + &destination("ehr", &format!("fhir+http://127.0.0.1:{}/fhir", ehr.port), "when = [\"drafted\", \"signed\"]");
    let site = Site::start(&file);
    let study = site.drafted();
    assert_eq!(site.sent(&study, 2), ["1 ehr fhir sent", "1 ris hl7 sent"]);
    assert!(reports(&orthanc).is_empty(), "a draft is in the PACS");
    let said = site.refusal(&site.jane, &["export", &study, "--to", "pacs"]);
    assert!(said.contains("takes signed reports, and no radiologist has signed one of this study"), "{said}");

    // Words that deny what is found are not signed unless that was seen.
    let accept = ["sign", &study, "--report-version", "1", "--accept", "--impression", "Normal chest."];
    let said = site.refusal(&site.jane, &accept);
    assert!(
        said.contains("contradicts itself") && said.contains("\"Normal chest.\" says that nothing is wrong"),
        "{said}"
    );
    assert!(said.contains("--contradictions-seen"), "{said}");
    assert_eq!(site.state(&study), "drafted");

    // Finding 1 is rejected, another changed, one added.
    let drafted = site.document(&study);
    let findings = drafted["report"]["findings"].as_array().expect("findings").clone();
    let mut edit: Value = serde_json::from_str(&site.jane(&["sign", &study, "--template"])).expect("JSON");
    edit["findings"][0] = json!({"decision": "reject", "reason": "a skin fold"});
    edit["findings"][1]["decision"] = json!("change");
    edit["findings"][1]["finding"]["presence"] = json!("uncertain");
    let seen = edit["findings"][1]["finding"]["evidence"].clone();
    edit["added"] = json!([{"finding": {"key": "fracture", "presence": "present", "laterality": "left", "evidence": seen},
                            "words": "A rib is broken on the left."}]);
    let file = site.folder.path().join("edit.json");
    std::fs::write(&file, edit.to_string()).expect("a file");
    let file = file.display().to_string();
    let signed = site.json(&["sign", &study, "--edit", &file, "--json"]);
    assert_eq!((&signed["version"], &signed["amended"]), (&json!(2), &json!(false)));
    assert_eq!(site.state(&study), "signed");

    let document = site.document(&study);
    assert_eq!((&document["status"], &document["review"]["reviewer"]), (&json!("signed"), &json!("Doe^Jane^^Dr.")));
    let decisions: Vec<&str> = document["review"]["assessments"]
        .as_array()
        .expect("assessments")
        .iter()
        .map(|each| each["decision"].as_str().expect("a word"))
        .collect();
    assert_eq!(decisions[..2], ["rejected", "changed"]);
    assert_eq!(*decisions.last().expect("one"), "added");
    assert_eq!(document["report"]["findings"].as_array().expect("findings").len(), findings.len());
    let text = site.text(&study, "2");
    assert!(text.contains("SIGNED by Doe, Dr. Jane") && text.contains("A rib is broken on the left."), "{text}");
    assert!(!text.to_uppercase().contains("UNSIGNED"), "{text}");
    // The draft is what it was, and looks it.
    let draft = site.text(&study, "1");
    assert!(draft.starts_with("UNSIGNED DRAFT") && !draft.contains("Doe, Dr. Jane"), "{draft}");
    assert!(site.refusal(&site.jane, &["report", &study, "--report-version", "3"]).contains("the newest is 2"));

    let sent = [
        "1 ehr fhir sent",
        "1 ris hl7 sent",
        "2 ehr fhir sent",
        "2 pacs assessment sent",
        "2 pacs sr sent",
        "2 ris hl7 sent",
    ];
    assert_eq!(site.sent(&study, 6), sent);
    let held = reports(&orthanc);
    assert_eq!(held.len(), 2, "the report and its assessment");
    for report in &held {
        assert_eq!((&report["VerificationFlag"], &report["CompletionFlag"]), (&json!("VERIFIED"), &json!("COMPLETE")));
        let observer = &report["VerifyingObserverSequence"][0];
        assert_eq!(observer["VerifyingObserverName"], "Doe^Jane^^Dr.");
        assert_eq!(observer["VerifyingOrganization"], "St. Mary");
        assert!(report["SeriesDescription"].as_str().expect("text").starts_with("SIGNED REPORT"), "{report}");
    }
    // The RIS hears of a preliminary report, then of a final one.
    let flags: Vec<bool> =
        ris.received().iter().map(|each| each["text"].as_str().expect("a message").contains("|F|||")).collect();
    assert_eq!(flags, [false, true]);
    // The record of the EHR is updated: one report, final; what was rejected is withdrawn.
    let stored = |kind: &str| -> Vec<Value> {
        let files = ehr.files().into_iter();
        let mine = files.filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{kind}-")))
        });
        mine.map(|path| serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")).collect()
    };
    let reports: Vec<Value> = stored("DiagnosticReport");
    assert_eq!(reports.len(), 1, "{reports:#?}");
    assert_eq!((&reports[0]["status"], stored("Patient").len()), (&json!("final"), 1));
    let mut statuses: Vec<String> = stored("Observation").iter().map(|each| each["status"].to_string()).collect();
    statuses.sort();
    let mut expected = vec!["\"entered-in-error\"".to_owned()];
    expected.extend(vec!["\"final\"".to_owned(); findings.len()]);
    assert_eq!(statuses, expected, "{findings:#?}");
    // Who signed is on record.
    let audit = site.audit();
    assert!(audit.contains("\"result\":\"version 2, signed\""), "{audit}");
    let done = |line: &&str| ["\"SignReport\"", "110111", "\"outcome\":0"].iter().all(|word| line.contains(word));
    let signing = audit.lines().filter(done);
    assert_eq!(signing.filter(|line| line.contains("\"jane\"") && line.contains(&study)).count(), 1, "{audit}");
    assert!(!audit.contains("Doe"), "a name is in the audit");
}

/// Issue promise: a signed report is immutable, an amendment keeps it, and of two who review at once none loses an edit unheard.
#[test]
fn a_signature_stays_and_an_amendment_says_why() {
    let site = Site::start("");
    let study = site.drafted();
    let template = site.jane(&["sign", &study, "--template"]);
    let stale = site.folder.path().join("stale.json");
    std::fs::write(&stale, &template).expect("a file");
    let stale = stale.display().to_string();

    // Who may not, cannot: no role, no name, no reason.
    let accept = ["sign", &study, "--report-version", "1", "--accept"];
    let said = site.refusal(&site.reader, &accept);
    assert!(said.contains("has not the role for SignReport: it takes the role review"), "{said}");
    let said = site.refusal(&site.robot, &accept);
    assert!(said.contains("is no person by name") && said.contains("--client-ca (person in the file"), "{said}");
    let said = site.refusal(&site.jane, &["sign", &study]);
    assert!(said.contains("--accept"), "{said}");
    let said = site.refusal(&site.jane, &["sign", &study, "--accept"]);
    assert!(said.contains("--report-version"), "{said}");
    let said = site.refusal(&site.jane, &["sign", &study, "--report-version", "1", "--accept", "--reject", "99=no"]);
    assert!(said.contains("--reject 99: the report has"), "{said}");
    assert_eq!(site.state(&study), "drafted");

    // Who changes a finding in the file and forgets to say so signs nothing.
    let forgotten = site.folder.path().join("forgotten.json");
    let mut edit: Value = serde_json::from_str(&template).expect("JSON");
    edit["findings"][0]["finding"]["presence"] = json!("uncertain");
    std::fs::write(&forgotten, edit.to_string()).expect("a file");
    let said = site.refusal(&site.jane, &["sign", &study, "--edit", &forgotten.display().to_string()]);
    assert!(said.contains("finding 1 is accepted, and is not as the report has it"), "{said}");
    site.jane(&["sign", &study, "--report-version", "1", "--accept", "--reject", "1=artefact"]);
    let first = site.text(&study, "2");
    // The other one comes late.
    let said = site.refusal(&site.jane, &["sign", &study, "--edit", &stale, "--reason", "mine"]);
    assert!(said.contains("has changed meanwhile"), "{said}");
    assert!(site.refusal(&site.jane, &accept).contains("has changed meanwhile"));
    let said = site.refusal(&site.jane, &["reject", &study, "--report-version", "2", "--reason", "no"]);
    assert!(said.contains("is signed"), "{said}");
    let said = site.refusal(&site.jane, &["sign", &study, "--report-version", "2", "--accept"]);
    assert!(said.contains("reason: a signed report is amended, and why is not said"), "{said}");
    let said = site.refusal(&site.jane, &["cancel", &study]);
    assert!(said.contains("is signed"), "{said}");

    let amended = site.json(&[
        "sign",
        &study,
        "--report-version",
        "2",
        "--accept",
        "--impression",
        "Nothing acute.",
        "--reason",
        "wording",
        "--json",
    ]);
    assert_eq!((&amended["version"], &amended["amended"]), (&json!(3), &json!(true)));
    let text = site.text(&study, "3");
    assert!(text.contains("AMENDED AND SIGNED by Doe, Dr. Jane") && text.contains("Nothing acute."), "{text}");
    assert!(text.contains("Amended report 3: it replaces report 2") && text.contains("Reason: wording"), "{text}");
    assert_eq!(site.text(&study, "2"), first, "what was signed stays");
    assert_eq!(site.state(&study), "amended");
}

/// Issue promise: late images after a signature make a draft, and the signed report stands until that is signed.
#[test]
fn late_images_after_a_signature_make_a_draft_that_looks_like_one() {
    let mut site = Site::start("");
    let study = site.drafted();
    site.jane(&["sign", &study, "--report-version", "1", "--accept", "--reject", "1=a skin fold"]);
    site.server.kill();
    site.server.start_again();
    assert_eq!(site.state(&study), "signed", "a signature survives a crash");

    let late = another_image(&site, &study);
    let sent = site.json(&["submit", "--wait", "--json", &late]);
    assert_eq!(sent["studies"][0]["state"], "drafted", "{sent}");
    let draft = site.text(&study, "3");
    assert!(draft.starts_with("UNSIGNED DRAFT"), "{draft}");
    assert!(draft.contains("made after report 2 was signed, which stands until this one is"), "{draft}");
    let squeezed = draft.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeezed.contains("its reviewer took out:") && squeezed.contains("(a skin fold)"), "{draft}");
    // Rejected, it leaves what was signed standing.
    site.jane(&["reject", &study, "--report-version", "3", "--reason", "the same film"]);
    assert_eq!(site.state(&study), "signed");
    assert!(site.text(&study, "4").contains("REJECTED by Doe, Dr. Jane"));
    let shown = site.jane(&["report", &study]);
    assert!(shown.contains("SIGNED by Doe, Dr. Jane"), "{shown}");
    assert_eq!(shown, site.text(&study, "2"));
    // And what stands can be amended.
    let amend = ["sign", &study, "--report-version", "2", "--accept", "--reason", "looked again", "--json"];
    let said = site.refusal(&site.jane, &amend);
    assert!(said.contains("nothing of the signed report is changed: there is nothing to amend"), "{said}");
    let amended = site.json(&[&amend[..], &["--impression", "As before, in other words."]].concat());
    assert_eq!((&amended["version"], &amended["amended"]), (&json!(5), &json!(true)));
    assert!(site.text(&study, "5").contains("Amended report 5: it replaces report 2"));
}

/// Issue promise: what was signed reaches the PACS, whatever comes after it, and no draft takes its place at a RIS.
#[test]
fn a_signed_report_is_sent_though_a_draft_came_after_it() {
    let (port, ris) = (free_port(), Peer::hl7(&json!({})));
    let file = destination(
        "pacs",
        &format!("dicom://PACS@127.0.0.1:{port}"),
        "when = \"signed\"\nlongest_pause_s = 1\nattempts = 10000",
    ) + &destination("ris", &format!("mllp://127.0.0.1:{}", ris.port), "when = [\"drafted\", \"signed\"]");
    let site = Site::start(&file);
    let study = site.drafted();
    site.jane(&["sign", &study, "--report-version", "1", "--accept"]);
    let late = another_image(&site, &study);
    assert_eq!(site.json(&["submit", "--wait", "--json", &late])["studies"][0]["state"], "drafted");
    let _pacs = Peer::pynetdicom_on(port, &json!({}));
    assert_eq!(site.sent(&study, 3), ["1 ris hl7 sent", "2 pacs sr sent", "2 ris hl7 sent"]);
    // On request, too.
    site.jane(&["export", &study, "--to", "pacs"]);
    assert_eq!(site.sent(&study, 3).len(), 3);
    let flags: Vec<bool> =
        ris.received().iter().map(|each| each["text"].as_str().expect("a message").contains("|F|||")).collect();
    assert_eq!(flags, [false, true]);
}

/// A folder with one more film of the study.
fn another_image(site: &Site, study: &str) -> String {
    let folder = site.folder.path().join("late");
    std::fs::create_dir_all(&folder).expect("a folder");
    let films = site.folder.path().read_dir().expect("a folder").flatten().map(|entry| entry.path());
    let mut held = Vec::new();
    for films in films.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("films-")))
    {
        below(&films, &mut held);
    }
    for file in held {
        let mut bytes = std::fs::read(&file).expect("a file");
        if !bytes.windows(study.len()).any(|window| window == study.as_bytes()) {
            continue;
        }
        let instance = instance_of(&bytes);
        // Another UID of the same length, in the meta group and in the data set.
        let mut other = instance.clone();
        let last = other.pop().expect("a digit");
        other.push(if last == '1' { '2' } else { '1' });
        for at in 0..bytes.len().saturating_sub(instance.len()) {
            if bytes[at..].starts_with(instance.as_bytes()) {
                bytes[at..at + other.len()].copy_from_slice(other.as_bytes());
            }
        }
        std::fs::write(folder.join("late.dcm"), bytes).expect("a file");
        return folder.display().to_string();
    }
    panic!("no film of {study}")
}

fn below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in folder.read_dir().expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            below(&path, found);
        } else if path.extension().is_some_and(|end| end == "dcm") {
            found.push(path);
        }
    }
}

/// Issue promise: a rejected draft is told to those who had it, and shown by nobody.
#[test]
fn a_rejected_draft_is_taken_back() {
    let (ris, second) = (Peer::hl7(&json!({})), Peer::hl7(&json!({})));
    let at = |peer: &Peer| format!("mllp://127.0.0.1:{}", peer.port);
    let site =
        Site::start(&(destination("ris", &at(&ris), "") + &destination("final", &at(&second), "when = \"signed\"")));
    let study = site.drafted();
    site.sent(&study, 1);
    let said = site.refusal(&site.jane, &["reject", &study, "--report-version", "1", "--reason", " "]);
    assert!(said.contains("reason: why the draft is rejected is not said"), "{said}");
    site.jane(&["reject", &study, "--report-version", "1", "--reason", "wrong body part"]);
    assert_eq!(site.sent(&study, 2), ["1 ris hl7 sent", "2 ris hl7 sent"]);
    let received = ris.received();
    let last = received.last().expect("a message")["text"].as_str().expect("text").to_owned();
    assert!(last.contains("|X|||") && last.contains("REJECTED by Doe, Dr. Jane"), "{last}");
    assert!(second.received().is_empty(), "who takes signed reports hears of none");
    let document = site.document(&study);
    assert_eq!((&document["status"], &document["report"]["findings"]), (&json!("rejected"), &json!([])));
    assert_eq!(document["review"]["reason"], "wrong body part");
    let text = site.text(&study, "2");
    assert!(text.contains("The draft was rejected: its findings are not told."), "{text}");
    // It was not the wrong one after all: the draft is signed, not the words that it was rejected.
    let said = site.refusal(&site.jane, &["sign", &study, "--report-version", "2", "--accept"]);
    assert!(said.contains("version 2 says that draft 1 was rejected: review that one"), "{said}");
    let sign = ["sign", &study, "--report-version", "1", "--accept", "--rejection-seen"];
    for (arguments, seen) in [(&sign[..5], "nothing"), (&[&sign[..], &["1"]].concat()[..], "another version")] {
        let said = site.refusal(&site.jane, arguments);
        assert!(said.contains("draft 1 was rejected meanwhile, which version 2 says"), "{seen} seen: {said}");
        assert!(said.contains("--rejection-seen"), "{said}");
    }
    assert_eq!(site.state(&study), "rejected");
    site.jane(&[&sign[..], &["2"]].concat());
    let findings = |version: &str| {
        let document = site.json(&["report", &study, "--format", "json", "--report-version", version]);
        document["report"]["findings"].as_array().expect("findings").len()
    };
    assert_eq!((site.state(&study).as_str(), findings("3")), ("signed", findings("1")));
}

/// Issue promise: a report compares with what stands of the earlier one when it is signed, and with nothing that was rejected.
#[test]
fn a_comparison_follows_the_review_of_the_earlier_study() {
    let site = Site::start("");
    let folder = site.folder.path().join("both");
    phantoms(&folder, 3, 11, Some("dx"));
    let drafted = |number: u32, date: &str| {
        let film = folder.join(format!("dx-{number:05}"));
        of_one_patient(&film, date);
        let sent = site.json(&["submit", "--wait", "--json", &film.display().to_string()]);
        sent["studies"][0]["study_uid"].as_str().expect("a UID").to_owned()
    };
    let (earlier, second) = (drafted(1, "20260320"), drafted(2, "20260501"));
    let third = drafted(3, "20260502");
    let comparison = |study: &str, version: &str| {
        let document = site.json(&["report", study, "--format", "json", "--report-version", version]);
        document["report"]["comparison"].as_array().expect("sentences").iter().map(text).collect::<Vec<_>>().join(" ")
    };
    let text_of = |study: &str| comparison(study, "1");
    assert!(text_of(&second).contains("draft by software, unsigned"), "{}", text_of(&second));
    // All that the draft of the earlier one had is rejected, and that is signed.
    let findings = site.document(&earlier)["report"]["findings"].as_array().expect("findings").len();
    assert!(findings > 0);
    let reasons: Vec<String> = (1..=findings).map(|number| format!("{number}=a skin fold")).collect();
    let mut sign = vec!["sign", &earlier, "--report-version", "1", "--accept"];
    sign.extend(reasons.iter().flat_map(|reason| ["--reject", reason]));
    site.jane(&sign);
    site.jane(&["sign", &second, "--report-version", "1", "--accept"]);
    let signed = comparison(&second, "2");
    assert!(!signed.contains("draft by software, unsigned") && signed.contains("(signed report"), "{signed}");
    assert!(!signed.contains("Unchanged:") && !signed.contains("No longer seen:"), "{signed}");
    // The third compares with the second, as that is signed now; where it is a rejected draft, it would with nothing of it.
    assert!(comparison(&third, "1").contains("draft by software, unsigned"));
    site.jane(&["sign", &third, "--report-version", "1", "--accept"]);
    assert!(comparison(&third, "2").contains("(signed report"), "{}", comparison(&third, "2"));
    // What was signed stays as it was.
    assert_eq!(comparison(&second, "2"), signed);
}

/// Issue promise: nobody carries a comparison with a draft that was rejected meanwhile.
#[test]
fn a_rejected_earlier_draft_is_compared_with_no_more() {
    let site = Site::start("");
    let folder = site.folder.path().join("both");
    phantoms(&folder, 2, 11, Some("dx"));
    let mut studies = Vec::new();
    for (number, date) in [(1, "20260320"), (2, "20260501")] {
        let film = folder.join(format!("dx-{number:05}"));
        of_one_patient(&film, date);
        let sent = site.json(&["submit", "--wait", "--json", &film.display().to_string()]);
        studies.push(sent["studies"][0]["study_uid"].as_str().expect("a UID").to_owned());
    }
    site.jane(&["reject", &studies[0], "--report-version", "1", "--reason", "another patient"]);
    site.jane(&["sign", &studies[1], "--report-version", "1", "--accept"]);
    let signed = site.document(&studies[1]);
    let said = signed["report"]["comparison"].to_string();
    assert!(said.contains("its draft was rejected, and there is no other report"), "{said}");
    assert!(!said.contains("Compared with") && signed["report"]["priors"].is_null(), "{signed:#}");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Says of the objects below a folder that they are of one patient, made at a date.
fn of_one_patient(folder: &Path, date: &str) {
    let folder = folder.to_str().expect("a path");
    let date = format!("StudyDate={date}");
    let patient = ["PatientID=ONE-1", "PatientName=One^Patient", "PatientBirthDate=19580312", "PatientSex=F"];
    let root = prelim_tests::repository();
    let output = std::process::Command::new(root.join("target/python/bin/python"))
        .arg("-B")
        .arg(root.join("tests/peers/rewrite.py"))
        .args([folder, &date, "StudyTime=101500"])
        .args(patient)
        .output()
        .expect("it is installed by tests/install.sh");
    assert!(output.status.success(), "{}", words(&output));
}

/// Issue promise: nobody signs where callers are not told apart.
#[test]
fn an_open_coordinator_takes_no_signature() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data"], &[]);
    let films = folder.path().join("films");
    phantoms(&films, 1, 5, Some("dx"));
    let sent = prelim_tests::submit(&server.grpc, &films);
    let study = sent["studies"][0]["study_uid"].as_str().expect("a UID");
    let output = prelim(["sign", "--grpc", &server.grpc, study, "--report-version", "1", "--accept"]);
    assert!(!output.status.success());
    let said = words(&output);
    for part in ["\"anybody\" is no person by name", "the page of --http", "--accounts"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
