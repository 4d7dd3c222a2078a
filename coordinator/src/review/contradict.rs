//! Where the words of a report say another thing than its findings. Pure. It knows plain English sentences, and says nothing of
//! what it does not understand: a warning that is wrong teaches people to pass over those that are right.

use prelim_proto::finding::{Finding, Laterality, Presence, Severity, Zone};
use prelim_proto::report::{Report, Sentence};
use prelim_proto::review::{Assessment, Decision};
use prelim_proto::vocabulary::FindingCode::{self, *};

use super::phrases::{amount, clauses, has, lengths, name_at, named, parts, side};
use super::said::{Mention, mentions};
use crate::merge::urgency;
use crate::report::present;

/// How many are told, and how much of a sentence is quoted, in characters: they go out in the header of an answer, too.
const MAX_TOLD: usize = 12;
const MAX_QUOTED: usize = 120;
/// What may stand between "no" and what there is none of.
const BETWEEN: [&str; 24] = [
    "evidence",
    "sign",
    "signs",
    "of",
    "for",
    "a",
    "an",
    "the",
    "any",
    "visible",
    "focal",
    "residual",
    "left",
    "right",
    "sided",
    "bilateral",
    "pleural",
    "lung",
    "pulmonary",
    "airspace",
    "radiographic",
    "radiological",
    "is",
    "there",
];
/// The same where it leaves open that there is a little of it: only against what is marked present.
const SURELY: [&str; 4] = ["definite", "convincing", "obvious", "clear"];
/// What may stand between the name of a finding and "absent".
const LINKS: [&str; 18] = [
    "is",
    "are",
    "was",
    "were",
    "has",
    "have",
    "been",
    ":",
    "on",
    "the",
    "in",
    "left",
    "right",
    "sided",
    "side",
    "lung",
    "lungs",
    "bilaterally",
];
/// Behind "not".
pub(super) const SEEN: [&str; 12] = [
    "seen",
    "present",
    "identified",
    "visible",
    "visualized",
    "visualised",
    "detected",
    "demonstrated",
    "evident",
    "found",
    "apparent",
    "there",
];
/// Words of another time, and of a comparison: what is denied with them may be there.
const RELATIVE: [&str; 26] = [
    "before",
    "previously",
    "previous",
    "prior",
    "earlier",
    "then",
    "yesterday",
    "last",
    "change",
    "changed",
    "larger",
    "greater",
    "bigger",
    "more",
    "than",
    "above",
    "increase",
    "increased",
    "progression",
    "since",
    "new",
    "other",
    "further",
    "additional",
    "longer",
    "otherwise",
];
/// Words with which a sentence may deny what it names.
pub(super) const DENIES: [&str; 21] = [
    "no",
    "not",
    "none",
    "nil",
    "without",
    "absent",
    "absence",
    "negative",
    "free",
    "clear",
    "normal",
    "unremarkable",
    "excluded",
    "ruled",
    "nor",
    "neither",
    "never",
    "resolved",
    "removed",
    "gone",
    "cannot",
];
/// What may stand before the name of a finding that is said to be there.
const OPENS: [&str; 22] = [
    "there",
    "is",
    "are",
    "a",
    "an",
    "the",
    "left",
    "right",
    "sided",
    "bilateral",
    "small",
    "mild",
    "moderate",
    "large",
    "severe",
    "tiny",
    "minimal",
    "trace",
    "stable",
    "unchanged",
    "new",
    ",",
];
/// What a sentence on all that is read is about.
const WHOLE: [&str; 19] = [
    "chest",
    "study",
    "examination",
    "exam",
    "radiograph",
    "radiographs",
    "film",
    "films",
    "x",
    "ray",
    "xray",
    "ct",
    "scan",
    "image",
    "images",
    "thorax",
    "findings",
    "appearance",
    "appearances",
];
/// What a sentence on the lungs is about.
const LUNGS: [&str; 9] = ["lung", "lungs", "field", "fields", "zones", "parenchyma", "left", "right", "bilaterally"];
/// Words that say nothing here.
const FILLS: [&str; 19] = [
    "the",
    "a",
    "an",
    "is",
    "are",
    "was",
    "were",
    "this",
    "of",
    "in",
    "appears",
    "appear",
    "looks",
    "entirely",
    "completely",
    "essentially",
    "both",
    "for",
    "age",
];
/// What there is none of where nothing is wrong, and what may stand before it.
const WRONG: [&str; 7] = ["abnormality", "abnormalities", "finding", "findings", "disease", "pathology", "process"];
const KINDS: [&str; 16] = [
    "abnormal",
    "evidence",
    "sign",
    "signs",
    "of",
    "for",
    "any",
    "focal",
    "radiographic",
    "radiological",
    "cardiopulmonary",
    "intrathoracic",
    "thoracic",
    "chest",
    "pulmonary",
    "active",
];
/// What may follow: anything else says where, and is not of the whole.
const TAILS: [&str; 9] = ["seen", "detected", "identified", "noted", "demonstrated", "on", "that", "read", "today"];
/// Words with which little is left aside.
const AT_ONCE: [&str; 4] = ["acute", "significant", "relevant", "suspicious"];
/// Words of a number before what is one finding.
const SEVERAL: [&str; 9] = ["multiple", "several", "numerous", "many", "two", "three", "four", "five", "2"];
/// What may stand between an amount and the name of what there is of it.
const AMID: [&str; 12] =
    ["to", "sized", "pleural", "apical", "basal", "upper", "mid", "lower", "zone", "lobe", "tension", "loculated"];

