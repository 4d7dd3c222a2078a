//! Sixteen f32 at a time, on every processor.
//!
//! Whatever the instruction set, a vector has sixteen lanes, a fused multiply-add rounds once, and a sum over lanes runs in
//! one order. So AVX-512, AVX2, NEON and plain loops give the same bits; so do tiles, whose order
//! [`crate::Arithmetic::Bf16`] has, but not the sums of pairs of AVX-512 BF16.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use avx512::{Avx512, transpose};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::bf16::Unit;

use std::mem::MaybeUninit;

use crate::GROUP;

/// Lanes of a vector.
pub(super) const LANES: usize = 16;

/// The instruction sets that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// Those of AVX-512, and tiles of bf16 numbers (AMX), on Linux.
    Amx,
    /// Those of AVX-512, and sums of pairs of bf16 numbers (AVX-512 BF16), on Linux.
    Avx512Bf16,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// NEON, on 64-bit Arm.
    Neon,
    /// What the compiler makes of plain loops.
    Portable,
}

impl InstructionSet {
    /// All that this processor can run, best first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let wide = [
                is_x86_feature_detected!("avx512f"),
                is_x86_feature_detected!("avx512bw"),
                is_x86_feature_detected!("avx512dq"),
                is_x86_feature_detected!("avx512vl"),
            ];
            let narrow = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if narrow && wide.iter().all(|feature| *feature) {
                #[cfg(target_os = "linux")]
                sets.extend(
                    [Self::Amx, Self::Avx512Bf16].into_iter().filter(|set| set.unit().is_some_and(Unit::is_available)),
                );
                sets.push(Self::Avx512);
            }
            if narrow {
                sets.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            sets.push(Self::Neon);
        }
        sets.push(Self::Portable);
        sets
    }

    /// Whether sums of [`crate::Arithmetic::Bf16`] have an order of their own with it, and so other bits than with the rest.
    pub fn has_own_order(self) -> bool {
        self == Self::Avx512Bf16
    }

    /// What multiplies bf16 numbers.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) fn unit(self) -> Option<Unit> {
        match self {
            Self::Amx => Some(Unit::Tiles),
            Self::Avx512Bf16 => Some(Unit::Pairs),
            Self::Avx512 | Self::Avx2 | Self::Neon | Self::Portable => None,
        }
    }

    /// Whether rounded weights and caches are kept as bf16 that are multiplied as they are.
    pub(super) fn multiplies_bf16(self) -> bool {
        matches!(self, Self::Amx | Self::Avx512Bf16)
    }

    /// For logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }
}

/// A computation written once for all lanes. `run` and all that it calls must be `#[inline(always)]`, so that it is
/// compiled inside a function that has the instructions enabled.
pub(super) trait Kernel {
    fn run<L: Lanes>(self);
}

