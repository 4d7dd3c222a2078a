//! `prelim ask`: a question about a study, and what the model says to it.

use std::io::Read as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use prelim_proto::finding::ImageBox;
use prelim_proto::v1::question_service_client::QuestionServiceClient;
use prelim_proto::v1::{
    AskQuestionRequest, DropQuestionRequest, GetQuestionRequest, ListQuestionsRequest, Question, QuestionImage,
    QuestionKind, QuestionState,
};
use prelim_worker::connection::Wire;
use serde_json::{Value, json};

use crate::client::{Connection, plain};
use crate::table;

/// How long an answer is waited for when nobody says, in s.
const TIMEOUT_S: u64 = 600;
/// Longest wait of one call.
const WAIT: Duration = Duration::from_secs(20);
/// Longest text that is taken from stdin, in bytes.
const MAX_STDIN: u64 = 64 << 10;

/// Ask a question about a study, and print what the model answers, with the images that it looked at.
///
/// Answers are made by software that is not a medical device, no radiologist has reviewed them, and they change nothing of the study or its report.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  prelim ask 1.2.840.1 \"Is there a pleural effusion?\"\n  prelim ask 1.2.840.1 --kind describe --image 1.2.840.1.1.7\n  prelim ask 1.2.840.1 \"What is in the box?\" --image 1.2.840.1.1.7 --box 0.2,0.5,0.4,0.8\n  prelim ask 1.2.840.1 --kind explain \"Small left pleural effusion.\""
)]
pub(crate) struct Ask {
    /// Study Instance UID, as `prelim studies` shows it.
    #[arg(value_name = "STUDY")]
    study: String,
    /// The question, of at most 2,000 characters, or the text that is to be shortened or explained, of at most 8,000; `-` takes it from stdin.
    #[arg(value_name = "TEXT", default_value = "", required_if_eq_any = [("kind", "question"), ("kind", "shorten"), ("kind", "explain")])]
    text: String,
    #[command(flatten)]
    connection: Connection,
    /// What is wanted.
    #[arg(long, value_enum, default_value_t = Kind::Question)]
    kind: Kind,
    /// The image that it is about, by SOP Instance UID; where not given, the model looks at those in which findings were seen that the words name, then at others, as many as it takes at once; the answer says which.
    #[arg(long, value_name = "INSTANCE")]
    image: Option<String>,
    /// The frame of that image, from 1.
    #[arg(long, value_name = "N", requires = "image", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    frame: u32,
    /// A part of that image: top, left, bottom and right as fractions of its height and width.
    #[arg(long = "box", value_name = "T,L,B,R", requires = "image", value_parser = bounds)]
    bounds: Option<ImageBox>,
    /// How long to wait for the answer, in s; then the question is withdrawn.
    #[arg(long, value_name = "S", default_value_t = TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    timeout_s: u64,
    /// For programs: a JSON object.
    #[arg(long)]
    json: bool,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// An answer to a question in plain words.
    Question,
    /// A description of the images.
    Describe,
    /// The text, shortened.
    Shorten,
    /// The text, in words for the patient.
    Explain,
}

impl Kind {
    fn wire(self) -> QuestionKind {
        match self {
            Self::Question => QuestionKind::Question,
            Self::Describe => QuestionKind::Describe,
            Self::Shorten => QuestionKind::Shorten,
            Self::Explain => QuestionKind::Explain,
        }
    }
}

/// A box from its four numbers.
fn bounds(text: &str) -> Result<ImageBox, String> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    let wrong = || format!("{text:?} is not four numbers from 0 to 1: top, left, bottom, right");
    match numbers.map_err(|_| wrong())?[..] {
        [top, left, bottom, right] => {
            let inside = [top, left, bottom, right].iter().all(|number| (0.0..=1.0).contains(number));
            if inside && (top > bottom || left > right) {
                return Err(format!("{text:?} is upside down: top comes before bottom, and left before right"));
            }
            let found = ImageBox::new(top, left, bottom, right).filter(|found| inside && found.area() > 0.0);
            found.ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

impl Ask {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let text = match self.text.as_str() {
            "-" => {
                let mut text = String::new();
                std::io::stdin().take(MAX_STDIN).read_to_string(&mut text).context("stdin")?;
                text
            }
            text => text.to_owned(),
        };
        let image = self.image.map(|instance_uid| QuestionImage {
            instance_uid,
            series_uid: String::new(),
            frame: self.frame,
            bounds: self.bounds.map(Into::into),
        });
        let request = AskQuestionRequest {
            study_uid: self.study,
            request_id: new_request(),
            kind: self.kind.wire() as i32,
            text,
            image,
        };
        let has_box = self.bounds.is_some();
        let question = answered(&mut self.connection.questions().await?, request, self.timeout_s).await?;
        if self.json {
            table::say(document(&question))?;
        } else if question.state() == QuestionState::Answered {
            tell(&question, has_box)?;
        }
        match question.state() {
            QuestionState::Answered => Ok(()),
            _ => anyhow::bail!(question.problem),
        }
    }
}

/// A name for a request, never used for another.
fn new_request() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Asks, and waits for the end of it, so many seconds at most; then it is withdrawn.
async fn answered(
    client: &mut QuestionServiceClient<Wire>,
    request: AskQuestionRequest,
    timeout_s: u64,
) -> anyhow::Result<Question> {
    let study_uid = request.study_uid.clone();
    let asked = client.ask_question(request).await.map_err(plain)?.into_inner();
    let mut question = asked.question.context("the coordinator sent no question")?;
    let until = Instant::now() + Duration::from_secs(timeout_s);
    while !is_over(&question) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            client.drop_question(DropQuestionRequest { study_uid, id: question.id }).await.map_err(plain)?;
            anyhow::bail!("no answer within {timeout_s} s; the question is withdrawn");
        }
        let wait_ms = left.min(WAIT).as_millis() as u64;
        let request = GetQuestionRequest { study_uid: study_uid.clone(), id: question.id, wait_ms };
        let response = client.get_question(request).await.map_err(plain)?.into_inner();
        question = response.question.context("the coordinator sent no question")?;
    }
    Ok(question)
}

