//! The reading room: a page on which radiologists review drafts, and the calls that it makes, below `/api`. It is served where
//! DICOMweb is.
//!
//! # Layout
//! - `assets`: the built page, in the program; `route`: paths to what they ask for (pure); `fault`: what went wrong, as JSON
//! - `sessions`: cookies; `sign_in`: passwords; `oidc`: the issuer's way
//! - `board`: the worklist, kept at hand; `row`: what is shown of a study in it; `list`: what fits a filter (pure); `events`: what changes
//! - `study`: a study with its report, images and earlier studies; `pixels`: a frame for the viewer
//! - `viewed`: looks that are on record
//! - `judge`: what the editor says, as the review service takes it; `copies`: what somebody has not finished; `reading`: who reads what; `vocabulary`: what findings may say
//! - `questions`: what people ask about a study
//! - `agreement`: how often drafts stood; `export`: what was signed, for training, without sentences that may name somebody (`naming`, pure)
//!
//! **Invariant**: what changes something shows the session's token, and comes from a page of ours.
//! **Invariant**: no study of another tenant exists for a caller, and each view of a study is in the audit before it is shown.
//! **Invariant**: nothing of a session, a password or a patient is in a log.

mod agreement;
mod assets;
pub(crate) mod board;
mod copies;
mod events;
mod export;
mod fault;
mod judge;
mod list;
mod naming;
mod oidc;
mod pixels;
mod questions;
mod reading;
mod route;
mod row;
pub(crate) mod sessions;
mod sign_in;
mod study;
mod viewed;
mod vocabulary;

pub(crate) use self::reading::name_in_key;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, STRICT_TRANSPORT_SECURITY};
use hyper::http::request::Parts;
use prelim_proto::ids::Uid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::board::Board;
use self::fault::Fault;
use self::list::Wanted;
use self::route::Ask;
use self::row::Shown;
use self::sessions::{Lasting, Left, SignedIn};
use self::viewed::Viewed;
use crate::accept::Peer;
use crate::access::guesses::Guesses;
use crate::access::same;
use crate::access::table::Need;
use crate::access::turns::{Limits, Turns};
use crate::audit::Act;
use crate::service::Coordinator;
use crate::session::Session;
use crate::store::StoreError;
use crate::store::record::StudyRecord;
use crate::web::body::Received;
use crate::web::{Web, cors, query};

/// Below it are the calls of the page.
const API: &str = "/api";
/// The header that shows the session's token.
const CSRF: &str = "x-prelim-csrf";
/// Passwords are checked a few at once: each takes a processor and some MiB. Of an address, and in all, no more wait than can be
/// checked before the longest wait is over.
const CHECKED: Limits = Limits { at_once: 4, of_address: 256, in_all: 1_024, longest: Duration::from_secs(15) };
/// For a year browsers come back over TLS alone.
const HSTS: &str = "max-age=31536000";
/// Pages that follow the worklist at once.
const MAX_STREAMS: usize = 512;

/// What all calls of pages share.
pub(crate) struct Page {
    guesses: Mutex<Guesses>,
    checking: Turns,
    board: Board,
    viewed: Viewed,
    left: Left,
    /// Pages that may follow the worklist.
    streams: Arc<Semaphore>,
    /// Drawn anew by each process: what a page heard from another says nothing here.
    process: String,
}

impl Page {
    pub(crate) fn new() -> Self {
        Self {
            guesses: Mutex::default(),
            checking: Turns::new(CHECKED),
            board: Board::default(),
            viewed: Viewed::default(),
            left: Left::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            process: format!("{:08x}", rand::random::<u32>()),
        }
    }

    fn guesses(&self) -> MutexGuard<'_, Guesses> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether drafts are shown that a demonstration model made.
    async fn is_demonstration(&self, coordinator: &Coordinator) -> Result<bool, Fault> {
        Ok(self.board.view(coordinator).await?.rows.iter().any(|row| row.demonstration))
    }
}

/// A call of a page.
struct Call<'a> {
    web: &'a Arc<Web>,
    peer: &'a Peer,
    head: &'a Parts,
    /// What it is called in the audit.
    name: &'static str,
}

/// Whether a request for images shows a session, where people sign in here: elsewhere such a cookie is of another program on this
/// machine.
pub(crate) fn shows_a_session(web: &Web, head: &Parts) -> bool {
    let access = &web.gate.access;
    let do_people_sign_in = access.accounts().is_some() || access.code_flow().is_some();
    do_people_sign_in && sessions::shows_any(&web.config, &head.headers)
}

