//! Every operation against the naive reference; and the promise that a row's bits depend on that row alone.

use prelim_kernels::{Activation, Backend, Bits, Cuda, Grid, Precision, Reference, Storage, Then};

use crate::cases::{check, check_bits};
use crate::decoder::{self, Heads, Sequence};
use crate::dense::{self, Picture, Shape};
use crate::quantised::{self, Way};
use crate::stand_in::{StandIn, is_sanitized};

/// How far results may be off, in parts of the largest.
pub(crate) struct Tolerance {
    /// Inputs are exact: sums run in f32 here and in f64 there. Tensor cores do not round what they add, they drop what is beyond
    /// the last bit, so that errors add up instead of cancelling: over 2,560 products to some 6e-6 of the largest result, on an
    /// H100 as on an A100. A term that is lost, or counted twice, is a thousandth.
    pub(crate) product: f32,
    pub(crate) norm: f32,
    /// Inputs are exact, weights of attention are rounded.
    pub(crate) patches: f32,
    /// Queries, keys and values are rounded too.
    pub(crate) attention: f32,
}

const F16: Tolerance = Tolerance { product: 1.5e-5, norm: 2e-6, patches: 5e-4, attention: 2e-3 };
const BF16: Tolerance = Tolerance { product: 1.5e-5, norm: 2e-6, patches: 4e-3, attention: 1.5e-2 };

pub(crate) const PRECISIONS: [(Precision, Tolerance); 2] = [(Precision::F16, F16), (Precision::Bf16, BF16)];

/// Ragged in every way that tiles of 16, 64 and 128 can be, with one step of depth and with more than there are stages.
const SHAPES: [Shape; 12] = [
    Shape { rows: 1, inputs: 1, outputs: 1 },
    Shape { rows: 1, inputs: 256, outputs: 704 },
    Shape { rows: 2, inputs: 48, outputs: 144 },
    Shape { rows: 5, inputs: 255, outputs: 63 },
    Shape { rows: 16, inputs: 640, outputs: 65 },
    Shape { rows: 17, inputs: 31, outputs: 17 },
    Shape { rows: 64, inputs: 513, outputs: 64 },
    Shape { rows: 97, inputs: 64, outputs: 200 },
    Shape { rows: 129, inputs: 192, outputs: 130 },
    Shape { rows: 128, inputs: 700, outputs: 256 },
    Shape { rows: 1, inputs: 2560, outputs: 100 },
    Shape { rows: 70, inputs: 1152, outputs: 96 },
];

/// On the stand-in, in both precisions, with warps in two orders that must not matter, and with more and less shared memory; and
/// with products added up as on an H100 where the others are as on an A100. Nothing may meet in a bank.
pub(crate) fn everywhere(
    what: &str,
    tolerance: impl Fn(&Tolerance) -> f32,
    wanted: &[f32],
    run: impl Fn(&Cuda) -> Vec<f32>,
) {
    let (_turn, stand_in) = StandIn::turn();
    for (precision, tolerances) in PRECISIONS {
        let before = stand_in.counts();
        // A split of 64 positions: contexts of these tests have several.
        let cuda = Cuda::open(0, precision).expect("the stand-in").with_split(64);
        stand_in.set(c"seed", 1);
        let found = run(&cuda);
        check(&format!("{what} in {precision:?}"), &found, wanted, tolerance(&tolerances));
        if is_sanitized() {
            // What addresses are touched depends neither on the precision nor on the order, and a sanitizer takes its time.
            return;
        }
        // Again with as little shared memory as a block has on sm_86 and sm_89.
        stand_in.set(c"seed", 77);
        stand_in.set(c"shared", 101_376);
        let small = Cuda::open(0, precision).map(|cuda| run(&cuda.with_split(64)));
        stand_in.set(c"shared", 166_912);
        check_bits(&format!("{what} in {precision:?}, warps in another order"), &small.expect("the stand-in"), &found);
        if stand_in.is_there() && precision == Precision::F16 {
            stand_in.set(c"tensor core", 9);
            let hopper = run(&cuda);
            stand_in.set(c"tensor core", 8);
            check(&format!("{what} in {precision:?} as on an H100"), &hopper, wanted, tolerance(&tolerances));
        }
        assert_eq!(stand_in.counts().bank_conflicts, before.bank_conflicts, "{what}: conflicts");
    }
}

