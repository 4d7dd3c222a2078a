//! Trees of pulmonary vessels in space.

use super::dice::{Dice, Side};

/// A piece of a vessel: two ends in mm, and the radius at each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) from: [f32; 3],
    pub(super) to: [f32; 3],
    pub(super) radius: [f32; 2],
}

/// Where a tree grows: from a hilum into a lung, whose inside `contains` knows.
pub(super) struct Lung<'a> {
    pub(super) side: Side,
    pub(super) hilum: [f32; 3],
    /// Half the lung's extent in x, y and z, which directions are stretched by.
    pub(super) extent: [f32; 3],
    pub(super) contains: &'a dyn Fn([f32; 3]) -> bool,
}

/// Trunks that leave a hilum.
const TRUNKS: usize = 11;
/// Times that a branch divides.
const DIVISIONS: usize = 4;
/// Directions that are tried before a branch ends at the lung's border.
const BENDS: usize = 4;
/// Radius at the hilum, and the least that is drawn, in mm.
const WIDEST_MM: f32 = 3.6;
const FINEST_MM: f32 = 0.75;

/// Grows the vessels of one lung.
pub(super) fn grow(dice: &mut Dice, lung: &Lung<'_>) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(TRUNKS << (DIVISIONS + 1));
    for trunk in 0..TRUNKS {
        // Trunks fan out from up to down, away from the mediastinum.
        let angle = (trunk as f32 + dice.between(0.1, 0.9)) / TRUNKS as f32 * 2.9 - 1.45;
        let out = lung.side.sign() * (angle.cos() + 0.25);
        let direction = [out, dice.between(-0.8, 0.8), angle.sin() * 1.1];
        let radius = WIDEST_MM * dice.between(0.6, 1.0);
        branch(dice, lung, Tip { at: lung.hilum, direction, radius, divisions: DIVISIONS }, &mut segments);
    }
    segments
}

/// The next end of a branch, which bends away from the lung's border.
fn step(dice: &mut Dice, lung: &Lung<'_>, tip: &mut Tip) -> Option<[f32; 3]> {
    for attempt in 0..BENDS {
        let bend = 0.3 + 0.25 * attempt as f32;
        for axis in &mut tip.direction {
            *axis += dice.between(-bend, bend);
        }
        let norm = tip.direction.iter().map(|v| v * v).sum::<f32>().sqrt().max(0.1);
        let length = dice.between(0.16, 0.30);
        let to = std::array::from_fn(|axis| tip.at[axis] + tip.direction[axis] / norm * length * lung.extent[axis]);
        if (lung.contains)(to) {
            return Some(to);
        }
    }
    None
}

struct Tip {
    at: [f32; 3],
    direction: [f32; 3],
    radius: f32,
    divisions: usize,
}

fn branch(dice: &mut Dice, lung: &Lung<'_>, mut tip: Tip, segments: &mut Vec<Segment>) {
    let pieces = 2 + dice.below(2);
    for _ in 0..pieces {
        let Some(to) = step(dice, lung, &mut tip) else {
            return;
        };
        let radius = (tip.radius * 0.9).max(FINEST_MM);
        segments.push(Segment { from: tip.at, to, radius: [tip.radius, radius] });
        tip.at = to;
        tip.radius = radius;
    }
    if tip.divisions == 0 || tip.radius <= FINEST_MM {
        return;
    }
    let turn = [dice.between(-0.8, 0.8), dice.between(-0.8, 0.8), dice.between(-0.8, 0.8)];
    for (sign, share) in [(1.0, 0.85), (-1.0, dice.between(0.65, 0.8))] {
        let direction = std::array::from_fn(|axis| tip.direction[axis] + sign * turn[axis]);
        let child = Tip { at: tip.at, direction, radius: tip.radius * share, divisions: tip.divisions - 1 };
        branch(dice, lung, child, segments);
    }
}
