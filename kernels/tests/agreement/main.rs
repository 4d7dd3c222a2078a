//! Every operation of the CPU backend against the naive reference, over shapes with ragged ends; and the promise that a
//! row's bits depend on that row alone.
//!
//! Tolerances are parts of the largest value: sums run in f32 here and in f64 there.

mod cases;
mod choose;
mod decoder;
mod dense;
mod kept;
mod quantised;

use cases::{check, check_bits};
use decoder::{Heads, Sequence};
use dense::{Picture, Shape};
use prelim_kernels::cpu::InstructionSet;
use prelim_kernels::{Arithmetic, Backend, Bits, Cpu, Dtype, Grid, Linear, Reference, Storage, Then, WeightView};
use quantised::Way;

const PRODUCT: f32 = 2e-6;
const NORM: f32 = 1e-6;
const ATTENTION: f32 = 2e-6;
const EXACT: f32 = 0.0;
/// Products of whole numbers with activations in 16 bits.
const WHOLE: f32 = 1e-4;

/// A factor that is next to the middle between two bf16 numbers may be rounded either way.
const ROUNDED_ATTENTION: f32 = 4e-3;

const REFERENCE: Reference = Reference { arithmetic: Arithmetic::Exact };
const ROUNDING: Reference = Reference { arithmetic: Arithmetic::Bf16 };

const SHAPES: [Shape; 11] = [
    Shape { rows: 1, inputs: 1, outputs: 1 },
    Shape { rows: 1, inputs: 256, outputs: 704 },
    Shape { rows: 2, inputs: 48, outputs: 144 },
    Shape { rows: 5, inputs: 255, outputs: 63 },
    Shape { rows: 6, inputs: 257, outputs: 65 },
    Shape { rows: 7, inputs: 31, outputs: 17 },
    Shape { rows: 13, inputs: 513, outputs: 128 },
    Shape { rows: 97, inputs: 64, outputs: 200 },
    Shape { rows: 193, inputs: 192, outputs: 576 },
    Shape { rows: 1, inputs: 2560, outputs: 1000 },
    Shape { rows: 300, inputs: 768, outputs: 96 },
];

const STORAGES: [Storage; 2] = [Storage::F32, Storage::Bf16];

/// The processor with one and three threads, with every instruction set that it has.
fn processors() -> Vec<Cpu> {
    let sets = InstructionSet::available();
    let each = sets.into_iter().flat_map(|set| [1, 3].map(|threads| Cpu::with_instructions(threads, set)));
    each.flatten().map(|cpu| cpu.expect("threads")).collect()
}

fn everywhere(what: &str, tolerance: f32, wanted: &[f32], run: impl Fn(&Cpu) -> Vec<f32>) {
    everywhere_in(Arithmetic::Exact, what, tolerance, wanted, run);
}

fn everywhere_in(arithmetic: Arithmetic, what: &str, tolerance: f32, wanted: &[f32], run: impl Fn(&Cpu) -> Vec<f32>) {
    let (mut of_its_own, mut common): (Option<Vec<f32>>, Option<Vec<f32>>) = (None, None);
    for cpu in processors().into_iter().map(|cpu| cpu.with_arithmetic(arithmetic)) {
        let found = run(&cpu);
        check(&format!("{what} on {}", cpu.name()), &found, wanted, tolerance);
        let own = arithmetic == Arithmetic::Bf16 && cpu.instructions().has_own_order();
        match if own { &mut of_its_own } else { &mut common } {
            Some(first) => check_bits(&format!("{what} on {}", cpu.name()), &found, first),
            first => *first = Some(found),
        }
    }
}

#[test]
fn linear_agrees_with_every_epilogue() {
    for shape in SHAPES {
        for storage in STORAGES {
            for then in dense::EPILOGUES {
                for biased in [false, true] {
                    let wanted = dense::linear(&REFERENCE, shape, storage, then, biased);
                    let what = format!("linear {shape:?} {storage:?} {then:?}");
                    everywhere(&what, PRODUCT, &wanted, |cpu| dense::linear(cpu, shape, storage, then, biased));
                }
            }
        }
    }
}

