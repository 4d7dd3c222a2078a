//! The calls of the reading room, by a browser's rules: who may sign in and for how long, what is shown to whom, and that nobody's
//! work is lost.

use std::thread::sleep;
use std::time::{Duration, Instant};

use prelim_tests::browser::{Browser, PASSWORD, account};
use prelim_tests::issuer::OidcIssuer;
use prelim_tests::ports::free_port;
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, eventually, phantoms, prelim, prelim_json, words};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A coordinator with a worker and accounts: `jane` and `john` review, `rita` reads, `erik` reviews for another tenant.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("accounts.toml");
        for name in ["jane", "john"] {
            account(&file, name, &["--role", "review"]);
        }
        account(&file, "rita", &[]);
        account(&file, "erik", &["--role", "review", "--tenant", "er"]);
        let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data"];
        arguments.extend(["--accounts", "accounts.toml", "--audit", "audit.jsonl", "--organization", "St. Mary"]);
        arguments.extend(more);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, folder }
    }

    /// Studies that are drafted: their UIDs.
    fn drafted(&self, count: u32, modality: Option<&str>) -> Vec<String> {
        let films = self.folder.path().join("phantoms");
        phantoms(&films, count, 41, modality);
        let films = films.display().to_string();
        let sent = prelim_json(["submit", "--wait", "--json", "--grpc", &self.server.grpc, &films]);
        let studies = sent["studies"].as_array().expect("studies").iter();
        studies.map(|study| study["study_uid"].as_str().expect("a UID").to_owned()).collect()
    }

    fn audit(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("audit.jsonl")).expect("an audit")
    }
}

/// Decisions that accept every finding of a study.
fn accepting(study: &Value) -> Value {
    let findings = study.pointer("/report/report/findings").and_then(Value::as_array).expect("findings");
    findings.iter().map(|_| json!({"decision": "accept"})).collect()
}

/// Issue promise: sign-in with a local file, sessions that expire, CSRF and content-security policy, audit of it all.
#[test]
fn people_sign_in_and_what_is_not_theirs_is_refused() {
    let site = Site::start(&[]);
    let mut stranger = Browser::at(&site.server);
    let page = stranger.get("/worklist");
    assert!(page.status.is_success() && page.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(stranger.get("/api/session").fault(), (401, "unauthenticated".into()));
    assert_eq!(stranger.get("/api/session").json()["sign_in"], json!(["password"]));
    for path in [
        "/api/studies",
        "/api/events",
        "/api/vocabulary",
        "/api/agreement",
        "/api/studies/1.2",
        "/api/agreement/export",
    ] {
        assert_eq!(stranger.get(path).fault().0, 401, "{path}");
    }
    // From this machine DICOMweb takes those who show nothing, by a name of this machine, and for no page from elsewhere.
    assert!(stranger.get("/dicom-web/studies").status.is_success());
    for (header, status) in [(("host", "evil.example"), 421), (("origin", "https://evil.example"), 403)] {
        let answer = stranger.send(Method::GET, "/dicom-web/studies", None, &[header]);
        assert_eq!(answer.status.as_u16(), status, "{header:?}");
    }
    // A wrong password and a wrong name are told alike.
    let (wrong, nobody) = (stranger.sign_in("jane", "wrong"), stranger.sign_in("nobody", "wrong"));
    assert_eq!((wrong.status, &wrong.bytes), (nobody.status, &nobody.bytes));
    assert!(stranger.cookies.is_empty());
    // A page of another place cannot sign anybody in, nor can a form.
    let body = json!({"name": "jane", "password": PASSWORD});
    for change in [("origin", "https://evil.example"), ("origin", ""), ("origin", "null")] {
        let answer = stranger.send(Method::POST, "/api/session", Some(&body), &[change]);
        assert_eq!(answer.fault(), (403, "forbidden".into()), "{change:?}");
    }
    let form = stranger.send(Method::POST, "/api/session", Some(&body), &[("content-type", "text/plain")]);
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let mut jane = Browser::at(&site.server);
    // A session that somebody else chose is not gone on with.
    jane.cookies.insert("prelim_session".into(), "0".repeat(64));
    let answer = jane.sign_in("jane", PASSWORD);
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Path=/"), "{cookie}");
    assert!(jane.cookies["prelim_session"].len() == 64 && jane.cookies["prelim_session"] != "0".repeat(64));
    let told = jane.get("/api/session").json();
    assert_eq!(
        told["account"],
        json!({"id": "jane", "name": "Doe^jane", "roles": ["read", "review"], "organization": "St. Mary"})
    );
    // What changes something shows the token, and comes from here.
    for change in [("x-prelim-csrf", ""), ("x-prelim-csrf", "0"), ("origin", "https://evil.example"), ("origin", "")] {
        let answer = jane.send(Method::DELETE, "/api/session", None, &[change]);
        assert_eq!(answer.fault(), (403, "forbidden".into()), "{change:?}");
    }
    // Another's token does not do.
    let mut john = Browser::signed_in(&site.server, "john");
    let other = john.csrf.clone();
    assert_eq!(jane.send(Method::DELETE, "/api/session", None, &[("x-prelim-csrf", &other)]).fault().0, 403);
    // Signing in again ends the session before.
    let before = john.cookies["prelim_session"].clone();
    assert!(john.sign_in("john", PASSWORD).status.is_success());
    let mut old = Browser::at(&site.server);
    old.cookies.insert("prelim_session".into(), before);
    assert_eq!(old.get("/api/session").fault().0, 401);
    // DICOMweb takes the cookie for a look, and for nothing else.
    assert!(jane.get("/dicom-web/studies").status.is_success());

    let cookies = jane.cookies.clone();
    let out = jane.send(Method::DELETE, "/api/session", None, &[]);
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.header("clear-site-data").contains("cache") && jane.cookies.is_empty());
    jane.cookies = cookies;
    assert_eq!(jane.get("/api/session").fault().0, 401, "the cookie is worth nothing any more");

    let audit = site.audit();
    let count = |words: &[&str]| audit.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    assert_eq!(count(&["\"Login\"", "\"outcome\":0"]), 3, "{audit}");
    assert_eq!(count(&["\"Login\"", "\"outcome\":4", "\"caller\":\"jane\""]), 1);
    assert_eq!(count(&["\"Logout\"", "\"caller\":\"jane\""]), 1);
    for secret in [PASSWORD, "nobody", &old.cookies["prelim_session"], &other] {
        assert!(!audit.contains(secret) && !site.server.log().contains(secret), "{secret}");
    }
}

