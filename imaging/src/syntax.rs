//! Transfer syntaxes (PS3.5 section 10): how the data set is written, and how its pixels are compressed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Implicit VR Little Endian, the default of the network.
pub const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
/// Explicit VR Big Endian (retired, and met).
pub const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";

/// How the elements of a data set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Value representations are left out and come from the dictionary.
    pub implicit: bool,
    /// Numbers have their most significant byte first.
    pub big_endian: bool,
}

impl Encoding {
    /// Implicit VR Little Endian.
    pub const IMPLICIT: Self = Self { implicit: true, big_endian: false };
    /// Explicit VR Little Endian.
    pub const EXPLICIT: Self = Self { implicit: false, big_endian: false };
    /// Explicit VR Big Endian.
    pub const BIG: Self = Self { implicit: false, big_endian: true };
}

/// How pixels are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    Native,
    /// RLE Lossless (PS3.5 annex G).
    Rle,
    /// JPEG in any of its processes (ISO 10918-1): the codestream says which.
    Jpeg,
    /// JPEG-LS, lossless and near-lossless (ISO 14495-1).
    JpegLs,
    /// JPEG 2000 part 1 or 15 (High-Throughput).
    Jpeg2000,
    /// JPEG XL (ISO 18181).
    JpegXl,
    /// Each frame deflated on its own (Deflated Image Frame Compression).
    DeflatedFrame,
    /// Something that no decoder here reads.
    Unknown,
}

/// A transfer syntax, as the object names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferSyntax {
    uid: String,
}

impl TransferSyntax {
    /// The transfer syntax with the given identifier.
    pub fn new(uid: &str) -> Self {
        Self { uid: uid.to_owned() }
    }

    /// The identifier.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// How the data set is written. Everything not listed here is Explicit VR Little Endian by PS3.5 annex A.4.
    pub fn encoding(&self) -> Encoding {
        match self.uid.as_str() {
            IMPLICIT_LITTLE => Encoding::IMPLICIT,
            EXPLICIT_BIG => Encoding::BIG,
            _ => Encoding::EXPLICIT,
        }
    }

    /// Whether the whole data set is deflated (PS3.5 annex A.5).
    pub fn is_deflated(&self) -> bool {
        matches!(self.uid.as_str(), "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.4.95" | "1.2.840.10008.1.2.4.205")
    }

    /// How the pixels are compressed.
    pub fn compression(&self) -> Compression {
        let Some(tail) = self.uid.strip_prefix("1.2.840.10008.1.2") else { return Compression::Unknown };
        match tail {
            "" | ".1" | ".2" | ".1.98" | ".1.99" => Compression::Native,
            ".5" => Compression::Rle,
            ".4.50" | ".4.51" | ".4.52" | ".4.53" | ".4.54" | ".4.55" | ".4.56" | ".4.57" | ".4.70" => {
                Compression::Jpeg
            }
            ".4.80" | ".4.81" => Compression::JpegLs,
            ".4.90" | ".4.91" | ".4.92" | ".4.93" | ".4.201" | ".4.202" | ".4.203" => Compression::Jpeg2000,
            ".4.110" | ".4.111" | ".4.112" => Compression::JpegXl,
            ".8.1" => Compression::DeflatedFrame,
            _ => Compression::Unknown,
        }
    }

    /// The name in words, where it is known (PS3.6 annex A).
    pub fn name(&self) -> Option<&'static str> {
        let tail = self.uid.strip_prefix("1.2.840.10008.1.2")?;
        NAMES.iter().find(|(known, _)| *known == tail).map(|(_, name)| *name)
    }
}

impl fmt::Display for TransferSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.uid),
            None => f.write_str(&self.uid),
        }
    }
}

/// Tails of the identifiers under 1.2.840.10008.1.2, with their names.
const NAMES: &[(&str, &str)] = &[
    ("", "Implicit VR Little Endian"),
    (".1", "Explicit VR Little Endian"),
    (".1.98", "Encapsulated Uncompressed Explicit VR Little Endian"),
    (".1.99", "Deflated Explicit VR Little Endian"),
    (".2", "Explicit VR Big Endian"),
    (".4.50", "JPEG Baseline"),
    (".4.51", "JPEG Extended"),
    (".4.53", "JPEG Spectral Selection, Non-Hierarchical"),
    (".4.55", "JPEG Full Progression, Non-Hierarchical"),
    (".4.57", "JPEG Lossless"),
    (".4.70", "JPEG Lossless, First-Order Prediction"),
    (".4.80", "JPEG-LS Lossless"),
    (".4.81", "JPEG-LS Near-Lossless"),
    (".4.90", "JPEG 2000 Lossless"),
    (".4.91", "JPEG 2000"),
    (".4.92", "JPEG 2000 Part 2 Lossless"),
    (".4.93", "JPEG 2000 Part 2"),
    (".4.94", "JPIP Referenced"),
    (".4.95", "JPIP Referenced Deflate"),
    (".4.100", "MPEG2 Main Profile / Main Level"),
    (".4.101", "MPEG2 Main Profile / High Level"),
    (".4.102", "MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    (".4.103", "MPEG-4 AVC/H.264 BD-compatible"),
    (".4.104", "MPEG-4 AVC/H.264 for 2D Video"),
    (".4.105", "MPEG-4 AVC/H.264 for 3D Video"),
    (".4.106", "MPEG-4 AVC/H.264 Stereo"),
    (".4.107", "HEVC/H.265 Main Profile"),
    (".4.108", "HEVC/H.265 Main 10 Profile"),
    (".4.110", "JPEG XL Lossless"),
    (".4.111", "JPEG XL JPEG Recompression"),
    (".4.112", "JPEG XL"),
    (".4.201", "High-Throughput JPEG 2000 Lossless"),
    (".4.202", "High-Throughput JPEG 2000 Lossless RPCL"),
    (".4.203", "High-Throughput JPEG 2000"),
    (".4.204", "JPIP HTJ2K Referenced"),
    (".4.205", "JPIP HTJ2K Referenced Deflate"),
    (".5", "RLE Lossless"),
    (".7.1", "SMPTE ST 2110-20 Uncompressed Progressive Active Video"),
    (".7.2", "SMPTE ST 2110-20 Uncompressed Interlaced Active Video"),
    (".8.1", "Deflated Image Frame Compression"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_can_name_the_syntax() {
        assert_eq!(
            TransferSyntax::new("1.2.840.10008.1.2.4.100").to_string(),
            "1.2.840.10008.1.2.4.100 (MPEG2 Main Profile / Main Level)"
        );
        assert_eq!(TransferSyntax::new("1.2.3").to_string(), "1.2.3");
        assert_eq!(TransferSyntax::new("1.2.840.10008.1.2.4.100").compression(), Compression::Unknown);
    }
}
