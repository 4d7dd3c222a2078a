//! Matrix products with their epilogues.

use std::borrow::Cow;

use crate::GROUP;
use crate::args::{Activate, Activation, GatedLinear, Then};
use crate::weights::Arithmetic;

use super::Cpu;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::bf16 as units;
use super::lanes::{InstructionSet, Kernel, LANES, Lanes, dispatch, load_part, store_part};
use super::math;
use super::packed::{Both, Numbers, Packed};
use super::rows::RowPanels;
use super::tile::{CHAIN, Chains, Groups, Left, Order, PANEL, ROWS, Right, Sums, Unpack, Unpacked, VECTORS, product};
use super::work::{Shared, Work};

/// Rows that a task multiplies with a panel while the panel is in the second-level cache.
const ROWS_AT_ONCE: usize = 96;
/// Up to so many rows, weights of bf16 are turned for each few of them anew: more than that is faster unpacked once.
const FEW: usize = 3 * ROWS;
/// Why a unit is there.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const IN_ROWS: &str = "weights in rows are made for a unit that multiplies them";

/// `out = x · Wᵀ` and then.
pub(super) struct Product<'a> {
    pub(super) x: &'a [f32],
    pub(super) rows: usize,
    pub(super) weight: &'a Packed,
    pub(super) epilogue: Epilogue<'a>,
    pub(super) out: &'a mut [f32],
}

/// What becomes of sums.
#[derive(Clone, Copy)]
pub(super) enum Epilogue<'a> {
    /// `out[row, column]`, after the bias.
    Each { bias: Option<&'a [f32]>, then: Then },
    /// The first half of each panel is the gate, the second is multiplied with it.
    Gated { outputs: usize, activation: Activation },
}

/// `out = activation(x · Gᵀ) · (x · Uᵀ)`
pub(super) fn gated((set, work): (InstructionSet, Work<'_>), args: GatedLinear<'_, Cpu>) {
    let GatedLinear { x, rows, weight, activation, out } = args;
    match &weight.both {
        Both::Panels(panels) => {
            let epilogue = Epilogue::Gated { outputs: weight.outputs, activation };
            Product { x, rows, weight: panels, epilogue, out }.run(set, work);
        }
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Both::Rows(gates) => {
            let weight = units::Weight::Gated { gates, outputs: weight.outputs, activation };
            units::Product { x, rows, weight, out }.run(set.unit().expect(IN_ROWS), work);
        }
    }
}

impl Product<'_> {
    pub(super) fn run(self, set: InstructionSet, work: Work<'_>) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let (Numbers::Rows(weight), Epilogue::Each { bias, then }) = (&self.weight.numbers, self.epilogue) {
            let weight = units::Weight::One { weight, bias, then };
            let product = units::Product { x: self.x, rows: self.rows, weight, out: self.out };
            return product.run(set.unit().expect(IN_ROWS), work);
        }
        self.run_on_lanes(set, work);
    }

    /// Splits the product into tasks. Each value is computed whole by one task, in one order, so that neither the number of
    /// tasks nor of threads shows in it.
    fn run_on_lanes(self, set: InstructionSet, work: Work<'_>) {
        let (inputs, panels) = (self.weight.columns, self.weight.panels());
        assert!(self.x.len() >= self.rows * inputs, "left factor of a product");
        let outputs = self.epilogue.outputs(self.weight);
        assert!(self.out.len() >= self.rows * outputs, "result of a product");
        let row_blocks = self.rows.div_ceil(ROWS_AT_ONCE);
        // A panel is the least that a task takes: about as many tasks as keep the threads busy to the end.
        let split = work.tasks(self.rows * inputs * panels * PANEL).div_ceil(row_blocks.max(1)).clamp(1, panels);
        let out = Shared::new(self.out);
        let (rows, weight, epilogue) = (self.rows, self.weight, self.epilogue);
        let rounded = rounded(set, weight.arithmetic, &self.x[..rows * inputs]);
        let x: &[f32] = &rounded;
        work.run(row_blocks * split, |task| {
            // Neighbouring tasks share rows, and so the cache of a thread.
            let (block, part) = (task / split, task % split);
            let first = block * ROWS_AT_ONCE;
            dispatch(
                set,
                Part {
                    x,
                    rows: first..(first + ROWS_AT_ONCE).min(rows),
                    panels: part * panels / split..(part + 1) * panels / split,
                    weight,
                    epilogue,
                    outputs,
                    out: out.pointer(),
                },
            );
        });
    }
}

impl Epilogue<'_> {
    fn outputs(&self, weight: &Packed) -> usize {
        match self {
            Epilogue::Each { .. } => weight.rows,
            Epilogue::Gated { outputs, .. } => *outputs,
        }
    }
}

