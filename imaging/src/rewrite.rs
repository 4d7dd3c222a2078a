//! A data set written anew in Explicit VR Little Endian, its pixels decoded: for readers that read nothing else.
//!
//! Everything else stays: values keep their bytes but for the order of numbers, private elements stay, and nothing is
//! looked up that the object says itself. What only makes sense beside compressed pixels goes.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::dataset::{Dataset, Element, Value};
use crate::decode::DecodeError;
use crate::frame::{Frame, Pixels};
use crate::limits::Limits;
use crate::pixels::PixelDescription;
use crate::scan::{PixelBytes, Scanned};

/// Attributes that speak of how pixels are encapsulated (PS3.3 section C.7.6.3).
const OF_ENCAPSULATION: &[Tag] = &[
    tags::EXTENDED_OFFSET_TABLE,
    tags::EXTENDED_OFFSET_TABLE_LENGTHS,
    tags::ENCAPSULATED_PIXEL_DATA_VALUE_TOTAL_LENGTH,
];
/// Attributes of the Image Pixel module that follow from how pixels are written.
const OF_PIXELS: &[Tag] = &[
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
];
/// What a palette is in (PS3.3 section C.7.9).
const PALETTE: std::ops::RangeInclusive<Tag> = Tag(0x0028, 0x1101)..=Tag(0x0028, 0x1223);
/// Attributes that have the sign of the pixels, which implicit VR does not say.
const SIGNED_AS_PIXELS: &[Tag] = &[
    tags::SMALLEST_IMAGE_PIXEL_VALUE,
    tags::LARGEST_IMAGE_PIXEL_VALUE,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
];
/// Longest value of a representation whose length has 16 bits.
const MAX_SHORT: usize = 0xFFFE;

/// Why an object was not written anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// A frame.
    #[error("frame {frame}: {error}")]
    Frame {
        /// Which, from 1.
        frame: u32,
        /// What is wrong.
        error: DecodeError,
    },
    /// Colours that are decoded to 8 bits would lose something.
    #[error("compressed colours of {0} bits are decoded to 8, and would lose something")]
    DeepColour(u32),
    /// It would be longer than is taken.
    #[error("decoded pixels of more than {limit} bytes")]
    TooLong {
        /// [`Limits::max_object_bytes`].
        limit: usize,
    },
}

/// The data set in Explicit VR Little Endian. `decode` gives frame N (from 1) of the same object.
pub fn explicit_little(
    scanned: &Scanned<'_>,
    limits: &Limits,
    decode: impl FnMut(u32) -> Result<Frame, DecodeError>,
) -> Result<Vec<u8>, RewriteError> {
    let pixels = match scanned.pixel_bytes() {
        Some(PixelBytes::Fragments(_)) => Some(decoded(scanned, limits, decode)?),
        _ => None,
    };
    let is_implicit = scanned.syntax().encoding().implicit;
    let is_signed = scanned.attributes().u16(tags::PIXEL_REPRESENTATION) == Some(1);
    let writer = Writer { bytes: scanned.bytes(), signed: is_implicit && is_signed };
    let length = pixels.as_ref().map_or(0, |pixels| pixels.data.len());
    let mut out = Vec::with_capacity(scanned.bytes().len() + length);
    writer.root(scanned.dataset(), pixels.as_ref(), &mut out);
    Ok(out)
}

/// One frame in Little Endian bytes, as [`explicit_little`] writes it.
pub fn frame_bytes(
    scanned: &Scanned<'_>,
    number: u32,
    limits: &Limits,
    decode: impl FnMut(u32) -> Result<Frame, DecodeError>,
) -> Result<Vec<u8>, RewriteError> {
    let wrap = |error| RewriteError::Frame { frame: number, error };
    let description = PixelDescription::read(&scanned.attributes(), limits).map_err(|error| wrap(error.into()))?;
    if let Some(range) = native(scanned).and_then(|pixels| native_frame(&description, number, pixels.clone())) {
        // PS3.5 annex A.3: pixels in words have changed their bytes, also where a word holds two samples.
        let is_turned = |element: &Element| element.big_endian && element.vr == VR::OW;
        let width = if scanned.dataset().get(tags::PIXEL_DATA).is_some_and(is_turned) { 2 } else { 1 };
        return Ok(turned(&scanned.bytes()[range], width));
    }
    check_depth(&description)?;
    let mut decode = decode;
    let frame = decode(number).map_err(wrap)?;
    let mut out = Vec::new();
    put_pixels(&frame, bytes_of(&description), 0, &mut out);
    Ok(out)
}

