//! Weights of bf16 in rows, as a checkpoint has them: where they are, or a copy.
//!
//! What is mapped from a file is shared by all processes that have it mapped, and takes no time to load. So rows are turned
//! into panels on the way into a product, some terms of a panel at a time: turning 512 numbers takes some 80 cycles with
//! AVX-512, in which memory brings half as many to a core.

use half::bf16;
use rayon::prelude::*;

use super::lanes::{LANES, Lanes};
use super::pages::{Number, Pages};
use super::tile::{CHAIN, PANEL, Sums, Unpack};
use crate::backend::DeviceError;
use crate::weights::{Arithmetic, Dtype, KeptBytes, WeightView};

/// Rows of a strip.
pub(super) const SIDE: usize = 16;
/// Terms of a group.
pub(super) const TERMS: usize = crate::GROUP;
/// Strips of a panel.
const STRIPS: usize = PANEL / SIDE;

/// A group of a row of bf16; rows of a tile that lie in one line of the cache each are read twice as fast.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Group(pub(super) [u16; TERMS]);

// SAFETY: numbers of any bits, on a line of the cache.
unsafe impl Number for Group {}

/// A matrix `[rows, columns]` of bf16 in strips of sixteen rows.
#[derive(Debug)]
pub(super) struct InRows {
    parts: Vec<Part>,
    rows: usize,
    columns: usize,
    /// What its numbers are rounded to.
    arithmetic: Arithmetic,
}

/// Panels of a product made of rows.
#[derive(Debug)]
pub(super) enum RowPanels {
    /// Of [`PANEL`] rows.
    One(InRows),
    /// Of [`PANEL`]/2 rows of a gate and the same rows of up.
    Gated(InRows, InRows),
}

/// Whole strips.
#[derive(Debug)]
struct Part {
    first_strip: usize,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    /// In the checkpoint's file.
    Kept(KeptBytes),
    /// Rows padded with zeros to whole groups, and strips to whole ones.
    Own(Pages<Group>),
}