#[test]
fn stacked_weights_agree() {
    for shape in SHAPES {
        for storage in STORAGES {
            let wanted = dense::stacked(&REFERENCE, shape, storage);
            everywhere(&format!("stacked {shape:?}"), PRODUCT, &wanted, |cpu| dense::stacked(cpu, shape, storage));
        }
    }
}

#[test]
fn gated_products_agree() {
    for shape in SHAPES {
        for storage in STORAGES {
            for activation in dense::ACTIVATIONS {
                let wanted = dense::gated(&REFERENCE, shape, storage, activation);
                let run = |cpu: &Cpu| dense::gated(cpu, shape, storage, activation);
                everywhere(&format!("gated {shape:?} {activation:?}"), PRODUCT, &wanted, run);
            }
        }
    }
}

#[test]
fn activations_agree_everywhere() {
    let numbers = dense::steps(6000, 0.005);
    for activation in dense::ACTIVATIONS {
        let wanted = dense::activated(&REFERENCE, activation, &numbers);
        everywhere(&format!("{activation:?}"), 3e-7, &wanted, |cpu| dense::activated(cpu, activation, &numbers));
    }
}

#[test]
fn added_rows_agree() {
    for (rows, width) in [(1, 1), (3, 24), (33, 48), (300, 768)] {
        for scaled in [false, true] {
            let wanted = dense::added(&REFERENCE, rows, width, scaled);
            let run = |cpu: &Cpu| dense::added(cpu, rows, width, scaled);
            everywhere(&format!("added {rows} x {width}"), NORM, &wanted, run);
        }
    }
}

#[test]
fn adapted_products_agree() {
    for shape in SHAPES {
        for storage in STORAGES {
            let wanted = dense::adapted(&REFERENCE, shape, 6, storage);
            everywhere(&format!("adapted {shape:?}"), PRODUCT, &wanted, |cpu| dense::adapted(cpu, shape, 6, storage));
        }
    }
}

/// An adapter takes fused operations apart: requests without one must not notice.
#[test]
fn an_activation_after_a_product_has_the_bits_of_the_fused_one() {
    for shape in SHAPES {
        for (storage, arithmetic) in [(Storage::F32, Arithmetic::Exact), (Storage::Bf16, Arithmetic::Bf16)] {
            let cpu = Cpu::with_threads(2).expect("threads").with_arithmetic(arithmetic);
            for activation in dense::ACTIVATIONS {
                let fused = dense::gated(&cpu, shape, storage, activation);
                let apart = dense::gated_apart(&cpu, shape, storage, activation);
                check_bits(&format!("apart {shape:?} {activation:?}"), &apart, &fused);
            }
        }
    }
}

#[test]
fn norms_agree_beyond_the_range_of_f16() {
    for (rows, width) in [(1, 1), (3, 24), (7, 256), (33, 1152), (2, 2560), (64, 192)] {
        // 3e5 is past 65,504: Gemma 3's residual stream goes there.
        // Squares less the square of a mean of 1,000 would leave nothing of a variance of one.
        for (scale, mean) in [(1e-3, 0.0), (1.0, 0.0), (3e5, 0.0), (1.0, 1e3)] {
            let wanted = dense::norms(&REFERENCE, rows, width, scale, mean);
            let what = format!("norms {rows} x {width}, values to {scale:e} around {mean}");
            everywhere(&what, NORM, &wanted, |cpu| dense::norms(cpu, rows, width, scale, mean));
        }
    }
}

#[test]
fn embeddings_agree() {
    for storage in STORAGES {
        let wanted = dense::embed(&REFERENCE, 40, storage);
        everywhere("embed", EXACT, &wanted, |cpu| dense::embed(cpu, 40, storage));
    }
}

