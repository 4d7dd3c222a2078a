//! What people ask about a study, and what a model answers. Answers stand apart from the report: the page puts nothing of them
//! into it unless the person does.

use axum::body::Body;
use hyper::{Response, StatusCode};
use prelim_proto::ids::Uid;
use prelim_proto::question::QuestionKind;
use serde::Deserialize;
use serde_json::json;

use super::fault::Fault;
use super::row::Row;
use super::{Call, answer_json};
use crate::question::{How, NewQuestion, Pointed};
use crate::session::Session;
use crate::web::body::Received;

/// Longest body: a text of 8,000 characters, each written out as JSON may.
const MAX_BODY: usize = 128 << 10;

/// A question as a page sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    kind: QuestionKind,
    #[serde(default)]
    text: String,
    #[serde(default)]
    image: Option<Pointed>,
    request_id: String,
}

/// The caller's questions, whether any are answered now, and how the report stands: what explains it may be about words that
/// were amended since.
pub(super) async fn list(call: &Call<'_>, session: &Session, study: Uid) -> Result<Response<Body>, Fault> {
    let record = call.record(session, &study).await?;
    let (questions, answers) = call.web.coordinator.questions(session, &study).await?;
    call.viewed(session, &study).await?;
    let row = Row::of(&record);
    Ok(answer_json(&json!({
        "questions": questions,
        "answers": answers.is_ok(),
        "kinds": answers.as_deref().unwrap_or_default(),
        "reason": answers.as_ref().err(),
        "report": {"version": row.version, "signed_version": row.signed_version, "standing": row.standing},
    })))
}

/// Whether any questions are answered now. It tells nothing of the study or its patient.
pub(super) async fn answering(call: &Call<'_>, session: &Session, study: Uid) -> Result<Response<Body>, Fault> {
    call.record(session, &study).await?;
    let answers = call.web.coordinator.answering(&study).await?;
    let kinds = answers.as_deref().unwrap_or_default();
    Ok(answer_json(&json!({"answers": answers.is_ok(), "kinds": kinds, "reason": answers.as_ref().err()})))
}

/// Asks.
pub(super) async fn ask(
    call: &Call<'_>,
    session: &Session,
    study: Uid,
    body: &mut Received,
) -> Result<Response<Body>, Fault> {
    call.record(session, &study).await?;
    let Sent { kind, text, image, request_id } = call.json(body, MAX_BODY).await?;
    let new = NewQuestion { study, request: request_id, kind, text, image };
    let asked = call.web.coordinator.ask(session, new).await?;
    let mut response = answer_json(&asked);
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// Notes that the caller puts the words of an answer into the report, by the command for that or by hand: the report says so when it
/// is signed.
pub(super) async fn take(
    call: &Call<'_>,
    session: &Session,
    study: Uid,
    id: String,
    how: How,
) -> Result<Response<Body>, Fault> {
    call.record(session, &study).await?;
    call.web.coordinator.take_answer(session, &study, &id, how).await?;
    call.viewed(session, &study).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Withdraws a question, or forgets it.
pub(super) async fn forget(
    call: &Call<'_>,
    session: &Session,
    study: Uid,
    id: String,
) -> Result<Response<Body>, Fault> {
    call.record(session, &study).await?;
    call.web.coordinator.drop_question(session, &study, &id).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
