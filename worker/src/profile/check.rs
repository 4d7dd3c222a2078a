//! What a profile must hold to be used.

use prelim_proto::demand::ModelName;

use super::{KindProfile, Kinds, PROFILE_SCHEMA, ReadingProfile};

/// Most images in one prompt, tokens in one answer and findings in one answer that a profile may ask for: past them
/// a file is more likely wrong than ambitious.
const MAX_IMAGES: usize = 64;
const MAX_NEW_TOKENS: usize = 8192;
const MAX_FINDINGS: usize = 100;

/// Every problem of `profile`, in words.
pub(super) fn problems(profile: &ReadingProfile) -> Vec<String> {
    let mut found = Vec::new();
    if profile.schema != PROFILE_SCHEMA {
        found.push(format!("schema is {}, this version reads {PROFILE_SCHEMA}", profile.schema));
    }
    if let Some(name) = profile.name.as_ref().filter(|name| ModelName::parse(name).is_err()) {
        found
            .push(format!("name {name:?} is none that --model-name takes: 1 to 100 bytes, without control characters"));
    }
    if profile.prompt_version.is_empty() {
        found.push("prompt_version is empty".to_owned());
    }
    found.extend(problems_of(&profile.kinds));
    found.extend(profile.questions.iter().flat_map(super::QuestionProfile::problems));
    found
}

/// Every problem of what is asked, by kind of image, in words.
pub(super) fn problems_of(kinds: &Kinds) -> Vec<String> {
    let mut found = Vec::new();
    if kinds.xray.is_none() && kinds.ct.is_none() {
        found.push("kinds names neither xray nor ct".to_owned());
    }
    for (name, kind) in [("xray", &kinds.xray), ("ct", &kinds.ct)] {
        if let Some(kind) = kind {
            found.extend(kind_problems(kind).into_iter().map(|problem| format!("{name}: {problem}")));
        }
    }
    if kinds.ct.as_ref().is_some_and(|ct| ct.windows_hu.is_none()) {
        found.push("ct: windows_hu is missing".to_owned());
    }
    if kinds.xray.as_ref().is_some_and(|xray| xray.windows_hu.is_some()) {
        found.push("xray: windows_hu is for CT only".to_owned());
    }
    found
}

fn kind_problems(kind: &KindProfile) -> Vec<String> {
    let mut found = Vec::new();
    let mut need = |good: bool, problem: &str| {
        if !good {
            found.push(problem.to_owned());
        }
    };
    need(!kind.prompt.trim().is_empty(), "prompt is empty");
    need(kind.prompt.matches("{images}").count() <= 1, "prompt has {images} more than once");
    need(
        kind.priors.as_ref().is_none_or(|text| text.matches("{priors}").count() == 1),
        "priors does not have {priors} once",
    );
    let texts = [
        ("prompt", Some(&kind.prompt), &["{images}", "{count}"][..]),
        ("image_caption", kind.image_caption.as_ref(), &["{number}", "{label}"]),
        ("priors", kind.priors.as_ref(), &["{priors}"]),
        ("system", kind.system.as_ref(), &[]),
    ];
    for (name, text, known) in texts {
        if let Some(problem) = text.and_then(|text| unknown(name, text, known)) {
            need(false, &problem);
        }
    }
    need((1..=MAX_IMAGES).contains(&kind.images_per_prompt), "images_per_prompt is not 1 to 64");
    need((1..=MAX_NEW_TOKENS).contains(&kind.max_new_tokens), "max_new_tokens is not 1 to 8192");
    need((1..=MAX_FINDINGS).contains(&kind.max_findings), "max_findings is not 1 to 100");
    need(!kind.findings.is_empty(), "findings is empty");
    need(no_repeats(&kind.findings), "findings repeats a code");
    need(no_repeats(&kind.sides), "sides repeats a side");
    need(no_repeats(&kind.zones), "zones repeats a zone");
    need(no_repeats(&kind.severities), "severities repeats a severity");
    if let Some(format) = kind.bounds {
        need(format.step > 0 && format.step <= format.maximum, "box step is not between 1 and its maximum");
        need(format.maximum <= format.scale, "box maximum is above its scale");
        need(format.scale <= 1_000_000, "box scale is above 1000000");
    }
    if let Some(windows) = kind.windows_hu {
        let good = |[low, high]: [f32; 2]| low.is_finite() && high.is_finite() && low < high;
        need(windows.into_iter().all(good), "windows_hu has a window that does not rise");
    }
    let unit = |value: f32| (0.0..=1.0).contains(&value);
    need(unit(kind.uncertain_below), "uncertain_below is not a probability");
    need(unit(kind.report_from), "report_from is not a probability");
    need(kind.calibration.iter().flatten().all(|value| unit(*value)), "calibration has a value outside 0 to 1");
    let rises = kind.calibration.windows(2).all(|pair| pair[0][0] < pair[1][0] && pair[0][1] <= pair[1][1]);
    need(rises, "calibration does not rise");
    found
}

/// That a text has placeholders besides those that are filled, which the model would read as they stand.
pub(super) fn unknown(name: &str, text: &str, known: &[&str]) -> Option<String> {
    let mut found: Vec<&str> = Vec::new();
    for (at, _) in text.match_indices('{') {
        let inner = text[at + 1..].split('}').next().unwrap_or_default();
        let word = &text[at..(at + inner.len() + 2).min(text.len())];
        // What is in quotes or has anything else in it is an example of JSON.
        let is_word = !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if !is_word || !word.ends_with('}') {
            continue;
        }
        if !known.contains(&word) && !found.contains(&word) {
            found.push(word);
        }
    }
    let filled = if known.is_empty() { "none is".to_owned() } else { format!("{} are", known.join(" and ")) };
    (!found.is_empty()).then(|| format!("{name} has unknown {}: {filled} filled in", found.join(", ")))
}

fn no_repeats<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().all(|(at, value)| !values[..at].contains(value))
}
