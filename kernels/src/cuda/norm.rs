//! Norms: kernels `rms_norm_*`, `add_rms_norm_*`, `layer_norm_*`. Each leaves its rows in 16 bits, too, for the product that reads
//! them next.

use super::Cuda;
use super::launch::{Geometry, Norm, narrowed};
use super::memory::Buffer;
use crate::args::{AddRmsNorm, LayerNorm, RmsNorm, Rows};

impl Cuda {
    pub(super) fn norm_rows(&self, args: RmsNorm<'_, Self>) {
        let device = &self.device;
        let count = args.rows.count();
        let chosen = match args.rows {
            Rows::First(_) => None,
            Rows::At(rows) => Some(device.send("rows", rows).unwrap_or_else(|error| panic!("{error}"))),
        };
        let arguments = Norm {
            x: device.address(&args.x.values),
            rows: chosen.as_ref().map_or(0, |rows| device.address(rows)),
            weight: device.address(&args.weight.values),
            width: narrowed(args.width),
            eps: args.eps,
            offset: args.offset,
            ..Norm::default()
        };
        self.launch_norm("rms_norm", count, Some(args.out), arguments);
    }

    pub(super) fn add_and_norm(&self, args: AddRmsNorm<'_, Self>) {
        let device = &self.device;
        let (next, out) = args.next.map_or((0, None), |(weight, out)| (device.address(&weight.values), Some(out)));
        let arguments = Norm {
            x: device.address(&args.branch.values),
            weight: device.address(&args.post.values),
            bias: next,
            residual: device.target(args.residual),
            width: narrowed(args.width),
            eps: args.eps,
            offset: 1.0,
            ..Norm::default()
        };
        self.launch_norm("add_rms_norm", args.rows, out, arguments);
    }

    pub(super) fn norm_layer(&self, args: LayerNorm<'_, Self>) {
        let device = &self.device;
        let arguments = Norm {
            x: device.address(&args.x.values),
            weight: device.address(&args.weight.values),
            bias: device.address(&args.bias.values),
            width: narrowed(args.width),
            eps: args.eps,
            ..Norm::default()
        };
        self.launch_norm("layer_norm", args.rows, Some(args.out), arguments);
    }

    /// With all but the result filled in.
    fn launch_norm(&self, kernel: &str, rows: usize, out: Option<&mut Buffer>, mut arguments: Norm) {
        if rows == 0 {
            return;
        }
        if let Some(out) = out {
            let packed = self.room_beside(out, rows, arguments.width as usize);
            (arguments.packed, arguments.factor) = self.placed_rows(&packed);
            (arguments.depth, arguments.out) = (narrowed(packed.depth()), self.device.target(out));
            out.packed = Some(packed);
        }
        let kernel = format!("{kernel}_{}", self.precision.suffix());
        // A float for each warp.
        self.device.launch(&kernel, Geometry::blocks(rows, 256, 32), &arguments);
    }
}
