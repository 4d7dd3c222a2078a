//! One request on its way: its tokens, how far they are computed, and what the answer holds so far.

use std::ops::Range;

use prelim_kernels::Choice;
use sha2::{Digest, Sha256};

use super::blocks::PrefixKey;
use super::grammar::{Constraint, GrammarError};
use super::request::{
    Alternative, AnswerToken, Completion, Cost, EngineError, Finish, Origin, Prompt, Request, Sampling,
};
use super::sampler::{self, Wish};
use super::tokenizer::{TokenId, Tokenizer};

/// A request's number, in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request in flight. `I` is the model's encoded picture.
pub(super) struct Sequence<I> {
    pub(super) id: RequestId,
    pub(super) prompt: Prompt,
    pub(super) adapter: Option<usize>,
    /// Prompt and answer.
    pub(super) tokens: Vec<TokenId>,
    /// Tokens whose keys and values are in the cache.
    pub(super) computed: usize,
    pub(super) blocks: Vec<u32>,
    /// Encoded pictures, as they become ready; kept while the request lives, since a preemption computes it again.
    pub(super) images: Vec<Option<I>>,
    pub(super) cost: Cost,
    /// It was not let in yet.
    pub(super) is_new: bool,
    keys: Vec<PrefixKey>,
    constraint: Option<Constraint>,
    sampling: Sampling,
    alternatives: usize,
    max_new_tokens: usize,
    answer: Vec<AnswerToken>,
    text: Vec<u8>,
    finish: Option<Finish>,
}

impl<I> Sequence<I> {
    /// A request at its start; what the grammar forces before the first choice joins the prompt at once.
    pub(super) fn new(
        id: RequestId,
        request: Request,
        constraint: Option<Constraint>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, GrammarError> {
        let images = request.prompt.images.iter().map(|_| None).collect();
        let cost = Cost { prompt_tokens: request.prompt.tokens.len(), ..Cost::default() };
        let mut sequence = Self {
            id,
            tokens: request.prompt.tokens.clone(),
            prompt: request.prompt,
            adapter: request.adapter,
            computed: 0,
            blocks: Vec::new(),
            images,
            cost,
            is_new: true,
            keys: Vec::new(),
            constraint,
            sampling: request.sampling,
            alternatives: request.alternatives,
            max_new_tokens: request.max_new_tokens,
            answer: Vec::new(),
            text: Vec::new(),
            finish: None,
        };
        sequence.take_forced(tokenizer)?;
        sequence.finish_if_done(tokenizer)?;
        Ok(sequence)
    }

    /// Tokens that wait to be computed.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Whether the prompt is in the cache, so that what is pending is generated.
    pub(super) fn is_generating(&self) -> bool {
        self.computed >= self.prompt.tokens.len()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// The pending tokens that go into one pass with room for `room`: as many as fit without cutting a picture.
    pub(super) fn chunk(&self, room: usize) -> usize {
        let end = self.computed + self.pending().min(room);
        let cut = self.prompt.images.iter().find(|image| image.span.start < end && end < image.span.end);
        cut.map_or(end, |image| image.span.start).saturating_sub(self.computed)
    }

    /// The fewest pending tokens that can go into a pass: one, or the picture that comes next.
    pub(super) fn least_chunk(&self) -> usize {
        let next = self.prompt.images.iter().find(|image| image.span.start == self.computed);
        next.map_or(1, |image| image.span.len())
    }

    /// The pictures, by index, that lie in `positions`.
    pub(super) fn images_in(&self, positions: Range<usize>) -> Range<usize> {
        let images = &self.prompt.images;
        let from = images.partition_point(|image| image.span.start < positions.start);
        let to = images.partition_point(|image| image.span.start < positions.end);
        from..to
    }

    /// How the token after the last one is to be chosen. It does not depend on the scores.
    pub(super) fn wish(&mut self) -> Result<Wish, GrammarError> {
        let mask = self.constraint.as_mut().map(Constraint::mask).transpose()?;
        let draw = sampler::draw(&self.sampling, self.answer.len() as u64);
        Ok(Wish { mask, draw, alternatives: self.alternatives })
    }

    /// Takes the token that was chosen, and everything that follows from it.
    pub(super) fn advance(&mut self, choice: Choice, tokenizer: &Tokenizer) -> Result<(), EngineError> {
        if tokenizer.is_stop(choice.token) {
            self.finish = Some(Finish::Stop);
            return Ok(());
        }
        let token = choice.token;
        self.push(token, origin(choice), tokenizer);
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token)?;
        }
        self.take_forced(tokenizer)?;
        Ok(self.finish_if_done(tokenizer)?)
    }

