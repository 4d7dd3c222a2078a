//! A chest radiograph, drawn.
//!
//! The film is a sum: the body's thickness, less the air of the lungs, plus vessels, heart, mediastinum and bone, plus
//! what is wrong; then an exposure and grain. Larger is brighter, as on a film.

mod anatomy;
mod devices;
mod lesions;
mod skeleton;

use prelim_proto::vocabulary::FindingCode;

use self::anatomy::{Anatomy, Pose};
use self::devices::{Pacemaker, Tube};
use self::lesions::Lesions;
use self::skeleton::Skeleton;
use super::dice::{Dice, Side};
use super::findings::{Drawn, Scale};
use super::noise::{Noise, fade, soft_edge, sq};
use super::truth::Trace;
use super::vessels::{self, Lung};

/// Rows and columns of a film.
pub(super) const SIZE: usize = 512;

const HEART: Scale = Scale::of_degree([0.625, 0.68]);

/// A film as drawn.
pub(super) struct Film {
    /// Distance of pixels in mm.
    pub(super) spacing_mm: f32,
    /// Brightness, `SIZE × SIZE`; 0 to 1 is what a viewer shows, more on both sides is kept in the stored values.
    pub(super) pixels: Vec<f32>,
    /// What is on it, in the order of the vocabulary.
    pub(super) findings: Vec<(Drawn, Trace)>,
}

/// Draws a film with the given findings; one that finds no room is left out of the film and of its findings.
pub(super) fn draw(dice: &mut Dice, codes: &[FindingCode]) -> Film {
    let has = |code| codes.contains(&code);
    let pose = Pose::draw(dice, SIZE);
    let anatomy = Anatomy::draw(dice, has(FindingCode::Cardiomegaly));
    let skeleton = Skeleton::draw(dice);
    let pacemaker = has(FindingCode::Pacemaker).then(|| Pacemaker::draw(dice, &anatomy));
    let tube = has(FindingCode::EndotrachealTube).then(|| Tube::draw(dice));
    let keep_clear = pacemaker.as_ref().map(|it| (it.side, it.centre));
    let lesions = Lesions::draw(dice, &anatomy, codes, SIZE, keep_clear);
    let textures = Textures::draw(dice, lesions.edema.is_some());
    let vessels = draw_vessels(dice, &anatomy, &pose);
    let mut scene = Scene { pose, anatomy, skeleton, pacemaker, tube, lesions, textures, vessels, traces: Vec::new() };
    scene.traces = scene.list();
    let (mut pixels, inside) = scene.render();
    if let Some(pacemaker) = &scene.pacemaker {
        let mut lead = vec![0.0; SIZE * SIZE];
        pacemaker.draw_lead(&scene.anatomy, &scene.pose, SIZE, &mut lead);
        pixels.iter_mut().zip(&lead).for_each(|(pixel, lead)| *pixel += lead);
    }
    expose(dice, &mut pixels, inside);
    Film { spacing_mm: scene.pose.spacing_mm, pixels, findings: scene.traces }
}

/// Vessels of both lungs, projected.
fn draw_vessels(dice: &mut Dice, anatomy: &Anatomy, pose: &Pose) -> Vec<f32> {
    let mut film = vec![0.0f32; SIZE * SIZE];
    for side in Side::BOTH {
        let contains = |[u, depth, v]: [f32; 3]| anatomy.lung(side, u, v).inside > 3.0 && depth.abs() < 80.0;
        let hilum = if side == Side::Right { [-34.0, 0.0, -10.0] } else { [36.0, 0.0, -14.0] };
        let extent = [anatomy.half_width * 0.4, 60.0, (anatomy.dome(side) - anatomy.apex) * 0.5];
        for segment in vessels::grow(dice, &Lung { side, hilum, extent, contains: &contains }) {
            stamp(&mut film, pose, &segment);
        }
    }
    film
}

