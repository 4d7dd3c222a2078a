//! Questions about a study: asked on the command line and on the page, answered by a worker, and kept apart from the report.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use prelim_tests::browser::{Browser, account};
use prelim_tests::planted::Mark;
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, asked_model, binary, draft, eventually, phantoms, prelim, prelim_json, submit, words};
use reqwest::Method;
use serde_json::{Value, json};

/// What the demonstration model is asked in these checks.
fn questions() -> Value {
    json!({
        "prompt_version": "check-1", "question": "{images}{question}", "describe": "{images}Describe this image.",
        "shorten": "Shorten: {text}", "images_per_prompt": 1, "max_new_tokens": 40,
    })
}

/// Studies that are drafted: their UIDs.
fn drafted(grpc: &str, folder: &Path, count: u32, modality: &str) -> Vec<String> {
    let drawn = folder.join(format!("phantoms-{modality}"));
    phantoms(&drawn, count, 53, Some(modality));
    let sent = submit(grpc, &drawn);
    let studies = sent["study_uids"].as_array().unwrap_or_else(|| panic!("{sent}")).iter();
    studies.map(|uid| uid.as_str().expect("a UID").to_owned()).collect()
}

/// What is listed of a study.
fn listed(grpc: &str, study: &str) -> Value {
    let all = prelim_json(["studies", "--json", "--grpc", grpc]);
    all.as_array().expect("a list").iter().find(|each| each["study_uid"] == study).cloned().unwrap_or_default()
}

fn ask(grpc: &str, study: &str, more: &[&str]) -> Value {
    prelim_json(["ask", study, "--json", "--grpc", grpc].iter().chain(more).copied())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Promise: answers say which images were looked at and by which model, the same question gives the same answer, and nothing of
/// the study changes.
#[test]
fn an_answer_stands_apart_from_the_study() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("accounts.toml");
    for name in ["jane", "john"] {
        account(&file, name, &[]);
    }
    let model = asked_model(&folder.path().join("model"), Some(&questions()));
    let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data"];
    arguments.extend(["--model", &model, "--accounts", "accounts.toml", "--audit", "audit.jsonl"]);
    let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
    let study = drafted(&server.grpc, folder.path(), 1, "dx").remove(0);
    let before = (draft(&server.grpc, &study, "json"), listed(&server.grpc, &study));

    let first = ask(&server.grpc, &study, &["Is there a pneumothorax?"]);
    assert!(first["state"] == "answered" && !text(&first["answer"]).trim().is_empty(), "{first:#}");
    assert!(!text(&first["answer"]).contains("<end_of_turn>"), "{first:#}");
    assert_eq!((&first["prompt_version"], &first["demonstration"]), (&json!("check-1"), &json!(true)));
    assert!(text(&first["statement"]).contains("not a medical device") && text(&first["statement"]).contains("DEMO"));
    assert_eq!(first["images"].as_array().map(Vec::len), Some(1), "{first:#}");
    let again = ask(&server.grpc, &study, &["Is there a pneumothorax?"]);
    assert_eq!((&again["answer"], &again["images"]), (&first["answer"], &first["images"]));
    assert_ne!(again["id"], first["id"]);
    // One image alone; a description takes no words.
    let image = text(&first["images"][0]["instance"]).to_owned();
    let described = ask(&server.grpc, &study, &["--kind", "describe", "--image", &image]);
    assert_eq!((text(&described["images"][0]["instance"]), &described["images"][0]["frame"]), (&*image, &json!(1)));
    // A text alone: no image is looked at.
    let shortened = ask(&server.grpc, &study, &["--kind", "shorten", "Small left effusion. No pneumothorax."]);
    assert_eq!(shortened["images"], json!([]), "{shortened:#}");
    // Whether it is shorter is said: this model was not made to shorten.
    let length = |text: &str| text.split_whitespace().map(|word| word.chars().count() + 1).sum::<usize>();
    for source in [
        "A.",
        "Small left effusion. No pneumothorax. The heart is not enlarged, and there is no nodule on either side, either.",
    ] {
        let shortened = ask(&server.grpc, &study, &["--kind", "shorten", source]);
        assert_eq!(
            shortened["no_shorter"],
            json!(length(text(&shortened["answer"])) >= length(source)),
            "{shortened:#}"
        );
    }
    let told = prelim(["ask", &study, "--kind", "shorten", "A.", "--grpc", &server.grpc]);
    assert!(words(&told).contains("The answer is no shorter than the text"), "{}", words(&told));
    // For people.
    let told = prelim(["ask", &study, "Is the heart large?", "--grpc", &server.grpc]);
    let said = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.status.success() && said.contains("Looked at: image") && said.contains("not a medical device"),
        "{said}"
    );
    // What cannot be asked is refused with words, and so is what this model was not made for.
    for (more, why) in [
        (vec!["?"], "it has no words"),
        (vec!["Why?", "--image", "1.2.3"], "no instance of the study"),
        (vec!["Why?", "--image", &*image, "--frame", "9"], "it has 1 frame"),
        (vec!["--kind", "explain", "Effusion."], "not made to explain texts to patients"),
    ] {
        let refused = prelim(["ask", &*study, "--grpc", &*server.grpc].iter().chain(&more).copied());
        assert!(!refused.status.success() && words(&refused).contains(why), "{more:?}: {}", words(&refused));
    }
    let nothing = prelim(["ask", "1.2.3", "Why?", "--grpc", &server.grpc]);
    assert!(!nothing.status.success() && words(&nothing).contains("1.2.3"), "{}", words(&nothing));

    the_page_asks(&server, &study, &image);
    let after = (draft(&server.grpc, &study, "json"), listed(&server.grpc, &study));
    assert_eq!(before, after, "the report and the study are as they were");
    // On record is who asked about which study, and no word of it.
    let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("an audit");
    let asked = audit.lines().filter(|line| line.contains("\"AskQuestion\"") || line.contains("\"page ask\""));
    assert!(asked.clone().count() >= 6 && asked.clone().all(|line| line.contains(&study)), "{audit}");
    assert!(audit.contains("\"answer\"") && !audit.contains("pneumothorax"), "{audit}");
}

