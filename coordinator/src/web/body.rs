//! Bodies of requests, piece by piece: bounded in length, and in the time between two pieces.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use hyper::body::Incoming;

use super::problem::Problem;

/// Bytes of a refused request that are still read, so that its sender comes to read the answer.
const MAX_DRAINED_BYTES: u64 = 4 << 20;
/// How long they are waited for.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A body.
pub(crate) struct Received {
    rest: axum::body::BodyDataStream,
    idle: Duration,
    max_mib: u64,
    bytes: u64,
    is_empty: bool,
}

impl Received {
    /// A body that may have so many MiB.
    pub(crate) fn new(body: Incoming, max_mib: u64, idle: Duration) -> Self {
        let is_empty = hyper::body::Body::is_end_stream(&body);
        Self { rest: axum::body::Body::new(body).into_data_stream(), idle, max_mib, bytes: 0, is_empty }
    }

    /// Whether nothing is to come.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The next piece; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let next = tokio::time::timeout(self.idle, self.rest.next()).await;
        let Some(piece) = next.map_err(|_| Problem::silence(self.idle.as_secs()))? else { return Ok(None) };
        let piece = piece.map_err(|_| Problem::bad("the body broke off"))?;
        self.bytes += piece.len() as u64;
        if self.bytes > self.max_mib << 20 {
            return Err(Problem::too_large(format!("a body of more than {} MiB (--http-body-mib)", self.max_mib)));
        }
        Ok(Some(piece))
    }

    /// Reads a little of what nobody wants any more.
    pub(crate) async fn drain(mut self) {
        let reading = async {
            let mut drained = 0;
            while let Some(Ok(piece)) = self.rest.next().await {
                drained += piece.len() as u64;
                if drained > MAX_DRAINED_BYTES {
                    break;
                }
            }
        };
        // In time or not: it is thrown away.
        let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
    }
}
