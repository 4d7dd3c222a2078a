//! Weights in rows, as a checkpoint has them: where they are, or a copy.

use half::bf16;
use rayon::prelude::*;

use super::left::Group;
use super::{SIDE, TERMS};
use crate::backend::DeviceError;
use crate::cpu::pages::Pages;
use crate::weights::{Arithmetic, Dtype, KeptBytes, WeightView};

/// A matrix `[rows, columns]` of bf16 in strips of sixteen rows.
#[derive(Debug)]
pub(in super::super) struct InRows {
    parts: Vec<Part>,
    rows: usize,
    columns: usize,
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
    pub(super) fn stack(parts: &[WeightView<'_>]) -> Result<Self, DeviceError> {
        let (rows, columns) = (parts.iter().map(|part| part.rows).sum(), parts[0].columns);
        let mut first_strip = 0;
        let stack = |group: &[WeightView<'_>]| {
            let bytes = keep(group).map_or_else(|| copy(group).map(Bytes::Own), |kept| Ok(Bytes::Kept(kept)))?;
            let part = Part { first_strip, bytes };
            first_strip += group.iter().map(|part| part.rows).sum::<usize>().div_ceil(SIDE);
            Ok(part)
        };
        Ok(Self { parts: groups(parts).map(stack).collect::<Result<_, DeviceError>>()?, rows, columns })
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
            *out = Arithmetic::Bf16.rounded(bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32()) * scale;
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
fn copy(parts: &[WeightView<'_>]) -> Result<Pages<Group>, DeviceError> {
    let groups = parts[0].columns.div_ceil(TERMS);
    let rows: Vec<(WeightView<'_>, usize)> =
        parts.iter().flat_map(|part| (0..part.rows).map(move |row| (*part, row))).collect();
    let mut numbers: Pages<Group> = Pages::zeroed(copy_len(parts))?;
    numbers.par_chunks_mut(groups).zip(rows).for_each(|(to, (part, row))| {
        for (to, value) in to.iter_mut().flat_map(|group| &mut group.0).zip(part.row(row)) {
            *to = bf16::from_f32(Arithmetic::Bf16.rounded(value)).to_bits();
        }
    });
    Ok(numbers)
}
