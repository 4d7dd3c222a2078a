//! DICOMweb, with clients that are not ours: dicomweb-client, Orthanc's plugin, and requests by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use prelim_tests::certificates::{Authority, Pair};
use prelim_tests::pacs::Orthanc;
use prelim_tests::server::Server;
use prelim_tests::workspace::{dicom_files, texts};
use prelim_tests::{PATIENCE, draft, eventually, phantoms, prelim, prelim_json, repository, words};
use serde_json::{Value, json};

/// A coordinator with a worker that serves DICOMweb, and its folder.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data"];
        arguments.extend(["--quiet-period-ms", "1000", "--http", "127.0.0.1:0"]);
        arguments.extend(more);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, folder }
    }

    /// What a peer says.
    fn peer(&self, what: &str, more: &[String]) -> Value {
        let answer = peer(&self.server.http, what, more);
        answer.unwrap_or_else(|said| panic!("{said}\n{}", self.server.log()))
    }

    /// Draws phantoms and names their files, in order.
    fn drawn(&self, count: u32) -> Vec<String> {
        let folder = self.folder.path().join("phantoms");
        phantoms(&folder, count, 17, None);
        texts(&dicom_files(&folder))
    }

    fn studies(&self) -> Vec<Value> {
        let listed = prelim_json(["studies", "--json", "--grpc", &self.server.grpc, "--limit", "500"]);
        listed.as_array().expect("a list").clone()
    }

    /// Waits until there are `count` studies, all drafted.
    fn drafted(&self, count: usize) -> Vec<Value> {
        let mut studies = Vec::new();
        eventually(
            PATIENCE,
            || format!("{count} drafted: {:#?}", self.studies()),
            || {
                studies = self.studies();
                studies.len() == count && studies.iter().all(|study| study["state"] == "drafted")
            },
        );
        studies
    }
}

fn peer(url: &str, what: &str, more: &[String]) -> Result<Value, String> {
    let root = repository();
    let mut command = Command::new(root.join("target/python/bin/python"));
    command.arg("-B").arg(root.join("tests/peers/dicomweb.py")).args([url, what]).args(more);
    let output = command.output().expect("python starts");
    match serde_json::from_slice(&output.stdout) {
        Ok(answer) if output.status.success() => Ok(answer),
        _ => Err(words(&output)),
    }
}

/// Real files in many transfer syntaxes, of different instances.
const SYNTAXES: [&[&str]; 2] = [
    &[
        "cs3d_BigEndianExplicit",
        "pd_GDCMJ2K_TextGBR",
        "pd_JPEG-lossy",
        "pd_MR_small_RLE",
        "pd_SC_rgb_jpeg_dcmtk",
        "pd_SC_rgb_rle_16bit_2frame",
        "pd_SC_ybr_full_422_uncompressed",
        "pd_CT_small",
        "pd_liver_deflate",
        "pd_image_dfl",
    ],
    // Some of these have the identifiers of some of those.
    &["cs3d_JPEGLSLossless", "pd_MR_small_jpeg_ls_lossless", "pd_JPGExtended"],
];

fn named(names: &[&str]) -> Vec<String> {
    let folder = repository().join("tests/data/dicom/transfer_syntaxes");
    names.iter().map(|name| folder.join(format!("{name}.dcm")).display().to_string()).collect()
}

/// Promise: STOW-RS takes studies in, which are drafted; WADO-RS gives back the bytes that were sent; the same study twice is
/// one study.
#[test]
fn studies_sent_are_drafted_and_come_back_byte_for_byte() {
    let site = Site::start(&[]);
    let files = site.drawn(3);
    for _ in 0..2 {
        let answers = site.peer("send", &files);
        let answers = answers.as_object().expect("an object");
        assert_eq!(answers.len(), files.len());
        assert!(answers.values().all(|answer| *answer == json!([200, []])), "{answers:#?}");
    }
    assert_eq!(site.peer("same", &files), json!({"files": files.len(), "different": []}));
    site.drafted(3);
    assert!(!site.server.log().contains("panicked"), "{}", site.server.log());
}

/// Promise: what dicomweb-client stores is stored, and what it says of it is what came.
#[test]
fn dicomweb_client_stores_instances() {
    let site = Site::start(&[]);
    let files = site.drawn(2);
    let answer = site.peer("store", &files);
    assert_eq!(answer["failed"], 0, "{answer}");
    assert_eq!(answer["stored"].as_array().map(Vec::len), Some(files.len()), "{answer}");
    site.drafted(2);
}