fn pictures() -> [Picture; 4] {
    [
        Picture { images: 1, grid: 2, patch: 3, heads: 1, head_dim: 8 },
        Picture { images: 2, grid: 8, patch: 14, heads: 4, head_dim: 12 },
        Picture { images: 3, grid: 12, patch: 16, heads: 3, head_dim: 64 },
        Picture { images: 1, grid: 18, patch: 5, heads: 2, head_dim: 72 },
    ]
}

#[test]
fn the_vision_operations_agree() {
    for picture in pictures() {
        for storage in STORAGES {
            let wanted = dense::vision(&REFERENCE, picture, storage);
            everywhere(&format!("vision {picture:?}"), ATTENTION, &wanted, |cpu| dense::vision(cpu, picture, storage));
        }
    }
}

#[test]
fn pools_of_every_size_agree() {
    for (images, side, kernel) in dense::POOLS {
        let wanted = dense::pooled(&REFERENCE, images, side, kernel, 24);
        let what = format!("pool {kernel} x {kernel} of {side} x {side}");
        everywhere(&what, NORM, &wanted, |cpu| dense::pooled(cpu, images, side, kernel, 24));
    }
}

#[test]
fn rounded_products_agree_and_have_the_same_bits_on_every_processor() {
    let storage = Storage::Bf16;
    let rounded = |what: &str, wanted: &[f32], run: &dyn Fn(&Cpu) -> Vec<f32>| {
        everywhere_in(Arithmetic::Bf16, what, PRODUCT, wanted, run);
    };
    for shape in SHAPES {
        for then in dense::EPILOGUES {
            let run = |cpu: &Cpu| dense::linear(cpu, shape, storage, then, true);
            let wanted = dense::linear(&ROUNDING, shape, storage, then, true);
            rounded(&format!("rounded linear {shape:?} {then:?}"), &wanted, &run);
        }
        let wanted = dense::stacked(&ROUNDING, shape, storage);
        rounded(&format!("rounded stacked {shape:?}"), &wanted, &|cpu| dense::stacked(cpu, shape, storage));
        for activation in dense::ACTIVATIONS {
            let wanted = dense::gated(&ROUNDING, shape, storage, activation);
            let run = |cpu: &Cpu| dense::gated(cpu, shape, storage, activation);
            rounded(&format!("rounded gated {shape:?} {activation:?}"), &wanted, &run);
        }
    }
    let wanted = dense::embed(&ROUNDING, 40, storage);
    everywhere_in(Arithmetic::Bf16, "embed", EXACT, &wanted, |cpu| dense::embed(cpu, 40, storage));
}

/// Weights in whole strips and groups are used where they are; others are copied.
#[test]
fn weights_give_the_same_where_they_are_and_copied() {
    for (outputs, inputs) in [(16, 32), (64, 96), (48, 33), (17, 64), (582, 256), (6, 256), (1, 31)] {
        for rows in [1, 7, 40] {
            let shape = Shape { rows, inputs, outputs };
            for arithmetic in [Arithmetic::Exact, Arithmetic::Bf16] {
                let wanted = kept::run(&Reference { arithmetic }, shape, false);
                for keep in [false, true] {
                    let what = format!("kept: {keep}, {shape:?} {arithmetic:?}");
                    everywhere_in(arithmetic, &what, PRODUCT, &wanted, |cpu| kept::run(cpu, shape, keep));
                }
            }
        }
    }
}

