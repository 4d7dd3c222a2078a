//! English sentences of reports taken apart, as far as comparing them with codes takes it: clauses, words, the names of findings,
//! sides, parts and lengths. Pure. What is not understood says nothing.

use prelim_proto::finding::{Laterality, Zone};
use prelim_proto::vocabulary::FindingCode::{self, *};

/// What ends a clause beside a stop: what follows says something else.
const TURNS: [&str; 6] = ["but", "however", "although", "though", "whereas", "while"];
/// Words before "effusion", "nodule" or "mass" that make another thing of it.
const ELSEWHERE: [&str; 26] = [
    "pericardial",
    "abdominal",
    "pancreatic",
    "splenic",
    "cardiac",
    "neck",
    "axillary",
    "nodal",
    "tissue",
    "wall",
    "marrow",
    "cerebral",
    "laryngeal",
    "joint",
    "knee",
    "thyroid",
    "adrenal",
    "renal",
    "hepatic",
    "liver",
    "breast",
    "mediastinal",
    "hilar",
    "soft",
    "bone",
    "subcutaneous",
];
/// Words behind "mass" and "nodule" that make another thing of it.
const NO_NAME: [&str; 4] = ["effect", "index", "like", "free"];
/// What stands after "left" and "right" where no side of the patient's chest is meant.
const NO_SIDE: [&str; 8] = ["ventricle", "ventricular", "atrium", "atrial", "heart", "unchanged", "angle", "alone"];
/// What stands after "upper" and "lower" where no part of the lung is meant.
const NO_PART: [&str; 8] = ["limit", "limits", "than", "abdomen", "abdominal", "pole", "quadrant", "dose"];
/// What stands beside a length that is no finding's.
const OTHER_LENGTH: [&str; 17] = [
    "previously",
    "formerly",
    "was",
    "from",
    "by",
    "than",
    "then",
    "prior",
    "before",
    "above",
    "below",
    "away",
    "within",
    "distance",
    "least",
    "over",
    "under",
];

/// The clauses of a text, as lower-case words, numbers, commas and colons. "isn't" is two words, and a stroke between words "or".
pub(crate) fn clauses(text: &str) -> Vec<Vec<String>> {
    let (mut clauses, mut clause, mut word) = (Vec::new(), Vec::new(), String::new());
    let text = text.to_lowercase().replace("and/or", "or").replace("w/o", "without");
    let lower: Vec<char> = text.chars().collect();
    let is_letter = |at: Option<usize>| at.and_then(|at| lower.get(at)).is_some_and(|c| c.is_alphabetic());
    for (at, &c) in lower.iter().enumerate() {
        let next_is_digit = lower.get(at + 1).is_some_and(char::is_ascii_digit);
        let is_number = word.starts_with(|first: char| first.is_ascii_digit());
        let is_decimal = matches!(c, '.' | ',') && is_number && next_is_digit;
        let is_same_kind = word.is_empty() || is_number == c.is_numeric();
        if is_decimal || ((c.is_alphanumeric() || matches!(c, '\'' | '’')) && is_same_kind) {
            word.push(match c {
                '’' => '\'',
                ',' => '.',
                c => c,
            });
            continue;
        }
        take(&mut word, &mut clause, &mut clauses);
        match c {
            ',' | '(' | ')' => clause.push(",".to_owned()),
            ':' => clause.push(":".to_owned()),
            '/' if is_letter(at.checked_sub(1)) && is_letter(Some(at + 1)) => clause.push("or".to_owned()),
            '.' | ';' | '!' | '?' => clauses.push(std::mem::take(&mut clause)),
            c if c.is_alphanumeric() => word.push(c),
            _ => {}
        }
    }
    take(&mut word, &mut clause, &mut clauses);
    clauses.push(clause);
    clauses.retain(|clause| clause.iter().any(|word| word != "," && word != ":"));
    clauses
}

/// A word is over.
fn take(word: &mut String, clause: &mut Vec<String>, clauses: &mut Vec<Vec<String>>) {
    match std::mem::take(word) {
        word if word.is_empty() => {}
        word if TURNS.contains(&word.as_str()) => clauses.push(std::mem::take(clause)),
        word => match word.strip_suffix("n't") {
            Some("ca") => clause.push("cannot".to_owned()),
            Some(verb) if !verb.is_empty() => clause.extend([verb.to_owned(), "not".to_owned()]),
            _ => clause.push(word),
        },
    }
}