impl InRows {
    /// Stacks parts by rows. What is in memory for good, and in whole strips and groups, is not copied.
    pub(super) fn stack(parts: &[WeightView<'_>], arithmetic: Arithmetic) -> Result<Self, DeviceError> {
        let (rows, columns) = (parts.iter().map(|part| part.rows).sum(), parts[0].columns);
        let mut first_strip = 0;
        let stack = |group: &[WeightView<'_>]| {
            let bytes =
                keep(group).map_or_else(|| copy(group, arithmetic).map(Bytes::Own), |kept| Ok(Bytes::Kept(kept)))?;
            let part = Part { first_strip, bytes };
            first_strip += group.iter().map(|part| part.rows).sum::<usize>().div_ceil(SIDE);
            Ok(part)
        };
        Ok(Self { parts: groups(parts).map(stack).collect::<Result<_, DeviceError>>()?, rows, columns, arithmetic })
    }

    /// Bytes of the parts that are copied.
    pub(super) fn bytes(parts: &[WeightView<'_>]) -> usize {
        groups(parts).filter(|group| keep(group).is_none()).map(copy_len).sum::<usize>() * size_of::<Group>()
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes from a row to the next.
    pub(super) fn stride(&self) -> usize {
        self.columns.div_ceil(TERMS) * size_of::<Group>()
    }

    /// Sixteen rows; those beyond the last are zeros.
    pub(super) fn strip(&self, strip: usize) -> &[u8] {
        let part = &self.parts[self.parts.partition_point(|part| part.first_strip <= strip) - 1];
        let len = SIDE * self.stride();
        &part.bytes()[(strip - part.first_strip) * len..][..len]
    }

    /// Writes one row, times `scale`.
    pub(super) fn copy_row(&self, row: usize, scale: f32, out: &mut [f32]) {
        let row = &self.strip(row / SIDE)[row % SIDE * self.stride()..];
        for (out, bytes) in out[..self.columns].iter_mut().zip(row.chunks_exact(2)) {
            // What tiles take for zero is zero here as well.
            *out = self.arithmetic.rounded(bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32()) * scale;
        }
    }
}

impl RowPanels {
    /// The matrix, where it is not a gate and its like.
    pub(super) fn one(&self) -> &InRows {
        match self {
            RowPanels::One(rows) | RowPanels::Gated(rows, _) => rows,
        }
    }

    /// The strips of a panel; None beyond the last.
    fn strips(&self, panel: usize) -> [Option<&[u8]>; STRIPS] {
        const HALF: usize = STRIPS / 2;
        std::array::from_fn(|at| {
            let (rows, strip) = match self {
                RowPanels::One(rows) => (rows, panel * STRIPS + at),
                RowPanels::Gated(gate, up) => (if at < HALF { gate } else { up }, panel * HALF + at % HALF),
            };
            (strip * SIDE < rows.rows).then(|| rows.strip(strip))
        })
    }
}

impl RowPanels {
    /// Sums of products of a few rows with a panel, in chains, as [`super::tile::product`] computes them: numbers are turned
    /// and multiplied while they are in registers. For rows of whole groups.
    ///
    /// # Safety
    /// As [`Lanes`]; each `x` has as many numbers as a row.
    #[inline(always)]
    pub(super) unsafe fn multiply<L: Lanes, const R: usize>(&self, panel: usize, x: [*const f32; R], sums: &mut Sums) {
        let (stride, columns) = (self.one().stride(), self.one().columns);
        for (at, strip) in self.strips(panel).into_iter().enumerate() {
            let Some(strip) = strip else { continue };
            // SAFETY: a strip has sixteen rows of `columns` numbers, and so have the factors.
            unsafe {
                let mut all = [L::splat(0.0); R];
                for first in (0..columns).step_by(CHAIN) {
                    let mut chain = [L::splat(0.0); R];
                    for term in (first..columns.min(first + CHAIN)).step_by(TERMS) {
                        let mut x = x;
                        for x in &mut x {
                            *x = x.add(term);
                        }
                        let from = strip[term * size_of::<u16>()..].as_ptr();
                        L::add_products_bf16::<R>(from, stride, x, &mut chain);
                    }
                    for (all, chain) in all.iter_mut().zip(chain) {
                        *all = if first == 0 { chain } else { L::add(*all, chain) };
                    }
                }
                for (row, sum) in all.into_iter().enumerate() {
                    sums.set_vector::<L>(row, at, sum);
                }
            }
        }
    }
}

impl Unpack for RowPanels {
    #[inline(always)]
    unsafe fn unpack<L: Lanes>(&self, panel: usize, first: usize, count: usize, to: &mut [f32]) {
        let rows = self.one();
        let (stride, groups) = (rows.stride(), first / TERMS..(first + count).div_ceil(TERMS));
        let to = &mut to[..groups.len() * TERMS * PANEL];
        for (at, strip) in self.strips(panel).into_iter().enumerate() {
            for (step, group) in groups.clone().enumerate() {
                let to = to[step * TERMS * PANEL + at * SIDE..].as_mut_ptr();
                // SAFETY: a strip has sixteen rows of whole groups, `to` was sliced to as many, and a vector is a strip.
                unsafe {
                    match strip {
                        Some(strip) => L::turn_bf16(strip[group * size_of::<Group>()..].as_ptr(), stride, to, PANEL),
                        None => (0..TERMS).for_each(|term| L::store(to.add(term * PANEL), L::splat(0.0))),
                    }
                }
            }
        }
        if rows.arithmetic == Arithmetic::Bf16 {
            for vector in to.chunks_exact_mut(LANES) {
                // SAFETY: sixteen numbers; kernels run where the instructions are.
                unsafe { L::store(vector.as_mut_ptr(), L::round_bf16(L::load(vector.as_ptr()))) };
            }
        }
    }
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Kept(kept) => kept.bytes(),
            Bytes::Own(numbers) => {
                // SAFETY: numbers are bytes, and this processor has their order, the lower first.
                unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(&**numbers)) }
            }
        }
    }
}

/// The parts one by one where each is in whole strips, and else all together.
fn groups<'p, 'w>(parts: &'p [WeightView<'w>]) -> impl Iterator<Item = &'p [WeightView<'w>]> {
    let whole = parts.iter().all(|part| part.rows.is_multiple_of(SIDE));
    parts.chunks(if whole { 1 } else { parts.len() })
}

/// A group that is in memory for good, in whole strips and groups of bf16.
fn keep(group: &[WeightView<'_>]) -> Option<KeptBytes> {
    let [one] = group else { return None };
    let whole = one.rows.is_multiple_of(SIDE) && one.columns.is_multiple_of(TERMS);
    one.keep().filter(|_| whole && one.dtype == Dtype::Bf16)
}

/// How many groups of terms the rows of a copy have.
fn copy_len(parts: &[WeightView<'_>]) -> usize {
    let rows: usize = parts.iter().map(|part| part.rows).sum();
    rows.next_multiple_of(SIDE) * parts[0].columns.div_ceil(TERMS)
}

/// Rows of all parts, rounded and padded.
fn copy(parts: &[WeightView<'_>], arithmetic: Arithmetic) -> Result<Pages<Group>, DeviceError> {
    let groups = parts[0].columns.div_ceil(TERMS);
    let rows: Vec<(WeightView<'_>, usize)> =
        parts.iter().flat_map(|part| (0..part.rows).map(move |row| (*part, row))).collect();
    let mut numbers: Pages<Group> = Pages::zeroed(copy_len(parts))?;
    numbers.par_chunks_mut(groups).zip(rows).for_each(|(to, (part, row))| {
        for (to, value) in to.iter_mut().flat_map(|group| &mut group.0).zip(part.row(row)) {
            *to = bf16::from_f32(arithmetic.rounded(value)).to_bits();
        }
    });
    Ok(numbers)
}
