//! The way to a coordinator: address, TLS, and who one is. For workers, and for the client commands.
//!
//! # Layout
//! - [`ConnectionArgs`]: the settings; [`Wire`]: a channel that carries credentials
//! - `tls`: connections made, with files read anew each time; [`explain`]: why there is none, in words
//! - `token`: bearer tokens
//!
//! **Invariant**: a token never travels in the open, except to this machine.

mod tls;
mod token;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use tonic::codegen::http::Uri;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

pub use tls::{ConnectError, explain};
pub use token::Credentials;

use tls::Connector;

/// A channel that carries credentials.
pub type Wire = InterceptedService<Channel, Credentials>;

/// Where the coordinator is, and what to show it.
#[derive(Debug, Clone, Args)]
pub struct ConnectionArgs {
    /// Address of the coordinator's gRPC port: HOST:PORT, or a URL with http or https.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070", env = "PRELIM_GRPC")]
    pub grpc: String,
    /// Authorities in PEM that sign the coordinator's certificate; those of this system where not given.
    #[arg(long, value_name = "FILE", env = "PRELIM_CA")]
    pub ca: Option<PathBuf>,
    /// Client certificate chain to show, in PEM. It is read again for each connection.
    #[arg(long, value_name = "FILE", env = "PRELIM_CERT")]
    pub cert: Option<PathBuf>,
    /// Private key of --cert, in PEM.
    #[arg(long, value_name = "FILE", env = "PRELIM_KEY")]
    pub key: Option<PathBuf>,
    /// File with a token to show. It is read again when it changes.
    #[arg(long, value_name = "FILE", env = "PRELIM_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// A token to show. Better by its variable: a command line is seen by others.
    #[arg(long, value_name = "TOKEN", env = "PRELIM_TOKEN", hide_env_values = true)]
    pub token: Option<Secret>,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Settings that make no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The address does not parse.
    #[error("{address:?} is not an address; use HOST:PORT, for example 127.0.0.1:7070, or https://HOST:PORT")]
    Malformed {
        /// What was given.
        address: String,
    },
    /// It asks for a protocol that is not spoken.
    #[error("{address:?} asks for {scheme}; use http, https, or HOST:PORT")]
    Scheme {
        /// What was given.
        address: String,
        /// What is before its `://`.
        scheme: String,
    },
    /// Settings that contradict each other.
    #[error("{}", .0.join("; "))]
    Settings(Vec<String>),
    /// The connection itself.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl ConnectionArgs {
    /// An address and nothing else.
    pub fn to(address: &str) -> Self {
        Self { grpc: address.to_owned(), ca: None, cert: None, key: None, token_file: None, token: None }
    }

