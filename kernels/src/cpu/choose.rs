//! From scores to a token.

use crate::choice::{Choice, ChoiceError, Draw, Likely, Pick};

/// Chooses from one row, of which the excluded token is no part.
pub(super) fn choose(scores: &[f32], excluded: Option<u32>, pick: &Pick<'_>) -> Result<Choice, ChoiceError> {
    let words = || (0..).zip(scores.iter().copied()).filter(move |(token, _)| Some(*token) != excluded);
    if words().any(|(_, score)| score.is_nan() || score == f32::INFINITY) {
        return Err(ChoiceError::NotFinite);
    }
    // In rising order of token.
    let candidates: Vec<(u32, f32)> = match pick.mask {
        None => words().collect(),
        Some(mask) => allowed(mask).filter_map(|token| Some((token, *scores.get(token as usize)?))).collect(),
    };
    let candidates: Vec<(u32, f32)> = candidates.into_iter().filter(|(token, _)| Some(*token) != excluded).collect();
    let best = candidates.iter().copied().max_by(by_score).ok_or(ChoiceError::NothingAllowed)?;
    if !best.1.is_finite() {
        return Err(ChoiceError::NotFinite);
    }
    let all = log_sum_exp(words().map(|(_, score)| score));
    let masked = match pick.mask {
        None => all,
        Some(_) => log_sum_exp(candidates.iter().map(|(_, score)| *score)),
    };
    let likely = most_likely(&candidates, masked, pick.likely);
    let token = pick.draw.map_or(best.0, |draw| drawn(candidates, &draw));
    let score = f64::from(scores[token as usize]);
    Ok(Choice { token, log_probability: score - masked, log_unmasked: score - all, likely })
}

/// The tokens of a mask, in rising order.
fn allowed(mask: &[u32]) -> impl Iterator<Item = u32> + '_ {
    (0..).zip(mask).flat_map(|(word, bits): (u32, &u32)| {
        let mut left = *bits;
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros())?;
            left &= left - 1;
            Some(word * 32 + bit)
        })
    })
}

/// Higher score first, 0 before −0; of equal ones the lower token, so that ties do not depend on the order of the search.
fn by_score(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))
}

/// In f64 and in order: the sum must not depend on how the work is split.
fn log_sum_exp(scores: impl Iterator<Item = f32> + Clone) -> f64 {
    let largest = scores.clone().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.map(|score| f64::from((score - largest).exp())).sum();
    f64::from(largest) + sum.ln()
}

fn most_likely(candidates: &[(u32, f32)], log_total: f64, count: usize) -> Vec<Likely> {
    let mut top: Vec<(u32, f32)> = Vec::with_capacity(count.min(candidates.len()) + 1);
    for candidate in candidates {
        let at = top.partition_point(|kept| by_score(kept, candidate).is_gt());
        if at < count {
            top.insert(at, *candidate);
            top.truncate(count);
        }
    }
    top.into_iter().map(|(token, score)| Likely { token, log_probability: f64::from(score) - log_total }).collect()
}

