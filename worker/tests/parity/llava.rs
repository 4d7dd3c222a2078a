//! LLaVA with DINOv2 and Llama.

use prelim_kernels::{Arithmetic, Cpu, Reference};
use prelim_worker::model::weights::Weights;
use prelim_worker::model::{Model, ModelConfig, WeightType};

use crate::batching::{Case, check_same_bits_in_company};
use crate::compare::compare;
use crate::golden::{Golden, fixture};
use crate::mutant::{Mistake, Mutant};
use crate::{F32, check_checkpoint};

pub(crate) const CHECKPOINT: &str = "tiny-llava-dinov2";
const CASES: &[&str] = &["one_image_f32"];

#[test]
fn the_reference_equals_the_llava_golden() {
    check_checkpoint(CHECKPOINT, Reference::default(), WeightType::F32, CASES, F32);
}

#[test]
fn the_processor_equals_the_llava_golden() {
    check_checkpoint(CHECKPOINT, Cpu::with_threads(2).expect("threads"), WeightType::AsStored, CASES, F32);
}

/// The golden's prompt; its words alone; two images, one right after the other; and an image after words.
fn prompts() -> Vec<Case> {
    let golden = Golden::of(CHECKPOINT, CASES[0]);
    let image_token = golden.tokens[1];
    let image: Vec<u32> = golden.tokens.iter().copied().filter(|token| *token == image_token).collect();
    let words: Vec<u32> = golden.tokens.iter().copied().filter(|token| *token != image_token).collect();
    let pixels = &golden.tensors["pixel_values"];
    let other: Vec<f32> = pixels.iter().map(|pixel| -0.5 * pixel).collect();
    let prompt = |tokens: Vec<u32>, pixels: Option<Vec<f32>>| Golden {
        tokens,
        greedy: Vec::new(),
        tensors: pixels.into_iter().map(|pixels| ("pixel_values".to_owned(), pixels)).collect(),
    };
    let prompts = [
        prompt(words.clone(), None),
        prompt([&words[..1], &image, &image, &words[1..]].concat(), Some([pixels.clone(), other.clone()].concat())),
        prompt([&words[..], &image, &words].concat(), Some(other)),
        golden,
    ];
    prompts.into_iter().map(|prompt| (prompt, None)).collect()
}

#[test]
fn a_llava_sequence_has_the_same_bits_alone_and_in_company() {
    let exact = Arithmetic::Exact;
    for (weights, arithmetic) in
        [(WeightType::F32, exact), (WeightType::Bf16, exact), (WeightType::Bf16, Arithmetic::Bf16)]
    {
        let cpu = |threads| Cpu::with_threads(threads).expect("threads").with_arithmetic(arithmetic);
        let load = |threads| Model::load(&fixture(CHECKPOINT), cpu(threads), weights).expect("the fixture loads");
        check_same_bits_in_company(&load(1), &load(2), &prompts(), &[1, 5, 17, 70, 1000]);
    }
}

#[test]
fn every_known_mistake_of_llava_is_caught() {
    let folder = fixture(CHECKPOINT);
    let stored = Weights::open(&folder).expect("the fixture opens");
    let golden = Golden::of(CHECKPOINT, CASES[0]);
    let failed = |mistake: Mistake| -> Vec<String> {
        let mut config = ModelConfig::read(&folder).expect("the fixture has a configuration");
        mistake.misread_llava(&mut config);
        let model = Model::from_weights(config, &stored, Mutant::new(mistake), WeightType::F32, &[]).expect("it loads");
        let found = compare(&model, &golden, F32);
        found.iter().filter(|d| d.fails()).map(|d| format!("{} by {:.1e}", d.name, d.error)).collect()
    };
    assert!(failed(Mistake::None).is_empty(), "the mutant without a mistake must pass");
    for mistake in Mistake::OF_LLAVA {
        let failed = failed(mistake);
        println!("{mistake:?}: off are {}", failed.join(", "));
        assert!(!failed.is_empty(), "{mistake:?} passes every comparison");
    }
}
