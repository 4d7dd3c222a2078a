//! When a study is complete. Pure: time is in what is known of the study, and in the answer.
//!
//! DICOM has no word for it: whoever sends images does not say that they are the last. So there are several signs, the
//! first of which counts:
//! - the sender says so, by the call that DICOM lacks; that is decided by no rule, but carried out;
//! - as many instances are there as the sender announced;
//! - every association that brought some was released, and a grace went by;
//! - nothing came for a quiet period;
//! - it was waited for the longest time.
//!
//! **Invariant**: no sign is for ever: a study that is received is complete at the latest after the longest wait.

use prelim_proto::study::{Completion, CompletionReason};

use crate::store::record::{Due, StudyRecord};

/// When the studies of a sender are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletenessRule {
    /// Nothing came for so long, in ms.
    pub quiet_period_ms: u64,
    /// The last association was released so long ago, in ms; none where that says nothing, as with modalities that open
    /// an association for each series.
    pub association_grace_ms: Option<u64>,
    /// It was received for so long, in ms: then it is complete whatever still comes.
    pub max_wait_ms: u64,
    /// Whether the number of instances that the sender announced is believed.
    pub believes_counts: bool,
}

/// What a file says of a sender's rule; what it does not say is the default's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    /// [`CompletenessRule::quiet_period_ms`].
    pub quiet_period_ms: Option<u64>,
    /// [`CompletenessRule::association_grace_ms`].
    pub association_grace_ms: Option<u64>,
    /// [`CompletenessRule::max_wait_ms`].
    pub max_wait_ms: Option<u64>,
    /// [`CompletenessRule::believes_counts`].
    pub believes_counts: Option<bool>,
}

impl CompletenessRule {
    /// Shortest quiet period, in ms: between two objects of one series more may go by.
    pub const MIN_QUIET_PERIOD_MS: u64 = 1_000;
    /// Longest time for anything, in ms: a week.
    pub const MAX_MS: u64 = 7 * 86_400_000;

    /// This rule, with what a file says laid over it.
    pub fn with(self, overrides: &Overrides) -> Self {
        Self {
            quiet_period_ms: overrides.quiet_period_ms.unwrap_or(self.quiet_period_ms),
            association_grace_ms: overrides.association_grace_ms.or(self.association_grace_ms),
            max_wait_ms: overrides.max_wait_ms.unwrap_or(self.max_wait_ms),
            believes_counts: overrides.believes_counts.unwrap_or(self.believes_counts),
        }
    }

    /// What is wrong with it, in words.
    pub fn problem(&self) -> Option<String> {
        let Self { quiet_period_ms, max_wait_ms, .. } = *self;
        let quiet = Self::MIN_QUIET_PERIOD_MS..=Self::MAX_MS;
        if !quiet.contains(&quiet_period_ms) {
            return Some(format!("quiet_period_ms {quiet_period_ms} is not between 1,000 and 604,800,000"));
        }
        if !(quiet_period_ms..=Self::MAX_MS).contains(&max_wait_ms) {
            return Some(format!("max_wait_ms {max_wait_ms} is not between the quiet period and 604,800,000"));
        }
        let grace_ms = self.association_grace_ms.unwrap_or(0);
        (grace_ms > quiet_period_ms)
            .then(|| format!("association_grace_ms {grace_ms} is longer than the quiet period, which then comes first"))
    }

    /// The rule for a study that both of two senders send to: the more patient one in everything.
    #[must_use]
    fn together(self, other: Self) -> Self {
        let both = self.association_grace_ms.zip(other.association_grace_ms);
        Self {
            quiet_period_ms: self.quiet_period_ms.max(other.quiet_period_ms),
            association_grace_ms: both.map(|(a, b)| a.max(b)),
            max_wait_ms: self.max_wait_ms.max(other.max_wait_ms),
            believes_counts: self.believes_counts && other.believes_counts,
        }
    }
}

/// The rule for a study of these senders, each with its own; `default` where none is known.
pub fn rule_of_all(rules: impl Iterator<Item = CompletenessRule>, default: CompletenessRule) -> CompletenessRule {
    rules.reduce(CompletenessRule::together).unwrap_or(default)
}

/// When the study will be complete if nothing more is learnt of it, and why: the earliest sign.
pub fn due(study: &StudyRecord, rule: &CompletenessRule) -> Due {
    let arrival = &study.arrival;
    let last_ms = study.last_instance_at_ms;
    let missing = missing(study).filter(|_| rule.believes_counts);
    let after = |from_ms: i64, ms: u64| from_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX));
    let expected = arrival.expected_instances.filter(|_| rule.believes_counts);
    // A count that was passed was wrong, and says nothing.
    let count = expected.filter(|expected| *expected == study.instances).map(|expected| {
        (last_ms, CompletionReason::CountReached, format!("all {expected} instances that were announced are there"))
    });
    // Whatever came after the last end came by an association that is not known: it is waited for.
    let is_closed = arrival.open.is_empty() && missing.is_none();
    let ended_ms = arrival.ended_at_ms.filter(|ended_ms| is_closed && last_ms <= *ended_ms);
    let ended = ended_ms.zip(rule.association_grace_ms).map(|(ended_ms, grace_ms)| {
        let detail = format!("the last association was released, and {} went by", spell(grace_ms));
        (after(ended_ms, grace_ms), CompletionReason::AssociationsEnded, detail)
    });
    let lacks =
        missing.map(|(held, expected)| format!("; {held} of {expected} instances that were announced are there"));
    let lacks = lacks.unwrap_or_default();
    let quiet = (
        after(last_ms, rule.quiet_period_ms),
        CompletionReason::QuietPeriod,
        format!("nothing came for {}{lacks}", spell(rule.quiet_period_ms)),
    );
    let longest = (
        after(arrival.opened_at_ms, rule.max_wait_ms),
        CompletionReason::MaximumWait,
        format!("forced after {}, the longest wait, while instances still came{lacks}", spell(rule.max_wait_ms)),
    );
    let signs = [count, ended, Some(quiet), Some(longest)].into_iter().flatten();
    let (at_ms, reason, detail) = signs.min_by_key(|(at_ms, ..)| *at_ms).expect("two of them are always there");
    Due { study: study.uid.clone(), changes: arrival.changes, at_ms, completion: Completion { reason, detail } }
}

