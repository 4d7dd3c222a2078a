//! A group of observations as one finding.

use std::cmp::Reverse;

use prelim_proto::finding::{Evidence, Finding, Laterality, Presence};
use prelim_proto::vocabulary::FindingCode;

use super::observe::{Observation, Place};

/// Images kept with a finding, the best first.
pub(super) const MAX_EVIDENCE: usize = 8;
/// A finding on one slice alone is believed from this confidence on.
const SINGLE_SLICE_CONFIDENCE: f32 = 0.97;
/// Slices this far apart, in mm, hold small findings on one slice alone, and a little less confidence will do. On 300
/// phantom volumes 13 of 18 slips lay below it, and 5 of 32 findings.
const THICK_SPACING_MM: f64 = 7.0;
const SINGLE_THICK_SLICE_CONFIDENCE: f32 = 0.9;
/// From this share of the best confidence on, an image with a larger box goes before the surest one.
const NEARLY_AS_SURE: f32 = 0.9;
/// How much another image counts beside the best one. Neighbouring slices show nearly the same, and another view much
/// of the same: they are far from independent.
const FURTHER_IMAGE_WEIGHT: f32 = 0.25;
/// Images beyond the best that count.
const FURTHER_IMAGES: usize = 8;
/// Around the 30 mm that part a nodule from a mass, the measure decides only where it is clear, in mm.
const SURELY_NODULE_MM: f32 = 27.0;
const SURELY_MASS_MM: f32 = 33.0;

/// The findings of the groups that have support, in the order in which reports list them; and how many groups have
/// none.
pub(super) fn findings(groups: Vec<Vec<Observation<'_>>>) -> (Vec<Finding>, usize) {
    let all = groups.len();
    let mut findings: Vec<Finding> =
        groups.iter().filter(|group| has_support(group)).map(|group| finding(group)).collect();
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| (finding.presence == Presence::Absent, finding.code, finding.laterality);
        let place = |finding: &Finding| finding.evidence.first().map(|first| (first.instance.clone(), first.frame));
        key(a).cmp(&key(b)).then_with(|| b.confidence.total_cmp(&a.confidence)).then_with(|| place(a).cmp(&place(b)))
    });
    let unsupported = all - findings.len();
    (findings, unsupported)
}

