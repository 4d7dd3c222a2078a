//! What the engine is asked, and what it answers. Nothing here is about findings: a chat, a caption or an answer to a
//! question is the same kind of request.

use std::ops::Range;
use std::sync::Arc;

use prelim_kernels::ChoiceError;

use super::grammar::{GrammarError, GrammarSpec};
use super::tokenizer::TokenId;

/// A picture, preprocessed for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// A digest of the pixels: equal digests mean equal pixels, which are encoded once.
    pub digest: [u8; 32],
    /// `[channels, side, side]`, normalised as the model's processor says.
    pub pixels: Arc<[f32]>,
}

/// Tokens with pictures among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// Every token, with a run of soft tokens for each picture.
    pub tokens: Vec<TokenId>,
    /// The pictures, in order of their runs, which do not overlap.
    pub images: Vec<PromptImage>,
}

/// A picture in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptImage {
    /// The positions of its soft tokens.
    pub span: Range<usize>,
    /// What is seen there.
    pub picture: Arc<Picture>,
}

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token; 1 draws by the model's own probabilities.
    pub temperature: f32,
    /// Draw among so many of the most likely tokens; all where none.
    pub top_k: Option<usize>,
    /// Draw among the most likely tokens that have this much of the probability together.
    pub top_p: f32,
    /// Where the draws start from.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: None, top_p: 1.0, seed: 0 }
    }
}

/// One thing asked of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What the model reads.
    pub prompt: Prompt,
    /// Which of the model's adapters answers; the model itself where none.
    pub adapter: Option<usize>,
    /// What the answer must look like, where it must.
    pub grammar: Option<GrammarSpec>,
    /// Tokens that the answer may have, forced ones included, before it is closed.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How many of the most likely tokens are reported at each choice.
    pub alternatives: usize,
}

/// A token that might have been chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alternative {
    /// Which.
    pub token: TokenId,
    /// How likely it was among the tokens that the grammar allowed.
    pub probability: f32,
}

/// Where a token of an answer is from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// The model chose it.
    Chosen {
        /// How likely it was among the tokens that the grammar allowed.
        probability: f32,
        /// How likely it was among all tokens.
        unmasked: f32,
        /// The most likely tokens that the grammar allowed, the best first.
        alternatives: Vec<Alternative>,
    },
    /// Nothing else could stand there.
    Forced,
    /// It closes an answer that ran out of its budget: not the model's word.
    Closing,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerToken {
    /// Which.
    pub token: TokenId,
    /// The bytes of [`Completion::text`] that it stands for.
    pub bytes: Range<usize>,
    /// Where it is from.
    pub origin: Origin,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or the grammar was complete.
    Stop,
    /// The budget ended. With a grammar the answer was closed and still parses.
    Length,
}

/// What a request cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Tokens of the prompt, soft tokens included.
    pub prompt_tokens: usize,
    /// Tokens of the answer.
    pub generated_tokens: usize,
    /// Of them, tokens that the grammar forced or that closed the answer.
    pub forced_tokens: usize,
    /// Its share of the time in the vision tower, in ms.
    pub vision_ms: f64,
    /// Its share of the time to read prompts, in ms.
    pub prefill_ms: f64,
    /// Its share of the time to generate, in ms.
    pub generate_ms: f64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The tokens, without the stop token.
    pub tokens: Vec<AnswerToken>,
    /// Their text. A grammar's answer is always valid UTF-8; bytes that are not are replaced.
    pub text: String,
    /// Why it ends.
    pub finish: Finish,
    /// What it cost.
    pub cost: Cost,
}

impl Completion {
    /// The length of the text that is the model's own: what lies past it only closes the answer.
    pub fn own_bytes(&self) -> usize {
        let closing = self.tokens.iter().find(|token| token.origin == Origin::Closing);
        closing.map_or(self.text.len(), |token| token.bytes.start)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The prompt and the answer are longer than the model can look back.
    #[error(
        "prompt of {prompt_tokens} tokens and answer of {max_new_tokens} do not fit the model's {positions} positions"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens of the answer.
        max_new_tokens: usize,
        /// Positions of the model.
        positions: usize,
    },
    /// The whole cache is too small for it.
    #[error("request needs {needed} cache blocks of {block_tokens} tokens, the engine has {blocks}")]
    TooLargeForCache {
        /// Blocks that it needs.
        needed: usize,
        /// Blocks that there are.
        blocks: usize,
        /// Tokens in a block.
        block_tokens: usize,
    },
    /// The prompt contradicts itself or the model.
    #[error("prompt is not valid: {0}")]
    Prompt(&'static str),
    /// The grammar.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// Choosing a token.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// The model.
    #[error("model stopped: {0}")]
    Model(String),
    /// The device has no memory for it, not for a part of it alone.
    #[error("{0}; use a GPU with more free memory, or less of --batch, --pass-tokens or --cache-mib")]
    Memory(String),
    /// The request was withdrawn.
    #[error("request was cancelled")]
    Cancelled,
    /// The engine's thread is gone.
    #[error("engine has stopped")]
    Stopped,
}
