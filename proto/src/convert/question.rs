//! Questions and answers, between coordinator and worker.

use super::{ConvertError, bad, enums, known};
use crate::question::{Answer, Asked, MAX_ANSWER_BYTES, MAX_QUESTION_IMAGES, MAX_TEXT_CHARS, QuestionKind};
use crate::v1;

enums!("kind", QuestionKind, v1::QuestionKind, { Question, Describe, Shorten, Explain });

/// A text of at most so many characters. What is too long is not repeated in the error: it may name a patient.
fn bounded(field: &'static str, text: String, most: usize) -> Result<String, ConvertError> {
    let characters = text.chars().count();
    if characters > most { Err(bad(field, format!("{characters} characters, more than {most}"))) } else { Ok(text) }
}

impl From<Asked> for v1::Asked {
    fn from(asked: Asked) -> Self {
        Self {
            kind: v1::QuestionKind::from(asked.kind) as i32,
            text: asked.text,
            report: asked.report,
            is_ct: asked.is_ct,
            bounds: asked.bounds.map(Into::into),
        }
    }
}

impl TryFrom<v1::Asked> for Asked {
    type Error = ConvertError;
    fn try_from(asked: v1::Asked) -> Result<Self, ConvertError> {
        let kind: QuestionKind = known::<v1::QuestionKind>("kind", asked.kind)?.try_into()?;
        Ok(Self {
            kind,
            text: bounded("text", asked.text, kind.max_chars())?,
            report: bounded("report", asked.report, MAX_TEXT_CHARS)?,
            is_ct: asked.is_ct,
            bounds: asked.bounds.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<Answer> for v1::Answer {
    fn from(answer: Answer) -> Self {
        Self {
            text: answer.text,
            shown: answer.shown,
            box_shown: answer.box_shown,
            adapter: answer.adapter.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Answer> for Answer {
    type Error = ConvertError;
    fn try_from(answer: v1::Answer) -> Result<Self, ConvertError> {
        if answer.text.len() > MAX_ANSWER_BYTES {
            return Err(bad("answer", format!("{} bytes, more than {MAX_ANSWER_BYTES}", answer.text.len())));
        }
        if answer.shown.len() > MAX_QUESTION_IMAGES {
            return Err(bad("shown", format!("{} images, more than {MAX_QUESTION_IMAGES}", answer.shown.len())));
        }
        let adapter = bounded("adapter", answer.adapter, crate::demand::ModelName::MAX_BYTES)?;
        Ok(Self {
            text: answer.text,
            shown: answer.shown,
            box_shown: answer.box_shown,
            adapter: Some(adapter).filter(|name| !name.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_refused_without_its_words() {
        let asked = Asked {
            kind: QuestionKind::Question,
            text: "Is there a nodule?".into(),
            report: String::new(),
            is_ct: false,
            bounds: None,
        };
        assert_eq!(Asked::try_from(v1::Asked::from(asked.clone())), Ok(asked.clone()));
        let long = v1::Asked { text: "Doe ".repeat(1_000), ..asked.into() };
        let problem = Asked::try_from(long).unwrap_err().to_string();
        assert!(problem.contains("4000 characters") && !problem.contains("Doe"), "{problem}");
    }

    #[test]
    fn an_answer_survives_the_wire_within_its_limits() {
        let answer = Answer { text: "No.".into(), shown: vec![0, 2], box_shown: true, adapter: None };
        assert_eq!(Answer::try_from(v1::Answer::from(answer.clone())), Ok(answer.clone()));
        let long = v1::Answer { text: "a".repeat(MAX_ANSWER_BYTES + 1), ..answer.clone().into() };
        assert!(Answer::try_from(long).is_err());
        assert!(Answer::try_from(v1::Answer { shown: vec![0; 99], ..answer.into() }).is_err());
    }
}