/// The same by the calls of the page.
fn the_page_asks(server: &Server, study: &str, image: &str) {
    let (mut jane, mut john) = (Browser::signed_in(server, "jane"), Browser::signed_in(server, "john"));
    let path = format!("/api/studies/{study}/questions");
    let request = jane.client.get(format!("{}/api/events", jane.base));
    let request = request.header("cookie", jane.cookie());
    let mut events = jane.runtime.block_on(async { request.send().await.expect("an answer") });

    let empty = jane.get(&path).json();
    let report = json!({"version": 1, "signed_version": 0, "standing": "unsigned_draft"});
    let kinds = json!(["question", "describe", "shorten"]);
    let nothing = json!({"questions": [], "answers": true, "kinds": kinds, "reason": null, "report": report});
    assert_eq!(empty, nothing, "the command line is somebody else");
    let part =
        json!({"instance": image, "frame": 1, "box": {"top": 0.125, "left": 0.25, "bottom": 0.625, "right": 0.75}});
    let question = json!({"kind": "question", "text": "What is this?", "image": part, "request_id": "r-1"});
    let asked = jane.post(&path, &question);
    assert_eq!(asked.status, 202, "{asked:?}");
    let id = text(&asked.json()["id"]).to_owned();
    assert_eq!(text(&jane.post(&path, &question).json()["id"]), id, "asked once");
    let other = jane.post(&path, &json!({"kind": "describe", "request_id": "r-1"}));
    assert_eq!(other.fault(), (400, "invalid".into()));
    let mut heard = String::new();
    let told = jane.runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            while !(heard.contains("event: question\n") && heard.contains("\"state\":\"answered\"")) {
                let piece = events.chunk().await.expect("a piece").expect("more");
                heard.push_str(&String::from_utf8_lossy(&piece));
            }
        })
        .await
    });
    assert!(told.is_ok() && heard.contains(&id), "{heard}");
    let held = jane.get(&path).json();
    let answered = &held["questions"][0];
    assert_eq!((text(&answered["state"]), text(&answered["text"])), ("answered", "What is this?"), "{held:#}");
    assert!(!text(&answered["answer"]).is_empty() && answered["problem"].is_null(), "{held:#}");
    assert_eq!(answered["image"], part);
    let looked = json!([
        {"instance": image, "series": answered["images"][0]["series"], "frame": 1, "box": part["box"]},
    ]);
    assert_eq!(answered["images"], looked, "a model that takes one image is shown the part that is asked about");
    // Nobody sees another's, nor drops it.
    assert_eq!(john.get(&path).json()["questions"], json!([]));
    let one = format!("{path}/{id}");
    assert_eq!(john.send(Method::DELETE, &one, None, &[]).status, 204);
    assert_eq!(jane.get(&path).json()["questions"].as_array().map(Vec::len), Some(1));
    assert_eq!(jane.send(Method::DELETE, &one, None, &[]).status, 204);
    assert_eq!(jane.get(&path).json()["questions"], json!([]));
    for (body, field) in [
        (json!({"kind": "question", "text": " ", "request_id": "r-2"}), "text"),
        (json!({"kind": "question", "text": "a".repeat(2_001), "request_id": "r-2"}), "text"),
        (json!({"kind": "shorten", "text": "a", "image": part, "request_id": "r-2"}), "image"),
        (json!({"kind": "question", "text": "a", "request_id": ""}), "request_id"),
        (json!({"kind": "guess", "text": "a", "request_id": "r-2"}), "body"),
    ] {
        let refused = jane.post(&path, &body);
        assert_eq!((refused.status.as_u16(), text(&refused.json()["field"])), (400, field), "{body}");
    }
}

