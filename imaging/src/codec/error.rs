//! Why a codestream was not decoded. Every variant names what was found, and where.

use thiserror::Error;

/// Why a codestream was not decoded. Offsets are bytes from the start of the codestream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The bytes do not begin as a codestream of this kind does.
    #[error("no {codec} codestream: it begins with {found:02x?}")]
    NotCodestream {
        /// The kind that was asked for.
        codec: &'static str,
        /// Up to four first bytes.
        found: Vec<u8>,
    },
    /// The bytes end inside something.
    #[error("codestream ends inside {what} (byte {offset})")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where reading stopped.
        offset: usize,
    },
    /// A marker that may not stand where it stands.
    #[error("marker ff{marker:02x} at byte {offset} where {expected} belongs")]
    UnexpectedMarker {
        /// The second byte of the marker.
        marker: u8,
        /// What should have stood there.
        expected: &'static str,
        /// Where it stands.
        offset: usize,
    },
    /// A header field outside what the standard allows.
    #[error("{what} is {value} at byte {offset}")]
    BadValue {
        /// The field.
        what: &'static str,
        /// What it says.
        value: u64,
        /// The start of the segment that holds it.
        offset: usize,
    },
    /// Coded data that no encoder writes.
    #[error("corrupt {what} near byte {offset}")]
    Corrupt {
        /// What was being decoded.
        what: &'static str,
        /// Near where; decoders read a few bytes ahead.
        offset: usize,
    },
    /// Well formed, and not decoded here.
    #[error("{what} (byte {offset}) is not supported")]
    Unsupported {
        /// The feature, by name.
        what: &'static str,
        /// Where it was asked for.
        offset: usize,
    },
    /// More than the caller's [`Limits`](super::Limits) allow.
    #[error("{what} of {needed} is over the limit of {limit}")]
    OverLimit {
        /// What is limited, with its unit.
        what: &'static str,
        /// What the header asks for.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// A header that claims more picture than its bytes can code.
    #[error("{width} x {height} pixels claimed by {bytes} bytes")]
    Implausible {
        /// Columns claimed.
        width: u32,
        /// Rows claimed.
        height: u32,
        /// Bytes of the codestream.
        bytes: usize,
    },
}

impl CodecError {
    /// The error for bytes that do not begin as `codec` does.
    pub(crate) fn not_codestream(codec: &'static str, data: &[u8]) -> Self {
        Self::NotCodestream { codec, found: data.iter().take(4).copied().collect() }
    }
}
