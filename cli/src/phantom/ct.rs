//! A chest CT, drawn slice by slice through one chest in space.

mod body;
mod lesions;

use prelim_proto::vocabulary::FindingCode;

use self::body::{Body, Level};
use self::lesions::{ConsolidationSlice, Lesions};
use super::dice::{Dice, Side};
use super::findings::Drawn;
use super::noise::{Noise, SolidNoise, soft_edge, sq};
use super::truth::Trace;
use super::vessels::{self, Lung, Segment};

/// Rows and columns of a slice.
pub(super) const SIZE: usize = 256;
/// Slices that a volume has at most.
const MOST_SLICES: usize = 40;
/// How far the scan reaches above and below the lungs.
const ABOVE_MM: f32 = 10.0;
const BELOW_MM: f32 = 12.0;

/// One slice.
pub(super) struct Slice {
    /// Hounsfield units, `SIZE × SIZE`.
    pub(super) hu: Vec<i16>,
    /// Distance below the first slice.
    pub(super) below_mm: f32,
    /// What of each finding of the volume the slice shows, with the severity as seen here.
    pub(super) findings: Vec<(Trace, Option<&'static str>)>,
}

/// A volume as drawn.
pub(super) struct Volume {
    /// Distance of pixels.
    pub(super) spacing_mm: f32,
    /// Distance of slices.
    pub(super) slice_mm: f32,
    /// From the head down.
    pub(super) slices: Vec<Slice>,
    /// What is in it, in the order of the vocabulary.
    pub(super) findings: Vec<Drawn>,
}

/// Where the pixels of a slice lie in the chest.
struct Pose {
    cos: f32,
    sin: f32,
    shift: [f32; 2],
    spacing_mm: f32,
    half_mm: f32,
}

impl Pose {
    fn draw(dice: &mut Dice) -> Self {
        let field_mm = dice.between(335.0, 400.0);
        let turn = dice.between(-0.08, 0.08);
        Self {
            cos: turn.cos(),
            sin: turn.sin(),
            shift: [dice.between(-10.0, 10.0), dice.between(-10.0, 10.0)],
            spacing_mm: field_mm / SIZE as f32,
            half_mm: field_mm / 2.0,
        }
    }

    fn chest(&self, x: usize, y: usize) -> (f32, f32) {
        let x = (x as f32 + 0.5) * self.spacing_mm - self.half_mm - self.shift[0];
        let y = (y as f32 + 0.5) * self.spacing_mm - self.half_mm - self.shift[1];
        (self.cos * x + self.sin * y, self.cos * y - self.sin * x)
    }

    fn pixel(&self, u: f32, v: f32) -> (f32, f32) {
        let x = self.cos * u - self.sin * v + self.shift[0] + self.half_mm;
        let y = self.sin * u + self.cos * v + self.shift[1] + self.half_mm;
        (x / self.spacing_mm - 0.5, y / self.spacing_mm - 0.5)
    }
}

struct Scene {
    pose: Pose,
    body: Body,
    lesions: Lesions,
    vessels: Vec<Segment>,
    texture: SolidNoise,
    blotches: SolidNoise,
    grain: f32,
    table: bool,
}

/// Draws a volume with the given findings; one that finds no room is left out.
pub(super) fn draw(dice: &mut Dice, codes: &[FindingCode]) -> Volume {
    let pose = Pose::draw(dice);
    let body = Body::draw(dice);
    let lesions = Lesions::draw(dice, &body, codes, SIZE);
    let mut vessels = Vec::new();
    for side in Side::BOTH {
        let contains = |[u, v, d]: [f32; 3]| body.level(d).lung(side, u, v) > 2.5;
        let hilum = [side.sign() * 30.0, 4.0, 0.47 * body.height];
        let extent = [body.wall() * 0.42, body.lung_half_depth() * 0.8, body.height * 0.48];
        vessels.extend(vessels::grow(dice, &Lung { side, hilum, extent, contains: &contains }));
    }
    let texture = SolidNoise::new(dice, SIZE, 14, 10);
    let blotches = SolidNoise::new(dice, SIZE, SIZE / 2, 6);
    let grain = dice.between(0.6, 1.8);
    let table = dice.chance(0.7);
    let slice_mm = (dice.between(7.0, 9.0) * 4.0).round() / 4.0;
    let scene = Scene { pose, body, lesions, vessels, texture, blotches, grain, table };
    let range = scene.body.height + ABOVE_MM + BELOW_MM;
    let count = ((range / slice_mm) as usize).min(MOST_SLICES);
    let slices = (0..count).map(|index| scene.slice(dice, index as f32 * slice_mm, range)).collect();
    Volume { spacing_mm: scene.pose.spacing_mm, slice_mm, slices, findings: scene.lesions.drawn }
}

/// What a slice needs of the scene, worked out once for it.
struct Cut<'a> {
    d: f32,
    level: Level<'a>,
    texture: Noise,
    blotches: Noise,
    vessels: Vec<f32>,
    fluid: f32,
    air: f32,
    consolidation: Option<ConsolidationSlice>,
    round: Vec<Option<Noise>>,
}

