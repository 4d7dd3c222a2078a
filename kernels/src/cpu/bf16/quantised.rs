//! Whole numbers in blocks, in the order in which they are unpacked.

use std::arch::x86_64::*;

use half::bf16;
use rayon::prelude::*;

use super::pack::to_bf16;
use super::{SIDE, TERMS};
use crate::backend::DeviceError;
use crate::cpu::lanes::InstructionSet;
use crate::cpu::packed::Source;
use crate::cpu::pages::Pages;
use crate::cpu::quantised::whole_row;
use crate::cpu::rows::Group;
use crate::quantised::{Bits, Grid};

/// Steps of a block: what is unpacked before it is multiplied. Few, so that bytes come from memory and are unpacked at the same
/// time; at sixteen a product of one row takes a fifth more time.
pub(super) const STEPS: usize = 4;
/// Bytes of the scales of a block.
const SCALE_BYTES: usize = SIDE * STEPS * size_of::<bf16>();
/// How far ahead of the numbers in hand memory is asked for bytes: less comes too late, and more is no longer where it is
/// needed. The processor's own guesses end with each small page, and do twice as badly.
const AHEAD: usize = 1024;

/// A matrix `[rows, columns]` of whole numbers with scales, as blocks `[pairs of strips, columns / (32 · STEPS), 2 strips]`:
/// those of two strips of sixteen rows that are multiplied together are read one after the other. A block has its scales `[16,
/// STEPS]` in bf16, a group's scale for each step of it, and then its numbers `[16, STEPS, 32]`. What fills up strips and blocks
/// has scales of zero, which make zeros of any number.
#[derive(Debug)]
pub(in super::super) struct QuantisedRows {
    bits: Bits,
    blocks: Pages<u8>,
    rows: usize,
    columns: usize,
}

/// Bytes of the numbers of a step of a row.
const fn step_bytes(bits: Bits) -> usize {
    match bits {
        Bits::Eight => TERMS,
        Bits::Four => TERMS / 2,
    }
}

const fn block_bytes(bits: Bits) -> usize {
    SCALE_BYTES + SIDE * STEPS * step_bytes(bits)
}

/// Blocks of a strip of so many columns.
fn blocks_of_strip(columns: usize) -> usize {
    columns.div_ceil(TERMS * STEPS)
}

/// Bytes of two strips of so many columns.
fn pair_bytes(columns: usize, grid: Grid) -> usize {
    2 * blocks_of_strip(columns) * block_bytes(grid.bits)
}

impl QuantisedRows {
    /// Packs rows, quantised where they are not yet.
    pub(super) fn pack(rows: &[Source<'_>], columns: usize, grid: Grid) -> Result<Self, DeviceError> {
        let pair_bytes = pair_bytes(columns, grid);
        let mut blocks = Pages::zeroed(Self::bytes(rows.len(), columns, grid))?;
        blocks.par_chunks_mut(pair_bytes.max(1)).zip(rows.par_chunks(2 * SIDE)).for_each(|(pair, rows)| {
            let there = rows.iter().enumerate().filter_map(|(index, row)| row.map(|row| (index, row)));
            for (index, (view, row)) in there {
                let (numbers, scales) = whole_row(InstructionSet::Amx, grid, (view, row));
                fill(pair, index, grid, &numbers, &scales);
            }
        });
        Ok(Self { bits: grid.bits, blocks, rows: rows.len(), columns })
    }

    /// Bytes of so many rows.
    pub(super) fn bytes(rows: usize, columns: usize, grid: Grid) -> usize {
        rows.div_ceil(2 * SIDE) * pair_bytes(columns, grid)
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The blocks of a strip, from one on.
    fn blocks(&self, strip: usize, first: usize) -> impl Iterator<Item = &[u8]> {
        let in_strip = blocks_of_strip(self.columns);
        let pair = strip / 2 * 2 * in_strip;
        let blocks = &self.blocks[(pair + 2 * first + strip % 2) * block_bytes(self.bits)..];
        blocks.chunks(block_bytes(self.bits)).step_by(2).take(in_strip - first)
    }

    /// Writes one row, times `scale`.
    pub(super) fn copy_row(&self, row: usize, scale: f32, out: &mut [f32]) {
        let (grid, bytes) = (Grid { bits: self.bits, group: TERMS }, step_bytes(self.bits));
        let blocks = self.blocks(row / SIDE, 0);
        for (out, block) in out[..self.columns].chunks_mut(STEPS * TERMS).zip(blocks) {
            let (scales, numbers) = block.split_at(SCALE_BYTES);
            let scales = scales.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]));
            let steps = numbers.chunks_exact(bytes).zip(scales).skip(row % SIDE * STEPS);
            for (out, (numbers, own)) in out.chunks_mut(TERMS).zip(steps) {
                grid.values(numbers, &[own], out);
                out.iter_mut().for_each(|value| *value *= scale);
            }
        }
    }

    /// The blocks from step `first` on of sixteen rows as bf16, as many as there is room for: `[16, steps]`, of whole blocks.
    ///
    /// # Safety
    /// As the features say.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    pub(super) unsafe fn unpack(&self, strip: usize, first: usize, to: &mut [Group]) {
        let steps = to.len() / SIDE;
        assert!(first.is_multiple_of(STEPS) && steps.is_multiple_of(STEPS), "whole blocks");
        let to = to.as_mut_ptr();
        for (block, from) in self.blocks(strip, first / STEPS).take(steps / STEPS).enumerate() {
            assert!(from.len() == block_bytes(self.bits), "whole blocks");
            // SAFETY: the block is whole, and sixteen rows of `steps` groups have room for it.
            unsafe {
                match self.bits {
                    Bits::Eight => unpack_eight(from.as_ptr(), to.add(block * STEPS), steps),
                    Bits::Four => unpack_four(from.as_ptr(), to.add(block * STEPS), steps),
                }
            }
        }
    }
}

