//! Bones and the stomach's bubble, as they add to or take from a radiograph.

use super::anatomy::{Anatomy, LungPoint};
use crate::phantom::dice::{Dice, Side};
use crate::phantom::noise::{soft_edge, sq};

/// Ribs that are drawn on each side.
const RIBS: i32 = 10;

/// The skeleton of one chest.
pub(super) struct Skeleton {
    tilt: f32,
    curve: f32,
    spacing: f32,
    half: f32,
    density: f32,
    vertebra: f32,
    clavicles: [[f32; 2]; 2],
    bubble: Option<[f32; 2]>,
}

impl Skeleton {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        Self {
            tilt: dice.between(0.26, 0.40),
            curve: dice.between(0.0016, 0.0024),
            spacing: dice.between(22.0, 26.0),
            half: dice.between(4.2, 5.6),
            density: dice.between(0.09, 0.15),
            vertebra: dice.between(3.3, 3.9),
            clavicles: [(); 2].map(|()| [dice.between(12.0, 24.0), dice.between(0.10, 0.28)]),
            bubble: dice.chance(0.6).then(|| [dice.between(18.0, 30.0), dice.between(10.0, 18.0)]),
        }
    }

    /// What bone adds at a point.
    pub(super) fn bone(&self, anatomy: &Anatomy, side: Side, lung: &LungPoint, u: f32, v: f32) -> f32 {
        let spine = soft_edge(19.0 - u.abs(), 3.0);
        let spine = if spine > 0.0 { spine * (0.06 + 0.03 * (v / self.vertebra / 1.9).cos()) } else { 0.0 };
        spine + self.density * self.ribs(anatomy, lung, v) + self.shoulder(anatomy, side, lung.out, v)
    }

    fn ribs(&self, anatomy: &Anatomy, lung: &LungPoint, v: f32) -> f32 {
        let out = lung.out;
        let within = soft_edge(lung.wall + 5.0 - out, 3.0);
        if within <= 0.0 {
            return 0.0;
        }
        let top = anatomy.apex - 6.0;
        let profile = |from_middle: f32| {
            let from_middle = from_middle.abs();
            let hollow = 0.55 + 0.45 * (from_middle / self.half).min(1.2);
            ((self.half - from_middle) / 1.5 + 0.5).clamp(0.0, 1.0) * hollow
        };
        // Only the nearest rib of each arch can cover the point.
        let nearest = |first: f32, range: (i32, i32)| {
            let rib = ((v - first) / self.spacing).round() as i32;
            profile(v - first - self.spacing * rib.clamp(range.0, range.1 - 1) as f32)
        };
        let back = top + 8.0 - 0.25 * out + self.curve * 2.16 * sq(out - 30.0);
        let back = nearest(back, (0, RIBS)) * within * soft_edge(out - 16.0, 3.0);
        let front = top + 52.0 - (out - 60.0) * (self.tilt + 0.25);
        let front = nearest(front, (2, 8)) * within * soft_edge(out - 55.0, 12.0);
        back.max(0.6 * front)
    }

    /// Clavicle and shoulder blade.
    fn shoulder(&self, anatomy: &Anatomy, side: Side, out: f32, v: f32) -> f32 {
        if v > anatomy.apex + 150.0 {
            return 0.0;
        }
        let [height, slope] = self.clavicles[side.index()];
        let middle = anatomy.apex + height - (out - 20.0) * slope + 10.0 * (out / 40.0).sin();
        let clavicle = soft_edge(6.0 - (v - middle).abs(), 1.5)
            * soft_edge(out - 15.0, 3.0)
            * soft_edge(anatomy.half_width + 45.0 - out, 4.0);
        let blade = (sq(out - anatomy.half_width - 28.0) + sq((v - anatomy.apex - 70.0) / 2.2)).sqrt();
        0.17 * clavicle + 0.08 * soft_edge(28.0 - blade, 6.0)
    }

    /// Air in the stomach, under the left dome.
    pub(super) fn bubble(&self, anatomy: &Anatomy, u: f32, v: f32) -> f32 {
        let Some([width, height]) = self.bubble else {
            return 0.0;
        };
        let r = sq((u - 62.0) / width) + sq((v - anatomy.dome(Side::Left) - 38.0) / height);
        if r > 3.0 { 0.0 } else { soft_edge((1.0 - r.sqrt()) * 18.0, 3.0) }
    }
}
