//! Drafts against truth: the numbers of `prelim eval`.
//!
//! - [`truth`]: the `truth.json` beside a study
//! - [`calibration`]: whether confidences mean what they say
//! - [`picture`]: the confusion of classes, drawn
//!
//! **Invariant**: pure. A study counts once, a class at most once a study: what is scored is the draft as a whole.

pub(crate) mod calibration;
pub(crate) mod picture;
pub(crate) mod truth;

use std::collections::{BTreeMap, BTreeSet};

use prelim_proto::finding::{Finding, Laterality, Presence};
use prelim_proto::vocabulary::FindingCode;
use serde::Serialize;
use truth::{TrueFinding, Truth};

/// One study: what is there, and what the draft says.
pub(crate) struct Case {
    /// What is there.
    pub(crate) truth: Truth,
    /// What the draft says, or nothing where there is no draft that parses.
    pub(crate) draft: Option<Vec<Finding>>,
}

/// The numbers for one class in one modality.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClassScore {
    /// The word of the vocabulary, for programs; [`class_name`] has the one for people.
    pub(crate) finding: &'static str,
    /// Studies that have it.
    pub(crate) studies: usize,
    /// Of the drafts that claim it, the share that is right.
    pub(crate) precision: f64,
    /// Of the studies that have it, the share whose draft claims it.
    pub(crate) recall: f64,
    /// Harmonic mean of the two.
    pub(crate) f1: f64,
    /// Of the right claims with a side, the share with the right side.
    pub(crate) side_accuracy: Option<f64>,
    /// Mean intersection over union of the box on the key image, over right claims.
    pub(crate) mean_iou: Option<f64>,
}

/// The numbers for one modality.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ModalityScore {
    /// Studies scored.
    pub(crate) studies: usize,
    /// Mean F1 of the classes that some study has; 0 where no study has any. A class that only drafts claim has no part
    /// in it: such claims show in the class's precision and, on normal studies, in the specificity.
    pub(crate) macro_f1: f64,
    /// How many classes the mean is over.
    pub(crate) classes_scored: usize,
    /// Of the studies without a finding, the share whose draft claims none.
    pub(crate) normal_specificity: Option<f64>,
    /// Each class that occurs in truth or drafts.
    pub(crate) classes: Vec<ClassScore>,
}

/// All numbers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Score {
    /// Studies scored.
    pub(crate) studies: usize,
    /// Macro-F1 by modality ("dx", "ct"), over the classes that some study has.
    pub(crate) macro_f1: BTreeMap<String, f64>,
    /// Right claims with the right side, of those with a side.
    pub(crate) side_accuracy: Option<f64>,
    /// Mean intersection over union of boxes, over right claims with a true box.
    pub(crate) mean_iou: Option<f64>,
    /// Normal studies whose draft claims nothing.
    pub(crate) normal_specificity: Option<f64>,
    /// Expected calibration error of the confidence of claims, ten bins.
    pub(crate) ece: Option<f64>,
    /// Share of studies with a draft that parses.
    pub(crate) parsed: f64,
    /// By modality.
    pub(crate) by_modality: BTreeMap<String, ModalityScore>,
    /// True class (or "none") by claimed class (or "none"): how often a study with the one was said to have the other.
    pub(crate) confusion: Vec<(String, String, usize)>,
}

/// Scores the cases.
pub(crate) fn score(cases: &[Case]) -> Score {
    let mut tallies: BTreeMap<(String, FindingCode), Tally> = BTreeMap::new();
    let mut claims = Vec::new();
    let mut confusion: BTreeMap<(String, String), usize> = BTreeMap::new();
    for case in cases {
        let claimed = claimed(case);
        for (code, claim) in &claimed {
            let right = case.truth.finding(*code).is_some();
            claims.push((f64::from(claim.confidence), right));
        }
        for pair in confused(&case.truth, &claimed) {
            *confusion.entry(pair).or_default() += 1;
        }
        let codes: BTreeSet<FindingCode> =
            case.truth.findings.iter().map(|finding| finding.finding).chain(claimed.keys().copied()).collect();
        for code in codes {
            let tally = tallies.entry((case.truth.modality.to_lowercase(), code)).or_default();
            tally.add(case.truth.finding(code), claimed.get(&code).copied());
        }
    }
    let by_modality = modalities(cases, &tallies);
    let sides: Vec<bool> = tallies.values().flat_map(|tally| tally.sides.iter().copied()).collect();
    let overlaps: Vec<f64> = tallies.values().flat_map(|tally| tally.overlaps.iter().copied()).collect();
    Score {
        studies: cases.len(),
        macro_f1: by_modality.iter().map(|(name, score)| (name.clone(), score.macro_f1)).collect(),
        side_accuracy: share(&sides),
        mean_iou: mean(&overlaps),
        normal_specificity: specificity(cases.iter()),
        ece: calibration::expected_error(&claims),
        parsed: cases.iter().filter(|case| case.draft.is_some()).count() as f64 / cases.len().max(1) as f64,
        by_modality,
        confusion: confusion.into_iter().map(|((truth, claim), count)| (truth, claim, count)).collect(),
    }
}

/// The word for people of a class by its key; the key itself where it is none of the vocabulary ("none").
pub(crate) fn class_name(key: &str) -> &str {
    FindingCode::from_key(key).map_or(key, |code| code.name())
}