/// How people write a finding, the longest first.
fn names(code: FindingCode) -> &'static [&'static str] {
    match code {
        PleuralEffusion => &[
            "pleural effusions",
            "pleural effusion",
            "pleural fluid",
            "effusions",
            "effusion",
            "hydrothorax",
            "hemothorax",
            "haemothorax",
        ],
        Pneumothorax => &["pneumothoraces", "pneumothorax", "pneumothoraxes", "ptx"],
        Consolidation => &[
            "airspace consolidation",
            "airspace opacities",
            "airspace opacity",
            "airspace disease",
            "consolidations",
            "consolidation",
            "infiltrates",
            "infiltrate",
        ],
        Nodule => &[
            "lung nodules",
            "lung nodule",
            "pulmonary nodules",
            "pulmonary nodule",
            "nodules",
            "nodule",
            "micronodules",
        ],
        Mass => &["lung masses", "lung mass", "pulmonary masses", "pulmonary mass", "masses", "mass"],
        Cardiomegaly => &[
            "enlarged cardiac silhouette",
            "enlarged cardiomediastinal silhouette",
            "cardiac silhouette is enlarged",
            "cardiac silhouette enlarged",
            "heart size is enlarged",
            "heart is enlarged",
            "heart enlarged",
            "enlarged heart",
            "cardiac enlargement",
            "cardiomegaly",
        ],
        InterstitialEdema => &[
            "interstitial edema",
            "interstitial oedema",
            "pulmonary edema",
            "pulmonary oedema",
            "lung edema",
            "lung oedema",
            "edema",
            "oedema",
        ],
        Pacemaker => {
            &["cardiac pacemakers", "cardiac pacemaker", "pacemakers", "pacemaker", "pacer", "defibrillator", "aicd"]
        }
        EndotrachealTube => &["endotracheal tubes", "endotracheal tube", "tracheal tube", "et tube", "ett"],
        Atelectasis => &["lobar collapse", "atelectases", "atelectasis"],
        Fracture => &["broken ribs", "broken rib", "fractured ribs", "fractured rib", "fractures", "fracture"],
    }
}

/// The finding that is named from the first word on, with how many words that takes.
pub(super) fn name_at(words: &[String]) -> Option<(FindingCode, usize)> {
    let found = FindingCode::ALL.iter().filter_map(|code| {
        let fits =
            |name: &&&str| name.split(' ').enumerate().all(|(at, part)| words.get(at).is_some_and(|word| word == part));
        names(*code).iter().find(fits).map(|name| (*code, name.split(' ').count()))
    });
    let is_other = |length: usize| words.get(length).is_some_and(|next| NO_NAME.contains(&next.as_str()));
    found.max_by_key(|(_, words)| *words).filter(|(_, length)| !is_other(*length))
}

/// How much of a finding a word says there is, in three steps.
pub(super) fn amount(word: &str) -> Option<u8> {
    Some(match word {
        "small" | "tiny" | "minimal" | "trace" | "mild" | "slight" => 1,
        "moderate" | "moderately" => 2,
        "large" | "massive" | "huge" | "severe" | "extensive" | "big" => 3,
        _ => return None,
    })
}

/// The findings that are named, with where the name begins and ends.
pub(crate) fn named(words: &[String]) -> Vec<(FindingCode, usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < words.len() {
        let is_elsewhere = at > 0 && ELSEWHERE.contains(&words[at - 1].as_str());
        match name_at(&words[at..]).filter(|_| !is_elsewhere) {
            Some((code, length)) => {
                found.push((code, at, at + length));
                at += length;
            }
            None => at += 1,
        }
    }
    found
}

/// Whether one of the words is there.
pub(super) fn has(words: &[String], any: &[&str]) -> bool {
    words.iter().any(|word| any.contains(&word.as_str()))
}

/// The side that is said; both where both are, nothing where none is.
pub(crate) fn side(words: &[String]) -> Option<Laterality> {
    let followed = |at: usize, by: &[&str]| words.get(at + 1).is_some_and(|next| by.contains(&next.as_str()));
    let says = |side: &str| words.iter().enumerate().any(|(at, word)| word == side && !followed(at, &NO_SIDE));
    let both = ["sides", "lungs", "bases", "apices", "hemithoraces", "lower", "upper", "pleural"];
    let is_both = has(words, &["bilateral", "bilaterally"])
        || words.iter().enumerate().any(|(at, word)| word == "both" && followed(at, &both));
    match (says("left"), says("right")) {
        _ if is_both => Some(Laterality::Bilateral),
        (true, true) => Some(Laterality::Bilateral),
        (true, false) => Some(Laterality::Left),
        (false, true) => Some(Laterality::Right),
        (false, false) => None,
    }
}

/// The parts of the lung that are said, with the words for them. Lobes and zones are not the same: of lobes only what lies at
/// the other end counts, so that for each also its neighbour is given.
pub(crate) fn parts(words: &[String]) -> Vec<(&str, Vec<Zone>)> {
    let part = |(at, word): (usize, &'_ String)| -> Option<Vec<Zone>> {
        let next = words.get(at + 1).map_or("", String::as_str);
        let is_lobe = matches!(next, "lobe" | "lobes" | "lobar");
        Some(match word.as_str() {
            "upper" | "lower" if NO_PART.contains(&next) => return None,
            "upper" if is_lobe => vec![Zone::Upper, Zone::Mid],
            "lower" if is_lobe => vec![Zone::Lower, Zone::Mid],
            "upper" | "apical" | "apex" => vec![Zone::Upper],
            "lower" | "basal" | "basilar" | "base" => vec![Zone::Lower],
            "mid" | "middle" if matches!(next, "zone" | "zones" | "third" | "field") => vec![Zone::Mid],
            "anterior" | "anteriorly" => vec![Zone::Anterior],
            "posterior" | "posteriorly" => vec![Zone::Posterior],
            _ => return None,
        })
    };
    words.iter().enumerate().filter_map(|each| Some((each.1.as_str(), part(each)?))).collect()
}

