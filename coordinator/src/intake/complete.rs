//! When a study is complete. Pure: time is in what is known of the study, and in the answer.
//!
//! DICOM has no word for it: whoever sends images does not say that they are the last. So there are several signs, the
//! first of which counts:
//! - the sender says so, by the call that DICOM lacks; that is decided by no rule, but carried out;
//! - as many instances are there as the sender announced;
//! - all that is there which the modality says that it made, in performed procedure steps (MPPS) that are completed;
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
    /// Whether the number of instances that the sender announced is believed, and what its performed procedure steps list.
    pub believes_counts: bool,
    /// Whether performed procedure steps come for its studies: then neither silence nor the end of an association is a sign
    /// before they have ended, and before all is there that they list.
    pub waits_for_steps: bool,
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
    /// [`CompletenessRule::waits_for_steps`].
    pub waits_for_steps: Option<bool>,
}

/// What performed procedure steps say of a study.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Performed {
    /// Steps that have not ended.
    pub in_progress: u32,
    /// Steps that are completed and list what they made.
    pub completed: u32,
    /// Steps that were discontinued.
    pub discontinued: u32,
    /// Steps that are completed and do not say what of the study they made.
    pub silent: u32,
    /// Instances that completed steps list.
    pub listed: u32,
    /// Of them, those that are held.
    pub held: u32,
    /// When the last of them ended, on the store's clock.
    pub ended_at_ms: i64,
}

impl Performed {
    /// Whether all ended that are known.
    fn have_ended(&self) -> bool {
        self.in_progress == 0 && self.completed + self.discontinued + self.silent > 0
    }

    /// Whether more is to come, as far as they say.
    fn is_wanting(&self) -> bool {
        self.in_progress > 0 || self.held < self.listed
    }

    /// What is to be said of them where a study is complete for another reason.
    fn remark(&self) -> String {
        let mut said = String::new();
        if self.held < self.listed {
            let (held, listed) = (self.held, self.listed);
            said += &format!("; {held} of {listed} instances that performed procedure steps list are there");
        }
        for (steps, one, several) in [
            (self.in_progress, "is still in progress", "are still in progress"),
            (self.discontinued, "was discontinued", "were discontinued"),
        ] {
            match steps {
                0 => {}
                1 => said += &format!("; a performed procedure step {one}"),
                steps => said += &format!("; {steps} performed procedure steps {several}"),
            }
        }
        said
    }
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
            waits_for_steps: overrides.waits_for_steps.unwrap_or(self.waits_for_steps),
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
            waits_for_steps: self.waits_for_steps || other.waits_for_steps,
        }
    }
}

/// The rule for a study of these senders, each with its own; `default` where none is known.
pub fn rule_of_all(rules: impl Iterator<Item = CompletenessRule>, default: CompletenessRule) -> CompletenessRule {
    rules.reduce(CompletenessRule::together).unwrap_or(default)
}

