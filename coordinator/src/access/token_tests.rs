use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

const NOW_S: i64 = 1_800_000_000;

/// A key pair and its public half as a key set.
enum Signer {
    Ed(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Signer {
    fn ed() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn p256() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode(pair.public_key())})
            }
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id, "x": x, "y": y})
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        if matches!(self, Self::Ed(_)) { "EdDSA" } else { "ES256" }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = match self {
            Self::Ed(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn keys(jwks: &[Value]) -> Keys {
    Keys::parse(json!({"keys": jwks}).to_string().as_bytes()).unwrap()
}

fn check(token: &str, keys: &Keys) -> Result<i64, TokenError> {
    let expected = Expected { issuer: "https://issuer.example", audience: "prelim", now_s: NOW_S };
    Unchecked::parse(token)?.check(keys, &expected).map(|(_, expires_at_s)| expires_at_s)
}

fn claims() -> Value {
    json!({"iss": "https://issuer.example", "aud": "prelim", "sub": "a", "exp": NOW_S + 300, "nbf": NOW_S - 10})
}

/// `claims()` with one of them another, or gone where it is null.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

#[test]
fn a_token_by_the_issuer_for_us_in_time_counts() {
    for signer in [Signer::ed(), Signer::p256()] {
        let keys = keys(&[Signer::ed().jwk("old"), signer.jwk("k")]);
        let header = json!({"alg": signer.algorithm(), "kid": "k", "typ": "at+jwt"});
        assert_eq!(check(&signer.sign(&header, &claims()), &keys), Ok(NOW_S + 300));
        let unnamed = json!({"alg": signer.algorithm()});
        assert_eq!(check(&signer.sign(&unnamed, &claims()), &keys), Ok(NOW_S + 300));
    }
}

#[test]
fn claims_are_checked() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk("k")]);
    let header = json!({"alg": "EdDSA", "kid": "k"});
    for (name, value, expected) in [
        ("iss", json!("https://issuer.example/"), Err(TokenError::Issuer)),
        ("iss", Value::Null, Err(TokenError::Issuer)),
        ("aud", json!("other"), Err(TokenError::Audience)),
        ("aud", json!(["other", "prelim"]), Ok(NOW_S + 300)),
        ("aud", json!([]), Err(TokenError::Audience)),
        ("aud", Value::Null, Err(TokenError::Audience)),
        ("exp", json!(NOW_S - 59), Ok(NOW_S - 59)),
        ("exp", json!(NOW_S - 60), Err(TokenError::Expired)),
        ("exp", json!((NOW_S + 9) as f64 + 0.5), Ok(NOW_S + 9)),
        ("exp", json!("1900000000"), Err(TokenError::Claim("exp"))),
        ("exp", Value::Null, Err(TokenError::Claim("exp"))),
        ("nbf", json!(NOW_S + 60), Ok(NOW_S + 300)),
        ("nbf", json!(NOW_S + 61), Err(TokenError::Early)),
        ("nbf", json!("soon"), Err(TokenError::Claim("nbf"))),
        ("nbf", Value::Null, Ok(NOW_S + 300)),
    ] {
        let changed = with(name, value.clone());
        assert_eq!(check(&signer.sign(&header, &changed), &keys), expected, "{name} = {value}");
    }
}

#[test]
fn what_was_made_or_changed_by_another_does_not_count() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk("k")]);
    let header = json!({"alg": "EdDSA", "kid": "k"});
    let good = signer.sign(&header, &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let greedy = encoded(with("roles", json!(["admin"])));
    let none = encoded(json!({"alg": "none"}));
    let shared = encoded(json!({"alg": "HS256", "kid": "k"}));
    let critical = json!({"alg": "EdDSA", "kid": "k", "crit": ["exp"]});
    for (token, expected) in [
        (format!("{head}.{greedy}.{signature}"), TokenError::Signature),
        (format!("{head}.{body}."), TokenError::Signature),
        (format!("{none}.{body}."), TokenError::Algorithm),
        (format!("{none}.{body}.{signature}"), TokenError::Algorithm),
        (format!("{shared}.{body}.{signature}"), TokenError::Algorithm),
        (signer.sign(&critical, &claims()), TokenError::Critical),
        (signer.sign(&json!({"alg": "EdDSA", "kid": "other"}), &claims()), TokenError::UnknownKey),
        (signer.sign(&json!({"alg": "ES256", "kid": "k"}), &claims()), TokenError::UnknownKey),
        (Signer::ed().sign(&header, &claims()), TokenError::Signature),
        (format!("{good}."), TokenError::Malformed),
        (format!("{good}="), TokenError::Malformed),
        (good.replacen('.', "", 1), TokenError::Malformed),
        (String::new(), TokenError::Malformed),
        ("x".repeat(20_000), TokenError::Malformed),
    ] {
        assert_eq!(check(&token, &keys), Err(expected), "{token}");
    }
}

#[test]
fn a_key_set_is_read_for_what_can_sign() {
    let good = Signer::p256().jwk("k");
    let mut encryption = good.clone();
    encryption["use"] = json!("enc");
    let mut other = good.clone();
    other["alg"] = json!("ES384");
    let strange = json!({"kty": "oct", "k": "AAAA"});
    assert!(Keys::parse(json!({"keys": [encryption.clone(), other, strange.clone()]}).to_string().as_bytes()).is_err());
    assert!(keys(&[encryption, strange, good]).knows(Algorithm::Es256, Some("k")));
    assert!(Keys::parse(b"[]").is_err());
}
