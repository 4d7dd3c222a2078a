//! Connections to a coordinator: TCP, and TLS where the address says so. Certificates and keys are read anew for each, so
//! that a worker outlives its certificates.

use std::error::Error;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::AsyncBufReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};
use tokio_util::either::Either;
use tonic::codegen::http::Uri;
use tower::Service;

use super::{ConnectionArgs, ConnectionError};

/// How long a server may keep silent before it is spoken to.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// Why there is no connection, in words that say what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers.
    #[error("no coordinator answers at {address}: {problem}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        problem: String,
    },
    /// A file of ours cannot be used.
    #[error("{flag} {file}: {problem}")]
    File {
        /// The flag that named it.
        flag: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The coordinator's certificate does not count.
    #[error("the certificate of {address} {problem}")]
    Certificate {
        /// Where.
        address: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Something else about TLS.
    #[error("TLS with {address}: {problem}")]
    Tls {
        /// Where.
        address: String,
        /// What is wrong, and what to do where that is known.
        problem: String,
    },
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    host: String,
    port: u16,
    address: String,
    tls: Option<Arc<Files>>,
}

struct Files {
    name: ServerName<'static>,
    ca: Option<PathBuf>,
    pair: Option<(PathBuf, PathBuf)>,
}

impl Connector {
    pub(super) fn new(args: &ConnectionArgs, uri: &Uri) -> Result<Self, ConnectionError> {
        let malformed = || ConnectionError::Malformed { address: args.grpc.clone() };
        let host = uri.host().ok_or_else(malformed)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = if is_tls {
            let name = ServerName::try_from(host.clone()).map_err(|_| malformed())?;
            let pair = args.cert.clone().zip(args.key.clone());
            Some(Arc::new(Files { name, ca: args.ca.clone(), pair }))
        } else {
            None
        };
        Ok(Self { host, port, address: args.grpc.clone(), tls })
    }

    async fn connect(self) -> Result<TokioIo<Either<TcpStream, TlsStream<TcpStream>>>, ConnectError> {
        let unreachable =
            |error: io::Error| ConnectError::Unreachable { address: self.address.clone(), problem: error.to_string() };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        // Small messages go out at once; a socket that refuses that still works.
        let _ = stream.set_nodelay(true);
        let Some(files) = &self.tls else { return Ok(TokioIo::new(Either::Left(stream))) };
        let connector = TlsConnector::from(Arc::new(files.config(&self.address)?));
        let connected = connector.connect(files.name.clone(), stream).await;
        let in_words = |error: io::Error| ConnectError::of_handshake(&error, &self.address);
        let mut stream = connected.map_err(in_words)?;
        // With TLS 1.3 the coordinator looks at a client's certificate after the client's part is done. Its first word
        // (HTTP/2 SETTINGS, or an alert) tells; it stays to be read. A server that waits to be spoken to costs a moment.
        if let Ok(first) = tokio::time::timeout(FIRST_WORD, stream.fill_buf()).await
            && first.map_err(in_words)?.is_empty()
        {
            let problem = "the coordinator ended the connection".to_owned();
            return Err(ConnectError::Tls { address: self.address.clone(), problem });
        }
        Ok(TokioIo::new(Either::Right(stream)))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Either<TcpStream, TlsStream<TcpStream>>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

impl Files {
    fn config(&self, address: &str) -> Result<ClientConfig, ConnectError> {
        let wrong =
            |error: rustls::Error| ConnectError::Tls { address: address.to_owned(), problem: error.to_string() };
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(file) => {
                for authority in certificates("--ca", file)? {
                    roots.add(authority).map_err(|error| unusable("--ca", file, error.to_string()))?;
                }
            }
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_root_certificates(roots);
        let mut config = match &self.pair {
            None => builder.with_no_client_auth(),
            Some((cert, key_file)) => {
                let key = PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|error| unusable("--key", key_file, in_words(&error)))?;
                builder
                    .with_client_auth_cert(certificates("--cert", cert)?, key)
                    .map_err(|error| unusable("--cert", cert, error.to_string()))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(flag: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let wrong = |error: pem::Error| unusable(flag, file, in_words(&error));
    let found: Vec<_> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    if found.is_empty() { Err(unusable(flag, file, "no certificate in it".to_owned())) } else { Ok(found) }
}

fn unusable(flag: &'static str, file: &Path, problem: String) -> ConnectError {
    ConnectError::File { flag, file: file.to_owned(), problem }
}

fn in_words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "nothing in PEM of that kind in it".to_owned(),
        other => other.to_string(),
    }
}

impl ConnectError {
    /// The error that a transport error came of.
    pub(super) fn found_in(error: &(dyn Error + 'static), address: &str) -> Self {
        let mut cause = Some(error);
        while let Some(found) = cause {
            if let Some(found) = found.downcast_ref::<Self>() {
                return found.clone();
            }
            cause = found.source();
        }
        let problem = explain(error).map_or_else(|| last(error), str::to_owned);
        Self::Unreachable { address: address.to_owned(), problem }
    }

    fn of_handshake(error: &io::Error, address: &str) -> Self {
        let address = address.to_owned();
        let found = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let certificate = |problem: &str| Self::Certificate { address: address.clone(), problem: problem.to_owned() };
        match found {
            Some(rustls::Error::InvalidCertificate(problem)) => match problem {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    certificate("is not signed by an authority known here: name its authority with --ca FILE")
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    certificate("has expired: have it renewed")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    certificate("is not valid yet: are the clocks right?")
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    certificate("is for another name: give --grpc the name in it")
                }
                other => certificate(&format!("does not count: {other}")),
            },
            Some(rustls::Error::InvalidMessage(_)) => {
                Self::Tls { address, problem: "what answers there speaks no TLS; use http://".to_owned() }
            }
            _ => {
                let problem = explain(error).map_or_else(|| error.to_string(), str::to_owned);
                Self::Tls { address, problem }
            }
        }
    }
}

/// What to do about an alert of the coordinator's TLS, where there is one among the causes. It may come in answer to a call.
pub fn explain(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(found) = cause {
        let text = found.to_string();
        if let Some((_, alert)) = text.split_once("received fatal alert: ") {
            let alert = alert.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            return Some(match alert {
                "CertificateRequired" | "HandshakeFailure" => {
                    "the coordinator asks for a client certificate: give --cert and --key"
                }
                "UnknownCA" | "DecryptError" => {
                    "the coordinator does not know the authority of the client certificate in --cert"
                }
                "CertificateExpired" => "the client certificate in --cert has expired: have it renewed",
                "BadCertificate" | "UnsupportedCertificate" | "CertificateUnknown" | "CertificateRevoked" => {
                    "the coordinator does not take the client certificate in --cert: it must be valid and for client use"
                }
                _ => "the coordinator ended the TLS connection",
            });
        }
        cause = found.source();
    }
    None
}

/// The last cause of an error, which says the most.
fn last(error: &(dyn Error + 'static)) -> String {
    let mut found = error;
    while let Some(cause) = found.source() {
        found = cause;
    }
    found.to_string()
}
