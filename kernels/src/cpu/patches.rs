//! Attention of patches among themselves.

use crate::args::AttendPatches;
use crate::weights::Arithmetic;

use super::Cpu;
use super::lanes::{InstructionSet, Kernel, LANES, Lanes, dispatch};
use super::product::rounded;
use super::softmax::weigh;
use super::tile::{Chains, Groups, Left, Order, PANEL, ROWS, Right, Sums, VECTORS, product};
use super::work::{Shared, Work};

/// Queries that share a pass over keys and values.
const QUERIES_AT_ONCE: usize = 4 * ROWS;
/// Keys whose values are summed before the next queries take their turn with them.
const KEYS_AT_ONCE: usize = 256;
/// Rows of scores are this much longer than needed, so that they do not fall on the same cache sets.
const GAP: usize = LANES;

/// Keys and values of one head of an image, in the order in which products read them.
#[derive(Default)]
struct Packed {
    /// `[panels, head_dim, PANEL]`
    keys: Vec<f32>,
    /// `[patches, padded head_dim]`
    values: Vec<f32>,
}

/// The scratch of a thread.
struct Scratch {
    scores: Vec<f32>,
    sums: Vec<f32>,
}

/// Sizes, padded.
#[derive(Clone, Copy)]
struct Sizes {
    patches: usize,
    panels: usize,
    heads: usize,
    head_dim: usize,
    value_dim: usize,
    score_stride: usize,
}

pub(super) fn attend(set: InstructionSet, work: Work<'_>, arithmetic: Arithmetic, args: AttendPatches<'_, Cpu>) {
    let (patches, heads, head_dim) = (args.patches, args.heads, args.head_dim);
    let panels = patches.div_ceil(PANEL);
    let sizes = Sizes {
        patches,
        panels,
        heads,
        head_dim,
        value_dim: head_dim.next_multiple_of(LANES),
        score_stride: panels * PANEL + GAP,
    };
    assert!(args.qkv.len() >= args.images * patches * 3 * heads * head_dim, "queries, keys and values");
    assert!(args.out.len() >= args.images * patches * heads * head_dim, "result of attention");
    let pairs = args.images * heads;
    let per_head = 2 * patches * patches * head_dim;
    let work = if work.tasks(pairs * per_head) == 1 { work.alone() } else { work };
    let qkv = rounded(set, arithmetic, args.qkv);
    let qkv: &[f32] = &qkv;
    let mut packed: Vec<Packed> = (0..pairs).map(|_| Packed::default()).collect();
    work.run_each(&mut packed, |pair, packed| packed.fill(sizes, head_rows(qkv, sizes, pair)));
    let query_blocks = patches.div_ceil(QUERIES_AT_ONCE);
    let out = Shared::new(args.out);
    let scratch = || Scratch {
        scores: vec![0.0; QUERIES_AT_ONCE * sizes.score_stride],
        sums: vec![0.0; QUERIES_AT_ONCE * sizes.value_dim],
    };
    let packed: &[Packed] = &packed;
    work.run_with(pairs * query_blocks, scratch, |scratch, task| {
        let (pair, first) = (task / query_blocks, task % query_blocks * QUERIES_AT_ONCE);
        let queries = first..(first + QUERIES_AT_ONCE).min(patches);
        let rows = head_rows(qkv, sizes, pair);
        let kernel = Queries {
            sizes,
            rows,
            pair,
            packed: &packed[pair],
            queries,
            scale: args.scale,
            arithmetic,
            scratch,
            out: out.pointer(),
        };
        dispatch(set, kernel);
    });
}

/// The values of an image from its first query of a head on.
fn head_rows(qkv: &[f32], sizes: Sizes, pair: usize) -> &[f32] {
    let (image, head) = (pair / sizes.heads, pair % sizes.heads);
    &qkv[image * sizes.patches * sizes.row() + head * sizes.head_dim..]
}

impl Sizes {
    /// Values of a patch: queries, keys and values of all heads.
    fn row(&self) -> usize {
        3 * self.heads * self.head_dim
    }
}

impl Packed {
    fn fill(&mut self, sizes: Sizes, rows: &[f32]) {
        let (head_dim, width) = (sizes.head_dim, sizes.heads * sizes.head_dim);
        self.keys = vec![0.0; sizes.panels * head_dim * PANEL];
        self.values = vec![0.0; sizes.patches * sizes.value_dim];
        for patch in 0..sizes.patches {
            let row = &rows[patch * sizes.row()..];
            let panel = &mut self.keys[patch / PANEL * PANEL * head_dim + patch % PANEL..];
            for (place, key) in panel.iter_mut().step_by(PANEL).zip(&row[width..width + head_dim]) {
                *place = *key;
            }
            self.values[patch * sizes.value_dim..][..head_dim].copy_from_slice(&row[2 * width..2 * width + head_dim]);
        }
    }
}