/// One of the most likely tokens that together have `top_p` of the probability at the given temperature.
fn drawn(mut kept: Vec<(u32, f32)>, draw: &Draw) -> u32 {
    kept.retain(|(_, score)| score.is_finite());
    kept.sort_by(|a, b| by_score(b, a));
    let largest = kept[0].1;
    let weights: Vec<f64> =
        kept.iter().map(|(_, score)| (f64::from(score - largest) / f64::from(draw.temperature)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let most = draw.top_k.unwrap_or(usize::MAX).clamp(1, weights.len());
    let mut nucleus = 0.0;
    let mut count = 0;
    while count < most && (count == 0 || nucleus < total * f64::from(draw.top_p)) {
        nucleus += weights[count];
        count += 1;
    }
    let mut left = draw.unit * nucleus;
    for (weight, (token, _)) in weights[..count].iter().zip(&kept) {
        left -= weight;
        if left < 0.0 {
            return *token;
        }
    }
    kept[count - 1].0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose_all(scores: &[f32], draw: Option<Draw>) -> Choice {
        choose(scores, None, &Pick { mask: None, draw, likely: 3 }).unwrap()
    }

    fn at(unit: f64) -> Draw {
        Draw { temperature: 1.0, top_k: None, top_p: 1.0, unit }
    }

    #[test]
    fn greedy_takes_the_best_and_the_lower_of_equals() {
        let choice = choose_all(&[0.0, 2.0, 1.0, 2.0], None);
        assert_eq!(choice.token, 1);
        let order: Vec<_> = choice.likely.iter().map(|likely| likely.token).collect();
        assert_eq!(order, [1, 3, 2]);
    }

    #[test]
    fn probabilities_are_of_the_softmax() {
        let choice = choose_all(&[1.0f32.ln(), 2.0f32.ln(), 5.0f32.ln()], None);
        assert!((choice.log_probability.exp() - 0.625).abs() < 1e-6);
        assert_eq!(choice.log_probability, choice.log_unmasked);
        assert!((choice.likely[1].log_probability.exp() - 0.25).abs() < 1e-6);
    }

    #[test]
    fn a_mask_leaves_its_tokens_and_the_excluded_one_is_none() {
        let scores = [5.0, 1.0, 4.0, 1.0, f32::NAN];
        let pick = Pick { mask: Some(&[0b1_1010]), draw: None, likely: 9 };
        let choice = choose(&scores, Some(4), &pick).unwrap();
        assert_eq!((choice.token, choice.likely.len()), (1, 2));
        assert!((choice.log_probability - 0.5f64.ln()).abs() < 1e-6);
        assert!(choice.log_unmasked < -4.0);
        assert_eq!(choose(&scores, None, &pick), Err(ChoiceError::NotFinite));
        let nothing = Pick { mask: Some(&[0b1_0000]), ..pick };
        assert_eq!(choose(&scores, Some(4), &nothing), Err(ChoiceError::NothingAllowed));
        // A mask that is too short allows nothing beyond it, and one that is too long names no token.
        assert_eq!(choose(&[0.0; 40], None, &Pick { mask: Some(&[0]), ..pick }), Err(ChoiceError::NothingAllowed));
        assert_eq!(choose(&[0.0; 4], None, &Pick { mask: Some(&[0b1_0100, 9]), ..pick }).unwrap().token, 2);
    }

    #[test]
    fn scores_that_are_not_numbers_are_refused() {
        for scores in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY, f32::NEG_INFINITY]] {
            assert_eq!(choose(&scores, None, &Pick::default()), Err(ChoiceError::NotFinite));
        }
    }

    #[test]
    fn tokens_share_the_range_of_a_draw_by_their_probabilities() {
        let scores = [1.0f32.ln(), 3.0f32.ln(), f32::NEG_INFINITY];
        for (unit, token) in [(0.0, 1), (0.749, 1), (0.751, 0), (0.999_999, 0)] {
            assert_eq!(choose_all(&scores, Some(at(unit))).token, token, "{unit}");
        }
    }

    #[test]
    fn top_p_and_top_k_leave_out_the_unlikely() {
        let scores = [6.0f32.ln(), 3.0f32.ln(), 1.0f32.ln()];
        let last = at(0.999);
        assert_eq!(choose_all(&scores, Some(last)).token, 2);
        assert_eq!(choose_all(&scores, Some(Draw { top_p: 0.85, ..last })).token, 1);
        assert_eq!(choose_all(&scores, Some(Draw { top_p: 0.0, ..last })).token, 0);
        assert_eq!(choose_all(&scores, Some(Draw { top_k: Some(2), ..last })).token, 1);
        assert_eq!(choose_all(&scores, Some(Draw { top_k: Some(0), ..last })).token, 0);
    }
}
