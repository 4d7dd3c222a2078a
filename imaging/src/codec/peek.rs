//! The size that a codestream states of itself, read without decoding.
//!
//! Callers compare it with Rows and Columns: a codestream of another size than its data set says
//! is either damaged or meant to make a decoder allocate.

use super::markers;
use super::{CodecError, jpegls};

/// Boxes or marker segments looked at before giving up; real files have a few dozen at most.
const MAX_SEGMENTS: usize = 4096;

/// The kinds of codestream that [`peek_dimensions`] knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JPEG of any process of ITU-T T.81, by the low four bits of its SOF marker.
    Jpeg {
        /// 0 baseline, 1 extended, 2 progressive, 3 lossless, above: differential or arithmetic.
        process: u8,
    },
    /// JPEG-LS.
    JpegLs,
    /// JPEG 2000, part 1 or high throughput, bare or in a JP2 file.
    Jpeg2000,
    /// JPEG XL, bare or in its container.
    JpegXl,
}

/// What a codestream says of its own form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimensions {
    /// The kind of codestream.
    pub kind: Kind,
    /// Columns.
    pub width: u32,
    /// Rows; 0 in a JPEG whose number of lines follows its first scan (DNL).
    pub height: u32,
    /// Components; `None` where it takes more than the first header to know.
    pub components: Option<u16>,
    /// Bits of the first component; `None` likewise.
    pub bits: Option<u8>,
}