/// Values of a row, one a column.
struct Rows {
    texture: Vec<f32>,
    blotches: Vec<f32>,
    border: Vec<f32>,
    density: Vec<f32>,
    round: Vec<Vec<f32>>,
}

impl Scene {
    fn slice(&self, dice: &mut Dice, below_mm: f32, range: f32) -> Slice {
        let cut = self.cut(below_mm - ABOVE_MM, below_mm / range);
        let mut traces: Vec<Trace> = self.lesions.drawn.iter().map(|_| Trace::new(SIZE)).collect();
        let row = || vec![0.0; SIZE];
        let round = self.lesions.round.iter().map(|_| row()).collect();
        let mut rows = Rows { texture: row(), blotches: row(), border: row(), density: row(), round };
        let mut hu = Vec::with_capacity(SIZE * SIZE);
        for y in 0..SIZE {
            self.fill_rows(&cut, &mut rows, y);
            for x in 0..SIZE {
                let mut mark = |code, coverage| {
                    if let Some(at) = self.lesions.drawn.iter().position(|drawn| drawn.code == code) {
                        traces[at].mark(x, y, coverage);
                    }
                };
                let value = self.point(&cut, &rows, (x, y), &mut mark);
                let noise = self.grain * (12.0 * rows.blotches[x] + 14.0 * dice.bell());
                hu.push((value + noise).clamp(-1024.0, 3071.0) as i16);
            }
        }
        let word = |drawn: &Drawn| match drawn.code {
            FindingCode::PleuralEffusion => Some(lesions::fluid_word(cut.fluid)),
            FindingCode::Pneumothorax => Some(lesions::air_word(cut.air)),
            _ => None,
        };
        let findings = traces.into_iter().zip(self.lesions.drawn.iter().map(word)).collect();
        Slice { hu, below_mm, findings }
    }

