//! Which findings the words of a clause say are there: not those that it denies, looks for or remembers. Pure.

use prelim_proto::vocabulary::FindingCode;

use super::contradict::{DENIES, SEEN};
use super::phrases::{amount, has, named};

/// What stands between two findings that are named.
const PARTS: [&str; 7] = [",", "and", "with", "or", "nor", "plus", "without"];
/// Words before "with" that make it a part of what they say.
const FITS: [&str; 3] = ["consistent", "compatible", "keeping"];
/// With these a whole list is denied.
const LISTS: [&str; 12] =
    ["no", "not", "none", "without", "neither", "nor", "negative", "free", "absent", "absence", "never", "cannot"];
/// Denials that stand behind a finding, after a comma.
const LATE: [&str; 7] = ["absent", "resolved", "gone", "none", "nil", "excluded", "removed"];
/// Words of what is asked, feared, planned or remembered: nothing is said of what is there.
const UNSAID: [&str; 49] = [
    "comparison",
    "reason",
    "removal",
    "history",
    "hx",
    "rule",
    "exclude",
    "excludes",
    "excluding",
    "exclusion",
    "look",
    "search",
    "evaluate",
    "evaluation",
    "assess",
    "assessment",
    "query",
    "question",
    "indication",
    "clinical",
    "clinically",
    "risk",
    "if",
    "whether",
    "should",
    "recommend",
    "recommended",
    "advise",
    "advised",
    "consider",
    "unlikely",
    "doubtful",
    "less",
    "than",
    "instead",
    "mimic",
    "mimics",
    "mimicking",
    "simulates",
    "simulating",
    "post",
    "after",
    "follow",
    "treated",
    "drained",
    "resection",
    "surgery",
    "screening",
    "healed",
];
/// Words of another time; and those with which they speak of now, too.
const THEN: [&str; 11] = [
    "before",
    "previous",
    "previously",
    "prior",
    "earlier",
    "yesterday",
    "former",
    "formerly",
    "since",
    "last",
    "resolving",
];
const NOW: [&str; 14] = [
    "new",
    "newly",
    "now",
    "unchanged",
    "stable",
    "persistent",
    "persists",
    "increased",
    "increasing",
    "decreased",
    "larger",
    "smaller",
    "bigger",
    "again",
];
/// Denials of other languages, whose names of findings are often the same.
const FOREIGN: [&str; 19] = [
    "kein", "keine", "keinen", "keiner", "nicht", "ohne", "sans", "pas", "aucun", "aucune", "sin", "senza", "nessun",
    "geen", "zonder", "sem", "utan", "ingen", "inget",
];
/// Words before "for" with which it says that something may be there.
const LIKELY: [&str; 6] = ["suspicious", "suspicion", "concerning", "concern", "positive", "worrisome"];

/// A finding that a clause names.
pub(super) struct Mention<'w> {
    pub(super) code: FindingCode,
    /// The words that are of it, and where in them its name begins and ends.
    pub(super) words: &'w [String],
    pub(super) name: std::ops::Range<usize>,
    /// The clause says that it is there.
    pub(super) is_said: bool,
}

/// The findings that a clause names, where `denied` are those that it says are not there.
pub(super) fn mentions<'w>(clause: &'w [String], denied: &[FindingCode]) -> Vec<Mention<'w>> {
    let names = named(clause);
    let is_part = |at: usize| {
        let is_fit = clause[at] == "with" && at > 0 && FITS.contains(&clause[at - 1].as_str());
        PARTS.contains(&clause[at].as_str()) && !is_fit
    };
    let before = |from: usize, to: usize| (from..to).rev().find(|at| is_part(*at));
    let mut found = Vec::new();
    for (place, &(code, from, to)) in names.iter().enumerate() {
        let (last, next) = (place.checked_sub(1).map(|at| names[at].2), names.get(place + 1).map(|name| name.1));
        let begins = last.map_or(0, |last| before(last, from).unwrap_or(last));
        let ends = next.map_or(clause.len(), |next| before(to, next).unwrap_or(to));
        // What is said with the name itself, and what is only near it.
        let core = before(begins, from).unwrap_or(begins)..(to..ends).find(|at| is_part(*at)).unwrap_or(ends);
        let is_said = !denied.contains(&code) && says(clause, core, from, ends);
        found.push(Mention { code, words: &clause[begins..ends], name: from - begins..to - begins, is_said });
    }
    found
}

/// Whether what is named at `name` is said to be there.
fn says(clause: &[String], core: std::ops::Range<usize>, name: usize, ends: usize) -> bool {
    let (own, earlier, later) = (&clause[core.clone()], &clause[..core.start], &clause[core.end..ends]);
    let is_late = has(later, &LATE) || later.windows(2).any(|two| two[0] == "not" && SEEN.contains(&two[1].as_str()));
    let is_then = |words: &[String]| has(words, &THEN) && !has(words, &NOW);
    let is_sought = (core.start..name)
        .rev()
        .find(|at| clause[*at] == "for")
        .is_some_and(|at| at == 0 || !LIKELY.contains(&clause[at - 1].as_str()));
    let is_its_own = own.iter().any(|word| amount(word).is_some()) || has(own, &["a", "an", "there"]);
    let is_of_list = has(earlier, &LISTS) && !is_its_own;
    let is_denied = has(own, &DENIES) || has(clause, &FOREIGN) || is_late || is_of_list;
    !(is_denied || is_sought || has(&clause[..core.end], &UNSAID) || is_then(own) || is_then(later))
}
