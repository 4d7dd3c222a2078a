//! Bearer tokens: JSON Web Tokens (RFC 7519) of one issuer for one audience. Pure: keys and time come in as arguments.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{Algorithm, Keys};
use super::rules::Claims;

/// How far the issuer's clock may be from ours, in s.
pub const LEEWAY_S: i64 = 60;
/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Why a token does not count. Nothing of the token is in the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not three parts in Base64.
    #[error("not a JSON Web Token")]
    Malformed,
    /// `none`, a shared secret, or something that this build does not check.
    #[error("its algorithm is none of RS256, ES256 and EdDSA")]
    Algorithm,
    /// It has conditions that this build does not know (RFC 7515 section 4.1.11).
    #[error("it has critical extensions")]
    Critical,
    /// No such key, also after the issuer was asked again.
    #[error("its issuer has no such key")]
    UnknownKey,
    /// Somebody else made it, or changed it.
    #[error("its signature is wrong")]
    Signature,
    /// A claim is missing, or not of its type.
    #[error("{0} is missing or malformed")]
    Claim(&'static str),
    /// Another issuer's.
    #[error("it is by another issuer")]
    Issuer,
    /// It was made for another service.
    #[error("it is for another audience; ask the issuer for one with that of --oidc-audience")]
    Audience,
    /// It ran out.
    #[error("it has expired; get a new one")]
    Expired,
    /// It does not count yet.
    #[error("it is not valid yet; are the clocks right?")]
    Early,
}

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// One of `aud`.
    pub audience: &'a str,
    /// Now, in s since the Unix epoch.
    pub now_s: i64,
}

/// A token taken apart; nothing of it is trusted.
#[derive(Debug)]
pub struct Unchecked<'a> {
    /// How it says that it is signed.
    pub algorithm: Algorithm,
    /// With which key.
    pub key: Option<String>,
    signed: &'a [u8],
    claims: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl<'a> Unchecked<'a> {
    /// Takes a token apart, and refuses what no key could save.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        let malformed = || TokenError::Malformed;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let algorithm = serde_json::from_value(Value::String(header.alg)).map_err(|_| TokenError::Algorithm)?;
        Ok(Self {
            algorithm,
            key: header.kid,
            signed: signed.as_bytes(),
            claims: decode(claims)?,
            signature: decode(signature)?,
        })
    }

    /// The claims, with the time at which they run out, once signature, issuer, audience and time are right.
    pub fn check(&self, keys: &Keys, expected: &Expected<'_>) -> Result<(Claims, i64), TokenError> {
        let key = self.key.as_deref();
        if !keys.knows(self.algorithm, key) {
            return Err(TokenError::UnknownKey);
        }
        if !keys.verify(self.algorithm, key, self.signed, &self.signature) {
            return Err(TokenError::Signature);
        }
        let claims: Claims = serde_json::from_slice(&self.claims).map_err(|_| TokenError::Malformed)?;
        if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
            return Err(TokenError::Issuer);
        }
        let is_audience = |value: &Value| value.as_str() == Some(expected.audience);
        let meant = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_audience),
            Some(audience) => is_audience(audience),
            None => false,
        };
        if !meant {
            return Err(TokenError::Audience);
        }
        let expires_at_s = seconds(&claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
        if expected.now_s >= expires_at_s.saturating_add(LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        if seconds(&claims, "nbf")?.is_some_and(|from_s| expected.now_s < from_s.saturating_sub(LEEWAY_S)) {
            return Err(TokenError::Early);
        }
        Ok((claims, expires_at_s))
    }
}

/// A time (RFC 7519 section 2, NumericDate). One that is no number is an error, never a claim that is not there.
fn seconds(claims: &Claims, name: &'static str) -> Result<Option<i64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let whole = number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64));
            whole.map(Some).ok_or(TokenError::Claim(name))
        }
        Some(_) => Err(TokenError::Claim(name)),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