/// What the draft claims: the most confident present finding of each code.
fn claimed(case: &Case) -> BTreeMap<FindingCode, &Finding> {
    let mut claimed: BTreeMap<FindingCode, &Finding> = BTreeMap::new();
    let present = case.draft.iter().flatten().filter(|finding| finding.presence == Presence::Present);
    for finding in present {
        let best = claimed.entry(finding.code).or_insert(finding);
        if finding.confidence > best.confidence {
            *best = finding;
        }
    }
    claimed
}

/// Pairs of true and claimed class. A class found is on the diagonal; one missed is paired with each wrong claim.
fn confused(truth: &Truth, claimed: &BTreeMap<FindingCode, &Finding>) -> Vec<(String, String)> {
    const NONE: &str = "none";
    let missed: Vec<&str> = truth
        .findings
        .iter()
        .map(|f| f.finding)
        .filter(|code| !claimed.contains_key(code))
        .map(FindingCode::key)
        .collect();
    let wrong: Vec<&str> =
        claimed.keys().copied().filter(|code| truth.finding(*code).is_none()).map(FindingCode::key).collect();
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut pair = |truth: &str, claim: &str| pairs.push((truth.to_owned(), claim.to_owned()));
    for code in claimed.keys().filter(|code| truth.finding(**code).is_some()) {
        pair(code.key(), code.key());
    }
    if truth.findings.is_empty() && claimed.is_empty() {
        pair(NONE, NONE);
    }
    for true_key in &missed {
        if wrong.is_empty() {
            pair(true_key, NONE);
        }
        for wrong_key in &wrong {
            pair(true_key, wrong_key);
        }
    }
    if missed.is_empty() {
        for wrong_key in &wrong {
            pair(NONE, wrong_key);
        }
    }
    pairs
}

/// Counts for one class.
#[derive(Default)]
struct Tally {
    right: usize,
    wrong: usize,
    missed: usize,
    sides: Vec<bool>,
    overlaps: Vec<f64>,
}

impl Tally {
    fn add(&mut self, truth: Option<&TrueFinding>, claim: Option<&Finding>) {
        match (truth, claim) {
            (Some(truth), Some(claim)) => {
                self.right += 1;
                if matches!(truth.side, Some(Laterality::Left | Laterality::Right)) {
                    self.sides.push(claim.laterality == truth.side);
                }
                if !truth.boxes.is_empty() {
                    self.overlaps.push(overlap(truth, claim));
                }
            }
            (None, Some(_)) => self.wrong += 1,
            (Some(_), None) => self.missed += 1,
            (None, None) => {}
        }
    }

    fn score(&self, code: FindingCode) -> ClassScore {
        let ratio = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        ClassScore {
            finding: code.key(),
            studies: self.right + self.missed,
            precision: ratio(self.right, self.right + self.wrong),
            recall: ratio(self.right, self.right + self.missed),
            f1: ratio(2 * self.right, 2 * self.right + self.wrong + self.missed),
            side_accuracy: share(&self.sides),
            mean_iou: mean(&self.overlaps),
        }
    }
}

/// Overlap of the claim's first evidence with the true box on that frame; 0 where either has no box there.
fn overlap(truth: &TrueFinding, claim: &Finding) -> f64 {
    let Some(evidence) = claim.evidence.first() else { return 0.0 };
    let Some(bounds) = evidence.bounds else { return 0.0 };
    let there = truth.boxes.iter().find(|b| b.instance == evidence.instance && b.frame == evidence.frame);
    there.and_then(|b| b.bounds()).map_or(0.0, |true_box| f64::from(bounds.iou(&true_box)))
}

fn modalities(cases: &[Case], tallies: &BTreeMap<(String, FindingCode), Tally>) -> BTreeMap<String, ModalityScore> {
    let names: BTreeSet<String> = cases.iter().map(|case| case.truth.modality.to_lowercase()).collect();
    let one = |name: &String| {
        let of_it = || cases.iter().filter(|case| case.truth.modality.eq_ignore_ascii_case(name));
        let classes: Vec<ClassScore> =
            tallies.iter().filter(|((modality, _), _)| modality == name).map(|((_, code), t)| t.score(*code)).collect();
        let occurring: Vec<f64> = classes.iter().filter(|class| class.studies > 0).map(|class| class.f1).collect();
        ModalityScore {
            studies: of_it().count(),
            macro_f1: mean(&occurring).unwrap_or(0.0),
            classes_scored: occurring.len(),
            normal_specificity: specificity(of_it()),
            classes,
        }
    };
    names.into_iter().map(|name| (name.clone(), one(&name))).collect()
}

/// Of the normal cases, the share whose draft is there and claims nothing.
fn specificity<'a>(cases: impl Iterator<Item = &'a Case>) -> Option<f64> {
    let silent: Vec<bool> = cases
        .filter(|case| case.truth.findings.is_empty())
        .map(|case| case.draft.is_some() && claimed(case).is_empty())
        .collect();
    share(&silent)
}

fn share(values: &[bool]) -> Option<f64> {
    let numbers: Vec<f64> = values.iter().map(|value| f64::from(u8::from(*value))).collect();
    mean(&numbers)
}

fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(values.iter().sum::<f64>() / values.len() as f64) }
}

#[cfg(test)]
mod tests;
