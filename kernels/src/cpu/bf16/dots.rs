//! Activations times weights by sums of pairs, where both factors are read along their rows.
//!
//! Sixteen lanes go over a row of a weight and a row of activations together, 32 terms at a time: lane `l` sums the pairs `l`,
//! `l + 16`, `l + 32` ... as [`super::pairs`] has it. Then lanes are added: in each four of them `(0 + 2) + (1 + 3)`, and of
//! the four sums the first two, the last two, and both. So weights stay as a checkpoint has them, and one row of activations
//! reads them as fast as memory gives them.

use std::arch::x86_64::*;

use super::left::Strip;
use super::pack::round_row;
use super::product::{Kept, Weight, packed};
use super::strips::Factors;
use super::{SIDE, TERMS, check, pairs};
use crate::cpu::lanes::{Avx512, Lanes};
use crate::cpu::rows::Group;
use crate::cpu::work::Work;

/// Outputs that are summed together: with six rows, sums and factors fill the registers.
const OUTPUTS: usize = 4;
/// Rows so few that weights are read from memory in the order in which they lie there, one output after another: a processor
/// guesses that order best, and computes on the next output while it waits for this one's sum.
const IN_TURN: usize = 2;

/// Rows to rows of whole groups.
pub(super) fn round<'a>(x: &[f32], rows: usize, columns: usize, kept: &'a mut Kept, work: Work<'_>) -> &'a [Group] {
    let sizes = (rows, columns.div_ceil(TERMS), rows * columns);
    // SAFETY: a group is a line of the cache, and a row of them is written whole; the processor has the instructions, and the
    // row was checked to be there.
    unsafe {
        packed::<Group>(kept, sizes, work, |row, to| {
            let to = std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<u16>(), to.len() * TERMS);
            round_row(x[row * columns..][..columns].as_ptr(), columns, to);
        })
    }
}

/// Both factors.
#[derive(Clone, Copy)]
pub(super) struct Dots<'a> {
    pub(super) weight: Weight<'a>,
    pub(super) rounded: &'a [Group],
}

impl Factors for Dots<'_> {
    const ROWS: usize = 6;

    fn row_bytes(&self) -> usize {
        self.weight.columns().div_ceil(TERMS) * size_of::<Group>()
    }

    #[inline(always)]
    unsafe fn strip<const R: usize>(&self, pair: usize, half: usize, first: usize) -> [__m512; R] {
        let steps = self.weight.columns().div_ceil(TERMS);
        let right = self.rounded[first * steps..][..R * steps].as_ptr();
        let Strip::Floats(rows, strip_of_rows) = self.weight.pair(pair)[half] else {
            unreachable!("whole numbers are multiplied as such");
        };
        // SAFETY: the caller's contract; strips have `steps` groups.
        unsafe { strip::<R>(rows.strip(strip_of_rows).as_ptr(), rows.stride(), right, steps) }
    }
}

/// Sums of a strip of sixteen outputs with `R` rows: outputs in lanes.
///
/// # Safety
/// The processor has the features; sixteen rows of a weight, `stride` bytes apart, and `R` rows of activations have `steps`
/// groups.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
#[inline]
unsafe fn strip<const R: usize>(left: *const u8, stride: usize, right: *const Group, steps: usize) -> [__m512; R] {
    let mut fours = [[_mm512_setzero_ps(); SIDE / OUTPUTS]; R];
    for four in 0..SIDE / OUTPUTS {
        // SAFETY: the caller's contract.
        let sums = unsafe { dots::<R>(left.add(four * OUTPUTS * stride), stride, right, steps) };
        for (fours, sums) in fours.iter_mut().zip(sums) {
            fours[four] = add_lanes(sums);
        }
    }
    let mut sums = [_mm512_setzero_ps(); R];
    for (sum, fours) in sums.iter_mut().zip(fours) {
        *sum = add_fours(fours);
    }
    sums
}

