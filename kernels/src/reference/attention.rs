//! The decoder's attention over a paged cache.

use super::{Reference, ReferenceCache, dot, norm};
use crate::Arithmetic;
use crate::args::{Attend, HeadNorms, StoreKeysValues};

impl ReferenceCache {
    /// Where the head of a token begins.
    fn at(&self, layer: usize, (block, place): (usize, usize), head: usize) -> usize {
        let shape = &self.shape;
        let token = (layer * shape.blocks + block) * shape.block_tokens + place;
        (token * shape.kv_heads + head) * shape.head_dim
    }
}

/// Rotates the two halves of a head against each other: `[cos … | sin …]` are the angles of its pairs.
fn rotate(head: &mut [f32], angles: &[f32]) {
    let half = head.len() / 2;
    for pair in 0..half {
        let (a, b) = (f64::from(head[pair]), f64::from(head[pair + half]));
        let (cos, sin) = (f64::from(angles[pair]), f64::from(angles[pair + half]));
        head[pair] = (a * cos - b * sin) as f32;
        head[pair + half] = (b * cos + a * sin) as f32;
    }
}

/// A head as it is rotated: normed with one of the two weights, or as it is.
fn norm(norms: Option<(&Vec<f32>, HeadNorms<'_, Reference>)>, head: &[f32], out: &mut [f32]) {
    match norms {
        Some((weight, HeadNorms { offset, eps, .. })) => norm::rms(head, (weight, offset), eps, out),
        None => out.copy_from_slice(head),
    }
}

pub(super) fn store(arithmetic: Arithmetic, args: StoreKeysValues<'_, Reference>) {
    let shape = args.cache.shape;
    let (heads, width) = (args.heads, shape.head_dim);
    let all_heads = heads + 2 * shape.kv_heads;
    for span in &args.plan.spans {
        for index in 0..span.tokens {
            let row = span.row + index;
            let slot = span.slot(span.start + index, args.plan.block_tokens);
            let angles = &args.angles[row * width..][..width];
            let head = |index: usize| &args.qkv[(row * all_heads + index) * width..][..width];
            for q in 0..heads {
                let out = &mut args.q[(row * heads + q) * width..][..width];
                norm(args.norms.map(|norms| (norms.q, norms)), head(q), out);
                rotate(out, angles);
                round(arithmetic, out);
            }
            for kv in 0..shape.kv_heads {
                let at = args.cache.at(args.layer, slot, kv);
                let key = &mut args.cache.keys[at..at + width];
                norm(args.norms.map(|norms| (norms.k, norms)), head(heads + kv), key);
                rotate(key, angles);
                round(arithmetic, key);
                let value = &mut args.cache.values[at..at + width];
                value.copy_from_slice(head(heads + shape.kv_heads + kv));
                round(arithmetic, value);
            }
        }
    }
}

pub(super) fn attend(arithmetic: Arithmetic, args: Attend<'_, Reference>) {
    let shape = args.cache.shape;
    let (heads, width) = (args.heads, shape.head_dim);
    let group = heads / shape.kv_heads;
    for span in &args.plan.spans {
        for index in 0..span.tokens {
            let visible = span.visible(index, args.window);
            for head in 0..heads {
                let at = ((span.row + index) * heads + head) * width;
                let place = |position: usize| {
                    args.cache.at(args.layer, span.slot(position, args.plan.block_tokens), head / group)
                };
                let key = |position: usize| &args.cache.keys[place(position)..][..width];
                let value = |position: usize| &args.cache.values[place(position)..][..width];
                let scores: Vec<f32> =
                    visible.clone().map(|position| dot(&args.q[at..at + width], key(position)) * args.scale).collect();
                let weights = softmax(arithmetic, &scores);
                for lane in 0..width {
                    let terms = visible.clone().zip(&weights);
                    let sum: f64 = terms.map(|(position, weight)| weight * f64::from(value(position)[lane])).sum();
                    args.out[at + lane] = sum as f32;
                }
            }
        }
    }
}

pub(super) fn round(arithmetic: Arithmetic, values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = arithmetic.rounded(*value));
}

/// Weights that add up to 1. Those that are rounded are so before they are divided by their sum, which is of them as they
/// were.
pub(super) fn softmax(arithmetic: Arithmetic, scores: &[f32]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = scores.iter().map(|score| (f64::from(*score) - f64::from(largest)).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    let rounded = |value: f64| match arithmetic {
        Arithmetic::Exact => value,
        Arithmetic::Bf16 => f64::from(arithmetic.rounded(value as f32)),
    };
    exponentials.into_iter().map(|value| rounded(value) / sum).collect()
}