/// Writes a row of a pair of strips into its blocks.
fn fill(pair: &mut [u8], row: usize, grid: Grid, numbers: &[u8], scales: &[bf16]) {
    let (bytes, strip) = (step_bytes(grid.bits), row / SIDE);
    for (step, numbers) in numbers.chunks_exact(bytes).enumerate() {
        let block = &mut pair[(step / STEPS * 2 + strip) * block_bytes(grid.bits)..][..block_bytes(grid.bits)];
        let place = row % SIDE * STEPS + step % STEPS;
        let scale = scales[step * TERMS / grid.group];
        block[place * size_of::<bf16>()..][..size_of::<bf16>()].copy_from_slice(&scale.to_le_bytes());
        block[SCALE_BYTES + place * bytes..][..bytes].copy_from_slice(numbers);
    }
}

/// Scales of a block as f32, in memory: a number that is loaded into all lanes takes no time of the unit that moves bytes
/// about, which is the busiest here.
#[repr(C, align(64))]
struct Scales([[f32; STEPS]; SIDE]);

impl Scales {
    /// Those of a block, times `factor`.
    ///
    /// # Safety
    /// The bytes are there.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
    #[inline]
    unsafe fn read(block: *const u8, factor: f32) -> Self {
        const VECTOR: usize = 16;
        let mut scales = Self([[0.0; STEPS]; SIDE]);
        let to = scales.0.as_mut_ptr().cast::<f32>();
        for first in (0..SIDE * STEPS).step_by(VECTOR) {
            // SAFETY: sixteen of sixteen bits are read, and sixteen of 32 written.
            unsafe {
                let bits = _mm256_loadu_si256(block.add(first * size_of::<bf16>()).cast());
                let wide = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)));
                _mm512_store_ps(to.add(first), _mm512_mul_ps(wide, _mm512_set1_ps(factor)));
            }
        }
        scales
    }
}

/// Asks for a line that comes some time after this one.
#[inline(always)]
fn ask_ahead(of: *const u8) {
    // SAFETY: a hint, of any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(of.wrapping_add(AHEAD).cast()) };
}

/// Unpacks a block of eight bits to sixteen rows, `stride` groups apart.
///
/// # Safety
/// A block is there, and room for it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
#[inline]
unsafe fn unpack_eight(block: *const u8, to: *mut Group, stride: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        let (scales, offsets) = (Scales::read(block, 1.0), Scales::read(block, -128.0));
        for row in 0..SIDE {
            let (numbers, to) = (block.add(SCALE_BYTES + row * STEPS * TERMS), to.add(row * stride));
            ask_ahead(numbers);
            ask_ahead(numbers.add(64));
            for step in 0..STEPS {
                let (scale, offset) = (scales.0[row][step], offsets.0[row][step]);
                eight(numbers.add(step * TERMS), scale, offset, &mut *to.add(step));
            }
        }
    }
}

/// Unpacks a block of four bits to sixteen rows, `stride` groups apart.
///
/// # Safety
/// A block is there, and room for it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
#[inline]
unsafe fn unpack_four(block: *const u8, to: *mut Group, stride: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        let scales = Scales::read(block, 1.0);
        for row in 0..SIDE {
            let (numbers, to) = (block.add(SCALE_BYTES + row * STEPS * TERMS / 2), to.add(row * stride));
            ask_ahead(numbers);
            for step in 0..STEPS {
                four(numbers.add(step * TERMS / 2), scales.0[row][step], &mut *to.add(step));
            }
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