/// What the words of a report say otherwise than its findings do, a sentence each, which quotes the words.
pub(crate) fn contradictions(report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    for sentence in &report.findings_text {
        if let [index] = sentence.findings[..]
            && let Some(finding) = report.findings.get(index as usize)
        {
            own(&sentence.text, finding, report, &mut found);
        }
    }
    for Sentence { text, .. } in report.findings_text.iter().chain(&report.impression) {
        for clause in clauses(text) {
            denied(text, &clause, report, &mut found);
            asserted(text, &clause, report, &mut found);
            normal(text, &clause, report, &mut found);
        }
    }
    for Sentence { text, .. } in &report.impression {
        for clause in clauses(text) {
            said_of(&clause).iter().for_each(|mention| of_one(text, mention, report, &mut found));
        }
    }
    twice(report, &mut found);
    let mut told: Vec<String> = Vec::new();
    for each in found {
        if !told.contains(&each) {
            told.push(each);
        }
    }
    let more = told.len().saturating_sub(MAX_TOLD);
    told.truncate(MAX_TOLD);
    told.extend((more > 0).then(|| format!("There are {more} more.")));
    told
}

/// The words, as they are quoted.
fn quoted(text: &str) -> String {
    format!("\"{}\"", present::shortened(text, MAX_QUOTED))
}

/// "left pleural effusion", which is marked present.
fn marked(finding: &Finding) -> String {
    let side = finding.laterality.map_or(String::new(), |side| format!("{} ", present::laterality(side)));
    let presence = match finding.presence {
        Presence::Present => "present",
        Presence::Uncertain => "uncertain",
        Presence::Absent => "absent",
    };
    format!("the finding \"{side}{}\", which is marked {presence}", finding.code.name())
}

