//! Devices: a pacemaker with its lead, an endotracheal tube.

use super::anatomy::{Anatomy, Pose};
use crate::phantom::dice::{Dice, Side};
use crate::phantom::noise::{fade, soft_edge, sq};

/// Points that a lead is drawn through.
const LEAD_POINTS: usize = 400;

/// A generator under the clavicle, with a lead to the heart.
pub(super) struct Pacemaker {
    pub(super) side: Side,
    pub(super) centre: [f32; 2],
    half: [f32; 2],
}

impl Pacemaker {
    pub(super) fn draw(dice: &mut Dice, anatomy: &Anatomy) -> Self {
        let side = if dice.chance(0.75) { Side::Left } else { Side::Right };
        let centre = [dice.between(75.0, 105.0), anatomy.apex + dice.between(40.0, 62.0)];
        Self { side, centre, half: [dice.between(19.0, 24.0), dice.between(15.0, 19.0)] }
    }

    /// Coverage by the generator.
    pub(super) fn can(&self, u: f32, v: f32) -> f32 {
        let du = (self.side.sign() * u - self.centre[0]) / self.half[0];
        let dv = (v - self.centre[1]) / self.half[1];
        if du.abs() > 1.5 || dv.abs() > 1.5 {
            return 0.0;
        }
        soft_edge((1.0 - (sq(sq(du)) + sq(sq(dv)))) * 8.0, 1.5)
    }

    /// Draws the lead: from the generator under the clavicle, down the great vein, to the right ventricle.
    pub(super) fn draw_lead(&self, anatomy: &Anatomy, pose: &Pose, size: usize, film: &mut [f32]) {
        const WIDTH_MM: f32 = 1.3;
        let sign = self.side.sign();
        let from = [sign * (self.centre[0] - 10.0), self.centre[1] + 8.0];
        let through = [[sign * 40.0, anatomy.apex + 10.0], [-18.0, anatomy.apex + 70.0]];
        let to = [25.0, anatomy.heart_centre()[1] + 25.0];
        let reach = (3.0 * WIDTH_MM / pose.spacing_mm).ceil();
        for point in 0..LEAD_POINTS {
            let t = point as f32 / (LEAD_POINTS - 1) as f32;
            let s = 1.0 - t;
            let curve = |axis: usize| {
                s * s * s * from[axis]
                    + 3.0 * s * s * t * through[0][axis]
                    + 3.0 * s * t * t * through[1][axis]
                    + t * t * t * to[axis]
            };
            let (x, y) = pose.film(curve(0), curve(1));
            let span = |middle: f32| {
                let first = (middle - reach).max(0.0) as usize;
                first..((middle + reach).max(0.0) as usize + 1).min(size)
            };
            for row in span(y) {
                for column in span(x) {
                    let distance = sq(column as f32 - x) + sq(row as f32 - y);
                    let shadow = fade(distance * sq(pose.spacing_mm) / (WIDTH_MM * WIDTH_MM * 1.5));
                    let pixel = &mut film[row * size + column];
                    *pixel = pixel.max(0.35 * shadow);
                }
            }
        }
    }
}

/// A tube in the trachea.
pub(super) struct Tube {
    tip: f32,
    offset: f32,
    wall: f32,
}

impl Tube {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        Self { tip: dice.between(-92.0, -58.0), offset: dice.between(-2.0, 5.0), wall: dice.between(0.34, 0.46) }
    }

    /// Coverage, and what the tube adds to the film: two walls, and a little between them.
    pub(super) fn coverage(&self, u: f32, v: f32) -> (f32, f32) {
        let off = (u - self.offset).abs();
        if off > 10.0 || v > self.tip + 4.0 {
            return (0.0, 0.0);
        }
        let walls = self.wall * fade(sq((off - 4.4) / 1.3)) + 0.05 * soft_edge(4.4 - off, 1.0);
        let coverage = soft_edge(self.tip - v, 1.0) * soft_edge(6.0 - off, 0.5);
        (coverage, soft_edge(self.tip - v, 1.5) * walls)
    }
}