    /// Every problem of the settings, in words.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.cert.is_some() != self.key.is_some() {
            problems.push("--cert and --key go together".to_owned());
        }
        match self.uri() {
            Err(error) => problems.push(error.to_string()),
            Ok(uri) if uri.scheme_str() == Some("http") => {
                if self.ca.is_some() || self.cert.is_some() {
                    problems.push("--ca, --cert and --key are for https, and the address says http".to_owned());
                }
                if (self.token.is_some() || self.token_file.is_some()) && !is_local(uri.host().unwrap_or_default()) {
                    problems.push("a token must not travel in the open: use https://".to_owned());
                }
            }
            Ok(_) => {}
        }
        problems
    }

    /// A channel that connects when first used, and again after a loss.
    ///
    /// # Errors
    /// Settings that make no connection; whether anybody answers shows later.
    pub fn lazy(&self, tune: impl FnOnce(Endpoint) -> Endpoint) -> Result<Wire, ConnectionError> {
        let (endpoint, connector, credentials) = self.parts()?;
        let channel = tune(endpoint).connect_with_connector_lazy(connector);
        Ok(InterceptedService::new(channel, credentials))
    }

    /// A channel, once somebody answered.
    pub async fn connect(&self) -> Result<Wire, ConnectionError> {
        let (endpoint, connector, credentials) = self.parts()?;
        let connected = endpoint.connect_with_connector(connector).await;
        let channel = connected.map_err(|error| ConnectError::found_in(&error, &self.grpc))?;
        Ok(InterceptedService::new(channel, credentials))
    }

    fn parts(&self) -> Result<(Endpoint, Connector, Credentials), ConnectionError> {
        let uri = self.uri()?;
        let problems = self.validate();
        if !problems.is_empty() {
            return Err(ConnectionError::Settings(problems));
        }
        let connector = Connector::new(self, &uri)?;
        let credentials = Credentials::new(self.token.clone(), self.token_file.clone());
        // TLS is the connector's. To tonic the connection is a plain one: where anything in the program has turned tonic's
        // own TLS on, it takes no https that it does not do itself.
        let plain: Uri = format!("http://{}", uri.authority().map_or("", |authority| authority.as_str()))
            .parse()
            .map_err(|_| ConnectionError::Malformed { address: self.grpc.clone() })?;
        Ok((Endpoint::from(plain).origin(uri), connector, credentials))
    }

    /// The address as a URL. An address without a scheme means https where files for TLS are named.
    fn uri(&self) -> Result<Uri, ConnectionError> {
        let address = self.grpc.trim();
        let malformed = || ConnectionError::Malformed { address: address.to_owned() };
        let url = match address.split_once("://") {
            Some((scheme, _)) if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) => {
                return Err(ConnectionError::Scheme { address: address.to_owned(), scheme: scheme.to_owned() });
            }
            Some(_) => address.to_owned(),
            None if self.ca.is_some() || self.cert.is_some() => format!("https://{address}"),
            None => format!("http://{address}"),
        };
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        if uri.host().is_none_or(str::is_empty) { Err(malformed()) } else { Ok(uri) }
    }
}

fn is_local(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ca(address: &str) -> ConnectionArgs {
        ConnectionArgs { ca: Some("ca.pem".into()), ..ConnectionArgs::to(address) }
    }

    fn with_token(address: &str) -> ConnectionArgs {
        ConnectionArgs { token: Some(Secret("abc".into())), ..ConnectionArgs::to(address) }
    }

    #[test]
    fn an_address_is_a_host_and_a_port_or_a_url() {
        for (args, expected) in [
            (ConnectionArgs::to("127.0.0.1:7070"), "http://127.0.0.1:7070/"),
            (ConnectionArgs::to("HTTP://host:7070"), "http://host:7070/"),
            (ConnectionArgs::to("https://host"), "https://host/"),
            (with_ca("host:7070"), "https://host:7070/"),
        ] {
            assert_eq!(args.uri().unwrap().to_string(), expected);
            assert_eq!(args.validate(), Vec::<String>::new());
        }
        for (address, problem) in
            [("unix://host", "asks for unix"), ("a b", "is not an address"), ("", "is not an address")]
        {
            assert!(ConnectionArgs::to(address).uri().unwrap_err().to_string().contains(problem), "{address:?}");
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_told() {
        for (args, problem) in [
            (with_ca("http://host:7070"), "the address says http"),
            (with_token("host:7070"), "in the open"),
            (with_token("http://host:7070"), "in the open"),
            (ConnectionArgs { cert: Some("c".into()), ..ConnectionArgs::to("https://host") }, "go together"),
        ] {
            let problems = args.validate();
            assert!(problems.len() == 1 && problems[0].contains(problem), "{problems:?}");
        }
        for address in ["127.0.0.1:7070", "localhost:7070", "http://[::1]:7070", "https://host:7070"] {
            assert_eq!(with_token(address).validate(), Vec::<String>::new(), "{address}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let shown = format!("{:?}", with_token("https://host"));
        assert!(shown.contains("(secret)") && !shown.contains("abc"), "{shown}");
    }
}
