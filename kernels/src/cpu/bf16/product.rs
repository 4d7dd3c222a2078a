//! Products of activations with weights in rows.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::PoisonError;

use super::dots::Dots;
use super::left::{Gates, Left, Strip, Strips, Unpacked};
use super::pack::{Tile, pack_rows, rows_of};
use super::quantised::STEPS;
use super::tiles::Tiles;
use super::whole::{self, Whole, WholeNumbers};
use super::{Four, Multiply, SIDE, TERMS, Unit, dots, strips};
use crate::args::{Activation, Then};
use crate::cpu::lanes::{Avx512, Lanes};
use crate::cpu::math::activate;
use crate::cpu::product::finish;
use crate::cpu::work::{Shared, Work};

/// Bytes of packed activations that stay in the second-level cache while weights go by.
pub(super) const RIGHT_BYTES: usize = 512 << 10;
/// Groups of terms of two strips of weights that stay in the first-level cache while activations go by.
const STEPS_AT_ONCE: usize = 16;
/// Memory for packed activations.
pub(super) type Kept = Vec<MaybeUninit<Tile>>;

/// `out = x · Wᵀ`, and then.
pub(in super::super) struct Product<'a> {
    pub(in super::super) x: &'a [f32],
    pub(in super::super) rows: usize,
    pub(in super::super) weight: Weight<'a>,
    pub(in super::super) out: &'a mut [f32],
}

/// What is multiplied with, and what becomes of the sums.
#[derive(Clone, Copy)]
pub(in super::super) enum Weight<'a> {
    /// One matrix.
    One { weight: &'a Left, bias: Option<&'a [f32]>, then: Then },
    /// Gate and up, of so many outputs each: `activation(gate) · up`.
    Gated { gates: &'a Gates, outputs: usize, activation: Activation },
}

impl<'a> Weight<'a> {
    pub(super) fn columns(&self) -> usize {
        match self {
            Weight::One { weight, .. } => weight.columns(),
            Weight::Gated { gates, .. } => gates.columns(),
        }
    }

    pub(super) fn outputs(&self) -> usize {
        match self {
            Weight::One { weight, .. } => weight.rows(),
            Weight::Gated { outputs, .. } => *outputs,
        }
    }

    fn is_quantised(&self) -> bool {
        match self {
            Weight::One { weight, .. } => weight.is_quantised(),
            Weight::Gated { gates, .. } => gates.is_quantised(),
        }
    }

    /// What is multiplied as whole numbers.
    fn whole(&self) -> Option<&'a WholeNumbers> {
        match self {
            Weight::One { weight: Left::Whole(numbers), .. } | Weight::Gated { gates: Gates::Whole(numbers), .. } => {
                Some(numbers)
            }
            Weight::One { .. } | Weight::Gated { .. } => None,
        }
    }

    /// Pairs of strips that are multiplied together.
    pub(super) fn pairs(&self) -> usize {
        match self {
            Weight::One { weight, .. } => weight.rows().div_ceil(2 * SIDE),
            Weight::Gated { outputs, .. } => outputs.div_ceil(SIDE),
        }
    }

    /// Strips of a pair.
    pub(super) fn pair(&self, pair: usize) -> [Strip<'a>; 2] {
        match *self {
            Weight::One { weight, .. } => weight.pair(pair),
            Weight::Gated { gates, .. } => gates.pair(pair),
        }
    }
}

