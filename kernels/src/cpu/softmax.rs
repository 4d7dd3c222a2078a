//! Weights of attention, a row of scores at a time.

use std::ops::Range;

use super::lanes::{LANES, Lanes, largest, sum};
use super::math::exp;
use super::tile::Order;

/// Turns scores into `exp(scale · (score − largest))`, 0 outside `visible`, and returns their sum. In the order of groups
/// they are then rounded to bf16; their sum is of what they were.
///
/// `scores` is a multiple of sixteen long and begins at a position that is one, so that the lane in which a position is
/// summed does not depend on which other positions are there.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(super) unsafe fn weigh<L: Lanes, O: Order>(scores: &mut [f32], visible: Range<usize>, scale: f32) -> f32 {
    debug_assert!(scores.len().is_multiple_of(LANES));
    scores[..visible.start].fill(f32::NEG_INFINITY);
    scores[visible.end..].fill(f32::NEG_INFINITY);
    // SAFETY: chunks of sixteen.
    unsafe {
        let mut top = L::splat(f32::NEG_INFINITY);
        for chunk in scores.chunks_exact(LANES) {
            top = L::max(L::load(chunk.as_ptr()), top);
        }
        let top = L::splat(largest::<L>(top));
        let mut total = L::splat(0.0);
        for chunk in scores.chunks_exact_mut(LANES) {
            let distance = L::mul(L::sub(L::load(chunk.as_ptr()), top), L::splat(scale));
            let weight = exp::<L>(distance);
            L::store(chunk.as_mut_ptr(), if O::GROUPS { L::round_bf16(weight) } else { weight });
            total = L::add(total, weight);
        }
        sum::<L>(total)
    }
}
