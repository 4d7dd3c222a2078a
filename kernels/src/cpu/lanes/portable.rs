//! Plain loops, which compilers turn into NEON and the like.

use half::bf16;

use super::{LANES, Lanes};
use crate::{Arithmetic, GROUP};

/// Lanes without intrinsics.
#[derive(Clone, Copy)]
pub(super) struct Portable;

type Values = [f32; LANES];

#[inline(always)]
fn each(function: impl Fn(usize) -> f32) -> Values {
    let mut values = [0.0; LANES];
    for (lane, value) in values.iter_mut().enumerate() {
        *value = function(lane);
    }
    values
}

impl Lanes for Portable {
    type V = Values;

    const TILE: usize = 6;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Values {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Values {
        // SAFETY: the caller has sixteen values.
        unsafe { from.cast::<Values>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Values {
        // SAFETY: the caller has sixteen values.
        let bits = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        each(|lane| bf16::from_bits(bits[lane]).to_f32())
    }

    #[inline(always)]
    unsafe fn turn_bf16(from: *const u8, stride: usize, to: *mut f32, to_stride: usize) {
        for row in 0..LANES {
            // SAFETY: the caller has sixteen rows of 32 numbers, and room for 32 of sixteen.
            unsafe {
                let numbers = from.add(row * stride).cast::<[[u8; 2]; GROUP]>().read();
                for (place, bytes) in numbers.into_iter().enumerate() {
                    *to.add(place * to_stride + row) = bf16::from_le_bytes(bytes).to_f32();
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Values {
        // SAFETY: the caller has sixteen bytes.
        let bytes = unsafe { from.cast::<[u8; LANES]>().read() };
        each(|lane| f32::from(bytes[lane]))
    }

    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> (Values, Values) {
        // SAFETY: the caller has sixteen bytes.
        let bytes = unsafe { from.cast::<[u8; LANES]>().read() };
        (each(|lane| f32::from(bytes[lane] & 15)), each(|lane| f32::from(bytes[lane] >> 4)))
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Values) {
        // SAFETY: the caller has room for sixteen values.
        unsafe { to.cast::<Values>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn add(a: Values, b: Values) -> Values {
        each(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    unsafe fn sub(a: Values, b: Values) -> Values {
        each(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    unsafe fn mul(a: Values, b: Values) -> Values {
        each(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    unsafe fn div(a: Values, b: Values) -> Values {
        each(|lane| a[lane] / b[lane])
    }

    #[inline(always)]
    unsafe fn fma(a: Values, b: Values, c: Values) -> Values {
        each(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    unsafe fn max(a: Values, b: Values) -> Values {
        each(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    unsafe fn min(a: Values, b: Values) -> Values {
        each(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    unsafe fn if_less(a: Values, b: Values, yes: Values, no: Values) -> Values {
        each(|lane| if a[lane] < b[lane] { yes[lane] } else { no[lane] })
    }

    #[inline(always)]
    unsafe fn round_bf16(x: Values) -> Values {
        each(|lane| Arithmetic::Bf16.rounded(x[lane]))
    }

    #[inline(always)]
    unsafe fn round(x: Values) -> Values {
        each(|lane| x[lane].round_ties_even())
    }

    #[inline(always)]
    unsafe fn power_of_two(x: Values) -> Values {
        each(|lane| f32::from_bits(((x[lane] as i32).wrapping_add(127) as u32) << 23))
    }
}
