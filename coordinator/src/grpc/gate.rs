//! The gate in front of every service: who calls, and whether they may.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Request, Response};
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use super::session::Session;
use super::status;
use crate::accept::Peer;
use crate::access::{Access, Refusal, table};
use crate::audit::{Act, Audit, Event};

/// Puts the gate in front of services.
#[derive(Clone)]
pub(crate) struct GateLayer {
    pub(crate) access: Arc<Access>,
    pub(crate) audit: Audit,
}

/// The gate, and what is behind it.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    layer: GateLayer,
    inner: S,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { layer: self.clone(), inner }
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let layer = self.layer.clone();
        // The one that was polled ready is used; a copy stays.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
            let path = request.uri().path().to_owned();
            // A header that is no text is no token either.
            let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
            let authorization = authorization.map(str::to_owned);
            match layer.admit(&path, authorization.as_deref(), &peer).await {
                Ok(session) => {
                    let extensions = request.extensions_mut();
                    extensions.insert(session);
                    extensions.insert(TcpConnectInfo { local_addr: None, remote_addr: peer.address });
                    inner.call(request).await
                }
                Err(refusal) => Ok(status::of(refusal.into()).into_http()),
            }
        })
    }
}

impl GateLayer {
    async fn admit(&self, path: &str, authorization: Option<&str>, peer: &Peer) -> Result<Session, Refusal> {
        match self.access.admit(path, authorization, peer).await {
            Ok((call, caller)) => {
                let (caller, address, audit) = (Arc::new(caller), peer.address, self.audit.clone());
                Ok(Session { caller, address, call, audit })
            }
            Err(refusal) => {
                let (act, call) = match &refusal {
                    Refusal::Role { call, .. } => (Act::RoleRefused, Some(*call)),
                    Refusal::NoSuchCall => (Act::RoleRefused, None),
                    _ => (Act::LoginRefused, table::need(path).map(|(call, _)| call)),
                };
                let caller = refusal.caller().map(str::to_owned);
                let reason = Some(refusal.to_string());
                let event = Event { caller, call, reason, address: peer.address, ..Event::of(act) };
                self.audit.refused(event).await;
                Err(refusal)
            }
        }
    }
}
