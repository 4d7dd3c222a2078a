//! Position embeddings for pictures of another size than the tower was trained with.

/// The coefficient of the cubic that PyTorch interpolates with (Keys 1981).
const A: f64 = -0.75;

/// A square of vectors `[from, from, width]` as one of `[to, to, width]`, as PyTorch's `interpolate` does it with
/// `mode="bicubic"`, `align_corners=False` and no antialiasing: beyond the edge, the edge goes on.
pub(super) fn interpolated(values: &[f32], from: usize, to: usize, width: usize) -> Vec<f32> {
    if from == to {
        return values.to_vec();
    }
    let taps: Vec<[(usize, f64); 4]> = (0..to).map(|place| taps(place, from, to)).collect();
    let mut out = Vec::with_capacity(to * to * width);
    for rows in &taps {
        for columns in &taps {
            for lane in 0..width {
                let at = |row: usize, column: usize| f64::from(values[(row * from + column) * width + lane]);
                let along = |row: usize| columns.iter().map(|(column, weight)| weight * at(row, *column)).sum::<f64>();
                out.push(rows.iter().map(|(row, weight)| weight * along(*row)).sum::<f64>() as f32);
            }
        }
    }
    out
}

/// Which four places a place is made of, and how much each counts.
fn taps(place: usize, from: usize, to: usize) -> [(usize, f64); 4] {
    let centre = (place as f64 + 0.5) * from as f64 / to as f64 - 0.5;
    let (first, part) = (centre.floor(), centre - centre.floor());
    std::array::from_fn(|tap| {
        let offset = tap as f64 - 1.0;
        let nearest = (first + offset).clamp(0.0, (from - 1) as f64) as usize;
        (nearest, cubic((part - offset).abs()))
    })
}

fn cubic(x: f64) -> f64 {
    match x {
        _ if x <= 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        _ if x < 2.0 => ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_keeps_every_bit() {
        let values: Vec<f32> = (0..18).map(|i| i as f32 / 7.0).collect();
        assert_eq!(interpolated(&values, 3, 3, 2), values);
    }

    #[test]
    fn what_is_even_stays_even() {
        for (from, to) in [(9, 8), (37, 16), (2, 5), (1, 3)] {
            let values = interpolated(&vec![3.25; from * from * 2], from, to, 2);
            assert_eq!(values.len(), to * to * 2);
            assert!(values.iter().all(|value| (value - 3.25).abs() < 1e-6), "{from} to {to}");
        }
    }

    /// Half as many: each place lies in the middle of two, whose weights are 0.59375, and theirs beside them -0.09375.
    #[test]
    fn the_cubic_is_that_of_pytorch() {
        let row = [1.0, 2.0, 4.0, 8.0];
        let values: Vec<f32> = (0..4).flat_map(|_| row).collect();
        let wanted = [0.59375 + 2.0 * 0.59375 - 0.09375 - 4.0 * 0.09375, 12.0 * 0.59375 - 10.0 * 0.09375];
        let found = interpolated(&values, 4, 2, 1);
        for (found, wanted) in found.iter().zip(wanted.iter().cycle()) {
            assert!((found - wanted).abs() < 1e-6, "{found} and not {wanted}");
        }
    }
}
