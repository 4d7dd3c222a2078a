//! What is wrong in the lungs of a radiograph: fluid, air, filled air spaces, round opacities.

use prelim_proto::vocabulary::FindingCode;

use super::anatomy::{Anatomy, LungPoint};
use crate::phantom::dice::{Dice, Side};
use crate::phantom::findings::{Drawn, Scale};
use crate::phantom::noise::{Noise, fade, soft_edge, sq};

const FLUID: Scale = Scale::of_size([0.27, 0.48]);
const AIR: Scale = Scale::of_size([20.0, 36.0]);
const CONGESTION: Scale = Scale::of_degree([0.67, 0.84]);
/// Places that are tried for a lesion before it is given up.
const TRIES: usize = 60;

/// Fluid that fills a lung from below.
pub(super) struct Effusion {
    pub(super) side: Side,
    share: f32,
    surface: f32,
    meniscus: f32,
    edge: f32,
    pub(super) opacity: f32,
}

impl Effusion {
    fn draw(dice: &mut Dice, anatomy: &Anatomy) -> Self {
        let side = dice.side();
        let share = dice.between(0.13, 0.70);
        Self {
            side,
            share,
            surface: anatomy.dome(side) + 35.0 - share * 190.0,
            meniscus: dice.between(10.0, 28.0),
            edge: dice.between(2.0, 6.0),
            opacity: dice.between(0.85, 0.98),
        }
    }

    pub(super) fn coverage(&self, lung: &LungPoint, v: f32) -> f32 {
        let from_wall = lung.wall - lung.out;
        let climb = self.meniscus * (from_wall / 60.0).clamp(0.0, 1.3) - 14.0 * fade((from_wall / 9.0).max(0.0));
        soft_edge(lung.inside, 1.5) * soft_edge(v - self.surface - climb, self.edge)
    }
}

/// Air around a lung that has come away from the wall.
pub(super) struct Pneumothorax {
    pub(super) side: Side,
    gap: f32,
    top_gap: f32,
    reach: f32,
}

impl Pneumothorax {
    fn draw(dice: &mut Dice, other: Option<Side>) -> Self {
        // Fluid on the same side would hide most of the air: the two are kept apart.
        let side = other.map_or_else(|| dice.side(), |side| if side == Side::Left { Side::Right } else { Side::Left });
        let gap = dice.between(13.0, 55.0);
        Self { side, gap, top_gap: gap * dice.between(0.9, 1.5), reach: dice.between(230.0, 320.0) }
    }

    /// Distance inside the visceral pleura.
    fn within_lung(&self, anatomy: &Anatomy, lung: &LungPoint, v: f32) -> f32 {
        let below = v - anatomy.apex;
        let wall = lung.wall - lung.out - self.gap * (1.0 - below / self.reach).clamp(0.15, 1.0);
        wall.min(below - self.top_gap - sq((lung.out - 42.0) / 34.0) * 10.0)
    }

    /// Coverage by air, and by the pleural line.
    pub(super) fn coverage(&self, anatomy: &Anatomy, lung: &LungPoint, v: f32) -> (f32, f32) {
        let within = self.within_lung(anatomy, lung, v);
        let inside = soft_edge(lung.inside, 1.5);
        (inside * soft_edge(-within, 1.2), inside * fade(sq(within / 1.6)))
    }

    /// How much denser the collapsed lung is.
    pub(super) fn collapse(&self) -> f32 {
        (self.gap / 55.0).clamp(0.0, 1.0) * 0.35
    }
}

/// Filled air spaces with ragged borders.
pub(super) struct Consolidation {
    pub(super) side: Side,
    centre: [f32; 2],
    half: [f32; 2],
    pub(super) opacity: f32,
    ragged: [(f32, Noise); 3],
    bronchograms: Noise,
    mottle: Noise,
}

impl Consolidation {
    /// The lesion on one row of pixels: how ragged its border is, and how dense it is.
    pub(super) fn textures(&self, y: usize, border: &mut [f32], density: &mut [f32], scratch: &mut [f32]) {
        border.fill(0.0);
        for (gain, noise) in &self.ragged {
            noise.add_row(y, *gain, border);
        }
        density.fill(0.0);
        self.bronchograms.add_row(y, 1.0, density);
        scratch.fill(0.0);
        self.mottle.add_row(y, 0.15, scratch);
        for (density, mottle) in density.iter_mut().zip(scratch) {
            *density = (density.abs() * 3.0 + 0.2).clamp(0.55, 1.0) * (1.0 + *mottle);
        }
    }

