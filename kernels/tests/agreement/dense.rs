//! Products, norms, embeddings and the vision tower's own operations, on any backend.

use prelim_kernels::{
    Activate, Activation, AddLowRank, AddRmsNorm, AddRows, AttendPatches, AveragePool, Backend, Dtype, Embed,
    GatedLinear, LayerNorm, Linear, PatchEmbed, PlaceRows, RmsNorm, Rows, Storage, Then, WeightView,
};

use crate::cases::{Numbers, Weight};

pub(crate) const ACTIVATIONS: [Activation; 3] = [Activation::GeluTanh, Activation::GeluErf, Activation::Silu];

pub(crate) const EPILOGUES: [Then; 5] = [
    Then::Store,
    Then::Add,
    Then::Activate(Activation::GeluTanh),
    Then::Activate(Activation::GeluErf),
    Then::Activate(Activation::Silu),
];

/// `[rows, inputs] · [outputs, inputs]ᵀ`
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

pub(crate) fn linear<B: Backend>(backend: &B, shape: Shape, storage: Storage, then: Then, biased: bool) -> Vec<f32> {
    let mut numbers = Numbers::new(1);
    let weight = Weight::new(&mut numbers, shape.outputs, shape.inputs);
    let bias = backend.upload(&numbers.vector(shape.outputs, 1.0)).unwrap();
    let x = backend.upload(&numbers.vector(shape.rows * shape.inputs, 1.0)).unwrap();
    let mut out = backend.upload(&numbers.vector(shape.rows * shape.outputs, 1.0)).unwrap();
    let weight = backend.matrix(&[weight.view()], storage).unwrap();
    let bias = biased.then_some(&bias);
    backend.linear(Linear { x: &x, rows: shape.rows, weight: &weight, bias, then, out: &mut out });

    backend.download(&out, shape.rows * shape.outputs)
}

/// Three weights stacked, as queries, keys and values are.
pub(crate) fn stacked<B: Backend>(backend: &B, shape: Shape, storage: Storage) -> Vec<f32> {
    let mut numbers = Numbers::new(2);
    let weights = [shape.outputs, shape.outputs / 2 + 1, 3].map(|rows| Weight::new(&mut numbers, rows, shape.inputs));
    let outputs = shape.outputs + shape.outputs / 2 + 4;
    let x = backend.upload(&numbers.vector(shape.rows * shape.inputs, 1.0)).unwrap();
    let mut out = backend.buffer(shape.rows * outputs);
    let views: Vec<_> = weights.iter().map(Weight::view).collect();
    let weight = backend.matrix(&views, storage).unwrap();
    let then = Then::Store;
    backend.linear(Linear { x: &x, rows: shape.rows, weight: &weight, bias: None, then, out: &mut out });
    backend.download(&out, shape.rows * outputs)
}

pub(crate) fn gated<B: Backend>(backend: &B, shape: Shape, storage: Storage, activation: Activation) -> Vec<f32> {
    let mut numbers = Numbers::new(3);
    let gate = Weight::new(&mut numbers, shape.outputs, shape.inputs);
    let up = Weight::new(&mut numbers, shape.outputs, shape.inputs);
    // Wide enough for the flat ends of GELU.
    let x = backend.upload(&numbers.vector(shape.rows * shape.inputs, 6.0)).unwrap();
    let mut out = backend.buffer(shape.rows * shape.outputs);
    let weight = backend.gated(gate.view(), up.view(), storage).unwrap();
    let rows = shape.rows;
    backend.gated_linear(GatedLinear { x: &x, rows, weight: &weight, activation, out: &mut out });
    backend.download(&out, shape.rows * shape.outputs)
}

/// A product, some rows of which an adapter adds to, through the activation alone and through the gated pair.
pub(crate) fn adapted<B: Backend>(backend: &B, shape: Shape, rank: usize, storage: Storage) -> Vec<f32> {
    let mut numbers = Numbers::new(9);
    let Shape { rows, inputs, outputs } = shape;
    let weights: [Weight; 3] = [(outputs, inputs), (rank, inputs), (outputs, rank)]
        .map(|(rows, columns)| Weight::new(&mut numbers, rows, columns));
    let matrix = |weight: &Weight| backend.matrix(&[weight.view()], storage).unwrap();
    let [weight, down, up] = [matrix(&weights[0]), matrix(&weights[1]), matrix(&weights[2])];
    let x = backend.upload(&numbers.vector(rows * inputs, 3.0)).unwrap();
    let times = backend.upload(&numbers.vector(rows * outputs, 1.0)).unwrap();
    let (mut alone, mut gated) = (backend.buffer(rows * outputs), backend.buffer(rows * outputs));
    let len = rows * outputs;
    for (times, out) in [(None, &mut alone), (Some(&times), &mut gated)] {
        backend.linear(Linear { x: &x, rows, weight: &weight, bias: None, then: Then::Store, out });
        backend.add_low_rank(AddLowRank { x: &x, rows: rows / 3..rows, down: &down, up: &up, out });
        backend.activate(Activate { len, activation: Activation::GeluTanh, times, out });
    }

    [backend.download(&alone, len), backend.download(&gated, len)].concat()
}

