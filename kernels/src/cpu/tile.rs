//! The product of a few rows with a panel of columns: what every matrix product and attention is made of.

use super::lanes::{LANES, Lanes};
use crate::GROUP;

/// Rows that one tile computes.
pub(super) const ROWS: usize = 6;
/// Columns of a panel.
pub(super) const PANEL: usize = 64;
/// Vectors of a panel.
pub(super) const VECTORS: usize = PANEL / LANES;
/// Terms that are summed in one chain; chains are added to each other in order. Bounds rounding errors for long rows.
pub(super) const CHAIN: usize = 256;

/// In which order terms are summed.
pub(super) trait Order: Copy + Send + Sync + 'static {
    /// As [`crate::Arithmetic::Bf16`] says; else chains of [`CHAIN`].
    const GROUPS: bool;
}

/// One chain of fused multiply-adds per [`CHAIN`] terms, in the order of terms.
#[derive(Clone, Copy)]
pub(super) struct Chains;

/// Groups of 32 terms, those at even and those at odd places apart: the order of tiles.
#[derive(Clone, Copy)]
pub(super) struct Groups;

impl Order for Chains {
    const GROUPS: bool = false;
}

impl Order for Groups {
    const GROUPS: bool = true;
}

/// Panels that are stored in another way.
pub(super) trait Unpack {
    /// Terms `first..first + count` of a panel as the numbers that they stand for: `[count, PANEL]`. `first` is a multiple of
    /// [`GROUP`], and `to` has room for whole groups.
    ///
    /// # Safety
    /// As [`Lanes`].
    unsafe fn unpack<L: Lanes>(&self, panel: usize, first: usize, count: usize, to: &mut [f32]);
}

