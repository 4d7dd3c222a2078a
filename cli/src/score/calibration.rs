//! Whether confidences mean what they say.

/// Bins of equal width between 0 and 1.
const BINS: usize = 10;

/// Expected calibration error (Naeini et al., AAAI 2015) of `(confidence, right)`: the mean distance between confidence
/// and accuracy over ten equal bins, each weighted by what falls into it. Nothing where there are no claims.
pub(crate) fn expected_error(claims: &[(f64, bool)]) -> Option<f64> {
    if claims.is_empty() {
        return None;
    }
    let mut bins = [(0usize, 0.0f64, 0usize); BINS];
    for (confidence, right) in claims {
        let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += 1;
        bin.1 += confidence;
        bin.2 += usize::from(*right);
    }
    let distance: f64 = bins.iter().map(|(_, confidence, right)| (confidence - *right as f64).abs()).sum();
    Some(distance / claims.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_distance_between_confidence_and_accuracy() {
        assert_eq!(expected_error(&[]), None);
        // Ten claims at 0.8 of which eight are right: perfectly calibrated.
        let even: Vec<(f64, bool)> = (0..10).map(|i| (0.8, i < 8)).collect();
        assert!(expected_error(&even).unwrap() < 1e-12);
        // Sure and always wrong.
        assert_eq!(expected_error(&[(1.0, false)]), Some(1.0));
        // Errors of two bins do not cancel.
        let error = expected_error(&[(0.9, false), (0.1, true)]).unwrap();
        assert!((error - 0.9).abs() < 1e-12, "{error}");
    }
}
