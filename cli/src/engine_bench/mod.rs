//! How fast the model's passes are, ours and those of other programs on the same weights and prompts.
//!
//! - `checkpoint`: random weights in a published model's make; `ours`: our model; `peers`: other programs, as processes
//! - `reports`: the whole path

pub(crate) mod checkpoint;
pub(crate) mod ours;
pub(crate) mod peers;
pub(crate) mod reports;

use serde::{Deserialize, Serialize};

/// What is asked of everyone.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Sequences that are computed at once, in turn.
    pub(crate) batches: Vec<usize>,
    /// Tokens of a prompt beside its image.
    pub(crate) words: usize,
    /// Tokens generated after it.
    pub(crate) steps: usize,
}

/// Passes of a batch, in s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Images to soft tokens; none for a program that is not asked for it.
    pub(crate) encode_s: Option<f64>,
    /// Prompts read.
    pub(crate) prefill_s: f64,
    /// A token more for every sequence.
    pub(crate) step_s: f64,
}

/// The times of a round, for each number of sequences.
pub(crate) type Figures = Vec<Times>;

/// The median of every time over rounds, each by itself.
pub(crate) fn medians(rounds: &[Figures]) -> Figures {
    let median = |batch: usize, of: fn(&Times) -> Option<f64>| {
        let mut all: Vec<f64> = rounds.iter().filter_map(|round| of(&round[batch])).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let of = |batch: usize| Times {
        encode_s: median(batch, |times| times.encode_s),
        prefill_s: median(batch, |times| Some(times.prefill_s)).unwrap_or(f64::NAN),
        step_s: median(batch, |times| Some(times.step_s)).unwrap_or(f64::NAN),
    };
    (0..rounds.first().map_or(0, Vec::len)).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_has_its_own_median() {
        let round = |encode_s: f64, step_s: f64| vec![Times { encode_s: Some(encode_s), prefill_s: 1.0, step_s }; 2];
        let found = medians(&[round(3.0, 0.1), round(1.0, 0.3), round(2.0, 0.2)]);
        assert_eq!(found, round(2.0, 0.2));
    }
}