#[test]
fn linear_agrees_with_every_epilogue() {
    for shape in SHAPES {
        let each = dense::EPILOGUES.map(|then| (then, then != Then::Store));
        for (then, biased) in each.into_iter().chain([(Then::Add, false)]) {
            let wanted = dense::linear(&Reference::default(), shape, Storage::F32, then, biased);
            let what = format!("linear {shape:?} {then:?}");
            everywhere(&what, |t| t.product, &wanted, |cuda| dense::linear(cuda, shape, Storage::F32, then, biased));
        }
    }
}

#[test]
fn stacked_weights_agree() {
    for shape in [SHAPES[2], SHAPES[3], SHAPES[7]] {
        let wanted = dense::stacked(&Reference::default(), shape, Storage::Bf16);
        let what = format!("stacked {shape:?}");
        everywhere(&what, |t| t.product, &wanted, |cuda| dense::stacked(cuda, shape, Storage::Bf16));
    }
}

/// Whole numbers in a product are the 16-bit weights that they stand for: bit for bit, in every shape of tile, made at load or
/// kept, in groups of 32 and others.
#[test]
fn products_of_whole_numbers_have_the_bits_of_the_weights_that_they_stand_for() {
    let grids = [Grid::INT8, Grid::INT4, Grid { bits: Bits::Eight, group: 96 }, Grid { bits: Bits::Four, group: 192 }];
    let shape = |rows, inputs, outputs| Shape { rows, inputs, outputs };
    let shapes = [
        shape(1, 192, 24),
        shape(5, 96, 63),
        shape(16, 576, 65),
        shape(17, 384, 17),
        shape(70, 192, 96),
        shape(129, 192, 130),
    ];
    for grid in grids {
        for shape in shapes.into_iter().filter(|shape| grid.fits(shape.inputs)) {
            let wanted = quantised::run(&Reference::default(), shape, grid, Way::Kept);
            for way in [Way::Made, Way::Kept].into_iter().filter(|way| *way == Way::Kept || grid.group == 32) {
                let what = format!("{grid:?} {shape:?} {way:?}");
                let run = |cuda: &Cuda| {
                    let found = quantised::run(cuda, shape, grid, way);
                    check_bits(&what, &found, &quantised::run(cuda, shape, grid, Way::Floats));
                    found
                };
                everywhere(&what, |t| t.product, &wanted, run);
            }
        }
    }
}

#[test]
fn gated_products_agree() {
    for (shape, activation) in SHAPES.into_iter().zip(dense::ACTIVATIONS.into_iter().cycle()) {
        let run = |backend: &Cuda| dense::gated(backend, shape, Storage::F32, activation);
        let wanted = dense::gated(&Reference::default(), shape, Storage::F32, activation);
        everywhere(&format!("gated {shape:?} {activation:?}"), |t| t.product, &wanted, run);
    }
}

#[test]
fn activations_agree_everywhere() {
    // Steps that both kinds of 16 bits hold.
    for (count, size) in [(240, 0.125), (255, 1.0 / 64.0)] {
        let numbers = dense::steps(count, size);
        for activation in dense::ACTIVATIONS {
            let wanted = dense::activated(&Reference::default(), activation, &numbers);
            let run = |cuda: &Cuda| dense::activated(cuda, activation, &numbers);
            everywhere(&format!("{activation:?}"), |t| t.norm, &wanted, run);
        }
    }
}

#[test]
fn added_rows_agree() {
    for (rows, width, scaled) in [(1, 1, true), (3, 24, false), (33, 48, true)] {
        let wanted = dense::added(&Reference::default(), rows, width, scaled);
        let run = |cuda: &Cuda| dense::added(cuda, rows, width, scaled);
        everywhere(&format!("added {rows} x {width}"), |t| t.norm, &wanted, run);
    }
}

#[test]
fn adapted_products_agree() {
    for shape in [SHAPES[1], SHAPES[3], SHAPES[5], SHAPES[7], SHAPES[8]] {
        let wanted = dense::adapted(&Reference::default(), shape, 6, Storage::F32);
        // What is between the two products is rounded to 16 bits.
        let what = format!("adapted {shape:?}");
        everywhere(&what, |t| t.patches, &wanted, |cuda| dense::adapted(cuda, shape, 6, Storage::F32));
    }
}

