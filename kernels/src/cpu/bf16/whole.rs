//! Weights as whole numbers, multiplied as such: `vpdpbusd` adds four products of bytes to a sum, in each of sixteen lanes
//! (AVX-512 VNNI).
//!
//! A lane is an output. Activations are rounded to 16 bits for each group of 32 terms and row, `x = scale · (256 · high + low)`,
//! which is finer than bf16 wherever a number is at least 1/256 of the largest of its group. Sums of a group are exact; each
//! is rounded to f32, multiplied with both scales, and added by a fused multiply-add to what the groups before gave. With eight
//! bits for activations, as llama.cpp has them, a product would take half the instructions: but weights come from memory more
//! slowly than they are multiplied, and drafts would be less exact.

use std::arch::x86_64::*;

use half::bf16;
use rayon::prelude::*;

use super::product::{Kept, packed};
use super::strips::Factors;
use super::{SIDE, TERMS};
use crate::backend::DeviceError;
use crate::cpu::lanes::InstructionSet;
use crate::cpu::packed::Source;
use crate::cpu::pages::Pages;
use crate::cpu::quantised::whole_row;
use crate::cpu::work::Work;
use crate::quantised::{Bits, Grid};

/// Bytes that a lane multiplies at once.
const FOUR: usize = 4;
/// Vectors of bytes of a group.
const VECTORS: usize = TERMS / FOUR;
/// Bytes of a vector.
const VECTOR: usize = SIDE * FOUR;
/// Bytes of the scales of a group.
const SCALE_BYTES: usize = SIDE * size_of::<bf16>();
/// Groups of a block, so that vectors begin on lines of the cache.
const GROUPS: usize = 2;
/// How far ahead of the numbers in hand memory is asked for bytes: without it a row alone takes twice the time.
const AHEAD: usize = 2048;
/// The largest number of an activation: its bytes are at most 127.
const LARGEST: f32 = 127.0 * 256.0;
/// A group of nothing larger is taken for zeros: what divides by it is no number.
const NOTHING: f32 = 1e-30;

/// A matrix `[rows, columns]` of whole numbers with scales, as blocks `[strips of 16 rows, columns / 64]`. A block has the scales
/// `[2, 16]` of its groups in bf16, and then their numbers `[2, 8, 16, 4]` as bytes: four terms of each row in turn. In four bits,
/// the terms of the first four vectors of a group are in the lower halves of bytes, and those of the last four in the upper
/// ones. What fills up strips and blocks has scales of zero.
#[derive(Debug)]
pub(in super::super) struct WholeNumbers {
    bits: Bits,
    blocks: Pages<u8>,
    rows: usize,
    columns: usize,
}

/// Bytes of the numbers of a group.
const fn group_bytes(bits: Bits) -> usize {
    match bits {
        Bits::Eight => VECTORS * VECTOR,
        Bits::Four => VECTORS / 2 * VECTOR,
    }
}

const fn block_bytes(bits: Bits) -> usize {
    GROUPS * (SCALE_BYTES + group_bytes(bits))
}

/// Bytes of a strip of so many columns.
fn strip_bytes(bits: Bits, columns: usize) -> usize {
    columns.div_ceil(GROUPS * TERMS) * block_bytes(bits)
}