/// Issue promise: guesses are slowed, and nobody is kept out by a stranger for long.
#[test]
fn guesses_are_slowed() {
    let site = Site::start(&[]);
    let mut guesser = Browser::at(&site.server);
    // Five guesses are free, and after the sixth the next has to wait for a second, also where it is right. A machine that stands
    // still for that second looks at one more, after which the wait is two, and so on, or lets in who has the password.
    let slowed = ["jane", "rita", "erik"].into_iter().find(|name| {
        let looked_at = (0..12).take_while(|n| guesser.sign_in(name, &format!("guess {n}")).status == 401).count();
        assert!((6..12).contains(&looked_at), "{looked_at} guesses were looked at");
        let right = guesser.sign_in(name, PASSWORD);
        let wait: usize = right.header("retry-after").parse().unwrap_or_default();
        assert!(right.status == 200 || (1..=1 << (looked_at - 6)).contains(&wait), "{looked_at} guesses: {right:?}");
        right.status == 429
    });
    let slowed = slowed.expect("one of them");
    assert!(guesser.sign_in("john", PASSWORD).status.is_success(), "another name");
    eventually(PATIENCE, || slowed.to_owned(), || guesser.sign_in(slowed, PASSWORD).status.is_success());
}

/// Issue promise: many who sign in at once have their turn, all of them; none is turned away because others came too.
#[test]
fn many_sign_in_at_once() {
    let site = Site::start(&[]);
    let sign_in = || Browser::at(&site.server).sign_in("jane", PASSWORD).status;
    let answers: Vec<StatusCode> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..24).map(|_| scope.spawn(sign_in)).collect();
        all.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    assert!(answers.iter().all(|status| *status == StatusCode::OK), "{answers:?}");
}

/// Issue promise: sessions end without use and after their whole time, survive a restart, and follow the file of accounts.
#[test]
fn sessions_end_and_follow_the_accounts() {
    let mut site = Site::start(&["--session-idle-s", "12", "--session-s", "30"]);
    let (mut jane, mut rita) = (Browser::signed_in(&site.server, "jane"), Browser::signed_in(&site.server, "rita"));
    let began = Instant::now();
    site.server.terminate();
    site.server.start_again();
    jane.base = site.server.http.trim_end_matches("/dicom-web").to_owned();
    rita.base.clone_from(&jane.base);
    assert!(jane.get("/api/studies").status.is_success(), "the session outlives the coordinator");
    // What a page asks by itself does not keep a session.
    while began.elapsed() < Duration::from_secs(14) {
        let _ = rita.get("/api/session");
        assert!(jane.get("/api/studies").status.is_success(), "it is used");
        sleep(Duration::from_millis(500));
    }
    assert_eq!(rita.get("/api/session").fault().0, 401);
    while began.elapsed() < Duration::from_secs(31) {
        let _ = jane.get("/api/studies");
        sleep(Duration::from_millis(500));
    }
    assert_eq!(jane.get("/api/studies").fault().0, 401, "whatever is done in it");

    let file = site.folder.path().join("accounts.toml");
    let (mut jane, mut john) = (Browser::signed_in(&site.server, "jane"), Browser::signed_in(&site.server, "john"));
    let removed = prelim(["account", "remove", "jane", "--accounts", &file.display().to_string()]);
    assert!(removed.status.success(), "{}", words(&removed));
    account(&file, "tom", &[]);
    sleep(Duration::from_millis(1_200));
    assert_eq!(jane.get("/api/session").fault().0, 401, "her account is gone");
    assert!(john.get("/api/session").status.is_success());
    assert!(Browser::at(&site.server).sign_in("tom", PASSWORD).status.is_success());
}