/// Adds the shadow of a piece of vessel: the length of the chord that a ray takes through it.
fn stamp(film: &mut [f32], pose: &Pose, segment: &vessels::Segment) {
    let (x0, y0) = pose.film(segment.from[0], segment.from[2]);
    let (x1, y1) = pose.film(segment.to[0], segment.to[2]);
    let radii = segment.radius.map(|radius| radius / pose.spacing_mm);
    let reach = radii[0] + 1.5;
    let span = |a: f32, b: f32| {
        let first = (a.min(b) - reach).max(0.0) as usize;
        first..((a.max(b) + reach).max(0.0) as usize + 1).min(SIZE)
    };
    let (dx, dy) = (x1 - x0, y1 - y0);
    let length = (dx * dx + dy * dy).max(0.01);
    for y in span(y0, y1) {
        for x in span(x0, x1) {
            let (px, py) = (x as f32 - x0, y as f32 - y0);
            let t = ((px * dx + py * dy) / length).clamp(0.0, 1.0);
            let radius = radii[0] + t * (radii[1] - radii[0]);
            let off = sq(px - t * dx) + sq(py - t * dy);
            let chord = sq(radius + 0.4) - off;
            if chord > 0.0 {
                let shadow = chord.sqrt() * pose.spacing_mm * 0.034;
                let pixel = &mut film[y * SIZE + x];
                *pixel = pixel.max(shadow);
            }
        }
    }
}

/// Noise fields of the normal film, and those of an edema.
struct Textures {
    body: Noise,
    border: Noise,
    fine: Noise,
    net: Option<[Noise; 3]>,
}

impl Textures {
    fn draw(dice: &mut Dice, edema: bool) -> Self {
        Self {
            body: Noise::new(dice, SIZE, 7),
            border: Noise::new(dice, SIZE, 8),
            fine: Noise::new(dice, SIZE, 64),
            net: edema.then(|| [56, 80, 14].map(|cells| Noise::new(dice, SIZE, cells))),
        }
    }
}

/// Rows of the textures, one value a column.
struct Rows {
    body: Vec<f32>,
    border: Vec<f32>,
    fine: Vec<f32>,
    net: [Vec<f32>; 3],
    consolidation: [Vec<f32>; 2],
    round: Vec<Vec<f32>>,
    scratch: Vec<f32>,
}

struct Scene {
    pose: Pose,
    anatomy: Anatomy,
    skeleton: Skeleton,
    pacemaker: Option<Pacemaker>,
    tube: Option<Tube>,
    lesions: Lesions,
    textures: Textures,
    vessels: Vec<f32>,
    traces: Vec<(Drawn, Trace)>,
}

/// What the lesions do to one point.
#[derive(Default)]
struct Disease {
    fill: f32,
    air: f32,
    line: f32,
    opacity: f32,
}

impl Scene {
    /// The findings on this film, without their places.
    fn list(&self) -> Vec<(Drawn, Trace)> {
        let mut all = self.lesions.drawn.clone();
        let ratio = self.anatomy.heart_ratio();
        if ratio > 0.5 {
            all.push(Drawn::new(FindingCode::Cardiomegaly).severity(HEART.word(ratio)));
        }
        if let Some(pacemaker) = &self.pacemaker {
            all.push(Drawn::new(FindingCode::Pacemaker).on(pacemaker.side));
        }
        if self.tube.is_some() {
            all.push(Drawn::new(FindingCode::EndotrachealTube));
        }
        all.sort_by_key(|drawn| drawn.code);
        all.into_iter().map(|drawn| (drawn, Trace::new(SIZE))).collect()
    }

