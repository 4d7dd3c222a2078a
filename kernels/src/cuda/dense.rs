//! Products and embeddings: kernels `linear_*`, `gated_*`, `activate`, `add_rows`, `embed_*`, `rope_angles`.

use super::launch::{Activated, Add, Angles, Gather, Geometry, Product, narrowed};
use super::memory::Buffer;
use super::packed::Packed;
use super::plan::Plan;
use super::weights::{Matrix, Numbers};
use super::{Cuda, device::Device};
use crate::args::{Activate, Activation, AddLowRank, AddRows, Embed, GatedLinear, Linear, Then};

/// Rows and columns of the result that a block computes, its threads, and its stages of so many bytes a row or column.
struct Shape {
    name: &'static str,
    rows: usize,
    columns: usize,
    threads: u32,
    /// Of a row or column, over all stages.
    bytes: usize,
}

const LARGE: Shape = Shape { name: "large", rows: 128, columns: 128, threads: 256, bytes: 4 * 32 * 2 };
const MEDIUM: Shape = Shape { name: "medium", rows: 64, columns: 64, threads: 128, bytes: 4 * 32 * 2 };
const SKINNY: Shape = Shape { name: "skinny", rows: 16, columns: 32, threads: 64, bytes: 8 * 64 * 2 };

impl Shape {
    /// The shape for a result of so many rows and columns; all give the same bits.
    fn of(device: &Device, rows: usize, columns: usize) -> &'static Self {
        let large = rows.div_ceil(LARGE.rows) * columns.div_ceil(LARGE.columns);
        match rows {
            0..=16 => &SKINNY,
            _ if large >= device.multiprocessors => &LARGE,
            _ => &MEDIUM,
        }
    }

    fn geometry(&self, rows: usize, columns: usize, numbers: &Numbers) -> Geometry {
        let grid = (narrowed(columns.div_ceil(self.columns)), narrowed(rows.div_ceil(self.rows)), 1);
        // Whole numbers have a scale of 16 bits for each 32.
        let of_column = match numbers {
            Numbers::Sixteen(_) => self.bytes,
            Numbers::Whole { bits, .. } => self.bytes * bits.count() / 16 + self.bytes / 32,
        };
        Geometry { grid, threads: self.threads, shared: narrowed(self.rows * self.bytes + self.columns * of_column) }
    }
}

/// Where a weight lies on the device, its scales and from one to the next of them, and what names its kernels.
fn placed(device: &Device, numbers: &Numbers) -> (u64, u64, u32, &'static str) {
    match numbers {
        Numbers::Sixteen(values) => (device.address(values), 0, 0, ""),
        Numbers::Whole { bits, packed, scales, scale_stride } => {
            (device.address(packed), device.address(scales), narrowed(*scale_stride), bits.name())
        }
    }
}

/// How linear.cu numbers activations; 0 is none.
fn number(activation: Activation) -> u32 {
    match activation {
        Activation::GeluTanh => 1,
        Activation::GeluErf => 2,
        Activation::Silu => 3,
    }
}

impl Cuda {
    /// Starts a product of packed rows, with the epilogue filled in.
    pub(super) fn multiply(&self, kernel: &str, x: &Packed, rows: usize, weight: &Matrix, epilogue: Product) {
        let shape = Shape::of(&self.device, rows, weight.rows);
        let (address, scales, scale_stride, kind) = placed(&self.device, &weight.numbers);
        let (place, factor) = self.placed_rows(x);
        let arguments = Product {
            x: place,
            factor,
            weight: address,
            scales,
            scale_stride,
            rows: narrowed(rows),
            outputs: narrowed(weight.rows),
            depth: narrowed(weight.depth),
            ..epilogue
        };
        let kernel = format!("{kernel}{kind}_{}_{}", shape.name, self.precision.suffix());
        self.device.launch(&kernel, shape.geometry(rows, weight.rows, &weight.numbers), &arguments);
    }

