//! A code that somebody brings back from the issuer, exchanged for what the issuer says of them (OpenID Connect Core section
//! 3.1.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::caller::Caller;
use super::issuer::Issuer;
use super::refusal::Refusal;
use super::rules::{Claims, Rules};
use super::{same, token};

/// Who we are to the issuer.
#[derive(Clone)]
pub(crate) struct Client {
    pub(super) id: String,
    /// None for a client that shows none: PKCE binds the code to the browser.
    pub(super) secret: Option<String>,
}

/// The way in.
pub(crate) struct CodeFlow<'a> {
    pub(super) client: &'a Client,
    pub(super) issuer: &'a Issuer,
    pub(super) rules: std::sync::Arc<Rules>,
}

#[derive(Deserialize)]
struct Answer {
    id_token: String,
}

impl CodeFlow<'_> {
    /// Our name at the issuer.
    pub(crate) fn client(&self) -> &str {
        &self.client.id
    }

    /// Where people are sent.
    pub(crate) async fn authorization(&self) -> Result<String, Refusal> {
        self.issuer.endpoints().await.map(|(authorization, _)| authorization).ok_or(Refusal::NoKeys)
    }

    /// Who it is that brings this code; or why nobody, in words without the code.
    pub(crate) async fn redeem(
        &self,
        code: &str,
        back: &str,
        verifier: &str,
        nonce: &str,
        now_s: i64,
    ) -> Result<Caller, String> {
        let (_, endpoint) = self.issuer.endpoints().await.ok_or("the issuer does not answer")?;
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", back),
            ("code_verifier", verifier),
        ];
        let authorization = match &self.client.secret {
            Some(secret) => {
                // RFC 6749 section 2.3.1: both are encoded first.
                let pair = format!("{}:{}", encoded(&self.client.id), encoded(secret));
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            None => {
                pairs.push(("client_id", &self.client.id));
                None
            }
        };
        let answer = self.issuer.post(&endpoint, form(&pairs), authorization).await;
        let answer =
            answer.map_err(|error| format!("the issuer takes no code: {}", crate::causes::in_words(&error)))?;
        let Answer { id_token } = serde_json::from_slice(&answer).map_err(|_| "the issuer gives no id token")?;
        let verified = self.issuer.verify_for(&id_token, &self.client.id, now_s).await;
        let (claims, expires_at_s) = verified.map_err(|refusal| refusal.to_string())?;
        check(&claims, &self.client.id, nonce)?;
        let expires_at_s = expires_at_s.saturating_add(token::LEEWAY_S);
        let caller = self.rules.of_claims(&claims, expires_at_s).map_err(|error| error.to_string())?;
        Ok(Caller { expires_at_s: None, ..caller })
    }
}

/// What an id token must say beside what every token must (section 3.1.3.7).
fn check(claims: &Claims, client: &str, nonce: &str) -> Result<(), String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if !text("nonce").is_some_and(|shown| same(shown, nonce)) {
        return Err("the id token is for another sign-in".to_owned());
    }
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    match text("azp") {
        Some(party) if party != client => Err("the id token was given to another client".to_owned()),
        None if several => Err("the id token is for several, and does not say whom it was given to".to_owned()),
        _ => Ok(()),
    }
}

/// Names and values as a form sends them.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", encoded(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_token_is_for_this_sign_in_and_for_us() {
        let checked = |claims: Value| check(claims.as_object().unwrap(), "page", "n").is_ok();
        assert!(checked(json!({"aud": "page", "nonce": "n"})));
        assert!(checked(json!({"aud": ["page", "other"], "azp": "page", "nonce": "n"})));
        assert!(!checked(json!({"aud": "page"})));
        assert!(!checked(json!({"aud": "page", "nonce": "m"})));
        assert!(!checked(json!({"aud": ["page", "other"], "nonce": "n"})));
        assert!(!checked(json!({"aud": "page", "azp": "other", "nonce": "n"})));
    }

    #[test]
    fn what_a_form_sends_is_encoded() {
        assert_eq!(form(&[("a", "b c&d"), ("e", "é/")]), "a=b%20c%26d&e=%C3%A9%2F");
    }
}