/// Sums by lane of four outputs with `R` rows.
///
/// # Safety
/// As [`strip`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
#[inline]
unsafe fn dots<const R: usize>(
    left: *const u8,
    stride: usize,
    right: *const Group,
    steps: usize,
) -> [[__m512; OUTPUTS]; R] {
    // SAFETY: the caller's contract.
    unsafe {
        if R > IN_TURN {
            return together::<R, OUTPUTS>(left, stride, right, steps);
        }
        let mut sums = [[_mm512_setzero_ps(); OUTPUTS]; R];
        for output in 0..OUTPUTS {
            let of_output = together::<R, 1>(left.add(output * stride), stride, right, steps);
            for (sums, [sum]) in sums.iter_mut().zip(of_output) {
                sums[output] = sum;
            }
        }
        sums
    }
}

/// Sums by lane of `O` outputs with `R` rows, whose terms come at the same time.
///
/// # Safety
/// As [`strip`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
#[inline]
unsafe fn together<const R: usize, const O: usize>(
    left: *const u8,
    stride: usize,
    right: *const Group,
    steps: usize,
) -> [[__m512; O]; R] {
    let mut sums = [[_mm512_setzero_ps(); O]; R];
    for step in 0..steps {
        // SAFETY: the caller's contract; a hint may be of any address.
        unsafe {
            if O > 1 {
                // The outputs after these come next, in the order in which they lie in memory.
                let next = left.wrapping_add(O * stride + step * O * size_of::<Group>());
                for line in 0..O {
                    _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(line * size_of::<Group>()).cast());
                }
            }
            let weights: [__m512i; O] = std::array::from_fn(|output| {
                _mm512_loadu_si512(left.add(output * stride + step * size_of::<Group>()).cast())
            });
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_load_si512(right.add(row * steps + step).cast());
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = pairs::add(*sum, weights, x);
                }
            }
        }
    }
    sums
}

/// In each four lanes, the sums of such four lanes of four vectors.
#[target_feature(enable = "avx512f")]
#[inline]
fn add_lanes([a, b, c, d]: [__m512; OUTPUTS]) -> __m512 {
    let two = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let (ab, cd) = (_mm512_castps_pd(two(a, b)), _mm512_castps_pd(two(c, d)));
    let (even, odd) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
    _mm512_add_ps(_mm512_castpd_ps(even), _mm512_castpd_ps(odd))
}

/// The sums over four lanes each of four vectors, after one another.
#[target_feature(enable = "avx512f")]
#[inline]
fn add_fours([a, b, c, d]: [__m512; SIDE / OUTPUTS]) -> __m512 {
    let two = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
    two(two(a, b), two(c, d))
}

/// The sum that is made of the terms of two rows.
fn sum(left: &[f32], right: &[f32]) -> f32 {
    let lane = |lane: usize| {
        let of = |row: &[f32]| -> Vec<f32> {
            row.chunks_exact(TERMS).flat_map(|group| [group[2 * lane], group[2 * lane + 1]]).collect()
        };
        pairs::sum(&of(left), &of(right))
    };
    let four = |first: usize| (lane(first) + lane(first + 2)) + (lane(first + 1) + lane(first + 3));
    (four(0) + four(4)) + (four(8) + four(12))
}

/// Whether sums are what they should be. The processor has the instructions.
pub(super) fn is_as_expected() -> bool {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    unsafe fn strips(sample: &check::Sample) -> [[__m512; SIDE]; 2] {
        const STEPS: usize = check::COLUMNS / TERMS;
        // SAFETY: the caller knows that the processor has the instructions; both factors have all rows.
        unsafe {
            let (left, right) = (check::rounded(&sample.left), check::rounded(&sample.right));
            [0, 1].map(|half| {
                let left = left[half * SIDE * STEPS..].as_ptr().cast();
                let rows = |row: usize| right[row * STEPS..].as_ptr();
                std::array::from_fn(|row| strip::<1>(left, STEPS * size_of::<Group>(), rows(row), STEPS)[0])
            })
        }
    }
    let sample = check::Sample::new();
    // SAFETY: as above.
    let found = unsafe { strips(&sample) };
    let found = found.map(|rows| {
        rows.map(|row| {
            let mut lanes = [0.0f32; SIDE];
            // SAFETY: sixteen numbers.
            unsafe { Avx512::store(lanes.as_mut_ptr(), row) };
            lanes
        })
    });
    sample.holds(sum, |output, row| found[output / SIDE][row][output % SIDE])
}
