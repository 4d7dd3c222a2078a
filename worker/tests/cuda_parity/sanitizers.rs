//! A whole pass of the model under sanitizers: the kernels' own tests show single operations to them, and here each reads what
//! another has written, in memory of the sizes that a model asks for.

use prelim_kernels::Precision;

use crate::golden::{Golden, Session};
use crate::stand_in::{SANITIZERS, StandIn, build, run};
use crate::{F16, load};

/// Tokens after the prompt.
const STEPS: usize = 3;

/// A picture through the tower and the projector, a prompt, and tokens after it.
#[test]
fn a_picture_is_seen_and_words_follow() {
    let (_turn, _) = StandIn::turn();
    let model = load(Precision::F16);
    let golden = Golden::read("one_image_f32");
    let (tokens, logits) = Session::read(&model, &golden).greedy(golden.tokens.len(), STEPS);
    assert_eq!(tokens, golden.greedy[..STEPS]);
    let pairs = logits.iter().zip(&golden.tensors["greedy_logits"]);
    assert!(pairs.clone().count() == logits.len(), "logits of {STEPS} tokens");
    pairs.for_each(|(found, wanted)| assert!((found - wanted).abs() <= F16.logits, "{found} for {wanted}"));
}

/// Reads and writes out of bounds, and what C++ leaves undefined.
#[test]
fn the_model_passes_under_sanitizers() {
    build("sanitized", &SANITIZERS);
    let (passed, said) = run("sanitized", &["sanitizers::a_picture_is_seen_and_words_follow"], true);
    assert!(passed, "{said}");
}
