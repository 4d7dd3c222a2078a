//! LLaVA with DINOv2 and Llama.

use prelim_kernels::{Arithmetic, Cpu, Reference};
use prelim_worker::model::{Model, WeightType};

use crate::batching::{Case, check_same_bits_in_company};
use crate::golden::{Golden, fixture};
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
