//! Smooth random textures, and the soft edges that shapes are drawn with.

use super::dice::Dice;

/// 0 outside and 1 inside of an edge at `distance` 0 (positive inside), rising over twice `width`.
pub(super) fn soft_edge(distance: f32, width: f32) -> f32 {
    (distance / (2.0 * width) + 0.5).clamp(0.0, 1.0)
}

/// A square.
pub(super) fn sq(x: f32) -> f32 {
    x * x
}

/// `exp(-x)` for `x ≥ 0`, to about 3 %, without a call: textures need no more.
pub(super) fn fade(x: f32) -> f32 {
    let base = 1.0 / (1.0 + x * (0.25 + x * (0.031_25 + x * 0.0026)));
    sq(sq(base))
}

/// Where the points of one axis lie between lattice points: the lower one, and how far towards the next.
#[derive(Clone)]
struct Axis(Vec<(u32, f32)>);

impl Axis {
    fn new(points: usize, cells: usize) -> Self {
        let steps = (0..points).map(|point| {
            let place = point as f32 / (points - 1).max(1) as f32 * (cells - 1) as f32;
            let lower = (place as usize).min(cells - 2);
            let t = place - lower as f32;
            (lower as u32, t * t * (3.0 - 2.0 * t))
        });
        Self(steps.collect())
    }
}

/// A field of random values on a `cells × cells` lattice, smooth between them, deviation about 0.7 and mean 0.
pub(super) struct Noise {
    cells: usize,
    lattice: Vec<f32>,
    axis: Axis,
}

impl Noise {
    /// A field for pictures of `size × size` pixels.
    pub(super) fn new(dice: &mut Dice, size: usize, cells: usize) -> Self {
        let lattice = (0..cells * cells).map(|_| dice.bell()).collect();
        Self { cells, lattice, axis: Axis::new(size, cells) }
    }

    /// Adds `gain` times one row of the field to `into`.
    pub(super) fn add_row(&self, y: usize, gain: f32, into: &mut [f32]) {
        let (lower, t) = self.axis.0[y];
        let upper = &self.lattice[(lower as usize + 1) * self.cells..][..self.cells];
        let lower = &self.lattice[lower as usize * self.cells..][..self.cells];
        let blend = |cell: usize| gain * (lower[cell] + t * (upper[cell] - lower[cell]));
        let mut cell = usize::MAX;
        let (mut left, mut rise) = (0.0, 0.0);
        for (value, &(at, t)) in into.iter_mut().zip(&self.axis.0) {
            if at as usize != cell {
                cell = at as usize;
                left = blend(cell);
                rise = blend(cell + 1) - left;
            }
            *value += left + t * rise;
        }
    }
}

/// A field in space: planes of lattices, smooth between them.
pub(super) struct SolidNoise {
    planes: Vec<Noise>,
}

impl SolidNoise {
    /// A field of `depth` lattice planes of `cells × cells`.
    pub(super) fn new(dice: &mut Dice, size: usize, cells: usize, depth: usize) -> Self {
        Self { planes: (0..depth).map(|_| Noise::new(dice, size, cells)).collect() }
    }

    /// The field on the plane at `z`, 0 to 1 from the first lattice plane to the last.
    pub(super) fn slice(&self, z: f32) -> Noise {
        let place = z.clamp(0.0, 1.0) * (self.planes.len() - 1) as f32;
        let lower = (place as usize).min(self.planes.len() - 2);
        let t = place - lower as f32;
        let t = t * t * (3.0 - 2.0 * t);
        let (from, to) = (&self.planes[lower], &self.planes[lower + 1]);
        let blend = |(a, b): (&f32, &f32)| a + t * (b - a);
        Noise {
            cells: from.cells,
            lattice: from.lattice.iter().zip(&to.lattice).map(blend).collect(),
            axis: from.axis.clone(),
        }
    }
}