    fn take_forced(&mut self, tokenizer: &Tokenizer) -> Result<(), GrammarError> {
        let forced = self.constraint.as_mut().map(Constraint::take_forced).transpose()?.unwrap_or_default();
        for token in forced {
            self.push(token, Origin::Forced, tokenizer);
        }
        Ok(())
    }

    fn finish_if_done(&mut self, tokenizer: &Tokenizer) -> Result<(), GrammarError> {
        if self.constraint.as_ref().is_some_and(Constraint::is_complete) {
            self.finish = Some(Finish::Stop);
        } else if self.answer.len() >= self.max_new_tokens {
            let closing = self.constraint.as_mut().map(Constraint::close).transpose()?.unwrap_or_default();
            for token in closing {
                self.push(token, Origin::Closing, tokenizer);
            }
            self.finish = Some(Finish::Length);
        }
        Ok(())
    }

    fn push(&mut self, token: TokenId, origin: Origin, tokenizer: &Tokenizer) {
        let start = self.text.len();
        self.text.extend_from_slice(tokenizer.bytes_of(token));
        self.cost.generated_tokens += 1;
        self.cost.forced_tokens += usize::from(!matches!(origin, Origin::Chosen { .. }));
        self.answer.push(AnswerToken { token, bytes: start..self.text.len(), origin });
        self.tokens.push(token);
    }

    /// The key of block `at` of this sequence, all of whose tokens are known: a digest over the block's tokens, the
    /// pictures that reach into it, and the block before; before the first, the adapter.
    ///
    /// A picture's tokens see each other both ways, so a block that holds a part of one depends on all of it: its whole
    /// digest goes in.
    pub(super) fn prefix_key(&mut self, at: usize, block_tokens: usize) -> PrefixKey {
        while self.keys.len() <= at {
            let block = self.keys.len();
            let positions = block * block_tokens..(block + 1) * block_tokens;
            let mut hash = Sha256::new();
            match self.keys.last() {
                Some(before) => hash.update(before),
                None => hash.update(self.adapter.map_or(0, |adapter| adapter as u64 + 1).to_le_bytes()),
            }
            for token in &self.tokens[positions.clone()] {
                hash.update(token.to_le_bytes());
            }
            for image in &self.prompt.images {
                if image.span.start < positions.end && positions.start < image.span.end {
                    hash.update(image.picture.digest);
                    hash.update((image.span.start as u64).to_le_bytes());
                }
            }
            self.keys.push(hash.finalize().into());
        }
        self.keys[at]
    }

    /// Full blocks of the prompt that another request's prompt may have left in the cache: those before the last token,
    /// which must be computed for its scores.
    pub(super) fn sharable_blocks(&self, block_tokens: usize) -> usize {
        self.prompt.tokens.len().min(self.tokens.len() - 1) / block_tokens
    }

    /// The answer of a finished request.
    pub(super) fn into_completion(self) -> Completion {
        let text =
            String::from_utf8(self.text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Completion { tokens: self.answer, text, finish: self.finish.unwrap_or(Finish::Length), cost: self.cost }
    }
}

fn origin(choice: Choice) -> Origin {
    let probability = |logarithm: f64| logarithm.exp() as f32;
    let alternatives = choice.likely.into_iter();
    Origin::Chosen {
        probability: probability(choice.log_probability),
        unmasked: probability(choice.log_unmasked),
        alternatives: alternatives
            .map(|likely| Alternative { token: likely.token, probability: probability(likely.log_probability) })
            .collect(),
    }
}
