//! Huffman-coded DCT JPEG of 8 and 12 bits (ITU-T T.81): baseline and extended sequential, and
//! progressive. In DICOM: `.50`, `.51`, and the retired `.53` and `.55`.
//!
//! Samples equal those of libjpeg's accurate integer method and of DCMTK, bit for bit. Refused by
//! name: lossless (which dicom-rs decodes), hierarchical and arithmetic processes.

mod bits;
mod block;
mod frame;
mod huffman;
mod idct;
mod planes;
mod scan;

use super::markers::{self, Segment, find_marker};
use super::{CodecError, CodecFrame, Colour, Limits};
use bits::is_stuffing;
use frame::{BLOCK, Frame, UNCODED};
use huffman::HuffmanTables;
use scan::Scan;

/// Scans in a frame. Progressive encoders write about ten; each one visits every block.
const MAX_SCANS: usize = 128;

/// What the marker segments before a scan have set.
#[derive(Default)]
struct Decoder {
    frame: Option<Frame>,
    quantisation: [Option<[u16; BLOCK]>; 4],
    huffman: HuffmanTables,
    restart_interval: usize,
    scans: usize,
    jfif: bool,
    /// The transform flag of an Adobe segment.
    adobe: Option<u8>,
}

/// Decodes one JPEG codestream: one frame, without a colour transform.
///
/// # Errors
/// Names the marker or field that stands in the way, or the limit it goes over. Missing blocks are
/// an error: a film that is half grey would not look like one.
pub fn decode(data: &[u8], limits: &Limits) -> Result<CodecFrame, CodecError> {
    let mut at = markers::after_soi("JPEG", data)?;
    let mut decoder = Decoder::default();
    loop {
        let segment = markers::segment_at(data, at)?;
        at = segment.end;
        match segment.marker {
            markers::SOS => {
                let end = decoder.scan(&segment, data)?;
                if decoder.is_complete() {
                    break;
                }
                at = find_marker(data, end, is_stuffing)
                    .ok_or(CodecError::Truncated { what: "the scans of a JPEG frame", offset: end })?;
            }
            markers::EOI => break,
            _ => decoder.header(&segment, data.len(), limits)?,
        }
    }
    decoder.finish(at)
}

impl Decoder {
    /// Takes in a marker segment other than a scan.
    fn header(&mut self, segment: &Segment<'_>, bytes: usize, limits: &Limits) -> Result<(), CodecError> {
        match segment.marker {
            0xc0..=0xc2 if self.frame.is_none() => {
                self.frame = Some(Frame::parse(segment, bytes, limits)?);
            }
            0xc4 => self.huffman.define(segment)?,
            0xdb => self.define_quantisation(segment)?,
            markers::DRI => self.restart_interval = segment.u16(0)?.into(),
            0xe0 => self.jfif |= segment.payload.starts_with(b"JFIF\0"),
            markers::APP14 if segment.payload.starts_with(b"Adobe") => {
                // Some writers cut the segment short and leave the flag out.
                self.adobe = segment.payload.get(11).copied();
            }
            0xe1..=0xef | 0xfe => {}
            0xc3 => return Err(segment.unsupported("lossless JPEG")),
            0xc5..=0xc7 | 0xcd..=0xcf | 0xde | 0xdf => {
                return Err(segment.unsupported("hierarchical JPEG"));
            }
            0xc9..=0xcc => return Err(segment.unsupported("arithmetic coding in JPEG")),
            marker => {
                return Err(CodecError::UnexpectedMarker {
                    marker,
                    expected: "a JPEG header or scan",
                    offset: segment.offset,
                });
            }
        }
        Ok(())
    }

    /// Reads DQT, which may define several tables (T.81 sect. B.2.4.1).
    fn define_quantisation(&mut self, segment: &Segment<'_>) -> Result<(), CodecError> {
        let mut at = 0;
        while at < segment.payload.len() {
            let target = segment.u8(at)?;
            at += 1;
            let (wide, destination) = (target >> 4, usize::from(target & 15));
            if wide > 1 || destination > 3 {
                return Err(segment.bad("JPEG quantisation table", target));
            }
            let mut table = [0; BLOCK];
            for divisor in &mut table {
                *divisor = if wide == 1 { segment.u16(at)? } else { segment.u8(at)?.into() };
                at += 1 + usize::from(wide);
            }
            self.quantisation[destination] = Some(table);
        }
        Ok(())
    }

    /// Decodes a scan and returns where its coded data ends.
    fn scan(&mut self, segment: &Segment<'_>, data: &[u8]) -> Result<usize, CodecError> {
        let frame = self.frame.as_mut().ok_or(CodecError::UnexpectedMarker {
            marker: segment.marker,
            expected: "a JPEG frame header",
            offset: segment.offset,
        })?;
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(CodecError::OverLimit {
                what: "number of JPEG scans",
                needed: self.scans as u64,
                limit: MAX_SCANS as u64,
            });
        }
        let scan = Scan::parse(segment, frame)?;
        for index in scan.components() {
            let component = &mut frame.components[index];
            // Destinations are 0 to 3. A table holds from the first scan of its component on.
            let table = self.quantisation[usize::from(component.quantisation)];
            component.divisors = component.divisors.or(table);
            if component.divisors.is_none() {
                return Err(segment.bad("missing JPEG quantisation table", component.quantisation));
            }
        }
        scan.decode(data, segment.end, self.restart_interval, &self.huffman, frame)
    }

    /// Whether nothing more can come: sequential, and every component has had its scan. A
    /// progressive frame may always be refined, up to its end marker.
    fn is_complete(&self) -> bool {
        let frame = self.frame.as_ref();
        frame.is_some_and(|frame| !frame.progressive && all_coded(frame))
    }

    /// Turns what was decoded into pixels.
    fn finish(self, at: usize) -> Result<CodecFrame, CodecError> {
        let colour = self.colour();
        let frame = self.frame.filter(all_coded);
        let mut frame = frame.ok_or(CodecError::Truncated { what: "the scans of a JPEG frame", offset: at })?;
        Ok(CodecFrame {
            width: frame.width,
            height: frame.height,
            // One or three.
            components: frame.components.len() as u8,
            bits: frame.bits,
            colour,
            samples: planes::reconstruct(&mut frame),
        })
    }

    /// What the codestream itself says of its colours (ITU-T T.871, T.872).
    fn colour(&self) -> Colour {
        let components = self.frame.as_ref().map(|frame| &frame.components[..]);
        match (components, self.jfif, self.adobe) {
            (Some([_]), ..) => Colour::Grey,
            (_, true, _) | (_, _, Some(1)) => Colour::Ycbcr,
            (_, _, Some(0)) => Colour::Rgb,
            (Some([r, g, b]), ..) if [r.id, g.id, b.id] == *b"RGB" => Colour::Rgb,
            _ => Colour::Unstated,
        }
    }
}

/// Whether the DC coefficients of every component have been coded, at least in part.
fn all_coded(frame: &Frame) -> bool {
    let mut components = frame.components.iter();
    components.all(|component| component.coded[0] != UNCODED)
}

#[cfg(test)]
#[path = "jpeg/tests.rs"]
mod tests;