/// A length that is said of a finding, in mm, with how far off a rounded one may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Length {
    pub(super) said: String,
    pub(super) mm: f32,
    pub(super) give_mm: f32,
}

/// The lengths that are said of what is there now.
pub(super) fn lengths(words: &[String]) -> Vec<Length> {
    let unit = |word: &str| match word {
        "mm" | "millimeter" | "millimeters" | "millimetre" | "millimetres" => Some(1.0),
        "cm" | "centimeter" | "centimeters" | "centimetre" | "centimetres" => Some(10.0),
        _ => None,
    };
    let number = |word: &str| word.parse::<f32>().ok().filter(|number| number.is_finite());
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some(value) = number(word) else { continue };
        // "12 x 8 mm": the unit is that of the last.
        let rest = words[at + 1..]
            .iter()
            .find(|next| number(next).is_none() && !["x", "by", "×", "to"].contains(&next.as_str()));
        let Some((name, scale)) = rest.and_then(|name| Some((name, unit(name)?))) else { continue };
        let before = &words[at.saturating_sub(2)..at];
        let unit_at = at + 1 + words[at + 1..].iter().position(|next| next == name).unwrap_or_default();
        let mut after = words[unit_at..].iter().skip(1).take(2).take_while(|word| *word != ",");
        if has(before, &OTHER_LENGTH) || after.any(|word| OTHER_LENGTH.contains(&word.as_str())) {
            continue;
        }
        let decimals = word.split('.').nth(1).map_or(0, str::len);
        let give_mm = (0.5 * scale / 10_f32.powi(i32::try_from(decimals).unwrap_or(0))).max(0.5);
        found.push(Length { said: format!("{word} {name}"), mm: value * scale, give_mm });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart_into_clauses() {
        let found = |text: &str| -> Vec<String> { clauses(text).iter().map(|clause| clause.join(" ")).collect() };
        assert_eq!(found("No effusion; a 1.5 cm nodule, left."), ["no effusion", "a 1.5 cm nodule , left"]);
        assert_eq!(found("Normal but 1,5cm. Isn’t it?"), ["normal", "1.5 cm", "is not it"]);
        assert_eq!(found("No PTX/effusion and/or mass w/o 1/2"), ["no ptx or effusion or mass without 1 2"]);
        assert_eq!(found("It can't, don't"), ["it cannot , do not"]);
        assert_eq!(found(" . ,;"), Vec::<String>::new());
    }

    #[test]
    fn names_sides_parts_and_lengths_are_found() {
        let words = |text: &str| clauses(text).concat();
        for (text, codes) in [
            ("Pleural effusion and lung nodules", &[PleuralEffusion, Nodule][..]),
            ("Pericardial effusion, thyroid nodule", &[]),
            ("Pulmonary oedema; ETT", &[InterstitialEdema, EndotrachealTube]),
            ("Effusive, massive, nodular, mass effect, chest wall mass", &[]),
            ("PTX, haemothorax, the heart is enlarged", &[Pneumothorax, PleuralEffusion, Cardiomegaly]),
        ] {
            assert_eq!(named(&words(text)).iter().map(|each| each.0).collect::<Vec<_>>(), codes, "{text}");
        }
        for (text, expected) in [
            ("Right-sided", Some(Laterality::Right)),
            ("left and right", Some(Laterality::Bilateral)),
            ("in both lungs", Some(Laterality::Bilateral)),
            ("both tubes", None),
            ("left ventricle", None),
            ("Bright and leftover", None),
        ] {
            assert_eq!(side(&words(text)), expected, "{text}");
        }
        for (text, expected) in [
            ("12 mm", &[12.0][..]),
            ("12 x 8 mm", &[12.0, 8.0]),
            ("1.5 cm, previously 8 mm", &[15.0]),
            ("3 cm above the carina", &[]),
            ("12 mm (was 8 mm)", &[12.0]),
            ("grown by 4 mm from 8 to 12 mm", &[12.0]),
            ("in 3 days", &[]),
        ] {
            assert_eq!(lengths(&words(text)).iter().map(|each| each.mm).collect::<Vec<_>>(), expected, "{text}");
        }
        assert_eq!(parts(&words("at the upper limit; lower lobe")), [("lower", vec![Zone::Lower, Zone::Mid])]);
    }
}