/// Runs a kernel with an instruction set that this processor has: the set comes from [`InstructionSet::available`].
pub(super) fn dispatch(set: InstructionSet, kernel: impl Kernel) {
    match set {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the set was detected on this processor.
        InstructionSet::Amx | InstructionSet::Avx512Bf16 | InstructionSet::Avx512 => unsafe { avx512::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the set was detected on this processor.
        InstructionSet::Avx2 => unsafe { avx2::run(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        InstructionSet::Amx | InstructionSet::Avx512Bf16 | InstructionSet::Avx512 | InstructionSet::Avx2 => {
            unreachable!("not detected on this processor")
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the set was detected on this processor.
        InstructionSet::Neon => unsafe { neon::run(kernel) },
        #[cfg(not(target_arch = "aarch64"))]
        InstructionSet::Neon => unreachable!("not detected on this processor"),
        InstructionSet::Portable => kernel.run::<portable::Portable>(),
    }
}

/// Vectors of sixteen f32.
///
/// # Safety
/// Every function may be called only where the processor has the instructions, which being inside [`dispatch`] ensures.
/// Pointers must be good for sixteen values; no alignment is asked for.
pub(super) trait Lanes: Copy + 'static {
    /// A vector.
    type V: Copy;

    /// Sums that the registers hold beside what they are made of.
    const TILE: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn load_bf16(from: *const u16) -> Self::V;
    /// Turns sixteen rows of 32 bf16, so many bytes apart and of any alignment: the numbers at place `t` of all rows go to
    /// `to + t · to_stride`.
    unsafe fn turn_bf16(from: *const u8, stride: usize, to: *mut f32, to_stride: usize);
    /// Sixteen rows of 32 bf16 as of [`Lanes::turn_bf16`], times 32 numbers of each `x`, in the order of terms: fused
    /// multiply-adds onto a sum of each.
    #[inline(always)]
    unsafe fn add_products_bf16<const R: usize>(
        from: *const u8,
        stride: usize,
        x: [*const f32; R],
        sums: &mut [Self::V; R],
    ) {
        let mut columns = MaybeUninit::<[f32; GROUP * LANES]>::uninit();
        let columns = columns.as_mut_ptr().cast::<f32>();
        // SAFETY: the caller's contract; all columns are written before they are read.
        unsafe {
            Self::turn_bf16(from, stride, columns, LANES);
            for term in 0..GROUP {
                let column = Self::load(columns.add(term * LANES));
                for (x, sum) in x.iter().zip(&mut *sums) {
                    *sum = Self::fma(Self::splat(*x.add(term)), column, *sum);
                }
            }
        }
    }
    /// Sixteen whole numbers from 0 to 255.
    unsafe fn load_bytes(from: *const u8) -> Self::V;
    /// The lower halves of sixteen bytes, from 0 to 15, and the upper ones.
    unsafe fn load_halves(from: *const u8) -> (Self::V, Self::V);
    unsafe fn store(to: *mut f32, x: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a > b ? a : b` in each lane: NaN in `b` stays.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a < b ? a : b` in each lane: NaN in `b` stays.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// `a < b ? yes : no` in each lane.
    unsafe fn if_less(a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// The nearest bf16, ties to even, as an f32; zero for what is subnormal. NaN stays.
    unsafe fn round_bf16(x: Self::V) -> Self::V;
    /// The nearest whole number, ties to even.
    unsafe fn round(x: Self::V) -> Self::V;
    /// 2 to the power of a whole number from -126 to 127.
    unsafe fn power_of_two(x: Self::V) -> Self::V;
}

/// The sum over lanes, in a fixed order.
#[inline(always)]
pub(super) unsafe fn sum<L: Lanes>(x: L::V) -> f32 {
    let mut lanes = [0.0f32; LANES];
    // SAFETY: the array has sixteen values.
    unsafe { L::store(lanes.as_mut_ptr(), x) };
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest lane.
#[inline(always)]
pub(super) unsafe fn largest<L: Lanes>(x: L::V) -> f32 {
    let mut lanes = [0.0f32; LANES];
    // SAFETY: the array has sixteen values.
    unsafe { L::store(lanes.as_mut_ptr(), x) };
    lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
}

/// The last values of a row that is no multiple of sixteen long, and `fill` in the other lanes.
#[inline(always)]
pub(super) unsafe fn load_part<L: Lanes>(from: *const f32, count: usize, fill: f32) -> L::V {
    let mut lanes = [fill; LANES];
    // SAFETY: the caller has `count` values, fewer than sixteen.
    unsafe {
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
        L::load(lanes.as_ptr())
    }
}

/// Stores the first lanes only.
#[inline(always)]
pub(super) unsafe fn store_part<L: Lanes>(to: *mut f32, count: usize, x: L::V) {
    let mut lanes = [0.0f32; LANES];
    // SAFETY: the caller has room for `count` values, fewer than sixteen.
    unsafe {
        L::store(lanes.as_mut_ptr(), x);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
    }
}
