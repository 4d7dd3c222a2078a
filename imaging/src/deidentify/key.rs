//! The site's key, and all that follows from it: UIDs, pseudonyms and the days by which a patient's dates are moved.
//!
//! Each is an HMAC-SHA-256 (RFC 2104) of what it stands for. Who has no key can neither go back from it nor try whether a
//! guess is right; who has it can, so that no table has to be kept.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use prelim_proto::ids::Uid;
use sha2::Sha256;

/// Fewest bytes of a key.
const MIN_BYTES: usize = 32;
/// Different bytes of a key in a file, at least.
const MIN_DIFFERENT: usize = 6;
/// Most bytes of a key file that are read.
const MAX_BYTES: u64 = 4_096;
/// The root of the UIDs that the standard itself defines (PS3.6 annex A): classes, syntaxes, well-known instances.
const STANDARD: &str = "1.2.840.10008.";
/// Most days by which dates are moved.
const MAX_SHIFT_DAYS: u32 = 3_650;
/// Letters of pseudonyms: without those that are mistaken for digits, and without vowels, so that no words come out.
const LETTERS: &[u8; 32] = b"0123456789BCDFGHJKLMNPQRSTVWXYZ_";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("key file cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// Others may read it.
    #[error(
        "key file may be read by others (mode {mode:03o}); run chmod 600 on it, or mount it with mode 0400 or 0440"
    )]
    Open {
        /// Its permissions.
        mode: u32,
    },
    /// Too little to be secret.
    #[error("key of {found} bytes, which is less than {MIN_BYTES}; make one with `openssl rand -hex 32`")]
    Short {
        /// Its length without white space at its end.
        found: usize,
    },
    /// Too plain to be secret.
    #[error("key of {found} different bytes, which can be guessed; make one with `openssl rand -hex 32`")]
    Plain {
        /// Different bytes.
        found: usize,
    },
    /// Too much to be a key.
    #[error("key file of more than {MAX_BYTES} bytes; make one with `openssl rand -hex 32`")]
    Long,
}

/// The key of a site. The same key gives the same pseudonyms, always.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// The key in `secret`, of which white space at the end does not count: at least 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        let secret = secret.trim_ascii_end();
        if secret.len() < MIN_BYTES {
            return Err(KeyError::Short { found: secret.len() });
        }
        Hmac::new_from_slice(secret).map(Self).map_err(|_| KeyError::Short { found: secret.len() })
    }

    /// The key in a file that nobody may read but its owner and group.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        use std::io::Read as _;
        let opened = std::fs::File::open(file)?;
        check_mode(&opened.metadata()?)?;
        let mut secret = Vec::new();
        opened.take(MAX_BYTES + 1).read_to_end(&mut secret)?;
        if secret.len() as u64 > MAX_BYTES {
            return Err(KeyError::Long);
        }
        let key = Self::new(&secret)?;
        let found = secret.trim_ascii_end().iter().collect::<BTreeSet<_>>().len();
        // Of 64 random hexadecimal digits, fewer are there once in a million million keys.
        if found < MIN_DIFFERENT { Err(KeyError::Plain { found }) } else { Ok(key) }
    }

    /// What a UID becomes: one of the standard stays; any other becomes a UUID (version 8, RFC 9562 section 5.8) under 2.25
    /// (PS3.5 section B.2).
    pub fn uid(&self, uid: &str) -> String {
        let uid = uid.trim_matches(['\0', ' ']);
        if uid.is_empty() || uid.starts_with(STANDARD) {
            return uid.to_owned();
        }
        let code = self.code("uid", uid);
        let mut uuid: [u8; 16] = std::array::from_fn(|at| code[at]);
        uuid[6] = (uuid[6] & 0x0F) | 0x80;
        uuid[8] = (uuid[8] & 0x3F) | 0x80;
        format!("2.25.{}", u128::from_be_bytes(uuid))
    }

    /// [`Key::uid`] of a checked UID.
    pub fn map(&self, uid: &Uid) -> Uid {
        // 2.25. and 39 digits at most are a UID; what of the standard stays was one.
        Uid::parse(&self.uid(uid.as_str())).unwrap_or_else(|_| uid.clone())
    }

    /// The pseudonym of a Patient ID: 16 characters, which every text takes that it may stand in.
    pub fn patient(&self, id: &str) -> String {
        self.pseudonym("patient", id)
    }

    /// The pseudonym of an Accession Number, of 16 characters, which is all that it may have.
    pub fn accession(&self, number: &str) -> String {
        self.pseudonym("accession", number)
    }

    /// By how many days the dates of a patient are moved back: from 1 to ten years, the same for all of one patient.
    pub fn shift_days(&self, patient: &str) -> u32 {
        let code = self.code("shift", patient.trim());
        u32::from_be_bytes([code[0], code[1], code[2], code[3]]) % MAX_SHIFT_DAYS + 1
    }

    fn pseudonym(&self, of: &str, value: &str) -> String {
        let value = value.trim_matches(['\0', ' ']);
        if value.is_empty() {
            return String::new();
        }
        self.code(of, value)[..16].iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
    }

    /// What is made for one purpose says nothing of what is made for another.
    fn code(&self, of: &str, value: &str) -> [u8; 32] {
        let mac = self.0.clone().chain_update("prelim 1 ").chain_update(of).chain_update([0]).chain_update(value);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(unix)]