/// A quantised matrix is the bf16 matrix of what its numbers stand for: bit for bit, on every processor that does not multiply
/// whole numbers as such, made at load or kept where it is, for rows and groups of every number.
#[test]
fn quantised_weights_have_the_bits_of_the_bf16_weights_that_they_stand_for() {
    let wide = |bits| Grid { bits, group: 96 };
    for (outputs, inputs) in [(16, 32), (17, 576), (70, 288), (7, 640), (32, 1_152)] {
        for rows in [1, 16, 41] {
            let shape = Shape { rows, inputs, outputs };
            for grid in [Grid::INT8, Grid::INT4, wide(Bits::Eight), wide(Bits::Four)] {
                if !grid.fits(inputs) {
                    continue;
                }
                let own = grid == Grid::INT8 || grid == Grid::INT4;
                let ways = [Way::Made, Way::Kept, Way::Floats].into_iter().filter(|way| own || *way != Way::Made);
                for arithmetic in [Arithmetic::Exact, Arithmetic::Bf16] {
                    let reference = quantised::run(&Reference { arithmetic }, shape, grid, Way::Kept);
                    let mut bits: Option<Vec<f32>> = None;
                    for cpu in processors().into_iter().map(|cpu| cpu.with_arithmetic(arithmetic)) {
                        if arithmetic == Arithmetic::Bf16 && cpu.instructions().has_own_order() {
                            continue;
                        }
                        for way in ways.clone() {
                            let what = format!("{way:?} {shape:?} {grid:?} {arithmetic:?} on {}", cpu.name());
                            let found = quantised::run(&cpu, shape, grid, way);
                            check(&what, &found, &reference, PRODUCT);
                            check_bits(&what, &found, bits.get_or_insert_with(|| found.clone()));
                        }
                    }
                }
            }
        }
    }
}

/// Where whole numbers are multiplied as such, nothing but activations is rounded, and they to 16 bits: what comes of it is
/// nearer to what the numbers say than bf16 could be, and the same bits however weights and threads come.
#[test]
fn whole_numbers_are_multiplied_with_activations_of_16_bits() {
    let own = || processors().into_iter().filter(|cpu| cpu.instructions().has_own_order());
    for (outputs, inputs) in [(16, 32), (17, 576), (70, 288), (7, 640), (32, 1_152)] {
        for rows in [1, 7, 16, 41] {
            let shape = Shape { rows, inputs, outputs };
            for grid in [Grid::INT8, Grid::INT4, Grid { bits: Bits::Eight, group: 96 }] {
                if !grid.fits(inputs) {
                    continue;
                }
                let wanted = quantised::run(&REFERENCE, shape, grid, Way::Products);
                let embedded = quantised::run(&ROUNDING, shape, grid, Way::Kept);
                let mut bits: Option<Vec<f32>> = None;
                for cpu in own().map(|cpu| cpu.with_arithmetic(Arithmetic::Bf16)) {
                    for way in [Way::Made, Way::Kept].into_iter().filter(|way| grid.group == 32 || *way == Way::Kept) {
                        let what = format!("{way:?} {shape:?} {grid:?} on {}", cpu.name());
                        let found = quantised::run(&cpu, shape, grid, way);
                        check_bits(&what, &found, bits.get_or_insert_with(|| found.clone()));
                        let products = found.len() - 2 * inputs;
                        check(&what, &found[..products], &wanted[..products], WHOLE);
                        check_bits(&what, &found[products..], &embedded[products..]);
                    }
                }
            }
        }
    }
}

/// Numbers that are none, and groups of zeros and of the smallest numbers, among others: none hides another's.
#[test]
fn activations_that_are_no_numbers_are_not_hidden_by_whole_numbers() {
    let (inputs, outputs) = (96, 20);
    let weight: Vec<u8> = (0..inputs * outputs).flat_map(|i| ((i % 13) as f32 - 6.0).to_le_bytes()).collect();
    let view = WeightView::new(&weight, Dtype::F32, outputs, inputs);
    for cpu in processors().into_iter().map(|cpu| cpu.with_arithmetic(Arithmetic::Bf16)) {
        let matrix = cpu.matrix(&[view], Storage::Int8).expect("memory");
        for (odd, hidden) in [(f32::NAN, false), (f32::INFINITY, false), (1e-40, true), (0.0, true)] {
            let mut x = vec![0.0f32; 3 * inputs];
            x[inputs..].fill(0.5);
            x[inputs + 40] = odd;
            let (then, mut out) = (Then::Store, cpu.buffer(3 * outputs));
            cpu.linear(Linear { x: &x, rows: 3, weight: &matrix, bias: None, then, out: &mut out });
            assert!(out[..outputs].iter().all(|value| *value == 0.0), "{} {odd}", cpu.name());
            assert_eq!(out[outputs..2 * outputs].iter().all(|value| value.is_finite()), hidden, "{} {odd}", cpu.name());
            assert!(out[2 * outputs..].iter().all(|value| value.is_finite()), "{} {odd}", cpu.name());
        }
    }
}

