//! How long to wait before the next try.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(200);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// The wait before try `attempt` (from 1): doubling, with full jitter, so that workers that lost a coordinator together
/// do not come back together. `entropy` is any random number.
pub(crate) fn backoff(attempt: u32, entropy: u64) -> Duration {
    let ceiling = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
    ceiling.mul_f64((entropy >> 11) as f64 / (1u64 << 53) as f64)
}

/// A random number: the keys that the standard library draws for its hash maps.
pub(crate) fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        for (attempt, ceiling_ms) in [(1, 200), (2, 400), (4, 1_600), (7, 10_000), (60, 10_000)] {
            assert_eq!(backoff(attempt, 0), Duration::ZERO);
            let longest = backoff(attempt, u64::MAX);
            assert!(
                longest.as_millis() <= ceiling_ms && longest.as_millis() + 1 >= ceiling_ms,
                "{attempt}: {longest:?}"
            );
        }
        assert_ne!(entropy(), entropy());
    }
}
