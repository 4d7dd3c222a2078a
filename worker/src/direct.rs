//! Objects straight from the object store, from addresses that the coordinator signs.
//!
//! **Invariant**: an address grants access by itself, so none is in an error or a log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, timeout};

/// Time to connect. Short: where there is no way to the store, the coordinator is asked next.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// Time for an answer to begin, and between two pieces of it.
const PIECE_TIME: Duration = Duration::from_secs(20);
/// After a failure, how long no address is asked for.
const REST: Duration = Duration::from_secs(60);

/// An object that was not read from its address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectError {
    /// This build or machine cannot speak HTTP.
    #[error("no HTTP client: {0}")]
    Client(String),
    /// The request, without its address.
    #[error("{0}")]
    Request(String),
    /// The store refuses.
    #[error("object store answers with status {0}")]
    Status(u16),
    /// Nothing came for a while.
    #[error("object store is too slow")]
    Slow,
    /// More bytes came than the job says.
    #[error("object is longer than the job says")]
    TooLong,
}

/// The way to the object store. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Direct(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Made when first needed: most workers never do.
    client: Option<reqwest::Client>,
    resting_until: Option<Instant>,
}

impl Direct {
    /// Whether an address is worth asking for: the last one worked, or it is a while ago.
    pub(crate) fn is_worth_a_try(&self) -> bool {
        self.state().resting_until.is_none_or(|until| until <= Instant::now())
    }

    /// The bytes at `url`, at most `size_bytes` of them. After an error no address is worth a try for a while.
    pub(crate) async fn read(&self, url: &str, size_bytes: u64) -> Result<Vec<u8>, DirectError> {
        let read = self.read_once(url, size_bytes).await;
        self.state().resting_until = read.is_err().then(|| Instant::now() + REST);
        read
    }

    async fn read_once(&self, url: &str, size_bytes: u64) -> Result<Vec<u8>, DirectError> {
        let request = self.client()?.get(url).send();
        let response = timeout(PIECE_TIME, request).await.map_err(|_| DirectError::Slow)?.map_err(without_address)?;
        if !response.status().is_success() {
            return Err(DirectError::Status(response.status().as_u16()));
        }
        let mut pieces = response.bytes_stream();
        let mut bytes = Vec::with_capacity(super::coordinator::capacity(size_bytes));
        while let Some(piece) = timeout(PIECE_TIME, pieces.next()).await.map_err(|_| DirectError::Slow)? {
            let piece = piece.map_err(without_address)?;
            if (bytes.len() + piece.len()) as u64 > size_bytes {
                return Err(DirectError::TooLong);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn client(&self) -> Result<reqwest::Client, DirectError> {
        let mut state = self.state();
        if let Some(client) = &state.client {
            return Ok(client.clone());
        }
        // What was installed before serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // An address is signed for one server: where that one sends elsewhere, something is amiss.
        let made = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| DirectError::Client(innermost(&error)))?;
        state.client = Some(made.clone());
        Ok(made)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_address(error: reqwest::Error) -> DirectError {
    DirectError::Request(innermost(&error.without_url()))
}

/// The innermost cause: the outer ones name addresses.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each connection with the next text and closes it.
    async fn serve(answers: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/object?X-Amz-Signature=SECRET", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let _ = socket.read(&mut [0; 4_096]).await;
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        url
    }

    #[tokio::test]
    async fn an_object_is_read_or_the_way_rests_and_no_address_is_told() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhello";
        let moved =
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let denied = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let url = serve(vec![whole, whole, cut, moved, denied]).await;
        let read = async |size| {
            let direct = Direct::default();
            let read = direct.read(&url, size).await.map_err(|error| error.to_string());
            assert_eq!(read.is_ok(), direct.is_worth_a_try());
            if let Err(error) = &read {
                assert!(!error.contains("SECRET"), "{error}");
            }
            read
        };
        assert_eq!(read(5).await.unwrap(), b"hello");
        assert_eq!(read(4).await.unwrap_err(), "object is longer than the job says");
        read(50).await.unwrap_err();
        assert_eq!(read(5).await.unwrap_err(), "object store answers with status 302");
        assert_eq!(read(5).await.unwrap_err(), "object store answers with status 403");
        assert!(read(5).await.is_err(), "nobody listens any more");
    }
}