    /// Draws every pixel; the pixels, and which of them lie in the body.
    fn render(&mut self) -> (Vec<f32>, Vec<bool>) {
        let mut pixels = vec![0.02; SIZE * SIZE];
        let mut inside = vec![false; SIZE * SIZE];
        let mut rows = Rows::new(self.lesions.round.len());
        // Taken out, so that pixels can be marked while the scene is read.
        let mut traces = std::mem::take(&mut self.traces);
        for y in 0..SIZE {
            rows.fill(self, y);
            for x in 0..SIZE {
                let (u, v) = self.pose.chest(x, y);
                let (depth, half) = self.anatomy.body(u, v);
                if depth <= -3.0 {
                    continue;
                }
                let thickness = soft_edge(depth, 2.0) * (1.0 - sq(u / half)).clamp(0.02, 1.0).sqrt();
                let body = thickness * (self.anatomy.density + 0.03 * rows.body[x]);
                let mut mark = |code, coverage| {
                    if let Some((_, trace)) = traces.iter_mut().find(|(drawn, _)| drawn.code == code) {
                        trace.mark(x, y, coverage);
                    }
                };
                pixels[y * SIZE + x] = body + self.shadow(&rows, x, y, (u, v), &mut mark);
                inside[y * SIZE + x] = depth > 0.0;
            }
        }
        self.traces = traces;
        (pixels, inside)
    }

    /// All that is added to or taken from the body's thickness at a point.
    fn shadow(
        &self,
        rows: &Rows,
        x: usize,
        y: usize,
        (u, v): (f32, f32),
        mark: &mut impl FnMut(FindingCode, f32),
    ) -> f32 {
        let anatomy = &self.anatomy;
        let side = Side::of(u);
        let lung = anatomy.lung(side, u, v);
        let heart_distance = anatomy.heart(u, v);
        let heart = soft_edge(heart_distance, 4.0);
        let seen = heart * anatomy.heart_shadow(v);
        mark(FindingCode::Cardiomegaly, heart);
        let mut sum = 0.09 * seen + 0.08 * anatomy.mediastinum(u, v, rows.border[x]) * (1.0 - seen);
        sum += self.skeleton.bone(anatomy, side, &lung, u, v) - 0.16 * self.skeleton.bubble(anatomy, u, v);
        if u.abs() < 45.0 {
            sum -= 0.12 * anatomy.airway(u, v);
        }
        if lung.inside > -6.0 {
            let disease = self.disease(rows, x, side, &lung, v, mark);
            let aerated = soft_edge(lung.inside, 1.8) * (1.0 - 0.75 * fade(lung.inside.max(0.0) / 16.0));
            let air = aerated * (1.0 - 0.8 * heart) * (1.0 - 0.85 * anatomy.knob(u, v)) * (1.0 - disease.fill);
            let within = soft_edge(lung.inside, 1.5);
            let markings = self.markings(rows, x, y, (u, v));
            sum += within * (1.0 - disease.fill) * (1.0 - disease.air) * markings - 0.67 * air;
            sum += disease.opacity * (1.0 - 0.6 * disease.fill) + 0.16 * disease.line - 0.10 * disease.air;
            if self.lesions.edema.is_some() && disease.fill < 0.6 && disease.air < 0.5 {
                mark(FindingCode::InterstitialEdema, within);
            }
        }
        if let Some(pacemaker) = &self.pacemaker {
            let can = pacemaker.can(u, v);
            sum += 0.55 * can;
            mark(FindingCode::Pacemaker, can);
        }
        if let Some(tube) = &self.tube {
            let (coverage, walls) = tube.coverage(u, v);
            sum += walls;
            mark(FindingCode::EndotrachealTube, coverage);
        }
        sum
    }

    /// Vessels, hila, and the net of an edema.
    fn markings(&self, rows: &Rows, x: usize, y: usize, (u, v): (f32, f32)) -> f32 {
        let hilum = Anatomy::from_hilum(u, v);
        let vessels = self.vessels[y * SIZE + x] + 0.10 * fade(sq(hilum / 17.0)) + 0.02 * rows.fine[x];
        let Some(degree) = self.lesions.edema else {
            return 0.9 * vessels;
        };
        let [wide, narrow, slow] = &rows.net;
        let net = wide[x].abs() * 0.6 + narrow[x].clamp(0.0, 3.0) * 0.5;
        0.9 * (vessels + degree * (0.10 * net + 0.20 * fade(hilum / 60.0) * (1.0 + 0.3 * slow[x])))
    }

