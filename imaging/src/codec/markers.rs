//! The marker segments that JPEG and JPEG-LS share (ITU-T T.81 annex B, T.87 annex C).

use super::CodecError;

/// Start of image.
pub(crate) const SOI: u8 = 0xd8;
/// End of image.
pub(crate) const EOI: u8 = 0xd9;
/// Start of scan.
pub(crate) const SOS: u8 = 0xda;
/// Define restart interval.
pub(crate) const DRI: u8 = 0xdd;
/// First of the eight restart markers.
pub(crate) const RST0: u8 = 0xd0;
/// Application segment 8: HP's colour transform in JPEG-LS, SPIFF headers.
pub(crate) const APP8: u8 = 0xe8;
/// Application segment 14: Adobe's colour transform flag in JPEG.
pub(crate) const APP14: u8 = 0xee;

/// One marker and, where it has one, its segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'a> {
    /// The second byte of the marker.
    pub marker: u8,
    /// Where the marker's `ff` stands.
    pub offset: usize,
    /// What follows the length field; empty for a marker that stands alone.
    pub payload: &'a [u8],
    /// Where the next marker, or coded data, begins.
    pub end: usize,
}

impl Segment<'_> {
    /// Byte `index` of the payload.
    pub(crate) fn u8(&self, index: usize) -> Result<u8, CodecError> {
        self.payload.get(index).copied().ok_or_else(|| self.short())
    }

    /// The big-endian 16 bits at `index` of the payload.
    pub(crate) fn u16(&self, index: usize) -> Result<u16, CodecError> {
        Ok(u16::from_be_bytes([self.u8(index)?, self.u8(index + 1)?]))
    }

    /// The error for a segment that is shorter than its own fields.
    pub(crate) fn short(&self) -> CodecError {
        CodecError::Truncated { what: "a marker segment", offset: self.offset }
    }

    /// The error for a field of this segment.
    pub(crate) fn bad(&self, what: &'static str, value: impl Into<u64>) -> CodecError {
        CodecError::BadValue { what, value: value.into(), offset: self.offset }
    }

    /// The error for something this segment asks for that is not decoded here.
    pub(crate) fn unsupported(&self, what: &'static str) -> CodecError {
        CodecError::Unsupported { what, offset: self.offset }
    }
}

/// Checks the start-of-image marker and returns where the first segment begins.
pub(crate) fn after_soi(codec: &'static str, data: &[u8]) -> Result<usize, CodecError> {
    if data.starts_with(&[0xff, SOI]) { Ok(2) } else { Err(CodecError::not_codestream(codec, data)) }
}

/// Reads the marker at `offset`, skipping fill bytes (T.81 B.1.1.2).
pub(crate) fn segment_at(data: &[u8], offset: usize) -> Result<Segment<'_>, CodecError> {
    let truncated = CodecError::Truncated { what: "the marker segments", offset };
    let mut at = offset;
    let first = *data.get(at).ok_or_else(|| truncated.clone())?;
    if first != 0xff {
        return Err(CodecError::Corrupt { what: "marker segments", offset });
    }
    while data.get(at + 1) == Some(&0xff) {
        at += 1;
    }
    let marker = *data.get(at + 1).ok_or_else(|| truncated.clone())?;
    if stands_alone(marker) {
        return Ok(Segment { marker, offset: at, payload: &[], end: at + 2 });
    }
    let length = match data.get(at + 2..at + 4) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => return Err(truncated),
    };
    let end = at + 2 + length;
    let payload = data.get(at + 4..end).ok_or(truncated)?;
    Ok(Segment { marker, offset: at, payload, end })
}

/// Whether a marker has no segment behind it.
fn stands_alone(marker: u8) -> bool {
    matches!(marker, 0x00 | 0x01 | RST0..=EOI)
}

/// Where the first marker at or after `offset` stands, past stuffed coded data.
///
/// `stuffing` tells whether the byte after an `ff` belongs to the coded data: a zero in JPEG, a
/// byte below 0x80 in JPEG-LS.
pub(crate) fn find_marker(data: &[u8], offset: usize, stuffing: fn(u8) -> bool) -> Option<usize> {
    let tail = data.get(offset..)?;
    tail.windows(2)
        .position(|pair| pair[0] == 0xff && pair[1] != 0xff && !stuffing(pair[1]))
        .map(|index| offset + index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_bytes_before_a_marker_are_skipped() {
        let segment = segment_at(&[0xff, 0xff, 0xff, SOS, 0, 3, 7], 0).unwrap();
        assert_eq!((segment.marker, segment.offset, segment.end), (SOS, 2, 7));
        assert_eq!(segment.payload, [7]);
    }

    #[test]
    fn a_length_below_two_or_past_the_end_is_an_error() {
        assert!(segment_at(&[0xff, SOS, 0, 1, 9, 9], 0).is_err());
        assert!(segment_at(&[0xff, SOS, 0xff, 0xff, 9, 9], 0).is_err());
        assert!(segment_at(&[0xff], 0).is_err());
        assert!(segment_at(&[], 0).is_err());
    }

    #[test]
    fn stuffed_bytes_are_not_markers() {
        let data = [0xff, 0x00, 0xff, 0x7f, 0xff, 0xff, EOI];
        assert_eq!(find_marker(&data, 0, |byte| byte == 0), Some(2));
        assert_eq!(find_marker(&data, 0, |byte| byte < 0x80), Some(5));
    }
}