/// Reads the size from the first header of a JPEG, JPEG-LS, JPEG 2000 or JPEG XL codestream.
///
/// # Errors
/// [`CodecError::NotCodestream`] for anything else; otherwise what is missing or damaged.
pub fn peek_dimensions(data: &[u8]) -> Result<Dimensions, CodecError> {
    match data {
        [0xff, markers::SOI, ..] => peek_jpeg(data),
        [0xff, 0x4f, 0xff, 0x51, ..] => peek_jpeg2000(data, 0),
        [0xff, 0x0a, ..] => peek_jpeg_xl(data, 2),
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => peek_jpeg2000(data, find_box(data, &[b"jp2c"])?.1),
        [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => {
            let (kind, at) = find_box(data, &[b"jxlc", b"jxlp"])?;
            // A partial codestream box begins with its number.
            let at = at + if &kind == b"jxlp" { 4 } else { 0 };
            match data.get(at..) {
                Some([0xff, 0x0a, ..]) => peek_jpeg_xl(data, at + 2),
                _ => Err(truncated("a JPEG XL container", at)),
            }
        }
        _ => Err(CodecError::not_codestream("JPEG, JPEG 2000 or JPEG XL", data)),
    }
}

fn truncated(what: &'static str, offset: usize) -> CodecError {
    CodecError::Truncated { what, offset }
}

/// Walks to the frame header (T.81 sect. B.2.2, T.87 sect. C.2.2).
fn peek_jpeg(data: &[u8]) -> Result<Dimensions, CodecError> {
    let mut at = 2;
    for _ in 0..MAX_SEGMENTS {
        let segment = markers::segment_at(data, at)?;
        at = segment.end;
        let kind = match segment.marker {
            jpegls::SOF55 => Kind::JpegLs,
            // DHT, JPG and DAC stand among the frame markers.
            0xc4 | 0xc8 | 0xcc => continue,
            marker @ 0xc0..=0xcf => Kind::Jpeg { process: marker & 0x0f },
            markers::SOS | markers::EOI => {
                return Err(CodecError::UnexpectedMarker {
                    marker: segment.marker,
                    expected: "a frame header",
                    offset: segment.offset,
                });
            }
            _ => continue,
        };
        return Ok(Dimensions {
            kind,
            width: segment.u16(3)?.into(),
            height: segment.u16(1)?.into(),
            components: Some(segment.u8(5)?.into()),
            bits: Some(segment.u8(0)?),
        });
    }
    Err(truncated("the headers of a JPEG", at))
}

/// Reads SIZ of the codestream at `start` (ITU-T T.800 sect. A.5.1).
fn peek_jpeg2000(data: &[u8], start: usize) -> Result<Dimensions, CodecError> {
    let siz = data.get(start..).unwrap_or_default();
    if !siz.starts_with(&[0xff, 0x4f, 0xff, 0x51]) {
        return Err(CodecError::not_codestream("JPEG 2000", siz));
    }
    let short = || truncated("the SIZ segment of a JPEG 2000 codestream", start);
    // Offsets from the start of the codestream: SOI and the marker, the length and Rsiz come first.
    let extent = |end: usize, origin: usize| {
        let (end, origin) = (u32_at(siz, end), u32_at(siz, origin));
        let (end, origin) = (end.ok_or_else(short)?, origin.ok_or_else(short)?);
        end.checked_sub(origin).ok_or(CodecError::BadValue {
            what: "JPEG 2000 image offset",
            value: origin.into(),
            offset: start,
        })
    };
    let components = match siz.get(40..42) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => return Err(short()),
    };
    let depth = siz.get(42).ok_or_else(short)?;
    Ok(Dimensions {
        kind: Kind::Jpeg2000,
        width: extent(8, 16)?,
        height: extent(12, 20)?,
        components: Some(components),
        bits: Some((depth & 0x7f) + 1),
    })
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Finds the first box of one of `kinds` and where its content begins (ISO/IEC 14496-12).
fn find_box(data: &[u8], kinds: &[&[u8; 4]]) -> Result<([u8; 4], usize), CodecError> {
    let mut at = 0;
    for _ in 0..MAX_SEGMENTS {
        let short = || truncated("the boxes of a container", at);
        let length = u32_at(data, at).ok_or_else(short)?;
        let kind: [u8; 4] = data.get(at + 4..at + 8).and_then(|kind| kind.try_into().ok()).ok_or_else(short)?;
        let header = if length == 1 { 16 } else { 8 };
        if kinds.contains(&&kind) {
            return Ok((kind, at + header));
        }
        // A box of 4 GiB or more, or one that runs to the end, has nothing behind it.
        if length < 8 {
            return Err(short());
        }
        at = at.checked_add(length as usize).ok_or_else(short)?;
    }
    Err(truncated("the boxes of a container", at))
}

/// Reads the size header whose bits begin at byte `at` (ISO/IEC 18181-1 sect. D.2).
fn peek_jpeg_xl(data: &[u8], at: usize) -> Result<Dimensions, CodecError> {
    // Both dimensions take at most 1 + 2 * (2 + 30) + 3 bits.
    let mut window = [0; 16];
    let header = data.get(at..).unwrap_or_default();
    let length = header.len().min(9);
    window[..length].copy_from_slice(&header[..length]);
    let mut bits = LowBits { window: u128::from_le_bytes(window), left: 8 * length as u32 };
    let size = bits.jpeg_xl_size();
    let (width, height) = size.ok_or_else(|| truncated("the size header of a JPEG XL", at))?;
    Ok(Dimensions { kind: Kind::JpegXl, width, height, components: None, bits: None })
}

/// Bits, least significant first.
struct LowBits {
    window: u128,
    left: u32,
}

impl LowBits {
    fn take(&mut self, bits: u32) -> Option<u32> {
        self.left = self.left.checked_sub(bits)?;
        let value = self.window & ((1 << bits) - 1);
        self.window >>= bits;
        // At most 30 bits are asked for.
        Some(value as u32)
    }

    /// One dimension, in the short form of eighths or the long one.
    fn dimension(&mut self, short: bool) -> Option<u32> {
        if short {
            return Some((self.take(5)? + 1) * 8);
        }
        let bits = [9, 13, 18, 30][self.take(2)? as usize];
        Some(self.take(bits)? + 1)
    }

    fn jpeg_xl_size(&mut self) -> Option<(u32, u32)> {
        let short = self.take(1)? == 1;
        let height = self.dimension(short)?;
        let width = match self.take(3)? {
            0 => self.dimension(short)?,
            ratio => {
                let (over, under) = [(1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)][ratio as usize - 1];
                u32::try_from(u64::from(height) * over / under).ok()?
            }
        };
        Some((width, height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(data: &[u8]) -> (Kind, u32, u32) {
        let found = peek_dimensions(data).unwrap();
        (found.kind, found.width, found.height)
    }

    #[test]
    fn jpeg_and_jpeg_ls_are_told_by_their_frame_marker() {
        let head = |sof| [0xff, 0xd8, 0xff, 0xc4, 0, 2, 0xff, sof, 0, 8, 12, 0, 9, 1, 0, 1];
        let extended = Kind::Jpeg { process: 1 };
        assert_eq!(size(&head(0xc1)), (extended, 256, 9));
        assert_eq!(size(&head(0xf7)), (Kind::JpegLs, 256, 9));
        assert!(peek_dimensions(&head(0xda)).is_err());
        assert!(peek_dimensions(&head(0xc1)[..15]).is_err());
    }

    #[test]
    fn the_origin_of_a_jpeg_2000_is_not_part_of_it() {
        let mut siz = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        for number in [70u32, 50, 6, 10, 70, 50, 0, 0] {
            siz.extend(number.to_be_bytes());
        }
        siz.extend([0, 1, 15, 1, 1]);
        assert_eq!(size(&siz), (Kind::Jpeg2000, 64, 40));
        assert_eq!(peek_dimensions(&siz).unwrap().bits, Some(16));
        let mut file = vec![0, 0, 0, 12, b'j', b'P', b' ', b' ', 13, 10, 0x87, 10];
        file.extend([0, 0, 0, 0]);
        file.extend(b"jp2c");
        file.extend(&siz);
        assert_eq!(size(&file), (Kind::Jpeg2000, 64, 40));
        assert!(peek_dimensions(&siz[..41]).is_err());
    }

    #[test]
    fn a_jpeg_xl_states_its_size_short_or_long() {
        // Short: 1, then height 8 as 00000, ratio 1:1 as 001.
        assert_eq!(size(&[0xff, 0x0a, 0b0100_0001, 0]), (Kind::JpegXl, 8, 8));
        // Long: 0, selector 0, height 100 as 99 in nine bits, ratio 4:3.
        let bits: u32 = 99 << 3 | 0b011 << 12;
        let mut data = vec![0xff, 0x0a];
        data.extend(bits.to_le_bytes());
        assert_eq!(size(&data), (Kind::JpegXl, 133, 100));
        assert!(peek_dimensions(&[0xff, 0x0a]).is_err());
    }

    #[test]
    fn anything_else_is_named() {
        let error = peek_dimensions(b"GIF89a").unwrap_err().to_string();
        assert!(error.contains("47, 49, 46, 38"), "{error}");
        assert!(peek_dimensions(&[]).is_err());
        assert!(peek_dimensions(&[0, 0, 0, 12, b'J', b'X', b'L', b' ']).is_err());
    }
}
