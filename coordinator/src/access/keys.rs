//! An issuer's public keys (RFC 7517), and signatures checked with them (RFC 7515). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// Keys of one issuer that are looked at.
const MAX_KEYS: usize = 64;

/// How a token is signed. What is not here (`none`, shared secrets) is refused before any key is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// RSA with SHA-256, PKCS #1.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Not a key set.
    #[error("not a JSON Web Key Set: {0}")]
    Shape(#[from] serde_json::Error),
    /// No key in it can check a signature of ours.
    #[error("no RSA, P-256 or Ed25519 signing key in the set")]
    Empty,
}

/// An issuer's keys.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    public: Public,
}

#[derive(Debug, Clone)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// Members of other types and keys of other kinds are skipped, as RFC 7517 section 5 asks.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// The signing keys of a key set.
    pub fn parse(json: &[u8]) -> Result<Self, KeysError> {
        let set: Jwks = serde_json::from_slice(json)?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Jwk::key).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(Self(keys)) }
    }

    /// Whether a key for this header is here. A token without a key id may be signed by any of its kind.
    pub fn knows(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        self.0.iter().any(|key| key.fits(algorithm, id))
    }

    /// Whether `signature` over `message` is by one of the keys that fit.
    pub fn verify(&self, algorithm: Algorithm, id: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        self.0.iter().filter(|key| key.fits(algorithm, id)).any(|key| key.public.verify(message, signature))
    }
}

impl Jwk {
    fn key(self) -> Option<Key> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |value: Option<String>| URL_SAFE_NO_PAD.decode(value?).ok();
        let allows = |name| self.alg.as_deref().is_none_or(|alg| alg == name);
        let public = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) if allows("RS256") => Public::Rsa { n: bytes(self.n)?, e: bytes(self.e)? },
            ("EC", Some("P-256")) if allows("ES256") => {
                // SEC 1 section 2.3.3: an uncompressed point.
                let (x, y) = (bytes(self.x)?, bytes(self.y)?);
                (x.len() == 32 && y.len() == 32).then(|| Public::P256([&[4][..], &x, &y].concat()))?
            }
            ("OKP", Some("Ed25519")) if allows("EdDSA") => Public::Ed25519(bytes(self.x)?),
            _ => return None,
        };
        Some(Key { id: self.kid, public })
    }
}

impl Key {
    fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let kind = match self.public {
            Public::Rsa { .. } => Algorithm::Rs256,
            Public::P256(_) => Algorithm::Es256,
            Public::Ed25519(_) => Algorithm::EdDsa,
        };
        kind == algorithm && (id.is_none() || self.id.as_deref() == id)
    }
}

impl Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}
