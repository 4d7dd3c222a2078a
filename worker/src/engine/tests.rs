//! The engine with a model that notices every mistake in its cache.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::fake::{FakeModel, SOFT, mix, noise};
use super::language_model::Capacity;
use super::request::{Completion, EngineError, Finish, Origin, Picture, Prompt, PromptImage, Request, Sampling};
use super::{Engine, GrammarSpec, PassLimits, RequestId, Tokenizer};

const VOCABULARY: usize = 704;
const IMAGE_TOKENS: usize = 12;

fn tokenizer() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/checkpoint");
    Tokenizer::open(&folder, VOCABULARY, &[1, 5]).unwrap()
}

#[test]
fn a_vocabulary_that_grammars_cannot_walk_through_is_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/checkpoint");
    let refused = Tokenizer::open(&folder, 4_194_304, &[1, 5]).err().unwrap().to_string();
    assert!(refused.ends_with("the model has 4194304 tokens, and at most 1048576 can be used"), "{refused}");
    assert_eq!(Tokenizer::open(&folder, 1 << 20, &[1, 5]).unwrap().vocabulary(), 1 << 20);
}

fn model(blocks: usize) -> FakeModel {
    let capacity = Capacity {
        vocabulary: VOCABULARY,
        positions: 400,
        blocks,
        block_tokens: 16,
        image_tokens: IMAGE_TOKENS,
        adapters: 3,
        picture_values: 3,
    };
    FakeModel::new(capacity, noise)
}

fn engine(blocks: usize, limits: PassLimits) -> Engine<FakeModel> {
    Engine::new(model(blocks), tokenizer(), limits).unwrap()
}

fn schema() -> GrammarSpec {
    let edge = json!({ "type": "integer", "minimum": 0, "maximum": 990, "multipleOf": 10 });
    let item = json!({
        "type": "object",
        "properties": {
            "finding": { "enum": ["pleural_effusion", "pneumothorax", "nodule"] },
            "side": { "enum": ["left", "right"] },
            "box": { "type": "array", "items": edge, "minItems": 4, "maxItems": 4 },
        },
        "required": ["finding"],
        "additionalProperties": false,
    });
    GrammarSpec::JsonSchema(json!({
        "type": "object",
        "properties": {
            "findings": { "type": "array", "items": item, "maxItems": 6 },
            "impression": { "type": "string", "maxLength": 40 },
        },
        "required": ["findings"],
        "additionalProperties": false,
        "x-guidance": { "whitespace_flexible": false },
    }))
}

/// A prompt of `length` text tokens that differ with `seed`, after pictures of the given numbers.
fn prompt(seed: u64, length: usize, pictures: &[u8]) -> Prompt {
    let mut prompt = Prompt { tokens: vec![2, 4], images: Vec::new() };
    for number in pictures {
        let start = prompt.tokens.len();
        prompt.tokens.extend([SOFT; IMAGE_TOKENS]);
        let picture = Picture { digest: [*number; 32], pixels: vec![f32::from(*number); 3].into() };
        let span: Range<usize> = start..start + IMAGE_TOKENS;
        prompt.images.push(PromptImage { span, picture: Arc::new(picture) });
        prompt.tokens.push(7);
    }
    prompt.tokens.extend((0..length as u64).map(|at| 300 + (mix(seed ^ (at << 20)) % 300) as u32));
    prompt
}

fn request(seed: u64, length: usize, pictures: &[u8]) -> Request {
    Request {
        prompt: prompt(seed, length, pictures),
        adapter: (seed as usize % 4).checked_sub(1),
        grammar: Some(schema()),
        max_new_tokens: 60,
        sampling: Sampling { temperature: 1.0, seed, ..Sampling::default() },
        alternatives: 2,
    }
}

/// Runs until nothing is left.
fn finish(engine: &mut Engine<FakeModel>) -> HashMap<RequestId, Result<Completion, EngineError>> {
    let mut all = HashMap::new();
    for _ in 0..20_000 {
        if engine.is_idle() {
            return all;
        }
        all.extend(engine.step());
    }
    panic!("the engine does not come to an end");
}