/// Promise: a signed report says which of its words a model's answer had, who inserted them and when, also where the question is
/// forgotten by then, and what is exported for training has them not.
#[test]
fn a_signed_report_says_which_of_its_words_are_a_models() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("accounts.toml");
    account(&file, "jane", &["--role", "review"]);
    account(&file, "john", &["--role", "review"]);
    account(&file, "rita", &[]);
    let mut words = questions();
    words["max_new_tokens"] = json!(400);
    let model = asked_model(&folder.path().join("model"), Some(&words));
    let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data"];
    arguments.extend(["--model", &model, "--accounts", "accounts.toml"]);
    let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
    let study = drafted(&server.grpc, folder.path(), 1, "dx").remove(0);
    let (mut jane, mut john) = (Browser::signed_in(&server, "jane"), Browser::signed_in(&server, "john"));
    let mut rita = Browser::signed_in(&server, "rita");
    let path = |what: &str| format!("/api/studies/{study}/{what}");
    let question = json!({"kind": "question", "text": "Is there an effusion?", "request_id": "r-1"});
    let asked = |browser: &mut Browser| -> Value {
        let id = text(&browser.post(&path("questions"), &question).json()["id"]).to_owned();
        let mut found = Value::Null;
        eventually(
            PATIENCE,
            || server.log(),
            || {
                found = browser.get(&path("questions")).json()["questions"][0].clone();
                found["state"] == "answered"
            },
        );
        assert_eq!(text(&found["id"]), id);
        found
    };
    let answered = asked(&mut jane);
    assert_eq!(answered["truncated"], json!(false), "{answered:#}");
    let lines: Vec<&str> = text(&answered["answer"]).lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let study_now = jane.study(&study);
    let drafted = study_now.pointer("/report/report/impression").and_then(Value::as_array).expect("sentences").clone();
    let mut impression: Vec<&str> = drafted.iter().map(|sentence| text(&sentence["text"])).collect();
    let own = impression.len();
    impression.extend(&lines);
    let count = study_now.pointer("/report/report/findings").and_then(Value::as_array).expect("findings").len();
    let decisions = vec![json!({"decision": "accept"}); count];
    // What the model says may be anything: here it counts whose it is.
    let edit = json!({"version": 1, "decisions": decisions, "impression": impression, "request_id": "s-1",
                      "contradictions_seen": true});
    let inserted = |report: &Value| report.pointer("/report/inserted").cloned().unwrap_or(json!([]));

    // Before it is said that they are inserted, they are known where many stand in a row, as typed or pasted; whoever may not sign
    // inserts nothing.
    let by_hand = inserted(&jane.post(&path("preview"), &edit).json()["report"]);
    let is_long =
        |line: &&&str| line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).count() >= 5;
    assert_eq!(by_hand.as_array().map(Vec::len), Some(lines.iter().filter(is_long).count()), "{by_hand:#} {lines:?}");
    assert!(by_hand.as_array().expect("a list").iter().all(|each| each["by_hand"] == true), "{by_hand:#}");
    let taken = path(&format!("questions/{}/taken", text(&answered["id"])));
    assert_eq!(john.send(Method::PUT, &taken, None, &[]).fault(), (404, "not_found".into()), "it is jane's");
    let others = asked(&mut rita);
    let of_rita = path(&format!("questions/{}/taken", text(&others["id"])));
    assert_eq!(rita.send(Method::PUT, &of_rita, None, &[]).fault(), (403, "forbidden".into()));
    assert_eq!(jane.send(Method::PUT, &taken, None, &[]).status, 204);
    let forgotten = path(&format!("questions/{}", text(&answered["id"])));
    assert_eq!(jane.send(Method::DELETE, &forgotten, None, &[]).status, 204);
    let shown = inserted(&jane.post(&path("preview"), &edit).json()["report"]);
    assert_eq!(shown.as_array().map(Vec::len), Some(lines.len()), "{shown:#} {lines:?}");
    // John's are known as typed: Rita holds the same answer.
    let johns = inserted(&john.post(&path("preview"), &edit).json()["report"]);
    assert_eq!(johns.as_array().map(Vec::len), Some(lines.iter().filter(is_long).count()), "{johns:#} {lines:?}");
    assert!(johns.as_array().expect("a list").iter().all(|each| each["by_hand"] == true), "{johns:#}");

    let signed = jane.post(&path("sign"), &edit);
    assert_eq!(signed.status, 200, "{signed:?}");
    let document: Value = serde_json::from_slice(&draft(&server.grpc, &study, "json")).expect("JSON");
    let first = &inserted(&document)[0];
    assert_eq!(
        (&first["sentence"], &first["asked"], &first["changed"]),
        (&json!(own), &json!("question"), &json!(false))
    );
    assert_eq!((text(&first["by"]), &first["model"]), ("Doe^jane", &answered["model"]));
    assert_eq!((&first["answered_at_ms"], &first["demonstration"]), (&answered["answered_at_ms"], &json!(true)));
    for format in ["html", "text", "fhir", "hl7"] {
        let report = String::from_utf8_lossy(&draft(&server.grpc, &study, format)).into_owned();
        let report = report.replace("&#39;", "'").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(report.contains("has words of a model's answer to a question"), "{format}: {report}");
    }
    let exported = jane.get("/api/agreement/export");
    let line: Value = serde_json::from_slice(&exported.bytes).expect("one line");
    assert_eq!(line["impression"].as_array().map(Vec::len), Some(own), "{line:#}");
    assert_eq!(line["sentences_of_models_left_out"], json!(lines.len()), "{line:#}");

    // Who amends it takes them over as what they are.
    let mut amended = edit.clone();
    (amended["version"], amended["request_id"], amended["reason"]) = (json!(2), json!("s-2"), json!("a second look"));
    amended["impression"].as_array_mut().expect("sentences").insert(0, json!("Compared with an outside film."));
    assert_eq!(john.post(&path("sign"), &amended).status, 200);
    let document: Value = serde_json::from_slice(&draft(&server.grpc, &study, "json")).expect("JSON");
    assert_eq!(document["status"], "amended");
    let first = &inserted(&document)[0];
    assert_eq!((&first["sentence"], text(&first["by"])), (&json!(own + 1), "Doe^jane"), "{document:#}");
}

