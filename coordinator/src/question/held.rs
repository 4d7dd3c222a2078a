//! A question as it is kept, and as the person sees it who asked.

use std::collections::VecDeque;

use prelim_proto::demand::Demand;
use prelim_proto::finding::ImageBox;
use prelim_proto::ids::{JobId, Uid};
use prelim_proto::job::{ImageRef, JobState};
use prelim_proto::question::{Asked, QuestionKind, is_no_shorter};
use serde::{Deserialize, Serialize};

use super::NewQuestion;
use crate::report::present::DEMONSTRATION;
use crate::store::notes::PutNote;
use crate::store::record::JobRecord;

/// Keys of questions begin so; then come study and number.
pub(super) const QUESTIONS: &str = "question/";
/// Keys of what people ask now begin so; then comes who.
const ASKING: &str = "asking/";
/// How long a question is kept, in ms: a day.
pub(super) const LASTS_MS: u64 = 86_400_000;
/// How long a question counts as just over, in ms: as long as a page may have been away that follows.
const JUST_OVER_MS: i64 = 60_000;
/// How long a question may have no job yet, in ms: one is made right after it.
pub(super) const NEW_MS: i64 = 10_000;

/// Why a question has no job any more that nobody ended.
pub(super) const LOST: &str =
    "The question was lost: images of the study came, or it was cancelled, while it waited. Ask again.";
/// What everybody who sees an answer is told.
const STATEMENT: &str = "Answer by software that is not a medical device. No radiologist has reviewed it, it is no part of the \
     report, and it must not be used for diagnosis or treatment.";

/// An image that somebody points at.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pointed {
    pub(crate) instance: Uid,
    #[serde(default = "first_frame")]
    pub(crate) frame: u32,
    /// A part of it.
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub(crate) bounds: Option<ImageBox>,
}

fn first_frame() -> u32 {
    1
}

/// An image that the model may look at.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Looked {
    pub(crate) instance: Uid,
    pub(crate) series: Uid,
    pub(crate) frame: u32,
    /// A part that was shown by itself, too.
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub(crate) bounds: Option<ImageBox>,
}

impl Looked {
    pub(super) fn of(image: &ImageRef) -> Self {
        Self { instance: image.instance.clone(), series: image.series.clone(), frame: image.frame, bounds: None }
    }
}

/// A question as it is kept. It has no `Debug`: its words are for nobody else.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) study: Uid,
    pub(super) number: u32,
    /// Who asked, as a part of keys.
    pub(super) who: String,
    pub(super) kind: QuestionKind,
    pub(super) text: String,
    pub(super) image: Option<Pointed>,
    pub(super) asked_at_ms: i64,
    /// What the report said; nothing once it is over.
    pub(super) report: String,
    pub(super) is_ct: bool,
    /// The images of its job.
    pub(super) images: Vec<Looked>,
    /// How many there were to choose from, where nobody pointed at one.
    #[serde(default)]
    pub(super) of_images: Option<u32>,
    pub(super) demand: Demand,
    /// How it ended.
    pub(super) end: Option<End>,
}

/// How a question ended.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Answered(Answered),
    Failed { at_ms: i64, problem: String },
}

/// An answer as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) at_ms: i64,
    pub(super) text: String,
    pub(super) truncated: bool,
    pub(super) images: Vec<Looked>,
    pub(super) model: String,
    pub(super) adapter: Option<String>,
    pub(super) prompt_version: String,
    pub(super) demonstration: bool,
    pub(super) seconds: f64,
}

/// Where a question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Waiting,
    Answering,
    Answered,
    Failed,
}

impl State {
    /// Whether nothing comes any more.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Answered | Self::Failed)
    }
}

/// A question as the person sees it who asked.
#[derive(Clone, PartialEq, Serialize)]
pub(crate) struct Question {
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) study: Uid,
    pub(crate) kind: QuestionKind,
    pub(crate) text: String,
    pub(crate) image: Option<Pointed>,
    pub(crate) state: State,
    pub(crate) asked_at_ms: i64,
    pub(crate) answered_at_ms: Option<i64>,
    pub(crate) answer: Option<String>,
    pub(crate) truncated: bool,
    /// The text was to be shortened, and the answer is no shorter.
    pub(crate) no_shorter: bool,
    pub(crate) problem: Option<String>,
    pub(crate) images: Vec<Looked>,
    pub(crate) model: Option<String>,
    pub(crate) adapter: Option<String>,
    pub(crate) prompt_version: Option<String>,
    pub(crate) demonstration: bool,
    pub(crate) seconds: Option<f64>,
    pub(crate) statement: String,
}

impl Held {
    /// Its job, while it is open.
    pub(super) fn job(&self) -> JobId {
        JobId::new(self.study.clone(), self.number)
    }

    /// Whether it is what the request asks.
    pub(super) fn is_of(&self, new: &NewQuestion) -> bool {
        (&self.study, self.kind, &self.text, &self.image) == (&new.study, new.kind, &new.text, &new.image)
    }