/// Issue promise: tenants are kept apart, `read` sees and `review` signs, every view is in the audit.
#[test]
fn studies_are_shown_to_those_who_may_see_them() {
    let site = Site::start(&[]);
    let studies = site.drafted(3, None);
    let mut rita = Browser::signed_in(&site.server, "rita");
    let listed = rita.get("/api/studies").json();
    assert_eq!(listed["counts"], json!({"drafted": 3}));
    let row = &listed["studies"][0];
    assert_eq!((&row["standing"], &row["demonstration"]), (&json!("unsigned_draft"), &json!(true)));
    assert!(row["confidence"].is_number() && row["urgency"].is_string(), "{row}");
    assert_eq!(rita.get("/api/session").json()["demonstration"], json!(true));
    for (query, found) in [("modality=CT", 1), ("state=signed", 0), ("text=phantom", 3), ("limit=1", 1)] {
        let listed = rita.get(&format!("/api/studies?{query}")).json();
        assert_eq!(listed["studies"].as_array().expect("a list").len(), found, "{query}");
    }
    assert_eq!(rita.get("/api/studies?colour=red").fault(), (400, "invalid".into()));

    for study in &studies {
        let seen = rita.study(study);
        assert_eq!(seen["report"]["status"], json!("unsigned_draft"));
        let images = seen["series"][0]["instances"].as_array().expect("instances").clone();
        let instance = images[0]["uid"].as_str().expect("a UID");
        let pixels = rita.get(&format!("/api/studies/{study}/pixels/{instance}/1"));
        let told: Value = serde_json::from_str(pixels.header("x-prelim-frame")).expect("JSON");
        let size = ["rows", "columns", "samples"].map(|side| told[side].as_u64().expect("a number"));
        let length = size.iter().product::<u64>() * told["bits"].as_u64().expect("bits") / 8;
        let (values, shades) = pixels.bytes.split_at(length as usize);
        assert_eq!(told["shades"], json!(shades.len()), "{told}");
        assert!(pixels.header("cache-control").contains("private"));
        // The same values as DICOMweb has, which is checked against other decoders.
        let series = seen["series"][0]["uid"].as_str().expect("a UID");
        let frame = format!("/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/1");
        let accept = [("accept", "application/octet-stream")];
        assert!(rita.send(Method::GET, &frame, None, &accept).bytes == values, "{told}");
        assert_eq!(rita.get(&format!("/api/studies/{study}/pixels/{instance}/2")).fault().0, 404);
        assert_eq!(rita.get(&format!("/api/studies/{study}/pixels/1.2.3/1")).fault().0, 404);
    }
    let study = &studies[0];
    let decisions = accepting(&rita.study(study));
    let edit = json!({"version": 1, "decisions": decisions, "request_id": "a"});
    for (what, body) in
        [("sign", &edit), ("preview", &edit), ("reject", &json!({"version": 1, "request_id": "b", "reason": "x"}))]
    {
        assert_eq!(
            rita.post(&format!("/api/studies/{study}/{what}"), body).fault(),
            (403, "forbidden".into()),
            "{what}"
        );
    }
    assert_eq!(rita.get("/api/agreement/export").fault().0, 403);

    // For another tenant there is nothing, whatever is asked.
    let mut erik = Browser::signed_in(&site.server, "erik");
    let listed = erik.get("/api/studies").json();
    assert_eq!(
        (&listed["studies"], &listed["counts"], &listed["choices"]["modalities"]),
        (&json!([]), &json!({}), &json!([]))
    );
    let (theirs, none) = (erik.get(&format!("/api/studies/{study}")), erik.get("/api/studies/1.2.3"));
    assert_eq!((theirs.status.as_u16(), none.status.as_u16()), (404, 404));
    for (method, what) in [
        (Method::GET, "reports/1"),
        (Method::GET, "pixels/1.2/1"),
        (Method::GET, "working-copy"),
        (Method::PUT, "reading"),
    ] {
        let answer = erik.send(method, &format!("/api/studies/{study}/{what}"), None, &[]);
        assert_eq!(answer.fault(), (404, "not_found".into()), "{what}");
    }
    assert_eq!(erik.post(&format!("/api/studies/{study}/sign"), &edit).fault().0, 404);
    assert_eq!(erik.get(&format!("/dicom-web/studies/{study}/metadata")).status.as_u16(), 404);

    let audit = site.audit();
    let is_noted = |words: &[&str]| audit.lines().any(|line| words.iter().all(|word| line.contains(word)));
    for study in &studies {
        assert!(is_noted(&["DICOM Instances Accessed", "\"rita\"", "page study", study]), "{audit}");
    }
    assert!(is_noted(&["Use of Restricted Function", "\"erik\"", study]), "{audit}");
    assert!(is_noted(&["Use of Restricted Function", "\"rita\"", "page sign"]), "{audit}");
}

