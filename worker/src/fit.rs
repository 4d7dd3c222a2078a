//! Whether what a model is to be asked can be asked: every prompt is written once, with pictures that show nothing, before the
//! first job. Otherwise a worker takes jobs that it can only fail for good, beside others that could read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use prelim_proto::demand::PromptName;
use prelim_proto::image::ImageKind;
use prelim_proto::question::{Asked, QuestionKind};

use crate::engine::request::Picture;
use crate::job::name_of;
use crate::profile::named::NamedPrompt;
use crate::profile::{KindProfile, QuestionProfile, ReadingProfile};
use crate::prompt::{PromptError, PromptWriter, Shown};

/// A prompt that can never be asked.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// It cannot be written.
    #[error("{what} cannot be written: {source}")]
    Unwritten {
        /// Which.
        what: String,
        /// Why.
        source: PromptError,
    },
    /// It is too long.
    #[error(
        "{what} has {prompt} tokens with {images} images, its answer may have {answer} (max_new_tokens), and {holder} {room}: \
         ask for fewer of them"
    )]
    TooLong {
        /// Which.
        what: String,
        /// Its tokens.
        prompt: usize,
        /// Images in it.
        images: usize,
        /// Tokens of its answer.
        answer: usize,
        /// What holds too few.
        holder: &'static str,
        /// How many it holds.
        room: usize,
    },
}

/// A prompt, and how long it and its answer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromptLength {
    what: String,
    prompt: usize,
    images: usize,
    answer: usize,
}

impl PromptLength {
    /// Tokens of prompt and answer.
    pub(crate) fn tokens(&self) -> usize {
        self.prompt + self.answer
    }

    /// That `holder` has room for it.
    pub(crate) fn check(&self, holder: &'static str, room: usize) -> Result<(), FitError> {
        if self.tokens() <= room {
            return Ok(());
        }
        let Self { what, prompt, images, answer } = self.clone();
        Err(FitError::TooLong { what, prompt, images, answer, holder, room })
    }
}

/// The model's own prompts and questions.
pub(crate) fn own(prompts: &PromptWriter, profile: &ReadingProfile) -> Result<Vec<PromptLength>, FitError> {
    let mut all = of_kinds("the model's prompt", |kind| profile.kind(kind), prompts)?;
    if let Some(questions) = &profile.questions {
        let asked = QuestionKind::ALL.into_iter().filter_map(|kind| Some((kind, questions.template(kind)?)));
        for (kind, template) in asked {
            all.push(of_question(prompts, questions, kind, template)?);
        }
    }
    Ok(all)
}

/// Those that rules choose by name.
pub(crate) fn named(
    prompts: &PromptWriter,
    named: &BTreeMap<PromptName, NamedPrompt>,
) -> Result<Vec<PromptLength>, FitError> {
    let each = named
        .iter()
        .map(|(name, prompt)| of_kinds(&format!("prompt {:?}", name.as_str()), |kind| prompt.kind(kind), prompts));
    Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
}

fn of_kinds<'a>(
    whose: &str,
    kind: impl Fn(ImageKind) -> Option<&'a KindProfile>,
    prompts: &PromptWriter,
) -> Result<Vec<PromptLength>, FitError> {
    let of_kind = |image_kind| {
        let kind = kind(image_kind)?;
        let what = format!("{whose} for {}", name_of(prelim_proto::job::JobKind::Read(image_kind)));
        let written = prompts.write(kind, &blanks(kind.images_per_prompt), &[]);
        Some(match written {
            Ok(written) => Ok(PromptLength {
                what,
                prompt: written.tokens.len(),
                images: kind.images_per_prompt,
                answer: kind.max_new_tokens,
            }),
            Err(source) => Err(FitError::Unwritten { what, source }),
        })
    };
    [ImageKind::Xray, ImageKind::Ct].into_iter().filter_map(of_kind).collect()
}

fn of_question(
    prompts: &PromptWriter,
    profile: &QuestionProfile,
    kind: QuestionKind,
    template: &str,
) -> Result<PromptLength, FitError> {
    let images = if kind.has_images() { profile.images_per_prompt } else { 0 };
    let asked = Asked { kind, text: "x".to_owned(), report: String::new(), is_ct: false, bounds: None };
    let what = format!("the model's prompt to {}", kind.verb());
    match prompts.ask(profile, template, &asked, &blanks(images), &[]) {
        Ok(written) => Ok(PromptLength { what, prompt: written.tokens.len(), images, answer: profile.max_new_tokens }),
        Err(source) => Err(FitError::Unwritten { what, source }),
    }
}

/// Pictures that show nothing.
fn blanks(count: usize) -> Vec<Shown> {
    let picture = Arc::new(Picture { digest: [0; 32], pixels: Vec::new().into() });
    let label = |number: usize| format!("slice {number} of {count}");
    (1..=count).map(|number| Shown { picture: Arc::clone(&picture), label: label(number) }).collect()
}
