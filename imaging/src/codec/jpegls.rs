//! JPEG-LS, lossless and near-lossless (ISO/IEC 14495-1, ITU-T T.87).
//!
//! Decodes 2 to 16 bits, up to four components, every interleave mode, preset parameters and
//! restart intervals. Samples come as they were coded. Refused by name: mapping tables, point
//! transforms, subsampled components, HP's colour transforms and the part 2 extensions, none of
//! which DICOM allows or any modality writes.

mod bits;
mod model;
mod params;
mod scan;

use super::markers::{self, Segment};
use super::{CodecError, CodecFrame, Colour, Limits};
use params::{Params, Preset};
use scan::{Interleave, Scan};

/// Start of a JPEG-LS frame.
pub(crate) const SOF55: u8 = 0xf7;
/// JPEG-LS preset parameters.
const LSE: u8 = 0xf8;
/// Components that a scan can hold (T.81 sect. B.2.3).
const MAX_COMPONENTS: u8 = 4;

/// The frame header (SOF55).
#[derive(Debug, Clone, Copy)]
struct Frame {
    width: u32,
    height: u32,
    bits: u8,
    components: u8,
    /// Component identifiers, in the order of a pixel.
    ids: [u8; MAX_COMPONENTS as usize],
}

/// The scan header (SOS).
struct ScanHeader {
    /// Places in a pixel of the scan's components.
    components: Vec<usize>,
    near: u8,
    interleave: Interleave,
}

/// Decodes one JPEG-LS codestream: one frame.
///
/// # Errors
/// Names the marker or field that stands in the way, or the limit it goes over. Missing samples
/// are an error: a film that is half grey would not look like one.
pub fn decode(data: &[u8], limits: &Limits) -> Result<CodecFrame, CodecError> {
    let mut at = markers::after_soi("JPEG-LS", data)?;
    let mut preset = Preset::default();
    let mut restart_lines = 0;
    let mut frame: Option<Frame> = None;
    let mut samples = Vec::new();
    let mut seen = [false; MAX_COMPONENTS as usize];
    loop {
        let segment = markers::segment_at(data, at)?;
        at = segment.end;
        match segment.marker {
            SOF55 if frame.is_none() => {
                let header = parse_frame(&segment)?;
                check_size(&header, data.len(), limits)?;
                frame = Some(header);
            }
            LSE => preset = Preset::parse(&segment)?,
            markers::DRI => restart_lines = parse_restart_interval(&segment)?,
            markers::APP8 => refuse_colour_transform(&segment)?,
            0xe0..=0xef | 0xfe => {}
            markers::SOS => {
                let frame = frame.as_ref().ok_or_else(|| unexpected(&segment))?;
                let header = parse_scan(&segment, frame, &mut seen)?;
                let samples_per_pixel = usize::from(frame.components);
                if samples.is_empty() {
                    // `check_size` has found this many samples within the limits.
                    let pixels = frame.width as usize * frame.height as usize;
                    samples = vec![0; pixels * samples_per_pixel];
                }
                let scan = Scan {
                    params: Params::new(&preset, frame.bits, header.near, segment.offset)?,
                    interleave: header.interleave,
                    components: &header.components,
                    restart_lines,
                    width: frame.width as usize,
                    pixel_stride: samples_per_pixel,
                };
                at = scan.decode(data, segment.end, &mut samples)?;
                if seen[..samples_per_pixel].iter().all(|&seen| seen) {
                    return Ok(finish(frame, samples));
                }
            }
            markers::EOI => {
                return Err(CodecError::Truncated { what: "the scans of a JPEG-LS frame", offset: segment.offset });
            }
            _ => return Err(unexpected(&segment)),
        }
    }
}

fn finish(frame: &Frame, samples: Vec<u16>) -> CodecFrame {
    CodecFrame {
        width: frame.width,
        height: frame.height,
        components: frame.components,
        bits: frame.bits,
        colour: match frame.components {
            1 => Colour::Grey,
            _ => Colour::Unstated,
        },
        samples,
    }
}