impl WholeNumbers {
    /// Packs rows, quantised where they are not yet.
    pub(super) fn pack(rows: &[Source<'_>], columns: usize, grid: Grid) -> Result<Self, DeviceError> {
        let strip_bytes = strip_bytes(grid.bits, columns);
        let mut blocks = Pages::zeroed(Self::bytes(rows.len(), columns, grid))?;
        blocks.par_chunks_mut(strip_bytes.max(1)).zip(rows.par_chunks(SIDE)).for_each(|(strip, rows)| {
            let there = rows.iter().enumerate().filter_map(|(lane, row)| row.map(|row| (lane, row)));
            for (lane, (view, row)) in there {
                let (numbers, scales) = whole_row(InstructionSet::Avx512, grid, (view, row));
                fill(strip, lane, grid, &numbers, &scales);
            }
        });
        Ok(Self { bits: grid.bits, blocks, rows: rows.len(), columns })
    }

    /// Bytes of so many rows.
    pub(super) fn bytes(rows: usize, columns: usize, grid: Grid) -> usize {
        rows.div_ceil(SIDE) * strip_bytes(grid.bits, columns)
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The blocks of a strip.
    fn strip(&self, strip: usize) -> &[u8] {
        let bytes = strip_bytes(self.bits, self.columns);
        &self.blocks[strip * bytes..][..bytes]
    }

    /// Writes one row, times `scale`.
    pub(super) fn copy_row(&self, row: usize, scale: f32, out: &mut [f32]) {
        let (grid, lane) = (Grid { bits: self.bits, group: TERMS }, row % SIDE);
        let blocks = self.strip(row / SIDE).chunks_exact(block_bytes(self.bits));
        let groups = blocks.flat_map(|block| {
            let (scales, numbers) = block.split_at(GROUPS * SCALE_BYTES);
            scales.chunks_exact(SCALE_BYTES).zip(numbers.chunks_exact(group_bytes(self.bits)))
        });
        for (out, (scales, vectors)) in out[..self.columns].chunks_exact_mut(TERMS).zip(groups) {
            let own = bf16::from_le_bytes([scales[2 * lane], scales[2 * lane + 1]]);
            let mut numbers = [0u8; TERMS];
            let mut of_row = vectors.chunks_exact(VECTOR).map(|vector| &vector[lane * FOUR..][..FOUR]);
            let numbers = match self.bits {
                Bits::Eight => {
                    numbers.chunks_exact_mut(FOUR).zip(of_row).for_each(|(to, four)| to.copy_from_slice(four));
                    &numbers[..]
                }
                Bits::Four => {
                    let (low, high) = numbers.split_at_mut(TERMS / 4);
                    let pair = |a: u8, b: u8| a | b << 4;
                    for (low, high) in low.chunks_exact_mut(FOUR / 2).zip(high.chunks_exact_mut(FOUR / 2)) {
                        let Some(four) = of_row.next() else { break };
                        for (place, two) in four.chunks_exact(2).enumerate() {
                            low[place] = pair(two[0] & 15, two[1] & 15);
                            high[place] = pair(two[0] >> 4, two[1] >> 4);
                        }
                    }
                    &numbers[..TERMS / 2]
                }
            };
            grid.values(numbers, &[own], out);
            out.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

/// Writes a row of a strip into its blocks.
fn fill(strip: &mut [u8], lane: usize, grid: Grid, numbers: &[u8], scales: &[bf16]) {
    let of_group = numbers.chunks_exact(TERMS / grid.bits.in_byte());
    let groups = strip.chunks_exact_mut(block_bytes(grid.bits)).flat_map(|block| {
        let (scales, numbers) = block.split_at_mut(GROUPS * SCALE_BYTES);
        scales.chunks_exact_mut(SCALE_BYTES).zip(numbers.chunks_exact_mut(group_bytes(grid.bits)))
    });
    for (group, ((to_scales, vectors), numbers)) in groups.zip(of_group).enumerate() {
        let scale = scales[group * TERMS / grid.group];
        to_scales[lane * size_of::<bf16>()..][..size_of::<bf16>()].copy_from_slice(&scale.to_le_bytes());
        let vectors = vectors.chunks_exact_mut(VECTOR).map(|vector| &mut vector[lane * FOUR..][..FOUR]);
        match grid.bits {
            Bits::Eight => vectors.zip(numbers.chunks_exact(FOUR)).for_each(|(to, four)| to.copy_from_slice(four)),
            Bits::Four => {
                let (low, high) = numbers.split_at(numbers.len() / 2);
                let both = low.chunks_exact(FOUR / 2).zip(high.chunks_exact(FOUR / 2));
                for (to, (low, high)) in vectors.zip(both) {
                    for (place, to) in to.iter_mut().enumerate() {
                        let half = |of: &[u8]| of[place / 2] >> (place % 2 * 4) & 15;
                        *to = half(low) | half(high) << 4;
                    }
                }
            }
        }
    }
}

/// A group of activations in 16 bits: the lower and the upper bytes of their numbers, with signs of their own, what they are
/// times, and their sum.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Fixed {
    low: [i8; TERMS],
    high: [i8; TERMS],
    scale: f32,
    sum: i32,
}

/// Rows to rows of groups.
pub(super) fn round<'a>(x: &[f32], rows: usize, columns: usize, kept: &'a mut Kept, work: Work<'_>) -> &'a [Fixed] {
    let sizes = (rows, columns / TERMS, rows * columns);
    // SAFETY: rows have whole groups of 32 numbers, all of which are written; the processor has the instructions.
    unsafe {
        packed(kept, sizes, work, |row, to| {
            let groups = x[row * columns..][..columns].chunks_exact(TERMS);
            groups.zip(to).for_each(|(from, to)| _ = to.write(fixed_group(from)));
        })
    }
}

/// # Safety
/// As the features say; 32 numbers are there.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn fixed_group(from: &[f32]) -> Fixed {
    let mut fixed = Fixed { low: [0; TERMS], high: [0; TERMS], scale: 0.0, sum: 0 };
    // SAFETY: both halves are there.
    let halves = [0, SIDE].map(|first| unsafe { _mm512_loadu_ps(from[first..first + SIDE].as_ptr()) });
    // Sizes are in the order of their bits, and what is no number is larger than any.
    let sizes = halves.map(|half| _mm512_castps_si512(_mm512_abs_ps(half)));
    let largest = f32::from_bits(_mm512_reduce_max_epu32(_mm512_max_epu32(sizes[0], sizes[1])));
    if !largest.is_finite() {
        // What is infinite or no number makes no numbers of all that it is in.
        fixed.scale = f32::NAN;
    } else if largest > NOTHING {
        fixed.scale = largest / LARGEST;
        let inverse = _mm512_set1_ps(LARGEST / largest);
        let numbers = halves.map(|half| _mm512_cvtps_epi32(_mm512_mul_ps(half, inverse)));
        fixed.sum = _mm512_reduce_add_epi32(_mm512_add_epi32(numbers[0], numbers[1]));
        for (half, numbers) in numbers.into_iter().enumerate() {
            let high = _mm512_srai_epi32::<8>(_mm512_add_epi32(numbers, _mm512_set1_epi32(128)));
            let low = _mm512_sub_epi32(numbers, _mm512_slli_epi32::<8>(high));
            // SAFETY: sixteen bytes of each.
            unsafe {
                _mm_storeu_si128(fixed.low[half * SIDE..].as_mut_ptr().cast(), _mm512_cvtepi32_epi8(low));
                _mm_storeu_si128(fixed.high[half * SIDE..].as_mut_ptr().cast(), _mm512_cvtepi32_epi8(high));
            }
        }
    }
    fixed
}

/// Both factors.
#[derive(Clone, Copy)]
pub(super) struct Whole<'a> {
    pub(super) weight: &'a WholeNumbers,
    pub(super) fixed: &'a [Fixed],
}

impl Factors for Whole<'_> {
    const ROWS: usize = 8;

    fn row_bytes(&self) -> usize {
        self.weight.columns / TERMS * size_of::<Fixed>()
    }

    #[inline(always)]
    unsafe fn strip<const R: usize>(&self, pair: usize, half: usize, first: usize) -> [__m512; R] {
        let groups = self.weight.columns / TERMS;
        let (blocks, rows) = (self.weight.strip(2 * pair + half), &self.fixed[first * groups..][..R * groups]);
        // SAFETY: the caller's contract.
        unsafe {
            match self.weight.bits {
                Bits::Eight => strip::<R, true>(blocks.as_ptr(), rows.as_ptr(), groups),
                Bits::Four => strip::<R, false>(blocks.as_ptr(), rows.as_ptr(), groups),
            }
        }
    }
}

/// Sums of sixteen outputs with `R` rows.
///
/// # Safety
/// As the features say; the strip has `groups` blocks, and each row so many groups.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn strip<const R: usize, const EIGHT: bool>(
    blocks: *const u8,
    rows: *const Fixed,
    groups: usize,
) -> [__m512; R] {
    let bits = if EIGHT { Bits::Eight } else { Bits::Four };
    let mut sums = [_mm512_setzero_ps(); R];
    for group in 0..groups {
        // SAFETY: the caller's contract.
        unsafe {
            let block = blocks.add(group / GROUPS * block_bytes(bits));
            let scales = block.add(group % GROUPS * SCALE_BYTES);
            let scales = _mm512_cvtepu16_epi32(_mm256_load_si256(scales.cast()));
            let scales = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(scales));
            let numbers = block.add(GROUPS * SCALE_BYTES + group % GROUPS * group_bytes(bits));
            let load = |vector: usize| {
                let at = numbers.add(vector * VECTOR);
                // A hint, of any address.
                _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD).cast());
                _mm512_load_si512(at.cast())
            };
            let weights: [__m512i; VECTORS] = std::array::from_fn(|vector| match EIGHT {
                true => load(vector),
                false => {
                    let both = load(vector % (VECTORS / 2));
                    let both = if vector < VECTORS / 2 { both } else { _mm512_srli_epi16::<4>(both) };
                    _mm512_and_si512(both, _mm512_set1_epi8(15))
                }
            });
            for (row, sum) in sums.iter_mut().enumerate() {
                let of: &Fixed = &*rows.add(row * groups + group);
                let four = |bytes: &[i8; TERMS], vector: usize| {
                    _mm512_set1_epi32(bytes.as_ptr().cast::<i32>().add(vector).read_unaligned())
                };
                // Stored numbers are too large by the offset.
                let mut low = _mm512_set1_epi32(-bits.offset() * of.sum);
                let mut high = _mm512_setzero_si512();
                for (vector, weights) in weights.into_iter().enumerate() {
                    low = _mm512_dpbusd_epi32(low, weights, four(&of.low, vector));
                    high = _mm512_dpbusd_epi32(high, weights, four(&of.high, vector));
                }
                let exact = _mm512_add_epi32(low, _mm512_slli_epi32::<8>(high));
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(of.scale));
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), scale, *sum);
            }
        }
    }
    sums
}