impl Product<'_> {
    /// Splits the product into tasks. Each value is computed whole by one task, in one order, so that neither the number of
    /// tasks nor of threads shows in it.
    pub(in super::super) fn run(self, unit: Unit, work: Work<'_>) {
        assert!(self.x.len() >= self.rows * self.weight.columns(), "left factor of a product");
        assert!(self.out.len() >= self.rows * self.weight.outputs(), "result of a product");
        if let Weight::One { bias: Some(bias), .. } = self.weight {
            assert!(bias.len() >= self.weight.outputs(), "bias of a product");
        }
        if self.rows == 0 {
            return;
        }
        // Taken, and not held: operations may run at the same time.
        let mut kept = std::mem::take(&mut *work.kept.tiles.lock().unwrap_or_else(PoisonError::into_inner));
        match unit {
            Unit::Tiles => self.by_tiles(&mut kept, work),
            Unit::Pairs => self.by_strips(&mut kept, work),
        }
        *work.kept.tiles.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    fn by_strips(self, kept: &mut Kept, work: Work<'_>) {
        let Self { x, rows, weight, out } = self;
        match weight.whole() {
            Some(numbers) => {
                let fixed = whole::round(x, rows, weight.columns(), kept, work);
                strips::multiply(weight, Whole { weight: numbers, fixed }, rows, out, work);
            }
            None => {
                let rounded = dots::round(x, rows, weight.columns(), kept, work);
                strips::multiply(weight, Dots { weight, rounded }, rows, out, work);
            }
        }
    }

    fn by_tiles(self, kept: &mut Kept, work: Work<'_>) {
        let (columns, pairs, outputs) = (self.weight.columns(), self.weight.pairs(), self.weight.outputs());
        let steps = columns.div_ceil(TERMS);
        let packed = pack(self.x, self.rows, columns, kept, work);
        let groups = self.rows.div_ceil(SIDE);
        let at_once = (RIGHT_BYTES / (steps * size_of::<Tile>())).max(2) & !1;
        let blocks = groups.div_ceil(at_once);
        // A pass over a pair of strips takes as long for one row as for sixteen.
        let split = work.tasks(groups * pairs * 2 * SIDE * columns).div_ceil(blocks).clamp(1, pairs);
        let out = Shared::new(self.out);
        let (rows, weight) = (self.rows, self.weight);
        work.run(blocks * split, |task| {
            let (block, part) = (task / split, task % split);
            let groups = block * at_once..((block + 1) * at_once).min(groups);
            let pairs = part * pairs / split..(part + 1) * pairs / split;
            let part = Part { weight, packed, steps, rows, outputs, out: out.pointer() };
            // SAFETY: this unit was found on the processor; sizes were checked above, and no other task has these rows and
            // outputs.
            unsafe { part.run(pairs, groups) };
        });
    }
}

/// Activations as products take them: `parts` parts of `each` values, of which `write` writes every one, in memory that is kept
/// from one product to the next. `numbers` are rounded in all.
///
/// # Safety
/// A value is aligned within a line of the cache, and `write` writes the part that it is given whole.
pub(super) unsafe fn packed<'a, T: Copy + Send + Sync>(
    kept: &'a mut Kept,
    (parts, each, numbers): (usize, usize, usize),
    work: Work<'_>,
    write: impl Fn(usize, &mut [MaybeUninit<T>]) + Send + Sync,
) -> &'a [T] {
    let count = (parts * each * size_of::<T>()).div_ceil(size_of::<Tile>());
    if kept.len() < count {
        kept.clear();
        kept.reserve_exact(count);
        // SAFETY: what is reserved need not be written for its type.
        unsafe { kept.set_len(count) };
    }
    let first = kept.as_mut_ptr();
    // SAFETY: tiles begin on lines of the cache, and have room for so many values.
    let values = unsafe { std::slice::from_raw_parts_mut(first.cast::<MaybeUninit<T>>(), parts * each) };
    let mut to: Vec<&mut [MaybeUninit<T>]> = values.chunks_mut(each).collect();
    // Some dozens of numbers are rounded and moved in the time of a group of multiply-adds.
    let work = if work.tasks(numbers) == 1 { work.alone() } else { work };
    work.run_each(&mut to, |part, to| write(part, to));
    // SAFETY: every part was written whole, which the caller answers for.
    unsafe { std::slice::from_raw_parts(first.cast::<T>(), parts * each) }
}

/// Rows to tiles, sixteen rows after another.
fn pack<'a>(x: &[f32], rows: usize, columns: usize, kept: &'a mut Kept, work: Work<'_>) -> &'a [Tile] {
    let sizes = (rows.div_ceil(SIDE), columns.div_ceil(TERMS), rows * columns);
    // SAFETY: the rows are there, which was checked; tiles are used only where the features are, and written whole.
    unsafe {
        packed(kept, sizes, work, |group, tiles| {
            let first = group * SIDE;
            pack_rows(x[first * columns..].as_ptr(), columns, (rows - first).min(SIDE), columns, tiles);
        })
    }
}