/// Reads SOF55 (T.87 sect. C.2.2).
fn parse_frame(segment: &Segment<'_>) -> Result<Frame, CodecError> {
    let bits = segment.u8(0)?;
    let height = u32::from(segment.u16(1)?);
    let width = u32::from(segment.u16(3)?);
    let components = segment.u8(5)?;
    if !(2..=16).contains(&bits) {
        return Err(segment.bad("JPEG-LS sample precision", bits));
    }
    if height == 0 {
        return Err(segment.unsupported("a JPEG-LS frame without its number of lines"));
    }
    if width == 0 {
        return Err(segment.bad("JPEG-LS width", width));
    }
    if !(1..=MAX_COMPONENTS).contains(&components) {
        return Err(segment.bad("JPEG-LS number of components", components));
    }
    let mut ids = [0; MAX_COMPONENTS as usize];
    let mut first_sampling = None;
    for index in 0..usize::from(components) {
        ids[index] = segment.u8(6 + 3 * index)?;
        if ids[..index].contains(&ids[index]) {
            return Err(segment.bad("repeated JPEG-LS component", ids[index]));
        }
        let sampling = segment.u8(7 + 3 * index)?;
        if *first_sampling.get_or_insert(sampling) != sampling {
            return Err(segment.unsupported("a subsampled JPEG-LS component"));
        }
    }
    Ok(Frame { width, height, bits, components, ids })
}

/// Refuses a frame over the limits, or of more lines than its bits: each line takes one or more.
fn check_size(frame: &Frame, bytes: usize, limits: &Limits) -> Result<(), CodecError> {
    let sample_bytes = 2 * u64::from(frame.components);
    limits.check(frame.width, frame.height, sample_bytes)?;
    if u64::from(frame.height) > bytes as u64 * 8 {
        return Err(CodecError::Implausible { width: frame.width, height: frame.height, bytes });
    }
    Ok(())
}

/// Reads SOS (T.87 sect. C.2.3) and marks its components as seen.
fn parse_scan(
    segment: &Segment<'_>,
    frame: &Frame,
    seen: &mut [bool; MAX_COMPONENTS as usize],
) -> Result<ScanHeader, CodecError> {
    let count = segment.u8(0)?;
    if count == 0 || count > frame.components {
        return Err(segment.bad("JPEG-LS components in a scan", count));
    }
    let count = usize::from(count);
    let ids = &frame.ids[..usize::from(frame.components)];
    let mut components = Vec::with_capacity(count);
    for index in 0..count {
        let id = segment.u8(1 + 2 * index)?;
        let place = ids.iter().position(|&known| known == id);
        let place = place.ok_or_else(|| segment.bad("JPEG-LS scan component", id))?;
        if seen[place] {
            return Err(segment.bad("repeated JPEG-LS scan component", id));
        }
        seen[place] = true;
        components.push(place);
        if segment.u8(2 + 2 * index)? != 0 {
            return Err(segment.unsupported("a JPEG-LS mapping table"));
        }
    }
    let near = segment.u8(1 + 2 * count)?;
    let interleave = match (segment.u8(2 + 2 * count)?, count) {
        (0 | 1, 1) | (1, _) => Interleave::Line,
        (2, _) => Interleave::Sample,
        (mode, _) => return Err(segment.bad("JPEG-LS interleave mode", mode)),
    };
    if segment.u8(3 + 2 * count)? & 0x0f != 0 {
        return Err(segment.unsupported("a JPEG-LS point transform"));
    }
    Ok(ScanHeader { components, near, interleave })
}

/// Reads DRI, whose number takes two, three or four bytes in JPEG-LS (T.87 sect. C.2.5).
fn parse_restart_interval(segment: &Segment<'_>) -> Result<u32, CodecError> {
    if !(2..=4).contains(&segment.payload.len()) {
        return Err(segment.short());
    }
    let bytes = segment.payload.iter();
    Ok(bytes.fold(0, |value, &byte| value << 8 | u32::from(byte)))
}

/// HP's encoder says in APP8 that it transformed colours; samples would come out wrong.
fn refuse_colour_transform(segment: &Segment<'_>) -> Result<(), CodecError> {
    match segment.payload {
        [b'm', b'r', b'f', b'x', transform, ..] if *transform != 0 => {
            Err(segment.unsupported("an HP colour transform in JPEG-LS"))
        }
        _ => Ok(()),
    }
}

fn unexpected(segment: &Segment<'_>) -> CodecError {
    CodecError::UnexpectedMarker {
        marker: segment.marker,
        expected: "a JPEG-LS header or scan",
        offset: segment.offset,
    }
}

#[cfg(test)]
#[path = "jpegls/tests.rs"]
mod tests;
