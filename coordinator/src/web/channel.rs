//! Event reports over WebSocket (PS3.18 section 8.10): a subscriber opens a channel under its title, and is sent each report as a
//! text message, a data set in the DICOM JSON model. Nothing but pings, pongs and an end is taken from it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::{SinkExt as _, StreamExt as _};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::problem::Problem;
use super::request::Call;
use super::{Web, cors};
use crate::page::sessions;
use crate::session::Session;
use crate::worklist::channels::{Listening, MAX_CHANNELS};
use crate::worklist::dataset::{Dataset, put, tag};
use crate::worklist::reports;

/// Longest message that is taken, in bytes: nobody has anything to tell.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
/// The worklist, which an event is of that is of no workitem.
const WORKLIST: &str = "1.2.840.10008.5.1.4.34.5";

/// Takes the connection out of a request that wants to open a channel, while it is whole.
pub(super) fn upgrade(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    let is_wanted =
        request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    is_wanted.then(|| hyper::upgrade::on(request))
}

/// That a WebSocket is wanted here.
pub(super) fn wanted() -> Problem {
    Problem::upgrade("event reports are sent over a WebSocket: open one here")
}

/// Opens a channel for the application entity of this title.
pub(super) async fn open(
    call: &Call<'_>,
    title: String,
    upgrade: Option<OnUpgrade>,
) -> Result<Response<Body>, Problem> {
    if !cors::may_open(&call.web.config.http_origin, &call.head.headers) {
        return Err(Problem::forbidden("pages from there may not listen here (--http-origin)"));
    }
    let upgrade = upgrade.ok_or_else(wanted)?;
    let accept = accept(&call.head.headers)?;
    let tenant = call.session.tenant_for_submission(call.tenant()).await?;
    call.session.note_query(vec![format!("subscriber={title}")], &[]).await?;
    let listening = call.web.coordinator.listen_to_worklist(tenant, title).await?;
    let listening = listening.ok_or_else(|| Problem::busy(format!("{MAX_CHANNELS} channels are open already")))?;
    let open = Open {
        web: call.web.clone(),
        session: call.session.clone(),
        page: call.is_of_page.then(|| call.head.headers.clone()),
    };
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => serve(&open, connection, listening).await,
            // What hyper says quotes nothing that was sent.
            Err(error) => tracing::debug!(%error, "no channel"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// What shows that we understood (RFC 6455 section 4.2.2).
fn accept(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let has = |name: HeaderName, word: &str| {
        let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lists.flat_map(|list| list.split(',')).any(|each| each.trim().eq_ignore_ascii_case(word))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    match key {
        Some(key) if has(CONNECTION, "upgrade") && has(SEC_WEBSOCKET_VERSION, "13") => {
            HeaderValue::from_str(&derive_accept_key(key)).map_err(|_| Problem::bad("Sec-WebSocket-Key"))
        }
        _ => Err(Problem::bad("no WebSocket of version 13 is asked for (RFC 6455 section 4.1)")),
    }
}

/// A channel that is open, and what let it in.
struct Open {
    web: Arc<Web>,
    session: Session,
    /// What shows the session on the page, where it is one that let it in.
    page: Option<HeaderMap>,
}

impl Open {
    /// Whether the session on the page still counts, where it is one that let it in.
    async fn is_let_in(&self) -> bool {
        match &self.page {
            Some(headers) => sessions::still_lets_in(&self.web, headers, self.session.caller()).await,
            None => true,
        }
    }
}

/// Sends reports until one side ends, is silent for too long, or what let the caller in no longer counts.
async fn serve(open: &Open, connection: Upgraded, mut listening: Listening) {
    const SIGNED_OUT: Option<(CloseCode, &str)> = Some((CloseCode::Policy, "the session on the page has ended"));
    let Open { web, session, .. } = open;
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MAX_MESSAGE_BYTES);
    config.max_frame_size = Some(MAX_MESSAGE_BYTES);
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await;
    let (mut send, mut receive) = socket.split();
    // Of a ping in half of the time, an answer comes in the other half.
    let mut ping = tokio::time::interval(web.idle() / 2);
    let mut look = tokio::time::interval(sessions::LOOK_EVERY);
    let (mut number, mut is_silent) = (0_u16, false);
    let end = loop {
        let message = tokio::select! {
            report = listening.next() => match report {
                // Who signed out gets none of what came since.
                Some(_) if !open.is_let_in().await => break SIGNED_OUT,
                Some(report) => {
                    number = number.wrapping_add(1);
                    message(&report, number)
                }
                None => break Some((CloseCode::Policy, "reports were not read for too long")),
            },
            received = receive.next() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                Some(Ok(_)) => {
                    is_silent = false;
                    continue;
                }
            },
            _ = ping.tick() => {
                if std::mem::replace(&mut is_silent, true) {
                    break Some((CloseCode::Away, "no answer to a ping"));
                }
                Message::Ping(bytes::Bytes::new())
            }
            _ = look.tick() => {
                if open.is_let_in().await {
                    continue;
                }
                break SIGNED_OUT;
            }
            () = session.expired() => break Some((CloseCode::Policy, "the credentials have expired")),
            () = web.coordinator.stopping.cancelled() => {
                let going_down = message(&reports::going_down(WORKLIST), number.wrapping_add(1));
                // It may be gone already.
                let _ = send.send(going_down).await;
                break Some((CloseCode::Away, "the coordinator is stopping"));
            }
        };
        if send.send(message).await.is_err() {
            break None;
        }
    };
    if let Some((code, reason)) = end {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let closing = async {
            // What goes wrong now is the end as well.
            let _ = send.send(Message::Close(Some(frame))).await;
            // We hang up when they have: a connection that is closed before their last words are read is reset, and what they had
            // not read yet is lost with it.
            while let Some(Ok(_)) = receive.next().await {}
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), closing).await;
    }
}

/// A report as a message, with its number in the channel.
fn message(report: &Dataset, number: u16) -> Message {
    let mut report = report.clone();
    put(&mut report, tag::MESSAGE_ID, "US", vec![number.into()]);
    Message::text(serde_json::Value::Object(report).to_string())
}
