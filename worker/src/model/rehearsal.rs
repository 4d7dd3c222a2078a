//! How much of a device's memory passes take, found by going through the largest ones without computing them.

use prelim_kernels::{Backend, Draw, Pick};

use super::{AdapterId, Batch, Chunk, Model, Want};

/// The largest passes that there will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassSizes {
    /// Pictures that go through the vision tower in one go.
    pub pictures: usize,
    /// Encoded pictures that are held at once.
    pub features: usize,
    /// New tokens of a pass.
    pub tokens: usize,
    /// Sequences of a pass, for each of which a token is chosen.
    pub sequences: usize,
    /// Positions of the longest sequence.
    pub positions: usize,
}

/// Tokens in a block of the cache that a rehearsal pretends to have.
const BLOCK_TOKENS: usize = 16;
/// Rows of passes that are smaller than the largest.
const SMALL: [usize; 2] = [1, 17];
/// New tokens of a sequence that are no prompt yet.
const FEW: [usize; 5] = [2, 4, 8, 16, 32];
/// Likely tokens that are asked for with each that is chosen.
const LIKELY: usize = 16;

impl<B: Backend> Model<B> {
    /// Bytes of the device's own memory that passes of these sizes take at most; none where it computes in the host's.
    pub fn pass_bytes(&self, sizes: PassSizes) -> Option<u64> {
        // What is kept is a part of what passes take.
        self.family.forget();
        self.backend.rehearse(|| {
            let mut held = Vec::with_capacity(sizes.features);
            let pixels = vec![0.0; sizes.pictures * self.config.picture.values()];
            // Adapters take memory of their own.
            let adapter = (self.adapters() > 0).then_some(AdapterId(0));
            while held.len() < sizes.features && sizes.pictures > 0 {
                held.extend(self.encode_images_observed(&pixels, sizes.pictures, adapter, None));
            }
            let rehearse = |sizes, each| {
                self.rehearse_words(sizes, each, adapter);
                self.family.forget();
            };
            rehearse(sizes, 1);
            // Smaller passes have other kernels, whose memory is to be counted before it is shared out: those of one row, and those
            // of a few more than are taken as single ones.
            SMALL.into_iter().for_each(|tokens| rehearse(PassSizes { tokens, sequences: 1, ..sizes }, 1));
            // A few tokens of each sequence leave more sums of attention than one of each does.
            for each in FEW.into_iter().filter(|each| each * sizes.sequences <= sizes.tokens) {
                rehearse(PassSizes { tokens: each * sizes.sequences, ..sizes }, each);
            }
        })
    }

    /// A pass that reads a prompt while every other sequence has `each` new tokens at the end of its context.
    fn rehearse_words(&self, sizes: PassSizes, each: usize, adapter: Option<AdapterId>) {
        // The cache is one block that stands for all. One that cannot be made is told of when the real one is.
        let Ok(mut kv) = self.new_kv_cache(1, BLOCK_TOKENS) else { return };
        let word = u32::from(self.config.image_token == 0);
        let others = sizes.sequences.saturating_sub(1);
        let tokens = sizes.tokens.max(sizes.sequences).max(1);
        let prompt = vec![word; tokens - others * each];
        let blocks = vec![0; sizes.positions.max(tokens).div_ceil(BLOCK_TOKENS)];
        let chunk = |start: usize, tokens| Chunk {
            start,
            tokens,
            images: Vec::new(),
            blocks: &blocks,
            adapter,
            logits: Want::Last,
        };
        let new = vec![word; each];
        let last = chunk(sizes.positions.saturating_sub(each), &new);
        // A token alone is at the end of its context, too.
        let mut chunks =
            if tokens == 1 { vec![Chunk { images: Vec::new(), ..last }] } else { vec![chunk(0, &prompt[..])] };
        chunks.extend((0..others).map(|_| Chunk { images: Vec::new(), ..last }));
        // There is room for all that is rehearsed: whether there is in fact shows when it is taken.
        let Ok(scores) = self.score(&mut kv, &Batch { chunks }) else { return };
        let mask = vec![u32::MAX; self.config.vocabulary.div_ceil(32)];
        let draw = Draw { temperature: 1.0, top_k: None, top_p: 0.9, unit: 0.5 };
        let pick = Pick { mask: Some(&mask), draw: Some(draw), likely: LIKELY };
        drop(self.choose(&scores, &vec![pick; sizes.sequences.max(1)]));
    }
}
