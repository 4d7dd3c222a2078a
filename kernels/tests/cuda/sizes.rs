//! Sizes that models have and the tables of small shapes do not: more chunks of a vocabulary, splits of a context and patches of
//! a picture than a block takes at once; and what lies beside what is computed. Once each, as the simulator takes its time.

use prelim_kernels::{Activation, Backend, Cuda, GatedLinear, Linear, Precision, Reference, Storage, Then};

use crate::cases::{Numbers, Weight, check, check_bits};
use crate::choose::{Case, check_choices};
use crate::decoder::{self, Heads, Sequence};
use crate::dense::{self, Picture};
use crate::operations::{PRECISIONS, everywhere, shape};
use crate::stand_in::StandIn;

/// Eighteen chunks of 4,096: a block adds up sixteen at a time.
const VOCABULARY: usize = 70_001;

#[test]
fn choices_from_many_chunks_agree() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let (ragged, flat) = (Case::new(VOCABULARY, 3), Case::flat(VOCABULARY));
    // Greedy with likely ones, drawn from all, drawn from a nucleus of allowed ones; and drawn among equals, from a chunk in the
    // first half and one near the end.
    let cases = [0, 2, 5].map(|row| ragged.row(row)).into_iter().chain([1, 4].map(|row| flat.row(row)));
    for (index, case) in cases.enumerate() {
        let wanted = case.run(&Reference::default());
        check_choices(&format!("case {index}"), &case.run(&cuda), &wanted, crate::choices::TOLERANCE);
    }
}

/// Nine splits of 256 positions, as they are outside of tests.
#[test]
fn a_token_after_a_long_context_agrees() {
    let (_turn, _) = StandIn::turn();
    let sequences = [Sequence { number: 1, tokens: 2_100, images: vec![], shared: 0 }];
    let passes = [vec![(0, 0, 2_099)], vec![(0, 2_099, 2_100)]];
    let (precision, tolerance) = &PRECISIONS[0];
    for window in [None, Some(1_024)] {
        let shape = shape(1, 1, 8, window, 16);
        let wanted = decoder::run(&Reference::default(), shape, &sequences, &passes).concat();
        let cuda = Cuda::open(0, *precision).expect("the stand-in");
        let found = decoder::run(&cuda, shape, &sequences, &passes).concat();
        check(&format!("a window of {window:?}"), &found, &wanted, tolerance.attention);
    }
}

#[test]
fn a_picture_of_4096_patches_agrees() {
    let (_turn, _) = StandIn::turn();
    let picture = Picture { images: 1, grid: 64, patch: 1, heads: 1, head_dim: 72 };
    let wanted = dense::vision(&Reference::default(), picture, Storage::F32);
    let (precision, tolerance) = &PRECISIONS[0];
    let cuda = Cuda::open(0, *precision).expect("the stand-in");
    check("4,096 patches", &dense::vision(&cuda, picture, Storage::F32), &wanted, tolerance.patches);
}

#[test]
fn pools_of_every_size_agree() {
    for (images, side, kernel) in dense::POOLS {
        let wanted = dense::pooled(&Reference::default(), images, side, kernel, 40);
        let what = format!("pool {kernel} x {kernel} of {side} x {side}");
        everywhere(&what, |t| t.norm, &wanted, |cuda| dense::pooled(cuda, images, side, kernel, 40));
    }
}

/// A weight, and a gated pair that begins with it.
fn weights<B: Backend>(backend: &B, weights: &[Weight; 2], storage: Storage) -> (B::Matrix, B::Gated) {
    let [weight, up] = weights.each_ref().map(Weight::view);
    (backend.matrix(&[weight], storage).expect("room"), backend.gated(weight, up, storage).expect("room"))
}

/// The products of rows by both.
fn products<B: Backend>(backend: &B, x: &[f32], weights: &(B::Matrix, B::Gated), outputs: usize) -> [Vec<f32>; 2] {
    let rows = x.len() / LARGE_INPUTS;
    let x = backend.upload(x).expect("room");
    let (mut plain, mut gated) = (backend.buffer(rows * outputs), backend.buffer(rows * outputs));
    let (weight, pair) = weights;
    backend.linear(Linear { x: &x, rows, weight, bias: None, then: Then::Store, out: &mut plain });
    let activation = Activation::GeluTanh;
    backend.gated_linear(GatedLinear { x: &x, rows, weight: pair, activation, out: &mut gated });
    [plain, gated].map(|out| backend.download(&out, rows * outputs))
}

/// In whole groups of 32, as whole numbers need them, and no whole number of steps of 64.
const LARGE_INPUTS: usize = 608;

/// The largest tiles are taken where there is one for each multiprocessor at least: 256 of them are more than any GPU has
/// multiprocessors, and the stand-in has two.
#[test]
fn a_product_in_large_tiles_has_the_bits_of_its_rows_sixteen_at_a_time() {
    let (_turn, stand_in) = StandIn::turn();
    let (rows, outputs) = if stand_in.is_there() { (130, 136) } else { (1024, 4096) };
    let mut numbers = Numbers::new(12);
    let made: [Weight; 2] = std::array::from_fn(|_| Weight::new(&mut numbers, outputs, LARGE_INPUTS));
    let x = numbers.vector(rows * LARGE_INPUTS, 1.0);
    // Rows of every tile, and of every warp in one.
    let sampled: Vec<usize> = (0..rows).step_by(rows / 13).collect();
    let of_sampled: Vec<f32> =
        sampled.iter().flat_map(|row| &x[row * LARGE_INPUTS..(row + 1) * LARGE_INPUTS]).copied().collect();
    let reference = Reference::default();
    let wanted = products(&reference, &of_sampled, &weights(&reference, &made, Storage::F32), outputs);
    for (precision, tolerance) in &PRECISIONS {
        let cuda = Cuda::open(0, *precision).expect("the stand-in");
        for storage in [Storage::F32, Storage::Int8, Storage::Int4] {
            let both = weights(&cuda, &made, storage);
            let large = products(&cuda, &x, &both, outputs);
            for (at, sixteen) in x.chunks(16 * LARGE_INPUTS).enumerate() {
                let skinny = products(&cuda, sixteen, &both, outputs);
                for (large, skinny) in large.iter().zip(&skinny) {
                    let same = &large[at * 16 * outputs..][..skinny.len()];
                    check_bits(&format!("rows from {} in {precision:?}, {storage:?}", at * 16), same, skinny);
                }
            }
            if storage == Storage::F32 {
                for (found, wanted) in large.iter().zip(&wanted) {
                    let rows = sampled.iter().flat_map(|row| &found[row * outputs..(row + 1) * outputs]);
                    let found: Vec<f32> = rows.copied().collect();
                    check(&format!("sampled rows in {precision:?}"), &found, wanted, tolerance.product);
                }
            }
        }
    }
}

/// Weights of nought do not help: nought times what is no number is none either.
#[test]
fn what_a_token_does_not_see_may_be_anything() {
    let shapes = [
        shape(4, 2, 24, Some(24), 16),
        shape(2, 1, 64, None, 32),
        shape(2, 1, 256, Some(24), 16),
        Heads { normed: None, ..shape(2, 1, 72, Some(24), 64) },
    ];
    for shape in shapes {
        let wanted = decoder::beside_rubbish(&Reference::default(), shape);
        let what = format!("beside rubbish {shape:?}");
        everywhere(&what, |t| t.attention, &wanted, |cuda| decoder::beside_rubbish(cuda, shape));
    }
}
