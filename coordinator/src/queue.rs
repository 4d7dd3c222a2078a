//! The rules of the queue: order, ageing, retries, limits. Pure: time and chance come in as arguments.
//!
//! A store applies what these functions decide and decides nothing itself, so that the rules are written once and not
//! once more in every store's own language.

use prelim_proto::study::Priority;

/// When a failed attempt is made again, and when not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all before a job is given up.
    pub max_attempts: u32,
    /// Upper end of the first delay, in ms. It doubles with every attempt.
    pub base_delay_ms: u64,
    /// Past this no delay grows, in ms.
    pub max_delay_ms: u64,
}

impl Default for RetryPolicy {
    /// Four attempts; up to 1 s, 2 s and 4 s between them. A crash that the images cause shows itself within seconds,
    /// and a worker that was replaced is back within them.
    fn default() -> Self {
        Self { max_attempts: 4, base_delay_ms: 1_000, max_delay_ms: 60_000 }
    }
}

/// What becomes of a job after an attempt that went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Ready again after this many ms.
    RetryIn(u64),
    /// Given up.
    Dead,
}

impl RetryPolicy {
    /// Decides after attempt number `attempt` (from 1). The delay has full jitter: `chance`, in 0..1, is the part taken
    /// of the exponential bound, so that jobs which failed together do not come back together.
    pub fn after_failure(&self, attempt: u32, retryable: bool, chance: f64) -> Verdict {
        if !retryable || attempt >= self.max_attempts {
            return Verdict::Dead;
        }
        let doublings = attempt.saturating_sub(1).min(32);
        let bound_ms = self.base_delay_ms.saturating_mul(1 << doublings).min(self.max_delay_ms);
        Verdict::RetryIn((bound_ms as f64 * chance.clamp(0.0, 1.0)) as u64)
    }
}

/// How much longer than a routine study a more urgent one is taken to have waited, in ms.
///
/// Jobs are taken in the order of `queued_at_ms - head_start_ms`. That sum does not change while a job waits, so a
/// store keeps it as a sorted key, and yet a routine job that has waited long enough passes an urgent one that came
/// late: after an hour it passes urgent studies, after a day even STAT ones.
pub fn head_start_ms(priority: Priority) -> i64 {
    const HOUR_MS: i64 = 3_600_000;
    match priority {
        Priority::Routine => 0,
        Priority::Urgent => HOUR_MS,
        Priority::Stat => 24 * HOUR_MS,
    }
}

/// What intake may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeLimits {
    /// Studies that are not settled yet.
    pub max_open_studies: u64,
    /// Instances of one study.
    pub max_instances_per_study: u32,
}

impl Default for IntakeLimits {
    /// 10,000 open studies are more than a day of a large department; 20,000 instances more than any CT study seen.
    fn default() -> Self {
        Self { max_open_studies: 10_000, max_instances_per_study: 20_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_end_in_a_dead_letter() {
        let policy = RetryPolicy { max_attempts: 5, base_delay_ms: 100, max_delay_ms: 350 };
        for (attempt, retryable, chance, want) in [
            (1, true, 1.0, Verdict::RetryIn(100)),
            (2, true, 1.0, Verdict::RetryIn(200)),
            (3, true, 1.0, Verdict::RetryIn(350)),
            (3, true, 0.5, Verdict::RetryIn(175)),
            (4, true, 0.0, Verdict::RetryIn(0)),
            (5, true, 0.0, Verdict::Dead),
            (1, false, 0.0, Verdict::Dead),
            (u32::MAX, true, 0.5, Verdict::Dead),
        ] {
            assert_eq!(policy.after_failure(attempt, retryable, chance), want, "{attempt} {retryable} {chance}");
        }
        let patient = RetryPolicy { max_attempts: u32::MAX, base_delay_ms: u64::MAX, max_delay_ms: 9 };
        assert_eq!(patient.after_failure(4_000_000, true, 7.0), Verdict::RetryIn(9));
    }

    #[test]
    fn stat_goes_first_until_routine_has_waited_a_day() {
        let rank = |priority, queued_at_ms: i64| queued_at_ms - head_start_ms(priority);
        assert!(rank(Priority::Stat, 1_000) < rank(Priority::Urgent, 0));
        assert!(rank(Priority::Urgent, 1_000) < rank(Priority::Routine, 0));
        assert!(rank(Priority::Routine, 0) < rank(Priority::Stat, 25 * 3_600_000));
    }
}
