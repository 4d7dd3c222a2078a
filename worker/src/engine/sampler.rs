//! From scores to one token, and how likely it was.

use super::grammar::Mask;
use super::request::{Alternative, Sampling};
use super::tokenizer::TokenId;

/// Scores that no token can be chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// The model computed something that is not a number.
    #[error("model's scores are not finite")]
    NotFinite,
    /// The grammar allows no token at all.
    #[error("grammar allows no token")]
    NothingAllowed,
}

/// The token chosen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub(super) token: TokenId,
    /// Among the tokens that the grammar allows.
    pub(super) probability: f32,
    /// Among all tokens.
    pub(super) unmasked: f32,
    /// The most likely allowed tokens, the chosen one included.
    pub(super) alternatives: Vec<Alternative>,
}

/// Chooses a token. `place` is its place in the answer: the random number belongs to seed and place alone, so that
/// neither the batch nor a preemption changes it.
pub(super) fn choose(
    scores: &[f32],
    mask: Option<&Mask>,
    sampling: &Sampling,
    place: u64,
    alternatives: usize,
) -> Result<Choice, SampleError> {
    if scores.iter().any(|score| score.is_nan() || *score == f32::INFINITY) {
        return Err(SampleError::NotFinite);
    }
    let candidates = candidates(scores, mask);
    let best = candidates.iter().copied().max_by(by_score).ok_or(SampleError::NothingAllowed)?;
    if !best.1.is_finite() {
        return Err(SampleError::NotFinite);
    }
    let all = log_sum_exp(scores.iter().copied());
    let masked = match mask {
        None => all,
        Some(_) => log_sum_exp(candidates.iter().map(|(_, score)| *score)),
    };
    let top = most_likely(&candidates, masked, alternatives);
    let token =
        if sampling.temperature > 0.0 { draw(candidates, sampling, unit(sampling.seed, place)) } else { best.0 };
    let score = f64::from(scores[token as usize]);
    Ok(Choice {
        token,
        probability: (score - masked).exp() as f32,
        unmasked: (score - all).exp() as f32,
        alternatives: top,
    })
}

/// Allowed tokens with their scores, in rising order of token.
fn candidates(scores: &[f32], mask: Option<&Mask>) -> Vec<(TokenId, f32)> {
    match mask {
        None => (0..).zip(scores.iter().copied()).collect(),
        Some(mask) => mask.tokens().filter_map(|token| Some((token, *scores.get(token as usize)?))).collect(),
    }
}

/// Higher score first; of equal ones the lower token, so that ties do not depend on the order of the search.
fn by_score(a: &(TokenId, f32), b: &(TokenId, f32)) -> std::cmp::Ordering {
    a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))
}

/// In f64 and in order: the sum must not depend on how the work is split.
fn log_sum_exp(scores: impl Iterator<Item = f32> + Clone) -> f64 {
    let largest = scores.clone().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.map(|score| f64::from((score - largest).exp())).sum();
    f64::from(largest) + sum.ln()
}

fn most_likely(candidates: &[(TokenId, f32)], log_total: f64, count: usize) -> Vec<Alternative> {
    let mut top: Vec<(TokenId, f32)> = Vec::with_capacity(count + 1);
    for candidate in candidates {
        let at = top.partition_point(|kept| by_score(kept, candidate).is_gt());
        if at < count {
            top.insert(at, *candidate);
            top.truncate(count);
        }
    }
    top.into_iter()
        .map(|(token, score)| Alternative { token, probability: (f64::from(score) - log_total).exp() as f32 })
        .collect()
}

/// One of the most likely tokens that together have `top_p` of the probability at the given temperature.
fn draw(mut kept: Vec<(TokenId, f32)>, sampling: &Sampling, unit: f64) -> TokenId {
    kept.retain(|(_, score)| score.is_finite());
    kept.sort_by(|a, b| by_score(b, a));
    let largest = kept[0].1;
    let weights: Vec<f64> =
        kept.iter().map(|(_, score)| (f64::from(score - largest) / f64::from(sampling.temperature)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut nucleus = 0.0;
    let mut count = 0;
    while count < weights.len() && (count == 0 || nucleus < total * f64::from(sampling.top_p)) {
        nucleus += weights[count];
        count += 1;
    }
    let mut left = unit * nucleus;
    for (weight, (token, _)) in weights[..count].iter().zip(&kept) {
        left -= weight;
        if left < 0.0 {
            return *token;
        }
    }
    kept[count - 1].0
}

/// A number in 0..1 from a seed and a place: SplitMix64 (Steele, Lea and Flood 2014), which needs no state.
fn unit(seed: u64, place: u64) -> f64 {
    let mut z = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: Sampling = Sampling { temperature: 0.0, top_p: 1.0, seed: 0 };

    fn choose_all(scores: &[f32], sampling: Sampling, place: u64) -> Choice {
        choose(scores, None, &sampling, place, 3).unwrap()
    }

    #[test]
    fn greedy_takes_the_best_and_the_lower_of_equals() {
        let choice = choose_all(&[0.0, 2.0, 1.0, 2.0], GREEDY, 0);
        assert_eq!(choice.token, 1);
        let order: Vec<_> = choice.alternatives.iter().map(|a| a.token).collect();
        assert_eq!(order, [1, 3, 2]);
    }

    #[test]
    fn probabilities_are_of_the_softmax() {
        let choice = choose_all(&[1.0f32.ln(), 2.0f32.ln(), 5.0f32.ln()], GREEDY, 0);
        assert!((choice.probability - 0.625).abs() < 1e-6);
        assert_eq!(choice.probability, choice.unmasked);
        assert!((choice.alternatives[1].probability - 0.25).abs() < 1e-6);
    }

    #[test]
    fn scores_that_are_not_numbers_are_refused() {
        for scores in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY, f32::NEG_INFINITY]] {
            assert_eq!(choose(&scores, None, &GREEDY, 0, 0), Err(SampleError::NotFinite));
        }
    }

    #[test]
    fn a_draw_depends_on_seed_and_place_alone_and_follows_the_probabilities() {
        let scores = [1.0f32.ln(), 3.0f32.ln(), f32::NEG_INFINITY];
        let sampling = Sampling { temperature: 1.0, top_p: 1.0, seed: 7 };
        let draws: Vec<_> = (0..4000).map(|place| choose_all(&scores, sampling, place).token).collect();
        assert_eq!(draws[17], choose_all(&scores, sampling, 17).token);
        let ones = draws.iter().filter(|token| **token == 1).count();
        assert!((2900..3100).contains(&ones), "{ones}");
        assert!(!draws.contains(&2));
    }

    #[test]
    fn top_p_leaves_out_the_unlikely() {
        let scores = [6.0f32.ln(), 3.0f32.ln(), 1.0f32.ln()];
        let sampling = Sampling { temperature: 1.0, top_p: 0.85, seed: 3 };
        assert!((0..2000).all(|place| choose_all(&scores, sampling, place).token != 2));
    }
}
