//! The whole model on the CUDA backend, without a GPU: kernels run by the simulator behind a stand-in for the driver.
//!
//! Tensor cores read 16 bits, so results are as far from the f32 goldens as that rounding takes them, and no farther: logits
//! within 0.025 in f16 and 0.16 in bf16 (transformers in bf16 is 0.146 off), and greedy tokens the same.
#![allow(clippy::print_stdout, reason = "deviations are shown beside what is asserted")]

#[path = "../parity/adapted.rs"]
mod adapters;
#[path = "../parity/batching.rs"]
#[allow(dead_code, reason = "the processor's tests use more of it")]
mod batching;
#[path = "../parity/compare.rs"]
mod compare;
mod engine;
mod families;
mod full;
#[path = "../parity/golden.rs"]
mod golden;
mod graphs;
mod memory;
mod quantised;
mod sanitizers;
#[path = "../../../kernels/tests/cuda/stand_in.rs"]
#[allow(dead_code, reason = "the kernels' tests use more of it")]
mod stand_in;

use batching::{check_same_bits_in_company, gemma3_cases};
use compare::{Tolerances, compare};
use golden::{Golden, Session, fixture};
use prelim_kernels::{Backend, Cpu, Cuda, Precision};
use prelim_worker::model::{AdapterId, Model, WeightType};
use stand_in::StandIn;

const F16: Tolerances = Tolerances { logits: 0.025, intermediates: 4e-3 };
const BF16: Tolerances = Tolerances { logits: 0.16, intermediates: 0.02 };

/// Splits of 64 positions: prompts here have one or two.
fn load(precision: Precision) -> Model<Cuda> {
    let cuda = Cuda::open(0, precision).expect("the stand-in").with_split(64);
    Model::load(&fixture("tiny-gemma3"), cuda, WeightType::F32).expect("the fixture loads")
}

#[test]
fn the_model_equals_every_golden_within_the_rounding_of_16_bits() {
    let (_turn, stand_in) = StandIn::turn();
    for (precision, tolerances) in [(Precision::F16, F16), (Precision::Bf16, BF16)] {
        let model = load(precision);
        for case in ["one_image_f32", "two_images_f32", "text_only_f32", "pan_scan_f32"] {
            let launches = stand_in.counts().launches;
            let deviations = compare(&model, &Golden::read(case), tolerances);
            let worst = |wanted: &dyn Fn(&str) -> bool| {
                deviations.iter().filter(|d| wanted(&d.name)).map(|d| d.error).fold(0.0, f32::max)
            };
            println!(
                "{case} on {}: logits {:.1e}, intermediates {:.1e}, greedy tokens that differ {}, {} launches",
                model.backend().name(),
                worst(&|name| name.ends_with("logits")),
                worst(&|name| !name.ends_with("logits") && name != "greedy_tokens"),
                worst(&|name| name == "greedy_tokens"),
                stand_in.counts().launches - launches,
            );
            let failed: Vec<String> = deviations
                .iter()
                .filter(|deviation| deviation.fails())
                .map(|d| format!("{case}: {} is off by {:e}, more than {:e}", d.name, d.error, d.tolerance))
                .collect();
            assert!(failed.is_empty(), "{}", failed.join("\n"));
        }
    }
}

/// With an adapter, what is between its two products is rounded as well: the same bound holds. Sequences of other adapters
/// and of none do not notice.
#[test]
fn adapters_equal_the_goldens_of_peft_within_the_rounding_of_16_bits() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in").with_split(64);
    let model = adapters::load(cuda, WeightType::F32, &adapters::NAMES);
    adapters::check_goldens(&model, F16.logits);
    let mixed = [Some(AdapterId(0)), None, Some(AdapterId(1)), None];
    check_same_bits_in_company(&model, &model, &gemma3_cases(mixed), &[17]);
}

#[test]
fn greedy_tokens_are_those_of_the_processor() {
    let (_turn, _) = StandIn::turn();
    let processor = Model::load(&fixture("tiny-gemma3"), Cpu::with_threads(1).expect("a thread"), WeightType::F32)
        .expect("a model");
    for precision in [Precision::F16, Precision::Bf16] {
        let model = load(precision);
        for case in ["one_image_f32", "text_only_f32"] {
            let golden = Golden::read(case);
            let (prompt, steps) = (golden.tokens.len(), golden.greedy.len());
            let (wanted, _) = Session::read(&processor, &golden).greedy(prompt, steps);
            let (found, _) = Session::read(&model, &golden).greedy(prompt, steps);
            assert_eq!(found, wanted, "{case} in {precision:?}");
        }
    }
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_in_company() {
    let (_turn, _) = StandIn::turn();
    // Splits as a worker has them.
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let model = Model::load(&fixture("tiny-gemma3"), cuda, WeightType::F32).expect("the fixture loads");
    check_same_bits_in_company(&model, &model, &gemma3_cases([None; 4]), &[1, 17, 1000]);
}