/// `out = activation(out)`, times what there is.
pub(super) fn activate(set: InstructionSet, work: Work<'_>, args: Activate<'_, Cpu>) {
    /// Values of a task.
    const AT_ONCE: usize = 1 << 14;
    let mut parts: Vec<&mut [f32]> = args.out[..args.len].chunks_mut(AT_ONCE).collect();
    work.run_each(&mut parts, |index, out| {
        let times = args.times.map(|times| &times[index * AT_ONCE..][..out.len()]);
        dispatch(set, Activated { activation: args.activation, out, times });
    });
}

struct Activated<'a> {
    activation: Activation,
    out: &'a mut [f32],
    times: Option<&'a [f32]>,
}

impl Kernel for Activated<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for at in (0..self.out.len()).step_by(LANES) {
            let count = (self.out.len() - at).min(LANES);
            // SAFETY: the first `count` values from `at` on are there; kernels run where the instructions are.
            unsafe {
                let value = load_part::<L>(self.out[at..].as_ptr(), count, 0.0);
                let value = math::activate::<L>(self.activation, value);
                let value = match self.times {
                    Some(times) => L::mul(value, load_part::<L>(times[at..at + count].as_ptr(), count, 0.0)),
                    None => value,
                };
                store_part::<L>(self.out[at..].as_mut_ptr(), count, value);
            }
        }
    }
}

/// Factors as products take them.
pub(super) fn rounded(set: InstructionSet, arithmetic: Arithmetic, x: &[f32]) -> Cow<'_, [f32]> {
    match arithmetic {
        Arithmetic::Exact => Cow::Borrowed(x),
        Arithmetic::Bf16 => {
            let mut rounded = x.to_vec();
            dispatch(set, Round(&mut rounded));
            Cow::Owned(rounded)
        }
    }
}

/// Rounds numbers to bf16.
pub(super) struct Round<'a>(pub(super) &'a mut [f32]);

impl Kernel for Round<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let whole = self.0.len() / LANES * LANES;
        let (whole, rest) = self.0.split_at_mut(whole);
        for chunk in whole.chunks_exact_mut(LANES) {
            // SAFETY: sixteen numbers; kernels run where the instructions are.
            unsafe { L::store(chunk.as_mut_ptr(), L::round_bf16(L::load(chunk.as_ptr()))) };
        }
        rest.iter_mut().for_each(|value| *value = Arithmetic::Bf16.rounded(*value));
    }
}

/// A block of rows with some of the panels.
struct Part<'a> {
    x: &'a [f32],
    rows: std::ops::Range<usize>,
    panels: std::ops::Range<usize>,
    weight: &'a Packed,
    epilogue: Epilogue<'a>,
    outputs: usize,
    out: *mut f32,
}

