//! Who looked at which study just now: one look is one record in the audit, and not one for each of its three hundred slices.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prelim_proto::ids::Uid;

/// How long a look lasts.
const LASTS: Duration = Duration::from_secs(600);
/// Looks that are remembered; of one that is forgotten there is another record.
const MAX_LOOKS: usize = 10_000;

/// Looks at studies.
#[derive(Default)]
pub(super) struct Viewed(Mutex<VecDeque<(String, Uid, Instant)>>);

impl Viewed {
    /// Whether this one's look at the study is on record.
    pub(super) fn is_noted(&self, caller: &str, study: &Uid) -> bool {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.iter().rev().any(|(who, what, at)| what == study && who == caller && at.elapsed() < LASTS)
    }

    /// Notes that it is.
    pub(super) fn note(&self, caller: &str, study: &Uid) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|(who, what, at)| !(what == study && who == caller) && at.elapsed() < LASTS);
        looks.push_back((caller.to_owned(), study.clone(), Instant::now()));
        if looks.len() > MAX_LOOKS {
            looks.pop_front();
        }
    }
}