/// Some queries of one head.
struct Queries<'a> {
    sizes: Sizes,
    rows: &'a [f32],
    pair: usize,
    packed: &'a Packed,
    queries: std::ops::Range<usize>,
    scale: f32,
    arithmetic: Arithmetic,
    scratch: &'a mut Scratch,
    out: *mut f32,
}

impl Kernel for Queries<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.arithmetic {
            Arithmetic::Exact => self.attend::<L, Chains>(),
            Arithmetic::Bf16 => self.attend::<L, Groups>(),
        }
    }
}

impl Queries<'_> {
    #[inline(always)]
    fn attend<L: Lanes, O: Order>(mut self) {
        let (sizes, count) = (self.sizes, self.queries.len());
        self.score::<L, O>();
        let mut totals = [0.0f32; QUERIES_AT_ONCE];
        for (row, total) in totals[..count].iter_mut().enumerate() {
            let scores = &mut self.scratch.scores[row * sizes.score_stride..][..sizes.panels * PANEL];
            // SAFETY: rows of scores are whole panels.
            *total = unsafe { weigh::<L, O>(scores, 0..sizes.patches, self.scale) };
        }
        self.sum_values::<L, O>();
        let (image, head) = (self.pair / sizes.heads, self.pair % sizes.heads);
        for (row, total) in totals[..count].iter().enumerate() {
            let query = image * sizes.patches + self.queries.start + row;
            let sums = &self.scratch.sums[row * sizes.value_dim..][..sizes.head_dim];
            // SAFETY: `out` has this query's head, and no other task has it.
            let out = unsafe {
                let first = self.out.add((query * sizes.heads + head) * sizes.head_dim);
                std::slice::from_raw_parts_mut(first, sizes.head_dim)
            };
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum / total;
            }
        }
    }

    /// Scores of all keys, a panel of keys at a time for all our queries.
    #[inline(always)]
    fn score<L: Lanes, O: Order>(&mut self) {
        let sizes = self.sizes;
        let mut sums = Sums::new();
        for (panel, keys) in self.packed.keys.chunks_exact(sizes.head_dim * PANEL).enumerate() {
            let right = Right { first: keys.as_ptr(), stride: PANEL };
            for row in (0..self.queries.len()).step_by(ROWS) {
                let count = (self.queries.len() - row).min(ROWS);
                let first = self.rows[(self.queries.start + row) * sizes.row()..].as_ptr();
                let left = Left { first, stride: sizes.row() };
                let scores = &mut self.scratch.scores[row * sizes.score_stride..];
                // SAFETY: queries and keys have `head_dim` values.
                unsafe { product::<L, O>((count, VECTORS, sizes.head_dim), left, right, &mut sums, false) };
                for r in 0..count {
                    scores[r * sizes.score_stride + panel * PANEL..][..PANEL].copy_from_slice(sums.row(r, PANEL));
                }
            }
        }
    }

    /// Sums of values by their weights, some keys at a time for all our queries.
    #[inline(always)]
    fn sum_values<L: Lanes, O: Order>(&mut self) {
        let (sizes, count) = (self.sizes, self.queries.len());
        self.scratch.sums.fill(0.0);
        for first_key in (0..sizes.patches).step_by(KEYS_AT_ONCE) {
            let keys = (sizes.patches - first_key).min(KEYS_AT_ONCE);
            let values = &self.packed.values[first_key * sizes.value_dim..];
            for row in (0..count).step_by(ROWS) {
                let rows = (count - row).min(ROWS);
                let weights = &self.scratch.scores[row * sizes.score_stride + first_key..];
                let sums = &mut self.scratch.sums[row * sizes.value_dim..];
                // SAFETY: weights and values exist for each of these keys, and sums for each row.
                unsafe {
                    let left = Left { first: weights.as_ptr(), stride: sizes.score_stride };
                    add_values::<L, O>((rows, sizes.value_dim, keys), left, values, sums);
                }
            }
        }
    }
}

/// `sums += weights · values` for a few rows, values being `[keys, width]` and the width a multiple of sixteen. In the order
/// of groups the keys before are whole groups.
///
/// # Safety
/// As [`product`].
#[inline(always)]
pub(super) unsafe fn add_values<L: Lanes, O: Order>(
    (rows, width, keys): (usize, usize, usize),
    weights: Left,
    values: &[f32],
    sums: &mut [f32],
) {
    let mut tile = Sums::new();
    for first in (0..width).step_by(PANEL) {
        let vectors = (width - first).min(PANEL) / LANES;
        let right = Right { first: values[first..].as_ptr(), stride: width };
        if O::GROUPS {
            (0..rows).for_each(|row| tile.set_row(row, &sums[row * width + first..][..vectors * LANES]));
        }
        // SAFETY: the caller's contract.
        unsafe { product::<L, O>((rows, vectors, keys), weights, right, &mut tile, O::GROUPS) };
        for row in 0..rows {
            let found = tile.row(row, vectors * LANES);
            for (sum, found) in sums[row * width + first..].iter_mut().zip(found) {
                *sum = if O::GROUPS { *found } else { *sum + found };
            }
        }
    }
}
