//! Weights in the order in which products read them.

use half::bf16;
use rayon::prelude::*;

use crate::weights::{Storage, WeightView};

use super::tile::PANEL;

/// A matrix `[rows, columns]` as panels of [`PANEL`] rows: `[panels, columns, PANEL]`, padded with zeros.
#[derive(Debug)]
pub struct Packed {
    pub(super) numbers: Numbers,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// The numbers of a packed matrix.
#[derive(Debug)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    /// Bits.
    Bf16(Vec<u16>),
}

/// A row of a weight, or none: zeros.
type Source<'a> = Option<(WeightView<'a>, usize)>;

/// Gate and up weights of a gated layer: each panel holds [`PANEL`]/2 rows of the gate and the same rows of up.
#[derive(Debug)]
pub struct PackedGated {
    pub(super) both: Packed,
    /// Rows of the gate, which are as many as of up.
    pub(super) outputs: usize,
}

impl Packed {
    /// Stacks parts by rows.
    pub(super) fn stack(parts: &[WeightView<'_>], storage: Storage) -> Self {
        let columns = parts[0].columns;
        assert!(parts.iter().all(|part| part.columns == columns), "stacked weights differ in columns");
        let rows = parts.iter().flat_map(|part| (0..part.rows).map(move |row| Some((*part, row))));
        Self::pack(rows, columns, storage)
    }

    fn pack<'a>(rows: impl Iterator<Item = Source<'a>>, columns: usize, storage: Storage) -> Self {
        let rows: Vec<Source<'_>> = rows.collect();
        let len = rows.len().div_ceil(PANEL) * PANEL * columns;
        let numbers = match storage {
            Storage::F32 => Numbers::F32(fill(&rows, columns, vec![0.0; len], |value| value)),
            Storage::Bf16 => Numbers::Bf16(fill(&rows, columns, vec![0; len], |value| bf16::from_f32(value).to_bits())),
        };
        Self { numbers, rows: rows.len(), columns }
    }

    /// How many panels.
    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Writes one row, times `scale`.
    pub(super) fn copy_row(&self, row: usize, scale: f32, out: &mut [f32]) {
        let first = row / PANEL * PANEL * self.columns + row % PANEL;
        match &self.numbers {
            Numbers::F32(numbers) => {
                for (out, value) in out.iter_mut().zip(numbers[first..].iter().step_by(PANEL)) {
                    *out = value * scale;
                }
            }
            Numbers::Bf16(numbers) => {
                for (out, bits) in out.iter_mut().zip(numbers[first..].iter().step_by(PANEL)) {
                    *out = bf16::from_bits(*bits).to_f32() * scale;
                }
            }
        }
    }
}

impl PackedGated {
    /// Interleaves two matrices of one shape.
    pub(super) fn interleave(gate: WeightView<'_>, up: WeightView<'_>, storage: Storage) -> Self {
        assert_eq!((gate.rows, gate.columns), (up.rows, up.columns), "gate and up differ in shape");
        const HALF: usize = PANEL / 2;
        let panels = gate.rows.div_ceil(HALF);
        let rows = (0..panels * PANEL).map(|row| {
            let output = row / PANEL * HALF + row % HALF;
            let view = if row % PANEL < HALF { gate } else { up };
            (output < gate.rows).then_some((view, output))
        });
        Self { both: Packed::pack(rows, gate.columns, storage), outputs: gate.rows }
    }
}

/// Fills panels, several at a time.
fn fill<T: Send>(
    rows: &[Source<'_>],
    columns: usize,
    mut panels: Vec<T>,
    stored: impl Fn(f32) -> T + Send + Sync,
) -> Vec<T> {
    panels.par_chunks_mut((PANEL * columns).max(1)).zip(rows.par_chunks(PANEL)).for_each(|(panel, rows)| {
        for (lane, (view, row)) in rows.iter().enumerate().filter_map(|(lane, row)| row.map(|row| (lane, row))) {
            for (to, value) in panel[lane..].iter_mut().step_by(PANEL).zip(view.row(row)) {
                *to = stored(value);
            }
        }
    });
    panels
}
