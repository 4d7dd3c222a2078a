//! Who may call what: certificates, tokens, roles, and the record of it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use prelim_tests::certificates::{Authority, Pair};
use prelim_tests::issuer::{OidcIssuer, altered};
use prelim_tests::server::Server;
use prelim_tests::{
    PATIENCE, Process, binary, eventually, phantoms, prelim, prelim_json, repository, whole_lines, words,
};
use serde_json::{Value, json};

/// Rules for the clients of these tests.
const RULES: &str = r#"
    [[certificate]]
    name = "reader"
    roles = ["read"]
    [[certificate]]
    name = "sender"
    roles = ["submit", "read"]
    [[certificate]]
    name = "worker"
    roles = ["worker"]
    [[certificate]]
    name = "east"
    roles = ["submit", "read", "admin"]
    tenants = ["east"]
    [[certificate]]
    name = "west"
    roles = ["submit", "read", "admin"]
    tenants = ["west"]
    [[certificate]]
    name = "west-worker"
    roles = ["worker"]
    tenants = ["west"]
    [[certificate]]
    name = "any-worker"
    roles = ["worker"]
    tenants = ["*"]
"#;

/// Command lines out of texts and paths.
fn line<'a>(parts: impl IntoIterator<Item = &'a dyn AsRef<OsStr>>) -> Vec<OsString> {
    parts.into_iter().map(|part| part.as_ref().to_owned()).collect()
}

/// A coordinator that lets certificates of `authority` in, with its audit below `folder`.
fn coordinator(folder: &Path, authority: &Authority, server: &Pair, more: &[OsString]) -> Process {
    let rules = folder.join("access.toml");
    std::fs::write(&rules, RULES).unwrap();
    let mut arguments = line([
        &"coordinator" as &dyn AsRef<OsStr>,
        &"--json",
        &"--grpc",
        &"127.0.0.1:0",
        &"--data",
        &folder.join("data"),
        &"--tls-cert",
        &server.cert,
        &"--tls-key",
        &server.key,
        &"--client-ca",
        &authority.pem,
        &"--access",
        &rules,
        &"--audit",
        &folder.join("audit.jsonl"),
    ]);
    arguments.extend_from_slice(more);
    Process::start(arguments)
}

/// The flags by which a client shows a certificate.
fn shown(ca: &Path, pair: &Pair) -> Vec<OsString> {
    line([&"--ca" as &dyn AsRef<OsStr>, &ca, &"--cert", &pair.cert, &"--key", &pair.key])
}

/// `prelim studies` with these flags.
fn studies(grpc: &str, flags: &[OsString]) -> Output {
    prelim(line([&"studies" as &dyn AsRef<OsStr>, &"--json", &"--grpc", &grpc]).iter().chain(flags))
}

/// What a command that must fail says.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{}", words(output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a gRPC client that is not ours hears.
fn peer(grpc: &str, method: &str, ca: &Path, pair: Option<&Pair>) -> String {
    peer_saying(grpc, method, &[], ca, pair)
}