fn native<'a>(scanned: &'a Scanned<'_>) -> Option<&'a std::ops::Range<usize>> {
    match scanned.pixel_bytes()? {
        PixelBytes::Native(range) => Some(range),
        PixelBytes::Fragments(_) => None,
    }
}

/// Where a native frame lies; nothing where it does not lie on bytes of its own, or not in the pixels.
fn native_frame(
    description: &PixelDescription,
    number: u32,
    pixels: std::ops::Range<usize>,
) -> Option<std::ops::Range<usize>> {
    let bits = match description.photometric {
        crate::pixels::Photometric::YbrFull422 => {
            description.rows as usize
                * (description.columns as usize).div_ceil(2)
                * 4
                * description.bits_allocated as usize
        }
        _ => description.pixels() * (description.samples * description.bits_allocated) as usize,
    };
    if !bits.is_multiple_of(8) || number == 0 || number > description.frames {
        return None;
    }
    let start = pixels.start.checked_add((number as usize - 1).checked_mul(bits / 8)?)?;
    let end = start.checked_add(bits / 8)?;
    (end <= pixels.end).then_some(start..end)
}

/// Pixels as they are written, and what the Image Pixel module says of them then.
struct Decoded {
    data: Vec<u8>,
    module: Vec<(Tag, VR, Vec<u8>)>,
    is_colour: bool,
    vr: VR,
}

/// Nothing may be lost in silence.
fn check_depth(description: &PixelDescription) -> Result<(), RewriteError> {
    let is_deep = description.samples > 1 && description.bits_stored > 8;
    if is_deep { Err(RewriteError::DeepColour(description.bits_stored)) } else { Ok(()) }
}

/// Bytes of a sample; 0 for one of a single bit.
fn bytes_of(description: &PixelDescription) -> usize {
    description.bits_allocated as usize / 8
}

fn decoded(
    scanned: &Scanned<'_>,
    limits: &Limits,
    mut decode: impl FnMut(u32) -> Result<Frame, DecodeError>,
) -> Result<Decoded, RewriteError> {
    let description = PixelDescription::read(&scanned.attributes(), limits)
        .map_err(|error| RewriteError::Frame { frame: 1, error: error.into() })?;
    check_depth(&description)?;
    let too_long = RewriteError::TooLong { limit: limits.max_object_bytes };
    let width = bytes_of(&description);
    let (mut data, mut is_colour, mut is_signed) = (Vec::new(), false, description.is_signed);
    for number in 1..=description.frames {
        let frame = decode(number).map_err(|error| RewriteError::Frame { frame: number, error })?;
        is_colour = matches!(frame.pixels, Pixels::Rgb(_));
        is_signed |= matches!(&frame.pixels, Pixels::Grey(values) if values.iter().any(|value| *value < 0));
        let pixels = frame.rows as usize * frame.columns as usize;
        let frame_bytes = pixels * if is_colour { 3 } else { width.max(1) };
        if data.len() + frame_bytes > limits.max_object_bytes {
            return Err(too_long);
        }
        put_pixels(&frame, width, (number as usize - 1) * pixels, &mut data);
    }
    if data.len() % 2 == 1 {
        data.push(0);
    }
    let number = |tag, value: u16| (tag, VR::US, value.to_le_bytes().to_vec());
    let photometric = |text: &str| (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, even(text));
    let module = if is_colour {
        vec![
            number(tags::SAMPLES_PER_PIXEL, 3),
            photometric("RGB"),
            number(tags::PLANAR_CONFIGURATION, 0),
            number(tags::BITS_ALLOCATED, 8),
            number(tags::BITS_STORED, 8),
            number(tags::HIGH_BIT, 7),
            number(tags::PIXEL_REPRESENTATION, 0),
        ]
    } else {
        let is_inverted = description.photometric == crate::pixels::Photometric::Monochrome1;
        let bits_stored = description.bits_stored as u16;
        vec![
            number(tags::SAMPLES_PER_PIXEL, 1),
            photometric(if is_inverted { "MONOCHROME1" } else { "MONOCHROME2" }),
            number(tags::BITS_ALLOCATED, description.bits_allocated as u16),
            number(tags::BITS_STORED, bits_stored),
            number(tags::HIGH_BIT, bits_stored - 1),
            number(tags::PIXEL_REPRESENTATION, is_signed.into()),
        ]
    };
    // PS3.5 annex A.2: pixels of 8 bits may be OB.
    let vr = if !is_colour && width > 1 { VR::OW } else { VR::OB };
    Ok(Decoded { data, module, is_colour, vr })
}

