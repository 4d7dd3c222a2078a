//! Weights as whole numbers with scales: eight or four bits each.
//!
//! A weight **is** `bf16(q · scale)`, of a whole number `q` and the scale of its group of inputs, a bf16: the product is exact
//! in f32 and rounded once, to nearest, ties to even, and zero where that is subnormal. So a quantised matrix equals a bf16
//! matrix of these values, bit for bit, in every [`crate::Arithmetic`] and on every processor but one kind: numbers are unpacked
//! on the way from memory, and activations are not quantised. It is also what `compressed-tensors` makes of the same bytes,
//! whose layout of `pack-quantized` this is: the numbers of a row follow each other, the first in the lowest bits, as `q + 128`
//! or `q + 8`.
//!
//! Processors with AVX-512 BF16 and VNNI and no tiles multiply whole numbers as such, in [`crate::Arithmetic::Bf16`]: there a
//! weight is `q · scale`, unrounded, and activations are rounded to 16 bits in groups of 32, which is finer than bf16. Unpacking
//! takes these processors three times as long as memory takes to bring the numbers; multiplying them takes less than that.

use half::bf16;

use crate::Arithmetic;

/// Which whole numbers, and how many inputs share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// How many bits.
    pub bits: Bits,
    /// Inputs of a group.
    pub group: usize,
}

/// Bits of a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// From -128 to 127; what is quantised here leaves out -128.
    Eight,
    /// From -8 to 7.
    Four,
}

impl Bits {
    /// What is added to a number before it is stored.
    pub(crate) fn offset(self) -> i32 {
        match self {
            Bits::Eight => 128,
            Bits::Four => 8,
        }
    }

    /// Numbers in a byte.
    pub(crate) fn in_byte(self) -> usize {
        match self {
            Bits::Eight => 1,
            Bits::Four => 2,
        }
    }
}

/// Inputs of a group are a multiple of this.
const LEAST_GROUP: usize = crate::GROUP;

/// Largest sizes that are tried for the whole number of the largest weight of a group, in four bits. The one with the least
/// sum of squared errors is taken: seven is not the best for most groups, since the largest weight is one of many.
const TRIED: [f32; 10] = [6.5, 7.0, 7.25, 7.5, 7.75, 8.0, 8.5, 9.0, 9.5, 10.0];

/// Adding it leaves no room for what is behind the point; `round_ties_even` is a call on old processors.
const NO_FRACTION: f32 = (3 << 22) as f32;

impl Grid {
    /// Eight bits as weights are quantised here.
    pub const INT8: Self = Self { bits: Bits::Eight, group: 32 };
    /// Four bits as weights are quantised here.
    pub const INT4: Self = Self { bits: Bits::Four, group: 32 };

    /// Whether rows of so many inputs are made of whole groups, and groups of whole terms of a product.
    pub fn fits(self, columns: usize) -> bool {
        let whole = self.group > 0 && columns > 0 && columns.is_multiple_of(self.group);
        whole && self.group.is_multiple_of(LEAST_GROUP)
    }

    /// Bytes of a row.
    pub fn row_bytes(self, columns: usize) -> usize {
        (columns / self.bits.in_byte()).next_multiple_of(4)
    }

    /// Groups of a row.
    pub fn groups(self, columns: usize) -> usize {
        columns / self.group
    }

    /// The numbers and scales of a row.
    ///
    /// # Panics
    /// Where whole groups do not fit.
    #[inline(always)]
    pub fn quantise(self, row: &[f32]) -> (Vec<u8>, Vec<bf16>) {
        assert!(self.fits(row.len()), "groups of {} in a row of {}", self.group, row.len());
        let mut numbers = vec![0; self.row_bytes(row.len())];
        let mut scales = Vec::with_capacity(self.groups(row.len()));
        let groups = numbers.chunks_exact_mut(self.group / self.bits.in_byte());
        for (group, numbers) in row.chunks_exact(self.group).zip(groups) {
            let scale = self.scale(group);
            scales.push(scale);
            let inverse = 1.0 / scale.to_f32();
            let number = |value: f32| self.stored(value * inverse);
            match self.bits {
                Bits::Eight => numbers.iter_mut().zip(group).for_each(|(to, value)| *to = number(*value)),
                Bits::Four => {
                    for (to, two) in numbers.iter_mut().zip(group.chunks_exact(2)) {
                        *to = number(two[0]) | number(two[1]) << 4;
                    }
                }
            }
        }
        (numbers, scales)
    }

    /// What numbers and scales stand for.
    pub(crate) fn values(self, numbers: &[u8], scales: &[bf16], to: &mut [f32]) {
        let each = to.chunks_exact_mut(self.group).zip(numbers.chunks_exact(self.group / self.bits.in_byte()));
        for ((to, numbers), scale) in each.zip(scales) {
            let scale = scale.to_f32();
            let value = |stored: u8| Arithmetic::Bf16.rounded((i32::from(stored) - self.bits.offset()) as f32 * scale);
            match self.bits {
                Bits::Eight => to.iter_mut().zip(numbers).for_each(|(to, stored)| *to = value(*stored)),
                Bits::Four => {
                    for (to, stored) in to.chunks_exact_mut(2).zip(numbers) {
                        (to[0], to[1]) = (value(stored & 15), value(stored >> 4));
                    }
                }
            }
        }
    }