/// The instances held and announced, where some are missing.
pub fn missing(study: &StudyRecord) -> Option<(u32, u32)> {
    let expected = study.arrival.expected_instances.filter(|expected| study.instances < *expected)?;
    Some((study.instances, expected))
}

/// Why a study is complete whose sender says so.
pub fn told() -> Completion {
    Completion { reason: CompletionReason::Told, detail: "its sender said so".to_owned() }
}

/// A length of time in words.
fn spell(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{} ms", ms) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::fixture::record_of;
    use crate::store::record::Arrival;

    const RULE: CompletenessRule = CompletenessRule {
        quiet_period_ms: 60_000,
        association_grace_ms: Some(2_000),
        max_wait_ms: 3_600_000,
        believes_counts: true,
    };

    fn arriving(open: &[&str], ended_at_ms: Option<i64>, expected: Option<u32>) -> StudyRecord {
        let arrival = Arrival {
            opened_at_ms: 1_000,
            changes: 7,
            open: open.iter().map(|name| (*name).to_owned()).collect(),
            ended_at_ms,
            expected_instances: expected,
            ..Arrival::default()
        };
        StudyRecord { arrival, instances: 10, last_instance_at_ms: 50_000, ..record_of("1.2.3") }
    }

    #[test]
    fn the_earliest_sign_counts() {
        use CompletionReason::{AssociationsEnded, CountReached, MaximumWait, QuietPeriod};
        let late = RULE.with(&Overrides { max_wait_ms: Some(60_000), ..Overrides::default() });
        let deaf = RULE.with(&Overrides { believes_counts: Some(false), ..Overrides::default() });
        let only_quiet = CompletenessRule { association_grace_ms: None, ..RULE };
        for (what, study, rule, at_ms, reason) in [
            ("nothing is known", arriving(&[], None, None), RULE, 110_000, QuietPeriod),
            ("an association is open", arriving(&["a"], None, None), RULE, 110_000, QuietPeriod),
            ("it ended", arriving(&[], Some(50_100), None), RULE, 52_100, AssociationsEnded),
            ("one of two ended", arriving(&["b"], Some(50_100), None), RULE, 110_000, QuietPeriod),
            ("something came after its end", arriving(&[], Some(49_999), None), RULE, 110_000, QuietPeriod),
            ("ends say nothing here", arriving(&[], Some(50_100), None), only_quiet, 110_000, QuietPeriod),
            ("all are there", arriving(&["a"], None, Some(10)), RULE, 50_000, CountReached),
            ("some are missing", arriving(&[], Some(50_100), Some(11)), RULE, 110_000, QuietPeriod),
            ("there are more", arriving(&[], Some(50_100), Some(9)), RULE, 52_100, AssociationsEnded),
            ("counts are not believed", arriving(&["a"], None, Some(10)), deaf, 110_000, QuietPeriod),
            ("it goes on and on", arriving(&["a"], None, None), late, 61_000, MaximumWait),
        ] {
            let due = due(&study, &rule);
            assert_eq!((due.at_ms, due.completion.reason), (at_ms, reason), "{what}: {}", due.completion.detail);
            assert_eq!(due.changes, 7, "{what}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let quiet = due(&arriving(&[], None, Some(240)), &RULE).completion.detail;
        assert_eq!(quiet, "nothing came for 60 s; 10 of 240 instances that were announced are there");
        let rule = CompletenessRule { max_wait_ms: 60_001, ..RULE };
        let forced = due(&arriving(&[], None, None), &rule).completion.detail;
        assert_eq!(forced, "forced after 60001 ms, the longest wait, while instances still came");
    }

    #[test]
    fn two_senders_of_one_study_are_given_the_time_of_the_slower_one() {
        let slow = CompletenessRule { quiet_period_ms: 300_000, association_grace_ms: Some(9_000), ..RULE };
        let series_by_series = CompletenessRule { association_grace_ms: None, believes_counts: false, ..RULE };
        let of = |rules: &[CompletenessRule]| rule_of_all(rules.iter().copied(), RULE);
        assert_eq!(of(&[]), RULE);
        assert_eq!(of(&[RULE, slow]), slow);
        let both = of(&[slow, series_by_series]);
        assert_eq!((both.quiet_period_ms, both.association_grace_ms, both.believes_counts), (300_000, None, false));
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused() {
        for (overrides, word) in [
            (Overrides { quiet_period_ms: Some(999), ..Overrides::default() }, "quiet_period_ms 999"),
            (Overrides { max_wait_ms: Some(59_999), ..Overrides::default() }, "max_wait_ms 59999"),
            (Overrides { max_wait_ms: Some(u64::MAX), ..Overrides::default() }, "max_wait_ms"),
            (Overrides { association_grace_ms: Some(60_001), ..Overrides::default() }, "association_grace_ms 60001"),
        ] {
            let problem = RULE.with(&overrides).problem().unwrap_or_default();
            assert!(problem.contains(word), "{overrides:?}: {problem}");
        }
        assert_eq!(RULE.problem(), None);
    }
}
