use prelim_proto::question::QuestionKind;

use super::*;

fn parse(text: &str) -> Result<ReadingProfile, ProfileError> {
    ReadingProfile::parse(text, Path::new("prelim.json"))
}

fn tiny(kind: &str) -> String {
    format!(r#"{{ "schema": 1, "prompt_version": "t-1", "kinds": {{ "xray": {kind} }} }}"#)
}

#[test]
fn a_folder_without_a_profile_is_read_with_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let profile = ReadingProfile::load(folder.path()).unwrap();
    assert_eq!(profile.prompt_version, "medgemma-2");
    assert!(!profile.demonstration);
    assert_eq!(profile.kind(ImageKind::Ct).unwrap().windows_hu.unwrap()[2], [0.0, 80.0]);
    assert!(profile.covers(Some("HEAD")));
}

#[test]
fn a_profile_names_every_problem_at_once() {
    let text = tiny(
        r#"{ "prompt": " ", "images_per_prompt": 0, "max_new_tokens": 10, "findings": ["mass", "mass"],
            "box": { "scale": 100, "step": 10, "maximum": 990 }, "calibration": [[0.5, 0.4], [0.5, 0.6]] }"#,
    );
    let ProfileError::Invalid { problems, .. } = parse(&text).unwrap_err() else { panic!("another error") };
    assert_eq!(
        problems,
        [
            "xray: prompt is empty",
            "xray: images_per_prompt is not 1 to 64",
            "xray: findings repeats a code",
            "xray: box maximum is above its scale",
            "xray: calibration does not rise",
        ]
    );
}

#[test]
fn a_finding_outside_the_vocabulary_is_refused() {
    let text = tiny(r#"{ "prompt": "?", "images_per_prompt": 1, "max_new_tokens": 9, "findings": ["covid"] }"#);
    assert!(parse(&text).unwrap_err().to_string().contains("unknown variant `covid`"));
}

#[test]
fn calibration_is_piecewise_linear_and_flat_outside() {
    let text = tiny(
        r#"{ "prompt": "?", "images_per_prompt": 1, "max_new_tokens": 9, "findings": ["mass"],
            "calibration": [[0.2, 0.1], [0.6, 0.5], [1.0, 0.9]] }"#,
    );
    let profile = parse(&text).unwrap();
    let kind = profile.kind(ImageKind::Xray).unwrap();
    for (probability, confidence) in [(0.0, 0.1), (0.2, 0.1), (0.4, 0.3), (0.6, 0.5), (0.8, 0.7), (1.0, 0.9)] {
        assert!((kind.calibrate(probability) - confidence).abs() < 1e-6, "{probability}");
    }
}

#[test]
fn the_schema_asks_for_an_image_number_only_where_there_are_several() {
    let profile = parse(BUILT_IN).unwrap();
    let kind = profile.kind(ImageKind::Xray).unwrap();
    let item = |images| kind.answer_schema(images)["properties"]["findings"]["items"].clone();
    assert_eq!(item(1)["required"], serde_json::json!(["finding"]));
    assert_eq!(item(3)["properties"]["image"]["maximum"], 3);
    let keys: Vec<_> = item(2)["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["finding", "image", "side", "zone", "severity", "box"]);
}

#[test]
fn the_demonstration_model_brings_its_own_profile() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/checkpoint");
    let profile = ReadingProfile::load(&folder).unwrap();
    assert!(profile.demonstration);
    assert!(profile.covers(Some("CHEST")) && !profile.covers(Some("HEAD")));
    assert_eq!(profile.kind(ImageKind::Ct).unwrap().images_per_prompt, 1);
}

#[test]
fn names_and_placeholders_are_checked() {
    let kind = r#"{ "prompt": "{images}Read {\"findings\": [{\"finding\":…}]} {what} of {ö} {}.", "image_caption": "{nr}: {label}",
        "images_per_prompt": 1, "max_new_tokens": 10, "findings": ["mass"] }"#;
    let ProfileError::Invalid { problems, .. } =
        parse(&tiny(kind).replacen('{', r#"{ "name": "a\u0007b", "#, 1)).unwrap_err()
    else {
        panic!("another error")
    };
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].contains("none that --model-name takes"), "{problems:?}");
    assert_eq!(problems[1], "xray: prompt has unknown {what}: {images} and {count} are filled in");
    assert_eq!(problems[2], "xray: image_caption has unknown {nr}: {number} and {label} are filled in");
}

#[test]
fn what_a_model_is_asked_by_people_is_optional_and_checked() {
    let kind = r#"{ "prompt": "Read.", "images_per_prompt": 1, "max_new_tokens": 10, "findings": ["mass"] }"#;
    assert_eq!(parse(&tiny(kind)).unwrap().questions, None);
    let with = |questions: &str| parse(&tiny(kind).replacen('{', &format!(r#"{{ "questions": {questions}, "#), 1));
    let text =
        r#"{ "prompt_version": "1", "question": "{images}{question}", "images_per_prompt": 1, "max_new_tokens": 9 }"#;
    let questions = with(text).unwrap().questions.unwrap();
    assert_eq!(questions.template(QuestionKind::Question), Some("{images}{question}"));
    assert_eq!(questions.template(QuestionKind::Explain), None);
    let text = r#"{ "prompt_version": "", "question": "{images}{images}", "shorten": "Shorten", "describe": " ",
        "images_per_prompt": 0, "max_new_tokens": 9, "adapter": "a\u0007" }"#;
    let ProfileError::Invalid { problems, .. } = with(text).unwrap_err() else { panic!("another error") };
    assert_eq!(
        problems,
        [
            "questions: question does not have {question} once",
            "questions: shorten does not have {text} once",
            "questions: question has {images} more than once",
            "questions: prompt_version is empty",
            "questions: describe is empty",
            "questions: images_per_prompt is not 1 to 16",
            "questions: adapter is no name that --adapter takes: 1 to 100 bytes, without control characters",
        ]
    );
    let built_in = ReadingProfile::parse(BUILT_IN, Path::new("(built in)")).unwrap().questions.unwrap();
    for kind in [QuestionKind::Question, QuestionKind::Describe, QuestionKind::Shorten, QuestionKind::Explain] {
        assert!(built_in.template(kind).is_some(), "{kind:?}");
    }
}