    pub(super) fn coverage(&self, lung: &LungPoint, v: f32, border: f32) -> f32 {
        let r = sq((lung.out - self.centre[0]) / self.half[0]) + sq((v - self.centre[1]) / self.half[1]);
        if r > 6.0 {
            return 0.0;
        }
        ((1.05 - r.sqrt() - border) * 2.2).clamp(0.0, 1.0) * soft_edge(lung.inside, 2.0)
    }
}

/// A nodule or a mass.
pub(super) struct Round {
    pub(super) code: FindingCode,
    pub(super) side: Side,
    centre: [f32; 2],
    diameter: f32,
    stretch: f32,
    opacity: f32,
    border: Option<Noise>,
}

impl Round {
    /// A row of unevenness of the border, in mm.
    pub(super) fn texture(&self, y: usize, border: &mut [f32]) {
        border.fill(0.0);
        if let Some(noise) = &self.border {
            noise.add_row(y, 1.8, border);
        }
    }

    /// Coverage, and what it adds to the film.
    pub(super) fn coverage(&self, lung: &LungPoint, v: f32, border: f32) -> (f32, f32) {
        let (du, dv) = (lung.out - self.centre[0], (v - self.centre[1]) * self.stretch);
        let r = du * du + dv * dv;
        let radius = self.diameter / 2.0;
        if r > sq(radius + 12.0) {
            return (0.0, 0.0);
        }
        let r = r.sqrt() + border;
        let coverage = soft_edge(radius - r, 0.9);
        let flatness = if self.code == FindingCode::Mass { 0.22 } else { 0.30 };
        let thickness = (1.0 - sq(r / (radius + 1.5))).clamp(0.05, 1.0).powf(flatness);
        (coverage, coverage * self.opacity * thickness)
    }
}

/// Everything wrong in the lungs.
#[derive(Default)]
pub(super) struct Lesions {
    pub(super) effusion: Option<Effusion>,
    pub(super) pneumothorax: Option<Pneumothorax>,
    pub(super) consolidation: Option<Consolidation>,
    pub(super) round: Vec<Round>,
    /// Degree of interstitial edema.
    pub(super) edema: Option<f32>,
    /// What was drawn, in the order of the vocabulary.
    pub(super) drawn: Vec<Drawn>,
    /// A place with a radius that lesions stay clear of: the pacemaker.
    keep_clear: Option<(Side, [f32; 2])>,
}

impl Lesions {
    pub(super) fn draw(
        dice: &mut Dice,
        anatomy: &Anatomy,
        codes: &[FindingCode],
        size: usize,
        keep_clear: Option<(Side, [f32; 2])>,
    ) -> Self {
        let mut lesions = Self { keep_clear, ..Self::default() };
        for &code in codes {
            match code {
                FindingCode::PleuralEffusion => {
                    let it = Effusion::draw(dice, anatomy);
                    let drawn = Drawn::new(code).on(it.side).severity(FLUID.word(it.share)).size(it.share * 190.0);
                    lesions.drawn.push(drawn);
                    lesions.effusion = Some(it);
                }
                FindingCode::Pneumothorax => {
                    let it = Pneumothorax::draw(dice, lesions.effusion.as_ref().map(|it| it.side));
                    lesions.drawn.push(Drawn::new(code).on(it.side).severity(AIR.word(it.gap)).size(it.gap));
                    lesions.pneumothorax = Some(it);
                }
                FindingCode::InterstitialEdema => {
                    let degree = dice.between(0.5, 1.0);
                    let mut drawn = Drawn::new(code).severity(CONGESTION.word(degree));
                    drawn.side = Some("bilateral");
                    lesions.drawn.push(drawn);
                    lesions.edema = Some(degree);
                }
                FindingCode::Consolidation => lesions.consolidate(dice, anatomy, size),
                FindingCode::Nodule | FindingCode::Mass => lesions.add_round(dice, anatomy, code, size),
                _ => {}
            }
        }
        lesions
    }