/// The same, with a message whose fields are these texts, from number 1 on.
fn peer_saying(grpc: &str, method: &str, fields: &[&str], ca: &Path, pair: Option<&Pair>) -> String {
    let field = |(index, text): (usize, &&str)| -> String {
        let bytes = [&[(index as u8 + 1) << 3 | 2, text.len() as u8], text.as_bytes()].concat();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let message: String = fields.iter().enumerate().map(field).collect();
    let mut command = Command::new(repository().join("target/python/bin/python"));
    command.arg(repository().join("tests/peers/call.py")).arg(grpc.trim_start_matches("https://")).arg(method);
    command.arg(message).arg(ca);
    if let Some(pair) = pair {
        command.args([&pair.cert, &pair.key]);
    }
    let output = command.output().expect("python is installed");
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The lines of the audit.
fn audit(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("audit.jsonl")).unwrap();
    whole_lines(&text).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether the audit has a line with this event, call and caller, and these words in its reason.
fn is_audited(folder: &Path, event: &str, call: Option<&str>, caller: Option<&str>, reason: &str) -> bool {
    audit(folder).iter().any(|line| {
        line["event"]["code"] == event
            && line["call"].as_str() == call
            && line["caller"].as_str() == caller
            && line["reason"].as_str().unwrap_or_default().contains(reason)
    })
}

/// Issue promise: mTLS lets in who has a certificate and a role, says to everybody else what is missing, and records both.
#[test]
fn certificates_open_what_their_roles_allow() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path();
    let (ours, theirs) = (Authority::new(folder, "ours"), Authority::new(folder, "theirs"));
    let running = coordinator(folder, &ours, &ours.server(), &[]);
    let grpc = running.grpc.as_str();
    assert!(grpc.starts_with("https://"), "{grpc}");

    // Submitted by one, read by a worker, fetched by another.
    let (reader, sender, worker) = (ours.client("reader"), ours.client("sender"), ours.client("worker"));
    let images = folder.join("images");
    phantoms(&images, 1, 21, Some("dx"));
    let worker_line = line([&"worker" as &dyn AsRef<OsStr>, &"--json", &"--grpc", &grpc]);
    let _worker = Process::start(worker_line.into_iter().chain(shown(&ours.pem, &worker)));
    let submit = |flags: Vec<OsString>| {
        let line = line([&"submit" as &dyn AsRef<OsStr>, &"--wait", &"--json", &"--grpc", &grpc, &images]);
        prelim(line.into_iter().chain(flags))
    };
    let sent = submit(shown(&ours.pem, &sender));
    assert!(sent.status.success(), "{}", words(&sent));
    let sent: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(sent["studies"][0]["state"], "drafted", "{sent}");
    let study = sent["studies"][0]["study_uid"].as_str().unwrap();
    let report = line([&"report" as &dyn AsRef<OsStr>, &"--grpc", &grpc, &study]);
    let report = prelim(report.into_iter().chain(shown(&ours.pem, &reader)));
    assert!(report.status.success(), "{}", words(&report));

    // Each refusal says what is missing.
    let hour = Duration::from_secs(3_600);
    let expired = ours.client_until("expired", SystemTime::now() - hour);
    let stranger = ours.client("stranger");
    let no_certificate = line([&"--ca" as &dyn AsRef<OsStr>, &ours.pem]);
    for (flags, sentence) in [
        (no_certificate.clone(), "asks for a client certificate"),
        (shown(&ours.pem, &theirs.client("reader")), "does not know the authority of the client certificate"),
        (shown(&ours.pem, &expired), "has expired"),
        (shown(&theirs.pem, &reader), "name its authority with --ca"),
        (shown(&ours.pem, &stranger), "has no role here"),
        (shown(&ours.pem, &worker), "\"worker\" has not the role for ListStudies: it takes the role read"),
    ] {
        let said = refusal(&studies(grpc, &flags));
        assert!(said.contains(sentence), "{flags:?}: {said}");
    }
    let said = refusal(&submit(shown(&ours.pem, &reader)));
    assert!(said.contains("it takes the role submit"), "{said}");
    let said = refusal(&studies(&grpc.replace("127.0.0.1", "127.0.0.2"), &shown(&ours.pem, &reader)));
    assert!(said.contains("no coordinator answers"), "{said}");

    let said = refusal(&studies(grpc.trim_start_matches("https://"), &[]));
    assert!(said.contains("https://"), "{said}");

    // The same for a client that is not ours.
    let list = "/prelim.v1.StudyService/ListStudies";
    assert_eq!(peer(grpc, list, &ours.pem, Some(&reader)), "OK");
    for pair in [None, Some(&theirs.client("reader")), Some(&expired)] {
        assert_eq!(peer(grpc, list, &ours.pem, pair), "UNAVAILABLE");
    }
    for (method, code) in [
        (list, "PERMISSION_DENIED"),
        ("/prelim.v1.StudyService/DeleteEverything", "PERMISSION_DENIED"),
        ("/prelim.v1.WorkerService/Lease", "INVALID_ARGUMENT"),
        ("/grpc.health.v1.Health/Check", "OK"),
    ] {
        assert_eq!(peer(grpc, method, &ours.pem, Some(&worker)), code, "{method}");
    }

    for (event, call, caller, reason) in [
        ("110113", None, None, "TLS handshake"),
        ("110113", None, None, "xpired"),
        ("110114", Some("ListStudies"), Some("stranger"), "has no role"),
        ("110113", Some("ListStudies"), Some("worker"), "it takes the role read"),
        ("110113", Some("SubmitStudies"), Some("reader"), "it takes the role submit"),
        ("110104", Some("SubmitStudies"), Some("sender"), ""),
        ("110104", Some("Lease"), Some("worker"), ""),
        ("110103", Some("GetReport"), Some("reader"), ""),
        ("110112", Some("ListStudies"), Some("reader"), ""),
    ] {
        // A handshake that fails is noted when the other side has gone.
        let told = || format!("{event} {call:?} {caller:?} {reason}");
        eventually(PATIENCE, told, || is_audited(folder, event, call, caller, reason));
    }
    let lines = audit(folder);
    let submitted = lines.iter().find(|line| line["call"] == "SubmitStudies" && line["outcome"] == 0).unwrap();
    assert_eq!(submitted["studies"], json!([study]));
    the_chain_holds_and_a_change_is_found(folder, running, lines.len());
}

fn the_chain_holds_and_a_change_is_found(folder: &Path, running: Process, lines: usize) {
    running.kill();
    let file = folder.join("audit.jsonl");
    let verify = || prelim(line([&"audit" as &dyn AsRef<OsStr>, &"verify", &"--json", &file]));
    let found: Value = serde_json::from_slice(&verify().stdout).unwrap();
    assert!(found["lines"].as_u64().unwrap() as usize >= lines, "{found}");
    let text = std::fs::read_to_string(&file).unwrap();
    let changed: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(number, line)| if number == 3 { line.replace("\"seq\":4", "\"seq\":5") } else { line.to_owned() })
        .collect();
    std::fs::write(&file, changed.join("\n") + "\n").unwrap();
    let said = refusal(&verify());
    assert!(said.contains("line 4 was changed"), "{said}");

    // A coordinator does not go on with it, unless it is told to set it aside.
    let start = |more: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["coordinator", "--grpc", "127.0.0.1:0", "--json", "--data"]).arg(folder.join("other"));
        command.arg("--audit").arg(&file).args(more);
        command
    };
    let said = refusal(&start(&[]).output().unwrap());
    assert!(said.contains("line 4 was changed"), "{said}");
    let told = start(&["--audit-set-aside"]);
    let arguments: Vec<&OsStr> = told.get_args().collect();
    drop(Process::start(arguments));
    assert!(verify().status.success(), "a new chain begins");
    assert!(folder.join("audit.jsonl.changed-1/audit.jsonl").exists(), "the old one is kept");
}