/// Rows that are not made of whole groups are kept in 16 bits.
#[test]
fn what_does_not_fit_into_groups_is_kept_as_bf16() {
    let shape = Shape { rows: 5, inputs: 31, outputs: 40 };
    let run = |cpu: &Cpu, storage| dense::gated(cpu, shape, storage, dense::ACTIVATIONS[0]);
    let wanted = run(&Cpu::with_threads(1).expect("a thread"), Storage::Bf16);
    for storage in [Storage::Int8, Storage::Int4] {
        everywhere("gated", EXACT, &wanted, |cpu| run(cpu, storage));
    }
}

/// Weights that are kept as f32 are computed with as they are.
#[test]
fn nothing_is_rounded_with_f32_weights() {
    let shape = SHAPES[8];
    let run = |cpu: &Cpu| dense::gated(cpu, shape, Storage::F32, dense::ACTIVATIONS[0]);
    let exact = run(&Cpu::with_threads(2).expect("threads"));
    everywhere_in(Arithmetic::Bf16, "gated", EXACT, &exact, run);
}

#[test]
fn rounded_attention_agrees_and_has_the_same_bits_on_every_processor() {
    for picture in pictures() {
        let wanted = dense::vision(&ROUNDING, picture, Storage::Bf16);
        let run = |cpu: &Cpu| dense::vision(cpu, picture, Storage::Bf16);
        everywhere_in(Arithmetic::Bf16, &format!("vision {picture:?}"), ROUNDED_ATTENTION, &wanted, run);
    }
    let sequences = sequences();
    for shape in attention_shapes() {
        for passes in [decoder::whole(&sequences), decoder::side_by_side(&sequences, 29)] {
            let wanted = decoder::run(&ROUNDING, shape, &sequences, &passes).concat();
            let run = |cpu: &Cpu| decoder::run(cpu, shape, &sequences, &passes).concat();
            everywhere_in(Arithmetic::Bf16, &format!("attention {shape:?}"), ROUNDED_ATTENTION, &wanted, run);
        }
    }
}

fn attention_shapes() -> Vec<Heads> {
    let shape = |heads, kv_heads, head_dim, window, block_tokens| {
        let normed = Some(1.0);
        Heads { heads, kv_heads, head_dim, window, block_tokens, normed }
    };
    vec![
        shape(1, 1, 8, None, 16),
        shape(4, 2, 24, Some(24), 16),
        shape(4, 1, 64, Some(1), 32),
        shape(4, 1, 64, None, 32),
        shape(8, 4, 80, Some(40), 48),
        shape(3, 3, 72, None, 64),
        shape(32, 1, 16, Some(33), 16),
        shape(8, 4, 256, Some(64), 128),
        Heads { normed: None, ..shape(4, 2, 24, None, 16) },
        Heads { normed: Some(0.0), ..shape(2, 1, 64, None, 16) },
    ]
}

#[allow(clippy::single_range_in_vec_init, reason = "one image is a list of one range")]
fn sequences() -> Vec<Sequence> {
    vec![
        Sequence { number: 1, tokens: 71, images: vec![3..19, 40..56], shared: 0 },
        Sequence { number: 2, tokens: 1, images: vec![], shared: 0 },
        Sequence { number: 3, tokens: 130, images: vec![0..36], shared: 0 },
        Sequence { number: 4, tokens: 33, images: vec![], shared: 0 },
    ]
}

#[test]
fn attention_over_the_cache_agrees() {
    let sequences = sequences();
    for shape in attention_shapes() {
        for passes in [decoder::whole(&sequences), decoder::side_by_side(&sequences, 29)] {
            let wanted = decoder::run(&REFERENCE, shape, &sequences, &passes).concat();
            let what = format!("attention {shape:?}");
            everywhere(&what, ATTENTION, &wanted, |cpu| decoder::run(cpu, shape, &sequences, &passes).concat());
        }
    }
}