fn check_mode(file: &std::fs::Metadata) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.permissions().mode() & 0o777;
    if mode & 0o007 == 0 && mode & 0o020 == 0 { Ok(()) } else { Err(KeyError::Open { mode }) }
}

#[cfg(not(unix))]
fn check_mode(_: &std::fs::Metadata) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(format!("{text:0>64}\n").as_bytes()).unwrap()
    }

    #[test]
    fn what_follows_from_a_key_stays_for_ever() {
        // Sets that were made once and ones that are made years later must fit together. Values by Python's hmac.
        let key = key("1");
        assert_eq!(key.uid("1.2.3"), "2.25.171828250780545086427419490241713682873");
        assert_eq!(key.patient("4711"), "910MDXN1GPQ3KHJT");
        assert_eq!(key.accession("4711"), "RK5YHX90GFNL6_MG");
        assert_eq!(key.shift_days("4711"), 1133);
    }

    #[test]
    fn uids_are_mapped_one_to_one_and_those_of_the_standard_stay() {
        let (one, other) = (key("1"), key("2"));
        assert_eq!(one.uid("1.2.3\0"), one.uid("1.2.3"));
        assert_ne!(one.uid("1.2.3"), one.uid("1.2.4"));
        assert_ne!(one.uid("1.2.3"), other.uid("1.2.3"));
        assert_eq!(one.uid("1.2.840.10008.5.1.4.1.1.2"), "1.2.840.10008.5.1.4.1.1.2");
        assert!(one.uid("1.2.840.100089").starts_with("2.25."));
        assert_eq!(one.uid(" "), "");
        for number in 0..1_000 {
            let mapped = one.uid(&format!("1.2.{number}"));
            assert!(Uid::parse(&mapped).is_ok() && mapped.len() <= 64, "{mapped}");
        }
    }

    #[test]
    fn pseudonyms_fit_where_they_go_and_are_told_apart() {
        let key = key("1");
        assert_eq!(key.patient(" 4711 "), key.patient("4711"));
        assert_ne!(key.patient("4711"), key.accession("4711"));
        assert_eq!((key.patient("4711").len(), key.patient("").len()), (16, 0));
        assert!((1..500).map(|n| key.shift_days(&n.to_string())).all(|days| (1..=3_650).contains(&days)));
    }

    #[test]
    fn keys_that_are_short_long_plain_or_open_to_others_are_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        assert!(matches!(Key::new(&[b'a'; 31]), Err(KeyError::Short { found: 31 })));
        assert!(matches!(Key::new(b" \n"), Err(KeyError::Short { found: 0 })));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"0123456789abcdef0123456789abcdef\n").unwrap();
        let read = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            Key::read(file.path())
        };
        for mode in [0o600, 0o400, 0o440, 0o640] {
            assert!(read(mode).is_ok(), "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o660, 0o666] {
            assert!(matches!(read(mode), Err(KeyError::Open { .. })), "{mode:o}");
        }
        std::fs::write(file.path(), [b'k'; 5_000]).unwrap();
        assert!(matches!(read(0o600), Err(KeyError::Long)));
        std::fs::write(file.path(), [b'k'; 32]).unwrap();
        assert!(matches!(read(0o600), Err(KeyError::Plain { found: 1 })));
        assert!(!format!("{:?}", key("1")).contains('0'));
    }
}
