//! One request, from the gate to its answer.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};

use super::body::Received;
use super::problem::Problem;
use super::route::{Operation, What, route};
use super::worklist_route::Ask;
use super::{ROOT, Web, bulkdata, channel, cors, frames, host, metadata, qido, rendered, stow, wado, workitems};
use crate::accept::Peer;
use crate::access::Refusal;
use crate::metrics::Metrics;
use crate::page;
use crate::session::Session;

/// The header that names the tenant whose studies or workitems are meant, where the caller may send for several.
const TENANT: &str = "prelim-tenant";

/// What an answer may do in a browser that shows it by itself: images and styles within it are shown, nothing else.
const POLICY: &str = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'; sandbox";

/// A request that was let in.
pub(super) struct Call<'a> {
    pub(super) web: &'a Arc<Web>,
    pub(super) session: Session,
    /// Whether a session on the page let it in.
    pub(super) is_of_page: bool,
    pub(super) head: &'a Parts,
    /// What the addresses in the answer begin with: `http://HOST/dicom-web`.
    pub(super) base: String,
}

/// Answers a request.
pub(super) async fn answer(web: Arc<Web>, peer: Peer, mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = channel::upgrade(&mut request);
    let (head, body) = request.into_parts();
    let body = Received::new(body, web.config.http_body_mib, web.idle());
    if !is_below_root(head.uri.path()) {
        return of_page(&web, &peer, &head, body).await;
    }
    let routed = route(&head.method, head.uri.path());
    let name = routed.as_ref().map_or("none", Operation::name);
    let under_way = UnderWay::new(&web, name);
    let is_preflight = head.method == Method::OPTIONS;
    let answered = match routed {
        Ok(operation) => serve(&web, &peer, operation, (&head, upgrade), body).await,
        Err(problem) => {
            body.drain().await;
            Err(problem)
        }
    };
    let mut response = answered.unwrap_or_else(|problem| problem.response());
    cors::allow(&web.config.http_origin, head.headers.get(ORIGIN), is_preflight, response.headers_mut());
    guard(response.headers_mut());
    // Patients' data is no cache's to keep.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    web.coordinator.metrics.http_answered(response.status().as_u16());
    response.map(|body| Body::new(Guarded { body, _under_way: under_way }))
}

/// Adds what every answer says to browsers: it is what it says that it is, is no page that does anything, and is in no page of
/// another place that was not let in by name.
fn guard(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("same-origin"));
}

