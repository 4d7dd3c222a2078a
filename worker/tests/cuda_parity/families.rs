//! The other families on the CUDA backend: LLaVA with DINOv2 and Llama, and SigLIP with pictures and texts.

use prelim_kernels::{Cpu, Cuda, Precision};
use prelim_worker::model::{Embedder, Model, WeightType};

use crate::compare::{Deviation, Tolerances, compare, compare_points};
use crate::golden::{Golden, Session, fixture, read_tensors};
use crate::stand_in::StandIn;
use crate::{BF16, F16};

const LLAVA: &str = "tiny-llava-dinov2";
const SIGLIP: &str = "tiny-siglip";

fn open(precision: Precision) -> Cuda {
    Cuda::open(0, precision).expect("the stand-in").with_split(64)
}

fn check(what: &str, deviations: &[Deviation]) {
    let rounded = deviations.iter().filter(|deviation| deviation.tolerance > 0.0);
    let worst = rounded.max_by(|a, b| (a.error / a.tolerance).total_cmp(&(b.error / b.tolerance)));
    let worst = worst.expect("tensors of the golden");
    println!("{what}: {} is off by {:.1e} of {:.1e}", worst.name, worst.error, worst.tolerance);
    let failed = deviations.iter().filter(|deviation| deviation.fails());
    let failed: Vec<String> =
        failed.map(|d| format!("{what}: {} is off by {:e}, more than {:e}", d.name, d.error, d.tolerance)).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

const PRECISIONS: [(Precision, Tolerances); 2] = [(Precision::F16, F16), (Precision::Bf16, BF16)];

#[test]
fn llava_equals_its_golden_within_the_rounding_of_16_bits_and_has_the_processor_s_tokens() {
    let (_turn, _) = StandIn::turn();
    let golden = Golden::of(LLAVA, "one_image_f32");
    let processor = Cpu::with_threads(1).expect("a thread");
    let processor = Model::load(&fixture(LLAVA), processor, WeightType::F32).expect("a model");
    let (prompt, steps) = (golden.tokens.len(), golden.greedy.len());
    let (wanted, _) = Session::read(&processor, &golden).greedy(prompt, steps);
    for (precision, tolerances) in PRECISIONS {
        let model = Model::load(&fixture(LLAVA), open(precision), WeightType::F32).expect("a model");
        check(&format!("LLaVA in {precision:?}"), &compare(&model, &golden, tolerances));
        let (found, _) = Session::read(&model, &golden).greedy(prompt, steps);
        assert_eq!(found, wanted, "in {precision:?}");
    }
}

#[test]
fn points_of_siglip_equal_the_golden_within_the_rounding_of_16_bits() {
    let (_turn, _) = StandIn::turn();
    let golden = read_tensors(&fixture(SIGLIP).join("golden.safetensors"));
    for (precision, tolerances) in PRECISIONS {
        let model = Embedder::load(&fixture(SIGLIP), open(precision), WeightType::F32).expect("a model");
        check(&format!("SigLIP in {precision:?}"), &compare_points(&model, &golden, tolerances));
    }
}