/// Issue promise: one tenant's certificates, those of workers among them, reach nothing of another's studies.
#[test]
fn tenants_do_not_see_each_other() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path();
    let ours = Authority::new(folder, "ours");
    let running = coordinator(folder, &ours, &ours.server(), &[]);
    let grpc = running.grpc.as_str();
    let (east, west) = (ours.client("east"), ours.client("west"));
    let images = folder.join("images");
    phantoms(&images, 1, 24, Some("dx"));
    let command = |parts: &[&dyn AsRef<OsStr>], pair: &Pair| {
        prelim(
            line(parts.iter().copied())
                .into_iter()
                .chain(line([&"--grpc" as &dyn AsRef<OsStr>, &grpc]))
                .chain(shown(&ours.pem, pair)),
        )
    };
    let sent = command(&[&"submit", &"--json", &images], &east);
    assert!(sent.status.success(), "{}", words(&sent));
    let sent: Value = serde_json::from_slice(&sent.stdout).unwrap();
    let study = sent["study_uids"][0].as_str().unwrap();

    // Clients of the other tenant: the study is not there, and cannot be added to.
    let listed = |pair: &Pair| -> Value {
        let found = studies(grpc, &shown(&ours.pem, pair));
        serde_json::from_slice(&found.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&found)))
    };
    assert_eq!((listed(&east).as_array().unwrap().len(), listed(&west)), (1, json!([])));
    for parts in [&[&"report" as &dyn AsRef<OsStr>, &study][..], &[&"watch", &study]] {
        let said = refusal(&command(parts, &west));
        assert!(said.contains("no study") && !said.contains("east"), "{said}");
    }
    assert!(refusal(&command(&[&"submit", &images], &west)).contains("none of"));
    let cancel = "/prelim.v1.StudyService/CancelStudy";
    assert_eq!(peer_saying(grpc, cancel, &[study], &ours.pem, Some(&west)), "NOT_FOUND");

    // A worker of the other tenant: it gets no job, and nothing by guessing one.
    let worker = |name: &str| {
        let line = line([&"worker" as &dyn AsRef<OsStr>, &"--json", &"--grpc", &grpc]);
        Process::start(line.into_iter().chain(shown(&ours.pem, &ours.client(name))))
    };
    let west_worker = worker("west-worker");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(listed(&east)[0]["state"], "queued");
    west_worker.kill();
    let job = format!("{study}/0");
    let read = "/prelim.v1.WorkerService/ReadObject";
    let guess = |pair: &Pair| peer_saying(grpc, read, &[&"0".repeat(64), &job], &ours.pem, Some(pair));
    assert_eq!(guess(&ours.client("west-worker")), "NOT_FOUND");
    assert_eq!(guess(&ours.client("any-worker")), "FAILED_PRECONDITION", "it may see the study, and holds no lease");
    for (call, caller) in
        [("GetReport", "west"), ("WatchStudies", "west"), ("CancelStudy", "west"), ("ReadObject", "west-worker")]
    {
        let reason = "the study is of tenant east";
        assert!(is_audited(folder, "110113", Some(call), Some(caller), reason), "{call} by {caller}");
    }

    let _worker = worker("any-worker");
    let watched = command(&[&"watch", &"--json", &study], &east);
    assert!(watched.status.success(), "{}", words(&watched));
    assert_eq!(listed(&east)[0]["state"], "drafted");
}

