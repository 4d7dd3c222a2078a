//! Whole numbers in rows, as a checkpoint has them: where they are, or made at load.

use std::arch::x86_64::*;

use half::bf16;
use rayon::prelude::*;

use super::left::Group;
use super::pack::to_bf16;
use super::{SIDE, STEPS_AT_ONCE, TERMS};
use crate::quantised::{Bits, Grid};
use crate::weights::{KeptBytes, WeightView};

/// A matrix `[rows, columns]` of whole numbers with scales, in strips of sixteen rows.
#[derive(Debug)]
pub(in super::super) struct QuantisedRows {
    grid: Grid,
    parts: Vec<Part>,
    rows: usize,
    columns: usize,
}

/// Whole strips.
#[derive(Debug)]
struct Part {
    first_strip: usize,
    numbers: Bytes,
    /// bf16, `[rows, groups]`.
    scales: Bytes,
}

#[derive(Debug)]
enum Bytes {
    /// In the checkpoint's file.
    Kept(KeptBytes),
    /// Padded with zeros to whole strips.
    Own(Vec<u8>),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::Kept(kept) => kept.bytes(),
            Bytes::Own(own) => own,
        }
    }
}

impl QuantisedRows {
    /// Stacks parts by rows, and quantises those that are not. What is in memory for good, and in whole strips, is not copied.
    pub(super) fn stack(parts: &[WeightView<'_>], grid: Grid) -> Self {
        let (rows, columns) = (parts.iter().map(|part| part.rows).sum(), parts[0].columns);
        let whole = parts.iter().all(|part| part.rows.is_multiple_of(SIDE));
        let stacks: Vec<&[WeightView<'_>]> = if whole { parts.chunks(1).collect() } else { vec![parts] };
        let mut first_strip = 0;
        let stack = |stack: &[WeightView<'_>]| {
            let kept = match stack {
                [one] if whole => one.keep_scales().and_then(|scales| Some((one.keep()?, scales))),
                _ => None,
            };
            let (numbers, scales) = match kept {
                Some((numbers, scales)) => (Bytes::Kept(numbers), Bytes::Kept(scales)),
                None => own(stack, grid),
            };
            let part = Part { first_strip, numbers, scales };
            first_strip += stack.iter().map(|part| part.rows).sum::<usize>().div_ceil(SIDE);
            part
        };
        Self { grid, parts: stacks.into_iter().map(stack).collect(), rows, columns }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes of numbers and of scales from a row to the next.
    fn strides(&self) -> (usize, usize) {
        (self.grid.row_bytes(self.columns), self.grid.groups(self.columns) * size_of::<bf16>())
    }

    /// Numbers and scales of a strip, and the bytes behind it that a later strip may be at.
    fn strip(&self, strip: usize) -> (&[u8], &[u8]) {
        let part = &self.parts[self.parts.partition_point(|part| part.first_strip <= strip) - 1];
        let row = (strip - part.first_strip) * SIDE;
        let (numbers, scales) = self.strides();
        (&part.numbers.get()[row * numbers..], &part.scales.get()[row * scales..][..SIDE * scales])
    }

    /// Writes one row, times `scale`.
    pub(super) fn copy_row(&self, row: usize, scale: f32, out: &mut [f32]) {
        let (numbers, scales) = self.strip(row / SIDE);
        let (stride, scale_stride) = self.strides();
        let scales = scales[row % SIDE * scale_stride..][..scale_stride].chunks_exact(2);
        let scales: Vec<bf16> = scales.map(|bytes| bf16::from_le_bytes([bytes[0], bytes[1]])).collect();
        let out = &mut out[..self.columns];
        self.grid.values(&numbers[row % SIDE * stride..][..stride], &scales, out);
        out.iter_mut().for_each(|value| *value *= scale);
    }

    /// The groups from `first` on of sixteen rows as bf16, as many as there is room for: `[16, groups]`.
    ///
    /// # Safety
    /// As the features say.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    pub(super) unsafe fn unpack(&self, strip: usize, first: usize, to: &mut [Group]) {
        let (numbers, scales) = self.strip(strip);
        let (stride, scale_stride) = self.strides();
        let steps = to.len() / SIDE;
        let (begin, bytes) = match self.grid.bits {
            Bits::Eight => (first * TERMS, steps * TERMS),
            Bits::Four => (first * TERMS / 2, steps * TERMS / 2),
        };
        // Where the scales of each step are in a row: a division for each would take as long as all else.
        let mut places = [0; STEPS_AT_ONCE];
        for (step, place) in places[..steps].iter_mut().enumerate() {
            *place = (first + step) * TERMS / self.grid.group * size_of::<bf16>();
        }
        let mut scale = Scales([0.0; STEPS_AT_ONCE]);
        let mut offset = Scales([0.0; STEPS_AT_ONCE]);
        for (row, to) in to.chunks_exact_mut(steps).enumerate() {
            // What comes after next: two strips are unpacked in turn, and processors do not guess so many rows.
            let ahead = numbers.as_ptr().wrapping_add((row + 2 * SIDE) * stride + begin);
            for line in (0..bytes).step_by(64) {
                _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(line).cast());
            }
            let numbers = &numbers[row * stride + begin..][..bytes];
            let scales = &scales[row * scale_stride..][..scale_stride];
            // SAFETY: the places are within a row's scales, and those of groups of 32 follow each other.
            unsafe { scale.read(scales, &places[..steps], self.grid.group == TERMS) };
            match self.grid.bits {
                Bits::Eight => {
                    offset.times(&scale, -128.0);
                    let steps = to.iter_mut().zip(numbers.chunks_exact(TERMS)).zip(scale.0.iter().zip(&offset.0));
                    for ((to, numbers), (scale, offset)) in steps {
                        // SAFETY: 32 bytes are there, and 32 bf16 fit.
                        unsafe { eight(numbers.as_ptr(), *scale, *offset, to) };
                    }
                }
                Bits::Four => {
                    for ((to, numbers), scale) in to.iter_mut().zip(numbers.chunks_exact(TERMS / 2)).zip(&scale.0) {
                        // SAFETY: 16 bytes are there, and 32 bf16 fit.
                        unsafe { four(numbers.as_ptr(), *scale, to) };
                    }
                }
            }
        }
    }
}

/// Scales of the steps of a row as f32, in memory: a number that is loaded into all lanes takes no time of the unit that
/// moves bytes about, which is the busiest here.
#[repr(C, align(64))]
struct Scales([f32; STEPS_AT_ONCE]);

impl Scales {
    /// # Safety
    /// Two bytes are at each place; with `next_to_each_other`, so they are from the first on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
    #[inline]
    unsafe fn read(&mut self, scales: &[u8], places: &[usize], next_to_each_other: bool) {
        if next_to_each_other {
            let mask = ((1u32 << places.len()) - 1) as __mmask16;
            // SAFETY: the mask leaves out what is not there.
            unsafe {
                let bits = _mm256_maskz_loadu_epi16(mask, scales[places[0]..].as_ptr().cast());
                let wide = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits));
                _mm512_store_ps(self.0.as_mut_ptr(), _mm512_castsi512_ps(wide));
            }
            return;
        }
        for (scale, place) in self.0.iter_mut().zip(places) {
            let bits = u16::from_le_bytes([scales[*place], scales[*place + 1]]);
            *scale = f32::from_bits(u32::from(bits) << 16);
        }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn times(&mut self, scales: &Self, factor: f32) {
        // SAFETY: both have sixteen numbers, on a line of the cache.
        unsafe {
            let product = _mm512_mul_ps(_mm512_load_ps(scales.0.as_ptr()), _mm512_set1_ps(factor));
            _mm512_store_ps(self.0.as_mut_ptr(), product);
        }
    }
}

