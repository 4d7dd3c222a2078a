//! One connection: requests one after the other, with limits on how long each step of the client may take.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tonic::transport::server::Connected as _;

use super::{Web, request};
use crate::accept::Connection;

/// Longest head of a request, in bytes; also what is read at once of a body.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Serves a connection until it ends.
pub(super) async fn serve(web: Arc<Web>, connection: Connection) {
    let (peer, idle, stopping) = (connection.connect_info(), web.idle(), web.coordinator.stopping.clone());
    let service = service_fn(move |asked: hyper::Request<Incoming>| {
        let (web, peer) = (web.clone(), peer.clone());
        async move { Ok::<_, Infallible>(request::answer(web, peer, asked).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(MAX_HEAD_BYTES);
    let serving = builder.serve_connection(TokioIo::new(Paced::new(connection, idle)), service).with_upgrades();
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        // What hyper says is about the connection, and quotes nothing that was sent.
        tracing::debug!(%error, "HTTP connection ended");
    }
}

/// A connection on which a write that goes nowhere is an error after a while: a client that does not read its answer
/// holds room that others need.
struct Paced {
    connection: Connection,
    idle: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn new(connection: Connection, idle: Duration) -> Self {
        Self { connection, idle, stalled: None }
    }

    /// Passes on how a write went; an error where none has gone on for too long.
    fn paced<T>(&mut self, went: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if went.is_ready() {
            self.stalled = None;
            return went;
        }
        let idle = self.idle;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let went = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.paced(went, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let went = Pin::new(&mut self.connection).poll_flush(cx);
        self.paced(went, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let went = Pin::new(&mut self.connection).poll_shutdown(cx);
        self.paced(went, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let went = Pin::new(&mut self.connection).poll_write_vectored(cx, parts);
        self.paced(went, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}
