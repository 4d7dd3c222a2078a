//! Who may call: application entity titles, the addresses that they call from, and whose studies they send.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use prelim_proto::ids::Tenant;
use serde::Deserialize;

use crate::dimse::title::{AE_TITLE, is_ae_title};

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    peer: Vec<WrittenPeer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPeer {
    aet: String,
    #[serde(default)]
    addresses: Vec<String>,
    tenant: Option<String>,
}

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    /// Everybody.
    Any,
    /// These, the first that fits.
    Listed(Vec<Peer>),
}

/// One who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its title; `*` for any.
    aet: String,
    /// Where it calls from; from anywhere where empty.
    addresses: Vec<IpNet>,
    /// Whose studies it sends.
    tenant: Tenant,
}

/// Why somebody may not call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stranger {
    /// No peer has this title.
    #[error("no peer has this title")]
    Title,
    /// The title is known, and calls from elsewhere.
    #[error("the peer with this title does not call from this address")]
    Address,
}

impl Peers {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence with the file's name: it cannot be read, or says something else.
    pub fn open(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self::Any) };
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("--dicom-peers {name}: {error}"))?;
        Self::parse(&text).map_err(|problem| format!("--dicom-peers {name}: {problem}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        if written.peer.is_empty() {
            return Err("no [[peer]] in it: nobody could call".to_owned());
        }
        written.peer.into_iter().map(Peer::read).collect::<Result<_, _>>().map(Self::Listed)
    }

    /// Whose studies somebody sends who calls himself `aet` and calls from `from`.
    pub(super) fn tenant_of(&self, aet: &str, from: Option<IpAddr>) -> Result<Tenant, Stranger> {
        let Self::Listed(peers) = self else { return Ok(Tenant::default()) };
        let mut stranger = Stranger::Title;
        for peer in peers.iter().filter(|peer| peer.aet == "*" || peer.aet == aet) {
            // An IPv4 caller on a socket of both kinds has an address of IPv6.
            let from = from.map(|from| from.to_canonical());
            if peer.addresses.is_empty()
                || from.is_some_and(|from| peer.addresses.iter().any(|net| net.contains(&from)))
            {
                return Ok(peer.tenant.clone());
            }
            stranger = Stranger::Address;
        }
        Err(stranger)
    }
}

impl Peer {
    fn read(written: WrittenPeer) -> Result<Self, String> {
        let WrittenPeer { aet, addresses, tenant } = written;
        if aet != "*" && !is_ae_title(&aet) {
            return Err(format!("aet {aet:?} is no application entity title: {AE_TITLE}"));
        }
        let net = |text: &String| {
            let one = text.parse::<IpAddr>().map(IpNet::from);
            one.or_else(|_| text.parse())
                .map_err(|_| format!("{aet}: {text:?} is no address and no network (10.1.0.0/16)"))
        };
        let addresses = addresses.iter().map(net).collect::<Result<_, _>>()?;
        let tenant = match tenant {
            Some(name) => Tenant::parse(&name).map_err(|error| format!("{aet}: tenant {name:?}: {error}"))?,
            None => Tenant::default(),
        };
        Ok(Self { aet: aet.trim().to_owned(), addresses, tenant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[peer]]
        aet = "CT1"
        addresses = ["10.1.0.0/16", "fd00::7"]
        tenant = "west"

        [[peer]]
        aet = "CT1"
        addresses = ["192.168.7.7"]

        [[peer]]
        aet = "*"
        addresses = ["127.0.0.1"]
    "#;

    #[test]
    fn a_caller_is_known_by_title_and_address() {
        let peers = Peers::parse(FILE).unwrap();
        let west = Tenant::parse("west").unwrap();
        for (aet, from, expected) in [
            ("CT1", "10.1.2.3", Ok(west.clone())),
            ("CT1", "::ffff:10.1.2.3", Ok(west.clone())),
            ("CT1", "fd00::7", Ok(west)),
            ("CT1", "192.168.7.7", Ok(Tenant::default())),
            ("CT1", "10.2.0.1", Err(Stranger::Address)),
            ("MR1", "10.1.2.3", Err(Stranger::Address)),
            ("MR1", "127.0.0.1", Ok(Tenant::default())),
        ] {
            assert_eq!(peers.tenant_of(aet, Some(from.parse().unwrap())), expected, "{aet} {from}");
        }
        let only = Peers::parse("[[peer]]\naet = \"CT1\"").unwrap();
        assert_eq!(only.tenant_of("CT2", None), Err(Stranger::Title));
        assert_eq!(Peers::Any.tenant_of("WHO", None), Ok(Tenant::default()));
    }

    #[test]
    fn what_is_wrong_with_the_file_is_named() {
        for (text, named) in [
            ("", "[[peer]]"),
            ("[[peer]]\naet = \"CT1\"\nadress = []", "adress"),
            ("[[peer]]\naet = \"A TITLE THAT IS TOO LONG\"", "16"),
            ("[[peer]]\naet = \"CT1\"\naddresses = [\"10.1.0.0/77\"]", "10.1.0.0/77"),
            ("[[peer]]\naet = \"CT1\"\ntenant = \"\"", "tenant"),
        ] {
            let problem = Peers::parse(text).unwrap_err();
            assert!(problem.contains(named), "{problem}");
        }
    }
}