/// Issue promise: two readers at once never lose an edit; a signed report is immutable; of two who sign one is told that it came
/// late.
#[test]
fn two_readers_lose_nothing() {
    let site = Site::start(&[]);
    let study = site.drafted(1, Some("dx")).remove(0);
    let (mut jane, mut john) = (Browser::signed_in(&site.server, "jane"), Browser::signed_in(&site.server, "john"));
    let path = |what: &str| format!("/api/studies/{study}/{what}");
    // Each sees that the other reads.
    assert_eq!(jane.send(Method::PUT, &path("reading"), None, &[]).status, StatusCode::NO_CONTENT);
    assert_eq!(john.study(&study)["readers"][0]["id"], json!("jane"));
    assert_eq!(jane.send(Method::DELETE, &path("reading"), None, &[]).status, StatusCode::NO_CONTENT);
    assert_eq!(john.study(&study)["readers"], json!([]));

    // Two pages of one person.
    let copy = |words: &str| json!({"version": 1, "decisions": [], "impression": [words], "other": 1});
    let put = |browser: &mut Browser, words: &str, header: (&str, &str)| {
        browser.send(Method::PUT, &path("working-copy"), Some(&copy(words)), &[header])
    };
    assert_eq!(jane.get(&path("working-copy")).fault().0, 404);
    let first = put(&mut jane, "one", ("if-none-match", "*"));
    let tag = first.header("etag").to_owned();
    assert!(first.status.is_success() && tag.starts_with('"'), "{first:?}");
    assert!(put(&mut jane, "two", ("if-match", &tag)).status.is_success());
    let late = put(&mut jane, "three", ("if-match", &tag));
    assert_eq!(late.fault(), (412, "conflict".into()));
    assert_eq!(late.json()["newest"]["impression"], json!(["two"]), "what is newer is told");
    assert_eq!(put(&mut jane, "four", ("if-none-match", "*")).fault().0, 412);
    assert_eq!(put(&mut jane, "five", ("if-match", "")).fault(), (400, "invalid".into()));
    assert_eq!(john.get(&path("working-copy")).fault().0, 404, "it is hers");
    let copy = &jane.study(&study)["working_copy"];
    assert_eq!((&copy["impression"], &copy["other"]), (&json!(["two"]), &Value::Null));
    let long = json!({"version": 1, "reason": "x".repeat(300_000)});
    let answer = jane.send(Method::PUT, &path("working-copy"), Some(&long), &[("if-match", "*")]);
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    // Somebody else who has a name of before does not have the work.
    let file = site.folder.path().join("accounts.toml");
    let mut kim = Browser::at(&site.server);
    let sign_in_anew = |kim: &mut Browser| {
        account(&file, "kim", &["--role", "review"]);
        // By then the file is read again.
        sleep(Duration::from_millis(1_500));
        assert!(kim.sign_in("kim", PASSWORD).status.is_success(), "{}", site.server.log());
    };
    sign_in_anew(&mut kim);
    assert!(put(&mut kim, "kim", ("if-none-match", "*")).status.is_success());
    account(&file, "kim", &["--tenant", "*"]);
    sign_in_anew(&mut kim);
    assert_eq!(kim.study(&study)["working_copy"]["impression"], json!(["kim"]), "changed, and the same person");
    let removed = prelim(["account", "remove", "kim", "--accounts", &file.display().to_string()]);
    assert!(removed.status.success(), "{}", words(&removed));
    sign_in_anew(&mut kim);
    assert_eq!(kim.study(&study)["working_copy"], Value::Null);
    let audit = site.audit();
    let lines = audit.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_kim = lines.filter(|line| line["caller"] == "kim").map(|line| line["account"].to_string());
    assert_eq!(of_kim.collect::<std::collections::BTreeSet<_>>().len(), 2, "{audit}");

    // A preview stores nothing, and says what a second look is worth.
    let seen = jane.study(&study);
    let (decisions, series) = (accepting(&seen), &seen["series"][0]);
    let place = json!({"instance": series["instances"][0]["uid"],
                       "pixels": {"top": 10.0, "left": 20.0, "bottom": 30.0, "right": 60.0}});
    let added = json!([{"finding": {"key": "nodule", "presence": "present", "laterality": "left", "size_mm": 8.0,
                                    "evidence": [place]}, "words": "A nodule on the right."}]);
    let edit = |request: &str| json!({"version": 1, "decisions": decisions, "added": added, "request_id": request});
    let mut flat = edit("");
    flat["added"][0]["finding"]["evidence"][0]["pixels"]["right"] = json!(20.0);
    assert_eq!(jane.post(&path("preview"), &flat).fault(), (400, "invalid".into()), "a box without an area");
    let preview = jane.post(&path("preview"), &edit("")).json();
    let told = preview["contradictions"][0].as_str().unwrap_or_default().to_owned();
    assert!(told.contains("\"A nodule on the right.\" says \"right\"") && told.contains("nodule"), "{preview}");
    assert_eq!(jane.study(&study)["versions"].as_array().expect("versions").len(), 1);
    // It says what it is: nothing that was signed, by nobody.
    let shown = &preview["report"];
    let statement = shown["statement"].as_str().expect("a statement");
    assert_eq!((&shown["status"], &shown["review"]["reviewer"]), (&json!("preview"), &Value::Null), "{shown}");
    assert!(statement.starts_with("PREVIEW") && statement.contains("nobody has signed it"), "{statement}");
    let undecided = jane.post(&path("preview"), &json!({"version": 1, "decisions": [], "added": []}));
    let is_undecided = decisions.as_array().is_some_and(|all| !all.is_empty());
    assert_eq!(undecided.status.is_client_error(), is_undecided, "{undecided:?}");

    // A report that contradicts itself is not signed in silence.
    let refused = john.post(&path("sign"), &edit("john-0"));
    assert_eq!((refused.fault(), &refused.json()["contradictions"]), ((422, "invalid".into()), &json!([told])));
    assert!(site.audit().contains("the report contradicts itself 1 times") && !site.audit().contains("on the right"));
    let edit = |request: &str| {
        let mut edit = edit(request);
        edit["contradictions_seen"] = json!(true);
        edit
    };

    // John signs first. Jane is told which version is the newest, and repeats what was lost on the way.
    let signed = john.post(&path("sign"), &edit("john-1"));
    assert_eq!(signed.json(), json!({"version": 2, "standing": "signed"}));
    assert_eq!(john.post(&path("sign"), &edit("john-1")).json(), json!({"version": 2, "standing": "signed"}));
    // The same id is no answer to another person, nor to other words.
    assert_eq!(jane.post(&path("sign"), &edit("john-1")).fault(), (409, "conflict".into()));
    let mut other = edit("john-1");
    other["impression"] = json!(["Something else."]);
    assert_eq!(john.post(&path("sign"), &other).fault(), (409, "conflict".into()));
    let late = jane.post(&path("sign"), &edit("jane-1"));
    assert_eq!((late.fault(), &late.json()["newest"]), ((409, "conflict".into()), &json!(2)));
    assert!(jane.get(&path("working-copy")).status.is_success(), "her work is not lost");
    let seen = jane.study(&study);
    assert_eq!((&seen["row"]["standing"], &seen["versions"][0]["by"]), (&json!("signed"), &json!("Doe^john")));
    let findings = seen.pointer("/report/report/findings").and_then(Value::as_array).expect("findings");
    let nodule = findings.iter().find(|finding| finding["sentence"] == "A nodule on the right.").expect("the nodule");
    assert_eq!(nodule["evidence"][0]["pixels"]["right"], json!(60.0), "{nodule}");
    // What was signed can be amended, with a reason; her copy is done with then.
    let again = |reason: &str| {
        json!({"version": 2, "decisions": accepting(&seen), "request_id": "jane-2", "reason": reason,
               "impression": ["In other words."], "contradictions_seen": true})
    };
    assert_eq!(jane.post(&path("sign"), &again("")).json()["field"], json!("reason"));
    let mut same = again("second look");
    same["impression"] = json!([]);
    assert_eq!(jane.post(&path("sign"), &same).json()["field"], json!("decisions"), "nothing is changed");
    assert_eq!(jane.post(&path("sign"), &again("second look")).json(), json!({"version": 3, "standing": "amended"}));
    assert_eq!(jane.get(&path("working-copy")).fault().0, 404);
    // Who says a finding is told by what was decided of it, also where a later review accepts it; how sure anybody was says nothing.
    let by = |report: &Value| -> Vec<Value> {
        let findings = report["report"]["findings"].as_array().expect("findings").iter();
        findings.map(|each| json!([each["key"], each["by"]])).collect()
    };
    let said: Vec<Value> = findings
        .iter()
        .map(|each| {
            json!([each["key"], if each["sentence"] == "A nodule on the right." { "radiologist" } else { "model" }])
        })
        .collect();
    let drafted = jane.get(&path("reports/1")).json();
    assert!(by(&drafted).iter().all(|each| each[1] == "model"), "{drafted}");
    for shown in [&seen["report"], &jane.get(&path("reports/2")).json(), &jane.study(&study)["report"]] {
        assert_eq!(by(shown), said);
    }
    assert_eq!(jane.get(&path("reports/2")).json()["review"]["reviewer_id"], json!("john"), "the old version is kept");
    assert_eq!(jane.post(&path("reject"), &json!({"version": 3, "request_id": "r", "reason": "no"})).fault().0, 409);

    // What was decided is counted, and goes out without names, under UIDs that the site's key gives.
    let agreement = jane.get("/api/agreement?by=finding").json();
    assert_eq!(agreement["reports"], json!(1));
    let nodules = agreement["groups"].as_array().expect("groups").iter().find(|group| group["group"] == "nodule");
    assert_eq!(nodules.expect("nodules")["counts"]["added"], json!(1), "{agreement}");
    let export = jane.get("/api/agreement/export");
    let text = String::from_utf8(export.bytes.clone()).expect("text");
    assert_eq!(text.lines().count(), 1);
    assert!(
        !text.contains(&study) && !text.to_lowercase().contains("phantom^") && text.contains("\"nodule\""),
        "{text}"
    );
    let line: Value = serde_json::from_str(&text).expect("JSON");
    // Both tell of what stands now against the draft, whatever the newest review was of.
    let became = line["decisions"].as_array().expect("decisions");
    for decision in ["accepted", "changed", "rejected", "added"] {
        let counted =
            agreement["groups"].as_array().into_iter().flatten().filter_map(|each| each["counts"][decision].as_u64());
        let told = became.iter().filter(|each| each["decision"] == decision).count() as u64;
        assert_eq!(counted.sum::<u64>(), told, "{decision}: {agreement} {line:#}");
    }
    let of_draft = became.iter().filter(|each| !each["before"].is_null());
    let (is_worded, is_placed) = (
        |each: &&Value| each["before"]["words"].is_string(),
        |each: &Value| each["before"].get("laterality").is_some(),
    );
    let all: Vec<&Value> = of_draft.collect();
    assert!(all.iter().all(|each| is_worded(each) && is_placed(each)), "{line:#}");
    let set = site.folder.path().join("set");
    let [films, key] = ["phantoms", "data/export-key"].map(|path| site.folder.path().join(path).display().to_string());
    // What lies beside the images is refused.
    let _ = prelim(["deidentify", "--json", &films, "--out", &set.display().to_string(), "--key", &key]);
    let of_study = set.join(line["study"].as_str().expect("a UID"));
    let place = &line["findings"].as_array().expect("findings").iter().find(|each| each["key"] == "nodule");
    let place = &place.expect("the nodule")["evidence"][0];
    let [series, instance] = ["series", "instance"].map(|of| place[of].as_str().expect("a UID"));
    assert!(of_study.join(series).join(format!("{instance}.dcm")).is_file(), "{line}");
}

