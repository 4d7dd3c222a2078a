//! Weights in the order in which products read them.

use rayon::prelude::*;

use crate::backend::DeviceError;
use crate::weights::{Arithmetic, Form, Storage, WeightView};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::bf16 as units;
use super::lanes::InstructionSet;
use super::pages::Pages;
use super::quantised::QuantisedPanels;
use super::rows::{InRows, RowPanels};
use super::tile::PANEL;

/// A matrix `[rows, columns]`: panels of [`PANEL`] rows, `[panels, columns, PANEL]`, padded with zeros; bf16 in rows, as a
/// checkpoint has it. Whole numbers stay packed.
#[derive(Debug)]
pub struct Packed {
    pub(super) numbers: Numbers,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// What products with it round to.
    pub(super) arithmetic: Arithmetic,
}

/// How a matrix is to be packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing {
    pub(super) form: Form,
    pub(super) arithmetic: Arithmetic,
    pub(super) set: InstructionSet,
}

impl Packing {
    /// Rounding is for weights that are kept rounded.
    pub(super) fn new(parts: &[WeightView<'_>], storage: Storage, arithmetic: Arithmetic, set: InstructionSet) -> Self {
        let form = Form::of(parts, storage);
        let arithmetic = if form == Form::F32 { Arithmetic::Exact } else { arithmetic };
        Self { form, arithmetic, set }
    }

    /// Bytes of [`Packed::stack`], beside those of a mapped file.
    pub(super) fn matrix_bytes(self, parts: &[WeightView<'_>]) -> usize {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let Some(unit) = self.in_rows() {
            return units::Left::bytes(parts, self.form, unit);
        }
        let (rows, columns) = (parts.iter().map(|part| part.rows).sum::<usize>(), parts[0].columns);
        match self.form {
            Form::F32 => panel_bytes(rows, columns),
            Form::Bf16 => InRows::bytes(parts),
            Form::Quantised(grid) => QuantisedPanels::bytes(rows, columns, grid),
        }
    }

    /// Bytes of [`PackedGated::new`], beside those of a mapped file.
    pub(super) fn gated_bytes(self, gate: WeightView<'_>, up: WeightView<'_>) -> usize {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let Some(unit) = self.in_rows() {
            return units::Gates::bytes(gate, up, self.form, unit);
        }
        let rows = gate.rows.div_ceil(PANEL / 2) * PANEL;
        match self.form {
            Form::F32 => panel_bytes(rows, gate.columns),
            Form::Bf16 => InRows::bytes(&[gate]) + InRows::bytes(&[up]),
            Form::Quantised(grid) => QuantisedPanels::bytes(rows, gate.columns, grid),
        }
    }

    /// What multiplies weights in rows as they are.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) fn in_rows(self) -> Option<units::Unit> {
        self.set.unit().filter(|_| self.arithmetic == Arithmetic::Bf16)
    }
}

/// The numbers of a packed matrix.
#[derive(Debug)]
pub(super) enum Numbers {
    F32(Pages<f32>),
    /// Turned into panels on the way into a product.
    Bf16(RowPanels),
    /// Whole numbers with scales.
    Quantised(QuantisedPanels),
    /// In rows, for a unit.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Rows(units::Left),
}

/// A row of a weight, or none: zeros.
pub(super) type Source<'a> = Option<(WeightView<'a>, usize)>;

/// Gate and up weights of a gated layer.
#[derive(Debug)]
pub struct PackedGated {
    pub(super) both: Both,
    /// Rows of the gate, which are as many as of up.
    pub(super) outputs: usize,
}

/// Two weights of one shape.
#[derive(Debug)]
pub(super) enum Both {
    /// Each panel holds [`PANEL`]/2 rows of the gate and the same rows of up.
    Panels(Packed),
    /// In rows, for a unit.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Rows(units::Gates),
}

