//! The reading room page in a real browser: Chromium on a coordinator with a worker, and Orthanc behind them. What is done in the
//! browser is in `tests/page/*.mjs`.

mod ask;
mod built;
mod priors;
mod site;

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use prelim_tests::eventually;
use prelim_tests::object::{DX, Object};
use prelim_tests::pacs::Orthanc;
use prelim_tests::phantoms;
use prelim_tests::ports::free_port;
use serde_json::{Value, json};
use site::{Site, rewrite};

/// A delivery that met a busy PACS is tried again after a while.
const PATIENCE: Duration = Duration::from_secs(300);

/// Promise: from a submitted study to a signed report in the PACS, by keyboard alone.
#[test]
fn a_study_is_read_and_signed_by_keyboard_and_the_report_is_in_the_pacs() {
    let orthanc = Orthanc::start(free_port());
    let destination = format!(
        "[[destination]]\nname = \"pacs\"\naddress = \"{}\"\nwhen = \"signed\"\nobjects = [\"sr\", \"assessment\"]\n",
        orthanc.address()
    );
    let site = Site::start(&destination, "");
    let (study, document) = site.film_with_findings(2);
    let words = "Perhaps some fluid at the base.";
    let patient = &document["study"]["patient"]["id"];
    let (name, password) = site.looker();
    let looker = json!({"name": name, "password": password});
    site.browse("sign", &json!({"study": study, "patient": patient, "words": words, "looker": looker}));

    let signed = site.document(&study);
    assert_eq!((&signed["status"], &signed["report"]["version"]), (&json!("signed"), &json!(2)));
    assert_eq!(signed["review"]["reviewer"], "Doe^Jane");
    let decided = signed["review"]["assessments"].as_array().expect("assessments");
    let decisions: Vec<&str> = decided.iter().map(|each| each["decision"].as_str().expect("a word")).collect();
    let drafted = document["report"]["findings"].as_array().expect("findings").len();
    assert_eq!(decisions.len(), drafted + 1, "{decided:#?}");
    let count = |word: &str| decisions.iter().filter(|each| **each == word).count();
    let counts = [count("accepted"), count("changed"), count("rejected"), count("added")];
    assert_eq!(counts, [1, 1, drafted - 2, 1], "{decisions:?}");
    let sentences = signed["report"]["findings_text"].as_array().expect("sentences");
    assert!(sentences.iter().any(|each| each["text"] == words), "{sentences:#?}");
    // The box that arrows moved is in the report, on the image that was shown.
    let added =
        signed["report"]["findings"].as_array().expect("findings").iter().find(|each| each["key"] == "fracture");
    let place = added.expect("the finding that was added")["evidence"][0].clone();
    let edge = |name: &str| (place["box"][name].as_f64().expect("an edge") * 100.0).round();
    assert_eq!([edge("left"), edge("top"), edge("right"), edge("bottom")], [41.0, 41.0, 62.0, 61.0], "{place}");

    eventually(PATIENCE, || format!("two reports in Orthanc\n{}", site.log()), || orthanc.instances("SR").len() == 2);
    for id in orthanc.get("/instances").as_array().expect("a list") {
        let tags = orthanc.get(&format!("/instances/{}/simplified-tags", id.as_str().expect("an id")));
        assert_eq!((&tags["VerificationFlag"], &tags["CompletionFlag"]), (&json!("VERIFIED"), &json!("COMPLETE")));
        assert_eq!(tags["VerifyingObserverSequence"][0]["VerifyingObserverName"], "Doe^Jane");
    }
}

/// Promise: no view has a serious barrier in either theme, a draft on paper says what it is, and what a header says stays words.
#[test]
fn every_view_is_open_to_all_and_hostile_headers_are_inert() {
    let site = Site::start("", "");
    let (film, _) = site.film_with_findings(2);
    let volume = site.volume();
    let mut hostile = Object::image(DX, "2.25.7701", "2.25.7701.1.1", 1);
    hostile.text((0x10, 0x10), "PN", "<script>window.planted=1</script>^<img src=x onerror=told(1)>");
    hostile.text((0x10, 0x20), "LO", "\"><script>told('id')</script>");
    hostile.text((0x8, 0x1030), "LO", "<b onmouseover=told(2)>chest</b>");
    hostile.text((0x8, 0x80), "LO", "</style><script>told('site')</script>");
    site.submit_files(&[hostile.file()]);
    site.browse("views", &json!({"studies": [film, volume], "hostile": true, "shots": site.shots()}));
}