fn alone(request: Request) -> Completion {
    let mut engine = engine(64, PassLimits { requests: 1, tokens: 400 });
    let id = engine.submit(request).unwrap();
    finish(&mut engine).remove(&id).unwrap().unwrap()
}

fn without_cost(mut completion: Completion) -> Completion {
    completion.cost = super::request::Cost::default();
    completion
}

fn some_requests() -> Vec<Request> {
    (0..12)
        .map(|seed| request(seed, 5 + seed as usize * 7, [&[][..], &[1], &[1, 2], &[3]][seed as usize % 4]))
        .collect()
}

/// Issue 2, part 6: every draft parses.
#[test]
fn every_answer_parses_whatever_the_model_says_and_however_small_the_budget() {
    for seed in 0..150 {
        let mut one = request(seed, 9, &[]);
        one.max_new_tokens = 1 + (seed as usize * 3) % 70;
        let answer = alone(one);
        let value: Value =
            serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {}", answer.text));
        assert!(value["findings"].is_array());
        assert_eq!(answer.finish == Finish::Length, answer.own_bytes() < answer.text.len() || value.is_null());
    }
}

/// Issue 2, part 6: an answer does not depend on the batch.
#[test]
fn an_answer_is_the_same_alone_in_a_crowd_and_after_preemption() {
    let requests = some_requests();
    let expected: Vec<_> = requests.iter().cloned().map(alone).map(without_cost).collect();
    for (blocks, limits, order) in [
        (64, PassLimits { requests: 12, tokens: 400 }, 1),
        (64, PassLimits { requests: 5, tokens: 20 }, 5),
        (16, PassLimits { requests: 12, tokens: 64 }, 7),
        (12, PassLimits { requests: 12, tokens: 30 }, 11),
    ] {
        let mut engine = engine(blocks, limits);
        let mut asked = Vec::new();
        for at in (0..requests.len()).map(|at| at * order % requests.len()) {
            asked.push((engine.submit(requests[at].clone()).unwrap(), at));
        }
        let mut answers = finish(&mut engine);
        for (id, at) in asked {
            assert_eq!(without_cost(answers.remove(&id).unwrap().unwrap()), expected[at], "{limits:?} request {at}");
        }
        if blocks < 20 {
            assert!(engine.progress().preemptions > 0, "{limits:?} was meant to run out of blocks");
        }
        assert_eq!(engine.progress().prompt_tokens_cached, 0, "none is a prefix of another");
        assert_eq!(engine.scheduler.pool.available(), blocks, "every block came back");
    }
}

#[test]
fn a_prefix_and_a_picture_are_computed_once() {
    let mut engine = engine(64, PassLimits { requests: 4, tokens: 400 });
    let encoded = Arc::clone(&engine.model.encoded);
    engine.submit(request(5, 60, &[1])).unwrap();
    finish(&mut engine);
    let first = engine.progress().prompt_tokens;
    let again = engine.submit(request(5, 60, &[1])).unwrap();
    let answer = finish(&mut engine).remove(&again).unwrap().unwrap();
    assert!(engine.progress().prompt_tokens - first <= 32, "{}", engine.progress().prompt_tokens - first);
    assert_eq!(without_cost(answer), without_cost(alone(request(5, 60, &[1]))));
    assert_eq!(encoded.load(Ordering::Relaxed), 1);
}