impl Packed {
    /// Stacks parts by rows.
    pub(super) fn stack(parts: &[WeightView<'_>], packing: Packing) -> Result<Self, DeviceError> {
        let columns = parts[0].columns;
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let Some(unit) = packing.in_rows() {
            let numbers = units::Left::stack(parts, packing.form, unit)?;
            return Ok(Self {
                rows: numbers.rows(),
                columns,
                arithmetic: packing.arithmetic,
                numbers: Numbers::Rows(numbers),
            });
        }
        if packing.form == Form::Bf16 {
            let rows = InRows::stack(parts, packing.arithmetic)?;
            return Ok(Self::in_rows(rows.rows(), RowPanels::One(rows), packing));
        }
        let rows = parts.iter().flat_map(|part| (0..part.rows).map(move |row| Some((*part, row))));
        Self::pack(rows, columns, packing)
    }

    fn in_rows(rows: usize, panels: RowPanels, packing: Packing) -> Self {
        let columns = panels.one().columns();
        Self { numbers: Numbers::Bf16(panels), rows, columns, arithmetic: packing.arithmetic }
    }

    fn pack<'a>(rows: impl Iterator<Item = Source<'a>>, columns: usize, packing: Packing) -> Result<Self, DeviceError> {
        let rows: Vec<Source<'_>> = rows.collect();
        let numbers = match packing.form {
            Form::F32 => Numbers::F32(fill(&rows, columns)?),
            Form::Bf16 => unreachable!("weights of bf16 stay in rows"),
            Form::Quantised(grid) => Numbers::Quantised(QuantisedPanels::pack(&rows, columns, grid, packing.set)?),
        };
        Ok(Self { numbers, rows: rows.len(), columns, arithmetic: packing.arithmetic })
    }

    /// How many panels.
    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Writes one row, times `scale`.
    pub(super) fn copy_row(&self, row: usize, scale: f32, out: &mut [f32]) {
        match &self.numbers {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Numbers::Rows(rows) => rows.copy_row(row, scale, out),
            Numbers::Bf16(panels) => panels.one().copy_row(row, scale, out),
            Numbers::Quantised(panels) => panels.copy_row(row, scale, &mut out[..self.columns]),
            Numbers::F32(numbers) => {
                let first = row / PANEL * PANEL * self.columns + row % PANEL;
                for (out, value) in out.iter_mut().zip(numbers[first..].iter().step_by(PANEL)) {
                    *out = value * scale;
                }
            }
        }
    }
}

impl PackedGated {
    /// Interleaves two matrices of one shape.
    pub(super) fn new(gate: WeightView<'_>, up: WeightView<'_>, packing: Packing) -> Result<Self, DeviceError> {
        assert_eq!((gate.rows, gate.columns), (up.rows, up.columns), "gate and up differ in shape");
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let Some(unit) = packing.in_rows() {
            let both = Both::Rows(units::Gates::new(gate, up, packing.form, unit)?);
            return Ok(Self { both, outputs: gate.rows });
        }
        const HALF: usize = PANEL / 2;
        let panels = gate.rows.div_ceil(HALF);
        if packing.form == Form::Bf16 {
            let stack = |one| InRows::stack(&[one], packing.arithmetic);
            let both = Packed::in_rows(panels * PANEL, RowPanels::Gated(stack(gate)?, stack(up)?), packing);
            return Ok(Self { both: Both::Panels(both), outputs: gate.rows });
        }
        let rows = (0..panels * PANEL).map(|row| {
            let output = row / PANEL * HALF + row % HALF;
            let view = if row % PANEL < HALF { gate } else { up };
            (output < gate.rows).then_some((view, output))
        });
        Ok(Self { both: Both::Panels(Packed::pack(rows, gate.columns, packing)?), outputs: gate.rows })
    }
}

/// Bytes of [`fill`].
fn panel_bytes(rows: usize, columns: usize) -> usize {
    rows.next_multiple_of(PANEL) * columns * size_of::<f32>()
}

/// Fills panels, several at a time.
fn fill(rows: &[Source<'_>], columns: usize) -> Result<Pages<f32>, DeviceError> {
    let mut panels = Pages::zeroed(rows.len().next_multiple_of(PANEL) * columns)?;
    panels.par_chunks_mut((PANEL * columns).max(1)).zip(rows.par_chunks(PANEL)).for_each(|(panel, rows)| {
        for (lane, (view, row)) in rows.iter().enumerate().filter_map(|(lane, row)| row.map(|row| (lane, row))) {
            panel[lane..].iter_mut().step_by(PANEL).zip(view.row(row)).for_each(|(to, value)| *to = value);
        }
    });
    Ok(panels)
}
