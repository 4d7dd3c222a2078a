//! Choosing a token, as the definitions read.

use crate::choice::{Choice, ChoiceError, Likely, Pick};

pub(super) fn choose(scores: &[f32], excluded: Option<u32>, pick: &Pick<'_>) -> Result<Choice, ChoiceError> {
    let tokens = 0..scores.len() as u32;
    let all: Vec<(u32, f64)> = tokens
        .filter(|token| Some(*token) != excluded)
        .map(|token| (token, f64::from(scores[token as usize])))
        .collect();
    if all.iter().any(|(_, score)| score.is_nan() || *score == f64::INFINITY) {
        return Err(ChoiceError::NotFinite);
    }
    let mut allowed: Vec<(u32, f64)> = all.iter().copied().filter(|(token, _)| pick.allows(*token)).collect();
    // The sort is stable: of equal scores the lower token comes first. The order is total: 0 is above −0.
    allowed.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = *allowed.first().ok_or(ChoiceError::NothingAllowed)?;
    if best.1 == f64::NEG_INFINITY {
        return Err(ChoiceError::NotFinite);
    }
    let log_total = |of: &[(u32, f64)]| {
        let largest = of.iter().fold(f64::NEG_INFINITY, |largest, (_, score)| largest.max(*score));
        largest + of.iter().map(|(_, score)| (score - largest).exp()).sum::<f64>().ln()
    };
    let (log_all, log_allowed) = (log_total(&all), log_total(&allowed));
    let token = match pick.draw {
        None => best.0,
        Some(draw) => {
            // At a temperature without end, −∞ over it would be no number: such tokens are as unlikely at any.
            let possible = || allowed.iter().filter(|(_, score)| *score > f64::NEG_INFINITY);
            let weight = |score: f64| ((score - best.1) / f64::from(draw.temperature)).exp();
            let total: f64 = possible().map(|(_, score)| weight(*score)).sum();
            let (mut nucleus, mut sum) = (Vec::new(), 0.0);
            for (token, score) in possible() {
                let is_full =
                    draw.top_k.is_some_and(|most| nucleus.len() >= most) || sum >= total * f64::from(draw.top_p);
                if !nucleus.is_empty() && is_full {
                    break;
                }
                sum += weight(*score);
                nucleus.push((*token, sum));
            }
            let chosen = nucleus.iter().find(|(_, until)| *until > draw.unit * sum);
            chosen.or(nucleus.last()).map_or(best.0, |(token, _)| *token)
        }
    };
    let likely = allowed.iter().take(pick.likely);
    let score = f64::from(scores[token as usize]);
    Ok(Choice {
        token,
        log_probability: score - log_allowed,
        log_unmasked: score - log_all,
        likely: likely.map(|(token, score)| Likely { token: *token, log_probability: score - log_allowed }).collect(),
    })
}