/// Issue promise: of two who review at once one is told that it came late, also where the other rejected the draft; who has seen
/// that signs it all the same.
#[test]
fn who_signs_is_told_that_the_draft_was_rejected_meanwhile() {
    let site = Site::start(&[]);
    let study = site.drafted(1, Some("dx")).remove(0);
    let (mut jane, mut john) = (Browser::signed_in(&site.server, "jane"), Browser::signed_in(&site.server, "john"));
    let path = |what: &str| format!("/api/studies/{study}/{what}");
    let seen = john.study(&study);
    let mut edit = json!({"version": 1, "decisions": accepting(&seen), "request_id": "john-1"});
    assert_eq!(john.post(&path("preview"), &edit).status, StatusCode::OK);
    let rejected = jane.post(&path("reject"), &json!({"version": 1, "request_id": "r", "reason": "wrong patient"}));
    assert_eq!(rejected.json(), json!({"version": 2, "standing": "rejected"}));
    for rejection in [0, 1, 3] {
        edit["rejection_seen"] = json!(rejection);
        let late = john.post(&path("sign"), &edit);
        assert_eq!((late.fault(), &late.json()["newest"]), ((409, "conflict".into()), &json!(2)), "{rejection}");
        assert!(late.json()["error"].as_str().is_some_and(|words| words.contains("draft 1 was rejected")), "{late:?}");
    }
    assert_eq!(john.study(&study)["row"]["standing"], json!("rejected"));
    edit["rejection_seen"] = json!(2);
    assert_eq!(john.post(&path("sign"), &edit).json(), json!({"version": 3, "standing": "signed"}));
}

