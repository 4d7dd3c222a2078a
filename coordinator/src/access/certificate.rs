//! What a client certificate, already verified, says of its owner.

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Names in one certificate that are looked at.
const MAX_NAMES: usize = 64;

/// A verified client certificate, as far as access goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Common name, DNS names and URIs.
    pub names: Vec<String>,
    /// When it runs out, in s since the Unix epoch.
    pub not_after_s: i64,
}

impl PeerCertificate {
    /// Reads the names of a certificate whose signature and dates the TLS layer has checked; nothing where it does not
    /// parse.
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        let mut names: Vec<String> = common.map(str::to_owned).collect();
        if let Some(alternative) = certificate.subject_alternative_name().ok()? {
            names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
                _ => None,
            }));
        }
        names.truncate(MAX_NAMES);
        Some(Self { names, not_after_s: certificate.validity().not_after.timestamp() })
    }

    /// A name to call its owner by.
    pub fn name(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| "a certificate without names".to_owned())
    }
}
