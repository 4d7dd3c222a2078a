//! SigLIP: pictures and texts to points of one space.

use prelim_kernels::{Backend, Cpu, Reference};
use prelim_worker::model::{Embedder, WeightType};

use crate::F32;
use crate::compare::{Deviation, deviation};
use crate::golden::{Collector, Tensors, fixture, read_tensors};
use crate::mutant::{Mistake, Mutant};

pub(crate) const CHECKPOINT: &str = "tiny-siglip";

fn golden() -> Tensors {
    read_tensors(&fixture(CHECKPOINT).join("golden.safetensors"))
}

/// Every tensor of the golden against the model's.
pub(crate) fn deviations<B: Backend>(model: &Embedder<B>) -> Vec<Deviation> {
    let golden = golden();
    let positions = model.config().text.positions;
    let ids: Vec<u32> = golden["input_ids"].iter().map(|id| *id as u32).collect();
    let texts: Vec<Vec<u32>> = ids.chunks(positions).map(<[u32]>::to_vec).collect();
    let mut seen = Collector::default();
    let images = model.embed_images_observed(&golden["pixel_values"], Some(&mut seen));
    let texts = model.embed_texts_observed(&texts, Some(&mut seen));
    let logits = model.logits_per_image(&images, &texts);
    let per_text = (0..texts.len()).flat_map(|text| logits.iter().map(move |row| row[text]));
    seen.0.insert("logits_per_text".to_owned(), per_text.collect());
    seen.0.insert("logits_per_image".to_owned(), logits.concat());
    seen.0.insert("image_embeds".to_owned(), images.values().to_vec());
    seen.0.insert("text_embeds".to_owned(), texts.values().to_vec());
    let inputs = ["input_ids", "pixel_values"];
    let compared = golden.iter().filter(|(name, _)| !inputs.contains(&name.as_str()));
    compared.map(|(name, wanted)| deviation(name, &seen.0[name], wanted, F32)).collect()
}

fn check<B: Backend>(backend: B, weights: WeightType) {
    let model = Embedder::load(&fixture(CHECKPOINT), backend, weights).expect("the fixture loads");
    let deviations = deviations(&model);
    assert_eq!(deviations.len(), 8, "tensors of the golden");
    for found in &deviations {
        println!("{} on {}: off by {:.1e}", found.name, model.backend().name(), found.error);
        assert!(!found.fails(), "{} is off by {:e}, more than {:e}", found.name, found.error, found.tolerance);
    }
}

#[test]
fn the_reference_equals_the_siglip_golden() {
    check(Reference::default(), WeightType::F32);
}

#[test]
fn the_processor_equals_the_siglip_golden() {
    check(Cpu::with_threads(2).expect("threads"), WeightType::AsStored);
}

/// Of pictures and texts beside others, and in other numbers than are computed at a time.
#[test]
fn a_point_has_the_same_bits_alone_and_in_company() {
    let model = Embedder::load(&fixture(CHECKPOINT), Cpu::with_threads(2).expect("threads"), WeightType::Bf16);
    let model = model.expect("the fixture loads");
    let golden = golden();
    let ids: Vec<u32> = golden["input_ids"].iter().map(|id| *id as u32).collect();
    let texts: Vec<Vec<u32>> = ids.chunks(model.config().text.positions).map(<[u32]>::to_vec).collect();
    let many_texts: Vec<Vec<u32>> = (0..7).flat_map(|_| texts.clone()).collect();
    let pixels = &golden["pixel_values"];
    let (together, many) = (model.embed_texts(&many_texts), model.embed_images(&pixels.repeat(11)));
    for (index, text) in many_texts.iter().enumerate() {
        assert_eq!(together.row(index), model.embed_texts(std::slice::from_ref(text)).row(0), "text {index}");
    }
    for (index, picture) in pixels.chunks(model.config().vision.picture.values()).enumerate() {
        let alone = model.embed_images(picture);
        for copy in 0..11 {
            assert_eq!(many.row(2 * copy + index), alone.row(0), "picture {index}");
        }
    }
}

#[test]
fn every_known_mistake_of_siglip_is_caught() {
    let failed = |mistake: Mistake| -> Vec<String> {
        let model = Embedder::load(&fixture(CHECKPOINT), Mutant::new(mistake), WeightType::F32).expect("it loads");
        let found = deviations(&model);
        found.iter().filter(|d| d.fails()).map(|d| format!("{} by {:.1e}", d.name, d.error)).collect()
    };
    assert!(failed(Mistake::None).is_empty(), "the mutant without a mistake must pass");
    for mistake in Mistake::OF_SIGLIP {
        let failed = failed(mistake);
        println!("{mistake:?}: off are {}", failed.join(", "));
        assert!(!failed.is_empty(), "{mistake:?} passes every comparison");
    }
}
