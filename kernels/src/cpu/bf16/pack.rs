//! Rows of f32 to tiles of bf16, and tiles of sums to rows.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{SIDE, TERMS};
use crate::cpu::lanes::transpose;

/// The right factor of a tile's product: pair `k` of the terms of row `r` at `[k][r]`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(in super::super) struct Tile([u32; SIDE * SIDE]);

impl Tile {
    /// Writes pair `k` of all rows.
    ///
    /// # Safety
    /// As the features say.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn put(tile: &mut MaybeUninit<Self>, k: usize, pairs: __m512i) {
        assert!(k < SIDE);
        // SAFETY: a tile has sixteen times sixteen numbers of 32 bits.
        unsafe { _mm512_storeu_si512(tile.as_mut_ptr().cast::<i32>().add(k * SIDE).cast(), pairs) };
    }
}

/// Sixteen of the first `count` numbers from `at` on, and zeros.
///
/// # Safety
/// `from` has `count` numbers.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn load_some(from: *const f32, at: usize, count: usize) -> __m512 {
    match count.saturating_sub(at) {
        0 => _mm512_setzero_ps(),
        // SAFETY: sixteen are there.
        SIDE.. => unsafe { _mm512_loadu_ps(from.add(at)) },
        // SAFETY: the mask leaves out those that are not.
        some => unsafe { _mm512_maskz_loadu_ps((1 << some) - 1, from.add(at)) },
    }
}

/// Two vectors to 32 bf16, `low` first: to the nearest, ties to even, subnormal numbers to zero.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
pub(super) fn to_bf16(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both types are 512 bits, of which any are valid.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Packs up to sixteen rows of `columns` numbers, `stride` apart, into `tiles`; there are zeros beyond both.
///
/// # Safety
/// The rows are there.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn pack_rows(
    from: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
    tiles: &mut [MaybeUninit<Tile>],
) {
    for (step, tile) in tiles.iter_mut().enumerate() {
        let mut pairs = [_mm512_setzero_si512(); SIDE];
        for (row, pairs) in pairs.iter_mut().enumerate().take(rows) {
            // SAFETY: the row has `columns` numbers.
            unsafe {
                let from = from.add(row * stride);
                let low = load_some(from, step * TERMS, columns);
                let high = load_some(from, step * TERMS + SIDE, columns);
                *pairs = to_bf16(low, high);
            }
        }
        for (k, pair) in transpose(pairs).into_iter().enumerate() {
            Tile::put(tile, k, pair);
        }
    }
}

/// Writes one row of `columns` numbers as bf16, and zeros to the end of `to`, which is a multiple of 32 long.
///
/// # Safety
/// The row is there.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn round_row(from: *const f32, columns: usize, to: &mut [u16]) {
    for (step, to) in to.chunks_exact_mut(TERMS).enumerate() {
        // SAFETY: the row has `columns` numbers, and 32 bf16 fit.
        unsafe {
            let low = load_some(from, step * TERMS, columns);
            let high = load_some(from, step * TERMS + SIDE, columns);
            _mm512_storeu_si512(to.as_mut_ptr().cast(), to_bf16(low, high));
        }
    }
}

/// Writes `rows` rows, up to 32 and `stride` apart, of `columns` numbers as columns of bf16: number `c` of row `r` becomes
/// `to[c · to_stride + r]`. Rows up to 32 and columns up to a multiple of 16 are filled with zeros.
///
/// # Safety
/// The rows are there.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn round_columns(
    from: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
    to: &mut [u16],
    to_stride: usize,
) {
    for first in (0..columns).step_by(SIDE) {
        let half = |at: usize| {
            let mut half = [_mm512_setzero_si512(); SIDE];
            for (row, to) in half.iter_mut().enumerate().take(rows.saturating_sub(at)) {
                // SAFETY: the row has `columns` numbers.
                *to = _mm512_castps_si512(unsafe { load_some(from.add((at + row) * stride), first, columns) });
            }
            transpose(half)
        };
        let (low, high) = (half(0), half(SIDE));
        for (column, (low, high)) in low.into_iter().zip(high).enumerate() {
            let bits = to_bf16(_mm512_castsi512_ps(low), _mm512_castsi512_ps(high));
            let to = &mut to[(first + column) * to_stride..][..TERMS];
            // SAFETY: 32 bf16 fit.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), bits) };
        }
    }
}

/// A tile of sums `[16 outputs, 16 rows]` as vectors of outputs, for the first `rows` rows at least.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn rows_of(sums: &[f32; SIDE * SIDE], rows: usize) -> [__m512; SIDE] {
    let mut all = [_mm512_setzero_ps(); SIDE];
    // Where there are few rows, picking their numbers out is less work.
    if rows <= 4 {
        let places = _mm512_mullo_epi32(
            _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
            _mm512_set1_epi32(SIDE as i32),
        );
        for (row, to) in all.iter_mut().enumerate().take(rows) {
            // SAFETY: places are within the tile.
            *to = unsafe { _mm512_i32gather_ps::<4>(places, sums.as_ptr().add(row)) };
        }
        return all;
    }
    let mut bits = [_mm512_setzero_si512(); SIDE];
    for (row, to) in bits.iter_mut().enumerate() {
        // SAFETY: a row has sixteen numbers.
        *to = unsafe { _mm512_loadu_si512(sums[row * SIDE..].as_ptr().cast()) };
    }
    for (to, outputs) in all.iter_mut().zip(transpose(bits)) {
        *to = _mm512_castsi512_ps(outputs);
    }
    all
}
