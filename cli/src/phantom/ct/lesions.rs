//! What is wrong in the lungs of a CT, in space.

use prelim_proto::vocabulary::FindingCode;

use super::body::{Body, Level};
use crate::phantom::dice::{Dice, Side};
use crate::phantom::findings::{Drawn, Scale};
use crate::phantom::noise::{Noise, SolidNoise, soft_edge, sq};

const FLUID: Scale = Scale::of_size([32.0, 58.0]);
const AIR: Scale = Scale::of_size([24.0, 42.0]);
/// Places that are tried for a lesion before it is given up.
const TRIES: usize = 80;

/// Fluid behind the lung, deeper towards its base.
pub(super) struct Effusion {
    pub(super) side: Side,
    depth: f32,
    top: f32,
    rise: f32,
    bow: f32,
    pub(super) hu: f32,
}

impl Effusion {
    fn draw(dice: &mut Dice, body: &Body) -> Self {
        let depth = dice.between(14.0, 85.0);
        Self {
            side: dice.side(),
            depth,
            top: body.height * (0.72 - 0.45 * depth / 85.0),
            rise: body.height * 0.30,
            bow: dice.between(6.0, 16.0),
            hu: dice.between(0.0, 25.0),
        }
    }

    /// Depth of the fluid, front to back, at a level.
    pub(super) fn depth(&self, d: f32) -> f32 {
        self.depth * ((d - self.top) / self.rise).clamp(0.0, 1.0).sqrt()
    }

    pub(super) fn coverage(&self, level: &Level<'_>, depth: f32, u: f32, v: f32, lung: f32) -> f32 {
        if depth < 6.0 {
            return 0.0;
        }
        let out = self.side.sign() * u - level.lung_middle();
        let behind = v - (level.lung_half_depth() - depth) + sq(out / 50.0) * self.bow;
        soft_edge(lung + 1.5, 1.2) * soft_edge(behind, 2.0)
    }
}

/// Air in front of a lung.
pub(super) struct Pneumothorax {
    pub(super) side: Side,
    gap: f32,
    middle: f32,
    half: f32,
    bow: f32,
}

impl Pneumothorax {
    fn draw(dice: &mut Dice, body: &Body) -> Self {
        Self {
            side: dice.side(),
            gap: dice.between(14.0, 62.0),
            middle: body.height * dice.between(0.36, 0.56),
            half: body.height * dice.between(0.24, 0.40),
            bow: dice.between(4.0, 10.0),
        }
    }

    /// Depth of the air, front to back, at a level.
    pub(super) fn gap(&self, d: f32) -> f32 {
        self.gap * (1.0 - sq((d - self.middle) / self.half)).max(0.0).sqrt()
    }

    /// Coverage by air, and by the pleura that the lung has behind it.
    pub(super) fn coverage(&self, level: &Level<'_>, gap: f32, u: f32, v: f32, lung: f32) -> (f32, f32) {
        if gap < 5.0 {
            return (0.0, 0.0);
        }
        let out = self.side.sign() * u - level.lung_middle();
        let behind = v + level.lung_half_depth() - gap - sq(out / 45.0) * self.bow + 0.12 * out;
        let within = soft_edge(lung, 1.5);
        (within * soft_edge(-behind, 1.0), within * (-sq(behind / 1.5)).exp())
    }
}

/// Filled air spaces.
pub(super) struct Consolidation {
    pub(super) side: Side,
    centre: [f32; 3],
    half: [f32; 3],
    pub(super) hu: f32,
    ragged: [(f32, SolidNoise); 3],
    texture: SolidNoise,
}

/// The noise of a consolidation on one slice.
pub(super) struct ConsolidationSlice {
    ragged: [(f32, Noise); 3],
    texture: Noise,
}

impl Consolidation {
    /// The lesion on a slice, where the slice may cut it. `t` is the slice's place in the volume, 0 to 1.
    pub(super) fn slice(&self, d: f32, t: f32) -> Option<ConsolidationSlice> {
        let reached = (d - self.centre[2]).abs() < 1.7 * self.half[2];
        reached.then(|| ConsolidationSlice {
            ragged: [0, 1, 2].map(|k| (self.ragged[k].0, self.ragged[k].1.slice(t))),
            texture: self.texture.slice(t),
        })
    }

