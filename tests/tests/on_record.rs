//! What is on record of who looks and who is let in, and what ends with a session.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use prelim_tests::browser::{Browser, account};
use prelim_tests::ports::free_address;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, eventually, phantoms, prelim, prelim_json, whole_lines, words};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A role that people sign in to, of whom nobody said that they are on record.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(role: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["jane", "rita"] {
            account(&folder.path().join("accounts.toml"), name, &["--role", "review"]);
        }
        let mut arguments = vec![role, "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data"];
        arguments.extend(["--accounts", "accounts.toml"]);
        arguments.extend(more);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, folder }
    }

    fn audit(&self) -> PathBuf {
        self.folder.path().join("data/audit.jsonl")
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.audit()).expect("an audit");
        whole_lines(&text).map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The lines that came of what was done.
    fn noted(&self, done: impl FnOnce()) -> Vec<Value> {
        let before = self.lines().len();
        done();
        self.lines().split_off(before)
    }

    fn send(&self, more: &[&str]) -> Value {
        let films = self.folder.path().join("films");
        phantoms(&films, 1, 17, Some("dx"));
        let films = films.display().to_string();
        let line = ["submit", "--json", "--grpc", &self.server.grpc, &films];
        prelim_json(line.into_iter().chain(more.iter().copied()))
    }
}

/// A WebSocket, as far as it is looked at here.
struct Channel(TcpStream);

impl Channel {
    fn open(server: &Server, title: &str, cookie: &str) -> Self {
        let host = server.http.trim_start_matches("http://").trim_end_matches("/dicom-web");
        let mut stream = TcpStream::connect(host).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        write!(
            stream,
            "GET /dicom-web/subscribers/{title} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {cookie}\r\n\r\n"
        )
        .expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self(stream)
    }

    /// The next frame that is no ping: its kind (1 is text, 8 the end) and what is in it.
    fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).expect("a frame");
            let mut length = usize::from(head[1] & 0x7f);
            if length == 126 {
                let mut long = [0; 2];
                self.0.read_exact(&mut long).expect("a length");
                length = usize::from(u16::from_be_bytes(long));
            }
            let mut held = vec![0; length];
            self.0.read_exact(&mut held).expect("a frame");
            if head[0] & 0xf != 9 {
                return (head[0] & 0xf, held);
            }
        }
    }
}

impl Channel {
    /// What comes until the channel ends, with why it does.
    fn until_its_end(&mut self) -> String {
        let mut told = String::new();
        loop {
            let (kind, held) = self.next();
            told.push_str(&String::from_utf8_lossy(&held));
            if kind == 8 {
                return told;
            }
        }
    }
}

