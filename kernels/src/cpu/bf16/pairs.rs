//! Sums of pairs: `vdpbf16ps` adds the products of two pairs of numbers to a sum, in each of sixteen lanes (AVX-512 BF16: Zen 4,
//! Cooper Lake and later).
//!
//! It adds the product at the odd place of a pair and then that at the even one, each by a fused multiply-add, and takes
//! subnormal numbers for zero (Intel SDM, volume 2, VDPBF16PS). So a sum that goes over terms in one lane is one chain of
//! fused multiply-adds over `1, 0, 3, 2, 5, 4 ...`, which a check at the first use confirms on this processor.

use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::pack::Tile;
use super::{Four, Multiply, SIDE, check, dots};

/// Outputs whose sums with 32 rows are in registers.
const OUTPUTS: usize = 8;

/// Whether this processor has the instruction, and it computes what is expected of it.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && check::tiles::<Pairs>(sum) && dots::is_as_expected())
}

fn has_instructions() -> bool {
    // All processors that have the one have the other, which multiplies whole numbers.
    is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni")
}

/// The sum that a lane makes of its terms.
pub(super) fn sum(left: &[f32], right: &[f32]) -> f32 {
    let pairs = left.chunks_exact(2).zip(right.chunks_exact(2));
    pairs.fold(0.0, |sum, (a, b)| a[0].mul_add(b[0], a[1].mul_add(b[1], sum)))
}

/// Adds the products of sixteen pairs to sixteen sums.
///
/// # Safety
/// The caller is compiled for AVX-512 with BF16.
#[inline(always)]
pub(super) unsafe fn add(sums: __m512, a: __m512i, b: __m512i) -> __m512 {
    // SAFETY: the caller's contract; types of 512 bits, of which any are valid.
    unsafe {
        _mm512_dpbf16_ps(sums, std::mem::transmute::<__m512i, __m512bh>(a), std::mem::transmute::<__m512i, __m512bh>(b))
    }
}

/// Products as tiles make them: rows are in lanes, and a pair of a weight goes to all of them.
pub(super) struct Pairs;

impl Pairs {
    /// Adds products of some of the outputs of a strip with `G` groups of rows to sums, or begins them.
    ///
    /// # Safety
    /// As [`Multiply::two_by_two`].
    #[inline(always)]
    unsafe fn some<const O: usize, const G: usize>(
        left: *const u8,
        stride: usize,
        right: [*const Tile; G],
        steps: usize,
        to: [*mut f32; G],
        begin: bool,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); G]; O];
            if !begin {
                for (output, sums) in sums.iter_mut().enumerate() {
                    for (sums, to) in sums.iter_mut().zip(to) {
                        *sums = _mm512_loadu_ps(to.add(output * SIDE));
                    }
                }
            }
            for pair in 0..steps * SIDE {
                // A tile has sixteen pairs of all rows, one after another, and so have the tiles after it.
                let rows: [__m512i; G] =
                    std::array::from_fn(|group| _mm512_loadu_si512(right[group].cast::<i32>().add(pair * SIDE).cast()));
                for (output, sums) in sums.iter_mut().enumerate() {
                    let weights = left.add(output * stride).cast::<i32>().add(pair).read_unaligned();
                    for (sums, rows) in sums.iter_mut().zip(rows) {
                        *sums = add(*sums, _mm512_set1_epi32(weights), rows);
                    }
                }
            }
            for (output, sums) in sums.iter().enumerate() {
                for (sums, to) in sums.iter().zip(to) {
                    _mm512_storeu_ps(to.add(output * SIDE), *sums);
                }
            }
        }
    }
}

impl Multiply for Pairs {
    unsafe fn new() -> Self {
        Self
    }

    #[inline(always)]
    unsafe fn two_by_two(
        &self,
        left: [*const u8; 2],
        stride: usize,
        right: [*const Tile; 2],
        steps: usize,
        sums: &mut Four,
        begin: bool,
    ) {
        let (first, second) = sums.0.split_at_mut(2);
        for (left, sums) in left.into_iter().zip([first, second]) {
            let (a, b) = sums.split_at_mut(1);
            for output in (0..SIDE).step_by(OUTPUTS) {
                let to = [&mut a[0], &mut b[0]].map(|sums| sums[output * SIDE..].as_mut_ptr());
                // SAFETY: the caller's contract.
                unsafe { Self::some::<OUTPUTS, 2>(left.add(output * stride), stride, right, steps, to, begin) };
            }
        }
    }

    #[inline(always)]
    unsafe fn two_by_one(
        &self,
        left: [*const u8; 2],
        stride: usize,
        right: *const Tile,
        steps: usize,
        sums: &mut Four,
        begin: bool,
    ) {
        for (strip, left) in left.into_iter().enumerate() {
            let to = sums.0[2 * strip].as_mut_ptr();
            // SAFETY: the caller's contract.
            unsafe { Self::some::<SIDE, 1>(left, stride, [right], steps, [to], begin) };
        }
    }
}
