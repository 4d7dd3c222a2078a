//! The vision tower's own operations.

use super::{Reference, attention, dot};
use crate::Arithmetic;
use crate::args::{AttendPatches, AveragePool, PatchEmbed};

pub(super) fn attend(arithmetic: Arithmetic, args: AttendPatches<'_, Reference>) {
    let mut qkv = args.qkv.clone();
    attention::round(arithmetic, &mut qkv);
    let (patches, heads, width) = (args.patches, args.heads, args.head_dim);
    // Part 0 is queries, 1 keys, 2 values.
    let part = |image: usize, patch: usize, part: usize, head: usize| {
        &qkv[(((image * patches + patch) * 3 + part) * heads + head) * width..][..width]
    };
    for image in 0..args.images {
        for patch in 0..patches {
            for head in 0..heads {
                let q = part(image, patch, 0, head);
                let scores: Vec<f32> =
                    (0..patches).map(|other| dot(q, part(image, other, 1, head)) * args.scale).collect();
                let weights = attention::softmax(arithmetic, &scores);
                let at = ((image * patches + patch) * heads + head) * width;
                for lane in 0..width {
                    let terms = weights.iter().enumerate();
                    let sum: f64 = terms.map(|(other, w)| w * f64::from(part(image, other, 2, head)[lane])).sum();
                    args.out[at + lane] = sum as f32;
                }
            }
        }
    }
}

pub(super) fn patch_embed(args: PatchEmbed<'_, Reference>) {
    let (side, patch) = (args.side, args.patch);
    let grid = side / patch;
    let width = args.weight.rows();
    let mut square = vec![0.0; args.channels * patch * patch];
    for image in 0..args.images {
        for place in 0..grid * grid {
            let (top, left) = (place / grid * patch, place % grid * patch);
            for (index, value) in square.iter_mut().enumerate() {
                let (channel, y, x) = (index / (patch * patch), index / patch % patch, index % patch);
                *value = args.pixels[((image * args.channels + channel) * side + top + y) * side + left + x];
            }
            for (index, product) in args.weight.times(&square).enumerate() {
                let value = product + args.bias[index] + args.positions[place * width + index];
                args.out[(image * grid * grid + place) * width + index] = value;
            }
        }
    }
}

pub(super) fn average_pool(args: AveragePool<'_, Reference>) {
    let (side, kernel, width) = (args.side, args.kernel, args.width);
    let out_side = side / kernel;
    for image in 0..args.images {
        for (y, x) in (0..out_side).flat_map(|y| (0..out_side).map(move |x| (y, x))) {
            for lane in 0..width {
                let near = (0..kernel).flat_map(|dy| (0..kernel).map(move |dx| (y * kernel + dy, x * kernel + dx)));
                let sum: f64 =
                    near.map(|(y, x)| f64::from(args.x[((image * side + y) * side + x) * width + lane])).sum();
                let mean = sum / (kernel * kernel) as f64;
                args.out[((image * out_side + y) * out_side + x) * width + lane] = mean as f32;
            }
        }
    }
}
