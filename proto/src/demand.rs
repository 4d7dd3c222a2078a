//! What a job demands of the worker that reads it, and what a worker offers: models and prompts, by name.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::IdError;
use crate::question::QuestionKind;

/// Prompts that a worker may offer, at most.
pub const MAX_PROMPTS: usize = 16;

/// Adapters that a worker may offer, at most.
pub const MAX_ADAPTERS: usize = 16;

/// The name of a model, as rules choose it and drafts name it: 1 to 100 bytes without control characters, and with a
/// character other than a space at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// Longest, in bytes.
    pub const MAX_BYTES: usize = 100;

    /// Checks and takes a name.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let shaped =
            (1..=Self::MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control) && text.trim() == text;
        if shaped { Ok(Self(text.to_owned())) } else { Err(IdError::Model(text.chars().take(120).collect())) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a prompt: 1 to 64 letters, digits, dots, dashes and underscores.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PromptName(String);

impl PromptName {
    /// Longest, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks and takes a name.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let shaped = (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed);
        if shaped { Ok(Self(text.to_owned())) } else { Err(IdError::Prompt(text.chars().take(80).collect())) }
    }

    /// The name by which what answers a kind of question is demanded and offered; none for plain questions.
    fn of_question(kind: QuestionKind) -> Option<Self> {
        let name = match kind {
            QuestionKind::Question => return None,
            QuestionKind::Describe => "question.describe",
            QuestionKind::Shorten => "question.shorten",
            QuestionKind::Explain => "question.explain",
        };
        Some(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

crate::ids::text_id!(ModelName);
crate::ids::text_id!(PromptName);

/// What a job demands of the worker that reads it; nothing, where any worker will do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Demand {
    /// The model that is to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// The prompt that the model is to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptName>,
}

impl Demand {
    /// Whether any worker will do.
    pub fn is_any(&self) -> bool {
        self.model.is_none() && self.prompt.is_none()
    }

    /// The same of a question of that kind, which is a prompt by itself: not every model that answers was made for each kind.
    /// Plain questions are what all of them answer.
    pub fn of_question(self, kind: QuestionKind) -> Self {
        Self { prompt: PromptName::of_question(kind), ..self }
    }

    /// The demand as one text: the model's name, then, where a prompt is named, a tab and its name. Empty where any worker
    /// will do. Different demands have different texts, and none has a line break.
    pub fn key(&self) -> String {
        let model = self.model.as_ref().map_or("", ModelName::as_str);
        match &self.prompt {
            None => model.to_owned(),
            Some(prompt) => format!("{model}\t{prompt}"),
        }
    }

    /// What [`Demand::key`] wrote.
    pub fn from_key(key: &str) -> Result<Self, IdError> {
        let (model, prompt) = match key.split_once('\t') {
            Some((model, prompt)) => (model, Some(PromptName::parse(prompt)?)),
            None => (key, None),
        };
        let model = if model.is_empty() { None } else { Some(ModelName::parse(model)?) };
        Ok(Self { model, prompt })
    }
}

impl fmt::Display for Demand {
    /// For people: `model "a"`, `prompt "b"`, `model "a" with prompt "b"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.model, &self.prompt) {
            (Some(model), Some(prompt)) => write!(f, "model {:?} with prompt {:?}", model.0, prompt.0),
            (Some(model), None) => write!(f, "model {:?}", model.0),
            (None, Some(prompt)) => write!(f, "prompt {:?}", prompt.0),
            (None, None) => f.write_str("any model"),
        }
    }
}

/// What a worker offers; nothing, where it is of a version that does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    /// The model that it reads with where none is demanded.
    pub model: Option<ModelName>,
    /// What the model becomes with an adapter (LoRA) that the worker holds beside it, demanded as a model is; at most
    /// [`MAX_ADAPTERS`].
    pub adapters: BTreeSet<ModelName>,
    /// The prompts, besides its own, that the model can be asked; at most [`MAX_PROMPTS`].
    pub prompts: BTreeSet<PromptName>,
}

impl Offer {
    /// The same of a worker that answers questions of these kinds.
    #[must_use]
    pub fn with_questions(mut self, kinds: impl IntoIterator<Item = QuestionKind>) -> Self {
        self.prompts.extend(kinds.into_iter().filter_map(PromptName::of_question));
        self
    }

