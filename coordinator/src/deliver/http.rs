//! A service over HTTP that drafts are posted to: its address, its certificate, its token.

use std::fmt;
use std::path::PathBuf;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, StatusCode, Url};

use super::verdict::Said;
use crate::causes::in_words;
use crate::dimse::scu::node::{Times, TlsFiles};
use crate::dimse::scu::tls;

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A service.
pub(super) struct Http {
    url: Url,
    token_file: Option<PathBuf>,
    client: Client,
    /// How long we wait for it.
    pub(super) times: Times,
}

impl Http {
    /// The one at this address.
    ///
    /// # Errors
    /// A sentence that names what was found.
    pub(super) fn new(
        address: &str,
        files: &TlsFiles,
        token_file: Option<PathBuf>,
        times: Times,
    ) -> Result<Self, String> {
        let url = Url::parse(address).map_err(|error| format!("{address:?} is no address: {error}"))?;
        let is_open = url.scheme() == "http";
        let is_here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        if is_open && !is_here {
            return Err(format!("{address:?} is not encrypted, and not on this machine: use https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("no passwords in addresses: they end in logs; use token_file".to_owned());
        }
        if let Some(file) = &token_file {
            // It is read again for each request: tokens are renewed.
            std::fs::metadata(file).map_err(|error| format!("token_file {}: {error}", file.display()))?;
        }
        let builder = Client::builder()
            .tls_backend_preconfigured(tls::client(files)?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(times.connect)
            .timeout(times.connect + times.idle);
        let builder = if is_here { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| in_words(&error))?;
        Ok(Self { url, token_file, client, times })
    }

    /// Posts something: the status and the answer, as far as it is read. Where there is none, what that means.
    pub(super) async fn post(&self, body: Vec<u8>, kind: &str, accept: &str) -> Result<(StatusCode, Vec<u8>), Said> {
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, kind).header(ACCEPT, accept);
        if let Some(file) = &self.token_file {
            match tokio::fs::read_to_string(file).await {
                Ok(token) => request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim())),
                Err(error) => return Err(Said::later(format!("token_file {}: {error}", file.display()))),
            }
        }
        let answer = request.body(body).send().await;
        let mut answer = answer.map_err(|error| Said::later(format!("{self}: {}", in_words(&error.without_url()))))?;
        let (status, mut text) = (answer.status(), Vec::new());
        while let Ok(Some(piece)) = answer.chunk().await {
            if text.len() + piece.len() > MAX_ANSWER_BYTES {
                break;
            }
            text.extend_from_slice(&piece);
        }
        Ok((status, text))
    }
}

/// What a status alone means for something that was posted.
pub(super) fn by_status(status: StatusCode, words: String) -> Said {
    match status {
        status if status.is_success() => Said::taken(words),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Said::later(words),
        status if status.is_client_error() => Said::never(words),
        // A redirect is not followed: it might lead patient data elsewhere.
        _ => Said::later(words),
    }
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({self})")
    }
}
