//! The left factor of a product of tiles: floats where they are, or whole numbers that are unpacked on the way.

use super::quantised::QuantisedRows;
use super::rows::InRows;
use super::{SIDE, TERMS};
use crate::weights::{Form, WeightView};

/// A matrix `[rows, columns]` in strips of sixteen rows.
#[derive(Debug)]
pub(in super::super) enum Left {
    /// bf16.
    Floats(InRows),
    /// Whole numbers with scales.
    Quantised(QuantisedRows),
}

/// A group of a row of bf16; rows of a tile that lie in one line of the cache each are read twice as fast.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Group(pub(super) [u16; TERMS]);

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
    pub(in super::super) fn stack(parts: &[WeightView<'_>], form: Form) -> Self {
        match form {
            Form::Quantised(grid) => Left::Quantised(QuantisedRows::stack(parts, grid)),
            Form::F32 | Form::Bf16 => Left::Floats(InRows::stack(parts)),
        }
    }

    pub(in super::super) fn rows(&self) -> usize {
        match self {
            Left::Floats(rows) => rows.rows(),
            Left::Quantised(rows) => rows.rows(),
        }
    }

    pub(super) fn columns(&self) -> usize {
        match self {
            Left::Floats(rows) => rows.columns(),
            Left::Quantised(rows) => rows.columns(),
        }
    }

    /// Groups of terms.
    pub(super) fn steps(&self) -> usize {
        self.columns().div_ceil(TERMS)
    }

    pub(super) fn strips(&self) -> usize {
        self.rows().div_ceil(SIDE)
    }

    pub(super) fn is_quantised(&self) -> bool {
        matches!(self, Left::Quantised(_))
    }

    /// Writes one row, times `scale`.
    pub(in super::super) fn copy_row(&self, row: usize, scale: f32, out: &mut [f32]) {
        match self {
            Left::Floats(rows) => rows.copy_row(row, scale, out),
            Left::Quantised(rows) => rows.copy_row(row, scale, out),
        }
    }
}

impl Unpacked {
    /// Room for so many groups of two strips.
    pub(super) fn new(steps: usize) -> Self {
        Self(vec![Group([0; TERMS]); 2 * SIDE * steps])
    }

    /// Tiles of two strips, each of a matrix, from group `first` on. They are in the matrix, or here until the next call.
    ///
    /// # Safety
    /// The processor has AVX-512 with bf16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    #[inline]
    pub(super) unsafe fn strips(&mut self, of: [(&Left, usize); 2], first: usize, steps: usize) -> Strips {
        match of {
            [(Left::Floats(a), strip_a), (Left::Floats(b), strip_b)] => {
                let at = |rows: &InRows, strip| rows.strip(strip)[first * size_of::<Group>()..].as_ptr();
                Strips { first: [at(a, strip_a), at(b, strip_b)], stride: a.stride() }
            }
            _ => {
                let (low, high) = self.0[..2 * SIDE * steps].split_at_mut(SIDE * steps);
                for (to, (left, strip)) in [&mut *low, &mut *high].into_iter().zip(of) {
                    let Left::Quantised(rows) = left else { unreachable!("gate and up are of one form") };
                    // SAFETY: the caller's contract.
                    unsafe { rows.unpack(strip, first, to) };
                }
                Strips { first: [low.as_ptr().cast(), high.as_ptr().cast()], stride: steps * size_of::<Group>() }
            }
        }
    }
}
