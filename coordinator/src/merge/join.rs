//! Observations of the same thing, put together.

use prelim_proto::finding::{ImageBox, Laterality, Presence};
use prelim_proto::vocabulary::FindingCode;

use super::observe::{Observation, Place, Slice};

/// Slices of a stack between which a finding may be missed once and still be one finding.
const BRIDGED_SLICES: usize = 2;
/// Centres of one finding in two stacks may differ by so much, in mm, however small it is.
const SAME_CENTRE_MM: f64 = 10.0;

/// What makes two observations of one code the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// There may be several on one side: the place decides, and the side is a matter of majority.
    Place,
    /// One on each side.
    Side,
    /// One in a patient.
    Patient,
}

pub(super) fn identity(code: FindingCode) -> Identity {
    use FindingCode::*;
    match code {
        Nodule | Mass | Consolidation | Atelectasis | Fracture => Identity::Place,
        PleuralEffusion | Pneumothorax => Identity::Side,
        Cardiomegaly | InterstitialEdema | Pacemaker | EndotrachealTube => Identity::Patient,
    }
}

/// Codes that are one thing seen differently. The slices at the ends of a mass look like a nodule.
pub(super) fn family(code: FindingCode) -> FindingCode {
    if code == FindingCode::Mass { FindingCode::Nodule } else { code }
}

/// Observations put together, each group one finding, in order of code.
pub(super) fn join(observations: Vec<Observation<'_>>) -> Vec<Vec<Observation<'_>>> {
    let mut groups = Vec::new();
    for code in FindingCode::ALL.iter().copied().filter(|code| family(*code) == *code) {
        let of_code = |observation: &Observation<'_>| family(observation.finding.code) == code;
        let (absent, seen): (Vec<_>, Vec<_>) = observations
            .iter()
            .filter(|observation| of_code(observation))
            .cloned()
            .partition(|observation| observation.finding.presence == Presence::Absent);
        if seen.is_empty() {
            // Said to be absent on every image where it was looked for.
            groups.extend((!absent.is_empty()).then_some(absent));
            continue;
        }
        groups.extend(match identity(code) {
            Identity::Patient => vec![seen],
            Identity::Side => by_side(seen),
            Identity::Place => by_place(seen),
        });
    }
    groups
}

/// One group a side. What has no side belongs to the only one there is; what is on both sides takes the others in.
fn by_side(observations: Vec<Observation<'_>>) -> Vec<Vec<Observation<'_>>> {
    let mut sides: Vec<Laterality> = observations.iter().filter_map(|o| o.finding.laterality).collect();
    sides.sort_unstable();
    sides.dedup();
    if sides.len() <= 1 || sides.contains(&Laterality::Bilateral) {
        return vec![observations];
    }
    let mut groups: Vec<Vec<Observation<'_>>> = vec![Vec::new(); sides.len() + 1];
    for observation in observations {
        let side = observation.finding.laterality;
        let group = sides.iter().position(|known| Some(*known) == side).unwrap_or(sides.len());
        groups[group].push(observation);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// Groups of observations linked by place, directly or through others.
fn by_place(mut observations: Vec<Observation<'_>>) -> Vec<Vec<Observation<'_>>> {
    // The surest first: weaker ones are put to them.
    observations.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut groups: Vec<Vec<Observation<'_>>> = Vec::new();
    for observation in observations {
        let linked: Vec<usize> = (0..groups.len()).filter(|at| is_linked(&groups[*at], &observation)).collect();
        let Some((first, others)) = linked.split_first() else {
            groups.push(vec![observation]);
            continue;
        };
        if matches!(observation.place, Place::Slice(_)) {
            // It may close the gap between groups that were apart.
            for other in others.iter().rev() {
                let group = groups.remove(*other);
                groups[*first].extend(group);
            }
        }
        groups[*first].push(observation);
    }
    groups
}

fn is_linked(group: &[Observation<'_>], new: &Observation<'_>) -> bool {
    match &new.place {
        // Views show a thing from different directions: places on them cannot be compared. One in each view of the
        // same side is taken for the same thing.
        Place::View(view) => {
            let same_view = group.iter().find(|held| held.place == Place::View(*view));
            match same_view {
                Some(held) => boxes_touch(held, new).unwrap_or(true) && sides_agree(held, new),
                None => group.iter().all(|held| sides_agree(held, new)),
            }
        }
        Place::Slice(slice) => group.iter().any(|held| match &held.place {
            Place::Slice(other) => slices_linked(other, held, slice, new),
            _ => sides_agree(held, new),
        }),
        Place::Unknown => group.iter().all(|held| sides_agree(held, new)),
    }
}

/// Whether observations on two slices are of one thing.
fn slices_linked(a: &Slice, held: &Observation<'_>, b: &Slice, new: &Observation<'_>) -> bool {
    if a.stack == b.stack {
        let near = a.index.abs_diff(b.index) <= BRIDGED_SLICES;
        return near && boxes_nearly_touch(held, new).unwrap_or_else(|| sides_agree(held, new));
    }
    // Another reconstruction: its pixels are elsewhere, the patient is not.
    let (Some(from), Some(to)) = (a.centre_mm, b.centre_mm) else { return sides_agree(held, new) };
    let distance_mm = (0..3).map(|axis| (from[axis] - to[axis]).powi(2)).sum::<f64>().sqrt();
    let reach_mm = a.radius_mm.unwrap_or(0.0).max(b.radius_mm.unwrap_or(0.0)).max(SAME_CENTRE_MM);
    distance_mm <= reach_mm
}

/// Whether the boxes share any area; none where one of them has no box.
fn boxes_touch(a: &Observation<'_>, b: &Observation<'_>) -> Option<bool> {
    let bounds = |observation: &Observation<'_>| -> Option<ImageBox> { observation.evidence?.bounds };
    Some(bounds(a)?.iou(&bounds(b)?) > 0.0)
}

/// The same on neighbouring slices, each box grown by a quarter of its sides: boxes of small things are coarse, and those
/// of one thing may just miss each other.
fn boxes_nearly_touch(a: &Observation<'_>, b: &Observation<'_>) -> Option<bool> {
    let grown = |observation: &Observation<'_>| -> Option<[f32; 4]> {
        let bounds = observation.evidence?.bounds?;
        let (high, wide) = ((bounds.bottom - bounds.top) / 4.0, (bounds.right - bounds.left) / 4.0);
        Some([bounds.top - high, bounds.left - wide, bounds.bottom + high, bounds.right + wide])
    };
    let ([top_a, left_a, bottom_a, right_a], [top_b, left_b, bottom_b, right_b]) = (grown(a)?, grown(b)?);
    Some(top_a < bottom_b && top_b < bottom_a && left_a < right_b && left_b < right_a)
}

fn sides_agree(a: &Observation<'_>, b: &Observation<'_>) -> bool {
    let (a, b) = (a.finding.laterality, b.finding.laterality);
    a.is_none() || b.is_none() || a == b
}