/// Promise: the draft of a study is an instance of the study: listed, retrieved, and the same bytes each time, also after a
/// restart.
#[test]
fn a_study_opens_with_its_draft() {
    let mut site = Site::start(&[]);
    let files = site.drawn(1);
    site.peer("send", &files);
    let studies = site.drafted(1);
    let study = studies[0]["study_uid"].as_str().expect("a UID");
    let found = site.peer("draft", &files);
    assert_eq!((&found["series"], &found["same"], &found["study"]), (&json!(1), &json!(true), &json!(true)), "{found}");
    assert_eq!(found["flags"], json!(["PARTIAL", "UNVERIFIED", "PRELIMINARY"]));
    assert_eq!((&found["described"], &found["no_frames"]), (&json!(true), &json!(404)));
    assert!(found["modalities"].as_array().is_some_and(|all| all.contains(&json!("SR"))), "{found}");
    let sr = draft(&site.server.grpc, study, "sr");
    site.server.kill();
    site.server.start_again();
    let again = site.peer("draft", &files);
    assert_eq!(again["sha256"], found["sha256"]);
    assert_eq!(draft(&site.server.grpc, study, "sr"), sr);
}

/// Promise: each DICOM object of a draft is an instance of the study, with the bytes that are sent to a PACS: listed, counted,
/// described, and rendered where there is something to see. A draft without a finding has fewer of them.
#[test]
fn every_object_of_a_draft_is_an_instance_of_the_study() {
    let site = Site::start(&[]);
    let files = site.drawn(2);
    site.peer("send", &files);
    site.drafted(2);
    let mut counts = Vec::new();
    for file in &files {
        let study = site.peer("study", std::slice::from_ref(file));
        let study = study.as_str().expect("a UID");
        let mut line = vec![file.clone(), "1".to_owned()];
        for format in ["sr", "dicom-pdf", "sc", "kos", "gsps"] {
            let report = prelim(["report", "--grpc", &site.server.grpc, study, "--format", format]);
            if report.status.success() {
                let path = site.folder.path().join(format!("{study}.{format}"));
                std::fs::write(&path, report.stdout).expect("a file");
                line.push(path.display().to_string());
            } else {
                assert!(words(&report).contains("nothing to show"), "{}", words(&report));
            }
        }
        counts.push(line.len() - 2);
        let found = site.peer("objects", &line);
        assert_eq!(
            (&found["counts"], &found["modalities"], &found["grey"]),
            (&json!(true), &json!(true), &json!(true))
        );
        let objects = found["objects"].as_object().expect("an object");
        assert_eq!(objects.len(), line.len() - 2, "{found:#}");
        for (modality, object) in objects {
            assert_eq!(found["found"][modality], 1, "{found:#}");
            assert_eq!(object["plain"], json!([]), "{modality}: {found:#}");
            for key in ["same", "listed", "metadata", "rendered"] {
                assert_eq!(object[key], true, "{modality} {key}: {found:#}");
            }
        }
        assert!(objects.get("OT").is_none_or(|capture| capture["frames"] == true), "{found:#}");
        let absent = ["OT", "KO", "PR"].iter().filter(|modality| !objects.contains_key(**modality));
        assert!(absent.into_iter().all(|modality| found["found"][modality] == 0), "{found:#}");
    }
    counts.sort_unstable();
    assert_eq!(counts, [2, 5], "one with findings, and one without");
}

/// Promise: a series is found by the request that it was made for, as its images name it.
#[test]
fn series_name_the_requests_that_they_were_made_for() {
    let site = Site::start(&[]);
    let found = site.peer("requests_of_series", &site.drawn(2));
    assert_eq!(found["items"], json!([["SPS0", "RP0"], ["SPS1", "RP1"]]), "{found:#}");
    assert_eq!((&found["none"], &found["alone"]), (&json!(false), &json!(false)), "{found:#}");
    assert_eq!((&found["by_procedure"], &found["by_step"]), (&json!(true), &json!(true)), "{found:#}");
    assert_eq!(found["by_other"], json!([]), "{found:#}");
}

