//! UIDs that follow from what they name.

use sha2::{Digest, Sha256};

use super::Modality;

/// The UID of a part of a phantom: 128 bits of a hash under 2.25, as UUIDs are written (PS3.5 section B.2).
pub(super) fn of(seed: u64, index: u64, modality: Modality, part: &str) -> String {
    let name = format!("prelim phantom/{seed}/{index}/{modality:?}/{part}");
    let hash = Sha256::digest(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    // The bits of a name-based UUID's version and variant, so that the UID is one.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}