/// The sentence of a finding against that finding.
fn own(text: &str, finding: &Finding, report: &Report, found: &mut Vec<String>) {
    let all = clauses(text);
    another(text, &all, finding, found);
    let is_there = finding.presence != Presence::Absent;
    if is_there {
        let bare = |clause: &Vec<String>| {
            let said: Vec<&str> = clause.iter().map(String::as_str).filter(|word| !OPENS.contains(word)).collect();
            matches!(
                said[..],
                ["no" | "none" | "nil" | "absent" | "negative"] | ["not", "seen" | "present" | "visible"]
            )
        };
        if all.iter().any(bare) {
            found.push(format!("{} denies {}.", quoted(text), marked(finding)));
        }
    }
    let words: Vec<String> = all.concat();
    let is_denied = words.iter().any(|word| DENIES.contains(&word.as_str()) || word.ends_with("n't"));
    if !is_there && !is_denied && named(&words).iter().any(|(code, ..)| *code == finding.code) {
        found.push(format!("{} does not deny {}.", quoted(text), marked(finding)));
    }
    // A clause that names another finding speaks of that one.
    let of_others = |clause: &Vec<String>| named(clause).iter().any(|(code, ..)| *code != finding.code);
    let words: Vec<String> = all.iter().filter(|clause| !of_others(clause)).flatten().cloned().collect();
    properties(text, &words, finding, report, found);
}

/// A sentence that begins with another finding than its own, which it does not name.
fn another(text: &str, all: &[Vec<String>], finding: &Finding, found: &mut Vec<String>) {
    let is_own = |code: FindingCode| code == finding.code;
    let Some(first) = all.first().filter(|_| !named(&all.concat()).iter().any(|name| is_own(name.0))) else { return };
    let opens =
        |word: &String| OPENS.contains(&word.as_str()) || AMID.contains(&word.as_str()) || amount(word).is_some();
    if let Some((code, ..)) = named(first).first().copied().filter(|name| first[..name.1].iter().all(opens)) {
        let (name, own) = (code.name(), finding.code.name());
        found.push(format!("{} speaks of \"{name}\", and is the sentence of the finding \"{own}\".", quoted(text)));
    }
}

/// Side, part, size and amount of what words say of a finding.
fn properties(text: &str, words: &[String], finding: &Finding, report: &Report, found: &mut Vec<String>) {
    let mut differs = |said: &str, coded: String| {
        found.push(format!(
            "{} says \"{said}\", and the finding \"{}\" is coded as {coded}.",
            quoted(text),
            finding.code.name()
        ));
    };
    let compares = has(words, &["more", "larger", "greater", "worse", "predominantly", "mainly", "especially", "most"]);
    match (side(words), finding.laterality) {
        (Some(said), Some(coded)) if said == coded => {}
        (Some(Laterality::Bilateral), Some(coded)) if !has(words, &["left", "right"]) => {
            differs("bilateral", present::laterality(coded).to_owned());
        }
        (Some(Laterality::Bilateral), _) | (None, _) | (_, None) => {}
        (Some(_), Some(Laterality::Bilateral)) if compares => {}
        (Some(said), Some(coded)) => differs(present::laterality(said), present::laterality(coded).to_owned()),
    }
    if let Some(zone) = finding.zone.filter(|zone| matches!(zone, Zone::Upper | Zone::Mid | Zone::Lower)) {
        let mut said = parts(words);
        said.retain(|(_, zones)| !matches!(zones[..], [Zone::Anterior | Zone::Posterior]));
        if let Some((word, _)) = said.first().filter(|_| !said.iter().any(|(_, zones)| zones.contains(&zone))) {
            differs(word, present::zone(zone).to_owned());
        }
    }
    let is_device = is_device(finding.code);
    if let Some(size) = finding.size_mm.filter(|_| !is_device) {
        let said = lengths(words);
        let fits = |length: &super::phrases::Length| (length.mm - size).abs() <= length.give_mm + 0.01;
        if let Some(first) = said.first().filter(|_| !said.iter().any(fits)) {
            differs(&first.said, present::millimetres(size));
        }
    }
    let said: Vec<(u8, &String)> = amounts(words, finding.code);
    if let Some(coded) = finding.severity
        && let Some(step) = amount(present::severity(coded))
        && !said.iter().any(|(other, _)| *other == step)
        && let (Some((least, word)), Some((most, _))) = (said.iter().min(), said.iter().max())
        && !(*least..=*most).contains(&step)
    {
        differs(word, present::severity(coded).to_owned());
        found.extend(raised(finding.code, said.iter().map(|(step, _)| *step).max(), report));
    }
}