/// What a task computes with.
struct Part<'a> {
    weight: Weight<'a>,
    packed: &'a [Tile],
    steps: usize,
    rows: usize,
    outputs: usize,
    out: *mut f32,
}

impl Part<'_> {
    /// # Safety
    /// The processor has the features and tiles; `out` has the rows, and the calling task has these of its outputs to
    /// itself.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    unsafe fn run(&self, pairs: Range<usize>, groups: Range<usize>) {
        let quantised = self.weight.is_quantised();
        // One group of rows reads weights once: in one go, or as they are unpacked.
        let at_once = match (groups.len(), quantised) {
            (1, true) => STEPS,
            (1, false) => self.steps,
            _ => STEPS_AT_ONCE,
        };
        let at_once = at_once.min(self.steps);
        let mut unpacked = Unpacked::new(if quantised { at_once } else { 0 });
        // SAFETY: the caller's contract. Strips and groups have `steps` tiles.
        unsafe {
            let tiles = Tiles::new();
            let mut last = Four::ZERO;
            let mut sums = vec![Four::ZERO; groups.len() / 2];
            let (alone, odd) = (groups.len() == 1, !groups.len().is_multiple_of(2));
            for pair in pairs {
                let of = self.weight.pair(pair);
                if alone {
                    tiles.begin_column();
                }
                for step in (0..self.steps).step_by(at_once) {
                    let steps = (self.steps - step).min(at_once);
                    let Strips { first: left, stride } = unpacked.strips(of, step, steps);
                    for (index, sums) in sums.iter_mut().enumerate() {
                        let group = groups.start + 2 * index;
                        let right = [self.group(group).add(step), self.group(group + 1).add(step)];
                        tiles.two_by_two(left, stride, right, steps, sums, step == 0);
                    }
                    if odd {
                        let right = self.group(groups.end - 1).add(step);
                        if alone {
                            tiles.add_column(left, stride, right, steps);
                        } else {
                            tiles.two_by_one(left, stride, right, steps, &mut last, step == 0);
                        }
                    }
                }
                if alone {
                    tiles.store_column(&mut last);
                }
                for (index, Four(sums)) in sums.iter().enumerate() {
                    let group = groups.start + 2 * index;
                    self.finish(pair, group, [&sums[0], &sums[2]]);
                    self.finish(pair, group + 1, [&sums[1], &sums[3]]);
                }
                if odd {
                    self.finish(pair, groups.end - 1, [&last.0[0], &last.0[2]]);
                }
            }
        }
    }

    fn group(&self, group: usize) -> *const Tile {
        self.packed[group * self.steps..(group + 1) * self.steps].as_ptr()
    }

    /// # Safety
    /// As [`Part::run`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    #[inline]
    unsafe fn finish(&self, pair: usize, group: usize, sums: [&[f32; SIDE * SIDE]; 2]) {
        let first = group * SIDE;
        let (rows, outputs, out) = ((self.rows - first).min(SIDE), self.outputs, self.out);
        match self.weight {
            Weight::One { bias, then, .. } => {
                for (half, sums) in sums.into_iter().enumerate() {
                    let column = (2 * pair + half) * SIDE;
                    for (row, sum) in rows_of(sums, rows).into_iter().enumerate().take(rows) {
                        // SAFETY: the caller's contract; `finish` leaves out columns that are not there.
                        unsafe { finish::<Avx512>((first + row, column, outputs), sum, bias, then, out) };
                    }
                }
            }
            Weight::Gated { activation, .. } => {
                let both = rows_of(sums[0], rows).into_iter().zip(rows_of(sums[1], rows));
                for (row, (gate, up)) in both.enumerate().take(rows) {
                    // SAFETY: as above.
                    unsafe {
                        let value = Avx512::mul(activate::<Avx512>(activation, gate), up);
                        finish::<Avx512>((first + row, pair * SIDE, outputs), value, None, Then::Store, out);
                    }
                }
            }
        }
    }
}
