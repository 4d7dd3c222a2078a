//! The chest in space: outline, lungs, diaphragm, heart, great vessels, bones. Lengths in mm: `u` to the patient's left,
//! `v` to the back, `d` down from the lungs' tops.

use crate::phantom::dice::{Dice, Side};
use crate::phantom::noise::{fade, soft_edge, sq};

/// Middle of the spine and of the spinal canal.
const VERTEBRA_V: f32 = 62.0;
const CANAL_V: f32 = 87.0;

/// One chest.
pub(super) struct Body {
    half_width: f32,
    half_depth: f32,
    fat: f32,
    /// Height of the lungs.
    pub(super) height: f32,
    wall: f32,
    hilum_half: f32,
    domes: [f32; 2],
    heart: [f32; 3],
    heart_size: f32,
    pub(super) lung_hu: f32,
    pub(super) blood_hu: f32,
    rib_phase: f32,
    bone_hu: f32,
    aorta: [f32; 2],
    stomach: [f32; 2],
}

impl Body {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let (half_width, half_depth) = (dice.between(148.0, 172.0), dice.between(98.0, 118.0));
        let fat = dice.between(8.0, 20.0);
        let height = dice.between(225.0, 262.0);
        let right = height - dice.between(62.0, 82.0);
        Self {
            half_width,
            half_depth,
            fat,
            height,
            wall: half_width - fat - dice.between(20.0, 26.0),
            hilum_half: dice.between(14.0, 20.0),
            domes: [right, right + dice.between(4.0, 16.0)],
            heart: [dice.between(12.0, 22.0), dice.between(-30.0, -20.0), right - dice.between(18.0, 30.0)],
            heart_size: dice.between(0.9, 1.08),
            lung_hu: dice.between(-880.0, -810.0),
            blood_hu: dice.between(40.0, 170.0),
            rib_phase: dice.between(0.0, 24.0),
            bone_hu: dice.between(300.0, 500.0),
            aorta: [dice.between(11.0, 14.0), dice.between(14.0, 17.0)],
            stomach: [dice.between(20.0, 34.0), dice.between(-40.0, -20.0)],
        }
    }

    /// Width of the lungs' halves at their widest.
    pub(super) fn wall(&self) -> f32 {
        self.wall
    }

    /// Half the body's depth.
    pub(super) fn outline_depth(&self) -> f32 {
        self.half_depth
    }

    /// Half the lungs' depth, front to back, where it is largest.
    pub(super) fn lung_half_depth(&self) -> f32 {
        self.half_depth - self.fat - 20.0
    }

    /// Cuts the chest at a depth below the tops of the lungs.
    pub(super) fn level(&self, d: f32) -> Level<'_> {
        let t = 1.0 - (d / (0.42 * self.height)).clamp(0.0, 1.0);
        let round = (1.0 - t * t).max(0.0).sqrt();
        let shoulder = (d / 90.0).clamp(0.0, 1.0);
        let girth = 0.93 + 0.07 * shoulder * shoulder * (3.0 - 2.0 * shoulder);
        let [_, _, heart] = self.heart;
        let heart_share = (1.0 - sq((d - heart) / if d < heart { 78.0 } else { 62.0 })).max(0.0).sqrt();
        Level {
            body: self,
            d,
            outline: [self.half_width * girth, self.half_depth * girth],
            lung_half: [self.wall * 0.50 * (0.40 + 0.60 * round), self.lung_half_depth() * (0.42 + 0.58 * round)],
            lung_middle: self.wall * (0.38 + 0.14 * round),
            heart_share: heart_share * self.heart_size,
        }
    }
}

/// One plane through the chest.
pub(super) struct Level<'a> {
    body: &'a Body,
    d: f32,
    outline: [f32; 2],
    lung_half: [f32; 2],
    lung_middle: f32,
    heart_share: f32,
}

