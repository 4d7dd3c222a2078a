//! Sequences whose caches begin with the same blocks: what they share is computed together, and nobody can tell.

use prelim_kernels::{Backend, Cuda, Reference};

use crate::cases::{check, check_bits};
use crate::decoder::{self, Heads, Pass, Sequence};
use crate::operations::{PRECISIONS, shape};
use crate::stand_in::StandIn;

/// Tokens that are decoded.
const STEPS: usize = 3;

/// What the decoded tokens see: whole prefixes of several splits and blocks, parts of them, none; more sequences than a tile has
/// room for.
fn sequences(block_tokens: usize) -> Vec<Sequence> {
    let (whole, part) = (130usize.next_multiple_of(block_tokens), 64usize.next_multiple_of(block_tokens));
    let own = [40, 9, 1, 70, 20, 3, 64, 5, 9, 11];
    own.iter()
        .enumerate()
        .map(|(s, own)| {
            let shared = match s {
                0 | 6 => 0,
                4 => part,
                _ => whole,
            };
            let number = 1 + s as u64;
            Sequence { number, tokens: (if s == 0 { whole } else { shared }) + own + STEPS, images: vec![], shared }
        })
        .collect()
}

/// Prompts first; then a token of each at a time, together or one after the other.
fn passes(sequences: &[Sequence], together: bool) -> Vec<Pass> {
    let prompt = |s: usize| (s, sequences[s].shared, sequences[s].tokens - STEPS);
    let mut passes: Vec<Pass> = (0..sequences.len()).map(|s| vec![prompt(s)]).collect();
    for step in 0..STEPS {
        let at = |s: usize| sequences[s].tokens - STEPS + step;
        let tokens = (0..sequences.len()).map(|s| (s, at(s), at(s) + 1));
        if together {
            passes.push(tokens.collect());
        } else {
            passes.extend(tokens.map(|token| vec![token]));
        }
    }
    passes
}

/// The results of the tokens that were decoded.
fn decoded<B: Backend>(backend: &B, shape: Heads, sequences: &[Sequence], together: bool) -> Vec<f32> {
    let found = decoder::run(backend, shape, sequences, &passes(sequences, together));
    let tail = STEPS * shape.heads * shape.head_dim;
    found.iter().flat_map(|result| &result[result.len() - tail..]).copied().collect()
}

#[test]
fn sequences_that_share_a_prefix_have_the_bits_that_they_have_alone() {
    let (_turn, stand_in) = StandIn::turn();
    let shapes = [
        shape(1, 1, 24, None, 16),
        shape(4, 2, 64, Some(24), 16),
        shape(4, 1, 72, Some(100), 48),
        shape(2, 1, 128, None, 64),
        shape(8, 4, 256, Some(150), 16),
        // No room for two.
        shape(9, 1, 32, None, 32),
    ];
    for shape in shapes {
        let sequences = sequences(shape.block_tokens);
        let wanted = decoded(&Reference::default(), shape, &sequences, true);
        for (precision, tolerance) in PRECISIONS {
            let cuda = Cuda::open(0, precision).expect("the stand-in").with_split(64);
            let what = format!("{shape:?} in {precision:?}");
            let (before, alone) = (stand_in.counts(), decoded(&cuda, shape, &sequences, false));
            let (between, found) = (stand_in.counts(), decoded(&cuda, shape, &sequences, true));
            check(&what, &found, &wanted, tolerance.attention);
            check_bits(&what, &found, &alone);
            let (of_alone, of_found) = (between.copies - before.copies, stand_in.counts().copies - between.copies);
            let is_shared = shape.heads / shape.kv_heads <= 8;
            // A GPU counts nothing.
            assert!(
                !stand_in.is_there() || (of_found < of_alone) == is_shared,
                "{what}: {of_found} copies together, {of_alone} alone"
            );
        }
    }
}