/// What [`gated`] computes, and the activation of the gate alone, by products without an epilogue and the activation after them.
pub(crate) fn gated_apart<B: Backend>(backend: &B, shape: Shape, storage: Storage, activation: Activation) -> Vec<f32> {
    let mut numbers = Numbers::new(3);
    let Shape { rows, inputs, outputs } = shape;
    let weights: [Weight; 2] = std::array::from_fn(|_| Weight::new(&mut numbers, outputs, inputs));
    let [gate, up] = weights.map(|weight| backend.matrix(&[weight.view()], storage).unwrap());
    let x = backend.upload(&numbers.vector(rows * inputs, 6.0)).unwrap();
    let (mut out, mut times, mut fused) =
        (backend.buffer(rows * outputs), backend.buffer(rows * outputs), backend.buffer(rows * outputs));
    for (weight, then, out) in [
        (&gate, Then::Store, &mut out),
        (&up, Then::Store, &mut times),
        (&gate, Then::Activate(activation), &mut fused),
    ] {
        backend.linear(Linear { x: &x, rows, weight, bias: None, then, out });
    }

    let gate = backend.download(&out, rows * outputs);
    let len = rows * outputs;
    let mut alone = backend.upload(&gate).unwrap();
    backend.activate(Activate { len, activation, times: None, out: &mut alone });
    backend.activate(Activate { len, activation, times: Some(&times), out: &mut out });

    assert_eq!(
        backend.download(&alone, len),
        backend.download(&fused, len),
        "{activation:?} after a product and in it"
    );
    backend.download(&out, len)
}

/// Numbers on both sides of zero, so many steps of a size, and some far out.
pub(crate) fn steps(count: i32, size: f32) -> Vec<f32> {
    let steps = (-count..=count).map(|step| step as f32 * size);
    steps.chain([-0.0, 8192.0, -8192.0]).collect()
}

/// An activation of numbers, which a product with 1 hands on.
pub(crate) fn activated<B: Backend>(backend: &B, activation: Activation, numbers: &[f32]) -> Vec<f32> {
    let one = 1.0f32.to_le_bytes();
    let weight = backend.matrix(&[WeightView::new(&one, Dtype::F32, 1, 1)], Storage::F32).unwrap();
    let rows = numbers.len();
    let x = backend.upload(numbers).unwrap();
    let mut out = backend.buffer(rows);
    let then = Then::Activate(activation);
    backend.linear(Linear { x: &x, rows, weight: &weight, bias: None, then, out: &mut out });
    // Large numbers are their own activations: what is left is held to one scale.
    let found = backend.download(&out, rows);
    found.iter().zip(numbers).map(|(found, x)| (found - x.max(0.0)) / x.abs().max(1.0)).collect()
}

/// Rows added to rows.
pub(crate) fn added<B: Backend>(backend: &B, rows: usize, width: usize, scaled: bool) -> Vec<f32> {
    let mut numbers = Numbers::new(11);
    let x = backend.upload(&numbers.vector(rows * width, 3.0)).unwrap();
    let scale = backend.upload(&numbers.vector(width, 2.0)).unwrap();
    let mut out = backend.upload(&numbers.vector(rows * width, 3.0)).unwrap();
    let scale = scaled.then_some(&scale);
    backend.add_rows(AddRows { x: &x, scale, rows, width, out: &mut out });
    backend.download(&out, rows * width)
}

