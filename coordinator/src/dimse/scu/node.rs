//! Who is asked: an application entity, where it is, and how it is reached.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_rustls::rustls::ClientConfig;

use super::tls;
use crate::dimse::title::{AE_TITLE, is_ae_title};

/// The port of DICOM over TLS (PS3.8 section 9.1.1).
const TLS_PORT: u16 = 2_762;
/// The port of DICOM.
const PORT: u16 = 104;

/// How long we wait for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// For the connection and TLS.
    pub connect: Duration,
    /// For the answer to an association request.
    pub answer: Duration,
    /// For the answer to a message: a PACS that stores on tape takes its time.
    pub idle: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(30), idle: Duration::from_secs(60) }
    }
}

/// Files of TLS, where others than the system's authorities count, or the peer wants a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Authorities that may have signed the peer's certificate, as PEM; the system's where not given.
    pub ca: Option<PathBuf>,
    /// Our certificate, as PEM.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// An application entity that we call.
#[derive(Clone)]
pub struct Node {
    /// Its title.
    pub called: String,
    /// Our title.
    pub calling: String,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How TLS is spoken with it, where it is.
    pub tls: Option<Arc<ClientConfig>>,
    /// How long we wait for it.
    pub times: Times,
    /// Longest PDU that we take from it, in bytes.
    pub max_pdu_bytes: u32,
}

impl Node {
    /// The entity at `dicom://TITLE@HOST:PORT`, or `dicoms://` for TLS.
    ///
    /// # Errors
    /// A sentence that names what was found.
    pub fn parse(url: &str, calling: &str, files: &TlsFiles) -> Result<Self, String> {
        let usage = "give dicom://TITLE@HOST:PORT, or dicoms:// for TLS";
        let (is_tls, rest) = match (url.strip_prefix("dicom://"), url.strip_prefix("dicoms://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(format!("{url:?} is no DICOM address: {usage}")),
        };
        let (title, place) = rest.split_once('@').ok_or_else(|| format!("{url:?} names no title: {usage}"))?;
        let title = title.replace("%20", " ");
        if !is_ae_title(&title) {
            return Err(format!("{title:?} in {url:?} is no application entity title: {AE_TITLE}"));
        }
        let place = place.trim_end_matches('/');
        // An IPv6 address stands in brackets, and has colons of its own.
        let (host, port) = match place.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => {
                let number = port.parse().ok().filter(|port| *port != 0);
                (host, number.ok_or_else(|| format!("{port:?} in {url:?} is no port: {usage}"))?)
            }
            None => (place, if is_tls { TLS_PORT } else { PORT }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(format!("{url:?} names no host: {usage}"));
        }
        if !is_tls && *files != TlsFiles::default() {
            return Err(format!("{url:?} is not encrypted, and has files for TLS: {usage}"));
        }
        let tls = if is_tls { Some(Arc::new(tls::client(files)?)) } else { None };
        Ok(Self {
            called: title.trim().to_owned(),
            calling: calling.to_owned(),
            host: host.to_owned(),
            port,
            tls,
            times: Times::default(),
            max_pdu_bytes: 131_072,
        })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "dicoms" } else { "dicom" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{}@{host}:{}", self.called, self.port)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (url, told) in [
            ("dicom://PACS@10.0.0.5:11112", "dicom://PACS@10.0.0.5:11112"),
            ("dicom://PACS@pacs.example", "dicom://PACS@pacs.example:104"),
            ("dicom://MY%20PACS@[fd00::5]:104/", "dicom://MY PACS@[fd00::5]:104"),
            ("dicom://PACS@[fd00::5]", "dicom://PACS@[fd00::5]:104"),
        ] {
            assert_eq!(Node::parse(url, "PRELIM", &TlsFiles::default()).unwrap().to_string(), told);
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (url, named) in [
            ("http://PACS@host", "no DICOM address"),
            ("dicom://host:104", "no title"),
            ("dicom://A TITLE THAT IS TOO LONG@host", "no application entity title"),
            ("dicom://PACS@host:0", "no port"),
            ("dicom://PACS@host:x", "no port"),
            ("dicom://PACS@:104", "no host"),
        ] {
            let problem = Node::parse(url, "PRELIM", &TlsFiles::default()).unwrap_err();
            assert!(problem.contains(named), "{url}: {problem}");
        }
        let files = TlsFiles { ca: Some("ca.pem".into()), ..TlsFiles::default() };
        assert!(Node::parse("dicom://PACS@host", "PRELIM", &files).unwrap_err().contains("not encrypted"));
        assert!(Node::parse("dicoms://PACS@host", "PRELIM", &files).unwrap_err().contains("ca.pem"));
    }
}