/// Promise: a study that is being removed is told as such until it is gone, on the list and where it is read; nothing of it is
/// signed or exported any more.
#[test]
fn a_study_that_is_being_removed_is_told_as_such() {
    let site = Site::start(&["--removal-grace-s", "600"]);
    let study = site.drafted(1, Some("dx")).remove(0);
    let mut jane = Browser::signed_in(&site.server, "jane");
    let path = |what: &str| format!("/api/studies/{study}/{what}");
    let seen = jane.study(&study);
    let edit = json!({"version": 1, "decisions": accepting(&seen), "request_id": "a"});
    assert_eq!(jane.post(&path("sign"), &edit).status, StatusCode::OK);
    assert!(!jane.get("/api/agreement/export").bytes.is_empty());
    // A signed report is not taken away by the way: who is no terminal says so.
    let left = prelim(["remove", &study, "--grpc", &site.server.grpc]);
    let said = words(&left);
    assert!(!left.status.success() && said.contains("a radiologist has signed its report: --yes"), "{said}");
    assert_eq!(jane.study(&study)["row"]["state"], json!("signed"));
    let removed = prelim(["remove", &study, "--yes", "--grpc", &site.server.grpc]);
    assert!(removed.status.success(), "{}", words(&removed));
    let listed = jane.get("/api/studies").json();
    assert_eq!((&listed["studies"][0]["state"], &listed["counts"]), (&json!("removing"), &json!({"removing": 1})));
    assert_eq!(jane.study(&study)["row"]["state"], json!("removing"));
    let again = json!({"version": 2, "decisions": accepting(&seen), "request_id": "b", "reason": "again"});
    assert!(jane.post(&path("sign"), &again).status.is_client_error());
    assert!(jane.get("/api/agreement/export").bytes.is_empty());
}