/// A frame's samples, `width` bytes each where they are grey. A value that does not fit is the nearest that does. Samples of
/// a single bit go eight to a byte, the first in the lowest bit, and frames follow each other without padding (PS3.5
/// section 8.1.1): `before` counts those of the frames before.
fn put_pixels(frame: &Frame, width: usize, before: usize, out: &mut Vec<u8>) {
    match &frame.pixels {
        Pixels::Rgb(rgb) => out.extend_from_slice(rgb),
        Pixels::Grey(values) => match width {
            0 => {
                for (at, value) in (before..).zip(values) {
                    if at % 8 == 0 {
                        out.push(0);
                    }
                    if let Some(last) = out.last_mut() {
                        *last |= u8::from(*value != 0) << (at % 8);
                    }
                }
            }
            1 => out.extend(values.iter().map(|value| (*value).clamp(-0x80, 0xFF) as u8)),
            2 => out.extend(values.iter().flat_map(|value| ((*value).clamp(-0x8000, 0xFFFF) as u16).to_le_bytes())),
            _ => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        },
    }
}

fn even(text: &str) -> Vec<u8> {
    let mut value = text.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(b' ');
    }
    value
}

/// Bytes of numbers of `width` bytes, in the other order; as they are for a width of one.
pub(crate) fn turned(bytes: &[u8], width: usize) -> Vec<u8> {
    let mut turned = bytes.to_vec();
    if width > 1 {
        turned.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    turned
}

struct Writer<'a> {
    bytes: &'a [u8],
    /// Attributes of the pixels' sign are signed, and no representation says so.
    signed: bool,
}

impl Writer<'_> {
    /// The data set itself, with other pixels where there are any.
    fn root(&self, dataset: &Dataset, pixels: Option<&Decoded>, out: &mut Vec<u8>) {
        let mut module = pixels.map(|pixels| pixels.module.as_slice()).unwrap_or_default();
        for element in &dataset.elements {
            let tag = element.tag;
            // What the module says goes in its place among the others.
            while let Some(((next, vr, value), rest)) = module.split_first().filter(|((next, ..), _)| *next <= tag) {
                put(*next, *vr, value, out);
                module = rest;
            }
            let is_replaced = pixels.is_some_and(|pixels| {
                OF_PIXELS.contains(&tag)
                    || OF_ENCAPSULATION.contains(&tag)
                    || pixels.is_colour && PALETTE.contains(&tag)
            });
            match pixels {
                _ if is_replaced => {}
                Some(pixels) if tag == tags::PIXEL_DATA => put(tag, pixels.vr, &pixels.data, out),
                _ => self.element(element, out),
            }
        }
    }

    fn element(&self, element: &Element, out: &mut Vec<u8>) {
        let tag = element.tag;
        // Group lengths are retired, and would be wrong.
        if tag.element() == 0 {
            return;
        }
        match &element.value {
            Value::Bytes(range) => {
                let bytes = self.bytes.get(range.clone()).unwrap_or_default();
                let vr = if self.signed && SIGNED_AS_PIXELS.contains(&tag) { VR::SS } else { element.vr };
                if element.big_endian && width(vr) > 1 {
                    put(tag, vr, &turned(bytes, width(vr)), out);
                } else {
                    put(tag, vr, bytes, out);
                }
            }
            Value::Items(items) => {
                // An icon may be compressed as the image is: it goes.
                let is_encapsulated = |item: &Dataset| {
                    item.get(tags::PIXEL_DATA).is_some_and(|pixels| matches!(pixels.value, Value::Fragments(_)))
                };
                if items.iter().any(is_encapsulated) {
                    return;
                }
                self.sequence(tag, items, out);
            }
            // Beside pixels nothing is encapsulated.
            Value::Fragments(_) => {}
        }
    }

    fn sequence(&self, tag: Tag, items: &[Dataset], out: &mut Vec<u8>) {
        head(tag, VR::SQ, None, out);
        for item in items {
            out.extend([0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
            for element in &item.elements {
                self.element(element, out);
            }
            out.extend([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]);
        }
        out.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    }
}

/// Bytes of a number in a value of this representation.
pub(crate) fn width(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW | VR::AT => 2,
        VR::UL | VR::SL | VR::FL | VR::OF | VR::OL => 4,
        VR::FD | VR::OD | VR::SV | VR::UV | VR::OV => 8,
        _ => 1,
    }
}

