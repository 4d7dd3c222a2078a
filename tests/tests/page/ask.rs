//! Asking about the open study: what a model says stands apart from the report.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::site::Site;

fn texts(document: &Value, field: &str) -> Vec<String> {
    let said = document["report"][field].as_array().expect("sentences").iter();
    said.map(|sentence| sentence["text"].as_str().expect("words").to_owned()).collect()
}

/// Promise: questions are answered with the images that were looked at, apart from the report; what is in it the reader put there.
#[test]
fn a_study_is_asked_about_and_only_what_the_reader_takes_is_in_the_report() {
    // The model itself, which was not made to answer: what it says is odd, and the page does not look into it.
    let site = Site::start_asked(&json!({
        "prompt_version": "check-1", "question": "{images}{question}", "describe": "{images}Describe this image.",
        "shorten": "Shorten: {text}", "explain": "Explain: {text}", "images_per_prompt": 1, "max_new_tokens": 400,
    }));
    let (film, document) = site.film_with_findings(2);
    let volume = site.volume();
    let mut browser = site.browser("ask", &json!({"film": film, "volume": volume, "shots": site.shots()}));
    let mut told = String::new();
    browser.stdout.take().expect("stdout").read_to_string(&mut told).expect("text");
    site.ended_well("ask", browser);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));

    let signed = site.version(&film, 2);
    assert_eq!(signed["status"], "signed");
    assert_eq!(texts(&signed, "impression"), [told["impression"].as_str().expect("words")]);
    assert_eq!(texts(&signed, "findings_text"), texts(&document, "findings_text"));
    let findings = |document: &Value| document["report"]["findings"].as_array().expect("findings").len();
    assert_eq!(findings(&signed), findings(&document));
    // Asking changes no report: that of the volume is the draft that it was.
    assert_eq!(site.document(&volume)["report"]["version"], 1);
}

/// Promise: the model that comes with the product answers on the page, which offers nothing that it was not made for; and no word is
/// so long that it pushes anything past the edge.
#[test]
fn the_demonstration_model_answers_on_the_page() {
    let site = Site::start("", "");
    for seed in 0..20 {
        let drawn = site.folder().join(format!("sided-{seed}"));
        let study = site.film(&drawn, seed);
        let truth = std::fs::read(drawn.join("dx-00001/truth.json")).expect("a truth");
        let truth: Value = serde_json::from_slice(&truth).expect("JSON");
        let mut findings = truth["findings"].as_array().expect("findings").iter();
        let Some(finding) = findings.find(|each| each["finding"] == "pneumothorax") else { continue };
        let (name, side) = ("pneumothorax", finding["side"].clone());
        site.browse("answers", &json!({"film": study, "finding": name, "side": side, "shots": site.shots()}));
        return;
    }
    panic!("no phantom with a pneumothorax")
}

/// Promise: where no model answers questions, the page says so.
#[test]
fn where_nobody_answers_the_page_says_why() {
    let site = Site::start_without_worker();
    let study = site.waiting_film();
    site.browse("nobody", &json!({"study": study}));
}

/// Promise: the panel says that nobody answers any more while it is open, and that somebody does again.
#[test]
fn that_a_worker_goes_and_comes_is_said_while_the_panel_is_open() {
    let site = Site::start_asked(&json!({
        "prompt_version": "check-1", "question": "{images}{question}", "images_per_prompt": 1, "max_new_tokens": 40,
    }));
    let (study, _) = site.film_with_findings(1);
    site.browse("absent", &json!({"study": study}));
}
