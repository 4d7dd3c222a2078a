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

/// Sums of a tile: row `r` begins at `r · PANEL`.
pub(super) struct Sums([f32; ROWS * PANEL]);

impl Sums {
    pub(super) fn new() -> Self {
        Self([0.0; ROWS * PANEL])
    }

    /// The first sums of a row.
    #[inline(always)]
    pub(super) fn row(&self, row: usize, width: usize) -> &[f32] {
        &self.0[row * PANEL..][..width]
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
    sums: &mut Sums,
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
                VECTORS => some_rows::<L, S, VECTORS>(rows, terms, left, right, to),
                2 => some_rows::<L, S, 2>(rows, terms, left, right, to),
                _ => some_rows::<L, S, 1>(rows, terms, left, right, to),
            }
        }
        vector += width;
    }
}

#[inline(always)]
unsafe fn some_rows<L: Lanes, S: Stored, const V: usize>(
    rows: usize,
    terms: usize,
    left: Left,
    right: Right<S>,
    sums: *mut f32,
) {
    // SAFETY: the caller's contract; each arm computes as many rows as there are.
    unsafe {
        match rows {
            1 => tile::<L, S, 1, V>(terms, left, right, sums),
            2 => tile::<L, S, 2, V>(terms, left, right, sums),
            3 => tile::<L, S, 3, V>(terms, left, right, sums),
            4 => tile::<L, S, 4, V>(terms, left, right, sums),
            5 => tile::<L, S, 5, V>(terms, left, right, sums),
            _ => tile::<L, S, ROWS, V>(terms, left, right, sums),
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes, S: Stored, const R: usize, const V: usize>(
    terms: usize,
    left: Left,
    right: Right<S>,
    to: *mut f32,
) {
    // Tiles that would not stay in registers are never asked for; saying so keeps them from being compiled.
    if V > 1 && R * V > L::TILE {
        return;
    }
    // SAFETY: all offsets are within the factors and the sums, by the caller's contract.
    unsafe {
        let mut done = 0;
        while done < terms {
            let count = (terms - done).min(CHAIN);
            let rows: [*const f32; R] = std::array::from_fn(|row| left.first.add(row * left.stride + done));
            let sums = chain::<L, S, R, V>(count, rows, right.first.add(done * right.stride), right.stride);
            for (row, sums) in sums.into_iter().enumerate() {
                for (vector, sum) in sums.into_iter().enumerate() {
                    let to = to.add(row * PANEL + vector * LANES);
                    L::store(to, if done == 0 { sum } else { L::add(L::load(to), sum) });
                }
            }
            done += count;
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
