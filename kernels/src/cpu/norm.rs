//! Norms: a row at a time, sums over sixteen lanes and then across them.

use crate::args::{AddRows, Rows};

use super::Cpu;
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
    /// `x / √(mean(x²) + eps) · (offset + w)`
    Rms { weight: &'a [f32], offset: f32 },
    /// `(x − mean) / √(variance + eps) · w + b`
    Layer { weight: &'a [f32], bias: &'a [f32] },
    /// [`Kind::Rms`], added to what is there.
    AddRms { weight: &'a [f32], offset: f32 },
}

/// Rows that a task adds.
const ADDED_AT_ONCE: usize = 32;

/// `out += x · scale`
pub(super) fn add_rows(work: Work<'_>, args: AddRows<'_, Cpu>) {
    let AddRows { x, scale, rows, width, out } = args;
    let mut parts: Vec<&mut [f32]> = out[..rows * width].chunks_mut((ADDED_AT_ONCE * width).max(1)).collect();
    let work = if work.tasks(rows * width) == 1 { work.alone() } else { work };
    work.run_each(&mut parts, |part, out| {
        let x = &x[part * ADDED_AT_ONCE * width..][..out.len()];
        match scale {
            None => out.iter_mut().zip(x).for_each(|(out, x)| *out += x),
            Some(scale) => {
                for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    out.iter_mut().zip(x).zip(&scale[..width]).for_each(|((out, x), scale)| *out += x * scale);
                }
            }
        }
    });
}

impl Norm<'_> {
    pub(super) fn run(self, set: InstructionSet, work: Work<'_>) {
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
            Kind::Rms { weight, offset } | Kind::AddRms { weight, offset } => {
                let square = squares::<L>(x, 0.0);
                let scale = L::splat(1.0 / (square / width + eps).sqrt());
                let add = matches!(kind, Kind::AddRms { .. });
                for (at, count) in vectors(x.len()) {
                    let factor = L::add(L::splat(offset), read::<L>(weight, at, count));
                    let value = L::mul(L::mul(read::<L>(x, at, count), scale), factor);
                    let value = if add { L::add(read_raw::<L>(out.add(at), count), value) } else { value };
                    write::<L>(out.add(at), count, value);
                }
            }
            Kind::Layer { weight, bias } => {
                let mean = total::<L>(x) / width;
                let middle = L::splat(mean);
                let scale = L::splat(1.0 / (squares::<L>(x, mean) / width + eps).sqrt());
                for (at, count) in vectors(x.len()) {
                    let centred = L::mul(L::sub(read::<L>(x, at, count), middle), scale);
                    let value = L::fma(centred, read::<L>(weight, at, count), read::<L>(bias, at, count));
                    write::<L>(out.add(at), count, value);
                }
            }
        }
    }
}

/// Where each vector of a row begins, and how many of its lanes exist. No closures here: they would be compiled without
/// the instructions.
#[inline(always)]
fn vectors(width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..width).step_by(LANES).map(move |at| (at, (width - at).min(LANES)))
}

/// The sum of a row.
#[inline(always)]
unsafe fn total<L: Lanes>(x: &[f32]) -> f32 {
    // SAFETY: vectors stay within the row.
    unsafe {
        let mut total = L::splat(0.0);
        for (at, count) in vectors(x.len()) {
            total = L::add(total, read::<L>(x, at, count));
        }
        sum::<L>(total)
    }
}

/// The sum of squared distances from `middle`.
#[inline(always)]
unsafe fn squares<L: Lanes>(x: &[f32], middle: f32) -> f32 {
    // SAFETY: vectors stay within the row.
    unsafe {
        let mut total = L::splat(0.0);
        for (at, count) in vectors(x.len()) {
            let from = x[at..at + count].as_ptr();
            // Lanes beyond the row are filled with the middle, so that they add nothing.
            let x = if count == LANES { L::load(from) } else { load_part::<L>(from, count, middle) };
            let distance = L::sub(x, L::splat(middle));
            total = L::fma(distance, distance, total);
        }
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