    /// Whether a job with this demand may be given to the worker.
    pub fn meets(&self, demand: &Demand) -> bool {
        demand.model.as_ref().is_none_or(|wanted| self.models().any(|model| model == wanted))
            && demand.prompt.as_ref().is_none_or(|prompt| self.prompts.contains(prompt))
    }

    /// The models by which it reads: its own first.
    pub fn models(&self) -> impl Iterator<Item = &ModelName> {
        self.model.iter().chain(&self.adapters)
    }

    /// Every demand that it meets, besides that for any worker.
    pub fn demands(&self) -> impl Iterator<Item = Demand> {
        let prompts = || self.prompts.iter().cloned().map(Some);
        let with_model = self.models().flat_map(move |model| {
            std::iter::once(None).chain(prompts()).map(|prompt| Demand { model: Some(model.clone()), prompt })
        });
        with_model.chain(prompts().map(|prompt| Demand { model: None, prompt }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(model: Option<&str>, prompt: Option<&str>) -> Demand {
        Demand {
            model: model.map(|name| ModelName::parse(name).unwrap()),
            prompt: prompt.map(|name| PromptName::parse(name).unwrap()),
        }
    }

    #[test]
    fn names_are_short_and_hold_nothing_that_could_end_them() {
        for (text, good) in [
            ("medgemma-4b-it", true),
            ("prelim chest demonstration model", true),
            ("google/medgemma:4b+lora", true),
            ("", false),
            (" a", false),
            ("a\tb", false),
            ("a\n", false),
            (&"a".repeat(101), false),
        ] {
            assert_eq!(ModelName::parse(text).is_ok(), good, "{text:?}");
        }
        for (text, good) in [("trauma_2.1-b", true), ("a b", false), ("", false), ("../x", false), ("ü", false)] {
            assert_eq!(PromptName::parse(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn a_worker_meets_the_demands_that_it_lists_and_no_others() {
        let all: Vec<Demand> = [None, Some("a"), Some("b")]
            .into_iter()
            .flat_map(|model| [None, Some("p"), Some("q")].map(|prompt| demand(model, prompt)))
            .collect();
        for (model, adapters, prompts) in [
            (None, vec![], vec![]),
            (Some("a"), vec![], vec![]),
            (Some("a"), vec![], vec!["p"]),
            (Some("b"), vec![], vec!["p", "q"]),
            (Some("a"), vec!["b"], vec!["p"]),
        ] {
            let offer = Offer {
                model: model.map(|name| ModelName::parse(name).unwrap()),
                adapters: adapters.iter().map(|name| ModelName::parse(name).unwrap()).collect(),
                prompts: prompts.iter().map(|name| PromptName::parse(name).unwrap()).collect(),
            };
            let listed: Vec<Demand> = offer.demands().chain([Demand::default()]).collect();
            for demand in &all {
                assert_eq!(offer.meets(demand), listed.contains(demand), "{offer:?} {demand:?}");
            }
        }
    }

    #[test]
    fn a_question_goes_to_who_answers_its_kind() {
        let offer = |kinds: &[QuestionKind]| Offer::default().with_questions(kinds.iter().copied());
        let (all, plain) = (offer(&QuestionKind::ALL), offer(&[QuestionKind::Question, QuestionKind::Shorten]));
        for (kind, want) in [
            (QuestionKind::Question, true),
            (QuestionKind::Describe, false),
            (QuestionKind::Shorten, true),
            (QuestionKind::Explain, false),
        ] {
            let demand = Demand::default().of_question(kind);
            assert_eq!((all.meets(&demand), plain.meets(&demand)), (true, want), "{kind:?}");
            assert_eq!(Demand::from_key(&demand.key()), Ok(demand));
        }
    }

    #[test]
    fn a_demand_reads_back_what_it_writes() {
        for (model, prompt, key) in
            [(None, None, ""), (Some("a b"), None, "a b"), (Some("a b"), Some("p"), "a b\tp"), (None, Some("p"), "\tp")]
        {
            let demand = demand(model, prompt);
            assert_eq!(demand.key(), key);
            assert_eq!(Demand::from_key(key), Ok(demand));
        }
        assert!(Demand::from_key("a\tb\tc").is_err());
    }
}