    fn cut(&self, d: f32, t: f32) -> Cut<'_> {
        let lesions = &self.lesions;
        // Grain is finer than slices are thick: each slice takes its own part of the field.
        let blotches = self.blotches.slice((t * 37.0).fract());
        Cut {
            d,
            level: self.body.level(d),
            texture: self.texture.slice(t),
            blotches,
            vessels: self.cut_vessels(d),
            fluid: lesions.effusion.as_ref().map_or(0.0, |it| it.depth(d)),
            air: lesions.pneumothorax.as_ref().map_or(0.0, |it| it.gap(d)),
            consolidation: lesions.consolidation.as_ref().and_then(|it| it.slice(d, t)),
            round: lesions.round.iter().map(|it| it.slice(d, t)).collect(),
        }
    }

    fn fill_rows(&self, cut: &Cut<'_>, rows: &mut Rows, y: usize) {
        rows.texture.fill(0.0);
        cut.texture.add_row(y, 1.0, &mut rows.texture);
        rows.blotches.fill(0.0);
        cut.blotches.add_row(y, 1.0, &mut rows.blotches);
        if let Some(slice) = &cut.consolidation {
            slice.rows(y, &mut rows.border, &mut rows.density);
        }
        for ((it, noise), row) in self.lesions.round.iter().zip(&cut.round).zip(&mut rows.round) {
            row.fill(0.0);
            if let Some(noise) = noise {
                noise.add_row(y, it.roughness(), row);
            }
        }
    }

    /// Vessels that a slice cuts, 0 to 1 a pixel.
    fn cut_vessels(&self, d: f32) -> Vec<f32> {
        let mut picture = vec![0.0f32; SIZE * SIZE];
        for segment in &self.vessels {
            let reach = segment.radius[0] + 1.5;
            let (low, high) = (segment.from[2].min(segment.to[2]), segment.from[2].max(segment.to[2]));
            if d < low - reach || d > high + reach {
                continue;
            }
            let ends = [segment.from, segment.to].map(|[u, v, _]| self.pose.pixel(u, v));
            let reach = reach / self.pose.spacing_mm + 1.0;
            let span = |a: f32, b: f32| {
                let first = (a.min(b) - reach).max(0.0) as usize;
                first..((a.max(b) + reach).max(0.0) as usize + 1).min(SIZE)
            };
            for y in span(ends[0].1, ends[1].1) {
                for x in span(ends[0].0, ends[1].0) {
                    let (u, v) = self.pose.chest(x, y);
                    let pixel = &mut picture[y * SIZE + x];
                    *pixel = pixel.max(vessel_coverage(segment, [u, v, d]));
                }
            }
        }
        picture
    }

    /// Hounsfield units at a pixel.
    fn point(
        &self,
        cut: &Cut<'_>,
        rows: &Rows,
        (x, y): (usize, usize),
        mark: &mut impl FnMut(FindingCode, f32),
    ) -> f32 {
        let (u, v) = self.pose.chest(x, y);
        let side = Side::of(u);
        let lung = cut.level.lung(side, u, v);
        let within = soft_edge(lung, 1.5);
        let mut hu = if within < 1.0 { self.outside(cut, u, v, rows.texture[x], (x, y)) } else { 0.0 };
        if lung <= -4.0 {
            return hu;
        }
        let put = |hu: &mut f32, share: f32, value: f32| *hu += (value - *hu) * share;
        // Lung is a little denser at the back, where it hangs.
        put(&mut hu, within, self.body.lung_hu + 12.0 * rows.texture[x] + 0.2 * v);
        let mut air = 0.0;
        let mut pleura = 0.0;
        if let Some(it) = self.lesions.pneumothorax.as_ref().filter(|it| it.side == side) {
            (air, pleura) = it.coverage(&cut.level, cut.air, u, v, lung);
            mark(FindingCode::Pneumothorax, air);
        }
        put(&mut hu, cut.vessels[y * SIZE + x] * within * 0.9 * (1.0 - air), 30.0);
        put(&mut hu, air, -1000.0);
        put(&mut hu, pleura * 0.6, -100.0);
        if let Some(it) = self.lesions.effusion.as_ref().filter(|it| it.side == side) {
            let fluid = it.coverage(&cut.level, cut.fluid, u, v, lung);
            put(&mut hu, fluid, it.hu);
            mark(FindingCode::PleuralEffusion, fluid);
        }
        if let Some(it) =
            self.lesions.consolidation.as_ref().filter(|it| it.side == side && cut.consolidation.is_some())
        {
            let filled = it.coverage(cut.d, u, v, lung, rows.border[x]) * (1.0 - air);
            put(&mut hu, filled * rows.density[x], it.hu);
            mark(FindingCode::Consolidation, filled);
        }
        for ((it, noise), border) in self.lesions.round.iter().zip(&cut.round).zip(&rows.round) {
            if it.side == side && noise.is_some() {
                let coverage = it.coverage(cut.d, u, v, lung, border[x]);
                put(&mut hu, coverage, it.hu);
                mark(it.code, coverage);
            }
        }
        hu
    }

    /// Hounsfield units of what is not lung: the body, and the table under it.
    fn outside(&self, cut: &Cut<'_>, u: f32, v: f32, texture: f32, (x, y): (usize, usize)) -> f32 {
        let hu = cut.level.tissue(u, v, texture);
        if !self.table || hu > -990.0 {
            return hu;
        }
        let spacing = self.pose.spacing_mm;
        let (x, y) = ((x as f32 + 0.5) * spacing - self.pose.half_mm, (y as f32 + 0.5) * spacing - self.pose.half_mm);
        let top = self.body.outline_depth() + 16.0 + self.pose.shift[1] - sq(x / 190.0) * 20.0;
        hu + 800.0 * soft_edge(2.5 - (y - top).abs(), 1.0)
    }
}

/// How much of a point a piece of vessel covers.
fn vessel_coverage(segment: &Segment, point: [f32; 3]) -> f32 {
    let axis: [f32; 3] = std::array::from_fn(|k| segment.to[k] - segment.from[k]);
    let to_point: [f32; 3] = std::array::from_fn(|k| point[k] - segment.from[k]);
    let dot = |a: &[f32; 3], b: &[f32; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let t = (dot(&axis, &to_point) / dot(&axis, &axis).max(0.01)).clamp(0.0, 1.0);
    let off: f32 = (0..3).map(|k| sq(to_point[k] - t * axis[k])).sum();
    let radius = segment.radius[0] + t * (segment.radius[1] - segment.radius[0]);
    soft_edge(radius - off.sqrt(), 1.0)
}