impl Kernel for Part<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match (&self.weight.numbers, self.weight.arithmetic) {
            (Numbers::F32(numbers), _) => self.over::<L>(numbers),
            (Numbers::Bf16(rows), Arithmetic::Exact)
                if self.rows.len() <= FEW && self.weight.columns.is_multiple_of(GROUP) =>
            {
                self.over_rows::<L>(rows);
            }
            (Numbers::Bf16(rows), Arithmetic::Exact) => self.over_unpacked::<L, Chains>(rows),
            (Numbers::Bf16(rows), Arithmetic::Bf16) => self.over_unpacked::<L, Groups>(rows),
            (Numbers::Quantised(panels), Arithmetic::Exact) => self.over_unpacked::<L, Chains>(panels),
            (Numbers::Quantised(panels), Arithmetic::Bf16) => self.over_unpacked::<L, Groups>(panels),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            (Numbers::Rows(_), _) => unreachable!("weights in rows are multiplied elsewhere"),
        }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn over<L: Lanes>(&self, numbers: &[f32]) {
        let inputs = self.weight.columns;
        for panel in self.panels.clone() {
            let numbers = &numbers[panel * PANEL * inputs..(panel + 1) * PANEL * inputs];
            let right = Right { first: numbers.as_ptr(), stride: PANEL };
            let mut sums = Sums::new();
            for row in self.rows.clone().step_by(ROWS) {
                let count = (self.rows.end - row).min(ROWS);
                let left = Left { first: self.x[row * inputs..].as_ptr(), stride: inputs };
                // SAFETY: `x` has `count` rows of `inputs` values from `row` on (checked when the product began), and the
                // panel was sliced to its length. `out` has `outputs` values for each row, and no other task has these
                // rows and panels.
                unsafe {
                    product::<L, Chains>((count, VECTORS, inputs), left, right, &mut sums, false);
                    self.finish::<L>(row..row + count, panel, &sums);
                }
            }
        }
    }

    /// As [`Part::over`], where numbers are not worth to be unpacked.
    #[inline(always)]
    fn over_rows<L: Lanes>(&self, weight: &RowPanels) {
        let mut sums = Sums::new();
        for panel in self.panels.clone() {
            for row in self.rows.clone().step_by(ROWS) {
                let count = (self.rows.end - row).min(ROWS);
                // SAFETY: as in `over`.
                unsafe {
                    match count {
                        1 => weight.multiply::<L, 1>(panel, self.some_x(row), &mut sums),
                        2 => weight.multiply::<L, 2>(panel, self.some_x(row), &mut sums),
                        3 => weight.multiply::<L, 3>(panel, self.some_x(row), &mut sums),
                        4 => weight.multiply::<L, 4>(panel, self.some_x(row), &mut sums),
                        5 => weight.multiply::<L, 5>(panel, self.some_x(row), &mut sums),
                        _ => weight.multiply::<L, ROWS>(panel, self.some_x(row), &mut sums),
                    }
                    self.finish::<L>(row..row + count, panel, &sums);
                }
            }
        }
    }

    /// So many rows of the left factor.
    #[inline(always)]
    fn some_x<const R: usize>(&self, first: usize) -> [*const f32; R] {
        let mut x = [self.x[first * self.weight.columns..].as_ptr(); R];
        for (row, x) in x.iter_mut().enumerate() {
            *x = x.wrapping_add(row * self.weight.columns);
        }
        x
    }

    /// As [`Part::over`], with numbers that are unpacked once for all rows, some terms at a time.
    #[inline(always)]
    fn over_unpacked<L: Lanes, O: Order>(&self, panels: &impl Unpack) {
        let inputs = self.weight.columns;
        let mut unpacked = Unpacked::new(inputs);
        let unpacked = unpacked.numbers();
        let mut all: Vec<Sums> = self.rows.clone().step_by(ROWS).map(|_| Sums::new()).collect();
        for panel in self.panels.clone() {
            for first in (0..inputs).step_by(CHAIN) {
                let terms = (inputs - first).min(CHAIN);
                // SAFETY: kernels run where the instructions are.
                unsafe { panels.unpack::<L>(panel, first, terms, unpacked) };
                for (row, sums) in self.rows.clone().step_by(ROWS).zip(&mut all) {
                    let count = (self.rows.end - row).min(ROWS);
                    let left = Left { first: self.x[row * inputs + first..].as_ptr(), stride: inputs };
                    let right = Right { first: unpacked.as_ptr(), stride: PANEL };
                    // SAFETY: `x` has the rows (checked when the product began), and all terms were unpacked.
                    unsafe { product::<L, O>((count, VECTORS, terms), left, right, sums, first > 0) };
                }
            }
            for (row, sums) in self.rows.clone().step_by(ROWS).zip(&all) {
                let count = (self.rows.end - row).min(ROWS);
                // SAFETY: as in `over`.
                unsafe { self.finish::<L>(row..row + count, panel, sums) };
            }
        }
    }

    /// # Safety
    /// As [`Lanes`]; `out` has the rows, and the calling task has them to itself.
    #[inline(always)]
    unsafe fn finish<L: Lanes>(&self, rows: std::ops::Range<usize>, panel: usize, sums: &Sums) {
        const HALF: usize = VECTORS / 2;
        for (r, row) in rows.enumerate() {
            // SAFETY: the caller's contract.
            unsafe {
                match self.epilogue {
                    Epilogue::Each { bias, then } => {
                        for vector in 0..VECTORS {
                            let column = panel * PANEL + vector * LANES;
                            let sum = sums.vector::<L>(r, vector);
                            finish::<L>((row, column, self.outputs), sum, bias, then, self.out);
                        }
                    }
                    Epilogue::Gated { activation, .. } => {
                        for vector in 0..HALF {
                            let gate = math::activate::<L>(activation, sums.vector::<L>(r, vector));
                            let value = L::mul(gate, sums.vector::<L>(r, vector + HALF));
                            let column = panel * PANEL / 2 + vector * LANES;
                            finish::<L>((row, column, self.outputs), value, None, Then::Store, self.out);
                        }
                    }
                }
            }
        }
    }
}

/// Bias, activation, and the write to `out[row, column..]`, of which only columns below `outputs` exist.
///
/// # Safety
/// `out` has the row, and the calling task has it to itself.
#[inline(always)]
pub(super) unsafe fn finish<L: Lanes>(
    (row, column, outputs): (usize, usize, usize),
    sum: L::V,
    bias: Option<&[f32]>,
    then: Then,
    out: *mut f32,
) {
    if column >= outputs {
        return;
    }
    let count = (outputs - column).min(LANES);
    // SAFETY: the first `count` columns from `column` on exist in the row and in the bias.
    unsafe {
        let to = out.add(row * outputs + column);
        let read = |from: *const f32| if count == LANES { L::load(from) } else { load_part::<L>(from, count, 0.0) };
        let value = match bias {
            Some(bias) => L::add(sum, read(bias[column..column + count].as_ptr())),
            None => sum,
        };
        let value = match then {
            Then::Store => value,
            Then::Activate(activation) => math::activate::<L>(activation, value),
            Then::Add => L::add(read(to), value),
        };
        if count == LANES { L::store(to, value) } else { store_part::<L>(to, count, value) }
    }
}
