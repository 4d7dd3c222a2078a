//! Exponentials and activations on lanes.

use crate::args::Activation;

use super::lanes::Lanes;

/// `exp(x)` within two units in the last place; 0 below -87.3, finite above 88.
///
/// `x = n·ln 2 + r` with |r| ≤ ln 2 / 2; e^r by its Taylor series to r⁷, whose rest is below 2⁻²⁷; ln 2 in two parts after
/// Cody and Waite.
#[inline(always)]
pub(super) unsafe fn exp<L: Lanes>(x: L::V) -> L::V {
    const SMALLEST: f32 = -87.3;
    const LARGEST: f32 = 88.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const SERIES: [f32; 7] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
    // SAFETY: the contract of lanes is the caller's.
    unsafe {
        let bounded = L::min(L::splat(LARGEST), L::max(L::splat(SMALLEST), x));
        let n = L::round(L::mul(bounded, L::splat(std::f32::consts::LOG2_E)));
        let r = L::fma(n, L::splat(-LN_2_HIGH), bounded);
        let r = L::fma(n, L::splat(-LN_2_LOW), r);
        let mut series = L::splat(SERIES[0]);
        for term in &SERIES[1..] {
            series = L::fma(series, r, L::splat(*term));
        }
        let value = L::mul(L::fma(series, r, L::splat(1.0)), L::power_of_two(n));
        L::if_less(x, L::splat(SMALLEST), L::splat(0.0), value)
    }
}

/// An activation of each lane.
#[inline(always)]
pub(super) unsafe fn activate<L: Lanes>(activation: Activation, x: L::V) -> L::V {
    // SAFETY: the contract of lanes is the caller's.
    unsafe {
        match activation {
            Activation::GeluTanh => gelu_tanh::<L>(x),
            Activation::GeluErf => gelu_erf::<L>(x),
            Activation::Silu => L::div(x, L::add(L::splat(1.0), exp::<L>(L::sub(L::splat(0.0), x)))),
        }
    }
}

/// `x · Φ(x)`. With `z = |x| / √2` and `t = 1 / (1 + z/2)`, `erfc(z) = t · e^(P(t) − z²)`, where `P` is the polynomial of degree 9
/// that is nearest to `ln(erfc(z) / t) + z²` at Chebyshev's points up to z = 10: erfc is right to 8.3e-8 of itself up to
/// z = 6, so that the small values of large negative x are right too.
#[inline(always)]
unsafe fn gelu_erf<L: Lanes>(x: L::V) -> L::V {
    const POLYNOMIAL: [f32; 10] = [
        0.144_930_21,
        -0.680_827_2,
        1.156_733_8,
        -0.696_251_9,
        -0.080_280_43,
        0.001_267_585_4,
        0.034_602_8,
        0.386_640_4,
        0.998_632_8,
        -1.265_448,
    ];
    // SAFETY: the contract of lanes is the caller's.
    unsafe {
        let zero = L::splat(0.0);
        let z = L::mul(L::max(x, L::sub(zero, x)), L::splat(std::f32::consts::FRAC_1_SQRT_2));
        let t = L::div(L::splat(1.0), L::fma(z, L::splat(0.5), L::splat(1.0)));
        let mut series = L::splat(POLYNOMIAL[0]);
        for term in &POLYNOMIAL[1..] {
            series = L::fma(series, t, L::splat(*term));
        }
        let exponent = L::fma(L::sub(zero, z), z, series);
        // What of x lies on the other side of zero: x · erfc(z) / 2.
        let tail = L::mul(L::mul(x, L::splat(0.5)), L::mul(t, exp::<L>(exponent)));
        L::if_less(x, zero, tail, L::sub(x, tail))
    }
}

/// GELU in its tanh form. With `u = √(2/π) · (x + 0.044715 x³)`, `(1 + tanh u) / 2 = 1 / (1 + e^(-2u))`.
#[inline(always)]
unsafe fn gelu_tanh<L: Lanes>(x: L::V) -> L::V {
    // -2 · √(2/π), written in the shortest way that gives the nearest f32.
    const MINUS_TWICE_ROOT: f32 = -1.595_769_2;
    const CUBIC: f32 = 0.044_715;
    // SAFETY: the contract of lanes is the caller's.
    unsafe {
        let square = L::mul(x, x);
        let inner = L::mul(x, L::fma(square, L::splat(CUBIC), L::splat(1.0)));
        let exponential = exp::<L>(L::mul(inner, L::splat(MINUS_TWICE_ROOT)));
        L::div(x, L::add(L::splat(1.0), exponential))
    }
}