/// Issue promise: live updates of the worklist.
#[test]
fn what_changes_is_told_to_pages_that_follow() {
    let site = Site::start(&[]);
    let rita = Browser::signed_in(&site.server, "rita");
    let request = rita.client.get(format!("{}/api/events", rita.base));
    let request = request.header("cookie", rita.cookie());
    let mut stream = rita.runtime.block_on(async { request.send().await.expect("an answer") });
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let study = site.drafted(1, Some("dx")).remove(0);
    let mut heard = String::new();
    let told = rita.runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            while !(heard.contains("\"state\":\"drafted\"") && heard.contains(&study)) {
                let piece = stream.chunk().await.expect("a piece").expect("more");
                heard.push_str(&String::from_utf8_lossy(&piece));
            }
        })
        .await
    });
    assert!(told.is_ok() && heard.contains("event: study\nid: "), "{heard}");
    // Scripts hear of events, and not of comments: so the page knows that the connection stands.
    assert!(heard.starts_with("event: beat\n"), "{heard}");
}

/// Issue promise: coordinators on one Redis know each other's sessions, readers and changes.
#[test]
fn a_sign_out_counts_on_every_coordinator() {
    let work = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(&work.path().join("redis"));
    let accounts = work.path().join("accounts.toml");
    account(&accounts, "jane", &["--role", "review"]);
    let (accounts, bytes) = (accounts.display().to_string(), format!("file://{}", work.path().join("bytes").display()));
    let start = |role: &str, folder: &str| {
        let mut arguments = vec![role, "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data"];
        let url = redis.url();
        arguments.extend(["--redis", &url, "--bytes", &bytes, "--accounts", &accounts, "--session-idle-s", "60"]);
        Server::start(&work.path().join(folder), &arguments, &[])
    };
    let (one, other) = (start("up", "one"), start("coordinator", "other"));
    let mut here = Browser::signed_in(&one, "jane");
    let mut there = Browser::at(&other);
    (there.cookies, there.csrf) = (here.cookies.clone(), here.csrf.clone());
    assert_eq!(there.get("/api/studies").json()["studies"], json!([]));

    let films = work.path().join("films");
    phantoms(&films, 1, 5, Some("dx"));
    let sent = prelim_json(["submit", "--wait", "--json", "--grpc", &one.grpc, &films.display().to_string()]);
    let study = sent["studies"][0]["study_uid"].as_str().expect("a UID").to_owned();
    let within = |there: &mut Browser, what: &str, holds: &dyn Fn(&Value) -> bool| {
        let began = Instant::now();
        loop {
            let listed = there.get("/api/studies").json();
            if holds(&listed["studies"][0]) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {listed}");
            sleep(Duration::from_millis(100));
        }
    };
    within(&mut there, "drafted", &|row| row["state"] == "drafted");
    here.send(Method::PUT, &format!("/api/studies/{study}/reading"), None, &[]);
    within(&mut there, "reading", &|row| row["readers"][0]["id"] == "jane");
    let decisions = accepting(&here.study(&study));
    let signed = here
        .post(&format!("/api/studies/{study}/sign"), &json!({"version": 1, "decisions": decisions, "request_id": "s"}));
    assert!(signed.status.is_success(), "{signed:?}");
    within(&mut there, "signed", &|row| row["standing"] == "signed");

    assert_eq!(here.send(Method::DELETE, "/api/session", None, &[]).status, StatusCode::NO_CONTENT);
    assert_eq!(there.get("/api/session").fault().0, 401);

    // A store that takes nothing more keeps nobody from looking, nor signed in: its use is noted each quarter of a minute here.
    here.sign_in("jane", PASSWORD);
    redis.ask(&[b"CONFIG", b"SET", b"maxmemory", b"1mb"]);
    sleep(Duration::from_secs(16));
    let listed = here.get("/api/studies");
    assert!(listed.status.is_success(), "{listed:?}");
    redis.ask(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    redis.ask(&[b"CONFIG", b"SET", b"min-replicas-to-write", b"1"]);
    let cookies = here.cookies.clone();
    let out = here.send(Method::DELETE, "/api/session", None, &[]);
    assert_eq!((out.status, &out.json()["signed_out"]), (StatusCode::ACCEPTED, &json!("here")), "{out:?}");
    assert!(here.cookies.is_empty(), "the cookie goes all the same");
    here.cookies = cookies;
    assert_eq!(here.get("/api/session").fault().0, 401, "and would let nobody in");
    redis.ask(&[b"CONFIG", b"SET", b"min-replicas-to-write", b"0"]);
    there.cookies = here.cookies.clone();
    eventually(Duration::from_secs(60), || one.log(), || there.get("/api/session").status == 401);
}

/// Issue promise: sign-in with OpenID Connect, by an issuer that is not ours. Who has a name there is not who has it here.
#[test]
fn people_sign_in_at_the_issuer() {
    let work = tempfile::tempdir().expect("a folder");
    let (port, secret) = (free_port(), work.path().join("secret"));
    let back = format!("http://127.0.0.1:{port}/api/oidc/end");
    let issuer = OidcIssuer::start_for_page(&work.path().join("keys.json"), &back);
    std::fs::write(&secret, "page secret: +/%\n").expect("a file");
    let (http, url, secret) = (format!("127.0.0.1:{port}"), issuer.url(), secret.display().to_string());
    let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--http", &http, "--data", "data"];
    arguments.extend(["--oidc-issuer", &url, "--oidc-audience", "prelim", "--oidc-client-id", "page"]);
    arguments.extend(["--oidc-client-secret", &secret, "--audit", "audit.jsonl", "--accounts", "accounts.toml"]);
    account(&work.path().join("accounts.toml"), "richard", &[]);
    let server = Server::start(work.path(), &arguments, &[("PRELIM_LOG", "info")]);
    let mut browser = Browser::at(&server);
    assert_eq!(browser.get("/api/session").json()["sign_in"], json!(["password", "oidc"]));
    // The browser follows to the issuer and back, with the cookies of both.
    let mut answer = browser.get("/api/oidc/begin");
    let mut code = String::new();
    for _ in 0..12 {
        let next = answer.header("location").to_owned();
        assert!(answer.status.is_redirection() && !next.is_empty(), "{answer:?} {}", server.log());
        if next == "/worklist" {
            break;
        }
        assert!(!next.starts_with("/sign-in"), "{}", std::fs::read_to_string(work.path().join("audit.jsonl")).unwrap());
        if next.starts_with(&back) {
            code.clone_from(&next);
            // Somebody else's browser has not the cookie that goes with the code.
            let mut other = Browser::at(&server);
            assert_eq!(other.get(&next).header("location"), "/sign-in?failed=oidc");
            assert!(other.cookies.is_empty());
        }
        let next = if next.starts_with('/') { format!("{}{next}", issuer.url()) } else { next };
        answer = browser.get(&next);
    }
    assert_eq!(answer.header("location"), "/worklist");
    assert!(!browser.cookies.contains_key("prelim_oidc"));
    let told = browser.get("/api/session").json();
    let id = format!("richard@{}", issuer.url());
    assert_eq!((&told["account"]["id"], &told["account"]["name"]), (&json!(id), &json!("Roe^Richard")));
    assert_eq!((&told["account"]["roles"], &told["way"]), (&json!(["read", "review"]), &json!("oidc")));
    // A code is good once, and with its own state.
    assert_eq!(browser.get(&code).header("location"), "/sign-in?failed=oidc");
    let audit = std::fs::read_to_string(work.path().join("audit.jsonl")).expect("an audit");
    assert!(audit.contains(&format!("\"caller\":\"{id}\"")) && !audit.contains("\"richard\""), "{audit}");
    assert!(audit.contains("nobody went from here to the issuer"), "{audit}");
    // An account of the same name is somebody else.
    let mut here = Browser::at(&server);
    let told = here.sign_in("richard", PASSWORD).json();
    assert_eq!((&told["account"]["id"], &told["way"]), (&json!("richard"), &json!("password")));
}
