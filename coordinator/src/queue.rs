//! The rules of the queue: order, ageing, retries, limits. Pure: time and chance come in as arguments.
//!
//! A store applies what these functions decide and decides nothing itself, so that the rules are written once and not
//! once more in every store's own language.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use prelim_proto::ids::{JobId, Tenant};
use prelim_proto::study::Priority;
use serde::{Deserialize, Serialize};

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
/// Jobs are taken in the order of their rank, `queued_at_ms - head_start_ms`. That sum does not change while a job
/// waits, so a store keeps it as a sorted key, and yet a routine job that has waited long enough passes an urgent one
/// that came late: after an hour it passes urgent studies, after a day even STAT ones.
pub fn head_start_ms(priority: Priority) -> i64 {
    const HOUR_MS: i64 = 3_600_000;
    match priority {
        Priority::Routine => 0,
        Priority::Urgent => HOUR_MS,
        Priority::Stat => 24 * HOUR_MS,
    }
}

/// How much longer than a routine study a question is taken to have waited, in ms: somebody sits before it, and it goes before
/// whatever came in the last day.
pub const QUESTION_HEAD_START_MS: i64 = 48 * 3_600_000;

/// How urgent a job of this rank is by now: what it was asked for, or more where it has waited long.
pub fn urgency(rank: i64, now_ms: i64) -> Priority {
    let waited_ms = now_ms.saturating_sub(rank);
    let reached = |priority: &Priority| waited_ms >= head_start_ms(*priority);
    [Priority::Stat, Priority::Urgent].into_iter().find(reached).unwrap_or(Priority::Routine)
}

/// How far behind the head of the queue a job may stand and still be preferred by a worker that has its images, in ms.
pub const LOCALITY_MS: i64 = 60_000;

/// The longest that a lease may last, in ms. One that would end later was given by a clock that has been set back.
pub const MAX_LEASE_MS: i64 = 3_600_000;

/// What a tenant may have of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Share {
    /// How much of the workers it gets beside others who wait: twice the weight, twice as many jobs at a time.
    pub weight: u32,
    /// Read jobs of it that may run at once; none is no cap.
    pub max_running: Option<u32>,
    /// Studies of it that may be open at once; none is no cap of its own.
    pub max_open_studies: Option<u64>,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, max_running: None, max_open_studies: None }
    }
}

/// The shares of all tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// For tenants that are not named.
    pub default: Share,
    /// By name.
    pub tenants: BTreeMap<Tenant, Share>,
}

impl Shares {
    /// The share of one tenant.
    pub fn of(&self, tenant: &Tenant) -> Share {
        self.tenants.get(tenant).copied().unwrap_or(self.default)
    }
}

/// A tenant with work that a worker could take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub tenant: Tenant,
    /// Rank of the first of its waiting jobs.
    pub rank: i64,
    /// Which job that is.
    pub job: JobId,
    /// Read jobs of the tenant that run now.
    pub running: u64,
}

/// Which of several tenants has its turn: the one whose first job is the most urgent; of those the one that runs the
/// fewest jobs for its weight; of those the one whose job has waited longest. Tenants at their cap are left out by the
/// caller, who knows which jobs the cap concerns.
pub fn turn(candidates: Vec<Candidate>, shares: &Shares, now_ms: i64) -> Option<Candidate> {
    candidates.into_iter().min_by(|a, b| {
        let urgent = |c: &Candidate| Reverse(urgency(c.rank, now_ms));
        // running / weight, compared without dividing.
        let load = |c: &Candidate, other: &Candidate| {
            u128::from(c.running) * u128::from(shares.of(&other.tenant).weight.max(1))
        };
        let by_load = load(a, b).cmp(&load(b, a));
        urgent(a).cmp(&urgent(b)).then(by_load).then_with(|| (a.rank, &a.job).cmp(&(b.rank, &b.job)))
    })
}

/// What intake may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeLimits {
    /// Studies that are not settled yet.
    pub max_open_studies: u64,
    /// Of them, studies of the same tenant.
    pub max_open_of_tenant: u64,
    /// Instances of one study.
    pub max_instances_per_study: u32,
}

impl Default for IntakeLimits {
    /// 10,000 open studies are more than a day of a large department; 20,000 instances more than any CT study seen.
    fn default() -> Self {
        Self { max_open_studies: 10_000, max_open_of_tenant: u64::MAX, max_instances_per_study: 20_000 }
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

    #[test]
    fn urgency_is_what_was_asked_for_and_grows_with_waiting() {
        const HOUR_MS: i64 = 3_600_000;
        for (priority, waited_ms, want) in [
            (Priority::Routine, 0, Priority::Routine),
            (Priority::Routine, HOUR_MS - 1, Priority::Routine),
            (Priority::Routine, HOUR_MS, Priority::Urgent),
            (Priority::Routine, 24 * HOUR_MS, Priority::Stat),
            (Priority::Urgent, 0, Priority::Urgent),
            (Priority::Urgent, 23 * HOUR_MS, Priority::Stat),
            (Priority::Stat, 0, Priority::Stat),
        ] {
            let rank = 1_000 - head_start_ms(priority);
            assert_eq!(urgency(rank, 1_000 + waited_ms), want, "{priority:?} after {waited_ms}");
        }
    }

    #[test]
    fn the_turn_goes_by_urgency_then_share_then_waiting() {
        let uid = |n: usize| prelim_proto::ids::Uid::parse(&format!("1.2.{n}")).unwrap();
        let shares: Shares = serde_json::from_str(r#"{"tenants": {"big": {"weight": 3}}}"#).unwrap();
        let check = |waiting: &[(&str, i64, u64)], want: &str| {
            let candidate = |(n, (tenant, rank, running)): (usize, &(&str, i64, u64))| Candidate {
                tenant: Tenant::parse(tenant).unwrap(),
                rank: *rank,
                job: JobId::new(uid(n), 0),
                running: *running,
            };
            let candidates = waiting.iter().enumerate().map(candidate).collect();
            let got = turn(candidates, &shares, 1_000).map(|turn| turn.tenant.to_string());
            assert_eq!(got.unwrap_or_default(), want, "{waiting:?}");
        };
        check(&[], "");
        check(&[("a", 500, 0), ("b", 400, 0)], "b");
        check(&[("a", 500, 1), ("b", 600, 0)], "b");
        check(&[("big", 500, 2), ("b", 400, 1)], "big");
        check(&[("big", 500, 3), ("b", 400, 1)], "b");
        // A STAT study goes first, however much its tenant has.
        check(&[("a", 1_000 - head_start_ms(Priority::Stat), 50), ("b", 0, 0)], "a");
    }
}
