//! Norms: a row at a time, sums over sixteen lanes and then across them.

use crate::args::Rows;

use super::lanes::{InstructionSet, Kernel, LANES, Lanes, dispatch, load_part, store_part, sum};
use super::work::{Shared, Work};

/// Values whose norm costs about as much as a multiply-add each.
const COST: usize = 4;

/// A norm of some rows.
pub(super) struct Norm<'a> {
    pub(super) x: &'a [f32],
    pub(super) rows: Rows<'a>,
    pub(super) width: usize,
    pub(super) eps: f32,
    pub(super) kind: Kind<'a>,
    pub(super) out: &'a mut [f32],
}

/// Which norm.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    /// `x / √(mean(x²) + eps) · (1 + w)`
    Rms { weight: &'a [f32] },
    /// `(x − mean) / √(variance + eps) · w + b`
    Layer { weight: &'a [f32], bias: &'a [f32] },
    /// [`Kind::Rms`], added to what is there.
    AddRms { weight: &'a [f32] },
}

impl Norm<'_> {
    pub(super) fn run(self, set: InstructionSet, work: Work) {
        let (width, count) = (self.width, self.rows.count());
        assert!(self.out.len() >= count * width, "result of a norm");
        if count == 0 {
            return;
        }
        let tasks = work.tasks(count * width * COST).min(count);
        let out = Shared::new(self.out);
        let (x, rows, eps, kind) = (self.x, self.rows, self.eps, self.kind);
        work.run(tasks, |task| {
            let part = task * count / tasks..(task + 1) * count / tasks;
            dispatch(set, Part { x, rows, part, width, eps, kind, out: out.pointer() });
        });
    }
}

struct Part<'a> {
    x: &'a [f32],
    rows: Rows<'a>,
    part: std::ops::Range<usize>,
    width: usize,
    eps: f32,
    kind: Kind<'a>,
    out: *mut f32,
}

impl Kernel for Part<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for row in self.part.clone() {
            let from = self.rows.source(row) * self.width;
            let x = &self.x[from..from + self.width];
            // SAFETY: `out` has a row for each of ours, which no other task has.
            unsafe { norm_row::<L>(x, self.kind, self.eps, self.out.add(row * self.width)) };
        }
    }
}

/// Norms one row.
///
/// # Safety
/// As [`Lanes`]; `out` has as many values as `x`.
#[inline(always)]
pub(super) unsafe fn norm_row<L: Lanes>(x: &[f32], kind: Kind<'_>, eps: f32, out: *mut f32) {
    let width = x.len() as f32;
    // SAFETY: the caller's contract; weights are sliced to the width.
    unsafe {
        match kind {
            Kind::Rms { weight } | Kind::AddRms { weight } => {
                let square = fold::<L>(x, 0.0, |total, x| L::fma(x, x, total));
                let scale = L::splat(1.0 / (square / width + eps).sqrt());
                let add = matches!(kind, Kind::AddRms { .. });
                each::<L>(x.len(), |at, count| {
                    let factor = L::add(L::splat(1.0), read::<L>(weight, at, count));
                    let value = L::mul(L::mul(read::<L>(x, at, count), scale), factor);
                    let value = if add { L::add(read_raw::<L>(out.add(at), count), value) } else { value };
                    write::<L>(out.add(at), count, value);
                });
            }
            Kind::Layer { weight, bias } => {
                let mean = fold::<L>(x, 0.0, |total, x| L::add(total, x)) / width;
                let middle = L::splat(mean);
                // Lanes beyond the row are filled with the mean, so that they add nothing.
                let distance = fold::<L>(x, mean, |total, x| {
                    let centred = L::sub(x, middle);
                    L::fma(centred, centred, total)
                });
                let scale = L::splat(1.0 / (distance / width + eps).sqrt());
                each::<L>(x.len(), |at, count| {
                    let centred = L::mul(L::sub(read::<L>(x, at, count), middle), scale);
                    let value = L::fma(centred, read::<L>(weight, at, count), read::<L>(bias, at, count));
                    write::<L>(out.add(at), count, value);
                });
            }
        }
    }
}

/// Calls for each vector of a row: where it begins, and how many of its lanes exist.
#[inline(always)]
fn each<L: Lanes>(width: usize, mut call: impl FnMut(usize, usize)) {
    let mut at = 0;
    while at < width {
        call(at, (width - at).min(LANES));
        at += LANES;
    }
}

#[inline(always)]
unsafe fn fold<L: Lanes>(x: &[f32], fill: f32, step: impl Fn(L::V, L::V) -> L::V) -> f32 {
    // SAFETY: `each` stays within the row.
    unsafe {
        let mut total = L::splat(0.0);
        each::<L>(x.len(), |at, count| {
            let from = x[at..at + count].as_ptr();
            let x = if count == LANES { L::load(from) } else { load_part::<L>(from, count, fill) };
            total = step(total, x);
        });
        sum::<L>(total)
    }
}

#[inline(always)]
unsafe fn read<L: Lanes>(from: &[f32], at: usize, count: usize) -> L::V {
    // SAFETY: sliced to the values that exist.
    unsafe { read_raw::<L>(from[at..at + count].as_ptr(), count) }
}

#[inline(always)]
unsafe fn read_raw<L: Lanes>(from: *const f32, count: usize) -> L::V {
    // SAFETY: the caller has `count` values.
    unsafe { if count == LANES { L::load(from) } else { load_part::<L>(from, count, 0.0) } }
}

#[inline(always)]
unsafe fn write<L: Lanes>(to: *mut f32, count: usize, value: L::V) {
    // SAFETY: the caller has room for `count` values.
    unsafe { if count == LANES { L::store(to, value) } else { store_part::<L>(to, count, value) } }
}