/// Promise: QIDO-RS finds by what the standard asks for, with paging; what is unknown is refused by name.
#[test]
fn studies_are_found_by_what_the_record_knows() {
    let site = Site::start(&[]);
    let files = site.drawn(5);
    site.peer("send", &files);
    site.drafted(5);
    let found = site.peer("search", &files);
    let study = json!([found["by_uids"][0]]);
    for key in ["by_id", "by_uids"] {
        assert_eq!(found[key], study, "{key}: {found:#}");
    }
    for key in ["paged", "by_name", "by_question_mark", "by_date", "by_modality", "described"] {
        assert_eq!(found[key], true, "{key}: {found:#}");
    }
    assert_eq!((&found["all"], &found["by_other_date"], &found["by_nothing"]), (&json!(5), &json!(false), &json!([])));
    // PS3.18 table 10.6.3-3, as far as the record has them.
    for tag in [
        "00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00081190", "00100010", "00100020",
        "00100030", "00100040", "0020000D", "00200010", "00201206", "00201208",
    ] {
        assert!(found["usual"].as_array().is_some_and(|tags| tags.contains(&json!(tag))), "{tag}: {found:#}");
    }
    assert!(found["address"].as_str().is_some_and(|url| url.starts_with(&site.server.http)), "{found:#}");
    assert_eq!(found["series_by_modality"], json!(["SR"]));
    assert_eq!(found["all_series"], found["series"].as_array().map_or(0, Vec::len));
    assert!(found["rows"].as_u64().is_some_and(|rows| rows > 0) && found["bits"] == 16, "{found:#}");
    assert_eq!((&found["empty"], &found["no_study"]), (&json!(204), &json!(404)));
    assert!(found["unknown"][0] == 400 && found["unknown"][1].as_str().is_some_and(|said| said.contains("Colour")));
    assert!(found["unsearched"][0] == 400 && found["unsearched"][1].as_str().is_some_and(|said| said.contains("KVP")));
    assert!(found["fuzzy"].as_str().is_some_and(|said| said.contains("fuzzymatching")), "{found:#}");
}

/// Promise: what is asked for in Explicit VR Little Endian is decoded, in a process of its own; all else stays.
#[test]
fn objects_come_in_explicit_little_endian_where_asked() {
    for names in SYNTAXES {
        let (site, files) = (Site::start(&[]), named(names));
        let sent = site.peer("send", &files);
        assert!(sent.as_object().is_some_and(|all| all.values().all(|answer| answer[0] == 200)), "{sent:#}");
        assert_eq!(site.peer("same", &files)["different"], json!([]));
        for (file, each) in site.peer("plain", &files).as_object().expect("an object") {
            if file.contains("16bit_2frame") {
                let refused = each[1].as_str().is_some_and(|said| said.contains("colours of 16 bits"));
                assert!(each[0] == 406 && refused, "{file}: {each}");
                continue;
            }
            assert_eq!(each["changed"], json!([]), "{file}: {each}");
            // pydicom has no decoder here for these.
            let is_known =
                !["JPEG-lossy", "JPGExtended", "J2K", "liver_deflate"].iter().any(|name| file.contains(name));
            assert!(!is_known || each["pixels"] == 0, "{file}: {each}");
        }
    }
}

/// Promise: frames, decoded and as stored; metadata that pydicom reads, with its bulk data.
#[test]
fn frames_and_metadata_are_those_of_the_file() {
    for names in SYNTAXES {
        let (site, files) = (Site::start(&[]), named(names));
        site.peer("send", &files);
        for (file, each) in site.peer("frames", &files).as_object().expect("an object") {
            if file.contains("16bit_2frame") {
                assert!(each["refused"].as_str().is_some_and(|said| said.contains("16 bits")), "{file}: {each}");
                continue;
            }
            assert_eq!(each["past"], 404, "{file}");
            for (name, essence) in [
                ("RLE", "image/dicom-rle"),
                ("jpeg_ls", "image/jls"),
                ("JPEG-lossy", "image/jpeg"),
                ("J2K", "image/jp2"),
            ] {
                if file.contains(name) {
                    assert_eq!(each["compressed"], json!([true, essence]), "{file}: {each}");
                }
            }
            if ["RLE", "JPEGLS", "jpeg_ls", "CT_small", "BigEndian", "rgb_jpeg"].iter().any(|name| file.contains(name))
            {
                assert_eq!(each["far"], 0, "{file}: {each}");
            }
        }
        for (file, changed) in site.peer("metadata", &files).as_object().expect("an object") {
            assert_eq!(*changed, json!([]), "{file}");
        }
    }
}

