//! The tiny checkpoint with adapters, and the logits that PEFT and `transformers` compute with them.

use std::path::PathBuf;

use prelim_kernels::Backend;
use prelim_worker::model::weights::Weights;
use prelim_worker::model::{Adapter, AdapterId, Model, ModelConfig, WeightType};

use crate::golden::{Golden, Session, fixture, read_tensors};

/// Everything linear, tower and decoder, of rank 4; some products of the decoder, with ranks and scales of their own.
pub(crate) const NAMES: [&str; 2] = ["all-linear", "attention"];

pub(crate) fn folder(name: &str) -> PathBuf {
    fixture("tiny-gemma3").with_file_name("tiny-gemma3-adapters").join(name)
}

pub(crate) fn load<B: Backend>(backend: B, weights: WeightType, adapters: &[&str]) -> Model<B> {
    let opened: Vec<Adapter> = adapters.iter().map(|name| Adapter::open(&folder(name)).expect("an adapter")).collect();
    let (config, stored) =
        (ModelConfig::read(&fixture("tiny-gemma3")).unwrap(), Weights::open(&fixture("tiny-gemma3")).unwrap());
    Model::from_weights(config, &stored, backend, weights, &opened).expect("the fixture loads")
}

/// Logits of the prompts with each adapter and without, within `tolerance`.
pub(crate) fn check_goldens<B: Backend>(model: &Model<B>, tolerance: f32) {
    for (number, name) in NAMES.iter().enumerate() {
        let wanted = read_tensors(&folder(name).join("golden.safetensors"));
        for case in ["one_image_f32", "text_only_f32"] {
            let golden = Golden::read(case);
            let worst = |adapter: Option<AdapterId>, wanted: &[f32]| {
                let found = Session::read_with(model, &golden, adapter);
                let pairs = found.seen["logits"].iter().zip(wanted);
                pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            };
            let error = worst(Some(AdapterId(number)), &wanted[&format!("{case}.logits")]);
            println!("{name}, {case}, {}: logits off by {error:e}", model.backend().name());
            assert!(error < tolerance, "{name}, {case}: logits are off by {error:e}");
            // Without it, the model is what it is.
            assert!(worst(None, &golden.tensors["logits"]) < tolerance);
        }
    }
}
