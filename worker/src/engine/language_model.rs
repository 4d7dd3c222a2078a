//! What the engine needs of a model. The engine owns time (who is computed when); the model owns tensors.

use std::ops::Range;

use prelim_kernels::{Choices, DeviceError, Pick};

use super::tokenizer::TokenId;

/// What a model can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Width of the logits.
    pub vocabulary: usize,
    /// Positions that a sequence may have.
    pub positions: usize,
    /// Cache blocks that can be handed out, `0..blocks`.
    pub blocks: usize,
    /// Tokens in a block.
    pub block_tokens: usize,
    /// Soft tokens that a picture takes.
    pub image_tokens: usize,
    /// Values of a picture: channels · side · side.
    pub picture_values: usize,
    /// Adapters that requests may name, from 0.
    pub adapters: usize,
}

/// New tokens of one sequence, to be computed in one pass with those of others.
#[derive(Debug)]
pub struct Chunk<'a, I> {
    /// Position of the first new token; all before it are in the cache.
    pub start: usize,
    /// The new tokens.
    pub tokens: &'a [TokenId],
    /// Pictures among the new tokens, whole, at their positions in the sequence.
    pub images: Vec<(Range<usize>, &'a I)>,
    /// The adapter of its request.
    pub adapter: Option<usize>,
    /// Cache blocks of the sequence: entry `p / block_tokens` holds position `p`.
    pub blocks: &'a [u32],
    /// Whether the scores after the last new token are wanted.
    pub wants_scores: bool,
}

/// A model with its cache.
///
/// A sequence's scores must not depend on the other chunks of a pass, nor on how it was cut into chunks: the engine's
/// promise that equal requests get equal answers rests on it.
///
/// A pass for which the device has no memory fails, and a smaller one may go through: it computes the same tokens anew.
pub trait LanguageModel: Send + 'static {
    /// An encoded picture.
    type Image: Clone + Send;
    /// Scores of the tokens that may come next, where the model computes them.
    type Scores;
    /// What it can hold.
    fn capacity(&self) -> Capacity;

    /// The adapter with which a picture of a request with `adapter` is encoded; none where that adapter leaves pictures alone.
    fn picture_adapter(&self, adapter: Option<usize>) -> Option<usize>;

    /// Encodes pictures, each `[channels, side, side]`, in one go.
    fn encode(&mut self, pictures: &[&[f32]], adapter: Option<usize>) -> Result<Vec<Self::Image>, DeviceError>;

    /// One pass. The result has a row of scores for each chunk that wants them, in order. It may come before the device is
    /// done: what a caller does until it chooses is done beside the pass.
    fn forward(&mut self, chunks: &[Chunk<'_, Self::Image>]) -> Result<Self::Scores, DeviceError>;

    /// A token for each row of scores. A row's answer depends on that row and its pick alone.
    fn choose(&mut self, scores: &Self::Scores, picks: &[Pick<'_>]) -> Result<Choices, DeviceError>;
}