/// Promise: pictures, with the window that is asked for.
#[test]
fn pictures_show_the_window_that_is_asked_for() {
    let site = Site::start(&[]);
    let file = repository().join("tests/data/dicom/transfer_syntaxes/pd_CT_small.dcm").display().to_string();
    let files = vec![file];
    site.peer("send", &files);
    let found = site.peer("rendered", &files);
    assert_eq!(
        found["usual"].as_array().map(|all| &all[..3]),
        Some(&[json!("image/jpeg"), json!("JPEG"), found["size"].clone()][..])
    );
    assert_eq!(found["png"][1], "PNG", "{found}");
    let (mean, expected) =
        (found["png"][3].as_f64().unwrap_or_default(), found["expected"].as_f64().unwrap_or_default());
    assert!((mean - expected).abs() < 0.5, "{found}");
    assert_eq!(found["small"][2], json!([64, 64]), "{found}");
    assert_eq!(found["thumbnail"][2], found["size"], "a small image is not made larger: {found}");
    assert_eq!(
        (&found["of_study"], &found["gif"][0], &found["wrong"][0]),
        (&json!(200), &json!(406), &json!(400)),
        "{found}"
    );
}

/// Promise: what was answered with 200 is there after kill -9.
#[test]
fn what_was_answered_for_survives_a_kill() {
    let mut site = Site::start(&[]);
    let files = site.drawn(4);
    let answers = site.peer("send", &files);
    site.server.kill();
    assert!(answers.as_object().is_some_and(|all| all.values().all(|answer| answer[0] == 200)), "{answers}");
    site.server.start_again();
    assert_eq!(site.peer("same", &files), json!({"files": files.len(), "different": []}));
    site.drafted(4);
}

/// Promise: hostile bodies are refused by name, and harm nobody.
#[test]
fn hostile_bodies_are_refused_and_harm_nobody() {
    let mut site = Site::start(&[]);
    let files = site.drawn(2);
    let found = site.peer("hostile", &files);
    for (what, status, says) in [
        ("no_boundary", 400, "boundary"),
        ("long_boundary", 400, "boundary"),
        ("other_boundary", 400, ""),
        ("json", 415, "application/dicom+json"),
        ("zip", 415, "application/zip"),
        ("encoded", 415, "Content-Encoding"),
        ("nothing", 409, ""),
        ("no_part", 400, "no part"),
        ("garbage", 400, "no part"),
        ("long_head", 400, "head of part 1"),
        ("wrong_uid", 400, "not a DICOM UID"),
        ("delete", 405, "DELETE"),
    ] {
        let (found_status, said) = (&found[what][0], found[what][1].as_str().unwrap_or_default());
        assert!(*found_status == status && said.contains(says), "{what}: {found:#}");
    }
    assert_eq!(found["traversal"], 400);
    assert_eq!(found["huge_header"], 431);
    assert_eq!(found["truncated"], json!([202, [[0xC000, "the body ended in the middle of it"]]]));
    assert_eq!(found["other_study"][0], 409);
    assert_eq!(found["other_study"][1][0][0], 0xA900);
    assert_eq!(found["text_part"], json!([409, [[0xC000, "its Content-Type is not application/dicom"]]]));
    assert_eq!(found["alive"], 200);
    // Every hostile file that readers break on: each is answered.
    let malformed = texts(&files_of("malformed"));
    let answers = site.peer("send", &malformed);
    assert_eq!(answers.as_object().map(serde_json::Map::len), Some(malformed.len()));
    assert!(site.server.is_alive());
    assert!(!site.server.log().contains("panicked"), "{}", site.server.log());
}

fn files_of(folder: &str) -> Vec<PathBuf> {
    dicom_files(&repository().join("tests/data/dicom").join(folder))
}

/// Promise: a client that is silent in the middle of a request is hung up on.
#[test]
fn a_silent_client_does_not_hold_a_place() {
    let site = Site::start(&["--http-idle-s", "2"]);
    let found = site.peer("slow", &[]);
    for part in ["head", "body"] {
        let seconds = found[part][0].as_f64().expect("a number");
        // Without the setting it would be a minute.
        assert!((1.5..40.0).contains(&seconds), "{part}: {found}");
    }
    assert_eq!(found["body"][1], "HTTP/1.1 408");
}