/// 32 numbers of eight bits.
///
/// # Safety
/// 32 bytes are there.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
unsafe fn eight(from: *const u8, scale: f32, offset: f32, to: &mut Group) {
    let (scale, offset) = (_mm512_set1_ps(scale), _mm512_set1_ps(offset));
    // (q + 128) · scale - 128 · scale is exact, as all of its parts are.
    // SAFETY: the caller's contract.
    unsafe {
        let low = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())));
        let high = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.add(16).cast())));
        let low = _mm512_fmadd_ps(low, scale, offset);
        let high = _mm512_fmadd_ps(high, scale, offset);
        _mm512_store_si512(to.0.as_mut_ptr().cast(), to_bf16(low, high));
    }
}

/// 32 numbers of four bits.
///
/// # Safety
/// 16 bytes are there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2")]
#[inline]
unsafe fn four(from: *const u8, scale: f32, to: &mut Group) {
    // What each of the sixteen numbers stands for, twice, so that a fifth bit of a place is of no matter.
    let numbers = _mm512_set_ps(7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0);
    let values = _mm512_mul_ps(numbers, _mm512_set1_ps(scale));
    let table = to_bf16(values, values);
    // SAFETY: the caller's contract.
    unsafe {
        let bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()));
        // Each byte in two places of 16 bits; the second wants its upper half.
        let twice = _mm512_cvtepu16_epi32(bytes);
        let places = _mm512_or_si512(twice, _mm512_slli_epi32::<12>(twice));
        _mm512_store_si512(to.0.as_mut_ptr().cast(), _mm512_permutexvar_epi16(places, table));
    }
}

/// Rows of all parts, quantised and padded: their numbers and their scales.
fn own(parts: &[WeightView<'_>], grid: Grid) -> (Bytes, Bytes) {
    let columns = parts[0].columns;
    let rows: Vec<(WeightView<'_>, usize)> =
        parts.iter().flat_map(|part| (0..part.rows).map(move |row| (*part, row))).collect();
    let (stride, scale_stride) = (grid.row_bytes(columns), grid.groups(columns) * size_of::<bf16>());
    let padded = rows.len().next_multiple_of(SIDE);
    // A scale of zero makes zeros of any number.
    let (mut numbers, mut scales) = (vec![0u8; padded * stride], vec![0u8; padded * scale_stride]);
    let both = numbers.par_chunks_mut(stride).zip(scales.par_chunks_mut(scale_stride));
    both.zip(rows).for_each(|((numbers, scales), (part, row))| {
        let (row_numbers, row_scales) = match part.quantised_row(row) {
            Some((kept, row_scales)) => (kept.to_vec(), row_scales),
            None => grid.quantise(&part.row(row)),
        };
        numbers.copy_from_slice(&row_numbers);
        scales.chunks_exact_mut(2).zip(row_scales).for_each(|(to, scale)| to.copy_from_slice(&scale.to_le_bytes()));
    });
    (Bytes::Own(numbers), Bytes::Own(scales))
}