/// Whether a group is more than a slip on one slice: it is seen on neighbouring slices, or on one where one is all
/// there can be, or very surely. Views of an X-ray need no second.
fn has_support(group: &[Observation<'_>]) -> bool {
    let mut slices = Vec::new();
    for observation in group {
        match &observation.place {
            Place::Slice(slice) => slices.push(slice),
            _ => return true,
        }
    }
    let neighbours = slices.iter().any(|a| slices.iter().any(|b| a.stack == b.stack && a.index + 1 == b.index));
    let only_slice = slices.iter().any(|slice| slice.slices == 1);
    let thick = slices.iter().any(|slice| slice.spacing_mm.is_some_and(|mm| mm >= THICK_SPACING_MM));
    let sure_from = if thick { SINGLE_THICK_SLICE_CONFIDENCE } else { SINGLE_SLICE_CONFIDENCE };
    neighbours || only_slice || group.iter().any(|observation| observation.confidence >= sure_from)
}

fn finding(group: &[Observation<'_>]) -> Finding {
    let presence = [Presence::Present, Presence::Uncertain, Presence::Absent]
        .into_iter()
        .find(|presence| group.iter().any(|observation| observation.finding.presence == *presence))
        .unwrap_or(Presence::Uncertain);
    let size_mm = group.iter().filter_map(|observation| observation.finding.size_mm).max_by(f32::total_cmp);
    let evidence = evidence(group);
    Finding {
        code: code(group, size_mm),
        presence,
        laterality: vote(group, |finding| finding.laterality).map(|side| both_sides(group, side)),
        zone: vote(group, |finding| finding.zone),
        severity: vote(group, |finding| finding.severity),
        size_mm,
        confidence: confidence(group, &evidence),
        evidence: evidence.into_iter().take(MAX_EVIDENCE).collect(),
    }
}

/// The code of most weight; nodule or mass by size where that is clear.
fn code(group: &[Observation<'_>], size_mm: Option<f32>) -> FindingCode {
    let voted = vote(group, |finding| Some(finding.code)).unwrap_or(group[0].finding.code);
    let both = [FindingCode::Nodule, FindingCode::Mass]
        .iter()
        .all(|code| group.iter().any(|observation| observation.finding.code == *code));
    match size_mm {
        Some(size) if both && size <= SURELY_NODULE_MM => FindingCode::Nodule,
        Some(size) if both && size >= SURELY_MASS_MM => FindingCode::Mass,
        _ => voted,
    }
}

/// A group whose observations are on either side is on both, where both have weight.
fn both_sides(group: &[Observation<'_>], voted: Laterality) -> Laterality {
    let says = |side| group.iter().any(|observation| observation.finding.laterality == Some(side));
    if says(Laterality::Bilateral) && (says(Laterality::Left) || says(Laterality::Right)) {
        Laterality::Bilateral
    } else {
        voted
    }
}

/// The value with the largest sum of confidences; of equal ones the last in order (the larger severity).
fn vote<T: Ord + Copy>(group: &[Observation<'_>], value: impl Fn(&Finding) -> Option<T>) -> Option<T> {
    let mut sums: Vec<(T, f64)> = Vec::new();
    for observation in group {
        let Some(value) = value(observation.finding) else { continue };
        match sums.iter_mut().find(|(known, _)| *known == value) {
            Some((_, sum)) => *sum += f64::from(observation.confidence),
            None => sums.push((value, f64::from(observation.confidence))),
        }
    }
    sums.into_iter().max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0))).map(|(value, _)| value)
}

/// The images that show the finding, each once with its best observation, the surest first.
fn evidence(group: &[Observation<'_>]) -> Vec<Evidence> {
    let mut evidence: Vec<Evidence> = group.iter().filter_map(|observation| observation.evidence.cloned()).collect();
    let image = |e: &Evidence| (e.instance.clone(), e.frame);
    evidence.sort_by(|a, b| {
        image(a)
            .cmp(&image(b))
            .then_with(|| b.confidence.total_cmp(&a.confidence))
            .then_with(|| top(a).total_cmp(&top(b)))
    });
    evidence.dedup_by(|later, earlier| image(later) == image(earlier));
    evidence.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then_with(|| image(a).cmp(&image(b))));
    // Of images that are nearly as sure, the one that shows most of it is the best to look at.
    let surest = evidence.first().map_or(0.0, |first| first.confidence);
    let nearly = evidence.iter().take_while(|e| e.confidence >= NEARLY_AS_SURE * surest);
    let area = |e: &Evidence| e.bounds.map_or(0.0, |bounds| bounds.area());
    let best = nearly.enumerate().min_by(|a, b| area(b.1).total_cmp(&area(a.1))).map_or(0, |(index, _)| index);
    if best > 0 {
        evidence[..=best].rotate_right(1);
    }
    evidence
}

/// Upper edge, to tell equal evidence apart.
fn top(evidence: &Evidence) -> f32 {
    evidence.bounds.map_or(0.0, |bounds| bounds.top)
}

/// How likely the finding is there: the doubt of the best image, times the doubt of each further one to the power of
/// its weight. One image alone keeps its confidence.
fn confidence(group: &[Observation<'_>], evidence: &[Evidence]) -> f32 {
    let mut each: Vec<f32> = if evidence.is_empty() {
        group.iter().map(|observation| observation.confidence).collect()
    } else {
        evidence.iter().map(|evidence| evidence.confidence).collect()
    };
    each.sort_by_key(|confidence| Reverse(confidence.to_bits()));
    let doubt = |confidence: &f32| 1.0 - confidence.clamp(0.0, 1.0);
    let best = each.first().map_or(1.0, doubt);
    let further: f32 = each.iter().skip(1).take(FURTHER_IMAGES).map(|c| doubt(c).powf(FURTHER_IMAGE_WEIGHT)).product();
    1.0 - best * further
}
