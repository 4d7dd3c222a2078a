//! The gate in front of every service: who calls, and whether they may.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Request, Response};
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use super::status;
use crate::accept::Peer;
use crate::access::table;
use crate::session::Gate;

/// Puts the gate in front of services.
#[derive(Clone)]
pub(crate) struct GateLayer(pub(crate) Gate);

/// The gate, and what is behind it.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.0.clone(), inner }
    }
}

impl<S> Service<Request<Body>> for Gated<S>
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
        let gate = self.gate.clone();
        // The one that was polled ready is used; a copy stays.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
            let path = request.uri().path().to_owned();
            // A header that is no text is no token either.
            let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
            let authorization = authorization.map(str::to_owned);
            match gate.admit(table::need(&path), authorization.as_deref(), &peer).await {
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