/// RMS norm of some rows, add and norm, layer norm: one after the other. Rows have values to `scale` on both sides of `mean`.
pub(crate) fn norms<B: Backend>(backend: &B, rows: usize, width: usize, scale: f32, mean: f32) -> Vec<f32> {
    let mut numbers = Numbers::new(4);
    // What is added to a variance shows where numbers are small: in the last row, whose branch is nothing.
    let mut small_at_the_end = |scale: f32, mean: f32, last: f32| {
        let mut values: Vec<f32> = numbers.vector(rows * width, scale).iter().map(|value| value + mean).collect();
        if rows > 1 {
            values[(rows - 1) * width..].copy_from_slice(&numbers.vector(width, last));
        }
        backend.upload(&values).unwrap()
    };
    let (x, branch) = (small_at_the_end(scale, mean, 1e-3), small_at_the_end(1.0, 0.0, 0.0));
    let mut residual = small_at_the_end(scale, mean, 1e-3);
    let [weight, bias] = [(); 2].map(|()| backend.upload(&numbers.vector(width, 0.5)).unwrap());
    let (mut some, mut plain) = (backend.buffer(rows * width), backend.buffer(rows * width));
    let (mut next, mut last) = (backend.buffer(rows * width), backend.buffer(rows * width));
    let order: Vec<u32> = (0..rows as u32).rev().collect();
    let eps = 1e-6;
    let rows_at = Rows::At(&order);
    for (offset, out) in [(1.0, &mut some), (0.0, &mut plain)] {
        backend.rms_norm(RmsNorm { x: &x, rows: rows_at, weight: &weight, offset, width, eps, out });
    }
    backend.add_rms_norm(AddRmsNorm {
        branch: &branch,
        post: &bias,
        residual: &mut residual,
        next: Some((&weight, &mut next)),
        rows,
        width,
        eps,
    });
    backend.layer_norm(LayerNorm { x: &x, weight: &weight, bias: &bias, rows, width, eps, out: &mut last });

    [some, plain, residual, next, last].iter().flat_map(|buffer| backend.download(buffer, rows * width)).collect()
}

/// Embedding rows with an image in between.
pub(crate) fn embed<B: Backend>(backend: &B, width: usize, storage: Storage) -> Vec<f32> {
    let mut numbers = Numbers::new(5);
    let table = Weight::new(&mut numbers, 150, width);
    let table = backend.matrix(&[table.view()], storage).unwrap();
    let image = backend.upload(&numbers.vector(3 * width, 1.0)).unwrap();
    let ids = [0, 149, 64, 63, 7];
    let mut out = backend.buffer(ids.len() * width);
    backend.embed(Embed { table: &table, ids: &ids, scale: 8.5, out: &mut out });
    backend.place_rows(PlaceRows { from: &image, first: 1, rows: 2, width, at: 1, out: &mut out });
    backend.download(&out, ids.len() * width)
}

/// Means of squares of a grid.
pub(crate) fn pooled<B: Backend>(backend: &B, images: usize, side: usize, kernel: usize, width: usize) -> Vec<f32> {
    let x = backend.upload(&Numbers::new(12).vector(images * side * side * width, 2.0)).unwrap();
    let len = images * (side / kernel) * (side / kernel) * width;
    let mut out = backend.buffer(len);
    backend.average_pool(AveragePool { x: &x, images, side, kernel, width, out: &mut out });
    backend.download(&out, len)
}

/// Images, side of the grid, side of a square: 64 patches a side become 16 tokens in MedGemma.
pub(crate) const POOLS: [(usize, usize, usize); 4] = [(1, 4, 4), (2, 12, 4), (1, 9, 3), (2, 3, 1)];

/// A picture of so many patches, and a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture {
    pub(crate) images: usize,
    pub(crate) grid: usize,
    pub(crate) patch: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
}

/// Patch embedding, attention of patches and pooling: one after the other.
pub(crate) fn vision<B: Backend>(backend: &B, picture: Picture, storage: Storage) -> Vec<f32> {
    let Picture { images, grid, patch, heads, head_dim } = picture;
    let (width, side, patches) = (heads * head_dim, grid * patch, grid * grid);
    let mut numbers = Numbers::new(6);
    let weight = Weight::new(&mut numbers, width, 3 * patch * patch);
    let weight = backend.matrix(&[weight.view()], storage).unwrap();
    let mut vector = |len: usize, scale: f32| backend.upload(&numbers.vector(len, scale)).unwrap();
    let (pixels, bias) = (vector(images * 3 * side * side, 1.0), vector(width, 1.0));
    let positions = vector(patches * width, 1.0);
    let qkv = vector(images * patches * 3 * width, 2.0);
    let rows = images * patches;
    let (mut embedded, mut attended) = (backend.buffer(rows * width), backend.buffer(rows * width));
    let pooled_rows = images * (grid / 2) * (grid / 2);
    let mut pooled = backend.buffer(pooled_rows * width);
    backend.patch_embed(PatchEmbed {
        pixels: &pixels,
        images,
        channels: 3,
        side,
        patch,
        weight: &weight,
        bias: &bias,
        positions: &positions,
        out: &mut embedded,
    });
    let scale = (head_dim as f32).powf(-0.5);
    backend.attend_patches(AttendPatches { qkv: &qkv, images, patches, heads, head_dim, scale, out: &mut attended });
    backend.average_pool(AveragePool { x: &attended, images, side: grid, kernel: 2, width, out: &mut pooled });

    let mut all = backend.download(&embedded, rows * width);
    all.extend(backend.download(&attended, rows * width));
    all.extend(backend.download(&pooled, pooled_rows * width));
    all
}