    pub(super) fn coverage(&self, d: f32, u: f32, v: f32, lung: f32, border: f32) -> f32 {
        let out = self.side.sign() * u;
        let r = sq((out - self.centre[0]) / self.half[0])
            + sq((v - self.centre[1]) / self.half[1])
            + sq((d - self.centre[2]) / self.half[2]);
        if r > 5.0 {
            return 0.0;
        }
        ((1.05 - r.sqrt() - border) * 2.4).clamp(0.0, 1.0) * soft_edge(lung, 1.5)
    }
}

impl ConsolidationSlice {
    /// Rows of the border's unevenness and of the density.
    pub(super) fn rows(&self, y: usize, border: &mut [f32], density: &mut [f32]) {
        border.fill(0.0);
        for (gain, noise) in &self.ragged {
            noise.add_row(y, *gain, border);
        }
        density.fill(0.0);
        self.texture.add_row(y, 1.0, density);
        for density in density {
            *density = 0.95 * (density.abs() * 4.0 + 0.1).clamp(0.45, 1.0);
        }
    }
}

/// A nodule or a mass.
pub(super) struct Round {
    pub(super) code: FindingCode,
    pub(super) side: Side,
    centre: [f32; 3],
    diameter: f32,
    stretch: [f32; 2],
    pub(super) hu: f32,
    border: SolidNoise,
}

impl Round {
    /// Unevenness of the border on a slice that may cut it.
    pub(super) fn slice(&self, d: f32, t: f32) -> Option<Noise> {
        ((d - self.centre[2]).abs() < self.diameter * 0.75).then(|| self.border.slice(t))
    }

    /// Unevenness of the border in mm for one unit of noise.
    pub(super) fn roughness(&self) -> f32 {
        if self.code == FindingCode::Mass { 1.6 } else { 0.5 }
    }

    pub(super) fn coverage(&self, d: f32, u: f32, v: f32, lung: f32, border: f32) -> f32 {
        let out = self.side.sign() * u - self.centre[0];
        let r = out * out + sq((v - self.centre[1]) * self.stretch[0]) + sq((d - self.centre[2]) * self.stretch[1]);
        let radius = self.diameter / 2.0;
        if r > sq(radius + 6.0) {
            return 0.0;
        }
        soft_edge(radius - r.sqrt() - border, 1.0) * soft_edge(lung + 1.5, 1.2)
    }
}

/// Everything wrong in the lungs.
#[derive(Default)]
pub(super) struct Lesions {
    pub(super) effusion: Option<Effusion>,
    pub(super) pneumothorax: Option<Pneumothorax>,
    pub(super) consolidation: Option<Consolidation>,
    pub(super) round: Vec<Round>,
    /// What was drawn, in the order of the vocabulary.
    pub(super) drawn: Vec<Drawn>,
}

/// Where a lesion is to go: a side, a middle, and how much room it takes.
struct Site {
    side: Side,
    centre: [f32; 3],
}

impl Lesions {
    pub(super) fn draw(dice: &mut Dice, body: &Body, codes: &[FindingCode], size: usize) -> Self {
        let mut lesions = Self::default();
        for &code in codes {
            match code {
                FindingCode::PleuralEffusion => {
                    let it = Effusion::draw(dice, body);
                    let drawn = Drawn::new(code).on(it.side).severity(FLUID.word(it.depth)).size(it.depth);
                    lesions.drawn.push(drawn);
                    lesions.effusion = Some(it);
                }
                FindingCode::Pneumothorax => {
                    let it = Pneumothorax::draw(dice, body);
                    lesions.drawn.push(Drawn::new(code).on(it.side).severity(AIR.word(it.gap)).size(it.gap));
                    lesions.pneumothorax = Some(it);
                }
                FindingCode::Consolidation => lesions.consolidate(dice, body, size),
                FindingCode::Nodule | FindingCode::Mass => lesions.add_round(dice, body, code, size),
                _ => {}
            }
        }
        lesions
    }

