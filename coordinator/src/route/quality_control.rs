//! Phantoms for quality control, known by what scanners and people write on them.
//!
//! Quality Control Subject (0010,0200) is what DICOM has for it, and few write it. So words are looked for too, whole ones,
//! and in a patient's name only those that are nobody's name: a patient who is taken for a phantom is not read.

use prelim_proto::study::Study;

/// Words that are no part of anybody's name, and no part of what is examined.
const SURE: [&str; 7] = ["PHANTOM", "CATPHAN", "GAMMEX", "WATERPHANTOM", "ACRPHANTOM", "QAPHANTOM", "QCPHANTOM"];
/// Words that are as sure in a Patient ID or a description, but may be a name.
const SHORT: [&str; 6] = ["QA", "QC", "DAILYQA", "DAILYQC", "CONSTANCY", "AIRCAL"];

/// What says that a phantom was imaged, in words; none where nothing does.
pub(super) fn sign(study: &Study) -> Option<String> {
    let images = study.series.iter().flat_map(|series| &series.instances).filter_map(|each| each.image.as_ref());
    if images.into_iter().any(|image| image.quality_control_subject) {
        return Some("Quality Control Subject is YES".to_owned());
    }
    let said = &study.attributes;
    let all = || SURE.into_iter().chain(SHORT);
    let in_series = || study.series.iter().find_map(|series| word(&series.description, all()));
    let found = word(&said.patient_name, SURE.into_iter()).map(|word| ("Patient's Name", word));
    let found = found.or_else(|| word(&said.patient_id, all()).map(|word| ("Patient ID", word)));
    let found = found.or_else(|| word(&said.description, all()).map(|word| ("Study Description", word)));
    let found = found.or_else(|| in_series().map(|word| ("Series Description", word)));
    found.map(|(attribute, word)| format!("{attribute} has the word {word}"))
}

/// The first of the words that is one of the text's.
fn word(text: &str, mut words: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let found: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .map(|word| word.to_uppercase())
        .filter(|word| !word.is_empty())
        .collect();
    words.find(|wanted| found.iter().any(|word| word == wanted))
}