#[test]
fn an_activation_after_a_product_has_the_bits_of_the_fused_one() {
    for shape in [SHAPES[1], SHAPES[3], SHAPES[8]] {
        let (_turn, _) = StandIn::turn();
        let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
        for activation in dense::ACTIVATIONS {
            let fused = dense::gated(&cuda, shape, Storage::F32, activation);
            let apart = dense::gated_apart(&cuda, shape, Storage::F32, activation);
            check_bits(&format!("apart {shape:?} {activation:?}"), &apart, &fused);
        }
    }
}

#[test]
fn norms_agree_beyond_the_range_of_f16() {
    for (rows, width) in [(1, 1), (3, 24), (7, 256), (5, 1152), (2, 2560)] {
        // 3e5 is past 65,504: Gemma 3's residual stream goes there.
        // Squares less the square of a mean of 1,000 would leave nothing of a variance of one.
        for (scale, mean) in [(1e-3, 0.0), (1.0, 0.0), (3e5, 0.0), (1.0, 1e3)] {
            let wanted = dense::norms(&Reference::default(), rows, width, scale, mean);
            let what = format!("norms {rows} x {width}, values to {scale:e} around {mean}");
            everywhere(&what, |t| t.norm, &wanted, |cuda| dense::norms(cuda, rows, width, scale, mean));
        }
    }
}

#[test]
fn products_of_activations_beyond_the_range_of_f16_agree() {
    // dense::gated's inputs reach 6: its results, as inputs of the next product, would overflow f16 at 70,000 times that.
    for scale in [1e-4, 7e4, 1e8] {
        let run = |backend: &dyn Fn(f32) -> Vec<f32>| backend(scale);
        let wanted = run(&|scale| scaled_product(&Reference::default(), scale));
        let what = format!("a product of values to {scale:e}");
        everywhere(&what, |t| t.product, &wanted, |cuda| scaled_product(cuda, scale));
    }
}

/// A row of zeros, rows of values to `scale`, and a row of ones, by a weight; each row of the result over its scale.
fn scaled_product<B: Backend>(backend: &B, scale: f32) -> Vec<f32> {
    use crate::cases::{Numbers, Weight};
    let (rows, inputs, outputs) = (4, 160, 40);
    let mut numbers = Numbers::new(8);
    let weight = Weight::new(&mut numbers, outputs, inputs);
    let mut x = vec![0.0; inputs];
    x.extend(numbers.vector(2 * inputs, scale));
    x.extend(vec![1.0; inputs]);
    let x = backend.upload(&x).unwrap();
    let weight = backend.matrix(&[weight.view()], Storage::F32).unwrap();
    let mut out = backend.buffer(rows * outputs);
    let then = Then::Store;
    backend.linear(prelim_kernels::Linear { x: &x, rows, weight: &weight, bias: None, then, out: &mut out });
    let scales = [1.0, scale, scale, 1.0];
    let out = backend.download(&out, rows * outputs);
    out.iter().enumerate().map(|(index, value)| value / scales[index / outputs]).collect()
}

#[test]
fn embeddings_agree() {
    for storage in [Storage::F32, Storage::Bf16] {
        let wanted = dense::embed(&Reference::default(), 40, storage);
        // Smallest numbers lose bits in f16.
        everywhere("embed", |_| 1e-7, &wanted, |cuda| dense::embed(cuda, 40, storage));
    }
}

#[test]
fn the_vision_operations_agree() {
    let pictures = [
        Picture { images: 1, grid: 2, patch: 3, heads: 1, head_dim: 8 },
        Picture { images: 2, grid: 8, patch: 14, heads: 4, head_dim: 12 },
        Picture { images: 2, grid: 12, patch: 16, heads: 2, head_dim: 64 },
        Picture { images: 1, grid: 18, patch: 5, heads: 2, head_dim: 72 },
    ];
    for picture in pictures {
        let wanted = dense::vision(&Reference::default(), picture, Storage::F32);
        let what = format!("vision {picture:?}");
        everywhere(&what, |t| t.patches, &wanted, |cuda| dense::vision(cuda, picture, Storage::F32));
    }
}

