//! `QuestionService`: questions about studies.

use std::sync::Arc;
use std::time::Duration;

use prelim_proto::finding::ImageBox;
use prelim_proto::ids::Uid;
use prelim_proto::question::QuestionKind;
use prelim_proto::v1;
use prelim_proto::v1::question_service_server::QuestionService;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::status;
use crate::audit::Act;
use crate::question::{Looked, NewQuestion, Pointed, Question, State};
use crate::service::Coordinator;
use crate::session::Session;

/// Longest wait for an answer.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The service.
pub(crate) struct Questions(pub(crate) Arc<Coordinator>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl QuestionService for Questions {
    async fn ask_question(&self, request: Request<v1::AskQuestionRequest>) -> Answer<v1::AskQuestionResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let kind = match request.kind() {
            v1::QuestionKind::Unspecified => QuestionKind::Question,
            kind => QuestionKind::try_from(kind).map_err(|error| status::of(error.into()))?,
        };
        let study = self.study(&session, &request.study_uid).await?;
        let image = request.image.map(pointed).transpose()?;
        let new = NewQuestion { study, request: request.request_id, kind, text: request.text, image };
        let question = self.0.ask(&session, new).await.map_err(status::of)?;
        Ok(Response::new(v1::AskQuestionResponse { question: Some(message(question)) }))
    }

    async fn get_question(&self, request: Request<v1::GetQuestionRequest>) -> Answer<v1::GetQuestionResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let wait = Duration::from_millis(request.wait_ms);
        if wait > MAX_WAIT {
            return Err(status::invalid("wait_ms", format!("more than {}", MAX_WAIT.as_millis())));
        }
        let study = self.study(&session, &request.study_uid).await?;
        let until = Instant::now() + wait;
        let mut changes = self.0.subscribe();
        let question = loop {
            let question = self.0.question(&session, &study, &request.id).await.map_err(status::of)?;
            if question.state.is_over() || Instant::now() >= until || self.0.stopping.is_cancelled() {
                break question;
            }
            tokio::select! {
                () = self.0.next_change(&mut changes) => {}
                () = tokio::time::sleep_until(until) => {}
                () = self.0.stopping.cancelled() => {}
            }
        };
        session.note(Act::Read, std::slice::from_ref(&study)).await.map_err(status::of)?;
        Ok(Response::new(v1::GetQuestionResponse { question: Some(message(question)) }))
    }

    async fn list_questions(&self, request: Request<v1::ListQuestionsRequest>) -> Answer<v1::ListQuestionsResponse> {
        let session = Session::of(&request);
        let study = self.study(&session, &request.into_inner().study_uid).await?;
        let (questions, answers) = self.0.questions(&session, &study).await.map_err(status::of)?;
        session.note(Act::Read, std::slice::from_ref(&study)).await.map_err(status::of)?;
        let questions = questions.into_iter().map(message).collect();
        let is_answering = answers.is_ok();
        let (kinds, reason) = answers.map_or_else(|reason| (Vec::new(), reason), |kinds| (kinds, String::new()));
        let kinds = kinds.into_iter().map(|kind| v1::QuestionKind::from(kind) as i32).collect();
        Ok(Response::new(v1::ListQuestionsResponse { questions, answers: is_answering, reason, kinds }))
    }

    async fn drop_question(&self, request: Request<v1::DropQuestionRequest>) -> Answer<v1::DropQuestionResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let study = self.study(&session, &request.study_uid).await?;
        self.0.drop_question(&session, &study, &request.id).await.map_err(status::of)?;
        Ok(Response::new(v1::DropQuestionResponse {}))
    }
}

impl Questions {
    /// A study that the caller may see.
    async fn study(&self, session: &Session, text: &str) -> Result<Uid, Status> {
        let study = uid("study_uid", text)?;
        session.allow(&self.0, &study).await.map_err(status::of)?;
        Ok(study)
    }
}

fn uid(field: &'static str, text: &str) -> Result<Uid, Status> {
    Uid::parse(text).map_err(|error| status::invalid(field, error.to_string()))
}

/// An image that is asked about.
fn pointed(image: v1::QuestionImage) -> Result<Pointed, Status> {
    let bounds = image.bounds.map(ImageBox::try_from).transpose().map_err(|error| status::of(error.into()))?;
    Ok(Pointed { instance: uid("instance_uid", &image.instance_uid)?, frame: image.frame.max(1), bounds })
}

/// A question as a message.
fn message(question: Question) -> v1::Question {
    let state = match question.state {
        State::Waiting => v1::QuestionState::Waiting,
        State::Answering => v1::QuestionState::Answering,
        State::Answered => v1::QuestionState::Answered,
        State::Failed => v1::QuestionState::Failed,
    };
    let looked = |Looked { instance, series, frame, bounds }: Looked| v1::QuestionImage {
        instance_uid: instance.into(),
        series_uid: series.into(),
        frame,
        bounds: bounds.map(Into::into),
    };
    let pointed = |Pointed { instance, frame, bounds }: Pointed| v1::QuestionImage {
        instance_uid: instance.into(),
        series_uid: String::new(),
        frame,
        bounds: bounds.map(Into::into),
    };
    v1::Question {
        id: question.id,
        study_uid: question.study.into(),
        kind: v1::QuestionKind::from(question.kind) as i32,
        text: question.text,
        image: question.image.map(pointed),
        state: state as i32,
        asked_at_ms: question.asked_at_ms,
        answered_at_ms: question.answered_at_ms.unwrap_or_default(),
        answer: question.answer.unwrap_or_default(),
        truncated: question.truncated,
        problem: question.problem.unwrap_or_default(),
        images: question.images.into_iter().map(looked).collect(),
        model: question.model.unwrap_or_default(),
        adapter: question.adapter.unwrap_or_default(),
        prompt_version: question.prompt_version.unwrap_or_default(),
        demonstration: question.demonstration,
        seconds: question.seconds.unwrap_or_default(),
        statement: question.statement,
        no_shorter: question.no_shorter,
    }
}
