//! What a model is asked when somebody asks about a study. Answers are free text: no grammar is made of this.

use prelim_proto::demand::ModelName;
use prelim_proto::question::QuestionKind;
use serde::Deserialize;

use super::check;

/// Most images in one question, and tokens in one answer.
const MAX_IMAGES: usize = prelim_proto::question::MAX_QUESTION_IMAGES;
const MAX_NEW_TOKENS: usize = 4_096;

/// What a model wants to be asked in plain words; a model whose profile has none answers no questions.
///
/// A template has each of its placeholders once. `{images}` stands where the images go (before the text where it is absent),
/// `{count}` for how many there are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct QuestionProfile {
    /// The system turn, where the model wants one.
    #[serde(default)]
    pub system: Option<String>,
    /// Version of these words, part of what an answer says of itself.
    pub prompt_version: String,
    /// The user turn for a question, with `{question}`.
    pub question: String,
    /// The user turn that asks for a description of the images; absent where the model makes none.
    #[serde(default)]
    pub describe: Option<String>,
    /// The user turn that asks for a shorter text, with `{text}`; absent where the model makes none.
    #[serde(default)]
    pub shorten: Option<String>,
    /// The user turn that asks for words for the patient, with `{text}`; absent where the model finds none.
    #[serde(default)]
    pub explain: Option<String>,
    /// Text before each image: `{number}` from 1, `{label}` what it shows.
    #[serde(default)]
    pub image_caption: Option<String>,
    /// Text at the head of the user turn of a question that tells what the study's report says, with `{report}`. Absent for a
    /// model that was not made to be told of it.
    #[serde(default)]
    pub report: Option<String>,
    /// The same of earlier studies, with `{priors}`.
    #[serde(default)]
    pub priors: Option<String>,
    /// Images that go into one question.
    pub images_per_prompt: usize,
    /// Tokens that an answer may have before it is cut.
    pub max_new_tokens: usize,
    /// The adapter that answers, by name: one that the worker was given by that name, or else a folder of that name in the
    /// model's folder; without either, no questions are answered. Absent where the model itself does.
    #[serde(default)]
    pub adapter: Option<String>,
}

impl QuestionProfile {
    /// The user turn for a kind of question; nothing where the model was not made for it.
    pub fn template(&self, kind: QuestionKind) -> Option<&str> {
        match kind {
            QuestionKind::Question => Some(&self.question),
            QuestionKind::Describe => self.describe.as_deref(),
            QuestionKind::Shorten => self.shorten.as_deref(),
            QuestionKind::Explain => self.explain.as_deref(),
        }
    }

    /// Every problem, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut need = |good: bool, problem: String| {
            if !good {
                found.push(format!("questions: {problem}"));
            }
        };
        let once = |text: &str, word: &str| text.matches(word).count() == 1;
        let with = [
            ("question", Some(&self.question), "{question}"),
            ("shorten", self.shorten.as_ref(), "{text}"),
            ("explain", self.explain.as_ref(), "{text}"),
            ("report", self.report.as_ref(), "{report}"),
            ("priors", self.priors.as_ref(), "{priors}"),
        ];
        for (name, template, word) in with {
            need(template.is_none_or(|text| once(text, word)), format!("{name} does not have {word} once"));
        }
        for (name, template) in [("question", Some(&self.question)), ("describe", self.describe.as_ref())] {
            let images = template.map_or(0, |text| text.matches("{images}").count());
            need(images <= 1, format!("{name} has {{images}} more than once"));
        }
        need(!self.prompt_version.is_empty(), "prompt_version is empty".to_owned());
        need(self.describe.as_ref().is_none_or(|text| !text.trim().is_empty()), "describe is empty".to_owned());
        need((1..=MAX_IMAGES).contains(&self.images_per_prompt), format!("images_per_prompt is not 1 to {MAX_IMAGES}"));
        need(
            (1..=MAX_NEW_TOKENS).contains(&self.max_new_tokens),
            format!("max_new_tokens is not 1 to {MAX_NEW_TOKENS}"),
        );
        let is_name = |name: &String| ModelName::parse(name).is_ok();
        let problem = "adapter is no name that --adapter takes: 1 to 100 bytes, without control characters".to_owned();
        need(self.adapter.as_ref().is_none_or(is_name), problem);
        let with_images = &["{images}", "{count}"][..];
        let texts = [
            ("question", Some(&self.question), &["{question}", "{images}", "{count}"][..]),
            ("describe", self.describe.as_ref(), with_images),
            ("shorten", self.shorten.as_ref(), &["{text}"]),
            ("explain", self.explain.as_ref(), &["{text}"]),
            ("report", self.report.as_ref(), &["{report}"]),
            ("priors", self.priors.as_ref(), &["{priors}"]),
            ("image_caption", self.image_caption.as_ref(), &["{number}", "{label}"]),
            ("system", self.system.as_ref(), &[]),
        ];
        let unknown = texts.into_iter().filter_map(|(name, text, known)| check::unknown(name, text?, known));
        unknown.for_each(|problem| need(false, problem));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_in_the_documents_is_usable() {
        let (_, from) = include_str!("../../MODELS.md").split_once("```json\n\"questions\": ").expect("an example");
        let (example, _) = from.split_once("```").expect("its end");
        let profile: QuestionProfile = serde_json::from_str(example).unwrap();
        assert_eq!(profile.problems(), Vec::<String>::new());
        let kinds = [QuestionKind::Question, QuestionKind::Describe, QuestionKind::Shorten, QuestionKind::Explain];
        assert!(kinds.iter().all(|kind| profile.template(*kind).is_some()));
    }
}
