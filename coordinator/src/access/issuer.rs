//! The issuer of tokens: its keys, fetched when first needed, kept, and fetched again when they change.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::keys::{Keys, KeysError};
use super::refusal::Refusal;
use super::rules::Claims;
use super::token::{Expected, TokenError, Unchecked};
use crate::causes::in_words;

/// Time for one answer of the issuer.
const FETCH_TIME: Duration = Duration::from_secs(5);
/// Longest answer of the issuer.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// After this, keys are fetched again, so that one that was withdrawn counts no longer than that.
const KEYS_LAST: Duration = Duration::from_secs(3_600);
/// Time between two fetches while there are no keys, or the old ones could not be renewed.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// Time between two fetches because of key ids that nobody knows: anybody can make those up.
const UNKNOWN_KEYS: Duration = Duration::from_secs(60);

/// An issuer that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// It could not be asked, or did not answer with success.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// Its answer has no end.
    #[error("answer longer than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// Its discovery document is none.
    #[error("not a discovery document: {0}")]
    Discovery(#[from] serde_json::Error),
    /// The document names another issuer (OpenID Connect Discovery section 4.3).
    #[error("discovery document is of another issuer, {0:?}")]
    Other(String),
    /// The keys would come over an open line.
    #[error("keys are not at an https address: {0:?}")]
    Open(String),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The provider of cryptography and TLS do not fit.
    #[error("TLS: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// An issuer, and the audience that its tokens must be for.
pub(super) struct Issuer {
    url: String,
    audience: String,
    client: reqwest::Client,
    keys: RwLock<Option<Held>>,
    asking: Mutex<Asked>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<Keys>,
    endpoints: Option<(String, String)>,
    since: Instant,
}

/// When the issuer was asked last.
#[derive(Default)]
struct Asked {
    at: Option<Instant>,
    for_unknown_key: Option<Instant>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
}

impl Issuer {
    /// The issuer at `url`. Nothing is fetched yet: a coordinator starts while its issuer is away.
    ///
    /// Its certificate is checked against the system's authorities (or those of the variable `SSL_CERT_FILE`); proxies
    /// are taken from the usual variables.
    pub(super) fn new(url: &str, audience: &str) -> Result<Self, IssuerError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(FETCH_TIME);
        // Open lines are for issuers on this machine, which need no proxy either.
        let builder = if is_open(url) { builder.no_proxy() } else { builder.https_only(true) };
        Ok(Self {
            url: url.to_owned(),
            audience: audience.to_owned(),
            client: builder.build()?,
            keys: RwLock::new(None),
            asking: Mutex::default(),
        })
    }

    /// Its address, which is its name.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The claims of a token, and when they run out, once everything about it is right at `now_s`.
    pub(super) async fn verify(&self, token: &str, now_s: i64) -> Result<(Claims, i64), Refusal> {
        self.verify_for(token, &self.audience, now_s).await
    }

    /// The same for a token that is for `audience`.
    pub(super) async fn verify_for(&self, token: &str, audience: &str, now_s: i64) -> Result<(Claims, i64), Refusal> {
        let unchecked = Unchecked::parse(token)?;
        let expected = Expected { issuer: &self.url, audience, now_s };
        let keys = self.keys().await.ok_or(Refusal::NoKeys)?;
        match unchecked.check(&keys, &expected) {
            Err(TokenError::UnknownKey) => match self.newer(&keys).await {
                Some(newer) => Ok(unchecked.check(&newer, &expected)?),
                None => Err(TokenError::UnknownKey.into()),
            },
            checked => Ok(checked?),
        }
    }

    /// Where people sign in, and where codes are exchanged; none where the issuer does not say, or was never reached.
    pub(super) async fn endpoints(&self) -> Option<(String, String)> {
        self.keys().await?;
        self.held()?.endpoints
    }

    /// The keys held; fetched where there are none, or they are old.
    async fn keys(&self) -> Option<Arc<Keys>> {
        let fresh = |held: Held| (held.since.elapsed() < KEYS_LAST).then_some(held.keys);
        if let Some(keys) = self.held().and_then(fresh) {
            return Some(keys);
        }
        let mut asked = self.asking.lock().await;
        if let Some(keys) = self.held().and_then(fresh) {
            return Some(keys);
        }
        if asked.at.is_none_or(|at| at.elapsed() >= TRY_AGAIN) {
            self.fetch_into(&mut asked).await;
        }
        // Old keys are better than none while the issuer is away.
        self.held().map(|held| held.keys)
    }

    /// Keys newer than `seen`, if there are any; the issuer is asked for them now and then.
    async fn newer(&self, seen: &Arc<Keys>) -> Option<Arc<Keys>> {
        let mut asked = self.asking.lock().await;
        let newer = || self.held().map(|held| held.keys).filter(|keys| !Arc::ptr_eq(keys, seen));
        if newer().is_none() && asked.for_unknown_key.is_none_or(|at| at.elapsed() >= UNKNOWN_KEYS) {
            asked.for_unknown_key = Some(Instant::now());
            self.fetch_into(&mut asked).await;
        }
        newer()
    }

    fn held(&self) -> Option<Held> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetch_into(&self, asked: &mut Asked) {
        match self.fetch().await {
            Ok((keys, endpoints)) => {
                let held = Held { keys: Arc::new(keys), endpoints, since: Instant::now() };
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
            }
            Err(error) => {
                tracing::error!(issuer = %self.url, error = %in_words(&error), "keys of the issuer not fetched")
            }
        }
        asked.at = Some(Instant::now());
    }

    async fn fetch(&self) -> Result<(Keys, Option<(String, String)>), IssuerError> {
        let document = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let discovery: Discovery = serde_json::from_slice(&self.get(&document).await?)?;
        if discovery.issuer != self.url {
            return Err(IssuerError::Other(discovery.issuer));
        }
        if !discovery.jwks_uri.starts_with("https://") && !is_open(&self.url) {
            return Err(IssuerError::Open(discovery.jwks_uri));
        }
        let keys = Keys::parse(&self.get(&discovery.jwks_uri).await?)?;
        let endpoints = discovery.authorization_endpoint.zip(discovery.token_endpoint);
        // A code or a secret does not go over an open line.
        let is_guarded = |url: &String| url.starts_with("https://") || is_open(&self.url);
        let endpoints = endpoints.filter(|(authorization, token)| is_guarded(authorization) && is_guarded(token));
        Ok((keys, endpoints))
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, IssuerError> {
        read(self.client.get(url).send().await?).await
    }

    /// What the issuer answers to a form.
    pub(super) async fn post(
        &self,
        url: &str,
        form: String,
        authorization: Option<String>,
    ) -> Result<Vec<u8>, IssuerError> {
        let mut request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        read(request.send().await?).await
    }
}

/// The body of an answer that says yes.
async fn read(response: reqwest::Response) -> Result<Vec<u8>, IssuerError> {
    let mut response = response.error_for_status()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(IssuerError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Whether what is at `url` comes without TLS.
fn is_open(url: &str) -> bool {
    url.starts_with("http://")
}