/// Promise: event reports end with the session that opened their channel, and the opening is on record.
#[test]
fn a_channel_ends_with_the_session() {
    let site = Site::start("coordinator", &[]);
    let mut rita = Browser::signed_in(&site.server, "rita");
    let mut program = Browser::at(&site.server);
    let cookie = rita.cookie();
    let mut channel = None;
    let noted = site.noted(|| channel = Some(Channel::open(&site.server, "RITA", &cookie)));
    assert_eq!((&noted[0]["caller"], &noted[0]["query"]), (&json!("rita"), &json!(["subscriber=RITA"])), "{noted:?}");
    let mut channel = channel.expect("a channel");
    let all = "/dicom-web/workitems/1.2.840.10008.5.1.4.34.5/subscribers/RITA";
    assert_eq!(program.send(Method::POST, all, None, &[("origin", "")]).status, StatusCode::CREATED);
    let mut create = |uid: &str| {
        let workitem = json!([{
            "00741000": {"vr": "CS", "Value": ["SCHEDULED"]}, "00741200": {"vr": "CS", "Value": ["MEDIUM"]},
            "00741204": {"vr": "LO", "Value": ["read"]}, "00741202": {"vr": "LO"},
            "00404041": {"vr": "CS", "Value": ["READY"]}, "00404018": {"vr": "SQ"}, "00404021": {"vr": "SQ"},
            "00404005": {"vr": "DT", "Value": ["20991130100000"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Roe^Ann"}]}, "00100020": {"vr": "LO", "Value": ["4711"]},
        }]);
        let change = [("origin", ""), ("content-type", "application/dicom+json")];
        let answer = program.send(Method::POST, &format!("/dicom-web/workitems?{uid}"), Some(&workitem), &change);
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    };
    create("1.2.3.1");
    let (kind, told) = channel.next();
    assert!(kind == 1 && String::from_utf8_lossy(&told).contains("1.2.3.1"), "{kind}: {told:?}");
    // Another's, to see that it is the session that counts.
    let mut jane = Browser::signed_in(&site.server, "jane");
    let cookie = jane.cookie();
    let mut other = Channel::open(&site.server, "RITA", &cookie);
    assert_eq!(rita.send(Method::DELETE, "/api/session", None, &[]).status, StatusCode::NO_CONTENT);
    create("1.2.3.2");
    let told = channel.until_its_end();
    assert!(told.ends_with("the session on the page has ended") && !told.contains("1.2.3.2"), "{told}");
    let (kind, told) = other.next();
    assert!(kind == 1 && String::from_utf8_lossy(&told).contains("1.2.3.2"), "{kind}: {told:?}");
    // And without anything to tell, when the account goes.
    let file = site.folder.path().join("accounts.toml").display().to_string();
    let removed = prelim(["account", "remove", "jane", "--accounts", &file]);
    assert!(removed.status.success(), "{}", words(&removed));
    assert!(other.until_its_end().ends_with("the session on the page has ended"));
    assert_eq!(jane.get("/api/session").fault().0, 401);
}

/// Promise: nobody is shown anything that cannot be recorded, and nobody is kept signed in by that.
#[test]
fn who_signs_out_is_out_also_where_that_cannot_be_recorded() {
    let site = Site::start("coordinator", &[]);
    let mut jane = Browser::signed_in(&site.server, "jane");
    std::fs::rename(site.audit(), site.folder.path().join("moved")).expect("a file");
    std::fs::create_dir(site.audit()).expect("a folder");
    assert_eq!(jane.get("/api/studies").status, StatusCode::SERVICE_UNAVAILABLE);
    let cookies = jane.cookies.clone();
    assert_eq!(jane.send(Method::DELETE, "/api/session", None, &[]).status, StatusCode::NO_CONTENT);
    jane.cookies = cookies;
    assert_eq!(jane.get("/api/session").fault().0, 401);
    assert!(site.server.log().contains("which is not in the audit"), "{}", site.server.log());
}

/// Promise: a record of a search has what was looked for (PS3.15 section A.5.3.10), and one opening of a study is one record.
#[test]
fn what_was_looked_for_is_on_record_and_one_look_is_one_line() {
    let site = Site::start("up", &[]);
    let study = site.send(&["--wait"])["studies"][0]["study_uid"].as_str().expect("a UID").to_owned();
    let mut jane = Browser::signed_in(&site.server, "jane");
    let mut asked = |path: &str| site.noted(|| assert!(jane.get(path).status.is_success(), "{path}"));
    let level = |level: &str| format!("QueryRetrieveLevel={level}");
    for (path, query) in [
        ("/dicom-web/studies?PatientName=D%C3%B6e*&limit=3", json!([level("STUDY"), "PatientName=Döe*", "limit=3"])),
        (
            &format!("/dicom-web/studies/{study}/series?Modality=DX"),
            json!([level("SERIES"), format!("StudyInstanceUID={study}"), "Modality=DX"]),
        ),
        ("/dicom-web/workitems?00741000=SCHEDULED", json!(["00741000=SCHEDULED"])),
        ("/api/studies?text=Doe+Jane&order=urgency", json!(["text=Doe Jane", "order=urgency"])),
        ("/api/agreement?by=site", json!(["by=site"])),
    ] {
        let noted = asked(path);
        assert_eq!(noted.len(), 1, "{path}: {noted:?}");
        assert_eq!((&noted[0]["event"]["code"], &noted[0]["query"]), (&json!("110112"), &query), "{path}");
    }
    for path in [
        format!("/api/studies/{study}"),
        format!("/dicom-web/studies/{study}"),
        format!("/dicom-web/studies/{study}/metadata"),
    ] {
        let noted = asked(&path);
        assert_eq!(noted.len(), 1, "{path}: {noted:?}");
        assert_eq!((&noted[0]["event"]["code"], &noted[0]["studies"]), (&json!("110103"), &json!([study])), "{path}");
    }
    let noted = site.noted(|| drop(prelim_json(["studies", "--json", "--grpc", &site.server.grpc])));
    assert!(noted[0]["query"][0].as_str().is_some_and(|asked| asked.starts_with("page_size=")), "{noted:?}");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// Promise: where people sign in, who looks at patients is on record unasked, and what is kept is for its owner alone.
#[test]
fn a_coordinator_with_accounts_keeps_an_audit_and_its_data_to_itself() {
    let mut site = Site::start("coordinator", &[]);
    site.send(&[]);
    let mut jane = Browser::signed_in(&site.server, "jane");
    assert!(jane.get("/api/studies").status.is_success());
    assert!(site.lines().iter().any(|line| line["caller"] == "jane" && line["event"]["code"] == "110112"));
    assert_eq!(mode(&site.folder.path().join("data")), 0o700);
    let verify = |file: &Path| prelim(["audit", "verify", &file.display().to_string()]);
    site.server.terminate();
    assert!(verify(&site.audit()).status.success());
    std::fs::write(site.audit(), "").expect("a file");
    let emptied = verify(&site.audit());
    assert!(!emptied.status.success() && words(&emptied).contains("has no lines"), "{}", words(&emptied));
    // An accounts file that others may write is none.
    let file = site.folder.path().join("accounts.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).expect("our file");
    let data = site.folder.path().join("other");
    let (file, data) = (file.display().to_string(), data.display().to_string());
    let refused = prelim(["coordinator", "--grpc", "127.0.0.1:0", "--data", &data, "--accounts", &file]);
    assert!(!refused.status.success() && words(&refused).contains("chmod 600"), "{}", words(&refused));
}

/// Promise: what is shown must count, also on this machine, and pictures are shown in no page of another place.
#[test]
fn what_is_shown_on_this_machine_must_count() {
    let site = Site::start("coordinator", &[]);
    let mut browser = Browser::at(&site.server);
    browser.cookies.insert("prelim_session".to_owned(), "0".repeat(64));
    let ended = browser.cookie();
    browser.cookies.clear();
    let mut ask = |change: &[(&str, &str)]| browser.send(Method::GET, "/dicom-web/studies", None, change);
    let answer = ask(&[]);
    assert!(answer.status.is_success());
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    for (change, status) in [
        (("authorization", "Bearer x"), 401),
        (("cookie", ended.as_str()), 401),
        (("sec-fetch-site", "cross-site"), 403),
        (("sec-fetch-site", "same-site"), 403),
        (("sec-fetch-site", "same-origin"), 204),
        (("sec-fetch-site", "none"), 204),
    ] {
        let answer = ask(&[change]);
        assert_eq!(answer.status.as_u16(), status, "{change:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{change:?}");
    }
}

/// Promise: an accounts file that cannot be used leaves those that were, and that shows.
#[test]
fn an_accounts_file_that_breaks_is_told_and_shuts_nobody_out() {
    let metrics = free_address();
    let site = Site::start("coordinator", &["--metrics", &metrics]);
    let file = site.folder.path().join("accounts.toml");
    let mut browser = Browser::at(&site.server);
    let mut told = |value: u32| {
        let line = format!("prelim_access_files_outdated{{file=\"accounts\"}} {value}\n");
        eventually(
            PATIENCE,
            || line.clone(),
            || {
                let text = browser.get(&format!("http://{metrics}/metrics")).bytes;
                String::from_utf8_lossy(&text).contains(&line)
            },
        );
    };
    told(0);
    let good = std::fs::read_to_string(&file).expect("the file");
    std::fs::write(&file, "[[account]]\n").expect("a file");
    told(1);
    Browser::signed_in(&site.server, "jane");
    let log = || site.server.log();
    eventually(PATIENCE, log, || log().contains("changed files not taken up"));
    std::fs::write(&file, good).expect("a file");
    told(0);
    std::fs::remove_file(&file).expect("a file");
    told(1);
}
