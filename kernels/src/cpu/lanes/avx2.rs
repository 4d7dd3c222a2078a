//! AVX2 with FMA: a vector is two registers.

use std::arch::x86_64::*;

use super::{Kernel, LANES, Lanes};
use crate::GROUP;

/// Lanes in two 256-bit registers.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

type Pair = (__m256, __m256);

/// Compiles a kernel with AVX2.
///
/// # Safety
/// The processor must have the features.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(kernel: impl Kernel) {
    kernel.run::<Avx2>();
}

// SAFETY of the blocks below: the trait's contract, which is that of the intrinsics.
#[allow(clippy::undocumented_unsafe_blocks, reason = "each is one or two intrinsics under the contract of the trait")]
impl Lanes for Avx2 {
    type V = Pair;

    const TILE: usize = 6;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Pair {
        unsafe { (_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Pair {
        unsafe { (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Pair {
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(8).cast()));
            (_mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)), _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)))
        }
    }

    #[inline(always)]
    unsafe fn turn_bf16(from: *const u8, stride: usize, to: *mut f32, to_stride: usize) {
        const HALF: usize = LANES / 2;
        for half in 0..2 {
            for part in 0..GROUP / LANES {
                unsafe {
                    let first = from.add(half * HALF * stride + part * size_of::<__m256i>());
                    // Loops, since closures are not always compiled into the kernel that has the instructions.
                    let mut rows = [_mm256_setzero_si256(); HALF];
                    for (row, to) in rows.iter_mut().enumerate() {
                        *to = _mm256_loadu_si256(first.add(row * stride).cast());
                    }
                    let to = to.add(part * LANES * to_stride + half * HALF);
                    let pairs = transpose(rows);
                    for (pair, both) in pairs.iter().enumerate() {
                        let even = _mm256_slli_epi32::<16>(*both);
                        let odd = _mm256_and_si256(*both, _mm256_set1_epi32(-0x1_0000));
                        _mm256_storeu_ps(to.add(2 * pair * to_stride), _mm256_castsi256_ps(even));
                        _mm256_storeu_ps(to.add((2 * pair + 1) * to_stride), _mm256_castsi256_ps(odd));
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Pair {
        unsafe {
            let (low, high) = widen(from);
            (_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
        }
    }

    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> (Pair, Pair) {
        unsafe {
            let (a, b) = widen(from);
            let lower = |x| _mm256_cvtepi32_ps(_mm256_and_si256(x, _mm256_set1_epi32(15)));
            let upper = |x| _mm256_cvtepi32_ps(_mm256_srli_epi32::<4>(x));
            ((lower(a), lower(b)), (upper(a), upper(b)))
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Pair) {
        unsafe {
            _mm256_storeu_ps(to, x.0);
            _mm256_storeu_ps(to.add(8), x.1);
        }
    }

    #[inline(always)]
    unsafe fn add(a: Pair, b: Pair) -> Pair {
        unsafe { (_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn sub(a: Pair, b: Pair) -> Pair {
        unsafe { (_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn mul(a: Pair, b: Pair) -> Pair {
        unsafe { (_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn div(a: Pair, b: Pair) -> Pair {
        unsafe { (_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn fma(a: Pair, b: Pair, c: Pair) -> Pair {
        unsafe { (_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
    }

    #[inline(always)]
    unsafe fn max(a: Pair, b: Pair) -> Pair {
        unsafe { (_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn min(a: Pair, b: Pair) -> Pair {
        unsafe { (_mm256_min_ps(a.0, b.0), _mm256_min_ps(a.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn if_less(a: Pair, b: Pair, yes: Pair, no: Pair) -> Pair {
        unsafe {
            (
                _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0)),
                _mm256_blendv_ps(no.1, yes.1, _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1)),
            )
        }
    }

    #[inline(always)]
    unsafe fn round_bf16(x: Pair) -> Pair {
        unsafe { (round_bf16(x.0), round_bf16(x.1)) }
    }

    #[inline(always)]
    unsafe fn round(x: Pair) -> Pair {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        unsafe { (_mm256_round_ps::<NEAREST>(x.0), _mm256_round_ps::<NEAREST>(x.1)) }
    }

    #[inline(always)]
    unsafe fn power_of_two(x: Pair) -> Pair {
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let low = _mm256_add_epi32(_mm256_cvtps_epi32(x.0), bias);
            let high = _mm256_add_epi32(_mm256_cvtps_epi32(x.1), bias);
            (_mm256_castsi256_ps(_mm256_slli_epi32::<23>(low)), _mm256_castsi256_ps(_mm256_slli_epi32::<23>(high)))
        }
    }
}

/// Sixteen bytes as whole numbers of 32 bits.
///
/// # Safety
/// The processor must have AVX2, and the bytes must be there.
#[inline(always)]
unsafe fn widen(from: *const u8) -> (__m256i, __m256i) {
    // SAFETY: the caller's contract.
    unsafe {
        let bytes = _mm_loadu_si128(from.cast());
        (_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes)))
    }
}

/// Swaps rows and columns of 8 × 8 numbers of 32 bits.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn transpose(r: [__m256i; 8]) -> [__m256i; 8] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut t = r;
        for i in (0..8).step_by(2) {
            t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
            t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
        }
        let mut u = t;
        for i in (0..8).step_by(4) {
            u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
            u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
            u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
            u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
        }
        // Now u[4·i + j] has columns j and 4 + j of rows 4·i .. 4·i + 4.
        let mut out = r;
        for j in 0..4 {
            out[j] = _mm256_permute2x128_si256::<0x20>(u[j], u[4 + j]);
            out[4 + j] = _mm256_permute2x128_si256::<0x31>(u[j], u[4 + j]);
        }
        out
    }
}

/// Half of [`Lanes::round_bf16`].
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn round_bf16(x: __m256) -> __m256 {
    // SAFETY: the caller's contract.
    unsafe {
        let bits = _mm256_castps_si256(x);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let rounded = _mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(0xffff_0000_u32 as i32)));
        let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), x);
        let normal = _mm256_cmp_ps::<_CMP_GE_OQ>(magnitude, _mm256_set1_ps(f32::MIN_POSITIVE));
        let number = _mm256_cmp_ps::<_CMP_ORD_Q>(x, x);
        _mm256_blendv_ps(x, _mm256_and_ps(normal, rounded), number)
    }
}