/// The amounts that words say of a finding, before its name and behind it.
fn amounts(words: &[String], code: FindingCode) -> Vec<(u8, &String)> {
    let mut said = Vec::new();
    for (_, from, to) in named(words).into_iter().filter(|(other, ..)| *other == code) {
        let is_amid =
            |word: &&String| OPENS.contains(&word.as_str()) || AMID.contains(&word.as_str()) || amount(word).is_some();
        said.extend(words[..from].iter().rev().take_while(|word| *word != ",").take_while(is_amid));
        let links = words[to..].iter().take_while(|word| LINKS.contains(&word.as_str()) || *word == ",").count();
        let is_over =
            words.get(to + links + 1).is_none_or(|word| matches!(word.as_str(), "," | "on" | "in" | "at" | "and"));
        said.extend(words.get(to + links).filter(|_| is_over));
    }
    said.into_iter().filter_map(|word| Some((amount(word)?, word))).collect()
}

/// That what words say would make a study more urgent than its report is.
fn raised(code: FindingCode, step: Option<u8>, report: &Report) -> Option<String> {
    let severity = step.filter(|step| *step > 2).map(|_| Severity::Large);
    let finding = Finding {
        code,
        presence: Presence::Present,
        laterality: None,
        zone: None,
        severity,
        size_mm: None,
        confidence: 1.0,
        evidence: Vec::new(),
    };
    let urgency = urgency::of(&finding);
    let (said, told) = (present::urgency(urgency).to_lowercase(), present::urgency(report.urgency).to_lowercase());
    (urgency > report.urgency)
        .then(|| format!("With the {} that is said the study would be {said}; its report is {told}.", code.name()))
}

/// What a clause says is there, apart from what is of another time.
fn said_of(clause: &[String]) -> Vec<Mention<'_>> {
    let denied: Vec<FindingCode> = denials(clause).into_iter().map(|(code, _)| code).collect();
    mentions(clause, &denied)
}

/// What the impression says of a finding against the one that there is; and against all where it has the other side than each.
fn of_one(text: &str, mention: &Mention<'_>, report: &Report, found: &mut Vec<String>) {
    let (code, words) = (mention.code, mention.words);
    if !mention.is_said || has(words, &RELATIVE) {
        return;
    }
    let there: Vec<&Finding> =
        report.findings.iter().filter(|each| each.code == code && each.presence != Presence::Absent).collect();
    let said = side(words).filter(|side| *side != Laterality::Bilateral);
    let is_elsewhere = |finding: &&Finding| !said.is_some_and(|side| overlaps(Some(side), finding.laterality));
    match (there.as_slice(), said) {
        ([finding], _) => {
            properties(text, words, finding, report, found);
            let number = words[..mention.name.start].iter().find(|word| SEVERAL.contains(&word.as_str()));
            let is_single = matches!(code, Nodule | Mass) && finding.laterality != Some(Laterality::Bilateral);
            if let Some(number) = number.filter(|_| is_single) {
                found.push(format!("{} says \"{number}\", and the report has one {}.", quoted(text), code.name()));
            }
        }
        ([first, ..], Some(said)) if there.iter().all(is_elsewhere) => {
            let sides = first.laterality.map_or("", present::laterality);
            let (said, name) = (present::laterality(said), code.name());
            found.push(format!("{} says \"{said}\", and the finding \"{name}\" is coded as {sides}.", quoted(text)));
        }
        _ => {}
    }
}