    /// What its model is asked.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            kind: self.kind,
            text: self.text.clone(),
            report: self.report.clone(),
            is_ct: self.is_ct,
            bounds: self.image.as_ref().and_then(|image| image.bounds),
        }
    }

    /// Whether it was to shorten a text, and the answer is no shorter.
    pub(super) fn is_no_shorter(&self, said: &Answered) -> bool {
        self.kind == QuestionKind::Shorten && is_no_shorter(&self.text, &said.text)
    }

    /// That not all images were looked at of which somebody asked without pointing at one. What is said of some is not said of the
    /// study.
    fn some_of(&self, said: &Answered) -> Option<String> {
        let (seen, all) = (said.images.len(), self.of_images?);
        let what = if self.is_ct { "slices" } else { "images" };
        ((seen as u64) < u64::from(all))
            .then(|| format!("It looked at {seen} of {all} {what}, and says nothing of the others."))
    }

    /// The same, ended.
    pub(super) fn ended(&self, end: End) -> Self {
        Self { report: String::new(), end: Some(end), ..self.clone() }
    }

    /// As the person sees it, with its job where it is open.
    pub(super) fn shown(&self, job: Option<&JobRecord>, now_ms: i64) -> Question {
        let mut question = Question {
            id: id_of(self.number),
            study: self.study.clone(),
            kind: self.kind,
            text: self.text.clone(),
            image: self.image.clone(),
            state: State::Waiting,
            asked_at_ms: self.asked_at_ms,
            answered_at_ms: None,
            answer: None,
            truncated: false,
            no_shorter: false,
            problem: None,
            images: Vec::new(),
            model: None,
            adapter: None,
            prompt_version: None,
            demonstration: false,
            seconds: None,
            statement: STATEMENT.to_owned(),
        };
        match &self.end {
            Some(End::Answered(said)) => {
                question.state = State::Answered;
                question.answered_at_ms = Some(said.at_ms);
                question.answer = Some(said.text.clone());
                question.truncated = said.truncated;
                question.no_shorter = self.is_no_shorter(said);
                question.images.clone_from(&said.images);
                question.model = Some(said.model.clone());
                question.adapter.clone_from(&said.adapter);
                question.prompt_version = Some(said.prompt_version.clone());
                question.demonstration = said.demonstration;
                question.seconds = Some(said.seconds);
                if said.demonstration {
                    question.statement = format!("{DEMONSTRATION}. {STATEMENT}");
                }
                if let Some(some) = self.some_of(said) {
                    question.statement = format!("{some} {}", question.statement);
                }
            }
            Some(End::Failed { at_ms, problem }) => {
                question.state = State::Failed;
                question.answered_at_ms = Some(*at_ms);
                question.problem = Some(problem.clone());
            }
            None => match job.map(|job| job.state) {
                Some(JobState::Leased) => question.state = State::Answering,
                Some(JobState::Ready) => {}
                _ if now_ms.saturating_sub(self.asked_at_ms) < NEW_MS => {}
                _ => {
                    question.state = State::Failed;
                    question.problem = Some(LOST.to_owned());
                }
            },
        }
        question
    }
}

/// The questions of one person that are open, or were over a moment ago.
#[derive(Default)]
pub(super) struct Asking {
    pub(super) held: VecDeque<Held>,
    pub(super) open: usize,
    /// One more.
    pub(super) added: Vec<(Uid, u32)>,
    /// Of the note that names them.
    pub(super) version: u64,
}

impl Asking {
    /// The questions that a note names.
    pub(super) fn numbers(text: &str) -> Vec<(Uid, u32)> {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Takes a question in that is open, or was over a moment ago.
    pub(super) fn note(&mut self, held: Held, now_ms: i64) {
        let over_at_ms = match &held.end {
            None => None,
            Some(End::Answered(said)) => Some(said.at_ms),
            Some(End::Failed { at_ms, .. }) => Some(*at_ms),
        };
        self.open += usize::from(over_at_ms.is_none());
        if over_at_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) < JUST_OVER_MS) {
            self.held.push_back(held);
        }
    }

    /// The note that names them.
    pub(super) fn put(&self, who: &str) -> PutNote {
        let held = self.held.iter().map(|held| (held.study.clone(), held.number));
        let named: Vec<(Uid, u32)> = held.chain(self.added.iter().cloned()).collect();
        let text = serde_json::to_string(&named).unwrap_or_default();
        PutNote { after: Some(self.version), ..PutNote::new(asking_key(who), text, LASTS_MS) }
    }
}

/// The key of a question.
pub(super) fn key(study: &Uid, number: u32) -> String {
    format!("{QUESTIONS}{study}/{}/", id_of(number))
}

/// What the keys of all questions about a study begin with.
pub(super) fn of_study(study: &Uid) -> String {
    format!("{QUESTIONS}{study}/")
}

/// The key of what somebody asks now.
pub(super) fn asking_key(who: &str) -> String {
    format!("{ASKING}{who}/")
}

/// A question's name.
pub(super) fn id_of(number: u32) -> String {
    format!("{number:08x}")
}

/// The number behind a name.
pub(super) fn number_of(id: &str) -> Option<u32> {
    u32::from_str_radix(id, 16).ok().filter(|number| id_of(*number) == id && *number >= JobId::FIRST_QUESTION)
}
