//! What changes in the worklist, as server-sent events (the EventSource of HTML): `study` with a line, `removed`, `readers`,
//! `reload` where a page is too far behind, and `beat`, which says that the connection stands; and `question` with what became of
//! a question, to who asked it.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::board::{Change, View};
use super::fault::Fault;
use super::row::Shown;
use super::{Call, sessions};
use crate::access::Caller;
use crate::question::Question;
use crate::session::Session;
use crate::web::Web;

/// How often a page hears that we are there, and whether its session still counts is looked at.
const BEAT: Duration = Duration::from_secs(15);
/// That we are there: an event, which scripts hear of, and not a comment.
const HERE: &[u8] = b"event: beat\ndata: {}\n\n";
/// How often it is looked what became of a person's questions, at most.
const LOOK: Duration = Duration::from_millis(200);
/// Where a page goes on from after its connection was lost.
const LAST: HeaderName = HeaderName::from_static("last-event-id");

/// A page that follows.
struct Following {
    web: Arc<Web>,
    /// Of the request: its cookie is looked at again.
    headers: hyper::HeaderMap,
    caller: Arc<Caller>,
    number: u64,
    waiting: VecDeque<Bytes>,
    beat_at: Instant,
    changes: tokio::sync::broadcast::Receiver<prelim_proto::ids::Uid>,
    /// The questions that the page was told of, as it was.
    questions: BTreeMap<(prelim_proto::ids::Uid, String), Question>,
    looked_at: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

/// Follows what changes.
pub(super) async fn follow(call: &Call<'_>, session: &Session) -> Result<Response<Body>, Fault> {
    let place = call.web.page.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| Fault::busy("too many pages follow the worklist already"))?;
    session.note_query(Vec::new(), &[]).await?;
    let (web, coordinator) = (call.web.clone(), &call.web.coordinator);
    let changes = coordinator.subscribe();
    let view = web.page.board.view(coordinator).await?;
    let told = call.head.headers.get(LAST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Numbers are of this process: one of another says nothing here.
    let known =
        told.strip_prefix(&web.page.process).and_then(|rest| rest.strip_prefix('-')).and_then(|n| n.parse().ok());
    let mut waiting = VecDeque::from([Bytes::from_static(HERE)]);
    if !told.is_empty() && known.is_none() {
        waiting.push_back(event(&web, "reload", view.last_change, &json!({})));
    }
    let following = Following {
        headers: call.head.headers.clone(),
        caller: session.caller.clone(),
        number: known.unwrap_or(view.last_change),
        waiting,
        beat_at: Instant::now(),
        changes,
        questions: BTreeMap::new(),
        looked_at: None,
        web,
        _place: place,
    };
    let events = stream::unfold(following, |mut following| async move {
        let next = following.next().await?;
        Some((Ok::<_, Infallible>(next), following))
    });
    let mut response = Response::new(Body::from_stream(events));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies that gather answers are asked not to.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

impl Following {
    /// What is to be sent next; nothing at the end: the page asks again, and learns why.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(next) = self.waiting.pop_front() {
                return Some(next);
            }
            if self.beat_at.elapsed() >= BEAT {
                self.beat_at = Instant::now();
                let goes_on = sessions::still_lets_in(&self.web, &self.headers, &self.caller).await;
                return goes_on.then(|| Bytes::from_static(HERE));
            }
            let coordinator = &self.web.coordinator;
            tokio::select! {
                () = coordinator.next_change(&mut self.changes) => {}
                () = coordinator.stopping.cancelled() => return None,
            }
            let (changes, view) = self.web.page.board.after(coordinator, self.number).await.ok()?;
            match changes {
                Some(changes) => {
                    let told: Vec<Bytes> = changes.iter().filter_map(|change| self.told(change, &view)).collect();
                    self.waiting.extend(told);
                }
                None => self.waiting.push_back(event(&self.web, "reload", view.last_change, &json!({}))),
            }
            self.number = view.last_change;
            self.look_at_questions().await;
        }
    }

    /// Tells what became of the caller's questions since it was told. Where the store does not answer, the next look does.
    async fn look_at_questions(&mut self) {
        if self.looked_at.is_some_and(|at| at.elapsed() < LOOK) {
            return;
        }
        self.looked_at = Some(Instant::now());
        let Ok(questions) = self.web.coordinator.open_questions(&self.caller).await else { return };
        let mut told = BTreeMap::new();
        for question in questions {
            let key = (question.study.clone(), question.id.clone());
            if self.questions.get(&key) != Some(&question) {
                let value = json!({"uid": question.study, "question": question});
                self.waiting.push_back(event(&self.web, "question", self.number, &value));
            }
            told.insert(key, question);
        }
        self.questions = told;
    }

    /// A change, where this page may know of it.
    fn told(&self, change: &Change, view: &View) -> Option<Bytes> {
        let sees = |tenant| self.caller.may_see(tenant);
        let (name, value) = match change {
            Change::Row(row) if sees(&row.tenant) => {
                ("study", serde_json::to_value(Shown { row, readers: view.readers_of(&row.uid) }).ok()?)
            }
            Change::Gone(uid, tenant) if sees(tenant) => ("removed", json!({"uid": uid})),
            Change::Readers(uid, tenant) if sees(tenant) => {
                ("readers", json!({"uid": uid, "readers": view.readers_of(uid)}))
            }
            _ => return None,
        };
        Some(event(&self.web, name, view.last_change, &value))
    }
}

fn event(web: &Web, name: &str, number: u64, value: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\nid: {}-{number}\ndata: {value}\n\n", web.page.process))
}
