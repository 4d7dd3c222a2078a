//! Choosing a token from a row of scores: what is asked, and what is answered.

use crate::backend::Backend;

/// Arguments of [`Backend::choose`].
pub struct Choose<'a, B: Backend> {
    /// `[rows, vocabulary]`
    pub scores: &'a B::Buffer,
    /// Scores of a row.
    pub vocabulary: usize,
    /// A token that is no word: it counts as if its score were −∞, and is never chosen.
    pub excluded: Option<u32>,
    /// What is asked of each row.
    pub rows: &'a [Pick<'a>],
}

/// How a token is chosen from one row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pick<'a> {
    /// The tokens that are allowed, a bit each, the lowest token first; tokens past the end are not. All where none.
    pub mask: Option<&'a [u32]>,
    /// By chance; the most likely token where none, the lower of equal ones. (Scores have the total order of IEEE 754: 0 is above
    /// −0, and they are not equal.)
    pub draw: Option<Draw>,
    /// How many of the most likely allowed tokens are reported.
    pub likely: usize,
}

/// A draw by the model's own probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// What scores are divided by, above 0.
    pub temperature: f32,
    /// Only among so many of the most likely tokens, at least one.
    pub top_k: Option<usize>,
    /// Only among the most likely tokens that together have this much of the probability at this temperature.
    pub top_p: f32,
    /// The random number, in 0..1: tokens that are allowed, the most likely first and of equal ones the lower first, share
    /// this range by their probabilities.
    pub unit: f64,
}

/// What came of each row.
pub type Choices = Vec<Result<Choice, ChoiceError>>;

/// The token chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Which.
    pub token: u32,
    /// The logarithm of its probability among the tokens allowed, at temperature 1.
    pub log_probability: f64,
    /// The same among all tokens.
    pub log_unmasked: f64,
    /// The most likely allowed tokens, the best first.
    pub likely: Vec<Likely>,
}

/// A token that might have been chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likely {
    /// Which.
    pub token: u32,
    /// The logarithm of its probability among the tokens allowed, at temperature 1.
    pub log_probability: f64,
}

/// Scores that no token can be chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// The model computed something that is not a number.
    #[error("model's scores are not finite")]
    NotFinite,
    /// No token is allowed at all.
    #[error("no token is allowed")]
    NothingAllowed,
}

impl Pick<'_> {
    /// Whether the mask allows a token.
    pub(crate) fn allows(&self, token: u32) -> bool {
        self.mask.is_none_or(|mask| mask.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1))
    }
}
