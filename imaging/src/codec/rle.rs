//! DICOM RLE (PS3.5 annex G): byte planes, each packed by runs.
//!
//! A frame is a header of sixteen 32-bit numbers (how many segments, and where they begin) and one
//! segment for each byte of each sample of a pixel, the most significant byte first.

use super::{CodecError, CodecFrame, Colour, Limits};

/// Bytes of the header.
const HEADER_BYTES: usize = 64;
/// Segments that the header has room for.
const MAX_SEGMENTS: usize = 15;
/// Most bytes that one byte of a segment stands for: two bytes repeat one 128 times.
const MAX_EXPANSION: u64 = 64;

/// The form of an RLE frame, which only the data set tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Samples per Pixel.
    pub samples_per_pixel: u8,
    /// Bits Allocated: 8, 16 or 32.
    pub bits_allocated: u8,
}

impl Shape {
    fn bytes_per_sample(&self) -> Result<usize, CodecError> {
        match self.bits_allocated {
            8 | 16 | 32 => Ok(usize::from(self.bits_allocated / 8)),
            other => Err(bad_shape("RLE bits allocated", other.into())),
        }
    }

    /// How many segments the header must name.
    fn segments(&self) -> Result<usize, CodecError> {
        let segments = usize::from(self.samples_per_pixel) * self.bytes_per_sample()?;
        if (1..=MAX_SEGMENTS).contains(&segments) {
            Ok(segments)
        } else {
            Err(bad_shape("RLE segments of a pixel", segments as u64))
        }
    }
}

/// Decodes a frame of 8 or 16 bits allocated.
///
/// # Errors
/// Names a header that does not fit the shape, a segment outside the frame or one that ends early.
/// 32 bits allocated do not fit the samples of a [`CodecFrame`]: use [`decode_bytes`].
pub fn decode(data: &[u8], shape: &Shape, limits: &Limits) -> Result<CodecFrame, CodecError> {
    if shape.bits_allocated == 32 {
        return Err(CodecError::Unsupported { what: "a 32-bit RLE frame as 16-bit samples", offset: 0 });
    }
    let bytes_per_sample = shape.bytes_per_sample()?;
    let samples_per_pixel = u64::from(shape.samples_per_pixel);
    limits.check(shape.width, shape.height, (2 + bytes_per_sample as u64) * samples_per_pixel)?;
    let bytes = decode_bytes(data, shape, limits)?;
    let samples = match bytes_per_sample {
        1 => bytes.iter().map(|&byte| u16::from(byte)).collect(),
        _ => bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
    };
    Ok(CodecFrame {
        width: shape.width,
        height: shape.height,
        components: shape.samples_per_pixel,
        bits: shape.bits_allocated,
        colour: match shape.samples_per_pixel {
            1 => Colour::Grey,
            _ => Colour::Unstated,
        },
        samples,
    })
}

/// Decodes a frame to the bytes it would have uncompressed: little endian, the samples of a pixel
/// side by side (Planar Configuration 0).
///
/// # Errors
/// As [`decode`].
pub fn decode_bytes(data: &[u8], shape: &Shape, limits: &Limits) -> Result<Vec<u8>, CodecError> {
    let bytes_per_sample = shape.bytes_per_sample()?;
    let stride = shape.segments()?;
    limits.check(shape.width, shape.height, stride as u64)?;
    let segments = read_header(data, stride)?;
    let pixels = u64::from(shape.width) * u64::from(shape.height);
    for segment in &segments {
        if pixels > segment.bytes.len() as u64 * MAX_EXPANSION {
            return Err(CodecError::Implausible {
                width: shape.width,
                height: shape.height,
                bytes: segment.bytes.len(),
            });
        }
    }
    // Within the limits, so that it fits a usize.
    let mut bytes = vec![0; pixels as usize * stride];
    if pixels == 0 {
        return Ok(bytes);
    }
    for (index, segment) in segments.iter().enumerate() {
        // Segments go from the most significant byte down; bytes in memory go up.
        let sample = index / bytes_per_sample;
        let byte = bytes_per_sample - 1 - index % bytes_per_sample;
        let place = sample * bytes_per_sample + byte;
        unpack(segment, &mut bytes[place..], stride)?;
    }
    Ok(bytes)
}

/// The packed bytes of one plane, and where in the frame they begin.
struct Segment<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// Cuts the frame into the `count` segments that its header names.
fn read_header(data: &[u8], count: usize) -> Result<Vec<Segment<'_>>, CodecError> {
    let header = data
        .first_chunk::<HEADER_BYTES>()
        .ok_or(CodecError::Truncated { what: "the RLE header", offset: data.len() })?;
    let mut numbers = header.chunks_exact(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let stated = numbers.next().unwrap_or(0);
    if u64::from(stated) != count as u64 {
        return Err(bad_shape("number of RLE segments", stated.into()));
    }
    let mut starts: Vec<usize> = numbers.take(count).map(|start| start as usize).collect();
    starts.push(data.len());
    let bounds = starts.windows(2).zip(1..);
    bounds
        .map(|(bound, number)| {
            let in_order = bound[0] >= HEADER_BYTES && bound[0] <= bound[1];
            let bytes = data.get(bound[0]..bound[1]).filter(|_| in_order);
            let bytes = bytes.ok_or(CodecError::BadValue {
                what: "RLE segment offset",
                value: bound[0] as u64,
                offset: number * 4,
            })?;
            Ok(Segment { bytes, offset: bound[0] })
        })
        .collect()
}

