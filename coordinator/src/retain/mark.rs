//! The time that studies grow old by. It is not the clock's, for a clock that is wrong would make everything old at once: it
//! is carried on by how long coordinators run, never backwards, and is noted in the store. What the clock is ahead of it
//! is believed only after a while. Pure: times come in as arguments.

use serde::{Deserialize, Serialize};

/// What the clock may be ahead at any look and be believed at once, in ms: it drifts, and seconds leap.
const DRIFT_MS: i64 = 60_000;
/// The most that the clock may be ahead and be believed after [`PATIENCE_MS`], in ms: over a long weekend nothing ran.
const MAX_STEP_MS: i64 = 3 * 86_400_000;
/// How long the clock is ahead, in ms of running, before such a step is believed.
const PATIENCE_MS: i64 = 3_600_000;

/// How far the clock may be ahead and be believed after an hour, in ms, where studies are kept for so many days: never more
/// than half of that.
pub(super) fn largest_step_ms(keep_days: Option<u32>) -> i64 {
    keep_days.map_or(MAX_STEP_MS, |days| MAX_STEP_MS.min(i64::from(days) * 43_200_000))
}

/// The newest time that was believed. **Invariant**: it goes on only as fast as coordinators run, but for steps of the clock
/// that were waited for: an hour for a small one, and for a larger one as long as the step itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// That time, in ms since the Unix epoch.
    pub(super) at_ms: i64,
    /// How long coordinators have run with the clock ahead of it, in ms.
    held_ms: i64,
}

/// What of the clock is not believed, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ahead {
    /// How far it is ahead.
    pub(super) by_ms: i64,
    /// How long it has to go on so before it is believed.
    pub(super) wait_ms: i64,
}

impl Mark {
    pub(super) fn at(at_ms: i64) -> Self {
        Self { at_ms, held_ms: 0 }
    }

    /// Carries it on by `ran_ms`, as far as the clock agrees, which says `wall_ms`; what of that is not believed.
    pub(super) fn carry_on(&mut self, wall_ms: i64, ran_ms: i64, largest_step_ms: i64) -> Option<Ahead> {
        let expected_ms = self.at_ms.saturating_add(ran_ms);
        let by_ms = wall_ms.saturating_sub(expected_ms);
        if by_ms <= DRIFT_MS {
            // A clock that is behind takes nothing back.
            *self = Self::at(self.at_ms.max(wall_ms));
            return None;
        }
        self.at_ms = expected_ms;
        self.held_ms = self.held_ms.saturating_add(ran_ms);
        let patience_ms = if by_ms <= largest_step_ms { PATIENCE_MS } else { by_ms.max(PATIENCE_MS) };
        if self.held_ms >= patience_ms {
            *self = Self::at(wall_ms);
            return None;
        }
        Some(Ahead { by_ms, wait_ms: patience_ms - self.held_ms })
    }

    /// Takes over what another coordinator has believed, or an earlier process of this one.
    pub(super) fn join(&mut self, other: Self) {
        if other.at_ms > self.at_ms {
            *self = other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000;
    const HOUR: i64 = 3_600 * S;
    const DAY: i64 = 24 * HOUR;
    /// Some time.
    const T: i64 = 20_000 * DAY;

    fn ahead(by_ms: i64, wait_ms: i64) -> Option<Ahead> {
        Some(Ahead { by_ms, wait_ms })
    }

    #[test]
    fn it_goes_on_with_the_clock_and_not_back() {
        let (mut mark, step) = (Mark::at(T), largest_step_ms(Some(30)));
        // Drift, and a leap second.
        for (wall, ran) in [(T + 10 * S, 10 * S), (T + 25 * S, 10 * S), (T + 34 * S, 10 * S)] {
            assert_eq!(mark.carry_on(wall, ran, step), None);
            assert_eq!(mark, Mark::at(wall));
        }
        assert_eq!(mark.carry_on(T - DAY, 10 * S, step), None);
        assert_eq!(mark, Mark::at(T + 34 * S));
    }

    #[test]
    fn a_clock_that_is_far_ahead_is_believed_only_after_as_long_however_often_is_started() {
        let (mut mark, step, year) = (Mark::at(T), largest_step_ms(Some(30)), 365 * DAY);
        let mut ran = 0;
        while ran < 40 * DAY {
            // Each start says nothing of how long was run.
            assert_eq!(mark.carry_on(T + year + ran, 0, step), ahead(year, year - ran));
            assert_eq!(mark.carry_on(T + year + ran + HOUR, HOUR, step), ahead(year, year - ran - HOUR));
            ran += HOUR;
            assert_eq!(mark.at_ms, T + ran, "as fast as time");
        }
        // Set right again, all is as if nothing had been.
        assert_eq!(mark.carry_on(T + ran + 10 * S, 10 * S, step), None);
        assert_eq!(mark, Mark::at(T + ran + 10 * S));
        // Nothing ran for forty days: after another forty it is made up for.
        assert_eq!(mark.carry_on(T + ran + 10 * S + 40 * DAY, 0, step), ahead(40 * DAY, 40 * DAY));
        let wall = T + ran + 10 * S + 80 * DAY;
        assert_eq!(mark.carry_on(wall, 40 * DAY, step), None);
        assert_eq!(mark, Mark::at(wall));
    }

    #[test]
    fn a_weekend_without_a_coordinator_is_believed_after_an_hour() {
        let (mut mark, step) = (Mark::at(T), largest_step_ms(Some(30)));
        let wall = T + 2 * DAY;
        assert_eq!(mark.carry_on(wall, 0, step), ahead(2 * DAY, HOUR));
        assert_eq!(mark.carry_on(wall + HOUR - S, HOUR - S, step), ahead(2 * DAY, S));
        assert_eq!(mark.at_ms, T + HOUR - S);
        assert_eq!(mark.carry_on(wall + HOUR, S, step), None);
        assert_eq!(mark, Mark::at(wall + HOUR));
        // Where studies are kept for a day, two days are too much for that.
        assert_eq!(Mark::at(T).carry_on(wall, 0, largest_step_ms(Some(1))), ahead(2 * DAY, 2 * DAY));
        assert_eq!(largest_step_ms(Some(36_500)), largest_step_ms(None));
    }

    #[test]
    fn what_another_has_believed_is_taken_over_where_it_is_newer() {
        let mut mark = Mark::at(T);
        mark.join(Mark::at(T - DAY));
        assert_eq!(mark, Mark::at(T));
        let noted = Mark { at_ms: T + DAY, held_ms: HOUR };
        mark.join(noted);
        assert_eq!(mark, noted);
        assert_eq!(serde_json::from_str::<Mark>(&serde_json::to_string(&noted).unwrap()).unwrap(), noted);
    }
}