    fn disease(
        &self,
        rows: &Rows,
        x: usize,
        side: Side,
        lung: &anatomy::LungPoint,
        v: f32,
        mark: &mut impl FnMut(FindingCode, f32),
    ) -> Disease {
        let mut disease = Disease::default();
        if let Some(it) = self.lesions.pneumothorax.as_ref().filter(|it| it.side == side) {
            let (air, line) = it.coverage(&self.anatomy, lung, v);
            disease.air = air;
            disease.line = line;
            disease.fill = soft_edge(lung.inside, 1.5) * (1.0 - air) * it.collapse();
            mark(FindingCode::Pneumothorax, air);
        }
        if let Some(it) = self.lesions.effusion.as_ref().filter(|it| it.side == side) {
            let fluid = it.coverage(lung, v);
            disease.fill = disease.fill.max(fluid * it.opacity);
            mark(FindingCode::PleuralEffusion, fluid);
        }
        if let Some(it) = self.lesions.consolidation.as_ref().filter(|it| it.side == side) {
            let [border, density] = &rows.consolidation;
            let filled = it.coverage(lung, v, border[x]);
            disease.fill = disease.fill.max(filled * density[x] * it.opacity);
            mark(FindingCode::Consolidation, if disease.air < 0.5 { filled } else { 0.0 });
        }
        for (it, border) in self.lesions.round.iter().zip(&rows.round).filter(|(it, _)| it.side == side) {
            let (coverage, opacity) = it.coverage(lung, v, border[x]);
            disease.opacity += opacity;
            mark(it.code, coverage);
        }
        disease
    }
}

impl Rows {
    fn new(round: usize) -> Self {
        let row = || vec![0.0; SIZE];
        Self {
            body: row(),
            border: row(),
            fine: row(),
            net: [row(), row(), row()],
            consolidation: [row(), row()],
            round: (0..round).map(|_| row()).collect(),
            scratch: row(),
        }
    }

    fn fill(&mut self, scene: &Scene, y: usize) {
        let refill = |noise: &Noise, row: &mut [f32]| {
            row.fill(0.0);
            noise.add_row(y, 1.0, row);
        };
        refill(&scene.textures.body, &mut self.body);
        refill(&scene.textures.border, &mut self.border);
        refill(&scene.textures.fine, &mut self.fine);
        for (noise, row) in scene.textures.net.iter().flatten().zip(&mut self.net) {
            refill(noise, row);
        }
        if let Some(it) = &scene.lesions.consolidation {
            let [border, density] = &mut self.consolidation;
            it.textures(y, border, density, &mut self.scratch);
        }
        for (it, row) in scene.lesions.round.iter().zip(&mut self.round) {
            it.texture(y, row);
        }
    }
}

/// Exposes the film: the body's brightness is spread over 0 to 1, bent, shifted a little, and gets its grain.
fn expose(dice: &mut Dice, pixels: &mut [f32], inside: Vec<bool>) {
    let mut sample: Vec<f32> =
        pixels.iter().zip(&inside).step_by(37).filter(|(_, inside)| **inside).map(|(pixel, _)| *pixel).collect();
    sample.sort_by(f32::total_cmp);
    let at = |share: f32| sample[(share * (sample.len() - 1) as f32) as usize];
    let low = at(0.02) + dice.between(-0.08, 0.03);
    let high = at(0.98) + dice.between(-0.02, 0.12);
    let bend = dice.between(0.8, 1.25);
    let grain = dice.between(0.012, 0.036);
    let (gain, shift) =
        if dice.chance(0.3) { (dice.between(0.85, 1.1), dice.between(-0.03, 0.06)) } else { (1.0, 0.0) };
    let mottle = Noise::new(dice, SIZE, SIZE / 4);
    let mut row = vec![0.0; SIZE];
    for (y, line) in pixels.chunks_exact_mut(SIZE).enumerate() {
        row.fill(0.0);
        mottle.add_row(y, 0.5, &mut row);
        for (pixel, mottle) in line.iter_mut().zip(&row) {
            let spread = (*pixel - low) / (high - low);
            let bent = if spread > 0.0 { spread.powf(bend) } else { spread };
            *pixel = bent * gain + shift + grain * (mottle + dice.bell());
        }
    }
}