/// Unpacks one segment into every `stride`th byte of `bytes`.
///
/// Stops when the plane is full: what follows is padding, or an encoder that rounded up.
fn unpack(segment: &Segment<'_>, bytes: &mut [u8], stride: usize) -> Result<(), CodecError> {
    let truncated = |at: usize| CodecError::Truncated { what: "an RLE segment", offset: segment.offset + at };
    let packed = segment.bytes;
    let mut plane = bytes.iter_mut().step_by(stride);
    let mut left = plane.len();
    let mut at = 0;
    while left > 0 {
        let control = *packed.get(at).ok_or_else(|| truncated(at))?;
        at += 1;
        if control < 128 {
            let length = (usize::from(control) + 1).min(left);
            let run = packed.get(at..at + length).ok_or_else(|| truncated(at))?;
            for (to, &from) in plane.by_ref().take(length).zip(run) {
                *to = from;
            }
            at += length;
            left -= length;
        } else if control > 128 {
            let length = (257 - usize::from(control)).min(left);
            let value = *packed.get(at).ok_or_else(|| truncated(at))?;
            plane.by_ref().take(length).for_each(|to| *to = value);
            at += 1;
            left -= length;
        }
    }
    Ok(())
}

fn bad_shape(what: &'static str, value: u64) -> CodecError {
    CodecError::BadValue { what, value, offset: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_pixels: 1 << 20, max_bytes: 1 << 24 };

    fn shape(width: u32, height: u32, samples_per_pixel: u8, bits_allocated: u8) -> Shape {
        Shape { width, height, samples_per_pixel, bits_allocated }
    }

    /// A frame of the given segments.
    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut data = (segments.len() as u32).to_le_bytes().to_vec();
        let mut start = HEADER_BYTES as u32;
        for segment in segments {
            data.extend(start.to_le_bytes());
            start += segment.len() as u32;
        }
        data.resize(HEADER_BYTES, 0);
        data.extend(segments.concat());
        data
    }

    #[test]
    fn runs_literals_and_no_operations_are_unpacked() {
        let data = frame(&[&[128, 254, 7, 1, 8, 9, 0, 5]]);
        let frame = decode(&data, &shape(3, 2, 1, 8), &LIMITS).unwrap();
        assert_eq!(frame.samples, [7, 7, 7, 8, 9, 5]);
    }

    #[test]
    fn the_high_byte_comes_first() {
        let data = frame(&[&[1, 0x12, 0x34], &[1, 0x56, 0x78]]);
        let frame = decode(&data, &shape(2, 1, 1, 16), &LIMITS).unwrap();
        assert_eq!(frame.samples, [0x1256, 0x3478]);
    }

    #[test]
    fn colour_and_32_bits_come_as_uncompressed_bytes() {
        let data = frame(&[&[1, 1, 4], &[1, 2, 5], &[1, 3, 6]]);
        let rgb = decode_bytes(&data, &shape(2, 1, 3, 8), &LIMITS).unwrap();
        assert_eq!(rgb, [1, 2, 3, 4, 5, 6]);
        let data = frame(&[&[0, 1], &[0, 2], &[0, 3], &[0, 4]]);
        let deep = decode_bytes(&data, &shape(1, 1, 1, 32), &LIMITS).unwrap();
        assert_eq!(deep, [4, 3, 2, 1]);
        assert!(decode(&data, &shape(1, 1, 1, 32), &LIMITS).is_err());
    }

    #[test]
    fn a_run_past_the_plane_is_cut_and_padding_may_be_missing() {
        let data = frame(&[&[129, 9]]);
        let frame = decode(&data, &shape(2, 1, 1, 8), &LIMITS).unwrap();
        assert_eq!(frame.samples, [9, 9]);
    }

    #[test]
    fn headers_that_do_not_fit_are_errors() {
        let wanted = shape(2, 1, 1, 16);
        let good = frame(&[&[1, 1, 2], &[1, 3, 4]]);
        assert!(decode(&good, &wanted, &LIMITS).is_ok());
        let check = |data: &[u8], what: &str| {
            let error = decode(data, &wanted, &LIMITS).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        check(&good[..63], "RLE header");
        check(&[], "RLE header");
        let mut bad = good.clone();
        bad[0] = 3;
        check(&bad, "number of RLE segments is 3");
        let mut bad = good.clone();
        bad[4..8].copy_from_slice(&60u32.to_le_bytes());
        check(&bad, "RLE segment offset is 60 at byte 4");
        bad[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        check(&bad, "RLE segment offset is 4294967295");
        check(&good[..good.len() - 1], "an RLE segment");
    }

    #[test]
    fn a_large_claim_allocates_nothing() {
        let data = frame(&[&[0, 0], &[0, 0]]);
        let limits = Limits::default();
        let error = decode(&data, &shape(8000, 8000, 1, 16), &limits).unwrap_err();
        assert!(matches!(error, CodecError::Implausible { .. }));
        let error = decode(&data, &shape(65535, 65535, 1, 16), &limits).unwrap_err();
        assert!(matches!(error, CodecError::OverLimit { .. }));
        assert!(decode(&data, &shape(1, 1, 255, 32), &limits).is_err());
        assert!(decode(&data, &shape(1, 1, 1, 12), &limits).is_err());
    }

    #[test]
    fn an_empty_frame_is_an_empty_plane() {
        let data = frame(&[&[]]);
        let frame = decode(&data, &shape(0, 4, 1, 8), &LIMITS).unwrap();
        assert!(frame.samples.is_empty());
    }
}
