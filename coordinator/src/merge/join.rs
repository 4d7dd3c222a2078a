//! Findings of the same thing, seen on several images, become one.
//!
//! Two sightings are of the same thing when they have the same code and side and, for things that have a place of
//! their own (a nodule, a mass, a consolidation, a fracture), when they touch: on slices at most [`REACH_SLICES`] apart,
//! with boxes that overlap. On CT a thing must be seen on two such slices unless it is too small to reach the next one:
//! a single slice out of forty is where a model's slips are.

use std::collections::BTreeMap;

use prelim_proto::finding::{Evidence, Finding, Laterality, Presence};
use prelim_proto::ids::Uid;
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, JobKind};
use prelim_proto::vocabulary::FindingCode;

use super::Reading;

/// Slices over which two sightings may be of one thing: neighbours, or with one slice between.
const REACH_SLICES: usize = 2;
/// Overlap from which two boxes on neighbouring slices are of one thing.
const TOUCHING_IOU: f32 = 0.1;
/// Images kept with a finding; the best comes first.
const MAX_EVIDENCE: usize = 12;
/// From this share of the best confidence on, the larger box is the better image to look at.
const NEARLY_AS_SURE: f32 = 0.9;

/// A finding on one image.
struct Sighting<'a> {
    finding: &'a Finding,
    evidence: &'a Evidence,
    /// Where the image stands among the CT slices read, or nothing for an X-ray view.
    slice: Option<usize>,
}