/// Promise: what is recorded of a review says of each sentence whether the model wrote it, whether it has words of an answer, also
/// where they were typed or pasted by hand and the question is forgotten, or whether a person wrote it.
#[test]
fn the_record_of_a_review_says_where_all_words_are_from() {
    let folder = tempfile::tempdir().expect("a folder");
    account(&folder.path().join("accounts.toml"), "jane", &["--role", "review"]);
    let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data"];
    arguments.extend(["--accounts", "accounts.toml"]);
    let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
    let studies = drafted(&server.grpc, folder.path(), 6, "dx");
    let mut jane = Browser::signed_in(&server, "jane");
    let of = |study: &Value, what: &str| -> Vec<String> {
        let said = study.pointer(&format!("/report/report/{what}")).and_then(Value::as_array).expect("a list").iter();
        said.map(|each| each["text"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let found = studies.iter().map(|study| (study, jane.study(study))).find(|(_, now)| of(now, "findings").len() >= 2);
    let (study, now) = found.expect("a draft with two findings");
    let (count, sentences, impression) =
        (of(&now, "findings").len(), of(&now, "findings_text"), of(&now, "impression"));
    let path = |what: &str| format!("/api/studies/{study}/{what}");
    let mut answered = |question: Value| -> (String, String) {
        let id = text(&jane.post(&path("questions"), &question).json()["id"]).to_owned();
        let mut said = String::new();
        let all = |jane: &mut Browser| jane.get(&path("questions")).json()["questions"].as_array().cloned();
        eventually(
            PATIENCE,
            || server.log(),
            || {
                let one = all(&mut jane).into_iter().flatten().find(|each| each["id"] == id.as_str());
                said = one.and_then(|one| one["answer"].as_str().map(str::to_owned)).unwrap_or_default();
                !said.is_empty()
            },
        );
        (id, said)
    };
    let (described, long) = answered(json!({"kind": "describe", "request_id": "r-1"}));
    let (told, short) = answered(json!({"kind": "question", "text": "Is there a fracture?", "request_id": "r-2"}));
    let words = |text: &str| text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).count();
    assert!(words(&long) >= 5 && !long.contains('\n'), "{long}");

    // The long one is written into a finding's sentence, kept, and then forgotten; that the other was pasted the page has seen.
    let mut decisions = vec![json!({"decision": "accept"}); count];
    decisions[0]["words"] = json!(format!("{long} Seen by me."));
    let own = "Compared with an outside film.";
    let lines: Vec<String> = impression.iter().cloned().chain([own.to_owned(), short.clone()]).collect();
    let copy = json!({"version": 1, "decisions": decisions, "impression": lines});
    let saved = jane.send(Method::PUT, &path("working-copy"), Some(&copy), &[("If-None-Match", "*")]);
    assert_eq!(saved.status, 200, "{saved:?}");
    assert_eq!(jane.send(Method::PUT, &path(&format!("questions/{told}/pasted")), None, &[]).status, 204);
    for id in [&described, &told] {
        assert_eq!(jane.send(Method::DELETE, &path(&format!("questions/{id}")), None, &[]).status, 204);
    }
    let edit = json!({"version": 1, "decisions": decisions, "impression": lines, "request_id": "s-1",
                      "contradictions_seen": true});
    let signed = jane.post(&path("sign"), &edit);
    assert_eq!(signed.status, 200, "{signed:?}");

    let document: Value = serde_json::from_slice(&draft(&server.grpc, study, "json")).expect("JSON");
    let from: Vec<(String, u64, String, String)> = document["review"]["words"]
        .as_array()
        .expect("words")
        .iter()
        .map(|each| {
            (
                text(&each["passage"]).to_owned(),
                each["sentence"].as_u64().expect("a place"),
                text(&each["origin"]).to_owned(),
                each["by"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let place = document["report"]["findings_text"]
        .as_array()
        .expect("sentences")
        .iter()
        .position(|each| text(&each["text"]).contains(&long))
        .expect("the sentence") as u64;
    let mut wanted = Vec::new();
    for sentence in 0..sentences.len() as u64 {
        let (origin, by) = if sentence == place { ("answer", "Doe^jane") } else { ("draft", "") };
        wanted.push(("findings".to_owned(), sentence, origin.to_owned(), by.to_owned()));
    }
    let drafted = impression.len() as u64;
    wanted.extend((0..drafted).map(|sentence| ("impression".to_owned(), sentence, "draft".to_owned(), String::new())));
    wanted.push(("impression".to_owned(), drafted, "person".to_owned(), "Doe^jane".to_owned()));
    wanted.push(("impression".to_owned(), drafted + 1, "answer".to_owned(), "Doe^jane".to_owned()));
    assert_eq!(from, wanted, "{document:#}");
    let inserted = document["report"]["inserted"].as_array().expect("a list");
    let places: Vec<_> = inserted
        .iter()
        .map(|each| (each["passage"].as_str(), each["sentence"].as_u64(), each["by_hand"].as_bool()))
        .collect();
    assert_eq!(
        places,
        [(Some("findings"), Some(place), Some(true)), (None, Some(drafted + 1), Some(true))],
        "{document:#}"
    );
    // The record that quality is watched by has it, and what models are trained with has no word of an answer.
    let assessment = String::from_utf8_lossy(&draft(&server.grpc, study, "assessment")).into_owned();
    for words in ["Typed or pasted by a person", "Of the draft", "Words of a model's answer, taken by a person", own] {
        assert!(assessment.contains(words), "{words}");
    }
    let exported = jane.get("/api/agreement/export");
    let line: Value = serde_json::from_slice(&exported.bytes).expect("one line");
    assert_eq!(line["sentences_of_models_left_out"], 2, "{line:#}");
    assert!(!line.to_string().contains(&long) && line.to_string().contains(own), "{line:#}");

    // So is an answer that somebody else got, who asked on the command line, and that she typed off.
    let other = studies.iter().find(|other| *other != study).expect("another study");
    let theirs = ask(&server.grpc, other, &["--kind", "describe"]);
    let said = text(&theirs["answer"]);
    let count = of(&jane.study(other), "findings").len();
    let edit = json!({"version": 1, "decisions": vec![json!({"decision": "accept"}); count], "request_id": "s-2",
                      "impression": [format!("{said} So it is."), own], "contradictions_seen": true});
    let signed = jane.post(&format!("/api/studies/{other}/sign"), &edit);
    assert_eq!(signed.status, 200, "{signed:?}");
    let document: Value = serde_json::from_slice(&draft(&server.grpc, other, "json")).expect("JSON");
    let inserted = document["report"]["inserted"].as_array().expect("a list");
    let places: Vec<_> = inserted.iter().map(|each| (each["sentence"].as_u64(), each["by_hand"].as_bool())).collect();
    assert_eq!(places, [(Some(0), Some(true))], "{said}: {document:#}");
    let exported = jane.get("/api/agreement/export").bytes;
    assert!(!String::from_utf8_lossy(&exported).contains("So it is."));
}

/// Promise: a question goes to a worker whose model answers its kind, and to no other; and an answer says of how many images
/// it looked at how many.
#[test]
fn a_question_goes_to_a_worker_that_answers_its_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    // The demonstration model explains nothing, and the one beside it describes nothing.
    let server = Server::start(folder, &["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data"], &[]);
    let explaining = json!({"prompt_version": "explains-1", "question": "{images}{question}",
                            "explain": "Explain: {text}", "images_per_prompt": 1, "max_new_tokens": 8});
    let model = asked_model(&folder.join("model"), Some(&explaining));
    let _explains = worker(folder, "explains", &server.grpc, &model);
    let study = drafted(&server.grpc, folder, 1, "ct").remove(0);
    eventually(
        PATIENCE,
        || server.log(),
        || {
            let workers = prelim_json(["workers", "--json", "--grpc", &server.grpc]);
            workers["workers"].as_array().map(Vec::len) == Some(2)
        },
    );
    for _ in 0..4 {
        let explained = ask(&server.grpc, &study, &["--kind", "explain", "Small left pleural effusion."]);
        assert_eq!((text(&explained["state"]), text(&explained["prompt_version"])), ("answered", "explains-1"));
        let described = ask(&server.grpc, &study, &["--kind", "describe"]);
        assert_eq!(text(&described["state"]), "answered", "{described:#}");
        assert_ne!(text(&described["prompt_version"]), "explains-1");
        let statement = text(&described["statement"]);
        assert!(statement.starts_with("It looked at 1 of ") && statement.contains(" slices"), "{statement}");
    }
    let refused = prelim(["ask", &*study, "--grpc", &*server.grpc, "--kind", "shorten", "A nodule."]);
    assert!(!refused.status.success() && words(&refused).contains("not made to shorten texts"), "{}", words(&refused));
}

/// The findings that a radiograph is asked about, by the words of the truth and of people.
const ASKED: [(&str, &str); 9] = [
    ("pleural_effusion", "a pleural effusion"),
    ("pneumothorax", "a pneumothorax"),
    ("consolidation", "a consolidation"),
    ("nodule", "a nodule"),
    ("mass", "a mass"),
    ("cardiomegaly", "cardiomegaly"),
    ("interstitial_edema", "interstitial edema"),
    ("pacemaker", "a pacemaker"),
    ("endotracheal_tube", "an endotracheal tube"),
];

/// Promise: the model that comes with the product answers, as it is, and what it says of phantoms is true: what is there and on
/// which side, what is not, and what it cannot tell.
#[test]
fn the_demonstration_model_answers_what_is_true_of_phantoms() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data"], &[]);
    let grpc = &server.grpc;
    let drawn = folder.path().join("phantoms");
    phantoms(&drawn, 5, 53, Some("dx"));
    let sent = submit(grpc, &drawn);
    assert_eq!(sent["study_uids"].as_array().map(Vec::len), Some(5), "{sent:#}");
    let (mut right, mut wrong) = ([0; 2], Vec::new());
    let mut sided = None;
    for number in 1..=5 {
        let truth = std::fs::read(drawn.join(format!("dx-{number:05}/truth.json"))).expect("a truth");
        let truth: Value = serde_json::from_slice(&truth).expect("JSON");
        let study = text(&truth["study"]).to_owned();
        for (code, name) in ASKED {
            let question = format!("Is there {name}?");
            let answered = ask(grpc, &study, &[&question]);
            assert!(answered["state"] == "answered" && answered["demonstration"] == true, "{answered:#}");
            assert!(text(&answered["statement"]).contains("DEMO"), "{answered:#}");
            let said = text(&answered["answer"]).to_owned();
            let finding = truth["findings"].as_array().expect("findings").iter().find(|each| each["finding"] == code);
            let side = finding.map(|finding| text(&finding["side"])).unwrap_or_default();
            let name = code.replace('_', " ");
            let is_right = match finding {
                Some(_) => said.starts_with("Yes: ") && said.contains(&name) && said.contains(side),
                None => said == format!("No {name}."),
            };
            match is_right {
                true => right[usize::from(finding.is_some())] += 1,
                false => wrong.push(format!("{question} {said} of {finding:?}")),
            }
            if ["left", "right"].contains(&side) {
                sided = Some((study.clone(), name, side.to_owned()));
            }
        }
    }
    // It is small, and learnt from pictures alone: it may be wrong about one.
    assert!(right[0] >= 30 && right[1] >= 4 && wrong.len() <= 1, "{right:?} {wrong:#?}");
    let (study, name, side) = sided.expect("a finding on one side");
    let other = if side == "left" { "right" } else { "left" };
    // Asked about a side, it says what is there, on which side.
    for asked in [side.as_str(), other] {
        let answered = ask(grpc, &study, &[&format!("Is there a {name} on the {asked}?")]);
        let said = text(&answered["answer"]).to_lowercase();
        assert!(said.contains(&format!("{side} {name}")) && !said.starts_with("no"), "{answered:#}");
    }
    for (question, begins) in [
        (format!("Where is the {name}?"), format!("The {name} is on the {side}")),
        ("How old is the patient?".to_owned(), "I cannot tell from this image.".to_owned()),
    ] {
        let answered = ask(grpc, &study, &[&question]);
        assert!(text(&answered["answer"]).starts_with(&begins), "{question} {answered:#}");
    }
    let described = ask(grpc, &study, &["--kind", "describe"]);
    assert!(text(&described["answer"]).starts_with("Chest radiograph. "), "{described:#}");
    // Of a CT one slice is looked at, and the answer says so.
    let volume = drafted(grpc, folder.path(), 1, "ct").remove(0);
    let described = ask(grpc, &volume, &["--kind", "describe"]);
    assert!(text(&described["answer"]).starts_with("CT slice of the chest. "), "{described:#}");
    // It was not made to work on texts.
    let refused = prelim(["ask", &volume, "--kind", "shorten", "A small effusion.", "--grpc", grpc]);
    assert!(!refused.status.success() && words(&refused).contains("not made to shorten texts"), "{}", words(&refused));
}

/// Promise: where no model answers, that is said at once.
#[test]
fn that_nobody_answers_is_said_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = asked_model(&folder.path().join("model"), None);
    let arguments = ["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data", "--model", &model];
    let server = Server::start(folder.path(), &arguments, &[]);
    let study = drafted(&server.grpc, folder.path(), 1, "dx").remove(0);
    let began = Instant::now();
    let refused = prelim(["ask", &study, "Is there a nodule?", "--grpc", &server.grpc]);
    // Who waits for an answer waits for a minute at least.
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let said = words(&refused);
    assert!(!refused.status.success() && said.contains("no model here answers questions"), "{said}");
    assert!(said.contains("no worker that is up has one that does"), "{said}");
    // Who asks submits nothing: no error speaks of that.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let other = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let broken = prelim(["ask", &study, "Is there a nodule?", "--grpc", &other]);
    let said = words(&broken);
    assert!(!broken.status.success() && !said.contains("acknowledged") && !said.contains("prelim studies"), "{said}");
    assert!(said.contains("something else answers at that address"), "{said}");
}

/// Promise: as many questions as one person may have open can be asked at once, and not one more; that the worker is away is
/// noticed before a minute is over, also by who asked before.
#[test]
fn many_are_asked_at_once_and_an_absent_worker_is_noticed() {
    const MAX_OPEN: usize = 20;
    let work = tempfile::tempdir().expect("a folder");
    let work = work.path();
    account(&work.join("accounts.toml"), "jane", &[]);
    let model = asked_model(&work.join("model"), Some(&questions()));
    let accounts = work.join("accounts.toml").display().to_string();
    let mut arguments = vec!["coordinator", "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    arguments.extend(["--data", "data", "--accounts", &accounts]);
    let server = Server::start(&work.join("one"), &arguments, &[("PRELIM_LOG", "info")]);
    let reading = worker(work, "reading", &server.grpc, &model);
    let study = drafted(&server.grpc, work, 1, "dx").remove(0);
    let mut jane = Browser::signed_in(&server, "jane");
    reading.signal("STOP");

    let path = format!("/api/studies/{study}/questions");
    let (url, cookie) = (format!("{}{path}", jane.base), jane.cookie());
    let send = |number: usize| {
        let body =
            json!({"kind": "question", "text": format!("Number {number}?"), "request_id": format!("q-{number}")});
        let request = jane.client.post(&url).header("cookie", &cookie).header("origin", &jane.base);
        let request = request.header("x-prelim-csrf", &jane.csrf).header("content-type", "application/json");
        request.body(body.to_string()).send()
    };
    let answers = jane.runtime.block_on(async { futures::future::join_all((0..MAX_OPEN + 4).map(send)).await });
    let statuses: Vec<u16> = answers.into_iter().map(|answer| answer.expect("an answer").status().as_u16()).collect();
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(202), count(429)), (MAX_OPEN, 4), "{statuses:?} {}", server.log());
    // Each that was taken has a job, and none is left of the others.
    let listed = jane.get(&path).json();
    assert_eq!(listed["questions"].as_array().map(Vec::len), Some(MAX_OPEN), "{listed:#}");
    let queue = prelim_json(["workers", "--json", "--grpc", &server.grpc]);
    let of = |state: &str| queue["queue"][state]["answer"].as_u64().unwrap_or_default();
    assert_eq!(of("ready") + of("leased"), MAX_OPEN as u64, "{queue:#}");

    // A worker that was silent for half a minute is not counted on.
    let silent_ms = || {
        let told = prelim_json(["workers", "--json", "--grpc", &server.grpc]);
        told["workers"][0]["silent_ms"].as_u64().unwrap_or_else(|| panic!("{told:#}"))
    };
    loop {
        let silent_ms = silent_ms();
        let told = jane.get(&format!("/api/studies/{study}/answering")).json();
        if told["answers"] == json!(false) {
            assert!(text(&told["reason"]).contains("no model here answers questions"), "{told}");
            break;
        }
        assert!(silent_ms < 30_000, "silent for {silent_ms} ms, and counted on: {told}");
        std::thread::sleep(Duration::from_millis(500));
    }
    reading.signal("CONT");
}

/// A coordinator on a Redis.
fn coordinator(work: &Path, name: &str, redis: &Redis) -> Server {
    let (redis, bytes) = (redis.url(), format!("file://{}", work.join("bytes").display()));
    let mut arguments = vec!["coordinator", "--json", "--grpc", "127.0.0.1:0", "--data", "data"];
    arguments.extend(["--redis", &redis, "--bytes", &bytes, "--lease-ttl-ms", "10000", "--removal-grace-s", "1"]);
    Server::start(&work.join(name), &arguments, &[("PRELIM_LOG", "trace")])
}

fn worker(work: &Path, name: &str, grpc: &str, model: &str) -> Server {
    let arguments = ["worker", "--json", "--grpc", grpc, "--worker-id", name, "--model", model];
    Server::start(&work.join(name), &arguments, &[("PRELIM_LOG", "trace")])
}

/// Promise: a question whose worker dies is answered by another, by way of another coordinator; what was asked is in no log, no
/// key and no job, and is gone with the study.
#[test]
fn a_question_outlives_its_worker_and_its_words_stay_where_they_belong() {
    let work = tempfile::tempdir().expect("a folder");
    let work = work.path();
    let redis = Redis::start(&work.join("redis"));
    let model = asked_model(&work.join("model"), Some(&questions()));
    let (one, two) = (coordinator(work, "one", &redis), coordinator(work, "two", &redis));
    let mut first = worker(work, "first", &one.grpc, &model);
    let study = drafted(&two.grpc, work, 1, "dx").remove(0);
    let before = draft(&one.grpc, &study, "json");

    // The worker stands still, is given the question, and dies.
    first.signal("STOP");
    let name = Mark::letters(12);
    let question = format!("Is this the fracture of Mr {}?", name.text);
    let asking = Command::new(binary())
        .args(["ask", &study, &question, "--json", "--grpc", &two.grpc])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("prelim starts");
    let workers = || prelim_json(["workers", "--json", "--grpc", &one.grpc]);
    let leased = |workers: &Value| workers["queue"]["leased"]["answer"].as_u64().unwrap_or_default();
    eventually(PATIENCE, || format!("{:#}", workers()), || leased(&workers()) == 1);
    // It is not answered, and its words are where they belong.
    let is_kept = |entry: &[u8]| name.find(entry).is_some();
    let places = |redis: &Redis| -> Vec<String> {
        let held = |key: &Vec<u8>| match redis.ask(&[b"TYPE", key]).remove(0).as_slice() {
            b"hash" => redis.ask(&[b"HGETALL", key]),
            b"zset" => redis.ask(&[b"ZRANGE", key, b"0", b"-1"]),
            b"set" => redis.ask(&[b"SMEMBERS", key]),
            b"string" => redis.ask(&[b"GET", key]),
            b"none" => Vec::new(),
            other => panic!("{} is a {}", String::from_utf8_lossy(key), String::from_utf8_lossy(other)),
        };
        let keys = redis.ask(&[b"KEYS", b"*"]);
        let holding = keys.iter().filter(|key| is_kept(key) || held(key).iter().any(|value| is_kept(value)));
        holding.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    };
    assert_eq!(places(&redis), ["{prelim}:notes"], "the note alone holds it");
    first.kill();
    let _second = worker(work, "second", &one.grpc, &model);
    let output = asking.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{} {}", words(&output), two.log());
    let answered: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(answered["state"] == "answered" && !text(&answered["answer"]).is_empty(), "{answered:#}");
    assert_eq!(draft(&two.grpc, &study, "json"), before);
    assert_eq!(prelim_json(["dead", "--json", "--grpc", &one.grpc]), json!([]));

    for folder in ["one", "two", "first", "second"] {
        for file in ["stdout", "stderr"] {
            let said = std::fs::read(work.join(folder).join(file)).expect("a file");
            assert_eq!(name.find(&said), None, "{folder} {file}");
        }
    }
    assert!(!places(&redis).is_empty(), "it is kept for who asked");
    let removed = prelim(["remove", &study, "--grpc", &one.grpc]);
    assert!(removed.status.success(), "{}", words(&removed));
    eventually(PATIENCE, || format!("{:?}", places(&redis)), || places(&redis).is_empty());
}