/// What a model says to a question about a study; nothing where none here answers.
pub(crate) async fn answer(connection: &Connection, study_uid: &str, text: &str) -> anyhow::Result<Option<String>> {
    let mut client = connection.questions().await?;
    let request = ListQuestionsRequest { study_uid: study_uid.to_owned() };
    if !client.list_questions(request).await.map_err(plain)?.into_inner().answers {
        return Ok(None);
    }
    let request = AskQuestionRequest {
        study_uid: study_uid.to_owned(),
        request_id: new_request(),
        kind: QuestionKind::Question as i32,
        text: text.to_owned(),
        image: None,
    };
    let question = answered(&mut client, request, TIMEOUT_S).await?;
    anyhow::ensure!(question.state() == QuestionState::Answered, question.problem);
    Ok(Some(question.answer))
}

fn is_over(question: &Question) -> bool {
    matches!(question.state(), QuestionState::Answered | QuestionState::Failed)
}

/// An answer for people.
fn tell(question: &Question, has_box: bool) -> anyhow::Result<()> {
    for line in question.answer.lines() {
        table::say(line)?;
    }
    if question.truncated {
        table::say("(The answer was cut: it is longer than the model may speak.)")?;
    }
    if question.no_shorter {
        table::say("(The answer is no shorter than the text.)")?;
    }
    table::say("")?;
    for image in &question.images {
        let part = if image.bounds.is_some() { ", the part that was asked about shown by itself" } else { "" };
        table::say(format!("Looked at: image {}, frame {}{part}", image.instance_uid, image.frame))?;
    }
    if has_box && question.images.iter().all(|image| image.bounds.is_none()) {
        table::say("(The box was not looked at: the answer is about the image as a whole.)")?;
    }
    let adapter = if question.adapter.is_empty() { String::new() } else { format!(" with {}", question.adapter) };
    let (model, seconds) = (&question.model, question.seconds);
    table::say(format!("Model: {model}{adapter}, prompt {}, {seconds:.1} s", question.prompt_version))?;
    table::say(&question.statement)
}

/// A question for programs.
fn document(question: &Question) -> Value {
    let image = |image: &QuestionImage| {
        let bounds = image.bounds.map(|b| json!({"top": b.top, "left": b.left, "bottom": b.bottom, "right": b.right}));
        json!({"instance": image.instance_uid, "series": image.series_uid, "frame": image.frame, "box": bounds})
    };
    let state = if question.state() == QuestionState::Answered { "answered" } else { "failed" };
    json!({
        "id": question.id,
        "study": question.study_uid,
        "state": state,
        "answer": question.answer,
        "truncated": question.truncated,
        "no_shorter": question.no_shorter,
        "problem": question.problem,
        "images": question.images.iter().map(image).collect::<Vec<_>>(),
        "model": question.model,
        "adapter": question.adapter,
        "prompt_version": question.prompt_version,
        "demonstration": question.demonstration,
        "seconds": question.seconds,
        "asked_at_ms": question.asked_at_ms,
        "answered_at_ms": question.answered_at_ms,
        "statement": question.statement,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_four_fractions_with_an_area() {
        let found = bounds("0.1, 0.2,0.3,0.4").unwrap();
        assert_eq!((found.top, found.left, found.bottom, found.right), (0.1, 0.2, 0.3, 0.4));
        for text in [
            "",
            "0.1,0.2,0.3",
            "0.1,0.2,0.1,0.4",
            "0.1,0.2,0.3,1.4",
            "a,b,c,d",
            "0,0,1,NaN",
            "0.8,0.8,0.2,0.2",
            "0.1,0.8,0.2,0.2",
        ] {
            assert!(bounds(text).is_err(), "{text:?}");
        }
    }
}