/// Whether a path is for the page, or one of its calls.
pub(crate) fn is_api(path: &str) -> bool {
    path.strip_prefix(API).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a request is called in numbers.
pub(crate) fn name_of(head: &Parts) -> &'static str {
    match is_api(head.uri.path()) {
        true => route::route(&head.method, head.uri.path()).map_or("none", |ask| ask.name()),
        false => "page",
    }
}

/// Answers a request that is not for DICOMweb.
pub(crate) async fn answer(web: &Arc<Web>, peer: &Peer, head: &Parts, mut body: Received) -> Response<Body> {
    let path = head.uri.path();
    let mut response = if is_api(path) {
        let served = serve(web, peer, head, &mut body).await;
        served.unwrap_or_else(Fault::response)
    } else if matches!(head.method, hyper::Method::GET | hyper::Method::HEAD) {
        assets::find(path).map_or_else(assets::nothing_here, |file| file.response(&head.headers))
    } else {
        Fault::method("GET").response()
    };
    body.drain().await;
    assets::guard(response.headers_mut());
    if web.coordinator.config.security.tls_cert.is_some() {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn serve(web: &Arc<Web>, peer: &Peer, head: &Parts, body: &mut Received) -> Result<Response<Body>, Fault> {
    let ask = route::route(&head.method, head.uri.path())?;
    let (name, need) = ask.need();
    let call = Call { web, peer, head, name };
    if !head.method.is_safe() && !call.is_from_here() {
        return Err(Fault::forbidden("pages of other places may not call here (Origin)"));
    }
    match ask {
        Ask::SignIn => return sign_in::sign_in(&call, body).await,
        Ask::SignOut => return sign_in::sign_out(&call).await,
        Ask::OidcBegin => return oidc::begin(&call).await,
        Ask::OidcEnd => return oidc::end(&call).await,
        _ => {}
    }
    let signed_in = call.signed_in(ask.is_by_a_person()).await?;
    if !head.method.is_safe() {
        call.check_token(&signed_in)?;
    }
    let session = call.admit(&signed_in, need).await?;
    dispatch(&call, ask, &signed_in, &session, body).await
}

async fn dispatch(
    call: &Call<'_>,
    ask: Ask,
    signed_in: &SignedIn,
    session: &Session,
    body: &mut Received,
) -> Result<Response<Body>, Fault> {
    match ask {
        Ask::Session => sign_in::tell(call, signed_in).await,
        Ask::Worklist => worklist(call, session).await,
        Ask::Events => events::follow(call, session).await,
        Ask::Study(uid) => study::give(call, session, uid).await,
        Ask::Report(uid, version) => study::report(call, session, uid, version).await,
        Ask::Pixels(uid, instance, frame) => pixels::give(call, session, uid, instance, frame).await,
        Ask::Copy(uid, what) => copies::serve(call, session, uid, what, body).await,
        Ask::Preview(uid) => judge::preview(call, session, uid, body).await,
        Ask::Sign(uid) => judge::sign(call, session, uid, body).await,
        Ask::Reject(uid) => judge::reject(call, session, uid, body).await,
        Ask::Reading(uid, what) => reading::note(call, session, uid, what).await,
        Ask::Questions(uid) => questions::list(call, session, uid).await,
        Ask::Answering(uid) => questions::answering(call, session, uid).await,
        Ask::NewQuestion(uid) => questions::ask(call, session, uid, body).await,
        Ask::TakeAnswer(uid, id, how) => questions::take(call, session, uid, id, how).await,
        Ask::DropQuestion(uid, id) => questions::forget(call, session, uid, id).await,
        Ask::Vocabulary => Ok(vocabulary::tell()),
        Ask::Agreement => agreement::tell(call, session).await,
        Ask::Export => export::give(call, session).await,
        // Who comes and goes was answered before.
        Ask::SignIn | Ask::SignOut | Ask::OidcBegin | Ask::OidcEnd => Err(Fault::nothing_here("there is no such call")),
    }
}

/// A part of the worklist.
async fn worklist(call: &Call<'_>, session: &Session) -> Result<Response<Body>, Fault> {
    let wanted = Wanted::read(query::pairs(call.head.uri.query()).into_iter())?;
    let view = call.web.page.board.view(&call.web.coordinator).await?;
    session.note_query(query::told(call.head.uri.query()), &[]).await?;
    let listed = wanted.of(&view.rows, session.caller());
    let shown = listed.rows.iter().map(|row| Shown { row, readers: view.readers_of(&row.uid) });
    let studies: Vec<Value> = shown.map(|shown| json!(shown)).collect();
    Ok(answer_json(&json!({
        "studies": studies, "next": listed.next, "counts": listed.counts,
        "choices": {"sites": listed.sites, "modalities": listed.modalities},
    })))
}

/// Forgets what people have to do with a study that is removed.
pub(crate) async fn forget(coordinator: &Coordinator, study: &Uid) -> Result<(), StoreError> {
    copies::forget(&*coordinator.store, study).await?;
    reading::forget(&*coordinator.store, study).await?;
    crate::question::forget(coordinator, study).await?;
    board::tell_others(coordinator, study).await;
    Ok(())
}

impl Call<'_> {
    /// The session that the request shows, where it shows one that counts.
    async fn session(&self, is_used: bool) -> Result<Option<SignedIn>, StoreError> {
        sessions::of(self.web, &self.head.headers, is_used).await
    }

    /// Lets a request in that shows the session's token.
    fn check_token(&self, signed_in: &SignedIn) -> Result<(), Fault> {
        let shown = self.head.headers.get(CSRF).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match same(shown, &signed_in.csrf) {
            true => Ok(()),
            false => Err(Fault::forbidden("the request does not show the session's token (X-Prelim-Csrf)")),
        }
    }

    /// The header that gives the browser the cookie of a session, or takes it away.
    fn set_cookie(&self, value: &str) -> HeaderValue {
        sessions::set_cookie(&self.web.config, &self.head.headers, value, self.is_secure())
    }

    /// The session that the request shows.
    async fn signed_in(&self, is_used: bool) -> Result<SignedIn, Fault> {
        let found = self.session(is_used).await?;
        found.ok_or_else(|| Fault::signed_out("sign in").with("sign_in", self.ways()))
    }

    /// How people sign in here.
    fn ways(&self) -> Vec<&'static str> {
        let access = &self.web.gate.access;
        let (password, oidc) =
            (access.accounts().map(|_| sessions::PASSWORD), access.code_flow().map(|_| sessions::ISSUER));
        password.into_iter().chain(oidc).collect()
    }

    /// Lets the caller in where it has the role.
    async fn admit(&self, signed_in: &SignedIn, need: Need) -> Result<Session, Fault> {
        Ok(self.web.gate.admit_known((self.name, need), signed_in.caller.clone(), self.peer).await?)
    }

    /// The record of a study, if the caller may see it. Otherwise there is none, as far as it learns.
    async fn record(&self, session: &Session, study: &Uid) -> Result<StudyRecord, Fault> {
        session.allow(&self.web.coordinator, study).await?;
        Ok(self.web.coordinator.record(study).await?)
    }

    /// Records that the caller looks at a study, where that is not on record just now.
    async fn viewed(&self, session: &Session, study: &Uid) -> Result<(), Fault> {
        if self.web.page.viewed.is_noted(&session.caller().key(), study) {
            return Ok(());
        }
        self.viewed_now(session, study).await
    }

    /// Records that the caller looks at a study.
    async fn viewed_now(&self, session: &Session, study: &Uid) -> Result<(), Fault> {
        session.note(Act::Read, std::slice::from_ref(study)).await?;
        self.web.page.viewed.note(&session.caller().key(), study);
        Ok(())
    }

    /// Whether a page of ours sent the request, as browsers say it.
    fn is_from_here(&self) -> bool {
        let headers = &self.head.headers;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        headers.get(ORIGIN).is_some_and(|origin| cors::is_from(origin, [host, self.web.config.told_host()]))
    }

    /// Whether browsers reach us over TLS.
    fn is_secure(&self) -> bool {
        let proxy = self.web.config.http_url.as_deref().is_some_and(|url| url.starts_with("https://"));
        proxy || self.web.coordinator.config.security.tls_cert.is_some()
    }

    /// What was sent, as JSON of at most so many bytes.
    async fn json<T: DeserializeOwned>(&self, body: &mut Received, max_bytes: usize) -> Result<T, Fault> {
        let bytes = self.bytes(body, max_bytes).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Fault::invalid("body", format!("not what is taken here: {error}")))
    }

    /// The same as bytes.
    async fn bytes(&self, body: &mut Received, max_bytes: usize) -> Result<Vec<u8>, Fault> {
        let kind = self.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // A page of another place cannot send this without asking first.
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Fault::media_type("application/json is taken here"));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await? {
            if bytes.len() + piece.len() > max_bytes {
                return Err(Fault::too_long(format!("a body of more than {max_bytes} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// An answer as JSON.
fn answer_json(value: &impl Serialize) -> Response<Body> {
    // What is answered is plain data.
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Web {
    /// How long sessions last.
    pub(crate) fn lasting(&self) -> Lasting {
        let security = &self.coordinator.config.security;
        let [idle, whole] = [security.session_idle_s, security.session_s].map(Duration::from_secs);
        Lasting { idle, whole }
    }
}
