//! The product of a few rows with a panel of columns: what every matrix product and attention is made of.

use super::lanes::{LANES, Lanes};

/// Rows that one tile computes.
pub(super) const ROWS: usize = 6;
/// Columns of a panel.
pub(super) const PANEL: usize = 64;
/// Vectors of a panel.
pub(super) const VECTORS: usize = PANEL / LANES;
/// Terms that are summed in one chain; chains are added to each other in order. Bounds rounding errors for long rows.
const CHAIN: usize = 256;

/// A number of a panel, as it is stored.
pub(super) trait Stored: Copy + Send + Sync + 'static {
    /// Sixteen of them.
    ///
    /// # Safety
    /// As [`Lanes`].
    unsafe fn load<L: Lanes>(from: *const Self) -> L::V;
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const f32) -> L::V {
        // SAFETY: the caller's contract.
        unsafe { L::load(from) }
    }
}

/// The bits of a bf16.
impl Stored for u16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const u16) -> L::V {
        // SAFETY: the caller's contract.
        unsafe { L::load_bf16(from) }
    }
}

/// Rows of the left factor: row `r` begins `r · stride` after `first`, and its values follow each other.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) first: *const f32,
    pub(super) stride: usize,
}

/// A panel of the right factor: term `k` of its columns lies `k · stride` after `first`.
#[derive(Clone, Copy)]
pub(super) struct Right<S> {
    pub(super) first: *const S,
    pub(super) stride: usize,
}

/// `[rows, vectors]` sums over `terms` terms, handed to `take(row, vector, sum)`.
///
/// Each sum is one chain of fused multiply-adds per [`CHAIN`] terms, in the order of terms, whatever the tile. So a value
/// does not depend on the rows and columns computed with it, nor on the instruction set.
///
/// # Safety
/// As [`Lanes`]; `rows` is at most [`ROWS`], `vectors` at most [`VECTORS`], and both factors have all terms.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, S: Stored>(
    (rows, vectors, terms): (usize, usize, usize),
    left: Left,
    right: Right<S>,
    mut take: impl FnMut(usize, usize, L::V),
) {
    // SAFETY: the caller's contract; every arm computes as many rows and vectors as asked.
    unsafe {
        if L::SIDE_BY_SIDE == VECTORS && vectors == VECTORS {
            match rows {
                1 => tile::<L, S, 1, VECTORS>(0, terms, left, right, &mut take),
                2 => tile::<L, S, 2, VECTORS>(0, terms, left, right, &mut take),
                3 => tile::<L, S, 3, VECTORS>(0, terms, left, right, &mut take),
                4 => tile::<L, S, 4, VECTORS>(0, terms, left, right, &mut take),
                5 => tile::<L, S, 5, VECTORS>(0, terms, left, right, &mut take),
                _ => tile::<L, S, ROWS, VECTORS>(0, terms, left, right, &mut take),
            }
            return;
        }
        for vector in 0..vectors {
            match rows {
                1 => tile::<L, S, 1, 1>(vector, terms, left, right, &mut take),
                2 => tile::<L, S, 2, 1>(vector, terms, left, right, &mut take),
                3 => tile::<L, S, 3, 1>(vector, terms, left, right, &mut take),
                4 => tile::<L, S, 4, 1>(vector, terms, left, right, &mut take),
                5 => tile::<L, S, 5, 1>(vector, terms, left, right, &mut take),
                _ => tile::<L, S, ROWS, 1>(vector, terms, left, right, &mut take),
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes, S: Stored, const R: usize, const V: usize>(
    first_vector: usize,
    terms: usize,
    left: Left,
    right: Right<S>,
    take: &mut impl FnMut(usize, usize, L::V),
) {
    // SAFETY: all offsets are within the factors, by the caller's contract.
    unsafe {
        let mut totals = [[L::splat(0.0); V]; R];
        let mut done = 0;
        while done < terms {
            let count = (terms - done).min(CHAIN);
            let rows: [*const f32; R] = std::array::from_fn(|row| left.first.add(row * left.stride + done));
            let column = right.first.add(done * right.stride + first_vector * LANES);
            let sums = chain::<L, S, R, V>(count, rows, column, right.stride);
            if done == 0 {
                totals = sums;
            } else {
                for row in 0..R {
                    for vector in 0..V {
                        totals[row][vector] = L::add(totals[row][vector], sums[row][vector]);
                    }
                }
            }
            done += count;
        }
        for (row, totals) in totals.into_iter().enumerate() {
            for (vector, total) in totals.into_iter().enumerate() {
                take(row, first_vector + vector, total);
            }
        }
    }
}

#[inline(always)]
unsafe fn chain<L: Lanes, S: Stored, const R: usize, const V: usize>(
    terms: usize,
    rows: [*const f32; R],
    mut column: *const S,
    stride: usize,
) -> [[L::V; V]; R] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; R];
        for term in 0..terms {
            let weights: [L::V; V] = std::array::from_fn(|vector| S::load::<L>(column.add(vector * LANES)));
            for row in 0..R {
                let x = L::splat(*rows[row].add(term));
                for vector in 0..V {
                    sums[row][vector] = L::fma(x, weights[vector], sums[row][vector]);
                }
            }
            column = column.add(stride);
        }
        sums
    }
}
