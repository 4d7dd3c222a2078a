//! The settings of the DICOM listener.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::address;
use crate::dimse::title::{AE_TITLE, is_ae_title};

/// How DICOM is listened to.
#[derive(Debug, Clone, Args)]
pub struct DicomConfig {
    /// Address for DICOM: C-ECHO and C-STORE from modalities, a PACS or a router. Not served where not given.
    #[arg(long, value_name = "ADDR", env = "PRELIM_DICOM", value_parser = address)]
    pub dicom: Option<SocketAddr>,
    /// Our application entity title. Associations that call another are rejected.
    #[arg(long, value_name = "TITLE", default_value = "PRELIM", env = "PRELIM_AET")]
    pub aet: String,
    /// File in TOML that says who may call: tables [[peer]] with aet, addresses (10.1.0.0/16, …) and tenant. Without it
    /// everybody may who knows our title.
    #[arg(long, value_name = "FILE", env = "PRELIM_DICOM_PEERS")]
    pub dicom_peers: Option<PathBuf>,
    /// Serve DICOM over TLS, with --tls-cert, --tls-key and --client-ca.
    #[arg(long, env = "PRELIM_DICOM_TLS")]
    pub dicom_tls: bool,
    /// Associations at once; more are rejected for the moment.
    #[arg(long, value_name = "N", default_value_t = 256, env = "PRELIM_DICOM_ASSOCIATIONS")]
    pub dicom_associations: usize,
    /// Longest PDU taken, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 131_072, env = "PRELIM_DICOM_PDU_BYTES")]
    pub dicom_pdu_bytes: u32,
    /// Memory for objects that are being received, over all associations, in MiB. Objects that find no room are answered
    /// with A700 and can be sent again.
    #[arg(long, value_name = "MIB", default_value_t = 1_024, env = "PRELIM_DICOM_MEMORY_MIB")]
    pub dicom_memory_mib: usize,
    /// How long an association may be silent, in s; a PDU that has begun must be whole within the same time.
    #[arg(long, value_name = "S", default_value_t = 60, env = "PRELIM_DICOM_IDLE_S")]
    pub dicom_idle_s: u64,
}

impl Default for DicomConfig {
    fn default() -> Self {
        Self {
            dicom: None,
            aet: "PRELIM".to_owned(),
            dicom_peers: None,
            dicom_tls: false,
            dicom_associations: 256,
            dicom_pdu_bytes: 131_072,
            dicom_memory_mib: 1_024,
            dicom_idle_s: 60,
        }
    }
}

impl DicomConfig {
    /// Every problem, in words; `has_tls` says whether there is a certificate to serve TLS with.
    pub fn validate(&self, has_tls: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        need(is_ae_title(&self.aet), format!("--aet {:?} is no application entity title: {AE_TITLE}", self.aet));
        need(!self.dicom_tls || has_tls, "--dicom-tls needs --tls-cert and --tls-key".to_owned());
        need(
            (1..=2_000).contains(&self.dicom_associations),
            "--dicom-associations is not between 1 and 2,000".to_owned(),
        );
        need(
            (4_096..=1 << 20).contains(&self.dicom_pdu_bytes),
            "--dicom-pdu-bytes is not between 4,096 and 1,048,576".to_owned(),
        );
        need(
            (64..=1 << 20).contains(&self.dicom_memory_mib),
            "--dicom-memory-mib is not between 64 and 1,048,576".to_owned(),
        );
        need((1..=3_600).contains(&self.dicom_idle_s), "--dicom-idle-s is not between 1 and 3,600".to_owned());
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told() {
        assert_eq!(DicomConfig::default().validate(false), Vec::<String>::new());
        let wrong = DicomConfig {
            aet: "A TITLE THAT IS TOO LONG".to_owned(),
            dicom_tls: true,
            dicom_associations: 0,
            dicom_pdu_bytes: 1,
            dicom_memory_mib: 1,
            dicom_idle_s: 0,
            ..DicomConfig::default()
        };
        assert_eq!(wrong.validate(false).len(), 6, "{:?}", wrong.validate(false));
    }
}
