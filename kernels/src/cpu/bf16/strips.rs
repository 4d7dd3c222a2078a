//! Activations times weights without tiles: a strip of sixteen outputs and a few rows at a time.

use std::arch::x86_64::*;
use std::ops::Range;

use super::SIDE;
use super::product::{RIGHT_BYTES, Weight};
use crate::args::Then;
use crate::cpu::lanes::{Avx512, Lanes};
use crate::cpu::math::activate;
use crate::cpu::product::finish;
use crate::cpu::work::{Shared, Work};

/// Both factors of a product.
pub(super) trait Factors: Copy + Send + Sync {
    /// Rows that are summed together at most, six or eight.
    const ROWS: usize;

    /// Bytes of a row of activations.
    fn row_bytes(&self) -> usize;

    /// Sums of a strip of a pair of strips with `R` rows from `first` on, with outputs in lanes.
    ///
    /// # Safety
    /// The caller is compiled for AVX-512 with BF16 and VNNI; the strip and the rows are there.
    unsafe fn strip<const R: usize>(&self, pair: usize, half: usize, first: usize) -> [__m512; R];
}

/// Splits a product into tasks. Each value is computed whole by one task, in one order.
pub(super) fn multiply(weight: Weight<'_>, factors: impl Factors, rows: usize, out: &mut [f32], work: Work<'_>) {
    let (pairs, outputs) = (weight.pairs(), weight.outputs());
    let at_once = (RIGHT_BYTES / factors.row_bytes()).max(1);
    let blocks = rows.div_ceil(at_once);
    let split = work.tasks(rows * pairs * 2 * SIDE * weight.columns()).div_ceil(blocks).clamp(1, pairs);
    let out = Shared::new(out);
    work.run(blocks * split, |task| {
        let (block, part) = (task / split, task % split);
        let rows = block * at_once..((block + 1) * at_once).min(rows);
        let pairs = part * pairs / split..(part + 1) * pairs / split;
        let part = Part { weight, factors, outputs, out: out.pointer() };
        // SAFETY: this unit was found on the processor; sizes were checked, and no other task has these rows and outputs.
        unsafe { part.run(pairs, rows) };
    });
}

/// What a task computes with.
struct Part<'a, F> {
    weight: Weight<'a>,
    factors: F,
    outputs: usize,
    out: *mut f32,
}

impl<F: Factors> Part<'_, F> {
    /// # Safety
    /// The processor has the features; `out` has the rows, and the calling task has these of its outputs to itself.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma")]
    unsafe fn run(&self, pairs: Range<usize>, rows: Range<usize>) {
        for pair in pairs {
            let mut first = rows.start;
            while first < rows.end {
                // As even parts as there can be of no more rows than fit.
                let rest = rows.end - first;
                let count = rest.div_ceil(rest.div_ceil(F::ROWS));
                // SAFETY: the caller's contract.
                unsafe {
                    match count {
                        1 => self.some::<1>(pair, first),
                        2 => self.some::<2>(pair, first),
                        3 => self.some::<3>(pair, first),
                        4 => self.some::<4>(pair, first),
                        5 => self.some::<5>(pair, first),
                        6 => self.some::<6>(pair, first),
                        7 => self.some::<7>(pair, first),
                        _ => self.some::<8>(pair, first),
                    }
                }
                first += count;
            }
        }
    }

    /// A few rows with two strips.
    ///
    /// # Safety
    /// As [`Part::run`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma")]
    #[inline]
    unsafe fn some<const R: usize>(&self, pair: usize, first: usize) {
        // Saying so keeps what is never asked for from being compiled.
        if R > F::ROWS {
            return;
        }
        let (outputs, out) = (self.outputs, self.out);
        // SAFETY: the caller's contract; `finish` leaves out columns that are not there.
        unsafe {
            let strip = |half: usize| self.factors.strip::<R>(pair, half, first);
            match self.weight {
                Weight::One { bias, then, .. } => {
                    for half in 0..2 {
                        let column = (2 * pair + half) * SIDE;
                        if column >= outputs {
                            break;
                        }
                        for (row, sum) in strip(half).into_iter().enumerate() {
                            finish::<Avx512>((first + row, column, outputs), sum, bias, then, out);
                        }
                    }
                }
                Weight::Gated { activation, .. } => {
                    for (row, (gate, up)) in strip(0).into_iter().zip(strip(1)).enumerate() {
                        let value = Avx512::mul(activate::<Avx512>(activation, gate), up);
                        finish::<Avx512>((first + row, pair * SIDE, outputs), value, None, Then::Store, out);
                    }
                }
            }
        }
    }
}
