//! The file header (PS3.10 section 7.1), as it comes: with or without preamble, group length or transfer syntax.

use dicom_core::{Tag, VR};

use super::ScanError;
use super::walk::has_long_length;
use crate::syntax::{EXPLICIT_BIG, EXPLICIT_LITTLE, Encoding, IMPLICIT_LITTLE, TransferSyntax};

/// What the file header says, and where the data set starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) syntax: TransferSyntax,
    /// How the data set is really written, which a wrong header may misname.
    pub(crate) encoding: Encoding,
    pub(crate) dataset_offset: usize,
}

/// Reads the file header of `bytes`, or guesses what it would say.
pub(crate) fn read(bytes: &[u8]) -> Result<Meta, ScanError> {
    if bytes.is_empty() {
        return Err(ScanError::Empty);
    }
    let start = meta_start(bytes).ok_or_else(|| ScanError::NotDicom { first_bytes: quote(bytes) })?;
    let (named, dataset_offset) = meta_group(bytes, start)?;
    let rest = &bytes[dataset_offset..];
    if rest.is_empty() {
        return Err(ScanError::NoDataSet);
    }
    let guess = guess_encoding(rest);
    let syntax = named.unwrap_or_else(|| match guess {
        Some(Encoding::BIG) => TransferSyntax::new(EXPLICIT_BIG),
        Some(Encoding::EXPLICIT) => TransferSyntax::new(EXPLICIT_LITTLE),
        _ => TransferSyntax::new(IMPLICIT_LITTLE),
    });
    // Headers that name the wrong one of the uncompressed encodings are met; the bytes themselves are clear.
    let encoding = match guess {
        Some(guess) if !syntax.is_deflated() => guess,
        _ => syntax.encoding(),
    };
    Ok(Meta { syntax, encoding, dataset_offset })
}

/// Where the first element is; nothing where this is no DICOM object.
fn meta_start(bytes: &[u8]) -> Option<usize> {
    if bytes.get(128..132) == Some(b"DICM") {
        return Some(132);
    }
    if bytes.starts_with(b"DICM") {
        return Some(4);
    }
    let starts_with_meta =
        bytes.starts_with(&[2, 0]) && bytes.get(4..6).is_some_and(|vr| vr.iter().all(u8::is_ascii_uppercase));
    (starts_with_meta || guess_encoding(bytes).is_some()).then_some(0)
}

/// Walks group 0002, by its elements and not by its group length, which is often wrong. Gives the transfer syntax
/// and the offset of what follows.
fn meta_group(bytes: &[u8], start: usize) -> Result<(Option<TransferSyntax>, usize), ScanError> {
    let mut offset = start;
    let mut syntax = None;
    while bytes.get(offset..offset + 2) == Some(&[2, 0]) {
        let truncated = || ScanError::Truncated { offset: bytes.len(), inside: "the file header".to_owned() };
        let header = bytes.get(offset..offset + 8).ok_or_else(truncated)?;
        let tag = Tag(2, u16::from_le_bytes([header[2], header[3]]));
        let (length, header_length) = match VR::from_binary([header[4], header[5]]) {
            Some(vr) if has_long_length(vr) => {
                let length = bytes.get(offset + 8..offset + 12).ok_or_else(truncated)?;
                (u32::from_le_bytes([length[0], length[1], length[2], length[3]]), 12)
            }
            Some(_) => (u32::from(u16::from_le_bytes([header[6], header[7]])), 8),
            // Written in implicit VR, against the standard.
            None => (u32::from_le_bytes([header[4], header[5], header[6], header[7]]), 8),
        };
        let value = offset + header_length;
        let left = bytes.len() - value;
        if length as usize > left {
            return Err(ScanError::TooShortFor { tag, offset, claimed: u64::from(length), left });
        }
        let end = value + length as usize;
        if tag == Tag(2, 0x10) {
            let uid: String = bytes[value..end].iter().map(|&byte| char::from(byte)).collect();
            let uid = uid.trim_matches(['\0', ' ']);
            syntax = (!uid.is_empty()).then(|| TransferSyntax::new(uid));
        }
        offset = end;
    }
    Ok((syntax, offset))
}

/// How the data set at the start of `bytes` is written; nothing where it does not start like one.
///
/// A data set starts with a low, even group (identification, or a command's group 0000), which reads as a high one
/// in the other byte order; its explicit representation is two capital letters where an implicit length would be.
fn guess_encoding(bytes: &[u8]) -> Option<Encoding> {
    let header = bytes.first_chunk::<8>()?;
    let explicit = VR::from_binary([header[4], header[5]]).is_some();
    match [header[0], header[1]] {
        [4 | 8, 0] if explicit => Some(Encoding::EXPLICIT),
        [0, 4 | 8] if explicit => Some(Encoding::BIG),
        [4 | 8, 0] => {
            let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
            // No attribute that an object starts with is long.
            (length < 0x1_0000 || length == 0xFFFF_FFFF).then_some(Encoding::IMPLICIT)
        }
        _ => None,
    }
}

/// The first bytes for a message: as text where they are text.
fn quote(bytes: &[u8]) -> String {
    let first = &bytes[..bytes.len().min(16)];
    if first.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        format!("{:?}", String::from_utf8_lossy(first))
    } else {
        first.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELEMENT: &[u8] = b"\x08\x00\x16\x00UI\x04\x001.2\0";

    #[test]
    fn the_encoding_is_guessed_where_no_header_names_it() {
        for (bytes, syntax) in [
            (ELEMENT, EXPLICIT_LITTLE),
            (b"\0\x08\0\x16UI\0\x041.2\0", EXPLICIT_BIG),
            (b"\x08\0\x16\0\x04\0\0\x001.2\0", IMPLICIT_LITTLE),
        ] {
            let meta = read(bytes).unwrap();
            assert_eq!((meta.syntax.uid(), meta.dataset_offset), (syntax, 0));
        }
    }

    #[test]
    fn a_header_without_group_length_or_preamble_is_taken() {
        let mut bytes = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0".to_vec();
        bytes.extend_from_slice(ELEMENT);
        let meta = read(&bytes).unwrap();
        assert_eq!((meta.syntax.uid(), meta.dataset_offset), (EXPLICIT_LITTLE, 28));
    }

    #[test]
    fn what_is_not_dicom_is_said_to_be_so() {
        assert_eq!(read(b""), Err(ScanError::Empty));
        assert_eq!(
            read(b"hello, world, what is this?").unwrap_err().to_string(),
            "not a DICOM object: no DICM prefix, and it starts with \"hello, world, wh\""
        );
        assert!(matches!(read(b"\x89PNG\r\n\x1a\n1234"), Err(ScanError::NotDicom { .. })));
    }
}