#[test]
fn what_was_not_computed_and_not_chosen_is_counted() {
    let mut engine = engine(64, PassLimits { requests: 4, tokens: 400 });
    let answer = |engine: &mut Engine<FakeModel>, request| {
        let id = engine.submit(request).unwrap();
        finish(engine).remove(&id).unwrap().unwrap().cost
    };
    let first = answer(&mut engine, request(5, 60, &[1]));
    let after = engine.progress();
    assert_eq!((after.prompt_tokens_cached, after.images_encoded, after.images_cached), (0, 1, 0));
    assert_eq!(after.generated_tokens, first.generated_tokens as u64);
    assert_eq!(after.forced_tokens, first.forced_tokens as u64);
    assert!(after.forced_tokens > 0);
    // Four blocks of 16 lie before the end of a prompt of 75 tokens; the picture is in the first.
    let again = answer(&mut engine, request(5, 60, &[1]));
    let after = engine.progress();
    assert_eq!((after.prompt_tokens_cached, after.images_encoded, after.images_cached), (64, 1, 0));
    assert_eq!(after.forced_tokens, (first.forced_tokens + again.forced_tokens) as u64);
    // Another adapter, which leaves pictures alone: nothing of the prompt is known, and the picture is.
    answer(&mut engine, request(4, 60, &[1]));
    let after = engine.progress();
    assert_eq!((after.prompt_tokens_cached, after.images_encoded, after.images_cached), (64, 1, 1));
    // Two of one pass, with a picture that is new.
    for seed in [8, 12] {
        engine.submit(request(seed, 60, &[4])).unwrap();
    }
    finish(&mut engine);
    let after = engine.progress();
    assert_eq!((after.prompt_tokens_cached, after.images_encoded, after.images_cached), (64, 2, 2));
}

#[test]
fn what_can_never_fit_is_refused_with_the_numbers() {
    let mut engine = engine(4, PassLimits { requests: 4, tokens: 64 });
    let mut long = request(1, 390, &[]);
    long.max_new_tokens = 20;
    let error = engine.submit(long).unwrap_err().to_string();
    assert_eq!(error, "prompt of 392 tokens and answer of 20 do not fit the model's 400 positions");
    let error = engine.submit(request(1, 30, &[])).unwrap_err().to_string();
    assert_eq!(error, "request needs 6 cache blocks of 16 tokens, the engine has 4");
    let mut bent = request(1, 3, &[1]);
    bent.prompt.images[0].span.end += 1;
    assert!(matches!(engine.submit(bent), Err(EngineError::Prompt(_))));
    assert!(engine.is_idle());
}

#[test]
fn forced_tokens_are_counted_and_not_chosen() {
    let answer = alone(request(3, 9, &[]));
    let chosen = |token: &&super::request::AnswerToken| matches!(token.origin, Origin::Chosen { .. });
    let count = answer.tokens.iter().filter(chosen).count();
    assert_eq!(answer.cost.generated_tokens, answer.tokens.len());
    assert_eq!(answer.cost.forced_tokens, answer.tokens.len() - count);
    assert!(answer.cost.forced_tokens > 4, "{:?}", answer.text);
    assert_eq!(answer.tokens[0].origin, Origin::Forced);
    for token in &answer.tokens {
        if let Origin::Chosen { probability, unmasked, alternatives } = &token.origin {
            assert!(*unmasked <= *probability && *probability <= 1.0 + 1e-6);
            assert!(!alternatives.is_empty());
        }
    }
}

#[test]
fn tokens_know_their_bytes() {
    let answer = alone(request(8, 9, &[]));
    let mut end = 0;
    for token in &answer.tokens {
        assert_eq!(token.bytes.start, end);
        assert_eq!(tokenizer().bytes_of(token.token), &answer.text.as_bytes()[token.bytes.clone()]);
        end = token.bytes.end;
    }
    assert_eq!(end, answer.text.len());
}

#[test]
fn without_a_grammar_the_budget_ends_the_answer() {
    let mut free = request(4, 9, &[]);
    free.grammar = None;
    free.max_new_tokens = 10;
    let answer = alone(free);
    assert!(answer.tokens.len() <= 10);
    assert_eq!(answer.finish == Finish::Length, answer.tokens.len() == 10);
}

