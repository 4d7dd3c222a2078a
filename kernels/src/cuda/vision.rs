//! The vision tower's own operations: kernels `pack_patches_*`, `average_pool`.

use super::Cuda;
use super::launch::{Geometry, Pack, Pool, Product, narrowed};
use crate::args::{AveragePool, PatchEmbed};

impl Cuda {
    /// A patch is a row of a product, and its position is what the product is added to.
    pub(super) fn embed_patches(&self, args: PatchEmbed<'_, Self>) {
        let device = &self.device;
        // Pictures are no part of a pass that repeats.
        device.flush();
        let grid = args.side / args.patch;
        let rows = args.images * grid * grid;
        if rows == 0 {
            return;
        }
        let pictures = Pack {
            x: device.address(&args.pixels.values),
            width: narrowed(args.channels * args.patch * args.patch),
            side: narrowed(args.side),
            patch: narrowed(args.patch),
            ..Pack::default()
        };
        let patches = self.pack_with("pack_patches", rows, pictures);
        let epilogue = Product {
            bias: device.address(&args.bias.values),
            addend: device.address(&args.positions.values),
            addend_rows: narrowed(grid * grid),
            out: device.target(args.out),
            columns: narrowed(args.weight.rows),
            ..Product::default()
        };
        self.multiply("linear", &patches, rows, args.weight, epilogue);
    }

    pub(super) fn pool(&self, args: AveragePool<'_, Self>) {
        let device = &self.device;
        let out_side = args.side / args.kernel;
        let arguments = Pool {
            x: device.address(&args.x.values),
            out: device.target(args.out),
            images: narrowed(args.images),
            side: narrowed(args.side),
            kernel: narrowed(args.kernel),
            width: narrowed(args.width),
        };
        let values = args.images * out_side * out_side * args.width;
        device.launch("average_pool", Geometry::values(values), &arguments);
    }
}