/// What a clause denies, against what is marked as there.
fn denied(text: &str, clause: &[String], report: &Report, found: &mut Vec<String>) {
    let (zones, mentions) = (parts(clause), said_of(clause));
    for (code, surely) in denials(clause) {
        // Its own side, or else that of the list in which it is.
        let of_it = || mentions.iter().filter(|mention| mention.code == code);
        let own = of_it().find(|mention| has(mention.words, &DENIES)).or_else(|| of_it().next());
        let said = own.and_then(|mention| side(mention.words)).or_else(|| side(clause));
        for finding in report.findings.iter().filter(|finding| finding.code == code) {
            let is_there =
                finding.presence == Presence::Present || (finding.presence == Presence::Uncertain && !surely);
            let is_in_part =
                zones.is_empty() || finding.zone.is_some_and(|zone| zones.iter().any(|(_, of)| of.contains(&zone)));
            if is_there && is_in_part && overlaps(said, finding.laterality) {
                found.push(format!("{} denies {}.", quoted(text), marked(finding)));
            }
        }
    }
}

/// The findings that a clause says are not there; and whether it leaves open that they may be.
fn denials(clause: &[String]) -> Vec<(FindingCode, bool)> {
    let word = |at: usize| clause.get(at).map_or("", String::as_str);
    let is_whole =
        |at: usize| at == 0 || matches!(word(at - 1), "interval" | "complete" | "the" | "now" | "completely");
    let mut found = Vec::new();
    for at in 0..clause.len() {
        let begins = match (word(at), word(at + 1)) {
            ("no" | "without" | "absent" | "neither", _) => at + 1,
            ("negative", "for") | ("absence" | "free", "of") | ("not", "a" | "an" | "any") => at + 2,
            ("not", "see" | "show" | "demonstrate" | "identify") => at + 2,
            ("resolution", "of") if is_whole(at) => at + 2,
            ("resolved", next) if next != "," && next != "and" && is_whole(at) => at + 1,
            _ => continue,
        };
        items(&clause[begins..], &mut found);
    }
    found.extend(as_it_should_be(clause).into_iter().map(|code| (code, false)));
    for (code, _, end) in named(clause) {
        let rest: Vec<&str> =
            clause[end..].iter().map(String::as_str).skip_while(|word| LINKS.contains(word)).collect();
        let is_denied = match rest[..] {
            ["absent" | "none" | "negative" | "nil" | "excluded", ..]
            | ["ruled", "out", ..]
            | ["no"]
            | ["no", ",", ..] => true,
            ["not", seen, ..] => SEEN.contains(&seen),
            _ => false,
        };
        let is_over = matches!(rest[..], ["resolved" | "cleared" | "gone" | "disappeared", ..]);
        if is_over {
            found.push((code, false));
        }
        if is_denied && !has(clause, &RELATIVE) {
            found.push((code, false));
        }
    }
    found
}

/// "pneumothorax, pleural effusion or left consolidation", of which there is none.
fn items(words: &[String], found: &mut Vec<(FindingCode, bool)>) {
    let is_or = |word: &String| matches!(word.as_str(), "or" | "nor");
    let mut rest = words;
    loop {
        let length =
            rest.iter().position(|word| is_or(word) || matches!(word.as_str(), "," | "and")).unwrap_or(rest.len());
        let item = &rest[..length];
        let begins = item.iter().position(|word| !BETWEEN.contains(&word.as_str()) && !SURELY.contains(&word.as_str()));
        // "pleural" and "lung" may be of the name.
        let named = (0..=begins.unwrap_or(0)).find_map(|at| Some((at, name_at(&item[at..])?.0)));
        if let Some((at, code)) = named.filter(|_| !has(item, &RELATIVE)) {
            found.push((code, has(&item[..at], &SURELY)));
        }
        let Some(between) = rest.get(length) else { return };
        rest = &rest[length + 1..];
        let goes_on = match between.as_str() {
            "," => rest.iter().any(is_or),
            "and" => name_at(rest).is_some(),
            _ => true,
        };
        if !goes_on {
            return;
        }
    }
}