fn put(tag: Tag, vr: VR, value: &[u8], out: &mut Vec<u8>) {
    let padded = value.len() + value.len() % 2;
    // PS3.5 section 6.2.2: what is too long for its representation is UN.
    let vr = if padded > MAX_SHORT && !crate::scan::has_long_length(vr) { VR::UN } else { vr };
    head(tag, vr, Some(padded), out);
    out.extend_from_slice(value);
    if padded > value.len() {
        let is_binary = matches!(vr, VR::UI | VR::OB | VR::UN) || width(vr) > 1;
        out.push(if is_binary { 0 } else { b' ' });
    }
}

/// The header of an element; its length is undefined where none is given.
fn head(tag: Tag, vr: VR, length: Option<usize>, out: &mut Vec<u8>) {
    out.extend(tag.group().to_le_bytes());
    out.extend(tag.element().to_le_bytes());
    out.extend(vr.to_bytes());
    // An object is far shorter than 4 GiB.
    let length = length.map_or(u32::MAX, |length| length as u32);
    if crate::scan::has_long_length(vr) {
        out.extend([0, 0]);
        out.extend(length.to_le_bytes());
    } else {
        out.extend((length as u16).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_in_their_width() {
        let frame =
            |values: &[i32]| Frame { rows: 1, columns: values.len() as u32, pixels: Pixels::Grey(values.to_vec()) };
        let written = |values: &[i32], width| {
            let mut out = Vec::new();
            put_pixels(&frame(values), width, 0, &mut out);
            out
        };
        assert_eq!(written(&[-1, 300], 1), [0xFF, 0xFF]);
        assert_eq!(written(&[-2, 513], 2), [0xFE, 0xFF, 1, 2]);
        assert_eq!(written(&[-1], 4), [0xFF; 4]);
        let mut bits = Vec::new();
        put_pixels(&frame(&[1, 0, 1]), 0, 0, &mut bits);
        put_pixels(&frame(&[1, 1, 0, 0, 0, 1]), 0, 3, &mut bits);
        assert_eq!(bits, [0b0001_1101, 1], "frames follow each other without padding");
    }

    #[test]
    fn what_is_too_long_for_its_representation_is_unknown() {
        let mut out = Vec::new();
        put(tags::STUDY_DESCRIPTION, VR::LO, &vec![b'a'; 70_000], &mut out);
        assert_eq!(out[4..12], [b'U', b'N', 0, 0, 0x70, 0x11, 1, 0]);
        let mut odd = Vec::new();
        put(tags::SOP_INSTANCE_UID, VR::UI, b"1.2", &mut odd);
        assert_eq!(odd, b"\x08\0\x18\0UI\x04\x001.2\0");
    }
}