    fn consolidate(&mut self, dice: &mut Dice, body: &Body, size: usize) {
        let half = dice.between(20.0, 42.0);
        let Some(Site { side, centre }) = self.find_site(dice, body, half * 0.6, (half * 0.5).min(14.0)) else {
            return;
        };
        let half = [half, half * dice.between(0.75, 1.2), half * dice.between(0.75, 1.1)];
        let ragged = [(0.22, 11, 8), (0.16, 28, 20), (0.08, 56, 40)];
        self.consolidation = Some(Consolidation {
            side,
            centre,
            half,
            hu: dice.between(-60.0, 40.0),
            ragged: ragged.map(|(gain, cells, depth)| (gain, SolidNoise::new(dice, size, cells, depth))),
            texture: SolidNoise::new(dice, size, 30, 22),
        });
        let drawn = Drawn::new(FindingCode::Consolidation).on(side).zone(zone(centre[1]));
        self.drawn.push(drawn.size(2.0 * half[0].max(half[1]).max(half[2])));
    }

    fn add_round(&mut self, dice: &mut Dice, body: &Body, code: FindingCode, size: usize) {
        let mass = code == FindingCode::Mass;
        let diameter = if mass { dice.between(36.0, 58.0) } else { dice.between(10.0, 27.0) };
        let margin = if mass { (diameter * 0.3).min(14.0) } else { diameter / 2.0 + 2.0 };
        let Some(Site { side, centre }) = self.find_site(dice, body, diameter / 2.0 + 2.0, margin) else {
            return;
        };
        self.round.push(Round {
            code,
            side,
            centre,
            diameter,
            stretch: [dice.between(0.87, 1.15), dice.between(0.87, 1.1)],
            hu: dice.between(10.0, 60.0),
            border: SolidNoise::new(dice, size, 16, 12),
        });
        self.drawn.push(Drawn::new(code).on(side).zone(zone(centre[1])).size(diameter));
    }

    /// A place at least `margin` inside a lung where nothing else lies within `reach`.
    fn find_site(&self, dice: &mut Dice, body: &Body, reach: f32, margin: f32) -> Option<Site> {
        for _ in 0..TRIES {
            let side = dice.side();
            let depth = body.lung_half_depth();
            let centre = [
                dice.between(28.0, body.wall() * 0.95),
                dice.between(-0.9 * depth, 0.9 * depth),
                body.height * dice.between(0.10, 0.85),
            ];
            if self.is_clear(body, side, centre, reach, margin) {
                return Some(Site { side, centre });
            }
        }
        None
    }

    fn is_clear(&self, body: &Body, side: Side, centre: [f32; 3], reach: f32, margin: f32) -> bool {
        let apart = |other: &[f32; 3], radius: f32| {
            let distance: f32 = centre.iter().zip(other).map(|(a, b)| sq(a - b)).sum();
            distance.sqrt() > reach + radius + 3.0
        };
        let round = self.round.iter().filter(|it| it.side == side).all(|it| apart(&it.centre, it.diameter / 2.0));
        let filled = self.consolidation.as_ref().filter(|it| it.side == side);
        let filled = filled.is_none_or(|it| apart(&it.centre, it.half.into_iter().fold(0.0, f32::max)));
        let level = |d: f32| body.level(d);
        let sign = side.sign();
        if !round || !filled || level(centre[2]).lung(side, sign * centre[0], centre[1]) < margin {
            return false;
        }
        let corners = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]];
        let corners = corners.into_iter().chain([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]);
        corners.into_iter().all(|corner| {
            let [u, v, d]: [f32; 3] = std::array::from_fn(|axis| centre[axis] + reach * corner[axis]);
            let (level, u) = (level(d), sign * u);
            let lung = level.lung(side, u, v);
            let fluid = self.effusion.as_ref().filter(|it| it.side == side);
            let fluid = fluid.map_or(0.0, |it| it.coverage(&level, it.depth(d), u, v, lung.max(3.0)));
            let air = self.pneumothorax.as_ref().filter(|it| it.side == side);
            let air = air.map_or(0.0, |it| it.coverage(&level, it.gap(d), u, v, lung.max(3.0)).0);
            fluid < 0.3 && air < 0.3 && (margin < reach * 0.8 || lung > 1.0)
        })
    }
}

/// Severity of the fluid that a slice shows.
pub(super) fn fluid_word(depth: f32) -> &'static str {
    FLUID.word(depth)
}

/// Severity of the air that a slice shows.
pub(super) fn air_word(gap: f32) -> &'static str {
    AIR.word(gap)
}

/// The third of the chest from front to back.
fn zone(v: f32) -> &'static str {
    ["anterior", "mid", "posterior"][(((v + 75.0) / 50.0) as i32).clamp(0, 2) as usize]
}