/// Issue promise: a certificate that runs out does not live on in the connection that it opened.
#[test]
fn a_certificate_that_runs_out_ends_what_it_opened() {
    let work = tempfile::tempdir().unwrap();
    let ours = Authority::new(work.path(), "ours");
    let running = coordinator(work.path(), &ours, &ours.server(), &[]);
    let soon = ours.client_until("reader", SystemTime::now() + Duration::from_secs(15));
    let watch = line([&"watch" as &dyn AsRef<OsStr>, &"--json", &"--grpc", &running.grpc]);
    let mut watching = Command::new(binary())
        .args(watch.into_iter().chain(shown(&ours.pem, &soon)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let watches = || is_audited(work.path(), "110112", Some("WatchStudies"), Some("reader"), "");
    eventually(PATIENCE, || "it is let in".to_owned(), watches);
    assert!(watching.try_wait().unwrap().is_none(), "it is good for another moment");
    let said = refusal(&watching.wait_with_output().unwrap());
    assert!(said.contains("have expired"), "{said}");
    assert!(refusal(&studies(&running.grpc, &shown(&ours.pem, &soon))).contains("has expired"));
}

/// Issue promise: a server certificate that was renewed on disk is served without a restart, and rules that changed count.
#[test]
fn renewed_certificates_and_changed_rules_are_taken_up() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path();
    let (ours, next) = (Authority::new(folder, "ours"), Authority::new(folder, "next"));
    let server = ours.server();
    let running = coordinator(folder, &ours, &server, &[]);
    let reader = ours.client("reader");
    assert!(studies(&running.grpc, &shown(&ours.pem, &reader)).status.success());

    let renewed = next.server();
    std::fs::copy(&renewed.key, &server.key).unwrap();
    std::fs::copy(&renewed.cert, &server.cert).unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    let found = studies(&running.grpc, &shown(&next.pem, &reader));
    assert!(found.status.success(), "{}", words(&found));
    assert!(refusal(&studies(&running.grpc, &shown(&ours.pem, &reader))).contains("name its authority with --ca"));

    // Half of a file is no certificate: the one before stays.
    std::fs::write(&server.cert, "-----BEGIN CERTIFICATE-----\n").unwrap();
    std::fs::write(folder.join("access.toml"), RULES.replace("\"reader\"", "\"another\"")).unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    assert!(refusal(&studies(&running.grpc, &shown(&next.pem, &reader))).contains("has no role here"));
}

/// A coordinator that lets tokens of `issuer` in, without TLS, and a file for a token.
fn with_tokens(folder: &Path, issuer: &OidcIssuer) -> (Process, PathBuf) {
    let running = Process::start(line([
        &"coordinator" as &dyn AsRef<OsStr>,
        &"--json",
        &"--grpc",
        &"127.0.0.1:0",
        &"--data",
        &folder.join("data"),
        &"--oidc-issuer",
        &issuer.url(),
        &"--oidc-audience",
        &"prelim",
        &"--audit",
        &folder.join("audit.jsonl"),
    ]));
    (running, folder.join("token"))
}

/// Issue promise: tokens of an OpenID Connect issuer are taken, and no others.
#[test]
fn tokens_of_the_issuer_are_taken_and_no_others() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path();
    let keys = folder.join("keys.json");
    let issuer = OidcIssuer::start(&keys);
    let (running, file) = with_tokens(folder, &issuer);
    let ask = |token: &str| {
        std::fs::write(&file, token).unwrap();
        studies(&running.grpc, &line([&"--token-file" as &dyn AsRef<OsStr>, &file]))
    };
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let found = ask(&issuer.token("reader", "read", algorithm, "prelim"));
        assert!(found.status.success(), "{algorithm}: {}", words(&found));
    }

    let good = issuer.token("reader", "read", "RS256", "prelim");
    issuer.set_clock_off(-400);
    let expired = issuer.token("reader", "read", "RS256", "prelim");
    issuer.set_clock_off(0);
    // The same keys under another name, and another's keys.
    let same_keys = OidcIssuer::start(&keys).token("reader", "read", "RS256", "prelim");
    let other_keys = OidcIssuer::start(&folder.join("other.json")).token("reader", "read", "RS256", "prelim");
    let greedy = altered(&good, |_, claims, _| claims["roles"] = json!(["read", "admin"]));
    let unsigned = altered(&good, |header, _, signature| {
        header["alg"] = json!("none");
        signature.clear();
    });
    let shared = altered(&good, |header, _, _| header["alg"] = json!("HS256"));
    for (what, token, sentence) in [
        ("expired", expired, "it has expired; get a new one"),
        ("audience", issuer.token("reader", "read", "RS256", "elsewhere"), "for another audience"),
        ("issuer", same_keys, "by another issuer"),
        ("keys", other_keys, "its issuer has no such key"),
        ("altered", greedy, "its signature is wrong"),
        ("none", unsigned, "its algorithm is none of"),
        ("HS256", shared, "its algorithm is none of"),
        ("nonsense", "nonsense".to_owned(), "not a JSON Web Token"),
        ("role", issuer.token("sender", "submit", "RS256", "prelim"), "it takes the role read"),
    ] {
        let said = refusal(&ask(&token));
        assert!(said.contains(sentence), "{what}: {said}");
        assert!(!said.contains(&token) || what == "nonsense", "no token is told");
        let sender = format!("sender@{}", issuer.url());
        let (event, caller) = if what == "role" { ("110113", Some(sender.as_str())) } else { ("110114", None) };
        assert!(is_audited(folder, event, Some("ListStudies"), caller, sentence), "{what} is not audited");
    }
    assert!(refusal(&studies(&running.grpc, &[])).contains("give a token with --token-file"));
    assert!(refusal(&studies(&format!("https://{}", running.grpc), &[])).contains("speaks no TLS; use http://"));
    let text = std::fs::read_to_string(folder.join("audit.jsonl")).unwrap();
    assert!(!text.contains(good.split('.').nth(1).unwrap()), "no token is in the audit");

    // A tenant that is not the caller's.
    phantoms(&folder.join("images"), 1, 22, Some("dx"));
    std::fs::write(&file, issuer.token("other-hospital", "submit", "RS256", "prelim")).unwrap();
    let send = |more: &[&str]| {
        let images = folder.join("images");
        let line = line([&"submit" as &dyn AsRef<OsStr>, &"--grpc", &running.grpc, &"--token-file", &file, &images]);
        prelim(line.into_iter().chain(more.iter().map(OsString::from)))
    };
    let said = refusal(&send(&["--tenant", "default"]));
    assert!(said.contains("it may for: other-hospital"), "{said}");
    let other = format!("other-hospital@{}", issuer.url());
    assert!(is_audited(folder, "110113", Some("SubmitStudies"), Some(&other), "may not act"));
    let sent = send(&[]);
    assert!(sent.status.success(), "{}", words(&sent));
}

