//! The engine with a real model.
//!
//! Verifies issue 2, promise 6: every answer parses, also from a model with random weights and when its budget ends;
//! equal requests get equal answers, tokens and probabilities, whatever else is in the batch; and under a grammar a
//! trained model says what it says without one.

mod setup;
mod shuffled;

use prelim_worker::engine::request::{Completion, Cost, EngineError, Finish, Origin, Request, Sampling};
use prelim_worker::engine::{GrammarSpec, PassLimits};
use prelim_worker::findings::read_answer;
use setup::{Bench, golden_prompts, seen_image, spike, tiny_kind};

const WIDE: PassLimits = PassLimits { requests: 16, tokens: 1024 };

/// Requests about pictures of noise and about none, in a mix of lengths and samplings.
fn requests(bench: &Bench, count: u64, max_new_tokens: usize) -> Vec<Request> {
    let request = |seed: u64| {
        let kind = tiny_kind();
        let pictures: Vec<u64> = (0..seed % 3).map(|n| seed / 2 + n).collect();
        Request {
            prompt: bench.prompt(&"word ".repeat(seed as usize % 7 * 5 + 1), &pictures),
            adapter: None,
            grammar: Some(GrammarSpec::JsonSchema(kind.answer_schema(pictures.len().max(1)))),
            max_new_tokens,
            sampling: Sampling { temperature: (seed % 2) as f32, seed, ..Sampling::default() },
            alternatives: 3,
        }
    };
    (0..count).map(request).collect()
}

fn answers(bench: &Bench, requests: &[Request], limits: PassLimits, cache_tokens: usize) -> Vec<Completion> {
    let (mut engine, _) = bench.engine(limits, cache_tokens);
    let ids: Vec<_> = requests.iter().map(|request| engine.submit(request.clone()).expect("it fits")).collect();
    let mut done = std::collections::HashMap::new();
    while !engine.is_idle() {
        done.extend(engine.step());
    }
    let without_cost =
        |answer: Result<Completion, EngineError>| Completion { cost: Cost::default(), ..answer.unwrap() };
    ids.into_iter().map(|id| without_cost(done.remove(&id).expect("every request is answered"))).collect()
}

#[test]
fn a_model_with_random_weights_always_gives_findings_that_can_be_read() {
    let bench = Bench::tiny();
    let mut cut = 0;
    for (budget, count) in [(1, 4), (5, 6), (13, 6), (29, 6), (61, 4)] {
        for (seed, answer) in answers(&bench, &requests(&bench, count, budget), WIDE, 4096).into_iter().enumerate() {
            let value: serde_json::Value = serde_json::from_str(&answer.text).expect("every answer parses");
            assert!(value["findings"].is_array(), "{}", answer.text);
            let images: Vec<_> = (0..(seed % 3).max(1)).map(|_| seen_image()).collect();
            let reading = read_answer(&answer, &tiny_kind(), &images);
            assert!(reading.findings.iter().all(|finding| (0.0..=1.0).contains(&finding.confidence)));
            assert_eq!(reading.truncated, answer.finish == Finish::Length);
            cut += usize::from(reading.truncated);
        }
    }
    assert!(cut > 5, "small budgets were meant to cut answers");
}

#[test]
fn tokens_and_probabilities_do_not_depend_on_the_batch() {
    check_batches(&Bench::tiny(), 256);
}

#[test]
fn tokens_and_probabilities_of_llava_do_not_depend_on_the_batch() {
    check_batches(&Bench::tiny_llava(), 320);
}

/// `little` tokens of cache are too few for some of the requests at a time.
fn check_batches(bench: &Bench, little: usize) {
    let asked = requests(bench, 9, 24);
    let alone: Vec<_> = asked.iter().flat_map(|one| answers(bench, std::slice::from_ref(one), WIDE, 2048)).collect();
    for (name, limits, cache_tokens, step) in [
        ("all at once", WIDE, 4096, 1),
        ("in small chunks", PassLimits { requests: 9, tokens: 20 }, 4096, 2),
        ("with too little cache", PassLimits { requests: 9, tokens: 64 }, little, 4),
        ("two by two", PassLimits { requests: 2, tokens: 48 }, 512, 7),
    ] {
        let order: Vec<usize> = (0..asked.len()).map(|at| at * step % asked.len()).collect();
        let shuffled: Vec<_> = order.iter().map(|at| asked[*at].clone()).collect();
        for (at, answer) in order.iter().zip(answers(bench, &shuffled, limits, cache_tokens)) {
            assert_eq!(answer, alone[*at], "request {at} {name}");
        }
    }
}

#[test]
fn greedy_answers_are_those_of_transformers() {
    check_greedy(&Bench::tiny(), &["one_image_f32", "two_images_f32", "text_only_f32", "pan_scan_f32"]);
}

#[test]
fn greedy_answers_of_llava_are_those_of_transformers() {
    check_greedy(&Bench::tiny_llava(), &["one_image_f32"]);
}

fn check_greedy(bench: &Bench, cases: &[&str]) {
    for case in cases {
        let (prompt, expected) = bench.golden(case);
        let max_new_tokens = expected.len();
        let stops = &bench.model.config().end_tokens;
        let expected: Vec<u32> = expected.into_iter().take_while(|token| !stops.contains(token)).collect();
        let request = Request {
            prompt,
            adapter: None,
            grammar: None,
            max_new_tokens,
            sampling: Sampling::default(),
            alternatives: 1,
        };
        let answer = answers(bench, &[request], PassLimits { requests: 1, tokens: 40 }, 512).remove(0);
        let tokens: Vec<u32> = answer.tokens.iter().map(|token| token.token).collect();
        assert_eq!(tokens, expected, "{case}");
        for token in &answer.tokens {
            let Origin::Chosen { probability, unmasked, alternatives } = &token.origin else {
                panic!("all are chosen")
            };
            assert_eq!((probability, alternatives[0].token), (unmasked, token.token));
        }
    }
}

/// Under the grammar the demonstration model of the spike says, token by token, what it said without one.
#[test]
fn a_grammar_does_not_change_what_a_trained_model_says() {
    let Some(folder) = spike() else {
        return println!("the spike's goldens are not at hand");
    };
    let bench = Bench::load(&folder.join("checkpoint"));
    for golden in golden_prompts(&folder, &bench) {
        let answer = answers(&bench, &[golden.request], PassLimits { requests: 1, tokens: 256 }, 1024).remove(0);
        assert_eq!(answer.text, golden.text);
        let tokens: Vec<u32> = answer.tokens.iter().map(|token| token.token).collect();
        assert_eq!(tokens, golden.tokens, "{}", golden.text);
        for (token, golden_probability) in answer.tokens.iter().zip(&golden.probabilities) {
            if let Origin::Chosen { probability, unmasked, .. } = token.origin {
                assert!((unmasked - golden_probability).abs() < 2e-3, "{unmasked} {golden_probability}");
                assert!(probability >= unmasked);
            }
        }
    }
}