/// When the study will be complete if nothing more is learnt of it, of which performed procedure steps say `performed`, and
/// why: the earliest sign.
pub fn due(study: &StudyRecord, performed: &Performed, rule: &CompletenessRule) -> Due {
    let arrival = &study.arrival;
    let last_ms = study.last_instance_at_ms;
    let missing = missing(study).filter(|_| rule.believes_counts);
    let after = |from_ms: i64, ms: u64| from_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX));
    let expected = arrival.expected_instances.filter(|_| rule.believes_counts);
    // A count that was passed was wrong, and says nothing.
    let count = expected.filter(|expected| *expected == study.instances).map(|expected| {
        (last_ms, CompletionReason::CountReached, format!("all {expected} instances that were announced are there"))
    });
    // What comes to a study that was complete before, beside what steps list, they say nothing of.
    let is_listed = study.generation <= 1 || study.instances <= performed.listed;
    let are_performed = rule.believes_counts
        && performed.completed > 0
        && performed.discontinued + performed.silent == 0
        && !performed.is_wanting()
        && is_listed;
    let steps = are_performed.then(|| {
        let Performed { listed, completed, ended_at_ms, .. } = performed;
        let plural = if *completed == 1 { "step lists" } else { "steps list" };
        let detail = format!("all {listed} instances that {completed} performed procedure {plural} are there");
        (last_ms.max(*ended_at_ms), CompletionReason::StepsPerformed, detail)
    });
    // For these senders, what has not ended, and what is listed and missing, is waited for, and steps that are to come.
    let awaits = rule.waits_for_steps && (!performed.have_ended() || performed.is_wanting());
    let is_wanting = rule.believes_counts && performed.is_wanting();
    // What a step that was discontinued made may come in an association of its own, or not at all.
    let is_uncertain = is_wanting || awaits || performed.discontinued > 0;
    // Whatever came after the last end came by an association that is not known: it is waited for.
    let is_closed = arrival.open.is_empty() && missing.is_none() && !is_uncertain;
    let ended_ms = arrival.ended_at_ms.filter(|ended_ms| is_closed && last_ms <= *ended_ms);
    let ended = ended_ms.zip(rule.association_grace_ms).map(|(ended_ms, grace_ms)| {
        let detail = format!("the last association was released, and {} went by", spell(grace_ms));
        (after(ended_ms.max(performed.ended_at_ms), grace_ms), CompletionReason::AssociationsEnded, detail)
    });
    let lacks =
        missing.map(|(held, expected)| format!("; {held} of {expected} instances that were announced are there"));
    let lacks = lacks.unwrap_or_default() + &performed.remark();
    // The end of a step is something that came.
    let quiet = (!awaits).then(|| {
        let detail = format!("nothing came for {}{lacks}", spell(rule.quiet_period_ms));
        (after(last_ms.max(performed.ended_at_ms), rule.quiet_period_ms), CompletionReason::QuietPeriod, detail)
    });
    let went_on = if awaits { "it was waited for performed procedure steps" } else { "instances still came" };
    let longest = (
        after(arrival.opened_at_ms, rule.max_wait_ms),
        CompletionReason::MaximumWait,
        format!("forced after {}, the longest wait, while {went_on}{lacks}", spell(rule.max_wait_ms)),
    );
    let signs = [count, steps, ended, quiet, Some(longest)].into_iter().flatten();
    let (at_ms, reason, detail) = signs.min_by_key(|(at_ms, ..)| *at_ms).expect("the longest wait is always there");
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
        waits_for_steps: false,
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
            let due = due(&study, &Performed::default(), &rule);
            assert_eq!((due.at_ms, due.completion.reason), (at_ms, reason), "{what}: {}", due.completion.detail);
            assert_eq!(due.changes, 7, "{what}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let quiet = due(&arriving(&[], None, Some(240)), &Performed::default(), &RULE).completion.detail;
        assert_eq!(quiet, "nothing came for 60 s; 10 of 240 instances that were announced are there");
        let rule = CompletenessRule { max_wait_ms: 60_001, ..RULE };
        let forced = due(&arriving(&[], None, None), &Performed::default(), &rule).completion.detail;
        assert_eq!(forced, "forced after 60001 ms, the longest wait, while instances still came");
    }

    #[test]
    fn performed_steps_complete_a_study_or_hold_it_up() {
        use CompletionReason::{AssociationsEnded, MaximumWait, QuietPeriod, StepsPerformed};
        let waiting = CompletenessRule { waits_for_steps: true, ..RULE };
        let deaf = CompletenessRule { believes_counts: false, ..RULE };
        let none = Performed::default();
        let begun = Performed { in_progress: 1, ..none };
        let done = Performed { completed: 1, listed: 10, held: 10, ended_at_ms: 51_000, ..none };
        let lacking = Performed { held: 9, ..done };
        let stopped = Performed { discontinued: 1, ended_at_ms: 52_000, ..none };
        let silent = Performed { silent: 1, ended_at_ms: 52_000, ..none };
        let second = Performed { in_progress: 1, ..done };
        let mixed = Performed { discontinued: 1, ..done };
        let (open, ended) = (arriving(&["a"], None, None), arriving(&[], Some(50_100), None));
        for (what, study, performed, rule, at_ms, reason) in [
            ("nothing is known", &ended, none, RULE, 52_100, AssociationsEnded),
            ("nothing is known, and waited for", &ended, none, waiting, 3_601_000, MaximumWait),
            ("a step goes on", &ended, begun, RULE, 110_000, QuietPeriod),
            ("a step goes on, and is waited for", &ended, begun, waiting, 3_601_000, MaximumWait),
            ("all is there", &open, done, RULE, 51_000, StepsPerformed),
            ("all is there, as was waited for", &open, done, waiting, 51_000, StepsPerformed),
            (
                "the association ended long before",
                &ended,
                Performed { ended_at_ms: 99_000, ..done },
                waiting,
                99_000,
                StepsPerformed,
            ),
            ("lists are not believed", &ended, done, deaf, 53_000, AssociationsEnded),
            ("something is missing", &ended, lacking, RULE, 111_000, QuietPeriod),
            ("something is missing, and waited for", &ended, lacking, waiting, 3_601_000, MaximumWait),
            ("one of two steps goes on", &ended, second, RULE, 111_000, QuietPeriod),
            ("it was discontinued", &open, stopped, waiting, 112_000, QuietPeriod),
            ("it was discontinued, and its association ended", &ended, stopped, RULE, 112_000, QuietPeriod),
            ("one of two was discontinued", &open, mixed, waiting, 111_000, QuietPeriod),
            ("it lists nothing", &open, silent, waiting, 112_000, QuietPeriod),
        ] {
            let due = due(study, &performed, &rule);
            assert_eq!((due.at_ms, due.completion.reason), (at_ms, reason), "{what}: {}", due.completion.detail);
        }
        let detail = |performed: Performed, rule| due(&open, &performed, rule).completion.detail;
        assert_eq!(detail(done, &RULE), "all 10 instances that 1 performed procedure step lists are there");
        assert_eq!(
            detail(Performed { discontinued: 1, ..lacking }, &waiting),
            "forced after 3600 s, the longest wait, while it was waited for performed procedure steps; 9 of 10 instances that \
             performed procedure steps list are there; a performed procedure step was discontinued"
        );
        assert_eq!(detail(stopped, &RULE), "nothing came for 60 s; a performed procedure step was discontinued");

        // A study that was complete before: what is not listed says nothing of what else comes; what is, does.
        let again = StudyRecord { generation: 2, instances: 11, ..ended.clone() };
        assert_eq!(due(&again, &done, &RULE).completion.reason, AssociationsEnded);
        assert_eq!(due(&StudyRecord { instances: 10, ..again }, &done, &RULE).completion.reason, StepsPerformed);
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