/// Promise: on a tablet the list is whole, and fingers open, turn, zoom and window what a mouse does.
#[test]
fn a_tablet_is_read_by_fingers() {
    let site = Site::start("", "");
    let (film, document) = site.film_with_findings(2);
    let volume = site.volume();
    let patient = &document["study"]["patient"]["id"];
    site.browse("tablet", &json!({"volume": volume, "patient": patient, "shots": site.shots()}));
    assert_eq!(site.document(&film)["status"], "signed");
}

/// Promise: images are shown on the processor's path and on WebGL's, with the window, slice and box that are asked for.
#[test]
fn films_and_volumes_are_shown_on_both_paths_of_the_viewer() {
    let site = Site::start("", "");
    let (film, _) = site.film_with_findings(2);
    let volume = site.volume();
    // Films as devices write them whose values fall, and whose shades are a curve.
    let falling =
        [("RescaleSlope", "-1"), ("RescaleIntercept", "4095"), ("WindowCenter", "2048"), ("WindowWidth", "3000")];
    let curved = [("VOILUTFunction", "SIGMOID"), ("WindowCenter", "1500"), ("WindowWidth", "900")];
    let shaded = [(31, &falling[..]), (32, &curved[..])].map(|(seed, header)| {
        let films = site.folder().join(format!("shaded-{seed}"));
        phantoms(&films, 1, 100 + seed, Some("dx"));
        rewrite(&films, header.iter().copied());
        site.submitted(&films)
    });
    site.browse("images", &json!({"film": film, "volume": volume, "shaded": shaded}));
}

/// Promise: two readers at once never lose an edit, and a session that ends takes nothing that was typed.
#[test]
fn two_readers_of_a_study_lose_nothing() {
    let site = Site::start("", "");
    let (study, document) = site.film_with_findings(2);
    let patient = &document["study"]["patient"];
    let (name, password) = site.other();
    site.browse("two", &json!({"study": study, "patient": patient, "other": {"name": name, "password": password}}));
    assert_eq!(site.document(&study)["status"], "amended");
}

/// Promise: odd addresses, sizes with units, half a form and edits that meet another's signature lose nothing, and put no decision on
/// a finding that it was not made of; nor does a coordinator that is silent or refuses take what was typed, or look alive.
#[test]
fn a_newcomer_loses_nothing() {
    let site = Site::start("", "");
    let next = site.film(&site.folder().join("next"), 60);
    site.browse("silent", &json!({"study": next}));
    let (study, _) = site.film_with_findings(3);
    let (name, password) = site.other();
    site.browse("newcomer", &json!({"study": study, "other": {"name": name, "password": password}}));
    assert_eq!(site.document(&study)["status"], "amended");
}

/// Promise: what is not decided is not signed, a decision goes to no finding that it was not made on, and all can be undone.
#[test]
fn what_was_decided_stays_with_what_it_was_decided_on() {
    let site = Site::start("", "");
    let (study, document) = site.film_with_findings(2);
    let later = site.film(&site.folder().join("after"), 60);
    let after = site.document(&later)["study"]["patient"]["id"].clone();
    let named = document["report"]["findings"].as_array().expect("findings").iter();
    let findings: Vec<Value> = named.map(|finding| finding["name"].clone()).collect();
    let patient = &document["study"]["patient"];
    let (name, password) = site.other();
    let other = json!({"name": name, "password": password});
    let told = json!({"study": study, "patient": patient["id"], "findings": findings, "after": after, "other": other});
    let mut browser = site.browser("decided", &told);
    let mut lines = BufReader::new(browser.stdout.take().expect("stdout")).lines();
    let told = lines.next().and_then(Result::ok);
    if told.as_deref() != Some("send one more") {
        site.ended_well("decided", browser);
        panic!("it said {told:?}");
    }
    site.film_of(&document["study"], 61);
    browser.stdin.take().expect("stdin").write_all(b"sent\n").expect("it listens");
    site.ended_well("decided", browser);
}

/// Promise: who may only look reads a study, and nothing of it puts an alert on record.
#[test]
fn who_only_looks_is_refused_nothing() {
    let site = Site::start("", "");
    let (study, _) = site.film_with_findings(1);
    let (name, password) = site.looker();
    let looker = json!({"name": name, "password": password});
    site.browse("looker", &json!({"study": study, "looker": looker, "shots": site.shots()}));
    let audit = site.audit();
    assert!(audit.contains("\"rita\"") && !audit.contains("Use of Restricted Function"), "{audit}");
}

