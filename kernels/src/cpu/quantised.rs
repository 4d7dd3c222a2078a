//! Panels of whole numbers, unpacked in pieces on the way into a product.

use std::borrow::Cow;

use half::bf16;
use rayon::prelude::*;

use super::lanes::{InstructionSet, Kernel, LANES, Lanes, dispatch};
use super::packed::Source;
use super::pages::Pages;
use super::tile::{PANEL, Unpack, VECTORS};
use crate::backend::DeviceError;
use crate::quantised::{Bits, Grid};
use crate::weights::WeightView;

/// A matrix in panels: bytes `[panels, columns / numbers in a byte, PANEL]` and scales `[panels, groups, PANEL]`.
#[derive(Debug)]
pub(super) struct QuantisedPanels {
    grid: Grid,
    columns: usize,
    numbers: Pages<u8>,
    /// Bits of bf16.
    scales: Pages<u16>,
}

/// The numbers and scales of a row: its own, or made with the instructions that there are, which are the same with any.
pub(super) fn whole_row<'a>(
    set: InstructionSet,
    grid: Grid,
    row: (WeightView<'a>, usize),
) -> (Cow<'a, [u8]>, Vec<bf16>) {
    if let Some((numbers, scales)) = row.0.quantised_row(row.1) {
        return (Cow::Borrowed(numbers), scales);
    }
    let mut quantised = (Vec::new(), Vec::new());
    dispatch(set, Quantise { grid, row, to: &mut quantised });
    (Cow::Owned(quantised.0), quantised.1)
}

struct Quantise<'a> {
    grid: Grid,
    row: (WeightView<'a>, usize),
    to: &'a mut (Vec<u8>, Vec<bf16>),
}

impl Kernel for Quantise<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (view, row) = self.row;
        *self.to = self.grid.quantise(&view.row(row));
    }
}

/// Bytes of the numbers of a panel, and how many scales it has.
fn panel_lens(columns: usize, grid: Grid) -> (usize, usize) {
    (columns / grid.bits.in_byte() * PANEL, grid.groups(columns) * PANEL)
}

impl QuantisedPanels {
    /// Bytes of so many rows.
    pub(super) fn bytes(rows: usize, columns: usize, grid: Grid) -> usize {
        let (bytes, groups) = panel_lens(columns, grid);
        rows.div_ceil(PANEL) * (bytes + groups * size_of::<u16>())
    }

    /// Packs rows, quantised where they are not yet.
    pub(super) fn pack(
        rows: &[Source<'_>],
        columns: usize,
        grid: Grid,
        set: InstructionSet,
    ) -> Result<Self, DeviceError> {
        let (bytes, groups) = panel_lens(columns, grid);
        let panels = rows.len().div_ceil(PANEL);
        // Rows that are not there have scales of zero, which make zeros of any number.
        let (mut numbers, mut scales) = (Pages::zeroed(panels * bytes)?, Pages::zeroed(panels * groups)?);
        let packed = numbers.par_chunks_mut(bytes).zip(scales.par_chunks_mut(groups));
        packed.zip(rows.par_chunks(PANEL)).for_each(|((numbers, scales), rows)| {
            for (lane, (view, row)) in rows.iter().enumerate().filter_map(|(lane, row)| row.map(|row| (lane, row))) {
                let (row_numbers, row_scales) = whole_row(set, grid, (view, row));
                numbers[lane..].iter_mut().step_by(PANEL).zip(&*row_numbers).for_each(|(to, number)| *to = *number);
                let to = scales[lane..].iter_mut().step_by(PANEL);
                to.zip(row_scales).for_each(|(to, scale)| *to = scale.to_bits());
            }
        });
        Ok(Self { grid, columns, numbers, scales })
    }

    /// Writes one row, times `scale`.
    pub(super) fn copy_row(&self, row: usize, scale: f32, out: &mut [f32]) {
        let (panel, lane) = (row / PANEL, row % PANEL);
        let bytes = self.columns / self.grid.bits.in_byte();
        let numbers = self.numbers[panel * bytes * PANEL..][..bytes * PANEL].iter().skip(lane).step_by(PANEL);
        let groups = self.grid.groups(self.columns);
        let scales = self.scales[panel * groups * PANEL..][..groups * PANEL].iter().skip(lane).step_by(PANEL);
        let (numbers, scales): (Vec<u8>, Vec<bf16>) =
            (numbers.copied().collect(), scales.map(|s| bf16::from_bits(*s)).collect());
        self.grid.values(&numbers, &scales, out);
        out.iter_mut().for_each(|value| *value *= scale);
    }
}

impl Unpack for QuantisedPanels {
    #[inline(always)]
    unsafe fn unpack<L: Lanes>(&self, panel: usize, first: usize, count: usize, to: &mut [f32]) {
        let in_byte = self.grid.bits.in_byte();
        let numbers = &self.numbers[panel * (self.columns / in_byte) * PANEL..];
        let scales = &self.scales[panel * self.grid.groups(self.columns) * PANEL..];
        for term in (0..count).step_by(crate::GROUP) {
            let at = first + term;
            let numbers = &numbers[at / in_byte * PANEL..][..crate::GROUP / in_byte * PANEL];
            let scales = &scales[at / self.grid.group * PANEL..][..PANEL];
            let to = &mut to[term * PANEL..][..crate::GROUP * PANEL];
            for vector in 0..VECTORS {
                let lane = vector * LANES;
                // SAFETY: all were sliced to 32 terms of a panel, and a vector is a part of a panel's row.
                unsafe {
                    let scale = L::load_bf16(scales[lane..].as_ptr());
                    let offset = L::mul(scale, L::splat(-self.grid.bits.offset() as f32));
                    let (mut from, mut to) = (numbers[lane..].as_ptr(), to[lane..].as_mut_ptr());
                    for _ in 0..crate::GROUP / in_byte {
                        match self.grid.bits {
                            Bits::Eight => L::store(to, value::<L>(L::load_bytes(from), scale, offset)),
                            Bits::Four => {
                                let (low, high) = L::load_halves(from);
                                L::store(to, value::<L>(low, scale, offset));
                                L::store(to.add(PANEL), value::<L>(high, scale, offset));
                            }
                        }
                        // The last step leads behind the end, where nothing is read.
                        from = from.wrapping_add(PANEL);
                        to = to.wrapping_add(in_byte * PANEL);
                    }
                }
            }
        }
    }
}

/// What stored numbers stand for. `(q + offset) · scale - offset · scale` is exact, as all of its parts are. A function,
/// since a closure would not be compiled into the kernel that has the instructions.
#[inline(always)]
unsafe fn value<L: Lanes>(stored: L::V, scale: L::V, offset: L::V) -> L::V {
    // SAFETY: the caller's contract is that of lanes.
    unsafe { L::round_bf16(L::fma(stored, scale, offset)) }
}