    fn consolidate(&mut self, dice: &mut Dice, anatomy: &Anatomy, size: usize) {
        let side = dice.side();
        let half = dice.between(24.0, 50.0);
        let Some((side, centre)) = self.find_place(dice, anatomy, side, half * 0.62, (half * 0.3).min(14.0) + 4.0)
        else {
            return;
        };
        let half = [half, half * dice.between(0.75, 1.2)];
        self.consolidation = Some(Consolidation {
            side,
            centre,
            half,
            opacity: dice.between(0.55, 0.85),
            ragged: [(0.20, 9), (0.16, 26), (0.10, 52)].map(|(gain, cells)| (gain, Noise::new(dice, size, cells))),
            bronchograms: Noise::new(dice, size, 34),
            mottle: Noise::new(dice, size, 40),
        });
        let drawn = Drawn::new(FindingCode::Consolidation).on(side).zone(anatomy.zone(centre[1]));
        self.drawn.push(drawn.size(2.0 * half[0].max(half[1])));
    }

    fn add_round(&mut self, dice: &mut Dice, anatomy: &Anatomy, code: FindingCode, size: usize) {
        let mass = code == FindingCode::Mass;
        let diameter = if mass { dice.between(38.0, 68.0) } else { dice.between(13.0, 28.0) };
        let margin = if mass { (diameter * 0.25).min(14.0) + 6.0 } else { diameter / 2.0 + 2.0 };
        let side = dice.side();
        let Some((side, centre)) = self.find_place(dice, anatomy, side, diameter / 2.0 + 3.0, margin) else {
            return;
        };
        self.round.push(Round {
            code,
            side,
            centre,
            diameter,
            stretch: dice.between(0.88, 1.12),
            opacity: dice.between(0.40, 0.56),
            border: mass.then(|| Noise::new(dice, size, 10)),
        });
        self.drawn.push(Drawn::new(code).on(side).zone(anatomy.zone(centre[1])).size(diameter));
    }

    /// A place in the lung, at least `margin` inside of it, where nothing else lies within `reach`; on the other side
    /// where this one has no room.
    fn find_place(
        &self,
        dice: &mut Dice,
        anatomy: &Anatomy,
        side: Side,
        reach: f32,
        margin: f32,
    ) -> Option<(Side, [f32; 2])> {
        let other = if side == Side::Left { Side::Right } else { Side::Left };
        for side in [side, other] {
            for _ in 0..TRIES {
                let out = dice.between(35.0, anatomy.half_width - reach * 0.6 - 6.0);
                let v = dice.between(anatomy.apex + 25.0, anatomy.dome(side) + 15.0);
                let lung = anatomy.lung(side, side.sign() * out, v);
                if lung.inside > margin && self.is_clear(anatomy, side, [out, v], reach) {
                    return Some((side, [out, v]));
                }
            }
        }
        None
    }

    fn is_clear(&self, anatomy: &Anatomy, side: Side, [out, v]: [f32; 2], reach: f32) -> bool {
        if let Some((device, [x, y])) = self.keep_clear
            && device == side
            && (out - x).abs() < 24.0 + reach
            && (v - y).abs() < 20.0 + reach
        {
            return false;
        }
        let round = |it: &Round| {
            it.side == side && (out - it.centre[0]).hypot(v - it.centre[1]) < reach + it.diameter / 2.0 + 4.0
        };
        let filled = |it: &Consolidation| {
            it.side == side && (out - it.centre[0]).hypot(v - it.centre[1]) < reach + it.half[0].max(it.half[1]) + 4.0
        };
        if self.round.iter().any(round) || self.consolidation.as_ref().is_some_and(filled) {
            return false;
        }
        // The heart, fluid and air are tested at the middle and around the border.
        let ring = (0..8).map(|k| (k as f32 * std::f32::consts::FRAC_PI_4).sin_cos());
        ring.chain([(0.0, 0.0)]).all(|(sin, cos)| {
            let (out, v) = (out + reach * cos, v + reach * sin);
            let lung = anatomy.lung(side, side.sign() * out, v);
            let fluid = self.effusion.as_ref().filter(|it| it.side == side).map_or(0.0, |it| it.coverage(&lung, v));
            let air = self.pneumothorax.as_ref().filter(|it| it.side == side);
            let air = air.map_or(0.0, |it| it.coverage(anatomy, &lung, v).0);
            fluid < 0.2 && air < 0.2 && anatomy.heart(side.sign() * out, v) < 0.0
        })
    }
}