/// Issue promise: a coordinator starts while its issuer is away, takes tokens when it is back, and takes up new keys.
#[test]
fn an_issuer_may_be_away_and_change_its_keys() {
    let work = tempfile::tempdir().unwrap();
    let keys = work.path().join("keys.json");
    let mut issuer = OidcIssuer::start(&keys);
    let token = issuer.token("reader", "read", "ES256", "prelim");
    issuer.stop();
    let (running, file) = with_tokens(work.path(), &issuer);
    std::fs::write(&file, &token).unwrap();
    let flags = line([&"--token-file" as &dyn AsRef<OsStr>, &file]);
    assert!(refusal(&studies(&running.grpc, &flags)).contains("keys cannot be fetched"));
    issuer.start_again(&keys);
    let back = || format!("the issuer at {} is back", issuer.url());
    eventually(PATIENCE, back, || studies(&running.grpc, &flags).status.success());

    // Other keys: the new ones are fetched for the first token that needs them, and the old ones no longer count.
    issuer.start_again(&work.path().join("rotated.json"));
    std::fs::write(&file, issuer.token("reader", "read", "ES256", "prelim")).unwrap();
    let found = studies(&running.grpc, &flags);
    assert!(found.status.success(), "{}", words(&found));
    std::fs::write(&file, &token).unwrap();
    assert!(refusal(&studies(&running.grpc, &flags)).contains("its issuer has no such key"));
}

