//! NEON: a vector is four registers.

use std::arch::aarch64::*;

use super::{Kernel, LANES, Lanes};
use crate::GROUP;

/// Lanes in four 128-bit registers.
#[derive(Clone, Copy)]
pub(super) struct Neon;

type Quarters = [float32x4_t; 4];

/// Compiles a kernel with NEON.
///
/// # Safety
/// The processor must have the feature.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run(kernel: impl Kernel) {
    kernel.run::<Neon>();
}

#[inline(always)]
fn each(function: impl Fn(usize) -> float32x4_t) -> Quarters {
    [function(0), function(1), function(2), function(3)]
}

// SAFETY of the blocks below: the trait's contract, which is that of the intrinsics.
#[allow(clippy::undocumented_unsafe_blocks, reason = "each is one or two intrinsics under the contract of the trait")]
impl Lanes for Neon {
    type V = Quarters;

    // Six sums are 24 of the 32 registers; a vector and a number that is multiplied with it are five more.
    const TILE: usize = 6;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Quarters {
        unsafe { [vdupq_n_f32(x); 4] }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Quarters {
        each(|quarter| unsafe { vld1q_f32(from.add(4 * quarter)) })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Quarters {
        each(|quarter| unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.add(4 * quarter)))) })
    }

    #[inline(always)]
    unsafe fn turn_bf16(from: *const u8, stride: usize, to: *mut f32, to_stride: usize) {
        const QUARTER: usize = LANES / 4;
        for quarter in 0..4 {
            for part in 0..GROUP / 8 {
                unsafe {
                    let first = from.add(quarter * QUARTER * stride + part * size_of::<uint8x16_t>());
                    let mut rows = [vdupq_n_u32(0); QUARTER];
                    for (row, to) in rows.iter_mut().enumerate() {
                        *to = vreinterpretq_u32_u8(vld1q_u8(first.add(row * stride)));
                    }
                    let to = to.add(part * 8 * to_stride + quarter * QUARTER);
                    let pairs = transpose(rows);
                    for (pair, both) in pairs.iter().enumerate() {
                        let even = vreinterpretq_f32_u32(vshlq_n_u32::<16>(*both));
                        let odd = vreinterpretq_f32_u32(vandq_u32(*both, vdupq_n_u32(0xffff_0000)));
                        vst1q_f32(to.add(2 * pair * to_stride), even);
                        vst1q_f32(to.add((2 * pair + 1) * to_stride), odd);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Quarters {
        unsafe { widen(vld1q_u8(from)) }
    }

    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> (Quarters, Quarters) {
        unsafe {
            let bytes = vld1q_u8(from);
            (widen(vandq_u8(bytes, vdupq_n_u8(15))), widen(vshrq_n_u8::<4>(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Quarters) {
        for (quarter, values) in x.into_iter().enumerate() {
            unsafe { vst1q_f32(to.add(4 * quarter), values) };
        }
    }

    #[inline(always)]
    unsafe fn add(a: Quarters, b: Quarters) -> Quarters {
        each(|quarter| unsafe { vaddq_f32(a[quarter], b[quarter]) })
    }

    #[inline(always)]
    unsafe fn sub(a: Quarters, b: Quarters) -> Quarters {
        each(|quarter| unsafe { vsubq_f32(a[quarter], b[quarter]) })
    }

    #[inline(always)]
    unsafe fn mul(a: Quarters, b: Quarters) -> Quarters {
        each(|quarter| unsafe { vmulq_f32(a[quarter], b[quarter]) })
    }

    #[inline(always)]
    unsafe fn div(a: Quarters, b: Quarters) -> Quarters {
        each(|quarter| unsafe { vdivq_f32(a[quarter], b[quarter]) })
    }

    #[inline(always)]
    unsafe fn fma(a: Quarters, b: Quarters, c: Quarters) -> Quarters {
        each(|quarter| unsafe { vfmaq_f32(c[quarter], a[quarter], b[quarter]) })
    }

    // `vmaxq_f32` is another operation: it has NaN where either is one.
    #[inline(always)]
    unsafe fn max(a: Quarters, b: Quarters) -> Quarters {
        each(|quarter| unsafe { vbslq_f32(vcgtq_f32(a[quarter], b[quarter]), a[quarter], b[quarter]) })
    }

    #[inline(always)]
    unsafe fn min(a: Quarters, b: Quarters) -> Quarters {
        each(|quarter| unsafe { vbslq_f32(vcltq_f32(a[quarter], b[quarter]), a[quarter], b[quarter]) })
    }

    #[inline(always)]
    unsafe fn if_less(a: Quarters, b: Quarters, yes: Quarters, no: Quarters) -> Quarters {
        each(|quarter| unsafe { vbslq_f32(vcltq_f32(a[quarter], b[quarter]), yes[quarter], no[quarter]) })
    }

    #[inline(always)]
    unsafe fn round_bf16(x: Quarters) -> Quarters {
        each(|quarter| unsafe { round_bf16(x[quarter]) })
    }

    #[inline(always)]
    unsafe fn round(x: Quarters) -> Quarters {
        each(|quarter| unsafe { vrndnq_f32(x[quarter]) })
    }

    #[inline(always)]
    unsafe fn power_of_two(x: Quarters) -> Quarters {
        each(|quarter| unsafe {
            let exponent = vaddq_s32(vcvtnq_s32_f32(x[quarter]), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
        })
    }
}

/// Sixteen bytes as numbers.
///
/// # Safety
/// The processor must have NEON.
#[inline(always)]
unsafe fn widen(bytes: uint8x16_t) -> Quarters {
    // SAFETY: the caller's contract.
    unsafe {
        let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes)));
        let words = [vget_low_u16(low), vget_high_u16(low), vget_low_u16(high), vget_high_u16(high)];
        each(|quarter| vcvtq_f32_u32(vmovl_u16(words[quarter])))
    }
}

/// Swaps rows and columns of 4 × 4 numbers of 32 bits.
///
/// # Safety
/// The processor must have NEON.
#[inline(always)]
unsafe fn transpose([a, b, c, d]: [uint32x4_t; 4]) -> [uint32x4_t; 4] {
    // SAFETY: the caller's contract.
    unsafe {
        let (even, even_after) = (vtrn1q_u32(a, b), vtrn1q_u32(c, d));
        let (odd, odd_after) = (vtrn2q_u32(a, b), vtrn2q_u32(c, d));
        let (even, even_after) = (vreinterpretq_u64_u32(even), vreinterpretq_u64_u32(even_after));
        let (odd, odd_after) = (vreinterpretq_u64_u32(odd), vreinterpretq_u64_u32(odd_after));
        [
            vreinterpretq_u32_u64(vtrn1q_u64(even, even_after)),
            vreinterpretq_u32_u64(vtrn1q_u64(odd, odd_after)),
            vreinterpretq_u32_u64(vtrn2q_u64(even, even_after)),
            vreinterpretq_u32_u64(vtrn2q_u64(odd, odd_after)),
        ]
    }
}

/// A quarter of [`Lanes::round_bf16`].
///
/// # Safety
/// The processor must have NEON.
#[inline(always)]
unsafe fn round_bf16(x: float32x4_t) -> float32x4_t {
    // SAFETY: the caller's contract.
    unsafe {
        let bits = vreinterpretq_u32_f32(x);
        let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        let rounded = vandq_u32(up, vdupq_n_u32(0xffff_0000));
        let normal = vcgeq_f32(vabsq_f32(x), vdupq_n_f32(f32::MIN_POSITIVE));
        let number = vceqq_f32(x, x);
        vbslq_f32(number, vreinterpretq_f32_u32(vandq_u32(normal, rounded)), x)
    }
}
