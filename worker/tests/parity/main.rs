//! The model computes what `transformers` computes, tensor by tensor.
//!
//! Verifies issue 2, promise 5: every golden of the tiny Gemma 3 checkpoint, f32 logits within 1e-4, intermediates within
//! 1e-5 (of the largest value of the tensor where that is more than 1), masks and greedy tokens equal.
#![allow(clippy::print_stdout, reason = "deviations are shown beside what is asserted")]

mod compare;
mod golden;

use compare::{Tolerances, compare};
use golden::{Golden, fixture};
use prelim_kernels::{Backend, Cpu, Reference};
use prelim_worker::model::{Model, WeightType};

const F32: Tolerances = Tolerances { logits: 1e-4, intermediates: 1e-5 };
const F32_CASES: [&str; 4] = ["one_image_f32", "two_images_f32", "text_only_f32", "pan_scan_f32"];

fn check<B: Backend>(backend: B, weights: WeightType, cases: &[&str], tolerances: Tolerances) {
    let model = Model::load(&fixture(), backend, weights).expect("the fixture loads");
    let mut failures = Vec::new();
    for case in cases {
        let deviations = compare(&model, &Golden::read(case), tolerances);
        let worst = |wanted: &dyn Fn(&str) -> bool| {
            deviations.iter().filter(|d| wanted(&d.name)).map(|d| d.error).fold(0.0, f32::max)
        };
        println!(
            "{case} on {}: logits {:.1e}, intermediates {:.1e}, greedy tokens that differ {}",
            model.backend().name(),
            worst(&|name| name.ends_with("logits")),
            worst(&|name| !name.ends_with("logits") && name != "greedy_tokens"),
            worst(&|name| name == "greedy_tokens"),
        );
        let failed = deviations.iter().filter(|d| d.fails());
        failures
            .extend(failed.map(|d| format!("{case}: {} is off by {:e}, more than {:e}", d.name, d.error, d.tolerance)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_reference_equals_every_f32_golden() {
    check(Reference, WeightType::F32, &F32_CASES, F32);
}

#[test]
fn the_processor_equals_every_f32_golden() {
    check(Cpu::with_threads(2).expect("threads"), WeightType::AsStored, &F32_CASES, F32);
}