/// Issue promise: `prelim up` works with everything turned on: its own worker needs no certificate.
#[test]
fn everything_in_one_process_works_behind_locked_doors() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path();
    let ours = Authority::new(folder, "ours");
    let (server, rules) = (ours.server(), folder.join("access.toml"));
    std::fs::write(&rules, RULES).unwrap();
    let running = Process::start(line([
        &"up" as &dyn AsRef<OsStr>,
        &"--json",
        &"--grpc",
        &"127.0.0.1:0",
        &"--data",
        &folder.join("data"),
        &"--tls-cert",
        &server.cert,
        &"--tls-key",
        &server.key,
        &"--client-ca",
        &ours.pem,
        &"--access",
        &rules,
    ]));
    phantoms(&folder.join("images"), 1, 23, Some("dx"));
    let submit =
        line([&"submit" as &dyn AsRef<OsStr>, &"--wait", &"--json", &"--grpc", &running.grpc, &folder.join("images")]);
    let sent = prelim_json(submit.into_iter().chain(shown(&ours.pem, &ours.client("sender"))));
    assert_eq!(sent["studies"][0]["state"], "drafted", "{sent}");
}

/// Issue promise: what is open to everybody is said, where everybody can reach it.
#[test]
fn serving_openly_to_others_is_warned_of() {
    let work = tempfile::tempdir().unwrap();
    for (address, warned) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let folder = work.path().join(address.replace(':', "-"));
        let server = Server::start(&folder, &["coordinator", "--json", "--grpc", address, "--data", "data"], &[]);
        // Who is served comes after the warnings.
        let served = studies(&server.grpc, &[]);
        assert!(served.status.success(), "{}", words(&served));
        let log = server.log();
        assert_eq!(log.contains("whoever reaches this address can read and send studies"), warned, "{log}");
        assert_eq!(log.contains("not encrypted"), warned, "{log}");
    }
}
