//! TLS as the coordinator serves it: certificate, key and authorities from files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::access::SecurityConfig;
use crate::watched::Watched;

/// Files that TLS cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or holds no PEM of the kind wanted.
    #[error("{flag} {file}: {source}")]
    File {
        /// The flag that named it.
        flag: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A file without certificates.
    #[error("{flag} {file}: no certificate in it")]
    Empty {
        /// The flag that named it.
        flag: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// Certificate and key do not go together, or are of a kind that is not served.
    #[error("--tls-cert and --tls-key: {0}")]
    Pair(tokio_rustls::rustls::Error),
    /// The authorities.
    #[error("--client-ca: {0}")]
    Authorities(#[from] VerifierBuilderError),
}

/// TLS as it is to be served to the next connection.
pub(crate) type ServerTls = Arc<Watched<ServerConfig, TlsError>>;

/// What TLS is served with for the protocol of that name (RFC 7301); nothing where no certificate is set.
pub(crate) fn open(config: &SecurityConfig, protocol: &'static [u8]) -> Result<Option<ServerTls>, TlsError> {
    let (Some(cert), Some(key)) = (config.tls_cert.clone(), config.tls_key.clone()) else { return Ok(None) };
    let authorities = config.client_ca.clone();
    // Who may bring a token instead needs no certificate.
    let optional = config.oidc_issuer.is_some();
    let files = [Some(cert.clone()), Some(key.clone()), authorities.clone()].into_iter().flatten().collect();
    let read = move || read(&cert, &key, authorities.as_deref(), optional, protocol);
    Ok(Some(Arc::new(Watched::open("TLS certificates", files, read)?)))
}

fn read(
    cert: &Path,
    key: &Path,
    authorities: Option<&Path>,
    optional: bool,
    protocol: &[u8],
) -> Result<ServerConfig, TlsError> {
    let chain = certificates("--tls-cert", cert)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File {
        flag: "--tls-key",
        file: key.to_owned(),
        source,
    })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates("--client-ca", file)? {
                roots.add(authority).map_err(TlsError::Pair)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    // A resumed session would bring back a certificate without looking at its dates, or at its authority, again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn certificates(flag: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File { flag, file: file.to_owned(), source };
    let found = CertificateDer::pem_file_iter(file).map_err(wrong)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if found.is_empty() { Err(TlsError::Empty { flag, file: file.to_owned() }) } else { Ok(found) }
}