/// Promise: that a study is being removed is said where it is read, and on the list.
#[test]
fn a_study_that_is_being_removed_is_told_as_such() {
    let site = Site::start("", "");
    let (study, _) = site.film_with_findings(1);
    let mut browser = site.browser("removed", &json!({"study": study, "shots": site.shots()}));
    let mut lines = BufReader::new(browser.stdout.take().expect("stdout")).lines();
    let told = lines.next().and_then(Result::ok);
    if told.as_deref() != Some("remove it") {
        site.ended_well("removed", browser);
        panic!("it said {told:?}");
    }
    site.remove(&study);
    browser.stdin.take().expect("stdin").write_all(b"removed\n").expect("it listens");
    site.ended_well("removed", browser);
}

/// Promise: people of the site's identity provider sign in there, and come back that way when their session has ended.
#[test]
fn people_of_the_issuer_come_back_the_way_they_came() {
    let site = Site::start("", "");
    let (study, _) = site.film_with_findings(1);
    let site = site.at_issuer();
    site.browse("oidc", &json!({"study": study, "issuer": site.issuer(), "shots": site.shots()}));
}

/// Promise: edits can be given up, a rejected draft says that it was rejected and nothing of the patient, and can be reviewed after
/// all.
#[test]
fn a_draft_is_rejected_and_reviewed_after_all() {
    let site = Site::start("", "");
    let (study, document) = site.film_with_findings(2);
    let texts = |field: &str| -> Vec<Value> {
        let said = document["report"][field].as_array().expect("sentences").iter();
        said.map(|sentence| sentence["text"].clone()).collect()
    };
    let (sentences, impression) = (texts("findings_text"), texts("impression"));
    site.browse("reject", &json!({"study": study, "sentences": sentences, "impression": impression}));
    assert_eq!(site.document(&study)["status"], "signed");
}

/// Promise: a thousand studies scroll, the chosen one stays under the eye while others come, what names them is not
/// cut, and what was asked for at once stands first and says so.
#[test]
fn a_thousand_studies_scroll_and_the_chosen_one_stays() {
    const COUNT: u32 = 1_000;
    const LONG: u32 = 700;
    const IN_JAPANESE: u32 = 500;
    let site = Site::start("", "[default]\nskip = \"for the list alone\"\n");
    let film = |number: u32| {
        let mut object = Object::image(DX, &format!("2.25.88{number:05}"), &format!("2.25.88{number:05}.1.1"), 1);
        object.text((0x10, 0x10), "PN", &format!("Name{number:04}^Given"));
        object.text((0x10, 0x20), "LO", &format!("ID-{number:04}"));
        if number == IN_JAPANESE {
            object.text((0x8, 0x5), "CS", "ISO_IR 192");
            object.text((0x10, 0x10), "PN", "=山田^花子=やまだ^はなこ");
        }
        if number == LONG {
            object.text((0x10, 0x10), "PN", "Oberhausen-Niederwald^Maximiliane Theodora^Maria^Dr.^MD");
            object.text((0x8, 0x1030), "LO", "Chest posteroanterior and lateral, after drainage");
            object.text((0x8, 0x80), "LO", "St. Mary's Hospital North");
            object.text((0x10, 0x30), "DA", "19700102");
            object.text((0x8, 0x20), "DA", "20210101");
        }
        object.file()
    };
    let films: Vec<Vec<u8>> = (1..=COUNT).filter(|number| *number != LONG).map(film).collect();
    site.submit_files(&films);
    site.submit_files_as(&[film(LONG)], &["--priority", "stat"]);
    let [long, japanese] = [LONG, IN_JAPANESE].map(|number| format!("ID-{number:04}"));
    let told = json!({"count": COUNT, "long": long, "japanese": japanese, "shots": site.shots()});
    let mut browser = site.browser("list", &told);
    let mut lines = BufReader::new(browser.stdout.take().expect("stdout")).lines();
    let told = lines.next().and_then(Result::ok);
    if told.as_deref() != Some("send one more") {
        site.ended_well("list", browser);
        panic!("it said {told:?}");
    }
    site.submit_files(&[film(COUNT + 1)]);
    browser.stdin.take().expect("stdin").write_all(b"sent\n").expect("it listens");
    site.ended_well("list", browser);
}