/// The findings of all readings, each thing once, in the vocabulary's order, then by side, then by place.
pub(super) fn join(readings: &[Reading<'_>]) -> Vec<Finding> {
    let slices = Slices::of(readings);
    let mut groups: BTreeMap<FindingCode, Vec<Sighting<'_>>> = BTreeMap::new();
    let mut absent: BTreeMap<FindingCode, &Finding> = BTreeMap::new();
    for finding in readings.iter().filter_map(|reading| reading.end.ok()).flat_map(|outcome| &outcome.findings) {
        if finding.presence == Presence::Absent {
            absent.entry(finding.code).or_insert(finding);
            continue;
        }
        for evidence in &finding.evidence {
            let slice = slices.place(evidence);
            groups.entry(finding.code).or_default().push(Sighting { finding, evidence, slice });
        }
    }
    let mut joined: Vec<Finding> = Vec::new();
    for (code, sightings) in groups {
        let things = things(code, sightings);
        joined.extend(things.iter().filter(|thing| slices.support(thing)).map(|thing| one(code, thing, &slices)));
    }
    let seen: Vec<FindingCode> = joined.iter().map(|finding| finding.code).collect();
    joined.extend(absent.into_iter().filter(|(code, _)| !seen.contains(code)).map(|(_, finding)| finding.clone()));
    joined.sort_by_key(|finding| finding.code);
    joined
}

/// Whether a code names something with a place of its own, so that there may be several on one side.
fn is_focal(code: FindingCode) -> bool {
    matches!(code, FindingCode::Nodule | FindingCode::Mass | FindingCode::Consolidation | FindingCode::Fracture)
}

/// Sorts the sightings of one code into things: by side, and focal ones by place.
///
/// A sighting without a side (a lateral view) goes with the side that is surest.
fn things(code: FindingCode, mut sightings: Vec<Sighting<'_>>) -> Vec<Vec<Sighting<'_>>> {
    sightings.sort_by(|a, b| order(a).partial_cmp(&order(b)).unwrap_or(std::cmp::Ordering::Equal));
    let surest = sightings
        .iter()
        .filter(|sighting| sighting.finding.laterality.is_some())
        .max_by(|a, b| a.evidence.confidence.total_cmp(&b.evidence.confidence))
        .and_then(|sighting| sighting.finding.laterality);
    let mut sides: BTreeMap<Option<Laterality>, Vec<Sighting<'_>>> = BTreeMap::new();
    for sighting in sightings {
        sides.entry(sighting.finding.laterality.or(surest)).or_default().push(sighting);
    }
    let mut things = Vec::new();
    for (_, sightings) in sides {
        if is_focal(code) { things.extend(by_place(sightings)) } else { things.push(sightings) }
    }
    things
}

/// A fixed order, so that sums and choices do not depend on which job ended first.
fn order<'a>(sighting: &Sighting<'a>) -> (Option<usize>, &'a Uid, u32, f32) {
    let evidence = sighting.evidence;
    (sighting.slice, &evidence.instance, evidence.frame, -evidence.confidence)
}

/// Chains sightings that touch. Sightings come in order of slice.
fn by_place(sightings: Vec<Sighting<'_>>) -> Vec<Vec<Sighting<'_>>> {
    let mut things: Vec<Vec<Sighting<'_>>> = Vec::new();
    for sighting in sightings {
        let touching: Vec<usize> =
            (0..things.len()).filter(|&i| things[i].iter().any(|other| touch(other, &sighting))).collect();
        match touching.split_first() {
            None => things.push(vec![sighting]),
            Some((&first, rest)) => {
                // The sighting bridges several things: they were one all along.
                for &i in rest.iter().rev() {
                    let bridged = things.remove(i);
                    things[first].extend(bridged);
                }
                things[first].push(sighting);
            }
        }
    }
    things
}

/// Whether two sightings of the same code and side are of one thing.
fn touch(a: &Sighting<'_>, b: &Sighting<'_>) -> bool {
    match (a.slice, b.slice) {
        (Some(x), Some(y)) => {
            let near = a.evidence.series == b.evidence.series && x.abs_diff(y) <= REACH_SLICES;
            near && match (&a.evidence.bounds, &b.evidence.bounds) {
                (Some(one), Some(other)) => one.iou(other) >= TOUCHING_IOU,
                _ => true,
            }
        }
        // Views of an X-ray study show the same chest from elsewhere: boxes cannot be compared.
        (None, None) => {
            a.evidence.instance != b.evidence.instance
                || match (&a.evidence.bounds, &b.evidence.bounds) {
                    (Some(one), Some(other)) => one.iou(other) >= TOUCHING_IOU,
                    _ => true,
                }
        }
        _ => false,
    }
}

/// The CT slices that were read, in order, and how far apart they lie.
struct Slices<'a> {
    places: BTreeMap<(&'a Uid, u32), usize>,
    spacing_mm: Option<f64>,
}

impl<'a> Slices<'a> {
    fn of(readings: &[Reading<'a>]) -> Self {
        let is_ct = |reading: &&Reading<'_>| reading.spec.kind == JobKind::Read(ImageKind::Ct);
        let images: Vec<&ImageRef> = readings.iter().filter(is_ct).flat_map(|reading| &reading.spec.images).collect();
        let mut places = BTreeMap::new();
        let mut unique: Vec<&ImageRef> = Vec::new();
        for image in images {
            // Slabs overlap: a slice keeps the place where it came first.
            let next = unique.len();
            places.entry((&image.instance, image.frame)).or_insert_with(|| {
                unique.push(image);
                next
            });
        }
        let mut steps: Vec<f64> = unique.windows(2).filter_map(|pair| distance_mm(pair[0], pair[1])).collect();
        steps.sort_by(f64::total_cmp);
        Self { places, spacing_mm: steps.get(steps.len() / 2).copied() }
    }

    fn place(&self, evidence: &Evidence) -> Option<usize> {
        self.places.get(&(&evidence.instance, evidence.frame)).copied()
    }

    /// Whether a thing was seen often enough to be said.
    fn support(&self, thing: &[Sighting<'_>]) -> bool {
        let mut seen: Vec<usize> = thing.iter().filter_map(|sighting| sighting.slice).collect();
        if seen.is_empty() || self.places.len() < 2 {
            return true;
        }
        seen.dedup();
        if seen.windows(2).any(|pair| pair[1] - pair[0] <= REACH_SLICES) {
            return true;
        }
        // Too small to reach the next slice.
        let largest = thing.iter().filter_map(|sighting| sighting.finding.size_mm).fold(0.0, f32::max);
        self.spacing_mm.is_some_and(|spacing| largest > 0.0 && f64::from(largest) < spacing)
    }
}

/// Distance between two slices of one series along their normal, in mm.
fn distance_mm(a: &ImageRef, b: &ImageRef) -> Option<f64> {
    let (p, q) = (a.plane?, b.plane?);
    if a.series != b.series {
        return None;
    }
    let [r, c] = [p.row, p.column];
    let normal = [r[1] * c[2] - r[2] * c[1], r[2] * c[0] - r[0] * c[2], r[0] * c[1] - r[1] * c[0]];
    let along: f64 = (0..3).map(|axis| normal[axis] * (q.position_mm[axis] - p.position_mm[axis])).sum();
    Some(along.abs())
}

/// One finding of all sightings of a thing.
fn one(code: FindingCode, thing: &[Sighting<'_>], slices: &Slices<'_>) -> Finding {
    let certain = thing.iter().any(|sighting| sighting.finding.presence == Presence::Present);
    let sizes = thing.iter().filter_map(|sighting| sighting.finding.size_mm);
    Finding {
        code,
        presence: if certain { Presence::Present } else { Presence::Uncertain },
        laterality: vote(thing, |finding| finding.laterality),
        zone: vote(thing, |finding| finding.zone),
        severity: vote(thing, |finding| finding.severity),
        size_mm: sizes.max_by(f32::total_cmp),
        confidence: confidence(thing),
        evidence: evidence(thing, slices),
    }
}

/// The value with the most confidence behind it; of two equal ones, the later in the enum's order.
fn vote<T: Copy + Ord>(thing: &[Sighting<'_>], value: impl Fn(&Finding) -> Option<T>) -> Option<T> {
    let mut weights: BTreeMap<T, f32> = BTreeMap::new();
    for sighting in thing {
        if let Some(value) = value(sighting.finding) {
            *weights.entry(value).or_default() += sighting.evidence.confidence;
        }
    }
    weights.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(value, _)| value)
}

/// How likely the thing is there: the surest image, and half of what the second surest leaves open.
///
/// Images of one thing are far from independent, so a full "or" of their probabilities would be too sure.
fn confidence(thing: &[Sighting<'_>]) -> f32 {
    let mut sure: Vec<f32> = thing.iter().map(|sighting| sighting.finding.confidence).collect();
    sure.sort_by(|a, b| b.total_cmp(a));
    match sure.as_slice() {
        [] => 0.0,
        [only] => *only,
        [first, second, ..] => first + (1.0 - first) * second / 2.0,
    }
}

/// The images of a thing: the best to look at, then the surest others, in order of slice.
fn evidence(thing: &[Sighting<'_>], slices: &Slices<'_>) -> Vec<Evidence> {
    let mut images: Vec<Evidence> = Vec::new();
    for sighting in thing {
        let there = |other: &Evidence| {
            other.instance == sighting.evidence.instance && other.frame == sighting.evidence.frame
        };
        match images.iter_mut().find(|image| there(image)) {
            Some(image) if image.confidence >= sighting.evidence.confidence => {}
            Some(image) => *image = sighting.evidence.clone(),
            None => images.push(sighting.evidence.clone()),
        }
    }
    images.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let surest = images.first().map_or(0.0, |image| image.confidence);
    let area = |image: &Evidence| image.bounds.map_or(0.0, |bounds| bounds.area());
    let best = (0..images.len())
        .filter(|&i| images[i].confidence >= NEARLY_AS_SURE * surest)
        .max_by(|&i, &j| area(&images[i]).total_cmp(&area(&images[j])))
        .unwrap_or(0);
    if !images.is_empty() {
        let best = images.remove(best);
        images.truncate(MAX_EVIDENCE - 1);
        images.sort_by_key(|image| (slices.place(image), image.instance.clone(), image.frame));
        images.insert(0, best);
    }
    images
}
