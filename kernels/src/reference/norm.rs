//! Norms.

use super::Reference;
use crate::args::{AddRmsNorm, LayerNorm};

/// `x / √(mean(x²) + eps) · (offset + w)`
pub(super) fn rms(x: &[f32], (weight, offset): (&[f32], f32), eps: f32, out: &mut [f32]) {
    let square: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let scale = 1.0 / (square / x.len() as f64 + f64::from(eps)).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (f64::from(*x) * scale * (f64::from(offset) + f64::from(*weight))) as f32;
    }
}

pub(super) fn add_rms(args: AddRmsNorm<'_, Reference>) {
    let width = args.width;
    let mut normed = vec![0.0; width];
    let mut next = args.next;
    for row in 0..args.rows {
        let at = row * width..(row + 1) * width;
        rms(&args.branch[at.clone()], (args.post, 1.0), args.eps, &mut normed);
        let residual = &mut args.residual[at.clone()];
        for (residual, normed) in residual.iter_mut().zip(&normed) {
            *residual += normed;
        }
        if let Some((weight, out)) = &mut next {
            rms(residual, (weight, 1.0), args.eps, &mut out[at]);
        }
    }
}

/// `(x − mean) / √(variance + eps) · w + b`
pub(super) fn layer(args: LayerNorm<'_, Reference>) {
    let width = args.width;
    for row in 0..args.rows {
        let x = &args.x[row * width..][..width];
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + f64::from(args.eps)).sqrt();
        for (index, x) in x.iter().enumerate() {
            let normed = (f64::from(*x) - mean) * scale;
            args.out[row * width + index] =
                (normed * f64::from(args.weight[index]) + f64::from(args.bias[index])) as f32;
        }
    }
}
