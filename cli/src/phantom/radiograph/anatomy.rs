//! The chest as a radiograph shows it: outline, lungs, heart, mediastinum. All lengths in mm, `u` to the picture's right
//! (the patient's left), `v` down, both from the middle of the chest.

use crate::phantom::dice::{Dice, Side};
use crate::phantom::noise::{fade, soft_edge, sq};

/// Where the pixels lie in the chest: the film turned and shifted a little.
pub(super) struct Pose {
    cos: f32,
    sin: f32,
    shift: [f32; 2],
    pub(super) spacing_mm: f32,
    half_mm: f32,
}

impl Pose {
    pub(super) fn draw(dice: &mut Dice, size: usize) -> Self {
        let field_mm = dice.between(385.0, 430.0);
        let turn = dice.between(-0.06, 0.06);
        Self {
            cos: turn.cos(),
            sin: turn.sin(),
            shift: [dice.between(-12.0, 12.0), dice.between(-12.0, 12.0)],
            spacing_mm: field_mm / size as f32,
            half_mm: field_mm / 2.0,
        }
    }

    /// The point of the chest under a pixel.
    pub(super) fn chest(&self, x: usize, y: usize) -> (f32, f32) {
        let x = (x as f32 + 0.5) * self.spacing_mm - self.half_mm - self.shift[0];
        let y = (y as f32 + 0.5) * self.spacing_mm - self.half_mm - self.shift[1];
        (self.cos * x + self.sin * y, self.cos * y - self.sin * x)
    }

    /// The place on the film, in pixels, of a point of the chest.
    pub(super) fn film(&self, u: f32, v: f32) -> (f32, f32) {
        let x = self.cos * u - self.sin * v + self.shift[0] + self.half_mm;
        let y = self.sin * u + self.cos * v + self.shift[1] + self.half_mm;
        (x / self.spacing_mm - 0.5, y / self.spacing_mm - 0.5)
    }
}

/// One lung's lower border.
struct Dome {
    height: f32,
    curve: f32,
    peak: f32,
}

/// A point seen from the lung of its side.
pub(super) struct LungPoint {
    /// Distance to the lung's border, positive inside.
    pub(super) inside: f32,
    /// Distance from the middle of the chest, positive on the lung's own side.
    pub(super) out: f32,
    /// Distance of the chest wall from the middle.
    pub(super) wall: f32,
}

/// The distance of two shapes in one, their joint rounded over about `width`.
fn join(a: f32, b: f32, width: f32) -> f32 {
    let near = (width - (a - b).abs()).max(0.0) / width;
    a.max(b) + near * near * width * 0.25
}

/// The heart and great vessels.
struct Heart {
    /// Width over the lung's half width.
    ratio: f32,
    centre: [f32; 2],
    half: [f32; 2],
    tilt: (f32, f32),
    knob: [f32; 3],
}

/// Everything that has a size.
pub(super) struct Anatomy {
    /// Half the chest's inner width.
    pub(super) half_width: f32,
    /// Height of the lungs' tops.
    pub(super) apex: f32,
    domes: [Dome; 2],
    heart: Heart,
    neck: f32,
    shoulders: f32,
    taper: f32,
    pub(super) density: f32,
    wave: f32,
    carina: f32,
}

impl Anatomy {
    pub(super) fn draw(dice: &mut Dice, big_heart: bool) -> Self {
        let half_width = dice.between(128.0, 150.0);
        let apex = dice.between(-165.0, -145.0);
        let right = dice.between(72.0, 98.0);
        let left = right + dice.between(3.0, 15.0);
        let domes = [right, left].map(|height| Dome {
            height,
            curve: dice.between(30.0, 44.0),
            peak: dice.between(50.0, 66.0),
        });
        Self {
            half_width,
            apex,
            heart: Heart::draw(dice, half_width, (right + left) / 2.0, big_heart),
            domes,
            neck: dice.between(50.0, 62.0),
            shoulders: dice.between(55.0, 75.0),
            taper: dice.between(15.0, 30.0),
            density: dice.between(0.95, 1.05),
            wave: dice.between(0.0, 6.0),
            carina: dice.between(-65.0, -55.0),
        }
    }

    /// Height of a diaphragm's dome.
    pub(super) fn dome(&self, side: Side) -> f32 {
        self.domes[side.index()].height
    }

    /// Heart's width over half the chest's.
    pub(super) fn heart_ratio(&self) -> f32 {
        self.heart.ratio
    }

    /// Where the heart's middle is.
    pub(super) fn heart_centre(&self) -> [f32; 2] {
        self.heart.centre
    }

    /// Distance to the outline of the body, positive inside, and the outline's half width there.
    pub(super) fn body(&self, u: f32, v: f32) -> (f32, f32) {
        let t = ((v + 200.0) / 90.0).clamp(0.0, 1.0);
        let widest = self.half_width + self.shoulders;
        let half = self.neck + (widest - self.neck) * (t * t * (3.0 - 2.0 * t));
        let half = half - ((v + 40.0) / 200.0).clamp(0.0, 1.0) * self.taper;
        (half - u.abs(), half)
    }