/// The findings that are not there where a part of the chest is as a clause says.
fn as_it_should_be(clause: &[String]) -> Vec<FindingCode> {
    let is_not =
        ["not", "no", "blunted", "blunting", "obscured", "partly", "limits", "limit", "borderline", "otherwise"];
    if has(clause, &is_not) || has(clause, &RELATIVE) {
        return Vec::new();
    }
    let of = |first: &[&str], then: &[&str]| {
        clause.windows(2).any(|two| first.contains(&two[0].as_str()) && then.contains(&two[1].as_str()))
    };
    let is_clear = has(clause, &["clear", "sharp", "free", "preserved"]);
    let mut found = Vec::new();
    if is_clear && has(clause, &["costophrenic"]) {
        found.push(PleuralEffusion);
    }
    if is_clear && of(&["pleural"], &["space", "spaces", "cavity", "cavities"]) {
        found.extend([PleuralEffusion, Pneumothorax]);
    }
    let is_of_heart = of(&["heart", "cardiac"], &["size", "silhouette", "is", "and"]) || of(&["normal"], &["heart"]);
    if is_of_heart && has(clause, &["normal", "unremarkable"]) {
        found.push(Cardiomegaly);
    }
    found
}

/// What a clause says is there, against what is marked absent, was rejected, or is not among the findings.
fn asserted(text: &str, clause: &[String], report: &Report, found: &mut Vec<String>) {
    let mentions = said_of(clause);
    let is_there = |mention: &Mention<'_>| {
        report.findings.iter().any(|finding| finding.code == mention.code && finding.presence != Presence::Absent)
    };
    // "Atelectasis or consolidation" is one of them.
    if has(clause, &["or", "vs", "versus"]) && mentions.iter().any(is_there) {
        return;
    }
    for mention in mentions.iter().filter(|mention| mention.is_said && !is_there(mention)) {
        let (code, said) = (mention.code, side(mention.words));
        let is_denied = |each: &&Finding| each.code == code && overlaps(said, each.laterality);
        let denied: Vec<&Finding> = report.findings.iter().filter(is_denied).collect();
        if denied.is_empty() {
            let decisions = report.review.iter().flat_map(|review| &review.assessments);
            let is_rejected = |each: &Assessment| {
                each.decision == Decision::Rejected && each.before.as_ref().is_some_and(|before| before.code == code)
            };
            let was = if decisions.into_iter().any(is_rejected) { ": it was rejected" } else { "" };
            let (said, name) = (mention.words[mention.name.clone()].join(" "), code.name());
            found.push(format!("{} says \"{said}\", and the report has no finding \"{name}\"{was}.", quoted(text)));
        }
        found.extend(denied.into_iter().map(|finding| format!("{} does not deny {}.", quoted(text), marked(finding))));
        let step = amounts(mention.words, code).into_iter().map(|(step, _)| step).max();
        found.extend(raised(code, step, report));
    }
}

/// What a clause says is as it should be.
#[derive(Clone, Copy, PartialEq)]
enum Normal {
    All,
    Lungs,
    /// Nothing that matters now: what is named beside it may be there.
    AtOnce,
}

/// A clause that says that nothing is wrong, against what is marked as there.
fn normal(text: &str, clause: &[String], report: &Report, found: &mut Vec<String>) {
    let is_excepted = has(clause, &["apart", "except", "aside", "besides", "not"]) || has(clause, &RELATIVE);
    let parts = || clause.split(|word| word == "," || word == "and");
    let Some((what, part)) = parts().find_map(|part| Some((says_normal(part)?, part))).filter(|_| !is_excepted) else {
        return;
    };
    let said = side(part);
    let is_named = |code: FindingCode| {
        let text = report.impression.iter().flat_map(|sentence| clauses(&sentence.text));
        text.into_iter().any(|clause| !has(&clause, &DENIES) && named(&clause).iter().any(|(other, ..)| *other == code))
    };
    let is_meant = |finding: &&Finding| {
        let code = finding.code;
        let is_of = match what {
            Normal::All => !is_device(code),
            Normal::Lungs => matches!(code, Consolidation | Nodule | Mass | InterstitialEdema | Atelectasis),
            Normal::AtOnce if matches!(code, Nodule | Mass | Cardiomegaly | Atelectasis) => !is_named(code),
            Normal::AtOnce => !is_device(code),
        };
        is_of && finding.presence != Presence::Absent && overlaps(said, finding.laterality)
    };
    let against: Vec<String> = report.findings.iter().filter(is_meant).map(marked).collect();
    if !against.is_empty() {
        found.push(format!("{} says that nothing is wrong, against {}.", quoted(text), against.join(", and ")));
    }
}

