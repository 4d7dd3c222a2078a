//! SigLIP: pictures and texts to points of one space.

use prelim_kernels::{Backend, Cpu, Reference};
use prelim_worker::model::{Embedder, WeightType};

use crate::F32;
use crate::compare::compare_points;
use crate::golden::{Tensors, fixture, read_tensors};
use crate::mutant::{Mistake, Mutant};

pub(crate) const CHECKPOINT: &str = "tiny-siglip";

fn golden() -> Tensors {
    read_tensors(&fixture(CHECKPOINT).join("golden.safetensors"))
}

fn check<B: Backend>(backend: B, weights: WeightType) {
    let model = Embedder::load(&fixture(CHECKPOINT), backend, weights).expect("the fixture loads");
    let deviations = compare_points(&model, &golden(), F32);
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
        let found = compare_points(&model, &golden(), F32);
        found.iter().filter(|d| d.fails()).map(|d| format!("{} by {:.1e}", d.name, d.error)).collect()
    };
    assert!(failed(Mistake::None).is_empty(), "the mutant without a mistake must pass");
    for mistake in Mistake::OF_SIGLIP {
        let failed = failed(mistake);
        println!("{mistake:?}: off are {}", failed.join(", "));
        assert!(!failed.is_empty(), "{mistake:?} passes every comparison");
    }
}
