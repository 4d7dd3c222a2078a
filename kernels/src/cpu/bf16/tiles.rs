//! Tiles: products of 16 × 32 by 32 × 16 numbers in one instruction (Intel AMX, Sapphire Rapids and later).
//!
//! `tdpbf16ps` sums a group of 32 terms as [`crate::Arithmetic::Bf16`] says (Intel SDM, volume 2, TDPBF16PS), which a
//! check at the first use confirms on this processor.

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::pack::Tile;
use super::{Four, Multiply, SIDE, TERMS, check};

/// Whether this processor has tiles, the system lends them, and they compute what is expected of them.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| is_detected() && is_permitted() && check::tiles::<Tiles>(sum))
}

/// The processor has tiles of bf16, and the system saves them with a thread.
fn is_detected() -> bool {
    const TILE_STATE: u64 = 0b11 << 17;
    let others = is_x86_feature_detected!("xsave") && is_x86_feature_detected!("avx512bf16");
    let leaf = __cpuid_count(7, 0).edx;
    let (bf16, tile) = (leaf >> 22 & 1, leaf >> 24 & 1);
    // SAFETY: the instruction is there where XSAVE is.
    others && bf16 == 1 && tile == 1 && unsafe { _xgetbv(0) } & TILE_STATE == TILE_STATE
}

/// Asks Linux for the larger state of threads, once for the process (Documentation/arch/x86/xstate.rst).
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// The sum that a tile makes of terms: group after group, those at even places and those at odd ones apart.
fn sum(left: &[f32], right: &[f32]) -> f32 {
    left.chunks_exact(TERMS).zip(right.chunks_exact(TERMS)).fold(0.0f32, |sum, (a, b)| {
        let half = |first: usize| (first..TERMS).step_by(2).fold(0.0f32, |sum, k| a[k].mul_add(b[k], sum));
        sum + (half(0) + half(1))
    })
}
/// What `ldtilecfg` reads: all tiles have 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_row: [u16; 16],
    rows: [u8; 16],
}

/// Tiles of this thread, until it is dropped.
pub(super) struct Tiles(PhantomData<*const ()>);

impl Multiply for Tiles {
    unsafe fn new() -> Self {
        let mut configuration =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], bytes_of_row: [0; 16], rows: [0; 16] };
        configuration.bytes_of_row[..8].fill(64);
        configuration.rows[..8].fill(SIDE as u8);
        // SAFETY: 64 bytes in the documented form are read.
        unsafe { asm!("ldtilecfg [{0}]", in(reg) &configuration, options(nostack, readonly)) };
        Self(PhantomData)
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
        let sums = sums.0.as_mut_ptr();
        // SAFETY: the caller's contract; the sums take four tiles.
        unsafe {
            if begin {
                asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            } else {
                asm!(
                    "tileloadd tmm0, [{sums} + {tight}*1]",
                    "tileloadd tmm1, [{sums} + {tight}*1 + 1024]",
                    "tileloadd tmm2, [{sums} + {tight}*1 + 2048]",
                    "tileloadd tmm3, [{sums} + {tight}*1 + 3072]",
                    tight = in(reg) 64usize,
                    sums = in(reg) sums,
                    options(nostack, readonly),
                );
            }
            asm!(
                "2:",
                "tileloadd tmm4, [{left0} + {stride}*1]",
                "tileloadd tmm6, [{right0} + {tight}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right1} + {tight}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{left1} + {stride}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {left0}, 64",
                "add {left1}, 64",
                "add {right0}, 1024",
                "add {right1}, 1024",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {tight}*1], tmm0",
                "tilestored [{sums} + {tight}*1 + 1024], tmm1",
                "tilestored [{sums} + {tight}*1 + 2048], tmm2",
                "tilestored [{sums} + {tight}*1 + 3072], tmm3",
                left0 = inout(reg) left[0] => _,
                left1 = inout(reg) left[1] => _,
                right0 = inout(reg) right[0] => _,
                right1 = inout(reg) right[1] => _,
                steps = inout(reg) steps => _,
                stride = in(reg) stride,
                tight = in(reg) 64usize,
                sums = in(reg) sums,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
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
        if begin {
            self.begin_column();
        } else {
            self.resume_column(sums);
        }
        // SAFETY: the caller's contract.
        unsafe { self.add_column(left, stride, right, steps) };
        self.store_column(sums);
    }
}

impl Tiles {
    /// Sums `[32 outputs, 16 rows]` from zero, in two tiles that stay until they are stored.
    #[inline(always)]
    pub(super) fn begin_column(&self) {
        // SAFETY: tiles are there, since this was made. No other code of this process uses their registers, so that they keep
        // what they hold from one of these calls to the next.
        unsafe { asm!("tilezero tmm0", "tilezero tmm1", out("tmm0") _, out("tmm1") _, options(nostack, nomem)) };
    }

    /// Takes sums up again that were stored.
    #[inline(always)]
    fn resume_column(&self, sums: &Four) {
        // SAFETY: two tiles are read.
        unsafe {
            asm!(
                "tileloadd tmm0, [{sums} + {tight}*1]",
                "tileloadd tmm1, [{sums} + {tight}*1 + 2048]",
                tight = in(reg) 64usize,
                sums = in(reg) sums.0.as_ptr(),
                out("tmm0") _, out("tmm1") _,
                options(nostack, readonly),
            );
        }
    }

    /// Adds `[32 outputs, 16 rows]` products over `steps` groups to the sums that were begun.
    ///
    /// # Safety
    /// As [`Tiles::two_by_two`].
    #[inline(always)]
    pub(super) unsafe fn add_column(&self, left: [*const u8; 2], stride: usize, right: *const Tile, steps: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            asm!(
                "2:",
                "tileloadd tmm6, [{right} + {tight}*1]",
                "tileloadd tmm4, [{left0} + {stride}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{left1} + {stride}*1]",
                "tdpbf16ps tmm1, tmm5, tmm6",
                "add {left0}, 64",
                "add {left1}, 64",
                "add {right}, 1024",
                "dec {steps}",
                "jnz 2b",
                left0 = inout(reg) left[0] => _,
                left1 = inout(reg) left[1] => _,
                right = inout(reg) right => _,
                steps = inout(reg) steps => _,
                stride = in(reg) stride,
                tight = in(reg) 64usize,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm5") _, out("tmm6") _,
                options(nostack, readonly),
            );
        }
    }

    /// Stores the sums as the first and the third of four tiles.
    #[inline(always)]
    pub(super) fn store_column(&self, sums: &mut Four) {
        // SAFETY: two tiles are written.
        unsafe {
            asm!(
                "tilestored [{sums} + {tight}*1], tmm0",
                "tilestored [{sums} + {tight}*1 + 2048], tmm1",
                tight = in(reg) 64usize,
                sums = in(reg) sums.0.as_mut_ptr(),
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: tiles are there, since this was made.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