    /// The scale of a group. This and what it calls are compiled into whatever has more instructions than all processors have.
    #[inline(always)]
    fn scale(self, group: &[f32]) -> bf16 {
        // Sizes are in the order of their bits, which compilers compare side by side.
        let largest = group.iter().fold(0, |largest, value| (value.to_bits() & !(1 << 31)).max(largest));
        let largest = f32::from_bits(largest);
        // Weights that are no numbers stay so: an infinite scale makes no numbers of them.
        if !largest.is_finite() {
            return bf16::INFINITY;
        }
        // Smaller scales would make subnormal numbers, which are zeros here.
        let of = |size: f32| bf16::from_f32((largest / size).max(f32::MIN_POSITIVE));
        match self.bits {
            Bits::Eight => of(127.0),
            Bits::Four => {
                let mut best = (f32::INFINITY, of(7.0));
                for scale in TRIED.map(of) {
                    let error = self.error(group, scale.to_f32());
                    if error < best.0 {
                        best = (error, scale);
                    }
                }
                best.1
            }
        }
    }

    /// The sum of squared errors of a group with this scale.
    #[inline(always)]
    fn error(self, group: &[f32], scale: f32) -> f32 {
        // Side by side, so that compilers make vectors of them; in this order on every processor.
        let mut sums = [0.0f32; 8];
        let inverse = 1.0 / scale;
        for eight in group.chunks_exact(8) {
            for (sum, value) in sums.iter_mut().zip(eight) {
                let error = value - self.nearest(value * inverse) * scale;
                *sum += error * error;
            }
        }
        sums.iter().sum()
    }

    /// The nearest whole number that there is, ties to even.
    #[inline(always)]
    fn nearest(self, value: f32) -> f32 {
        (self.within(value) + NO_FRACTION) - NO_FRACTION
    }

    /// The nearest whole number as it is stored.
    #[inline(always)]
    fn stored(self, value: f32) -> u8 {
        // The lowest bits of the sum are those of the whole number.
        let number = (self.within(value) + NO_FRACTION).to_bits() as u8;
        match self.bits {
            Bits::Eight => number ^ 0x80,
            Bits::Four => (number ^ 0x08) & 0x0f,
        }
    }

    #[inline(always)]
    fn within(self, value: f32) -> f32 {
        let (least, most) = match self.bits {
            Bits::Eight => (-127.0, 127.0),
            Bits::Four => (-8.0, 7.0),
        };
        value.max(least).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: usize) -> Vec<f32> {
        (0..columns).map(|i| ((i * 7_919 % 1_013) as f32 / 506.0 - 1.0) * 0.3).collect()
    }

    fn back(grid: Grid, row: &[f32]) -> Vec<f32> {
        let (numbers, scales) = grid.quantise(row);
        assert_eq!((numbers.len(), scales.len()), (grid.row_bytes(row.len()), grid.groups(row.len())));
        let mut values = vec![f32::NAN; row.len()];
        grid.values(&numbers, &scales, &mut values);
        values
    }

    #[test]
    fn errors_are_within_half_a_step_and_the_rounding_of_bf16() {
        let row = row(256);
        for (grid, steps) in [(Grid::INT8, 127.0), (Grid::INT4, 5.5)] {
            let found = back(grid, &row);
            for (group, found) in row.chunks(grid.group).zip(found.chunks(grid.group)) {
                let largest = group.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                for (value, found) in group.iter().zip(found) {
                    let bound = largest / steps * 0.51 + value.abs() / 256.0;
                    assert!((value - found).abs() <= bound, "{grid:?}: {found} for {value}");
                }
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_no_number_is_seen() {
        for grid in [Grid::INT8, Grid::INT4] {
            assert_eq!(back(grid, &[0.0; 64]), [0.0; 64]);
            assert_eq!(back(grid, &[1e-40; 32]), [0.0; 32]);
            let mut spoilt = row(64);
            spoilt[40] = f32::INFINITY;
            let found = back(grid, &spoilt);
            assert!(found[..32].iter().all(|value| value.is_finite()));
            assert!(found[40].is_nan() || found[40].is_infinite(), "{}", found[40]);
        }
    }

    #[test]
    fn four_bits_are_packed_with_the_first_in_the_lower_half() {
        let mut row = [0.0f32; 32];
        (row[0], row[1], row[2]) = (-8.0, 7.0, 1.0);
        let (numbers, scales) = Grid::INT4.quantise(&row);
        assert_eq!((numbers[0], numbers[1], numbers[2]), (0xf0, 0x89, 0x88));
        assert_eq!(scales, [bf16::ONE]);
    }

    #[test]
    fn groups_are_whole_and_made_of_whole_terms() {
        let grid = |group| Grid { bits: Bits::Four, group };
        assert!(grid(128).fits(640) && grid(640).fits(640) && grid(32).fits(96));
        assert!(!grid(128).fits(576) && !grid(48).fits(96) && !grid(32).fits(0) && !grid(0).fits(32));
    }
}