    pub(super) fn product(&self, args: Linear<'_, Self>) {
        let Linear { x, rows, weight, bias, then, out } = args;
        if rows == 0 {
            return;
        }
        let out = self.device.target(out);
        let epilogue = Product {
            bias: bias.map_or(0, |bias| self.device.address(&bias.values)),
            addend: if then == Then::Add { out } else { 0 },
            addend_rows: narrowed(rows),
            out,
            columns: narrowed(weight.rows),
            activation: match then {
                Then::Activate(activation) => number(activation),
                Then::Store | Then::Add => 0,
            },
            ..Product::default()
        };
        self.multiply("linear", &self.pack(x, 0..rows, weight.columns), rows, weight, epilogue);
    }

    pub(super) fn gated_product(&self, args: GatedLinear<'_, Self>) {
        let GatedLinear { x, rows, weight, activation, out } = args;
        if rows == 0 {
            return;
        }
        let out = self.device.target(out);
        let epilogue = Product {
            out,
            columns: narrowed(weight.outputs),
            addend_rows: 1,
            activation: number(activation),
            ..Product::default()
        };
        self.multiply("gated", &self.pack(x, 0..rows, weight.both.columns), rows, &weight.both, epilogue);
    }

    pub(super) fn low_rank(&self, args: AddLowRank<'_, Self>) {
        let AddLowRank { x, rows, down, up, out } = args;
        let (first, count) = (rows.start, rows.len());
        if count == 0 {
            return;
        }
        let mut inner = self.device.buffer(count * down.rows);
        let into_inner = self.device.target(&mut inner);
        let store = Product { out: into_inner, columns: narrowed(down.rows), addend_rows: 1, ..Product::default() };
        self.multiply("linear", &self.pack(x, rows, down.columns), count, down, store);
        let out = self.device.target(out) + (first * up.rows * size_of::<f32>()) as u64;
        let columns = narrowed(up.rows);
        let add = Product { addend: out, addend_rows: narrowed(count), out, columns, ..Product::default() };
        self.multiply("linear", &self.pack(&inner, 0..count, up.columns), count, up, add);
    }

    pub(super) fn activation(&self, args: Activate<'_, Self>) {
        if args.len > 0 {
            let arguments = Activated {
                times: args.times.map_or(0, |times| self.device.address(&times.values)),
                out: self.device.target(args.out),
                count: args.len as u64,
                activation: number(args.activation),
                padding: 0,
            };
            self.device.launch("activate", Geometry::values(args.len), &arguments);
        }
    }

    pub(super) fn add(&self, args: AddRows<'_, Self>) {
        let device = &self.device;
        let values = args.rows * args.width;
        if values > 0 {
            let arguments = Add {
                x: device.address(&args.x.values),
                scale: args.scale.map_or(0, |scale| device.address(&scale.values)),
                out: device.target(args.out),
                rows: narrowed(args.rows),
                width: narrowed(args.width),
            };
            device.launch("add_rows", Geometry::values(values), &arguments);
        }
    }

    pub(super) fn gather(&self, args: Embed<'_, Self>) {
        let device = &self.device;
        if args.ids.is_empty() {
            return;
        }
        let ids = device.send("token ids", args.ids).unwrap_or_else(|error| panic!("{error}"));
        let (table, scales, scale_stride, kind) = placed(device, &args.table.numbers);
        let arguments = Gather {
            table,
            scales,
            ids: device.address(&ids),
            out: device.target(args.out),
            width: narrowed(args.table.columns),
            depth: narrowed(args.table.depth),
            scale: args.scale,
            scale_stride,
        };
        let kernel = format!("embed{kind}_{}", self.precision.suffix());
        device.launch(&kernel, Geometry::blocks(args.ids.len(), 128, 0), &arguments);
    }

    pub(super) fn angles(&self, plan: &Plan, frequencies: &[f32]) -> Buffer {
        let device = &self.device;
        let values = plan.rows() * frequencies.len();
        let mut out = device.buffer(2 * values);
        let on_device = device.send("frequencies", frequencies).unwrap_or_else(|error| panic!("{error}"));
        let arguments = Angles {
            positions: device.address(&plan.positions),
            frequencies: device.address(&on_device),
            out: device.target(&mut out),
            rows: narrowed(plan.rows()),
            frequency_count: narrowed(frequencies.len()),
        };
        device.launch("rope_angles", Geometry::values(values), &arguments);
        out
    }
}