#[test]
fn what_a_token_does_not_see_may_be_anything() {
    // What is before a window is the sequence's own, and no number only where its scores are none either.
    for shape in attention_shapes().into_iter().filter(|shape| shape.window.is_none()) {
        for arithmetic in [Arithmetic::Exact, Arithmetic::Bf16] {
            let wanted = decoder::beside_rubbish(&Reference { arithmetic }, shape);
            let tolerance = if arithmetic == Arithmetic::Exact { ATTENTION } else { ROUNDED_ATTENTION };
            let what = format!("beside rubbish {shape:?}");
            everywhere_in(arithmetic, &what, tolerance, &wanted, |cpu| decoder::beside_rubbish(cpu, shape));
        }
    }
}

#[test]
fn attention_has_the_same_bits_however_prompts_are_cut_and_batched() {
    let sequences = sequences();
    for arithmetic in [Arithmetic::Exact, Arithmetic::Bf16] {
        let cpu = Cpu::with_threads(2).expect("threads").with_arithmetic(arithmetic);
        for shape in attention_shapes() {
            let wanted = decoder::run(&cpu, shape, &sequences, &decoder::whole(&sequences));
            for step in [1, 7, 16, 50] {
                let found = decoder::run(&cpu, shape, &sequences, &decoder::side_by_side(&sequences, step));
                check_bits(&format!("{shape:?}, {step} tokens at a time"), &found.concat(), &wanted.concat());
            }
        }
    }
}

#[test]
fn a_product_has_the_same_bits_for_every_number_of_rows() {
    let (exact, bf16) = (Arithmetic::Exact, Arithmetic::Bf16);
    for (storage, arithmetic, inputs) in [
        (Storage::F32, exact, 700),
        (Storage::Bf16, exact, 700),
        (Storage::Bf16, bf16, 700),
        (Storage::Int8, exact, 704),
        (Storage::Int8, bf16, 704),
        (Storage::Int4, bf16, 704),
    ] {
        let shape = |rows| Shape { rows, inputs, outputs: 130 };
        let cpu = Cpu::with_threads(2).expect("threads").with_arithmetic(arithmetic);
        let of = |rows| dense::gated(&cpu, shape(rows), storage, dense::ACTIVATIONS[0]);
        let wanted = of(200);
        for rows in [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 64, 97] {
            check_bits(&format!("the first of {rows} rows"), &of(rows), &wanted[..rows * 130]);
        }
    }
}

#[test]
fn choices_agree_and_do_not_depend_on_the_rows_beside_them() {
    for (vocabulary, seed) in [(1, 1), (33, 2), (704, 3), (5000, 4)] {
        for case in [choose::Case::new(vocabulary, seed), choose::Case::flat(vocabulary)] {
            let wanted = case.run(&REFERENCE);
            for cpu in processors() {
                let found = case.run(&cpu);
                choose::check_choices(&format!("{vocabulary} tokens on {}", cpu.name()), &found, &wanted, 1e-6);
                for row in 0..case.rows() {
                    assert_eq!(case.row(row).run(&cpu), found[row..=row], "row {row} alone");
                }
            }
        }
    }
    let wanted = choose::Case::edges().run(&REFERENCE);
    assert!(wanted.iter().flatten().all(|choice| ![3, 6].contains(&choice.token)), "what cannot be is chosen");
    // Of both zeros the lower one that is not negative.
    assert_eq!(wanted[0].as_ref().map(|choice| choice.token), Ok(2));
    for cpu in processors() {
        choose::check_choices(&cpu.name(), &choose::Case::edges().run(&cpu), &wanted, 1e-6);
    }
    for case in [choose::Case::new(40, 5).with_score(3, f32::NAN), choose::Case::new(40, 5).with_nothing_allowed()] {
        let wanted = case.run(&REFERENCE);
        assert!(wanted.iter().all(Result::is_err));
        processors().iter().for_each(|cpu| assert_eq!(case.run(cpu), wanted));
    }
}
