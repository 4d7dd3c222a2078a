//! A look at what the processor computes, before it is relied on: it may be one that others imitate.

use std::mem::MaybeUninit;

use super::pack::{Tile, pack_rows, round_row};
use super::{Four, Multiply, SIDE, TERMS};
use crate::Arithmetic;
use crate::cpu::rows::Group;

/// Groups of terms.
const STEPS: usize = 3;
pub(super) const COLUMNS: usize = STEPS * TERMS;

/// Two strips of a left factor and a group of rows of a right one, of numbers of many sizes.
pub(super) struct Sample {
    pub(super) left: Vec<f32>,
    pub(super) right: Vec<f32>,
}

impl Sample {
    pub(super) fn new() -> Self {
        let mut state = 1u64;
        let mut number = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            Arithmetic::Bf16.rounded(unit * f32::powi(2.0, (state >> 20 & 15) as i32 - 8))
        };
        let left = (0..2 * SIDE * COLUMNS).map(|_| number()).collect();
        Self { left, right: (0..SIDE * COLUMNS).map(|_| number()).collect() }
    }

    /// Whether each `(output, row)` is the sum of its terms as `sum` makes it, bit for bit.
    pub(super) fn holds(&self, sum: fn(&[f32], &[f32]) -> f32, found: impl Fn(usize, usize) -> f32) -> bool {
        let mut all = (0..2 * SIDE).flat_map(|output| (0..SIDE).map(move |row| (output, row)));
        all.all(|(output, row)| {
            let (left, right) = (&self.left[output * COLUMNS..][..COLUMNS], &self.right[row * COLUMNS..][..COLUMNS]);
            found(output, row).to_bits() == sum(left, right).to_bits()
        })
    }
}

/// Rows as bf16.
///
/// # Safety
/// The processor has AVX-512 with BF16.
pub(super) unsafe fn rounded(rows: &[f32]) -> Vec<Group> {
    let mut groups = vec![Group([0; TERMS]); rows.len() / TERMS];
    for (from, to) in rows.chunks_exact(TERMS).zip(&mut groups) {
        // SAFETY: the caller's contract; 32 numbers are there.
        unsafe { round_row(from.as_ptr(), TERMS, &mut to.0) };
    }
    groups
}

/// Whether products of tiles are the sums that they should be. The processor has the instructions.
pub(super) fn tiles<M: Multiply>(sum: fn(&[f32], &[f32]) -> f32) -> bool {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    unsafe fn multiply<M: Multiply>(sample: &Sample) -> (Four, Four) {
        let mut tiles = [const { MaybeUninit::<Tile>::uninit() }; STEPS];
        let (mut one, mut two) = (Four::ZERO, Four::ZERO);
        // SAFETY: the processor has the instructions; both factors have all rows.
        unsafe {
            let left = rounded(&sample.left);
            pack_rows(sample.right.as_ptr(), COLUMNS, SIDE, COLUMNS, &mut tiles);
            let (left, right) =
                ([0, 1].map(|strip| left[strip * SIDE * STEPS..].as_ptr().cast()), tiles.as_ptr().cast());
            let unit = M::new();
            unit.two_by_one(left, 2 * COLUMNS, right, STEPS, &mut one, true);
            // In two parts, the second of which goes on from the first.
            let right: [*const Tile; 2] = [right, right];
            unit.two_by_two(left, 2 * COLUMNS, right, 1, &mut two, true);
            let (left, right) = (left.map(|left: *const u8| left.add(2 * TERMS)), right.map(|tiles| tiles.add(1)));
            unit.two_by_two(left, 2 * COLUMNS, right, STEPS - 1, &mut two, false);
        }
        (one, two)
    }
    let sample = Sample::new();
    // SAFETY: the caller knows that the instructions are there.
    let (one, two) = unsafe { multiply::<M>(&sample) };
    let of = |sums: &Four, group: usize| {
        let sums = sums.0;
        move |output: usize, row: usize| sums[output / SIDE * 2 + group][output % SIDE * SIDE + row]
    };
    sample.holds(sum, of(&one, 0)) && sample.holds(sum, of(&two, 0)) && sample.holds(sum, of(&two, 1))
}