    /// The point as the lung of `side` sees it.
    pub(super) fn lung(&self, side: Side, u: f32, v: f32) -> LungPoint {
        let out = side.sign() * u;
        let dome = &self.domes[side.index()];
        let t = 1.0 - ((v - self.apex) / 190.0).clamp(0.0, 1.0);
        let wall = self.half_width * (0.42 + 0.58 * (1.0 - t * t).max(0.0).sqrt());
        let inner = 17.0 + 10.0 * fade(sq((v + 10.0) / 50.0));
        let top = self.apex + sq((out - 42.0) / 34.0) * 16.0;
        let bottom = dome.height + dome.curve * sq((out - dome.peak) / 66.0);
        let inside = (out - inner).min(wall - out).min(v - top).min(bottom - v);
        LungPoint { inside, out, wall }
    }

    /// Distance to the heart's outline, positive inside.
    pub(super) fn heart(&self, u: f32, v: f32) -> f32 {
        self.heart.distance(u, v)
    }

    /// How much of the heart is seen: it fades into the diaphragm.
    pub(super) fn heart_shadow(&self, v: f32) -> f32 {
        soft_edge(self.dome(Side::Left) + 6.0 - v, 14.0)
    }

    /// The aortic knob.
    pub(super) fn knob(&self, u: f32, v: f32) -> f32 {
        let [u0, v0, radius] = self.heart.knob;
        let r = sq((u - u0) / radius) + sq((v - v0) / 18.0);
        if r > 2.0 { 0.0 } else { soft_edge((1.0 - r.sqrt()) * 18.0, 3.0) }
    }

    /// The mediastinum; `texture` makes its border uneven.
    pub(super) fn mediastinum(&self, u: f32, v: f32, texture: f32) -> f32 {
        if u.abs() > 60.0 {
            return 0.0;
        }
        let half = 28.0 + 5.0 * (v / 30.0 + self.wave).sin() + 2.5 * texture;
        soft_edge(half - u.abs(), 7.0) * soft_edge(v - self.apex + 30.0, 8.0)
    }

    /// The trachea and the two main bronchi below it.
    pub(super) fn airway(&self, u: f32, v: f32) -> f32 {
        let u = u - 2.0;
        let trachea = soft_edge(9.0 - u.abs(), 2.0) * soft_edge(self.carina - v, 4.0) * soft_edge(v + 200.0, 3.0);
        let below = v - self.carina;
        let bronchus = soft_edge(6.0 - (u.abs() - below * 0.75 - 4.0).abs() * 0.8, 2.0);
        trachea.max(0.7 * bronchus * soft_edge(below, 4.0) * soft_edge(34.0 - below, 8.0))
    }

    /// Distance to the nearer hilum.
    pub(super) fn from_hilum(u: f32, v: f32) -> f32 {
        let centre = if u < 0.0 { [-38.0, -10.0] } else { [42.0, -14.0] };
        (sq(u - centre[0]) + sq(v - centre[1])).sqrt()
    }

    /// The third of the lung at a height.
    pub(super) fn zone(&self, v: f32) -> &'static str {
        let third = (v - self.apex) / (self.dome(Side::Left) - self.apex + 15.0) * 3.0;
        ["upper", "mid", "lower"][(third as i32).clamp(0, 2) as usize]
    }
}

impl Heart {
    fn draw(dice: &mut Dice, half_width: f32, diaphragm: f32, big: bool) -> Self {
        let ratio = if big { dice.between(0.57, 0.74) } else { dice.between(0.38, 0.48) };
        let half = [ratio * half_width, dice.between(50.0, 60.0) * (0.75 + 0.55 * ratio)];
        let centre = [half[0] * dice.between(0.22, 0.32), diaphragm - dice.between(26.0, 36.0)];
        let tilt = dice.between(0.40, 0.62);
        let knob = [dice.between(16.0, 24.0), -dice.between(75.0, 90.0), dice.between(15.0, 20.0)];
        Self { ratio, centre, half, tilt: (tilt.cos(), tilt.sin()), knob }
    }

    /// A tilted left ventricle, the right atrium, and the tapering vessels above them.
    fn distance(&self, u: f32, v: f32) -> f32 {
        let [width, height] = self.half;
        let (du, dv) = (u - self.centre[0], v - self.centre[1]);
        let (lu, lv) = (du - width * 0.16, dv - height * 0.08);
        let (cos, sin) = self.tilt;
        let ventricle = sq((lu * cos + lv * sin) / (width * 0.90)) + sq((lv * cos - lu * sin) / (height * 0.70));
        let atrium = sq((du + width * 0.56) / (width * 0.44)) + sq((dv + height * 0.05) / (height * 0.74));
        let below_top = dv + height * 1.05;
        let pedicle = (width * 0.30 + below_top.clamp(0.0, 200.0) * 0.30) - (du + width * 0.14).abs();
        let chambers = join((1.0 - ventricle.sqrt()) * 45.0, (1.0 - atrium.sqrt()) * 30.0, 16.0);
        join(chambers, pedicle.min(below_top).min(height * 0.3 - dv), 14.0)
    }
}