/// Heads that are normed as those of Gemma 3.
pub(crate) fn shape(
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    window: Option<usize>,
    block_tokens: usize,
) -> Heads {
    Heads { heads, kv_heads, head_dim, window, block_tokens, normed: Some(1.0) }
}

fn attention_shapes() -> Vec<Heads> {
    vec![
        shape(1, 1, 8, None, 16),
        shape(4, 2, 24, Some(24), 16),
        shape(4, 1, 64, Some(1), 32),
        shape(4, 1, 64, None, 32),
        shape(4, 2, 80, Some(40), 48),
        shape(3, 3, 72, None, 64),
        shape(32, 1, 16, Some(33), 16),
        shape(2, 1, 128, Some(70), 16),
        shape(2, 1, 256, Some(64), 128),
        shape(8, 4, 256, None, 16),
        Heads { normed: None, ..shape(4, 2, 24, None, 16) },
        Heads { normed: Some(0.0), ..shape(2, 1, 64, None, 16) },
    ]
}

#[allow(clippy::single_range_in_vec_init, reason = "one image is a list of one range")]
fn sequences() -> Vec<Sequence> {
    vec![
        Sequence { number: 1, tokens: 71, images: vec![3..19, 40..56], shared: 0 },
        Sequence { number: 2, tokens: 1, images: vec![], shared: 0 },
        // Three steps of 64 positions: some mistakes show in the third only.
        Sequence { number: 3, tokens: 197, images: vec![0..36], shared: 0 },
        Sequence { number: 4, tokens: 33, images: vec![], shared: 0 },
    ]
}

#[test]
fn attention_over_the_cache_agrees() {
    let sequences = sequences();
    for shape in attention_shapes() {
        for passes in [decoder::whole(&sequences), decoder::side_by_side(&sequences, 61)] {
            let wanted = decoder::run(&Reference::default(), shape, &sequences, &passes).concat();
            let what = format!("attention {shape:?}");
            let run = |cuda: &Cuda| decoder::run(cuda, shape, &sequences, &passes).concat();
            everywhere(&what, |t| t.attention, &wanted, run);
        }
    }
}

#[test]
fn attention_has_the_same_bits_however_prompts_are_cut_and_batched() {
    let (_turn, stand_in) = StandIn::turn();
    let sequences = &sequences()[..3];
    for shape in [attention_shapes()[1], attention_shapes()[3], attention_shapes()[4], attention_shapes()[8]] {
        for precision in [Precision::F16, Precision::Bf16] {
            // Less shared memory changes the shape of tiles. In larger splits tiles take steps of which some rows see nothing.
            for (shared, split) in [(166_912, 64), (166_912, 256), (101_376, 64)] {
                stand_in.set(c"shared", shared);
                let cuda = Cuda::open(0, precision).expect("the stand-in").with_split(split);
                let wanted = decoder::run(&cuda, shape, sequences, &decoder::whole(sequences));
                for step in [1, 7, 50] {
                    let found = decoder::run(&cuda, shape, sequences, &decoder::side_by_side(sequences, step));
                    let what = format!("{shape:?} in {precision:?}, splits of {split}, {step} tokens at a time");
                    check_bits(&what, &found.concat(), &wanted.concat());
                }
            }
            stand_in.set(c"shared", 166_912);
        }
    }
}

#[test]
fn a_product_has_the_same_bits_for_every_number_of_rows() {
    let (_turn, stand_in) = StandIn::turn();
    let shape = |rows| Shape { rows, inputs: 700, outputs: 130 };
    for precision in [Precision::F16, Precision::Bf16] {
        let cuda = Cuda::open(0, precision).expect("the stand-in");
        let wanted = dense::gated(&cuda, shape(150), Storage::F32, Activation::GeluTanh);
        for (rows, multiprocessors) in [(1, 2), (16, 2), (17, 2), (17, 1000), (64, 1000), (97, 2), (149, 1000)] {
            stand_in.set(c"multiprocessors", multiprocessors);
            let cuda = Cuda::open(0, precision).expect("the stand-in");
            let found = dense::gated(&cuda, shape(rows), Storage::F32, Activation::GeluTanh);
            check_bits(&format!("the first of {rows} rows in {precision:?}"), &found, &wanted[..rows * 130]);
        }
        stand_in.set(c"multiprocessors", 2);
    }
}
