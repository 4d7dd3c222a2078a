//! Grammars: which tokens may come next, which must, and how an answer is closed when its budget ends.

use std::collections::HashMap;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, SimpleVob};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;

use super::tokenizer::{TokenId, Tokenizer};

/// Compiled grammars that are kept; past it the oldest half is dropped. Profiles need a handful.
const KEPT_GRAMMARS: usize = 64;

/// Tokens that closing an answer may take: nesting of any sane schema is far below it.
const MAX_CLOSING_TOKENS: usize = 512;

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq)]
pub enum GrammarSpec {
    /// JSON of this schema. Strings in it must not have a `pattern`: a budget that ends inside one could not be closed.
    JsonSchema(Value),
}

/// A grammar that cannot be used, or an answer that left it.
#[derive(Debug, thiserror::Error)]
pub enum GrammarError {
    /// The schema does not compile.
    #[error("grammar does not compile: {0}")]
    Uncompilable(String),
    /// The parser gave up: a token that does not fit, or too complex a grammar.
    #[error("grammar does not go on: {0}")]
    Stuck(String),
    /// No end within [`MAX_CLOSING_TOKENS`].
    #[error("answer is not closable within {MAX_CLOSING_TOKENS} tokens")]
    Unclosable,
}

/// Compiles grammars and keeps them, so that requests of one kind share the work.
pub(super) struct Grammars {
    factory: ParserFactory,
    tokenizer: Tokenizer,
    kept: HashMap<String, Matcher>,
    order: Vec<String>,
}

impl Grammars {
    pub(super) fn new(tokenizer: Tokenizer) -> Result<Self, GrammarError> {
        let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let slices = llguidance::earley::SlicedBiasComputer::json_slices();
        let mut factory = ParserFactory::new(tokenizer.environment(), capabilities, &slices)
            .map_err(|error| GrammarError::Uncompilable(error.to_string()))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory, tokenizer, kept: HashMap::new(), order: Vec::new() })
    }

    /// A constraint at its start. The first use of a grammar also proves that it can be closed at all.
    pub(super) fn constraint(&mut self, spec: &GrammarSpec) -> Result<Constraint, GrammarError> {
        let GrammarSpec::JsonSchema(schema) = spec;
        let key = schema.to_string();
        if let Some(matcher) = self.kept.get(&key) {
            return Ok(Constraint { matcher: matcher.clone(), tokenizer: self.tokenizer.clone() });
        }
        let matcher = Matcher::new(self.factory.create_parser(TopLevelGrammar::from_json_schema(schema.clone())));
        if let Some(error) = matcher.get_error() {
            return Err(GrammarError::Uncompilable(error));
        }
        let constraint = Constraint { matcher, tokenizer: self.tokenizer.clone() };
        constraint.clone().close()?;
        self.keep(key, constraint.matcher.clone());
        Ok(constraint)
    }

    fn keep(&mut self, key: String, matcher: Matcher) {
        if self.order.len() >= KEPT_GRAMMARS {
            for old in self.order.drain(..KEPT_GRAMMARS / 2) {
                self.kept.remove(&old);
            }
        }
        self.order.push(key.clone());
        self.kept.insert(key, matcher);
    }
}

/// The tokens that may come next.
pub(super) struct Mask(SimpleVob);

impl Mask {
    /// A bit for each token, the lowest first.
    pub(super) fn words(&self) -> &[u32] {
        self.0.as_slice()
    }

    /// The allowed tokens, in rising order.
    pub(super) fn tokens(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.0.iter()
    }
}

/// One answer's way through its grammar.
#[derive(Clone)]
pub(super) struct Constraint {
    matcher: Matcher,
    tokenizer: Tokenizer,
}

impl Constraint {
    /// What may come next; a stop token is among it where the answer may end here.
    pub(super) fn mask(&mut self) -> Result<Mask, GrammarError> {
        self.matcher.compute_mask_or_eos().map(Mask).map_err(stuck)
    }

    /// Takes a token that the mask allows.
    pub(super) fn accept(&mut self, token: TokenId) -> Result<(), GrammarError> {
        self.matcher.consume_token(token).map_err(stuck)
    }

    /// Takes the tokens that must come next, if any.
    pub(super) fn take_forced(&mut self) -> Result<Vec<TokenId>, GrammarError> {
        if self.matcher.is_stopped() {
            return Ok(Vec::new());
        }
        let forced = self.matcher.consume_ff_tokens();
        match self.matcher.get_error() {
            Some(error) => Err(GrammarError::Stuck(error)),
            None => Ok(forced),
        }
    }

    /// Nothing may follow.
    pub(super) fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Takes the shortest way to an end that closes what is open, and returns its tokens.
    ///
    /// What is open is JSON: brackets and quotes are closed before anything is added, so each step leaves less to
    /// close, and what the schema still requires is filled with its first words and digits. The caller knows from which
    /// token on the answer is no longer the model's.
    pub(super) fn close(&mut self) -> Result<Vec<TokenId>, GrammarError> {
        let mut closing = Vec::new();
        loop {
            closing.extend(self.take_forced()?);
            if self.is_complete() || self.matcher.is_accepting().map_err(stuck)? {
                return Ok(closing);
            }
            if closing.len() > MAX_CLOSING_TOKENS {
                return Err(GrammarError::Unclosable);
            }
            let mask = self.mask()?;
            let next = mask.tokens().min_by_key(|token| self.closing_rank(*token)).ok_or(GrammarError::Unclosable)?;
            self.accept(next)?;
            closing.push(next);
        }
    }

    /// Lower closes sooner: by the first byte, then the shorter token, then the lower number.
    fn closing_rank(&self, token: TokenId) -> (u8, usize, TokenId) {
        let bytes = self.tokenizer.bytes_of(token);
        let class = match bytes.first() {
            Some(b']' | b'}') => 0,
            Some(b'"') => 1,
            Some(b',') => 2,
            Some(b'0'..=b'9') => 3,
            Some(_) => 4,
            None => 5,
        };
        (class, bytes.len(), token)
    }
}

fn stuck(error: impl std::fmt::Display) -> GrammarError {
    GrammarError::Stuck(error.to_string())
}