#[test]
fn a_cancelled_request_gives_its_blocks_back() {
    let mut engine = engine(64, PassLimits { requests: 4, tokens: 64 });
    let ids: Vec<_> = (0..6).map(|seed| engine.submit(request(seed, 20, &[1])).unwrap()).collect();
    engine.step();
    engine.cancel(ids[0]);
    engine.cancel(ids[5]);
    let answers = finish(&mut engine);
    assert!(matches!(answers[&ids[0]], Err(EngineError::Cancelled)));
    assert!(matches!(answers[&ids[5]], Err(EngineError::Cancelled)));
    assert_eq!(answers.values().filter(|answer| answer.is_ok()).count(), 4);
    assert_eq!(engine.scheduler.pool.available(), 64);
}

#[test]
fn a_model_that_stops_ends_its_requests_and_no_others() {
    let mut broken = model(64);
    broken.fails_after = Some(1);
    let mut engine = Engine::new(broken, tokenizer(), PassLimits { requests: 2, tokens: 64 }).unwrap();
    for seed in 0..3 {
        engine.submit(request(seed, 20, &[])).unwrap();
    }
    let answers = finish(&mut engine);
    assert_eq!(answers.len(), 3);
    assert!(answers.values().all(|answer| answer.as_ref().unwrap_err().to_string().contains("device is lost")));
    assert_eq!(engine.scheduler.pool.available(), 64);
}

#[test]
fn a_pass_without_room_is_made_smaller_and_answers_are_the_same() {
    let requests = some_requests();
    let mut engine = engine(64, PassLimits { requests: 12, tokens: 400 });
    // A picture fits, and little else.
    engine.model.room.store(IMAGE_TOKENS + 2, Ordering::Relaxed);
    let ids: Vec<_> = requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
    let mut answers = finish(&mut engine);
    for (id, request) in ids.into_iter().zip(requests) {
        assert_eq!(without_cost(answers.remove(&id).unwrap().unwrap()), without_cost(alone(request)), "{id:?}");
    }
    assert_eq!(engine.scheduler.pool.available(), 64);
}

#[test]
fn a_request_without_room_ends_alone_and_says_why() {
    let mut engine = engine(64, PassLimits { requests: 12, tokens: 400 });
    let room = Arc::clone(&engine.model.room);
    room.store(IMAGE_TOKENS - 1, Ordering::Relaxed);
    let requests = some_requests();
    let ids: Vec<_> = requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
    let mut answers = finish(&mut engine);
    for (id, request) in ids.into_iter().zip(&requests) {
        let answer = answers.remove(&id).unwrap();
        if request.prompt.images.is_empty() {
            assert_eq!(without_cost(answer.unwrap()), without_cost(alone(request.clone())), "{id:?}");
            continue;
        }
        let error = answer.unwrap_err().to_string();
        let wanted =
            format!("out of device memory: {IMAGE_TOKENS} bytes wanted for activations, 11 are free; use a GPU");
        assert!(error.starts_with(&wanted), "{id:?}: {error}");
    }
    assert_eq!(engine.scheduler.pool.available(), 64, "every block came back");
    // With more room the same is answered.
    room.store(usize::MAX, Ordering::Relaxed);
    let again = engine.submit(requests[1].clone()).unwrap();
    let answer = finish(&mut engine).remove(&again).unwrap().unwrap();
    assert_eq!(without_cost(answer), without_cost(alone(requests[1].clone())));
}

#[tokio::test]
async fn the_thread_answers_many_callers_and_forgets_those_who_leave() {
    let handle = super::handle::spawn(engine(64, PassLimits { requests: 4, tokens: 64 })).unwrap();
    let gone = handle.submit(request(0, 20, &[]));
    let pending: Vec<_> = (1..5).map(|seed| handle.submit(request(seed, 20, &[]))).collect();
    drop(gone);
    for (seed, answer) in (1..5).zip(pending) {
        assert_eq!(without_cost(answer.await.unwrap()), without_cost(alone(request(seed, 20, &[]))));
    }
    let mut refused = request(0, 20, &[]);
    refused.max_new_tokens = 4000;
    assert!(matches!(handle.submit(refused).await, Err(EngineError::TooLong { .. })));
}
