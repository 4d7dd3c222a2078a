//! Certificates made on the spot.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// An authority, with a folder for what it signs.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, in PEM.
    pub pem: PathBuf,
}

/// A certificate and its key, in PEM.
pub struct Pair {
    /// The certificate.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Authority {
    /// An authority of that name, which writes below `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = folder.join("ca.pem");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(&pem, certificate.pem()).expect("a file can be written");
        Self { folder, issuer: Issuer::new(params, key), pem }
    }

    /// A server's certificate for this machine. It is written whole under the same names each time.
    pub fn server(&self) -> Pair {
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
        self.sign("server", params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate, by its common name, that lasts an hour.
    pub fn client(&self, name: &str) -> Pair {
        self.client_until(name, SystemTime::now() + Duration::from_secs(3_600))
    }

    /// A client's certificate that lasts until then.
    pub fn client_until(&self, name: &str, until: SystemTime) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = (until - Duration::from_secs(7_200)).into();
        params.not_after = until.into();
        self.sign(name, params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, file: &str, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Pair {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (cert, key_file) = (self.folder.join(format!("{file}.pem")), self.folder.join(format!("{file}.key")));
        std::fs::write(&cert, certificate.pem()).expect("a file can be written");
        std::fs::write(&key_file, key.serialize_pem()).expect("a file can be written");
        Pair { cert, key: key_file }
    }
}
