//! The inverse cosine transform, to the last bit that of libjpeg's accurate integer method, so that
//! samples equal those of the viewers and tool kits that radiology uses.
//!
//! Source: C. Loeffler, A. Ligtenberg and G. Moschytz, "Practical fast 1-D DCT algorithms with 11
//! multiplications", ICASSP 1989, figure 1, in fixed point with 13 fraction bits.

use super::block::ZIGZAG;
use super::frame::{BLOCK, BLOCK_SIDE};

/// Fraction bits of the factors.
const FRACTION_BITS: u32 = 13;
/// A row or column of eight.
type Eight = [i64; BLOCK_SIDE];

/// Turns the quantised coefficients of a block into rows of samples of `bits` bits.
///
/// `divisors` are in zigzag order, as the quantisation table came.
pub(super) fn inverse(
    coefficients: &[i16; BLOCK],
    divisors: &[u16; BLOCK],
    bits: u8,
) -> [[u16; BLOCK_SIDE]; BLOCK_SIDE] {
    // Between the passes 8-bit samples keep two fraction bits, 12-bit ones only one: libjpeg's
    // choice for 32-bit words, kept because it decides how the first pass rounds.
    let kept_bits = if bits == 8 { 2 } else { 1 };
    let mut block = [0i64; BLOCK];
    for (&place, &divisor) in ZIGZAG.iter().zip(divisors) {
        // 16 bits by 16; the transform adds 15 bits twice. Nothing below can pass 64 bits.
        block[place] = i64::from(coefficients[place]) * i64::from(divisor);
    }
    for x in 0..BLOCK_SIDE {
        let column: Eight = std::array::from_fn(|y| block[y * BLOCK_SIDE + x]);
        let column = if column[1..].iter().all(|&value| value == 0) {
            [column[0] << kept_bits; BLOCK_SIDE]
        } else {
            transform(column).map(|value| round(value, FRACTION_BITS - kept_bits))
        };
        for (y, value) in column.into_iter().enumerate() {
            block[y * BLOCK_SIDE + x] = value;
        }
    }
    let centre = 1i64 << (bits - 1);
    let largest = 2 * centre - 1;
    std::array::from_fn(|y| {
        let row: Eight = std::array::from_fn(|x| block[y * BLOCK_SIDE + x]);
        // Three more bits: the two passes together are eight times the transform.
        transform(row).map(|value| {
            let value = round(value, FRACTION_BITS + kept_bits + 3);
            (value + centre).clamp(0, largest) as u16
        })
    })
}

/// Drops `bits` fraction bits, rounding halves up.
fn round(value: i64, bits: u32) -> i64 {
    (value + (1 << (bits - 1))) >> bits
}

/// `value` in fixed point.
const fn factor(value: f64) -> i64 {
    (value * (1 << FRACTION_BITS) as f64 + 0.5) as i64
}

/// The one-dimensional transform, times the square root of eight, with 13 more fraction bits.
fn transform(input: Eight) -> Eight {
    let [i0, i1, i2, i3, i4, i5, i6, i7] = input;

    // The even half: a rotation and two butterflies.
    let turn = (i2 + i6) * factor(0.541196100);
    let low = turn - i6 * factor(1.847759065);
    let high = turn + i2 * factor(0.765366865);
    let sum = (i0 + i4) << FRACTION_BITS;
    let difference = (i0 - i4) << FRACTION_BITS;
    let even = [sum + high, difference + low, difference - low, sum - high];

    // The odd half, from the last input to the first.
    let turn = (i7 + i3 + i5 + i1) * factor(1.175875602);
    let outer = (i7 + i1) * factor(0.899976223);
    let inner = (i5 + i3) * factor(2.562915447);
    let far = turn - (i7 + i3) * factor(1.961570560);
    let near = turn - (i5 + i1) * factor(0.390180644);
    let odd = [
        i1 * factor(1.501321110) - outer + near,
        i3 * factor(3.072711026) - inner + far,
        i5 * factor(2.053119869) - inner + near,
        i7 * factor(0.298631336) - outer + far,
    ];

    std::array::from_fn(|index| match index {
        0..4 => even[index] + odd[index],
        _ => even[7 - index] - odd[7 - index],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    /// The definition (T.81 sect. A.3.3), in floating point.
    fn defined(coefficients: &[i16; BLOCK], centre: f64) -> [f64; BLOCK] {
        let scale = |index: usize| if index == 0 { 0.5f64.sqrt() } else { 1.0 };
        let wave =
            |place: usize, index: usize| ((2 * place + 1) as f64 * index as f64 * PI / 16.0).cos() * scale(index);
        std::array::from_fn(|sample| {
            let (y, x) = (sample / 8, sample % 8);
            let sum: f64 = (0..BLOCK).map(|k| f64::from(coefficients[k]) * wave(x, k % 8) * wave(y, k / 8)).sum();
            sum / 4.0 + centre
        })
    }

    #[test]
    fn samples_are_within_one_of_the_definition() {
        let mut state = 1u32;
        let mut next = |range: i32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i32 % range - range / 2) as i16
        };
        for (bits, centre, range) in [(8, 128.0, 80), (12, 2048.0, 1200)] {
            for _ in 0..200 {
                let coefficients: [i16; BLOCK] = std::array::from_fn(|_| next(range));
                let samples = inverse(&coefficients, &[1; BLOCK], bits);
                for (sample, exact) in samples.as_flattened().iter().zip(defined(&coefficients, centre)) {
                    let exact = exact.clamp(0.0, 2.0 * centre - 1.0);
                    assert!((f64::from(*sample) - exact).abs() <= 1.0);
                }
            }
        }
    }

    #[test]
    fn a_flat_block_is_flat() {
        let mut coefficients = [0; BLOCK];
        coefficients[0] = 10;
        assert_eq!(inverse(&coefficients, &[16; BLOCK], 8), [[148; 8]; 8]);
    }

    #[test]
    fn extreme_numbers_are_clamped() {
        for value in [i16::MIN, i16::MAX] {
            let samples = inverse(&[value; BLOCK], &[u16::MAX; BLOCK], 12);
            assert!(samples.as_flattened().iter().all(|&sample| sample <= 4095));
        }
    }
}
