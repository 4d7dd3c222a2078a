//! Questions about a study in plain words, and what a model says to them.
//!
//! **Invariant**: no type here is a part of a job's record: questions and answers may name a patient.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::finding::ImageBox;

/// Longest question, in characters.
pub const MAX_QUESTION_CHARS: usize = 2_000;
/// Longest text that is to be shortened or explained, and most of a report that a model is told, in characters.
pub const MAX_TEXT_CHARS: usize = 8_000;
/// Longest answer that is kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 24 << 10;
/// Images that a question names, at most; a model looks at the first of them, as many as fit its prompt.
pub const MAX_QUESTION_IMAGES: usize = 16;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// An answer to a question in plain words.
    Question,
    /// A description of the images.
    Describe,
    /// The text sent along, shortened.
    Shorten,
    /// The text sent along, in words for the patient.
    Explain,
}

impl QuestionKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Question, Self::Describe, Self::Shorten, Self::Explain];

    /// What is wanted, after "to".
    pub fn verb(self) -> &'static str {
        match self {
            Self::Question => "answer questions",
            Self::Describe => "describe images",
            Self::Shorten => "shorten texts",
            Self::Explain => "explain texts to patients",
        }
    }

    /// Whether images are looked at.
    pub fn has_images(self) -> bool {
        matches!(self, Self::Question | Self::Describe)
    }

    /// Longest text that may be sent along, in characters.
    pub fn max_chars(self) -> usize {
        match self {
            Self::Question | Self::Describe => MAX_QUESTION_CHARS,
            Self::Shorten | Self::Explain => MAX_TEXT_CHARS,
        }
    }
}

/// Whether a text that was to be shortened is no shorter than it was, in characters and however its lines are broken.
pub fn is_no_shorter(before: &str, after: &str) -> bool {
    let length = |text: &str| {
        let words = text.split_whitespace().map(|word| word.chars().count() + 1);
        words.sum::<usize>()
    };
    length(after) >= length(before)
}

/// A question as its model gets it. Its words are not written to logs by accident: `Debug` leaves them out.
#[derive(Clone, PartialEq)]
pub struct Asked {
    /// What is wanted.
    pub kind: QuestionKind,
    /// The question, or the text that is to be shortened or explained.
    pub text: String,
    /// What the study's report says; empty where there is none.
    pub report: String,
    /// The images are CT slices, and are windowed.
    pub is_ct: bool,
    /// The part of the first image that is asked about.
    pub bounds: Option<ImageBox>,
}

/// What a model says to a question; `Debug` as for [`Asked`].
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// The answer.
    pub text: String,
    /// The images of the job that were shown, by their places in it.
    pub shown: Vec<u32>,
    /// The part that was asked about was shown by itself, too.
    pub box_shown: bool,
    /// The adapter that answered; none for the model itself.
    pub adapter: Option<String>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("shown", &self.shown).field("adapter", &self.adapter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shorter_by_its_characters_and_not_by_its_blanks() {
        for (before, after, no_shorter) in [
            ("There is no effusion.", "No effusion.", false),
            ("No effusion.", "No effusion.", true),
            ("No effusion.", "There is no effusion.", true),
            ("No  effusion.\n\nNo nodule.", "No effusion. No nodule.", true),
            ("Größe.", "Grösse.", true),
        ] {
            assert_eq!(is_no_shorter(before, after), no_shorter, "{before:?} {after:?}");
        }
    }
}
