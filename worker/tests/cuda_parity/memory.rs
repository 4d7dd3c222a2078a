//! What passes take of a device's memory is known before they run.

use prelim_kernels::{Backend, Cuda, Pick, Precision};
use prelim_worker::model::{Batch, Chunk, ImageFeatures, Model, PassSizes, PlacedImage, Want};

use crate::load;
use crate::stand_in::StandIn;

/// The largest pass of these sizes, computed: one prompt with all images, and a token of each other sequence.
fn run(model: &Model<Cuda>, sizes: PassSizes) -> Vec<u32> {
    let config = model.config();
    let pixels: Vec<f32> =
        (0..sizes.pictures * config.picture.values()).map(|at| (at % 17) as f32 / 17.0 - 0.5).collect();
    let mut features: Vec<ImageFeatures<Cuda>> = Vec::new();
    while features.len() < sizes.features {
        features.extend(model.encode_images(&pixels, sizes.pictures));
    }
    // The others go on from the prompt, each with a block of its own.
    let shared = sizes.tokens.div_ceil(16) as u32;
    let table = |own: usize| (0..sizes.positions as u32 / 16).chain([shared + own as u32]).collect::<Vec<u32>>();
    let tables: Vec<Vec<u32>> = (0..sizes.sequences).map(table).collect();
    let blocks: Vec<u32> = (0..shared).collect();
    let mut kv = model.new_kv_cache(shared as usize + tables.len(), 16).expect("a cache");
    let mut prompt: Vec<u32> = (0..sizes.tokens + 1 - sizes.sequences).map(|at| 2 + at as u32 % 3).collect();
    let tokens = config.tokens_per_image;
    prompt[2..2 + tokens].fill(config.image_token);
    let images = vec![PlacedImage { at: 2, features: features[0].clone() }];
    let mut chunks =
        vec![Chunk { start: 0, tokens: &prompt, images, blocks: &blocks, adapter: None, logits: Want::Last }];
    chunks.extend(tables[1..].iter().map(|blocks| Chunk {
        start: sizes.positions - 1,
        tokens: &prompt[..1],
        images: Vec::new(),
        blocks,
        adapter: None,
        logits: Want::Last,
    }));
    let scores = model.score(&mut kv, &Batch { chunks }).expect("room");
    let picks = vec![Pick { likely: 5, ..Pick::default() }; sizes.sequences];
    let choices = model.choose(&scores, &picks).expect("room");
    choices.into_iter().map(|choice| choice.expect("a token").token).collect()
}

#[test]
fn the_largest_pass_fits_in_what_was_found_for_it_and_no_less_does() {
    let (_turn, stand_in) = StandIn::turn();
    let model = load(Precision::F16);
    let sizes = PassSizes { pictures: 2, features: 6, tokens: 203, sequences: 4, positions: 193 };
    let bytes = model.pass_bytes(sizes).expect("a device with memory of its own");
    let wanted = run(&model, sizes);
    for (reserved, fits) in [(bytes, true), (bytes / 2, false)] {
        let model = load(Precision::F16);
        let free = || model.backend().memory().expect("memory").free_bytes;
        model.backend().reserve_for_passes(reserved).expect("room");
        let before = free();
        assert_eq!(run(&model, sizes), wanted);
        // What passes leave for the next one is still there. A real driver keeps what is given back, in pieces of 2 MiB, so that
        // there a little more does not show.
        let beyond = before.saturating_sub(free());
        assert!(!stand_in.is_there() || (beyond == 0) == fits, "{beyond} bytes beyond {reserved}");
    }
}

/// Kernels take memory when they are loaded. After the rehearsal that is done, also for passes that are smaller than the largest.
#[test]
fn small_passes_load_no_kernel_after_the_rehearsal() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        // The memory of a real device is not ours to take.
        return;
    }
    let model = load(Precision::F16);
    let sizes = PassSizes { pictures: 0, features: 0, tokens: 80, sequences: 4, positions: 96 };
    let bytes = model.pass_bytes(sizes).expect("a device with memory of its own");
    model.backend().reserve_for_passes(2 * bytes).expect("room");
    let mut kv = model.new_kv_cache(6, 16).expect("a cache");
    let memory = model.backend().memory().expect("memory");
    stand_in.set(c"memory", memory.total_bytes - memory.free_bytes);
    let blocks: Vec<u32> = (0..6).collect();
    let passes = [(0, 17), (17, 1), (18, 3), (21, 60), (81, 1)].map(|(start, count)| {
        let tokens = vec![2; count];
        let (images, adapter, logits) = (Vec::new(), None, Want::Last);
        let chunk = Chunk { start, tokens: &tokens, images, blocks: &blocks, adapter, logits };
        let scores = model.score(&mut kv, &Batch { chunks: vec![chunk] })?;
        model.choose(&scores, &[Pick { likely: 3, ..Pick::default() }]).map(drop)
    });
    stand_in.set(c"memory", memory.total_bytes);
    for pass in passes {
        pass.expect("all kernels are there");
    }
}
