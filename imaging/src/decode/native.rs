//! Pixels that are not compressed (PS3.5 section 8.1 and annex D).

use std::ops::Range;

use super::DecodeError;
use super::colour;
use crate::codec::{CodecFrame, Colour};
use crate::frame::{Frame, Pixels};
use crate::pixels::{Photometric, PixelDescription, sample_value};

/// The order of bytes in native pixel data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    /// Least significant first.
    Little,
    /// Most significant first.
    Big,
    /// The same, of 16-bit words whatever the size of a sample (VR OW).
    BigWords,
}

/// Reads frame `index` (from 0) of the native Pixel Data `bytes`.
pub(super) fn decode(
    bytes: &[u8],
    index: usize,
    description: &PixelDescription,
    order: ByteOrder,
) -> Result<Frame, DecodeError> {
    let samples_per_frame = stored_samples(description);
    let raw = if description.bits_allocated == 1 {
        single_bits(bytes, index, samples_per_frame)
    } else {
        let width = description.bits_allocated as usize / 8;
        let length = samples_per_frame * width;
        let start = index.checked_mul(length);
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        range.and_then(|range| samples(bytes, range, width, order))
    };
    let raw = raw.ok_or_else(|| DecodeError::PixelDataTooShort {
        frame: index as u32 + 1,
        needed: ((index as u64 + 1) * samples_per_frame as u64 * u64::from(description.bits_allocated)).div_ceil(8),
        found: bytes.len() as u64,
    })?;
    from_samples(raw, description)
}

/// Samples that are stored of a frame: chroma of every second pixel is left out in YBR_FULL_422.
fn stored_samples(description: &PixelDescription) -> usize {
    match description.photometric {
        Photometric::YbrFull422 => description.rows as usize * (description.columns as usize).div_ceil(2) * 4,
        _ => description.pixels() * description.samples as usize,
    }
}

/// The frame that raw native samples make.
fn from_samples(raw: Vec<u32>, description: &PixelDescription) -> Result<Frame, DecodeError> {
    let (rows, columns) = (description.rows, description.columns);
    let pixels = match description.photometric {
        Photometric::Monochrome1 | Photometric::Monochrome2 | Photometric::PaletteColor => {
            let values: Option<Vec<i32>> =
                raw.into_iter().map(|raw| i32::try_from(description.value(raw)).ok()).collect();
            Pixels::Grey(values.ok_or(DecodeError::SampleTooLarge)?)
        }
        _ => Pixels::Rgb(colour::rgb(colour_samples(&raw, description), description)),
    };
    Ok(Frame { rows, columns, pixels })
}

/// The samples of colour pixels side by side. More than 16 bits are reduced to 16.
fn colour_samples(raw: &[u32], description: &PixelDescription) -> CodecFrame {
    let bits = description.bits_stored.min(16);
    let value =
        |raw: u32| (sample_value(raw, description.bits_stored, false) >> (description.bits_stored - bits)) as u16;
    let stored: Vec<u16> = raw.iter().map(|&raw| value(raw)).collect();
    let samples = if description.photometric == Photometric::YbrFull422 {
        colour::expand_422(&stored, description.columns as usize)
    } else if description.is_planar {
        colour::interleave(&stored)
    } else {
        stored
    };
    let (width, height) = (description.columns, description.rows);
    CodecFrame { width, height, components: 3, bits: bits as u8, colour: Colour::Unstated, samples }
}

/// The samples of `width` bytes in a range of `bytes`; nothing where it reaches past their end.
fn samples(bytes: &[u8], range: Range<usize>, width: usize, order: ByteOrder) -> Option<Vec<u32>> {
    if width == 1 && order == ByteOrder::BigWords {
        // PS3.5 annex A.3: in big endian, two 8-bit samples in a 16-bit word have changed places.
        return range.map(|at| bytes.get(at ^ 1).map(|&byte| u32::from(byte))).collect();
    }
    let bytes = bytes.get(range)?;
    Some(match (width, order) {
        (1, _) => bytes.iter().map(|&byte| u32::from(byte)).collect(),
        (2, ByteOrder::Little) => bytes.as_chunks().0.iter().map(|c| u32::from(u16::from_le_bytes(*c))).collect(),
        (2, _) => bytes.as_chunks().0.iter().map(|c| u32::from(u16::from_be_bytes(*c))).collect(),
        (_, ByteOrder::Little) => bytes.as_chunks().0.iter().map(|c| u32::from_le_bytes(*c)).collect(),
        (_, _) => bytes.as_chunks().0.iter().map(|c| u32::from_be_bytes(*c)).collect(),
    })
}

/// One-bit samples, the first in the lowest bit. Frames follow each other without padding, so that one may start
/// inside a byte (PS3.5 section 8.1.1).
fn single_bits(bytes: &[u8], index: usize, per_frame: usize) -> Option<Vec<u32>> {
    let start = index.checked_mul(per_frame)?;
    let end = start.checked_add(per_frame)?;
    if end > bytes.len().saturating_mul(8) {
        return None;
    }
    Some((start..end).map(|bit| sample_value(u32::from(bytes[bit / 8] >> (bit % 8)), 1, false) as u32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(bits_allocated: u32, bits_stored: u32, is_signed: bool) -> PixelDescription {
        PixelDescription {
            rows: 1,
            columns: 3,
            samples: 1,
            photometric: Photometric::Monochrome2,
            bits_allocated,
            bits_stored,
            high_bit: bits_stored - 1,
            is_signed,
            is_planar: false,
            frames: 2,
        }
    }

    fn grey(frame: Result<Frame, DecodeError>) -> Vec<i32> {
        match frame.unwrap().pixels {
            Pixels::Grey(values) => values,
            Pixels::Rgb(_) => panic!("colour"),
        }
    }

    #[test]
    fn each_depth_is_read_with_its_sign_and_order() {
        let check = |bytes: &[u8], order, description: &PixelDescription, index, expected: &[i32]| {
            assert_eq!(grey(decode(bytes, index, description, order)), expected);
        };
        check(
            &[0xFF, 0xFF, 0x00, 0xF8, 1, 0, 9, 9, 9, 9, 9, 9],
            ByteOrder::Little,
            &description(16, 12, true),
            0,
            &[-1, -2048, 1],
        );
        check(&[0, 1, 0xFF, 0xFE, 0, 3], ByteOrder::Big, &description(16, 16, true), 0, &[1, -2, 3]);
        check(&[2, 1, 4, 3, 6, 5], ByteOrder::BigWords, &description(8, 8, false), 1, &[4, 5, 6]);
        check(&[1, 2, 3, 4, 5, 255], ByteOrder::Little, &description(8, 8, false), 1, &[4, 5, 255]);
        check(&[0b0010_1101], ByteOrder::Little, &description(1, 1, false), 0, &[1, 0, 1]);
        check(&[0b0010_1101], ByteOrder::Little, &description(1, 1, false), 1, &[1, 0, 1]);
        check(
            &[1, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0],
            ByteOrder::Little,
            &description(32, 32, true),
            0,
            &[i32::MIN + 1, 0, 0],
        );
    }

    #[test]
    fn a_frame_that_is_not_there_is_an_error() {
        let error = decode(&[1, 2, 3, 4], 1, &description(8, 8, false), ByteOrder::Little).unwrap_err();
        assert_eq!(error.to_string(), "pixel data ends before frame 2: 6 bytes needed, 4 found");
        let large = decode(&[0xFF; 12], 0, &description(32, 32, false), ByteOrder::Little).unwrap_err();
        assert_eq!(large, DecodeError::SampleTooLarge);
    }
}
