//! AVX-512.

use std::arch::x86_64::*;

use super::{Kernel, LANES, Lanes};

/// Lanes in one 512-bit register.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx512;

/// Compiles a kernel with AVX-512.
///
/// # Safety
/// The processor must have the features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn run(kernel: impl Kernel) {
    kernel.run::<Avx512>();
}

// SAFETY of the blocks below: the trait's contract, which is that of the intrinsics.
#[allow(clippy::undocumented_unsafe_blocks, reason = "each is one intrinsic under the contract of the trait")]
impl Lanes for Avx512 {
    type V = __m512;

    const TILE: usize = 24;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn turn_bf16(from: *const u8, stride: usize, to: *mut f32, to_stride: usize) {
        unsafe {
            let pairs = pairs(from, stride);
            for (pair, both) in pairs.iter().enumerate() {
                let (even, odd) = halves(*both);
                _mm512_storeu_ps(to.add(2 * pair * to_stride), even);
                _mm512_storeu_ps(to.add((2 * pair + 1) * to_stride), odd);
            }
        }
    }

    #[inline(always)]
    unsafe fn add_products_bf16<const R: usize>(
        from: *const u8,
        stride: usize,
        x: [*const f32; R],
        sums: &mut [__m512; R],
    ) {
        unsafe {
            let pairs = pairs(from, stride);
            for (pair, both) in pairs.iter().enumerate() {
                let (even, odd) = halves(*both);
                for (x, sum) in x.iter().zip(&mut *sums) {
                    *sum = _mm512_fmadd_ps(_mm512_set1_ps(*x.add(2 * pair)), even, *sum);
                }
                for (x, sum) in x.iter().zip(&mut *sums) {
                    *sum = _mm512_fmadd_ps(_mm512_set1_ps(*x.add(2 * pair + 1)), odd, *sum);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> (__m512, __m512) {
        unsafe {
            let wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
            let low = _mm512_and_si512(wide, _mm512_set1_epi32(15));
            (_mm512_cvtepi32_ps(low), _mm512_cvtepi32_ps(_mm512_srli_epi32::<4>(wide)))
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, x: __m512) {
        unsafe { _mm512_storeu_ps(to, x) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn if_less(a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes) }
    }

    #[inline(always)]
    unsafe fn round_bf16(x: __m512) -> __m512 {
        unsafe {
            let bits = _mm512_castps_si512(x);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let rounded = _mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(0xffff_0000_u32 as i32)));
            let normal = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(_mm512_abs_ps(x), _mm512_set1_ps(f32::MIN_POSITIVE));
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(x, x);
            _mm512_mask_blend_ps(number, x, _mm512_maskz_mov_ps(normal, rounded))
        }
    }

    #[inline(always)]
    unsafe fn round(x: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x) }
    }

    #[inline(always)]
    unsafe fn power_of_two(x: __m512) -> __m512 {
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }
}

/// Pairs of bf16 of sixteen rows of 32, so many bytes apart: pair `p` of all rows in vector `p`.
///
/// # Safety
/// The processor must have AVX-512, and the rows must be there.
#[inline(always)]
unsafe fn pairs(from: *const u8, stride: usize) -> [__m512i; LANES] {
    // SAFETY: the caller's contract.
    unsafe {
        // A loop, since closures are not always compiled into the kernel that has the instructions.
        let mut rows = [_mm512_setzero_si512(); LANES];
        for (row, to) in rows.iter_mut().enumerate() {
            *to = _mm512_loadu_si512(from.add(row * stride).cast());
        }
        transpose(rows)
    }
}

/// The lower and the upper bf16 of sixteen pairs.
///
/// # Safety
/// The processor must have AVX-512.
#[inline(always)]
unsafe fn halves(pairs: __m512i) -> (__m512, __m512) {
    // SAFETY: the caller's contract.
    unsafe {
        let (even, odd) = (_mm512_slli_epi32::<16>(pairs), _mm512_and_si512(pairs, _mm512_set1_epi32(-0x1_0000)));
        (_mm512_castsi512_ps(even), _mm512_castsi512_ps(odd))
    }
}

/// Swaps rows and columns of 16 × 16 numbers of 32 bits.
#[target_feature(enable = "avx512f")]
#[inline]
pub(in super::super) fn transpose(r: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut t = r;
    for i in (0..LANES).step_by(2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    let mut u = t;
    for i in (0..LANES).step_by(4) {
        u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // Now u[4·i + j] has columns j, 4 + j, 8 + j and 12 + j of rows 4·i .. 4·i + 4.
    let mut out = r;
    for j in 0..4 {
        let a = _mm512_shuffle_i32x4::<0x88>(u[j], u[4 + j]);
        let b = _mm512_shuffle_i32x4::<0xdd>(u[j], u[4 + j]);
        let c = _mm512_shuffle_i32x4::<0x88>(u[8 + j], u[12 + j]);
        let d = _mm512_shuffle_i32x4::<0xdd>(u[8 + j], u[12 + j]);
        out[j] = _mm512_shuffle_i32x4::<0x88>(a, c);
        out[8 + j] = _mm512_shuffle_i32x4::<0xdd>(a, c);
        out[4 + j] = _mm512_shuffle_i32x4::<0x88>(b, d);
        out[12 + j] = _mm512_shuffle_i32x4::<0xdd>(b, d);
    }
    out
}
