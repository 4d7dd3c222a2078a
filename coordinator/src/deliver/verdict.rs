//! What an answer means for a delivery (pure).

use crate::dimse::scu::error::ScuError;
use crate::dimse::scu::store::{Answer, Meaning};
use crate::queue::{RetryPolicy, Verdict};
use crate::store::delivery::{DeliveryEnd, DeliveryState};
use prelim_proto::trace::without_uids;

/// Before the UIDs of the standard itself (PS3.6 annex A).
const REGISTERED: &str = "1.2.840.10008.";
/// Longest answer that is kept, in characters.
const MAX_ANSWER: usize = 300;

/// What came of sending an object, in the words of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) meaning: Meaning,
    pub(super) words: String,
}

impl From<&Answer> for Said {
    fn from(answer: &Answer) -> Self {
        Self { meaning: answer.meaning(), words: answer.words() }
    }
}

impl From<&ScuError> for Said {
    fn from(error: &ScuError) -> Self {
        let meaning = if error.is_retryable() { Meaning::Later } else { Meaning::Never };
        Self { meaning, words: error.to_string() }
    }
}

impl Said {
    /// It is taken.
    pub(super) fn taken(words: impl Into<String>) -> Self {
        Self { meaning: Meaning::Taken, words: words.into() }
    }

    /// Something that may pass.
    pub(super) fn later(words: impl Into<String>) -> Self {
        Self { meaning: Meaning::Later, words: words.into() }
    }

    /// Something that does not pass.
    pub(super) fn never(words: impl Into<String>) -> Self {
        Self { meaning: Meaning::Never, words: words.into() }
    }

    /// How attempt number `attempt` (from 1) ends. What the other side said is kept without UIDs; `chance`, in 0..1, is for
    /// the pause, as [`RetryPolicy::after_failure`] has it.
    pub(super) fn end(&self, instance: &str, attempt: u32, retries: &RetryPolicy, chance: f64) -> DeliveryEnd {
        let (state, due_in_ms) = match self.meaning {
            Meaning::Taken => (DeliveryState::Sent, 0),
            Meaning::Never => (DeliveryState::Refused, 0),
            Meaning::Later => match retries.after_failure(attempt, true, chance) {
                Verdict::RetryIn(delay_ms) => (DeliveryState::Waiting, delay_ms),
                Verdict::Dead => (DeliveryState::GivenUp, 0),
            },
        };
        let answer = kept(&self.words);
        DeliveryEnd { state, due_in_ms, answer, instance: instance.to_owned(), transaction: String::new() }
    }
}

/// What is kept of what was said: no UIDs, no control characters, and not too much.
pub(super) fn kept(words: &str) -> String {
    // What the standard has given a UID names no study and no patient.
    let clean =
        words.split(' ').map(|word| if word.contains(REGISTERED) { word.to_owned() } else { without_uids(&word) });
    let clean = clean.collect::<Vec<_>>().join(" ");
    clean.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ANSWER).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_decides_what_comes_next() {
        let retries = RetryPolicy { max_attempts: 3, base_delay_ms: 1_000, max_delay_ms: 4_000 };
        let answered = |status| Said::from(&Answer { status, comment: String::new() });
        for (status, attempt, state) in [
            (0x0000, 1, DeliveryState::Sent),
            (0xB000, 3, DeliveryState::Sent),
            (0xA700, 1, DeliveryState::Waiting),
            (0xA700, 2, DeliveryState::Waiting),
            (0xA700, 3, DeliveryState::GivenUp),
            (0xA900, 1, DeliveryState::Refused),
            (0xC123, 1, DeliveryState::Refused),
        ] {
            let end = answered(status).end("1.2", attempt, &retries, 0.5);
            assert_eq!(end.state, state, "{status:04X}");
            assert!(end.answer.starts_with(&format!("{status:04X}")), "{}", end.answer);
        }
        assert_eq!(answered(0xA700).end("1.2", 2, &retries, 0.5).due_in_ms, 1_000);
        assert_eq!(answered(0xA700).end("1.2", 2, &retries, 0.0).due_in_ms, 0);
    }

    #[test]
    fn what_is_kept_names_nobody() {
        let words = "A700, out of resources: study 1.2.840.113619.2.55.3.604688119.971.1 \n\u{7}is locked";
        let kept = kept(words);
        assert!(kept.starts_with("A700, out of resources: study ") && kept.ends_with("is locked"), "{kept}");
        assert!(!kept.contains("113619") && !kept.contains('\n'), "{kept}");
        let class = "it refuses SOP class 1.2.840.10008.5.1.4.1.1.88.34: never";
        assert_eq!(super::kept(class), class);
        assert_eq!(super::kept(&"x".repeat(10_000)).len(), MAX_ANSWER);
    }
}
