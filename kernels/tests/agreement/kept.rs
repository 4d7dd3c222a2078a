//! Weights where they are in memory.

use prelim_kernels::{Activation, Backend, Dtype, Embed, GatedLinear, Linear, Storage, Then, WeightView};

use crate::cases::{Numbers, Weight};
use crate::dense::Shape;

/// Two weights of bf16, stacked and gated and as an embedding: where they are in memory, or copied.
pub(crate) fn run<B: Backend>(backend: &B, shape: Shape, keep: bool) -> Vec<f32> {
    let mut numbers = Numbers::new(7);
    let weights = [(); 2].map(|()| Weight::new(&mut numbers, shape.outputs, shape.inputs));
    let x = backend.upload(&numbers.vector(shape.rows * shape.inputs, 1.0)).unwrap();
    let (stacked, gated) = {
        let owners = weights.map(|weight| weight.kept());
        let views = [0, 1].map(|index| {
            let (owner, at) = &owners[index];
            let len = shape.outputs * Dtype::Bf16.row_bytes(shape.inputs);
            match keep {
                true => WeightView::kept(owner, *at, Dtype::Bf16, shape.outputs, shape.inputs),
                false => WeightView::new(&owner.bytes()[*at..][..len], Dtype::Bf16, shape.outputs, shape.inputs),
            }
        });
        let storage = Storage::Bf16;
        (backend.matrix(&views, storage).unwrap(), backend.gated(views[0], views[1], storage).unwrap())
    };
    let mut out = backend.buffer(shape.rows * 2 * shape.outputs);
    let then = Then::Store;
    backend.linear(Linear { x: &x, rows: shape.rows, weight: &stacked, bias: None, then, out: &mut out });
    let mut all = backend.download(&out, shape.rows * 2 * shape.outputs);
    let activation = Activation::GeluTanh;
    backend.gated_linear(GatedLinear { x: &x, rows: shape.rows, weight: &gated, activation, out: &mut out });
    all.extend(backend.download(&out, shape.rows * shape.outputs));
    let mut rows = backend.buffer(2 * shape.inputs);
    let ids = [0, 2 * shape.outputs as u32 - 1];
    backend.embed(Embed { table: &stacked, ids: &ids, scale: 1.0, out: &mut rows });
    all.extend(backend.download(&rows, 2 * shape.inputs));
    all
}
