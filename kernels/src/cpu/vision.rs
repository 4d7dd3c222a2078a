//! Pictures to patches, and patches to their means.

use crate::args::{AveragePool, PatchEmbed, Then};

use super::Cpu;
use super::lanes::InstructionSet;
use super::product::{Epilogue, Product};
use super::work::Work;

/// Cuts pictures into rows of `channels · patch · patch` values, multiplies, and adds positions.
pub(super) fn patch_embed(set: InstructionSet, work: Work<'_>, args: PatchEmbed<'_, Cpu>) {
    let (side, patch, channels) = (args.side, args.patch, args.channels);
    let grid = side / patch;
    let mut rows = vec![0.0f32; args.images * channels * grid * grid * patch * patch];
    let per_patch = channels * patch * patch;
    for (index, row) in rows.chunks_exact_mut(per_patch).enumerate() {
        let (image, place) = (index / (grid * grid), index % (grid * grid));
        let (top, left) = (place / grid * patch, place % grid * patch);
        for (line, to) in row.chunks_exact_mut(patch).enumerate() {
            let (channel, y) = (line / patch, line % patch);
            let from = ((image * channels + channel) * side + top + y) * side + left;
            to.copy_from_slice(&args.pixels[from..from + patch]);
        }
    }
    let embedded = grid * grid * args.weight.rows;
    for image in args.out.chunks_exact_mut(embedded).take(args.images) {
        image.copy_from_slice(&args.positions[..embedded]);
    }
    let epilogue = Epilogue::Each { bias: Some(args.bias), then: Then::Add };
    let count = args.images * grid * grid;
    Product { x: &rows, rows: count, weight: args.weight, epilogue, out: args.out }.run(set, work);
}

/// Means of `kernel · kernel` patches.
pub(super) fn average_pool(args: AveragePool<'_, Cpu>) {
    let (side, kernel, width) = (args.side, args.kernel, args.width);
    let out_side = side / kernel;
    let count = args.images * out_side * out_side;
    for (index, out) in args.out.chunks_exact_mut(width).take(count).enumerate() {
        let (image, y, x) = (index / (out_side * out_side), index / out_side % out_side, index % out_side);
        out.fill(0.0);
        for near in 0..kernel * kernel {
            let (y, x) = (y * kernel + near / kernel, x * kernel + near % kernel);
            let patch = &args.x[((image * side + y) * side + x) * width..][..width];
            for (out, value) in out.iter_mut().zip(patch) {
                *out += value;
            }
        }
        let patches = (kernel * kernel) as f32;
        out.iter_mut().for_each(|out| *out /= patches);
    }
}