/// Whether a path is for DICOMweb.
fn is_below_root(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request for the page.
async fn of_page(web: &Arc<Web>, peer: &Peer, head: &Parts, body: Received) -> Response<Body> {
    let under_way = UnderWay::new(web, page::name_of(head));
    let response = page::answer(web, peer, head, body).await;
    web.coordinator.metrics.http_answered(response.status().as_u16());
    response.map(|body| Body::new(Guarded { body, _under_way: under_way }))
}

async fn serve(
    web: &Arc<Web>,
    peer: &Peer,
    operation: Operation,
    (head, upgrade): (&Parts, Option<OnUpgrade>),
    mut body: Received,
) -> Result<Response<Body>, Problem> {
    if operation == Operation::Preflight {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let found = operation.need();
    // Who is signed in to the page may look. What changes something takes what it takes from everybody.
    let signed_in = match authorization {
        None if head.method.is_safe() => page::sessions::of_request(web, head).await?,
        _ => None,
    };
    let is_of_this_machine = peer.address.is_some_and(|address| address.ip().is_loopback());
    let is_nobodys = authorization.is_none() && signed_in.is_none();
    if is_nobodys
        && is_of_this_machine
        && !web.gate.access.tells_callers_apart()
        && let Err(problem) = check_nobodys(web, head)
    {
        body.drain().await;
        return Err(problem);
    }
    let is_of_page = signed_in.is_some();
    let admitted = match signed_in {
        Some(signed_in) => web.gate.admit_known(found, signed_in.caller, peer).await,
        None => web.gate.admit_beside_page(found, authorization, peer).await,
    };
    let served = match admitted {
        Ok(session) => {
            let call = Call { web, session, is_of_page, head, base: base(web, head) };
            dispatch(&call, operation, upgrade, &mut body).await
        }
        Err(refusal) => Err(refusal.into()),
    };
    // Also where only some of it was taken.
    body.drain().await;
    served
}

/// Lets a request of this machine in that nothing is shown with which counts.
fn check_nobodys(web: &Web, head: &Parts) -> Result<(), Problem> {
    // Who shows a session that has ended may not see more than while it lasted.
    if head.method.is_safe() && page::shows_a_session(web, head) {
        return Err(Refusal::NoCredentials("the session on the page has ended: sign in again").into());
    }
    host::check(&web.config, head)
}

async fn dispatch(
    call: &Call<'_>,
    operation: Operation,
    upgrade: Option<OnUpgrade>,
    body: &mut Received,
) -> Result<Response<Body>, Problem> {
    if let Operation::Worklist(Ask::OpenChannel(title)) = operation {
        // It lasts, and takes no place that requests need.
        return channel::open(call, title, upgrade).await;
    }
    let Ok(place) = call.web.requests.clone().try_acquire_owned() else {
        let limit = call.web.config.http_requests;
        return Err(Problem::busy(format!("{limit} requests are served already (--http-requests); come again")));
    };
    let response = match operation {
        Operation::Store(study) => stow::store(call, study, body).await,
        Operation::Search(level, scope) => qido::search(call, level, scope).await,
        Operation::Retrieve(What::Instances, scope) => wado::retrieve(call, scope).await,
        Operation::Retrieve(What::Metadata, scope) => metadata::retrieve(call, scope).await,
        Operation::Retrieve(What::Frames(numbers), scope) => frames::retrieve(call, scope, numbers).await,
        Operation::Retrieve(What::BulkData(way), scope) => bulkdata::retrieve(call, scope, way).await,
        Operation::Retrieve(What::Rendered(frame), scope) => rendered::retrieve(call, scope, frame, false).await,
        Operation::Retrieve(What::Thumbnail(frame), scope) => rendered::retrieve(call, scope, frame, true).await,
        Operation::Worklist(ask) => workitems::serve(call, ask, body).await,
        Operation::Preflight => Err(Problem::method("OPTIONS", "GET, POST")),
    }?;
    // Its place is held until the answer is out.
    Ok(response.map(|body| Body::new(Guarded { body, _under_way: place })))
}

impl Call<'_> {
    /// The tenant that the request names, where its caller may act for several; empty where it names none.
    pub(super) fn tenant(&self) -> &str {
        self.head.headers.get(TENANT).map(|value| value.to_str().unwrap_or_default()).unwrap_or_default()
    }
}

/// What addresses in the answer begin with.
fn base(web: &Web, head: &Parts) -> String {
    if let Some(url) = &web.config.http_url {
        return format!("{}{ROOT}", url.trim_end_matches('/'));
    }
    let scheme = if web.coordinator.config.security.tls_cert.is_some() { "https" } else { "http" };
    let named = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    // It comes back to its sender in JSON and in headers: only what an address is made of.
    let is_host = |host: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        !host.is_empty() && host.len() <= 300 && host.bytes().all(plain)
    };
    let host = named.filter(is_host).unwrap_or("localhost");
    // Clients are met that leave the port out, of all of them dicomweb-client. A name may be a proxy's, with a port of its
    // own; an address is most likely ours.
    let is_ours = host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    match web.port.filter(|_| is_ours) {
        Some(port) => format!("{scheme}://{host}:{port}{ROOT}"),
        None => format!("{scheme}://{host}{ROOT}"),
    }
}

/// Something that lasts as long as a body.
struct Guarded<T> {
    body: Body,
    _under_way: T,
}

impl<T: Unpin> HttpBody for Guarded<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request in the numbers, from its beginning to the end of its answer.
struct UnderWay {
    metrics: Arc<Metrics>,
    name: &'static str,
    began: Instant,
}

impl UnderWay {
    fn new(web: &Web, name: &'static str) -> Self {
        let metrics = web.coordinator.metrics.clone();
        metrics.http_in_flight.inc();
        Self { metrics, name, began: Instant::now() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.metrics.http_in_flight.dec();
        self.metrics.http_request(self.name, self.began.elapsed());
    }
}