fn says_normal(part: &[String]) -> Option<Normal> {
    let said: Vec<&str> = part.iter().map(String::as_str).filter(|word| !FILLS.contains(word)).collect();
    let is_none = matches!(said[..], ["no" | "without" | "nothing", ..] | ["there", "no", ..]);
    if is_none {
        let rest = said.iter().skip_while(|word| matches!(**word, "there" | "no" | "without"));
        let kinds: Vec<&&str> =
            rest.clone().take_while(|word| KINDS.contains(word) || AT_ONCE.contains(word)).collect();
        let mut tail = rest.clone().skip(kinds.len() + 1).take_while(|word| **word != "or");
        let is_whole = tail.all(|word| TAILS.contains(word) || WHOLE.contains(word) || LUNGS.contains(word));
        let noun = rest.clone().nth(kinds.len()).copied().unwrap_or_default();
        let is_nothing = matches!(rest.copied().collect::<Vec<_>>()[..], ["nothing", "abnormal", ..]);
        let is_whole = (WRONG.contains(&noun) && is_whole) || is_nothing;
        let at_once = kinds.iter().any(|word| AT_ONCE.contains(word));
        let of_lungs = kinds.iter().any(|word| **word == "pulmonary");
        return is_whole.then_some(match (at_once, of_lungs) {
            (true, _) => Normal::AtOnce,
            (false, true) => Normal::Lungs,
            (false, false) => Normal::All,
        });
    }
    let is_good = |word: &&&str| matches!(**word, "normal" | "unremarkable" | "clear" | "within" | "limits" | "nad");
    let about: Vec<&str> = said.iter().filter(|word| !is_good(word)).copied().collect();
    if said.iter().filter(is_good).all(|word| matches!(*word, "within" | "limits")) {
        return None;
    }
    if about.iter().all(|word| WHOLE.contains(word)) {
        return Some(Normal::All);
    }
    let is_lungs = |word: &&str| LUNGS.contains(word);
    (about.iter().all(is_lungs) && has(part, &["lung", "lungs"])).then_some(Normal::Lungs)
}

/// One finding that is marked present and absent.
fn twice(report: &Report, found: &mut Vec<String>) {
    for there in report.findings.iter().filter(|finding| finding.presence == Presence::Present) {
        let is_same = |other: &&Finding| {
            other.presence == Presence::Absent
                && other.code == there.code
                && overlaps(other.laterality, there.laterality)
                && (other.zone.is_none() || other.zone == there.zone)
        };
        if let Some(absent) = report.findings.iter().find(is_same) {
            found.push(format!("{} stands beside {}.", capitalised(&marked(there)), marked(absent)));
        }
    }
}

/// Whether two sides have one in common. What has none may be on either.
fn overlaps(a: Option<Laterality>, b: Option<Laterality>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || a == Laterality::Bilateral || b == Laterality::Bilateral,
        _ => true,
    }
}

/// What somebody put into the patient: a chest with it may be as it should be.
fn is_device(code: FindingCode) -> bool {
    matches!(code, Pacemaker | EndotrachealTube)
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
#[path = "contradict_tests.rs"]
mod tests;
