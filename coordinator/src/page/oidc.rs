//! Signing in at the issuer: the authorization code flow of OpenID Connect (Core section 3.1) with PKCE (RFC 7636).
//!
//! What has to be remembered while somebody is away is in a cookie of the browser, so that nobody fills our memory by going away.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HOST, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::Call;
use super::fault::Fault;
use super::sessions::{self, Who};
use super::sign_in;
use crate::access::code_flow::form;
use crate::access::{Role, now_s, same};
use crate::web::query;

/// What the name of the cookie begins with while somebody is away. It comes back with a link from another site, so it is not as strict as a session's.
const AWAY: &str = "prelim_oidc";
/// How long somebody may be away, in s.
const AWAY_S: u32 = 600;
/// Where people come back to.
const BACK: &str = "/api/oidc/end";
/// Longest code or state that is looked at.
const MAX_CHARS: usize = 4_096;

/// Sends somebody to the issuer.
pub(super) async fn begin(call: &Call<'_>) -> Result<Response<Body>, Fault> {
    let Some(flow) = call.web.gate.access.code_flow() else {
        return Err(Fault::nothing_here("people do not sign in at an issuer here"));
    };
    let there = flow.authorization().await?;
    let (state, nonce, verifier) = (sessions::secret(), sessions::secret(), sessions::secret());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let parameters = form(&[
        ("response_type", "code"),
        ("client_id", flow.client()),
        ("redirect_uri", &back(call)?),
        ("scope", "openid profile"),
        ("state", &state),
        ("nonce", &nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    let joint = if there.contains('?') { '&' } else { '?' };
    let mut response = to(&format!("{there}{joint}{parameters}"))?;
    response.headers_mut().insert(SET_COOKIE, away(call, &format!("{state}.{nonce}.{verifier}"), AWAY_S));
    Ok(response)
}

/// Lets somebody in who comes back.
pub(super) async fn end(call: &Call<'_>) -> Result<Response<Body>, Fault> {
    let mut response = match come_back(call).await {
        Ok(cookie) => {
            let mut response = to("/worklist")?;
            response.headers_mut().append(SET_COOKIE, call.set_cookie(&cookie));
            response
        }
        Err(reason) => {
            call.web.coordinator.metrics.signed_in("refused");
            sign_in::note(call, None, &reason).await;
            to("/sign-in?failed=oidc")?
        }
    };
    response.headers_mut().append(SET_COOKIE, away(call, "", 0));
    Ok(response)
}

/// The cookie of a session; or why there is none, in words without anything that came in.
async fn come_back(call: &Call<'_>) -> Result<String, String> {
    const ASTRAY: &str = "nobody went from here to the issuer";
    let flow = call.web.gate.access.code_flow().ok_or("people do not sign in at an issuer here")?;
    let pairs = query::pairs(call.head.uri.query());
    let given = |name: &str| {
        let found = pairs.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str());
        found.filter(|value| !value.is_empty() && value.len() <= MAX_CHARS)
    };
    let kept = sessions::cookie(&call.head.headers, &name(call)).ok_or(ASTRAY)?;
    let [state, nonce, verifier] = kept.split('.').collect::<Vec<_>>()[..] else { return Err(ASTRAY.to_owned()) };
    // Somebody else's way in, pushed on this browser, has another state.
    if !given("state").is_some_and(|shown| same(shown, state)) {
        return Err("the state is not the one that was sent".to_owned());
    }
    let code = given("code").ok_or("the issuer let nobody in")?;
    let back = back(call).map_err(|_| "the address of this page is not known")?;
    let caller = flow.redeem(code, &back, verifier, nonce, now_s()).await?;
    if !caller.roles.contains(&Role::Read) {
        return Err(format!("{:?} has not the role read", caller.name));
    }
    let who = Who::of_issuer(&caller);
    sign_in::begin(call, Arc::new(caller), who).await.map_err(|_| "the session could not be begun".to_owned())
}

/// The address that people come back to.
fn back(call: &Call<'_>) -> Result<String, Fault> {
    if let Some(url) = &call.web.config.http_url {
        return Ok(format!("{}{BACK}", url.trim_end_matches('/')));
    }
    let scheme = if call.is_secure() { "https" } else { "http" };
    let host = call.head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let host = host.filter(|host| !host.is_empty() && host.bytes().all(plain));
    let host = host.ok_or_else(|| Fault::invalid("Host", "the address of this page is not known: set --http-url"))?;
    Ok(format!("{scheme}://{host}{BACK}"))
}

/// The cookie's name.
fn name(call: &Call<'_>) -> String {
    sessions::named(AWAY, &call.web.config, &call.head.headers)
}

fn away(call: &Call<'_>, value: &str, lasts_s: u32) -> HeaderValue {
    let name = name(call);
    let secure = if call.is_secure() { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/api/oidc; HttpOnly; SameSite=Lax; Max-Age={lasts_s}{secure}");
    // It is made of words of ours and of digits.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn to(address: &str) -> Result<Response<Body>, Fault> {
    let location = HeaderValue::from_str(address).map_err(|_| Fault::busy("the issuer's address is none"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
