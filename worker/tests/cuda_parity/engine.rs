//! The engine on the CUDA backend: tokens are chosen there, and an answer does not depend on what else is in the batch.

use std::collections::HashMap;
use std::sync::Arc;

use prelim_kernels::{Backend, Cpu, Cuda, GraphCounts, Precision};
use prelim_worker::engine::device::OnDevice;
use prelim_worker::engine::request::{Completion, Cost, EngineError, Origin, Prompt, Request, Sampling};
use prelim_worker::engine::room::{CacheWish, cache_tokens};
use prelim_worker::engine::tokenizer::Tokenizer;
use prelim_worker::engine::{Engine, GrammarSpec, PassLimits};
use prelim_worker::model::{Model, WeightType};

use crate::golden::fixture;
use crate::stand_in::StandIn;

/// Greedy and drawn, with a grammar and without.
fn requests() -> Vec<Request> {
    let schema = serde_json::json!({
        "type": "object",
        "properties": { "finding": { "enum": ["nodule", "mass", "none"] }, "size": { "type": "integer" } },
        "required": ["finding", "size"],
        "additionalProperties": false,
        "x-guidance": { "whitespace_flexible": false },
    });
    let request = |seed: u64, drawn: bool, has_grammar: bool| Request {
        prompt: Prompt { tokens: (0..4 + seed as u32).map(|at| 2 + at * 7 % 90).collect(), images: Vec::new() },
        adapter: None,
        grammar: has_grammar.then(|| GrammarSpec::JsonSchema(schema.clone())),
        max_new_tokens: 6,
        sampling: Sampling { temperature: if drawn { 0.9 } else { 0.0 }, top_k: Some(200), top_p: 0.95, seed },
        alternatives: 3,
    };
    vec![request(1, false, true), request(2, true, true), request(3, false, false), request(4, true, false)]
}

/// An engine whose cache has room for so many tokens.
pub(crate) fn engine<B: Backend>(model: &Arc<Model<B>>, tokens: usize, limits: PassLimits) -> Engine<OnDevice<B>> {
    let config = model.config();
    let tokenizer =
        Tokenizer::open(&fixture("tiny-gemma3"), config.vocabulary, &config.end_tokens).expect("a tokenizer");
    let device = OnDevice::new(Arc::clone(model), tokens).expect("room for a small cache");
    Engine::new(device, tokenizer, limits).expect("an engine")
}

/// An engine as a worker makes it: memory for passes is taken ahead, so that steps that repeat are graphs.
fn worker_engine<B: Backend>(model: &Arc<Model<B>>) -> Engine<OnDevice<B>> {
    let limits = PassLimits { requests: 4, tokens: 64 };
    let tokens = cache_tokens(model, limits, CacheWish { mib: Some(8), longest: 64 }).expect("room");
    engine(model, tokens, limits)
}

/// What comes of requests that are made at once, but for what they cost.
pub(crate) fn answers<B: Backend>(
    engine: &mut Engine<OnDevice<B>>,
    requests: &[Request],
) -> Vec<Result<Completion, EngineError>> {
    let ids: Vec<_> = requests.iter().map(|request| engine.submit(request.clone()).expect("it fits")).collect();
    let mut done = HashMap::new();
    while !engine.is_idle() {
        done.extend(engine.step());
    }
    let mut answer = |id| done.remove(&id).expect("every request ends");
    ids.into_iter().map(|id| Ok(Completion { cost: Cost::default(), ..answer(id)? })).collect()
}

/// The same where all go well.
fn completions<B: Backend>(engine: &mut Engine<OnDevice<B>>, requests: &[Request]) -> Vec<Completion> {
    answers(engine, requests).into_iter().map(|answer| answer.expect("an answer")).collect()
}

#[test]
fn an_engine_answers_alone_as_in_company_and_as_on_the_processor() {
    let (_turn, stand_in) = StandIn::turn();
    let load = |precision| {
        let cuda = Cuda::open(0, precision).expect("the stand-in").with_split(64);
        Arc::new(Model::load(&fixture("tiny-gemma3"), cuda, WeightType::F32).expect("a model"))
    };
    let processor = Cpu::with_threads(1).expect("a thread");
    let processor = Arc::new(Model::load(&fixture("tiny-gemma3"), processor, WeightType::F32).expect("a model"));
    let (model, requests) = (load(Precision::F16), requests());
    let (before, mut engine) = (stand_in.host_counts(), worker_engine(&model));
    let together = completions(&mut engine, &requests);
    for (at, request) in requests.iter().enumerate() {
        let alone = completions(&mut engine, std::slice::from_ref(request));
        assert_eq!(alone, together[at..=at], "request {at} alone");
    }
    let after = stand_in.host_counts();
    let (captured, launched) = (after.captured - before.captured, after.launched - before.launched);
    let counted = model.backend().graph_counts().expect("a device that has graphs");
    assert!(counted.captured > 0 && counted.launched > counted.captured, "{counted:?}");
    assert!(!stand_in.is_there() || counted == GraphCounts { captured, launched }, "{counted:?}");
    let wanted = completions(&mut worker_engine(&processor), &requests);
    for (at, (found, wanted)) in together.iter().zip(&wanted).enumerate() {
        assert_eq!(found.text, wanted.text, "answer {at}");
        for (found, wanted) in found.tokens.iter().zip(&wanted.tokens) {
            let likelihoods = |origin: &Origin| match origin {
                Origin::Chosen { probability, unmasked, alternatives } => {
                    let of_alternatives = alternatives.iter().map(|alternative| alternative.probability);
                    [*probability, *unmasked].into_iter().chain(of_alternatives).collect()
                }
                Origin::Forced | Origin::Closing => Vec::new(),
            };
            let (found, wanted) = (likelihoods(&found.origin), likelihoods(&wanted.origin));
            assert_eq!(found.len(), wanted.len(), "answer {at}");
            for (found, wanted) in found.iter().zip(&wanted) {
                // Logits are within 0.025.
                assert!((found - wanted).abs() <= 0.025 * wanted.max(0.01), "answer {at}: {found} for {wanted}");
            }
        }
    }
}