/// Room for unpacked terms of a panel, on lines of the cache.
pub(super) struct Unpacked(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

impl Unpacked {
    /// For a chain of a matrix with so many columns.
    pub(super) fn new(columns: usize) -> Self {
        Self(vec![Line([0.0; LANES]); columns.min(CHAIN).next_multiple_of(GROUP) * VECTORS])
    }

    /// `[terms, PANEL]`
    pub(super) fn numbers(&mut self) -> &mut [f32] {
        // SAFETY: a line is sixteen numbers and nothing else.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * LANES) }
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
pub(super) struct Right {
    pub(super) first: *const f32,
    pub(super) stride: usize,
}

/// Sums of a tile: row `r` begins at `r · PANEL`.
pub(super) struct Sums([f32; ROWS * PANEL]);

impl Sums {
    pub(super) fn new() -> Self {
        Self([0.0; ROWS * PANEL])
    }

    /// Sums to go on from.
    #[inline(always)]
    pub(super) fn set_row(&mut self, row: usize, sums: &[f32]) {
        self.0[row * PANEL..][..sums.len()].copy_from_slice(sums);
    }

    /// The first sums of a row.
    #[inline(always)]
    pub(super) fn row(&self, row: usize, width: usize) -> &[f32] {
        &self.0[row * PANEL..][..width]
    }

    #[inline(always)]
    pub(super) fn set_vector<L: Lanes>(&mut self, row: usize, vector: usize, sums: L::V) {
        let at = row * PANEL + vector * LANES;
        // SAFETY: sliced to sixteen values; kernels run where the instructions are.
        unsafe { L::store(self.0[at..at + LANES].as_mut_ptr(), sums) };
    }

    /// Sixteen sums of a row.
    #[inline(always)]
    pub(super) fn vector<L: Lanes>(&self, row: usize, vector: usize) -> L::V {
        let at = row * PANEL + vector * LANES;
        // SAFETY: sliced to sixteen values; kernels run where the instructions are.
        unsafe { L::load(self.0[at..at + LANES].as_ptr()) }
    }
}

/// `[rows, vectors]` sums over `terms` terms.
///
/// Each sum is computed in one order, whatever the tile. So a value does not depend on the rows and columns computed with
/// it, nor on the instruction set. With `onto`, sums go on from what they are, as if there had been one call: where all
/// calls but the last have a multiple of [`CHAIN`] terms, or of 32 in groups.
///
/// # Safety
/// As [`Lanes`]; `rows` is at most [`ROWS`], `vectors` at most [`VECTORS`], and both factors have all terms.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, O: Order>(
    (rows, vectors, terms): (usize, usize, usize),
    left: Left,
    right: Right,
    sums: &mut Sums,
    onto: bool,
) {
    let mut vector = 0;
    while vector < vectors {
        let fits = |width: usize| vector + width <= vectors && rows * width <= L::TILE;
        let width = if fits(VECTORS) {
            VECTORS
        } else if fits(2) {
            2
        } else {
            1
        };
        let to = sums.0[vector * LANES..].as_mut_ptr();
        // SAFETY: the caller's contract; sums have room for each row and vector.
        unsafe {
            let right = Right { first: right.first.add(vector * LANES), stride: right.stride };
            match width {
                VECTORS => some_rows::<L, O, VECTORS>(rows, terms, left, right, to, onto),
                2 => some_rows::<L, O, 2>(rows, terms, left, right, to, onto),
                _ => some_rows::<L, O, 1>(rows, terms, left, right, to, onto),
            }
        }
        vector += width;
    }
}

#[inline(always)]
unsafe fn some_rows<L: Lanes, O: Order, const V: usize>(
    rows: usize,
    terms: usize,
    left: Left,
    right: Right,
    sums: *mut f32,
    onto: bool,
) {
    // SAFETY: the caller's contract; each arm computes as many rows as there are.
    unsafe {
        match rows {
            1 => tile::<L, O, 1, V>(terms, left, right, sums, onto),
            2 => tile::<L, O, 2, V>(terms, left, right, sums, onto),
            3 => tile::<L, O, 3, V>(terms, left, right, sums, onto),
            4 => tile::<L, O, 4, V>(terms, left, right, sums, onto),
            5 => tile::<L, O, 5, V>(terms, left, right, sums, onto),
            _ => tile::<L, O, ROWS, V>(terms, left, right, sums, onto),
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes, O: Order, const R: usize, const V: usize>(
    terms: usize,
    left: Left,
    right: Right,
    to: *mut f32,
    onto: bool,
) {
    // Tiles that would not stay in registers are never asked for; saying so keeps them from being compiled.
    if V > 1 && R * V > L::TILE {
        return;
    }
    // SAFETY: all offsets are within the factors and the sums, by the caller's contract.
    unsafe {
        let mut done = 0;
        while done < terms {
            let count = (terms - done).min(if O::GROUPS { GROUP } else { CHAIN });
            let rows: [*const f32; R] = std::array::from_fn(|row| left.first.add(row * left.stride + done));
            let column = right.first.add(done * right.stride);
            let sums = if O::GROUPS {
                let even = chain::<L, R, V, 2>(count.div_ceil(2), rows, column, right.stride);
                let rows = rows.map(|row| row.add(1));
                let odd = chain::<L, R, V, 2>(count / 2, rows, column.wrapping_add(right.stride), right.stride);
                std::array::from_fn(|r| std::array::from_fn(|v| L::add(even[r][v], odd[r][v])))
            } else {
                chain::<L, R, V, 1>(count, rows, column, right.stride)
            };
            for (row, sums) in sums.into_iter().enumerate() {
                for (vector, sum) in sums.into_iter().enumerate() {
                    let to = to.add(row * PANEL + vector * LANES);
                    let fresh = done == 0 && !onto;
                    // From zero on, not just the sum: tiles make no negative zeros.
                    let before = if !fresh { L::load(to) } else { L::splat(0.0) };
                    L::store(to, if fresh && !O::GROUPS { sum } else { L::add(before, sum) });
                }
            }
            done += count;
        }
    }
}

#[inline(always)]
unsafe fn chain<L: Lanes, const R: usize, const V: usize, const STEP: usize>(
    terms: usize,
    rows: [*const f32; R],
    mut column: *const f32,
    stride: usize,
) -> [[L::V; V]; R] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; R];
        for term in 0..terms {
            let weights: [L::V; V] = std::array::from_fn(|vector| L::load(column.add(vector * LANES)));
            for row in 0..R {
                let x = L::splat(*rows[row].add(term * STEP));
                for vector in 0..V {
                    sums[row][vector] = L::fma(x, weights[vector], sums[row][vector]);
                }
            }
            column = column.wrapping_add(stride * STEP);
        }
        sums
    }
}
