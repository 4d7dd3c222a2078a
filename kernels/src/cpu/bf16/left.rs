//! Weights of a product: floats where they are, or whole numbers that are unpacked on the way to tiles, or multiplied as they
//! are.

use super::quantised::{QuantisedRows, STEPS};
use super::whole::WholeNumbers;
use super::{SIDE, TERMS, Unit};
use crate::backend::DeviceError;
use crate::cpu::packed::Source;
use crate::cpu::rows::{Group, InRows};
use crate::weights::{Arithmetic, Form, WeightView};

/// A matrix `[rows, columns]` in strips of sixteen rows.
#[derive(Debug)]
pub(in super::super) enum Left {
    /// bf16.
    Floats(InRows),
    /// Whole numbers with scales, for tiles.
    Quantised(QuantisedRows),
    /// Whole numbers with scales, to be multiplied as such.
    Whole(WholeNumbers),
}

/// Gate and up weights of one shape.
#[derive(Debug)]
pub(in super::super) enum Gates {
    /// Each where it is.
    Floats(InRows, InRows),
    /// Strips of gate and up in turn.
    Quantised(QuantisedRows),
    /// Likewise.
    Whole(WholeNumbers),
}

/// A strip of a matrix of either form.
#[derive(Clone, Copy)]
pub(super) enum Strip<'a> {
    Floats(&'a InRows, usize),
    Quantised(&'a QuantisedRows, usize),
    Whole,
}

/// Room for two strips of unpacked numbers.
pub(super) struct Unpacked(Vec<Group>);

/// Where tiles of two strips are: sixteen rows each, so many bytes apart.
#[derive(Clone, Copy)]
pub(super) struct Strips {
    pub(super) first: [*const u8; 2],
    pub(super) stride: usize,
}

impl Left {
    /// Stacks parts by rows. What is in memory for good, and in whole strips and groups, is not copied.
    pub(in super::super) fn stack(parts: &[WeightView<'_>], form: Form, unit: Unit) -> Result<Self, DeviceError> {
        let Form::Quantised(grid) = form else {
            return Ok(Left::Floats(InRows::stack(parts, Arithmetic::Bf16)?));
        };
        let rows: Vec<Source<'_>> =
            parts.iter().flat_map(|part| (0..part.rows).map(move |row| Some((*part, row)))).collect();
        match unit {
            Unit::Tiles => QuantisedRows::pack(&rows, parts[0].columns, grid).map(Left::Quantised),
            Unit::Pairs => WholeNumbers::pack(&rows, parts[0].columns, grid).map(Left::Whole),
        }
    }

    /// Bytes of [`Left::stack`], beside what is not copied.
    pub(in super::super) fn bytes(parts: &[WeightView<'_>], form: Form, unit: Unit) -> usize {
        let (rows, columns) = (parts.iter().map(|part| part.rows).sum(), parts[0].columns);
        match (form, unit) {
            (Form::Quantised(grid), Unit::Tiles) => QuantisedRows::bytes(rows, columns, grid),
            (Form::Quantised(grid), Unit::Pairs) => WholeNumbers::bytes(rows, columns, grid),
            (Form::F32 | Form::Bf16, _) => InRows::bytes(parts),
        }
    }

    pub(in super::super) fn rows(&self) -> usize {
        match self {
            Left::Floats(rows) => rows.rows(),
            Left::Quantised(rows) => rows.rows(),
            Left::Whole(rows) => rows.rows(),
        }
    }

    pub(super) fn columns(&self) -> usize {
        match self {
            Left::Floats(rows) => rows.columns(),
            Left::Quantised(rows) => rows.columns(),
            Left::Whole(rows) => rows.columns(),
        }
    }

    pub(super) fn is_quantised(&self) -> bool {
        matches!(self, Left::Quantised(_))
    }

    /// Two strips after each other; the last one twice where there is none after it.
    pub(super) fn pair(&self, pair: usize) -> [Strip<'_>; 2] {
        let second = (2 * pair + 1).min(self.rows().div_ceil(SIDE) - 1);
        [2 * pair, second].map(|strip| match self {
            Left::Floats(rows) => Strip::Floats(rows, strip),
            Left::Quantised(rows) => Strip::Quantised(rows, strip),
            Left::Whole(_) => Strip::Whole,
        })
    }

    /// Writes one row, times `scale`.
    pub(in super::super) fn copy_row(&self, row: usize, scale: f32, out: &mut [f32]) {
        match self {
            Left::Floats(rows) => rows.copy_row(row, scale, out),
            Left::Quantised(rows) => rows.copy_row(row, scale, out),
            Left::Whole(rows) => rows.copy_row(row, scale, out),
        }
    }
}

impl Gates {
    /// Two matrices of one shape. What is in memory for good, and in whole strips and groups, is not copied.
    pub(in super::super) fn new(
        gate: WeightView<'_>,
        up: WeightView<'_>,
        form: Form,
        unit: Unit,
    ) -> Result<Self, DeviceError> {
        let Form::Quantised(grid) = form else {
            return Ok(Gates::Floats(
                InRows::stack(&[gate], Arithmetic::Bf16)?,
                InRows::stack(&[up], Arithmetic::Bf16)?,
            ));
        };
        let strips = (0..gate.rows).step_by(SIDE).flat_map(|first| [(gate, first), (up, first)]);
        let row = |view: WeightView<'_>, row| (row < view.rows).then_some(row);
        let rows: Vec<Source<'_>> = strips
            .flat_map(|(view, first)| (first..first + SIDE).map(move |at| row(view, at).map(|at| (view, at))))
            .collect();
        match unit {
            Unit::Tiles => QuantisedRows::pack(&rows, gate.columns, grid).map(Gates::Quantised),
            Unit::Pairs => WholeNumbers::pack(&rows, gate.columns, grid).map(Gates::Whole),
        }
    }

    /// Bytes of [`Gates::new`], beside what is not copied.
    pub(in super::super) fn bytes(gate: WeightView<'_>, up: WeightView<'_>, form: Form, unit: Unit) -> usize {
        let padded = 2 * gate.rows.next_multiple_of(SIDE);
        match (form, unit) {
            (Form::Quantised(grid), Unit::Tiles) => QuantisedRows::bytes(padded, gate.columns, grid),
            (Form::Quantised(grid), Unit::Pairs) => WholeNumbers::bytes(padded, gate.columns, grid),
            (Form::F32 | Form::Bf16, _) => InRows::bytes(&[gate]) + InRows::bytes(&[up]),
        }
    }

    pub(super) fn columns(&self) -> usize {
        match self {
            Gates::Floats(gate, _) => gate.columns(),
            Gates::Quantised(both) => both.columns(),
            Gates::Whole(both) => both.columns(),
        }
    }

    pub(super) fn is_quantised(&self) -> bool {
        matches!(self, Gates::Quantised(_))
    }

    /// A strip of the gate and the same of up.
    pub(super) fn pair(&self, strip: usize) -> [Strip<'_>; 2] {
        match self {
            Gates::Floats(gate, up) => [Strip::Floats(gate, strip), Strip::Floats(up, strip)],
            Gates::Quantised(both) => [2 * strip, 2 * strip + 1].map(|strip| Strip::Quantised(both, strip)),
            Gates::Whole(_) => [Strip::Whole; 2],
        }
    }
}

impl Unpacked {
    /// Room for so many groups of two strips.
    pub(super) fn new(steps: usize) -> Self {
        Self(vec![Group([0; TERMS]); 2 * SIDE * steps.next_multiple_of(STEPS)])
    }

    /// Tiles of two strips of one form, from group `first` on. They are in the matrix, or here until the next call.
    ///
    /// # Safety
    /// The processor has AVX-512 with bf16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    #[inline]
    pub(super) unsafe fn strips(&mut self, of: [Strip<'_>; 2], first: usize, steps: usize) -> Strips {
        if let [Strip::Floats(a, strip_a), Strip::Floats(b, strip_b)] = of {
            let at = |rows: &InRows, strip| rows.strip(strip)[first * size_of::<Group>()..].as_ptr();
            return Strips { first: [at(a, strip_a), at(b, strip_b)], stride: a.stride() };
        }
        // Whole blocks are unpacked: what is beyond the last step is not multiplied.
        let steps = steps.next_multiple_of(STEPS);
        let (low, high) = self.0[..2 * SIDE * steps].split_at_mut(SIDE * steps);
        for (to, strip) in [&mut *low, &mut *high].into_iter().zip(of) {
            let Strip::Quantised(rows, strip) = strip else { unreachable!("strips of a pair are of one form") };
            // SAFETY: the caller's contract.
            unsafe { rows.unpack(strip, first, to) };
        }
        Strips { first: [low.as_ptr().cast(), high.as_ptr().cast()], stride: steps * size_of::<Group>() }
    }
}
