//! Weights as whole numbers, in every way that they come.

use half::bf16;
use prelim_kernels::{
    Activation, Backend, Bits, Dtype, Embed, GatedLinear, Grid, Linear, Owner, Storage, Then, WeightView,
};

use crate::cases::{Numbers, Weight};
use crate::dense::Shape;

/// How weights are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As floats, to be quantised.
    Made,
    /// As whole numbers, which stay where they are in memory.
    Kept,
    /// As the floats that the whole numbers stand for, to be kept as bf16.
    Floats,
    /// As whole numbers times scales, exactly, to be kept as f32.
    #[allow(dead_code, reason = "asked of processors only, and devices share these cases")]
    Products,
}

/// Whole numbers and their scales, at odd places in memory that stays.
struct Stored {
    numbers: Owner,
    scales: Owner,
}

const BEFORE: usize = 3;

fn stored(weight: &Weight, grid: Grid) -> Stored {
    let (mut numbers, mut scales) = (vec![0xff; BEFORE], vec![0xff; BEFORE]);
    let view = weight.view();
    for row in 0..view.rows {
        let (of_row, scales_of_row) = grid.quantise(&view.row(row));
        numbers.extend(of_row);
        scales.extend(scales_of_row.iter().flat_map(|scale| scale.to_le_bytes()));
    }
    Stored { numbers: Owner::new(numbers), scales: Owner::new(scales) }
}

/// Whole numbers times scales, which have no more bits than an f32.
fn products(stored: &Stored, grid: Grid) -> Vec<u8> {
    let bytes = |owner: &Owner| owner.bytes()[BEFORE..].to_vec();
    let scales = bytes(&stored.scales);
    let scales = scales.chunks_exact(2).map(|two| bf16::from_le_bytes([two[0], two[1]]).to_f32());
    let numbers: Vec<i32> = match grid.bits {
        Bits::Eight => bytes(&stored.numbers).iter().map(|number| i32::from(*number) - 128).collect(),
        Bits::Four => {
            bytes(&stored.numbers).iter().flat_map(|two| [two & 15, two >> 4]).map(|n| i32::from(n) - 8).collect()
        }
    };
    let groups = numbers.chunks_exact(grid.group).zip(scales);
    groups
        .flat_map(|(group, scale)| group.iter().map(move |number| *number as f32 * scale))
        .flat_map(f32::to_le_bytes)
        .collect()
}

/// Two weights, stacked and gated and as an embedding.
pub(crate) fn run<B: Backend>(backend: &B, shape: Shape, grid: Grid, way: Way) -> Vec<f32> {
    let mut numbers = Numbers::new(8);
    let weights = [(); 2].map(|()| Weight::new(&mut numbers, shape.outputs, shape.inputs));
    let x = backend.upload(&numbers.vector(shape.rows * shape.inputs, 1.0)).unwrap();
    let storage = if grid == Grid::INT4 { Storage::Int4 } else { Storage::Int8 };
    let (stacked, gated) = {
        let stored = [0, 1].map(|index| stored(&weights[index], grid));
        let views = [0, 1].map(|index| {
            let Stored { numbers, scales } = &stored[index];
            WeightView::quantised((numbers, BEFORE), (scales, BEFORE), grid, shape.outputs, shape.inputs)
        });
        let floats = views.map(|view| view.to_f32().iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        let products = stored.each_ref().map(|stored| products(stored, grid));
        let (views, storage) = match way {
            Way::Products => {
                let view = |index: usize| WeightView::new(&products[index], Dtype::F32, shape.outputs, shape.inputs);
                ([view(0), view(1)], Storage::F32)
            }
            Way::Made => (weights.each_ref().map(Weight::view), storage),
            // Whatever is asked for but f32.
            Way::Kept => (views, Storage::Bf16),
            Way::Floats => {
                let view = |index: usize| WeightView::new(&floats[index], Dtype::F32, shape.outputs, shape.inputs);
                ([view(0), view(1)], Storage::Bf16)
            }
        };
        (backend.matrix(&views, storage).unwrap(), backend.gated(views[0], views[1], storage).unwrap())
    };
    let mut out = backend.buffer(shape.rows * 2 * shape.outputs);
    let then = Then::Store;
    backend.linear(Linear { x: &x, rows: shape.rows, weight: &stacked, bias: None, then, out: &mut out });
    let mut all = backend.download(&out, shape.rows * 2 * shape.outputs);
    let (rows, activation) = (shape.rows, Activation::GeluTanh);
    backend.gated_linear(GatedLinear { x: &x, rows, weight: &gated, activation, out: &mut out });
    all.extend(backend.download(&out, shape.rows * shape.outputs));
    let mut rows = backend.buffer(2 * shape.inputs);
    let ids = [1, 2 * shape.outputs as u32 - 1];
    backend.embed(Embed { table: &stacked, ids: &ids, scale: 3.0, out: &mut rows });
    all.extend(backend.download(&rows, 2 * shape.inputs));
    all
}