impl Level<'_> {
    /// 1 on the body's outline, less inside.
    pub(super) fn ring(&self, u: f32, v: f32) -> f32 {
        let power = |x: f32| {
            let x = x.abs();
            x * x * x.powf(0.3)
        };
        (power(u / self.outline[0]) + power(v / self.outline[1])).powf(1.0 / 2.3)
    }

    /// Half the lungs' depth here.
    pub(super) fn lung_half_depth(&self) -> f32 {
        self.lung_half[1]
    }

    /// Middle of a lung here, from the middle of the chest.
    pub(super) fn lung_middle(&self) -> f32 {
        self.lung_middle
    }

    /// Distance to the border of the space between chest wall and mediastinum, positive inside, and how far above the
    /// diaphragm the point lies.
    pub(super) fn cavity(&self, side: Side, u: f32, v: f32) -> (f32, f32) {
        let out = side.sign() * u;
        let r = sq((out - self.lung_middle) / self.lung_half[0]) + sq((v - 2.0) / self.lung_half[1]);
        let inner = out - self.body.hilum_half - 14.0 * fade(sq((v - 45.0) / 28.0));
        let inside = ((1.0 - r.sqrt()) * self.lung_half[0]).min(inner).min(self.d + 4.0);
        let from_peak = 0.55 * sq((out - self.lung_middle) / self.lung_half[0]) + sq((v + 14.0) / self.lung_half[1]);
        (inside, self.body.domes[side.index()] + 72.0 * from_peak.min(1.35) - self.d)
    }

    /// Distance to the border of a lung, positive inside.
    pub(super) fn lung(&self, side: Side, u: f32, v: f32) -> f32 {
        let (inside, above) = self.cavity(side, u, v);
        inside.min(above * 0.6).min(-self.heart(u, v) - 2.0)
    }

    /// Distance to the heart's border, positive inside.
    pub(super) fn heart(&self, u: f32, v: f32) -> f32 {
        if self.heart_share < 0.05 {
            return -1000.0;
        }
        let [hu, hv, _] = self.body.heart;
        let r = sq((u - hu) / (60.0 * self.heart_share)) + sq((v - hv) / (45.0 * self.heart_share));
        (1.0 - r.sqrt()) * 40.0 * self.heart_share
    }

    /// Hounsfield units of everything but what is in the lungs. `texture` is a little unevenness.
    pub(super) fn tissue(&self, u: f32, v: f32, texture: f32) -> f32 {
        let body = self.body;
        let ring = self.ring(u, v);
        let depth = (1.0 - ring) * self.outline[1];
        let mut hu = -1000.0;
        let mut put = |share: f32, value: f32| hu += (value - hu) * share;
        put(soft_edge(depth, 1.5), -100.0 + 8.0 * texture);
        let muscle = soft_edge(depth - body.fat, 2.0);
        if muscle <= 0.0 {
            return hu;
        }
        put(muscle, 50.0 + 8.0 * texture);
        self.put_wall(&mut put, ring, u, v);
        self.put_belly(&mut put, u, v, texture);
        self.put_mediastinum(&mut put, u, v, texture);
        self.put_spine(&mut put, depth, u, v, texture);
        hu
    }

    /// Ribs, which slope down to the front, shoulder blades and breastbone.
    fn put_wall(&self, put: &mut impl FnMut(f32, f32), ring: f32, u: f32, v: f32) {
        let body = self.body;
        let [_, half_depth] = self.outline;
        let off = (ring - (1.0 - (body.fat + 13.0) / half_depth)).abs() * half_depth;
        if off < 8.0 && v < 88.0 && self.d > -20.0 {
            let drop = 62.0 * (1.0 - v / half_depth) / 2.0;
            let wave = ((self.d - drop + body.rib_phase) * std::f32::consts::TAU / 24.0).cos();
            put(soft_edge(4.2 - off, 1.2) * ((wave - 0.1) * 4.0).clamp(0.0, 1.0), body.bone_hu);
            put(soft_edge(1.8 - off, 1.0) * ((wave - 0.3) * 4.0).clamp(0.0, 1.0), 150.0);
        }
        if self.d < 115.0 && v > 25.0 && u.abs() > 45.0 {
            let blade = (ring - (1.0 - (body.fat + 3.0) / half_depth)).abs() * half_depth;
            put(soft_edge(2.8 - blade, 1.0) * soft_edge(u.abs() - 52.0, 4.0) * soft_edge(v - 30.0, 4.0), 330.0);
        }
        if self.d > 25.0 && v < 0.0 {
            let front = soft_edge(6.0 - (v + half_depth - body.fat - 11.0).abs(), 1.5);
            put(front * soft_edge(15.0 - u.abs(), 2.0), 250.0);
        }
    }

    /// What lies under the diaphragm: liver, spleen, stomach with its air.
    fn put_belly(&self, put: &mut impl FnMut(f32, f32), u: f32, v: f32, texture: f32) {
        let side = Side::of(u);
        let (inside, above) = self.cavity(side, u, v);
        let under = soft_edge(inside, 1.5) * soft_edge(-above * 0.6 - 1.5, 1.5);
        if under <= 0.0 {
            return;
        }
        match side {
            Side::Right => put(under, 58.0 + 5.0 * texture),
            Side::Left => {
                put(under, 46.0 + 5.0 * texture);
                let [size, place] = self.body.stomach;
                let r = (sq(u - self.lung_middle + 6.0) + sq((v - place) * 1.1)).sqrt();
                put(under * soft_edge(size - r, 1.5), 20.0);
                // Air rises to the front of someone who lies on the back.
                put(under * soft_edge(size - 2.0 - r, 1.2) * soft_edge(place + 2.0 - v, 1.0), -950.0);
            }
        }
    }

    fn put_mediastinum(&self, put: &mut impl FnMut(f32, f32), u: f32, v: f32, texture: f32) {
        if u.abs() > 95.0 || !(-90.0..62.0).contains(&v) {
            return;
        }
        let body = self.body;
        let d = self.d;
        let above = self.cavity(Side::of(u), u, v).1;
        let fat = soft_edge(40.0 - u.abs(), 4.0) * soft_edge(52.0 - v, 3.0) * soft_edge(v + self.lung_half[1], 3.0);
        put(fat * soft_edge(above, 3.0), -75.0 + 12.0 * texture);
        put(soft_edge(self.heart(u, v), 2.0), body.blood_hu * 0.9 + 5.0 * texture);
        let blood = body.blood_hu;
        let round = |u0: f32, v0: f32, radius: f32| soft_edge(radius - (sq(u - u0) + sq(v - v0)).sqrt(), 1.2);
        let arch = 0.25 * body.height;
        let [descending, ascending] = body.aorta;
        if d > arch {
            put(round(24.0, 42.0, descending), blood);
        }
        if d > arch && d < 0.62 * body.height {
            put(round(-8.0, -22.0, ascending), blood);
        }
        if (d - arch).abs() < 12.0 {
            let along = ((v + 20.0) / 60.0).clamp(0.0, 1.0);
            put(round(-4.0 + 28.0 * along.sqrt(), -20.0 + 60.0 * along, 12.0), blood);
        }
        if d <= arch - 8.0 {
            for [u0, v0] in [[-13.0, -10.0], [3.0, -16.0], [17.0, -4.0]] {
                put(round(u0, v0, 5.5), blood);
            }
        }
        if (0.15..0.55).contains(&(d / body.height)) {
            put(round(-29.0, -14.0, 8.0), blood);
        }
        let trunk = 0.45 * body.height;
        if (d - trunk).abs() < 16.0 {
            let reach = (u - 6.0).abs() * 0.35;
            put(
                round(u.clamp(-34.0, 42.0), -8.0 - reach * 0.4, 11.0) * soft_edge(16.0 - (d - trunk).abs(), 3.0),
                blood,
            );
        }
        self.put_airway(put, u, v);
    }

    /// The trachea, and the main bronchi below where it divides.
    fn put_airway(&self, put: &mut impl FnMut(f32, f32), u: f32, v: f32) {
        let below = self.d - 0.34 * self.body.height;
        let v0 = 8.0 + 10.0 * ((self.d + 20.0) / 100.0).clamp(0.0, 1.0);
        if below < 0.0 {
            put(soft_edge(9.0 - (sq(u + 2.0) + sq((v - v0) / 0.9)).sqrt(), 1.2), -1000.0);
        } else if below < 34.0 {
            let off = (u.abs() - 6.0 - below * 0.8) / 1.3;
            put(soft_edge(6.5 - (off * off + sq(v - v0)).sqrt(), 1.2), -1000.0);
        }
    }

    /// Vertebrae with discs between them, the canal, and the spinous processes.
    fn put_spine(&self, put: &mut impl FnMut(f32, f32), depth: f32, u: f32, v: f32, texture: f32) {
        if u.abs() > 34.0 || v < 30.0 {
            return;
        }
        let disc = soft_edge((self.d * std::f32::consts::TAU / 25.0).cos() - 0.75, 0.15);
        let r = (sq(u / 1.15) + sq(v - VERTEBRA_V)).sqrt();
        let spongy = 215.0 + 30.0 * texture;
        put(soft_edge(19.0 - r, 1.4), spongy + (80.0 - spongy) * disc);
        put(fade(sq((r - 18.0) / 1.8)), 450.0 - 300.0 * disc);
        let canal = (sq(u / 1.2) + sq(v - CANAL_V - 1.0)).sqrt();
        put(soft_edge(11.0 - canal, 1.2), 350.0);
        put(soft_edge(7.5 - canal, 1.2), 25.0);
        let process = soft_edge(4.0 - u.abs(), 1.5) * soft_edge(12.0 - (v - 106.0).abs(), 2.0);
        put(process * soft_edge(depth - 8.0, 2.0) * (1.0 - 0.6 * disc), 350.0);
        put(
            soft_edge(3.5 - (v - 86.0 + 0.1 * u.abs()).abs(), 1.2) * soft_edge(32.0 - u.abs(), 2.0) * (1.0 - disc),
            320.0,
        );
    }
}
