//! What goes into a forward pass and what comes out.

use std::sync::Arc;

use prelim_kernels::{Backend, CacheShape};

use super::adapter::AdapterId;

/// New tokens of several sequences, computed together. A row of the result does not depend on the other sequences,
/// nor on how a sequence was cut into chunks.
pub struct Batch<'a, B: Backend> {
    /// At least one; each with at least one token.
    pub chunks: Vec<Chunk<'a, B>>,
}

/// New tokens of one sequence: its whole prompt, a part of it, or the token generated last.
pub struct Chunk<'a, B: Backend> {
    /// Position of the first new token. All positions before it must have been computed into the same blocks.
    pub start: usize,
    /// Token ids; soft tokens of images included.
    pub tokens: &'a [u32],
    /// The images among the new tokens. A chunk may not cut an image, since the tokens of an image attend to each other
    /// both ways; and every soft token must belong to one.
    pub images: Vec<PlacedImage<B>>,
    /// Cache blocks: entry `p / block_tokens` holds position `p`, for all positions up to the last new token.
    pub blocks: &'a [u32],
    /// The adapter that the sequence is computed with, from its first token to its last.
    pub adapter: Option<AdapterId>,
    /// For which of the new tokens the next token's logits are wanted.
    pub logits: Want,
}

/// An image in a sequence.
pub struct PlacedImage<B: Backend> {
    /// Position of its first soft token in the sequence.
    pub at: usize,
    /// What the vision tower saw.
    pub features: ImageFeatures<B>,
}

/// Rows of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// None: more of the prompt is to come.
    None,
    /// After the last new token.
    Last,
    /// After every new token.
    All,
}

/// An image as the decoder reads it: `[tokens, hidden]` on the device. Clones share it, so that the same image is encoded
/// once for many prompts.
pub struct ImageFeatures<B: Backend> {
    pub(super) buffer: Arc<B::Buffer>,
    pub(super) tokens: usize,
}

impl<B: Backend> Clone for ImageFeatures<B> {
    fn clone(&self) -> Self {
        Self { buffer: Arc::clone(&self.buffer), tokens: self.tokens }
    }
}

impl<B: Backend> ImageFeatures<B> {
    /// How many soft tokens the image takes.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

/// Keys and values of the sequences in flight, in blocks that the caller hands out.
pub struct KvCache<B: Backend> {
    pub(super) cache: B::Cache,
    pub(super) shape: CacheShape,
}

impl<B: Backend> KvCache<B> {
    /// Blocks that can be handed out: `0..blocks`.
    pub fn blocks(&self) -> usize {
        self.shape.blocks
    }

    /// Tokens in a block.
    pub fn block_tokens(&self) -> usize {
        self.shape.block_tokens
    }
}

/// Scores of the next token, on the device: the rows asked for, in the order of chunks and tokens. They may still be computed
/// when one has this.
pub struct Scores<B: Backend> {
    /// `[rows, vocabulary]`
    pub(super) buffer: B::Buffer,
    pub(super) rows: usize,
    pub(super) vocabulary: usize,
}

impl<B: Backend> Scores<B> {
    /// Waits for them, and takes them to the host.
    pub(super) fn read(&self, backend: &B) -> Logits {
        Logits { values: backend.download(&self.buffer, self.rows * self.vocabulary), vocabulary: self.vocabulary }
    }
}

/// Scores of the next token, on the host: the rows asked for, in the order of chunks and tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    pub(super) values: Vec<f32>,
    pub(super) vocabulary: usize,
}

impl Logits {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.vocabulary
    }

    /// One row: a score for each token of the vocabulary.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.vocabulary..(row + 1) * self.vocabulary]
    }
}

/// Looks at intermediate tensors, for parity tests and `prelim logits`. A pass without one computes and copies nothing more.
pub trait Observer: Send {
    /// A tensor `[rows, width]`, named as in the parity goldens: `layer3_out`, `vision_last_hidden_state`.
    fn tensor(&mut self, name: &str, width: usize, values: Vec<f32>);
}
