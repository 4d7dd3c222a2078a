//! How far logits are from others, as numbers that can be compared over models.

use serde::Serialize;

/// Logits of some positions beside those of the same positions computed otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distance {
    /// Positions.
    pub positions: usize,
    /// The largest difference.
    pub largest: f32,
    /// The mean of differences without their signs.
    pub mean: f32,
    /// Kullback-Leibler divergence of the distributions over tokens from those that are beside, in nats, mean of positions.
    pub divergence: f32,
    /// Parts of positions at which the likeliest token is the same: of those with logits that are no numbers, none is.
    pub agreement: f32,
}

impl Distance {
    /// Of `found` from `beside`, `[positions, vocabulary]` both.
    ///
    /// # Panics
    /// Where they are of different lengths, or not of whole positions.
    pub fn of(found: &[f32], beside: &[f32], vocabulary: usize) -> Self {
        assert_eq!(found.len(), beside.len(), "logits of other positions");
        assert!(vocabulary > 0 && found.len().is_multiple_of(vocabulary), "logits of whole positions");
        let positions = found.len() / vocabulary;
        let rows = || found.chunks_exact(vocabulary).zip(beside.chunks_exact(vocabulary));
        let differences = || found.iter().zip(beside).map(|(a, b)| f64::from(a - b).abs());
        // What is no number is the largest of all.
        let larger = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        let divergence: f64 = rows().map(|(found, beside)| divergence(found, beside)).sum();
        let are_numbers = |row: &[f32]| !row.iter().any(|logit| logit.is_nan());
        let same = rows()
            .filter(|(found, beside)| {
                are_numbers(found) && are_numbers(beside) && likeliest(found) == likeliest(beside)
            })
            .count();
        let of = |sum: f64, count: usize| (sum / count.max(1) as f64) as f32;
        Self {
            positions,
            largest: differences().fold(0.0, larger) as f32,
            mean: of(differences().sum(), found.len()),
            divergence: of(divergence, positions),
            agreement: of(same as f64, positions),
        }
    }
}

/// `Σ p · (ln p − ln q)`, of p from the logits beside and q from those found.
fn divergence(found: &[f32], beside: &[f32]) -> f64 {
    let (log_q, log_p) = (logarithms(found), logarithms(beside));
    log_p.zip(log_q).map(|(log_p, log_q)| log_p.exp() * (log_p - log_q)).sum()
}

/// Logarithms of the probabilities.
fn logarithms(logits: &[f32]) -> impl Iterator<Item = f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    logits.iter().map(move |logit| f64::from(logit - largest) - sum.ln())
}

/// The first of the largest.
fn likeliest(logits: &[f32]) -> usize {
    let all = logits.iter().enumerate();
    all.fold((0, f32::NEG_INFINITY), |best, (at, logit)| if *logit > best.1 { (at, *logit) } else { best }).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_logits_are_no_distance_apart_and_a_constant_changes_no_probability() {
        let logits = [1.0, -2.0, 0.5, 3.0, 3.0, -1.0];
        let same = Distance::of(&logits, &logits, 3);
        assert_eq!(same, Distance { positions: 2, largest: 0.0, mean: 0.0, divergence: 0.0, agreement: 1.0 });
        let moved = logits.map(|logit| logit + 2.0);
        let found = Distance::of(&moved, &logits, 3);
        assert_eq!((found.largest, found.mean, found.agreement), (2.0, 2.0, 1.0));
        assert!(found.divergence.abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn a_divergence_is_that_of_the_formula() {
        // p = (1/2, 1/2), q = (3/4, 1/4): ln 2 - (ln 3)/2 = 0.14384 nats.
        let found = Distance::of(&[3f32.ln(), 0.0], &[0.0, 0.0], 2);
        assert!((found.divergence - 0.143_841).abs() < 1e-5, "{found:?}");
        // The second of equal tokens is likeliest in one of these only.
        let found = Distance::of(&[0.0, 1.0, 1.0, 0.0], &[0.0, 0.0, 0.0, 0.0], 2);
        assert_eq!((found.positions, found.agreement), (2, 0.5));
    }

    #[test]
    fn what_is_no_number_shows() {
        for (found, beside) in [([f32::NAN, 0.0], [0.0; 2]), ([f32::NAN; 2], [f32::NAN; 2])] {
            let distance = Distance::of(&found, &beside, 2);
            assert!(distance.largest.is_nan() && distance.agreement == 0.0, "{distance:?}");
        }
    }
}
