//! A GPU whose memory ends in the middle of a pass: the engine makes the pass smaller, ends requests for which that is not enough,
//! and goes on.

use std::sync::Arc;

use prelim_kernels::{Backend, Cpu, Cuda, Precision};
use prelim_worker::engine::handle;
use prelim_worker::engine::request::{Completion, EngineError, Picture, Prompt, PromptImage, Request, Sampling};
use prelim_worker::engine::{Engine, PassLimits, device::OnDevice};
use prelim_worker::model::{Model, PassSizes, WeightType};

use crate::engine::{answers, engine};
use crate::golden::{Golden, fixture, image_starts};
use crate::load;
use crate::stand_in::StandIn;

const LIMITS: PassLimits = PassLimits { requests: 4, tokens: 256 };

/// What memory is taken for ahead: prompts of no more than 20 tokens at once, and no picture.
const SIZES: PassSizes = PassSizes { pictures: 0, features: 0, tokens: 20, sequences: 4, positions: 96 };

fn request(prompt: Prompt) -> Request {
    let sampling = Sampling::default();
    Request { prompt, adapter: None, grammar: None, max_new_tokens: 8, sampling, alternatives: 2 }
}

fn words(seed: u32, tokens: u32) -> Request {
    request(Prompt { tokens: (0..tokens).map(|at| 2 + (seed * 31 + at * 7) % 90).collect(), images: Vec::new() })
}

/// The prompt of a golden, with its pictures.
fn pictures<B: Backend>(model: &Model<B>, case: &str) -> Request {
    let (golden, config) = (Golden::read(case), model.config());
    let starts = image_starts(&golden.tokens, config.image_token, config.tokens_per_image);
    let pixels = golden.tensors["pixel_values"].chunks(config.picture.values());
    let image = |(number, (at, pixels)): (usize, (usize, &[f32]))| PromptImage {
        span: at..at + config.tokens_per_image,
        picture: Arc::new(Picture { digest: [number as u8; 32], pixels: pixels.into() }),
    };
    let images = starts.into_iter().zip(pixels).enumerate().map(image).collect();
    request(Prompt { tokens: golden.tokens, images })
}

/// An engine on a GPU on which nothing is free beside what was taken ahead, until `simulator_set` says otherwise.
fn full_engine(stand_in: &StandIn) -> Engine<OnDevice<Cuda>> {
    let model = Arc::new(load(Precision::F16));
    let bytes = model.pass_bytes(SIZES).expect("a device with memory of its own");
    model.backend().reserve_for_passes(bytes).expect("room");
    // Kernels take memory, too, when they are first used: by passes of all sizes that there is room for.
    let small = PassLimits { tokens: SIZES.tokens, ..LIMITS };
    let answered = answers(&mut engine(&model, 1024, small), &[words(6, 75), words(7, 9)]);
    assert!(answered.iter().all(Result::is_ok), "{answered:?}");
    let engine = engine(&model, 1024, LIMITS);
    let memory = model.backend().memory().expect("memory");
    stand_in.set(c"memory", memory.total_bytes - memory.free_bytes);
    engine
}

const ALL_MEMORY: u64 = 4 << 30;

/// What the processor answers, which has memory for all.
fn wanted(requests: &[Request]) -> Vec<Completion> {
    let processor = Cpu::with_threads(1).expect("a thread");
    let model = Model::load(&fixture("tiny-gemma3"), processor, WeightType::F32).expect("a model");
    let answers = answers(&mut engine(&Arc::new(model), 1024, LIMITS), requests);
    answers.into_iter().map(|answer| answer.expect("an answer")).collect()
}

fn tokens(completion: &Completion) -> Vec<u32> {
    completion.tokens.iter().map(|token| token.token).collect()
}

#[test]
fn a_pass_that_finds_no_memory_is_made_smaller_and_its_answers_are_the_same() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        // The memory of a real device is not ours to take.
        return;
    }
    let requests = [words(1, 61), words(2, 9), words(3, 70), words(4, 64)];
    let mut engine_with_room = engine(&Arc::new(load(Precision::F16)), 1024, LIMITS);
    let with_room = answers(&mut engine_with_room, &requests).into_iter().map(|answer| answer.expect("an answer"));
    let with_room: Vec<Completion> = with_room.collect();
    let mut full = full_engine(stand_in);
    let before = stand_in.host_counts().captured;
    let found = answers(&mut full, &requests);
    stand_in.set(c"memory", ALL_MEMORY);
    let found: Vec<Completion> = found.into_iter().map(|answer| answer.expect("an answer")).collect();
    assert_eq!(found, with_room, "other answers in parts");
    assert_eq!(stand_in.host_counts().captured, before, "graphs are made where nothing is free");
    for (found, wanted) in found.iter().zip(wanted(&requests)) {
        assert_eq!(tokens(found), tokens(&wanted));
    }
}

/// On the engine's own thread, as callers meet it.
#[test]
fn a_request_that_finds_no_memory_ends_with_the_numbers_and_the_engine_goes_on() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        return;
    }
    let (engine, processor) = (full_engine(stand_in), Cpu::with_threads(1).expect("a thread"));
    let model = Model::load(&fixture("tiny-gemma3"), processor, WeightType::F32).expect("a model");
    let (seen, read) = (pictures(&model, "two_images_f32"), words(5, 12));
    let wanted = wanted(&[seen.clone(), read.clone()]);
    let handle = handle::spawn(engine).expect("a thread");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let ask = |request: &Request| runtime.block_on(handle.submit(request.clone()));
    let (first, second) = runtime.block_on(async {
        // At once: the one without pictures goes on when the other ends.
        let both = [&seen, &read].map(|request| handle.submit(request.clone()));
        let [first, second] = both;
        (first.await, second.await)
    });
    let again = ask(&seen);
    stand_in.set(c"memory", ALL_MEMORY);
    for refused in [first, again] {
        let error = refused.expect_err("no memory for pictures");
        assert!(matches!(error, EngineError::Memory(_)), "{error:?}");
        let said = error.to_string();
        let parts = ["out of device memory: ", " bytes wanted for ", ", 0 are free; use a GPU with more free memory"];
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    assert_eq!(tokens(&second.expect("an answer")), tokens(&wanted[1]));
    // With more memory the same is answered.
    for (request, wanted) in [&seen, &read].into_iter().zip(&wanted) {
        assert_eq!(tokens(&ask(request).expect("an answer")), tokens(wanted));
    }
}
