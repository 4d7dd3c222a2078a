//! Which encapsulated fragments make up a frame (PS3.5 annex A.4).

use std::borrow::Cow;
use std::ops::Range;

use dicom_dictionary_std::tags;

use super::DecodeError;
use crate::scan::Scanned;

/// Bytes of an item header, which offsets count too.
const ITEM_HEADER_BYTES: u64 = 8;

/// The codestream of frame `index` (from 0) of `frames`, its fragments joined. `fragments` starts with the Basic
/// Offset Table.
pub(super) fn codestream<'a>(
    scanned: &'a Scanned<'_>,
    fragments: &[Range<usize>],
    index: usize,
    frames: usize,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    let bytes = scanned.bytes();
    let Some((table, data)) = fragments.split_first() else { return Err(DecodeError::NoPixelData) };
    let range = if frames == 1 {
        0..data.len()
    } else if data.len() == frames {
        // One each: by far the most common, and right also where the offset table is wrong.
        index..index + 1
    } else {
        let starts = starts_by_offsets(&offsets(scanned, table, frames), data)
            .or_else(|| starts_by_content(bytes, data))
            .filter(|starts| starts.len() == frames)
            .ok_or(DecodeError::Fragments { fragments: data.len(), frames })?;
        starts[index]..starts.get(index + 1).copied().unwrap_or(data.len())
    };
    match data.get(range).unwrap_or_default() {
        [] => Err(DecodeError::NoPixelData),
        [one] => Ok(Cow::Borrowed(&bytes[one.clone()])),
        several => Ok(Cow::Owned(several.iter().flat_map(|range| &bytes[range.clone()]).copied().collect())),
    }
}

/// Offsets of frames from the Extended Offset Table (7FE0,0001), else from the basic one.
fn offsets(scanned: &Scanned<'_>, table: &Range<usize>, frames: usize) -> Vec<u64> {
    let attributes = scanned.attributes();
    let extended = attributes.bytes(tags::EXTENDED_OFFSET_TABLE).unwrap_or_default();
    let (extended, _) = extended.as_chunks::<8>();
    if extended.len() == frames {
        return extended.iter().map(|offset| u64::from_le_bytes(*offset)).collect();
    }
    let (basic, _) = scanned.bytes()[table.clone()].as_chunks::<4>();
    basic.iter().map(|offset| u64::from(u32::from_le_bytes(*offset))).collect()
}

/// For each frame, the fragment that starts at its offset; nothing where one does not start at any.
fn starts_by_offsets(offsets: &[u64], data: &[Range<usize>]) -> Option<Vec<usize>> {
    let origin = data.first()?.start as u64;
    let start_of = |fragment: &Range<usize>| fragment.start as u64 - origin;
    // The first fragment's header is at offset 0, so that each header is where the fragment is, less the first.
    debug_assert!(origin >= ITEM_HEADER_BYTES);
    let starts: Option<Vec<usize>> =
        offsets.iter().map(|offset| data.binary_search_by_key(offset, start_of).ok()).collect();
    starts.filter(|starts| starts.is_sorted() && !starts.is_empty())
}

/// The fragments that begin as a codestream does (JPEG, JPEG-LS, JPEG 2000, JPEG XL).
fn starts_by_content(bytes: &[u8], data: &[Range<usize>]) -> Option<Vec<usize>> {
    let begins = |fragment: &Range<usize>| {
        matches!(
            bytes[fragment.clone()],
            [0xFF, 0xD8, 0xFF, ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] | [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'j' | b'J', ..]
        )
    };
    let starts: Vec<usize> = (0..data.len()).filter(|&fragment| begins(&data[fragment])).collect();
    (starts.first() == Some(&0)).then_some(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_name_the_fragments_that_frames_start_with() {
        let data = [108..120, 128..130, 138..150];
        assert_eq!(starts_by_offsets(&[0, 30], &data), Some(vec![0, 2]));
        assert_eq!(starts_by_offsets(&[0, 31], &data), None);
        assert_eq!(starts_by_offsets(&[], &data), None);
    }

    #[test]
    fn without_offsets_the_content_tells() {
        let bytes = b"\xFF\xD8\xFF\xC0..rest..\xFF\xD8\xFF\xC0";
        assert_eq!(starts_by_content(bytes, &[0..6, 6..12, 12..16]), Some(vec![0, 2]));
        assert_eq!(starts_by_content(bytes, &[6..12, 12..16]), None);
    }
}
