//! What somebody has not finished of a study: kept between two looks at it, one for a person and study. Of two pages of the same
//! person, none overwrites what the other wrote.

use axum::body::Body;
use hyper::header::{ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use prelim_proto::ids::Uid;
use prelim_proto::trace::without_uids;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::reading::name_in_key;
use super::route::Do;
use super::{Call, answer_json};
use crate::session::Session;
use crate::store::notes::{MAX_NOTE_BYTES, Note, PutNote};
use crate::store::{JobStore, StoreError};
use crate::web::body::Received;

/// Their keys begin so; then come study and name.
const COPIES: &str = "copy/";
/// How long one is kept that is not changed, in ms: thirty days.
const LASTS_MS: u64 = 30 * 86_400_000;
/// What a copy may hold.
const FIELDS: [&str; 5] = ["version", "decisions", "added", "impression", "reason"];

/// Looks at the caller's copy, saves it, or throws it away.
pub(super) async fn serve(
    call: &Call<'_>,
    session: &Session,
    study: Uid,
    what: Do,
    body: &mut Received,
) -> Result<Response<Body>, Fault> {
    call.record(session, &study).await?;
    let (store, key) = (&*call.web.coordinator.store, key(session, &study));
    match what {
        Do::Get => {
            let note = store.note(&key).await?;
            let note = note.ok_or_else(|| Fault::nothing_here("nothing is unfinished here"))?;
            call.viewed(session, &study).await?;
            Ok(with_tag(answer_json(&copy(&note)), note.version))
        }
        Do::Put => {
            let text = call.bytes(body, MAX_NOTE_BYTES).await?;
            let said = checked(&text)?;
            call.viewed(session, &study).await?;
            let after = expected(call)?;
            let put = PutNote { after, ..PutNote::new(key.clone(), said, LASTS_MS) };
            match store.put_note(put).await {
                Ok(version) => {
                    note_words(call, session, &study, &text).await;
                    let saved = store.note(&key).await?;
                    let saved = saved.map(|note| note.written_at_ms);
                    Ok(with_tag(answer_json(&json!({"etag": version.to_string(), "saved_at_ms": saved})), version))
                }
                Err(StoreError::NoteChanged { newest }) => {
                    let held = store.note(&key).await?.map(|note| copy(&note));
                    let words = "another page of yours saved it since: look at what it says";
                    Err(Fault::not_newest(words).with("newest", held).with("etag", newest.to_string()))
                }
                Err(error) => Err(error.into()),
            }
        }
        Do::Delete => {
            store.drop_notes(&key).await?;
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
    }
}

/// Looks which answers have words in what was saved: they may be forgotten when it is signed. It is saved, whatever becomes of this.
async fn note_words(call: &Call<'_>, session: &Session, study: &Uid, text: &[u8]) {
    let said: Written = serde_json::from_slice(text).unwrap_or_default();
    let of_findings = said.decisions.iter().chain(&said.added).map(|each| each.words.as_str());
    let texts: Vec<&str> = said.impression.iter().map(String::as_str).chain(of_findings).collect();
    if let Err(error) = call.web.coordinator.note_words(session, study, &texts).await {
        tracing::warn!(error = without_uids(&error), "words of answers in unfinished work were not looked for");
    }
}

/// What a person wrote of a copy.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    impression: Vec<String>,
    decisions: Vec<Words>,
    added: Vec<Words>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Words {
    words: String,
}

/// The caller's copy for a study.
pub(super) async fn of(call: &Call<'_>, session: &Session, study: &Uid) -> Result<Option<Value>, Fault> {
    let note = call.web.coordinator.store.note(&key(session, study)).await?;
    Ok(note.as_ref().map(copy))
}

/// Throws the caller's copy away, once what it was for is done.
pub(super) async fn drop_own(call: &Call<'_>, session: &Session, study: &Uid) -> Result<(), Fault> {
    call.web.coordinator.store.drop_notes(&key(session, study)).await?;
    Ok(())
}

/// Forgets everybody's copies for a study.
pub(super) async fn forget(store: &dyn JobStore, study: &Uid) -> Result<(), StoreError> {
    store.drop_notes(&format!("{COPIES}{study}/")).await.map(|_| ())
}

fn key(session: &Session, study: &Uid) -> String {
    format!("{COPIES}{study}/{}/", name_in_key(&session.caller().key()))
}

/// A copy as it is told: what was saved, when, and its version.
fn copy(note: &Note) -> Value {
    let mut said: Value = serde_json::from_str(&note.text).unwrap_or_default();
    said["saved_at_ms"] = note.written_at_ms.into();
    // Larger than numbers of a page may be.
    said["etag"] = note.version.to_string().into();
    said
}

/// What is saved: an object with fields that are known. What is in them is checked when it is signed.
fn checked(text: &[u8]) -> Result<String, Fault> {
    let said: Value =
        serde_json::from_slice(text).map_err(|error| Fault::invalid("body", format!("no JSON: {error}")))?;
    let fields = said.as_object().ok_or_else(|| Fault::invalid("body", "no object"))?;
    if !fields.get("version").is_some_and(Value::is_u64) {
        return Err(Fault::invalid("version", "the version that is reviewed is not said"));
    }
    // When it was saved is ours to say.
    let kept: serde_json::Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| FIELDS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(Value::from(kept).to_string())
}

/// The version that is to be taken the place of: by If-Match, or none by `If-None-Match: *`.
fn expected(call: &Call<'_>) -> Result<Option<u64>, Fault> {
    let header =
        |name| call.head.headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    if header(IF_NONE_MATCH) == Some("*") {
        return Ok(Some(0));
    }
    match header(IF_MATCH) {
        None => {
            Err(Fault::invalid("If-Match", "say which version this takes the place of: If-Match, or If-None-Match: *"))
        }
        Some("*") => Ok(None),
        Some(tag) => {
            let version = tag.trim_matches('"').parse();
            version.map(Some).map_err(|_| Fault::invalid("If-Match", "no version of a working copy"))
        }
    }
}

fn with_tag(mut response: Response<Body>, version: u64) -> Response<Body> {
    // It is made of digits.
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}