/// Promise: Orthanc sends to us, finds what we have, and takes it.
#[test]
fn orthanc_sends_and_takes_studies() {
    let site = Site::start(&[]);
    let files = site.drawn(2);
    let orthanc = Orthanc::start_for_web(&site.server.http);
    let line: Vec<String> = std::iter::once(orthanc.url()).chain(files.iter().cloned()).collect();
    let found = site.peer("orthanc", &line);
    assert_eq!(found["sent"][0], 200, "{found:#}\n{}", site.server.log());
    assert_eq!(found["listed"], json!([200, 2]), "{found:#}");
    assert_eq!(found["retrieved"][0], 200, "{found:#}");
    assert!(found["held"].as_u64().is_some_and(|held| held as usize >= files.len()), "{found:#}");
    assert_eq!(found["same"], files.len(), "{found:#}");
    assert_eq!(site.peer("same", &files)["different"], json!([]));
}

/// Rules for the callers of these tests.
const RULES: &str = r#"
    [[certificate]]
    name = "east"
    roles = ["submit", "read"]
    tenants = ["east"]
    [[certificate]]
    name = "west"
    roles = ["read"]
    tenants = ["west"]
    [[certificate]]
    name = "worker"
    roles = ["worker"]
"#;

/// Promise: the same certificates, roles and tenants as gRPC; other tenants' studies do not exist; each access is recorded.
#[test]
fn callers_see_what_is_theirs() {
    let work = tempfile::tempdir().expect("a folder");
    let folder = work.path();
    let authority = Authority::new(folder, "hospital");
    let pair = authority.server();
    let (rules, audit) = (folder.join("access.toml"), folder.join("audit.jsonl"));
    std::fs::write(&rules, RULES).expect("a file");
    let text = |path: &Path| path.display().to_string();
    let settings =
        "coordinator --json --grpc 127.0.0.1:0 --http 127.0.0.1:0 --data data --http-origin https://viewer.example";
    let (cert, key, ca) = (text(&pair.cert), text(&pair.key), text(&authority.pem));
    let (rules, audit_file) = (text(&rules), text(&audit));
    let more = ["--tls-cert", &cert, "--tls-key", &key, "--client-ca", &ca, "--access", &rules, "--audit", &audit_file];
    let arguments: Vec<&str> = settings.split_whitespace().chain(more).collect();
    let server = Server::start(&folder.join("coordinator"), &arguments, &[("PRELIM_LOG", "info")]);
    assert!(server.http.starts_with("https://"), "{}", server.http);

    let [east, west, worker, stranger] = ["east", "west", "worker", "stranger"].map(|name| authority.client(name));
    let images = folder.join("images");
    phantoms(&images, 1, 23, Some("dx"));
    let line = [
        "submit",
        "--json",
        "--grpc",
        &server.grpc,
        "--ca",
        &ca,
        "--cert",
        &text(&east.cert),
        "--key",
        &text(&east.key),
    ]
    .map(str::to_owned);
    let sent = prelim_json(line.into_iter().chain([text(&images)]));
    let study = sent["study_uids"][0].as_str().expect("a UID").to_owned();

    let caller = |pair: &Pair| [text(&pair.cert), text(&pair.key), study.clone()];
    let callers = [&east, &west, &worker, &stranger].map(caller);
    let line: Vec<String> = std::iter::once(ca.clone()).chain(callers.into_iter().flatten()).collect();
    let found = peer(&server.http, "access", &line).unwrap_or_else(|said| panic!("{said}\n{}", server.log()));
    let expected = json!([[200, [&study], 200, 415], [204, [], 404, 403], [403, [], 403, 403], [403, [], 403, 403],]);
    assert_eq!(found["answers"], expected);
    let lines = std::fs::read_to_string(&audit).expect("the audit");
    let has = |words: &[&str]| lines.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["110103", "WADO-RS", "\"east\"", &study]), "{lines}");
    assert!(has(&["110112", "QIDO-RS", "\"east\""]), "{lines}");
    assert!(has(&["110113", "WADO-RS", "\"west\"", &study]), "another tenant's study: {lines}");
    assert!(has(&["110113", "STOW-RS", "\"west\""]), "no role: {lines}");
    assert!(!server.log().contains(&study), "{}", server.log());
}
