//! The steps between neighbouring slices.

/// Slices closer than this are in one place, in mm.
pub(super) const SAME_PLACE_MM: f64 = 0.01;
/// A step this many times the median leaves slices out, unless that is the way of the scan there.
const GAP_FACTOR: f64 = 1.5;
/// Neighbouring steps that are alike, to this part of the larger, are of one protocol.
const ALIKE_PART: f64 = 0.1;
/// So many steps alike are a protocol. Heads are scanned with thicker slices further up.
const PROTOCOL_STEPS: usize = 3;

/// What the steps between slices in order tell.
pub(super) struct Steps {
    pub(super) median_mm: Option<f64>,
    /// Smallest and largest of those that are no gap.
    pub(super) regular_mm: Option<(f64, f64)>,
    /// Place before each gap, and the step there.
    pub(super) gaps: Vec<(usize, f64)>,
}

impl Steps {
    /// The steps between ascending places.
    pub(super) fn of(along_mm: &[f64]) -> Self {
        let steps: Vec<f64> = along_mm.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut sorted = steps.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(&median) = sorted.get(sorted.len().saturating_sub(1) / 2) else {
            return Self { median_mm: None, regular_mm: None, gaps: Vec::new() };
        };
        let is_gap = |place: usize| steps[place] > GAP_FACTOR * median && run(&steps, place) < PROTOCOL_STEPS;
        let (gaps, regular): (Vec<usize>, Vec<usize>) = (0..steps.len()).partition(|&place| is_gap(place));
        let ends = regular.iter().map(|&place| steps[place]);
        let smallest = ends.clone().fold(f64::INFINITY, f64::min);
        let largest = ends.fold(0.0, f64::max);
        Self {
            median_mm: Some(median),
            regular_mm: Some((smallest, largest)),
            gaps: gaps.into_iter().map(|place| (place, steps[place])).collect(),
        }
    }
}

/// How many steps side by side are like the one at `place`, with it.
fn run(steps: &[f64], place: usize) -> usize {
    let alike = |step: &&f64| (**step - steps[place]).abs() <= ALIKE_PART * step.max(steps[place]);
    let before = steps[..place].iter().rev().take_while(alike).count();
    before + steps[place..].iter().take_while(alike).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(along_mm: &[f64], median: f64, regular: (f64, f64), gaps: &[(usize, f64)]) {
        let steps = Steps::of(along_mm);
        assert_eq!((steps.median_mm, steps.regular_mm), (Some(median), Some(regular)), "{along_mm:?}");
        assert_eq!(steps.gaps, gaps, "{along_mm:?}");
    }

    #[test]
    fn a_missing_slice_is_a_gap_and_a_protocol_is_not() {
        check(&[0.0, 5.0, 10.0, 20.0, 25.0], 5.0, (5.0, 5.0), &[(2, 10.0)]);
        check(&[0.0, 5.0, 15.0, 25.0, 30.0, 35.0], 5.0, (5.0, 5.0), &[(1, 10.0), (2, 10.0)]);
        // Thin slices far apart, all alike.
        check(&[0.0, 10.0, 20.0], 10.0, (10.0, 10.0), &[]);
        // Thicker slices further up.
        check(&[0.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 40.0], 4.0, (4.0, 8.0), &[]);
        assert_eq!(Steps::of(&[1.0]).median_mm, None);
    }
}
