//! One scan: its header, the order of its blocks, and its restarts (T.81 sect. A.2, B.2.3).

use super::bits::{BitReader, is_stuffing};
use super::block::{self, Band};
use super::frame::{BLOCK, Component, Frame, UNCODED};
use super::huffman::{HuffmanTable, HuffmanTables};
use crate::codec::CodecError;
use crate::codec::markers::{RST0, Segment, find_marker};

/// Blocks that an interleaved unit may hold (T.81 sect. B.2.3).
const MAX_UNIT_BLOCKS: usize = 10;
/// The lowest bit of a coefficient that a first scan may leave to later ones.
const MAX_LOW_BIT: u8 = 13;

/// What a scan codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Sequential,
    DcFirst,
    DcRefine,
    AcFirst,
    AcRefine,
}

/// One component of a scan: its place in the frame and its tables.
#[derive(Debug, Clone, Copy)]
struct Part {
    component: usize,
    dc_table: u8,
    ac_table: u8,
}

/// The scan header.
pub(super) struct Scan {
    parts: Vec<Part>,
    coding: Coding,
    band: Band,
    /// Where the header stands, for errors.
    offset: usize,
}

impl Scan {
    /// Reads SOS, and notes in the components of `frame` what the scan codes of them.
    pub(super) fn parse(segment: &Segment<'_>, frame: &mut Frame) -> Result<Self, CodecError> {
        let count = usize::from(segment.u8(0)?);
        if count == 0 || count > frame.components.len() {
            return Err(segment.bad("JPEG components in a scan", count as u64));
        }
        let mut parts: Vec<Part> = Vec::with_capacity(count);
        for index in 0..count {
            let id = segment.u8(1 + 2 * index)?;
            let tables = segment.u8(2 + 2 * index)?;
            let component = frame.components.iter().position(|known| known.id == id);
            let component = component.ok_or_else(|| segment.bad("JPEG scan component", id))?;
            if parts.iter().any(|part| part.component == component) {
                return Err(segment.bad("repeated JPEG scan component", id));
            }
            parts.push(Part { component, dc_table: tables >> 4, ac_table: tables & 15 });
        }
        let unit: usize = parts
            .iter()
            .map(|part| &frame.components[part.component])
            .map(|component| component.horizontal * component.vertical)
            .sum();
        if count > 1 && unit > MAX_UNIT_BLOCKS {
            return Err(segment.bad("JPEG blocks in an interleaved unit", unit as u64));
        }
        let (coding, band, high_bit) = if frame.progressive {
            progressive_band(segment, count)?
        } else {
            // Sequential scans code everything; real files have zeros in these fields.
            let all = Band { first: 0, last: BLOCK - 1, low_bit: 0 };
            (Coding::Sequential, all, None)
        };
        for part in &parts {
            advance(&mut frame.components[part.component], band, high_bit, segment)?;
        }
        Ok(Self { parts, coding, band, offset: segment.offset })
    }

    /// The places in the frame of the components of the scan.
    pub(super) fn components(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|part| part.component)
    }

    /// Decodes the coded data that begins at byte `start`, with a restart after every `interval`
    /// units (0 for none), and returns where reading stopped.
    pub(super) fn decode(
        &self,
        data: &[u8],
        start: usize,
        interval: usize,
        tables: &HuffmanTables,
        frame: &mut Frame,
    ) -> Result<usize, CodecError> {
        let mut coder = Coder::new(BitReader::new(data, start), self, tables)?;
        let alone = match self.parts[..] {
            [part] => Some(part.component),
            _ => None,
        };
        let (across, down) = match alone {
            Some(component) => frame.components[component].own_blocks(),
            None => frame.units(),
        };
        let mut restarts = 0;
        for unit in 0..across * down {
            if interval != 0 && unit != 0 && unit.is_multiple_of(interval) {
                coder.restart(data, restarts)?;
                restarts = (restarts + 1) % 8;
            }
            let (row, column) = (unit / across, unit % across);
            if let Some(component) = alone {
                coder.block(0, &mut frame.components[component], row, column)?;
                continue;
            }
            for (index, part) in self.parts.iter().enumerate() {
                let component = &mut frame.components[part.component];
                for y in 0..component.vertical {
                    for x in 0..component.horizontal {
                        let row = row * component.vertical + y;
                        let column = column * component.horizontal + x;
                        coder.block(index, component, row, column)?;
                    }
                }
            }
        }
        Ok(coder.bits.offset())
    }
}

/// Reads which band, and which of its bits, a progressive scan codes (T.81 table B.3, G.1.1).
/// The last of the three is the bit that the scan before it reached.
fn progressive_band(segment: &Segment<'_>, count: usize) -> Result<(Coding, Band, Option<u8>), CodecError> {
    let first = segment.u8(1 + 2 * count)?;
    let last = segment.u8(2 + 2 * count)?;
    let bits = segment.u8(3 + 2 * count)?;
    let (high_bit, low_bit) = (bits >> 4, bits & 15);
    if last < first || usize::from(last) >= BLOCK || (first == 0) != (last == 0) {
        return Err(segment.bad("JPEG spectral selection", first));
    }
    if first > 0 && count > 1 {
        return Err(segment.bad("JPEG components in an AC scan", count as u64));
    }
    if low_bit > MAX_LOW_BIT || (high_bit != 0 && high_bit != low_bit + 1) {
        return Err(segment.bad("JPEG successive approximation", bits));
    }
    let coding = match (first, high_bit) {
        (0, 0) => Coding::DcFirst,
        (0, _) => Coding::DcRefine,
        (_, 0) => Coding::AcFirst,
        _ => Coding::AcRefine,
    };
    let band = Band { first: first.into(), last: last.into(), low_bit: low_bit.into() };
    Ok((coding, band, (high_bit != 0).then_some(high_bit)))
}

/// Notes that a scan codes `band` of a component, which must follow on from what came before:
/// `high_bit` for a refinement, nothing for a first scan.
fn advance(
    component: &mut Component,
    band: Band,
    high_bit: Option<u8>,
    segment: &Segment<'_>,
) -> Result<(), CodecError> {
    for coded in &mut component.coded[band.first..=band.last] {
        if *coded != high_bit.unwrap_or(UNCODED) {
            return Err(segment.bad("out-of-order JPEG scan of component", component.id));
        }
        // At most 13.
        *coded = band.low_bit as u8;
    }
    Ok(())
}

/// How the blocks of one component of a scan are coded, with the tables that takes.
enum BlockCoding<'t> {
    Sequential { dc: &'t HuffmanTable, ac: &'t HuffmanTable },
    DcFirst(&'t HuffmanTable),
    DcRefine,
    AcFirst(&'t HuffmanTable),
    AcRefine(&'t HuffmanTable),
}

impl<'t> BlockCoding<'t> {
    /// Finds the tables of `part`; `scan` is where its header stands.
    fn new(coding: Coding, part: &Part, tables: &'t HuffmanTables, scan: usize) -> Result<Self, CodecError> {
        Ok(match coding {
            Coding::Sequential => {
                Self::Sequential { dc: tables.dc(part.dc_table, scan)?, ac: tables.ac(part.ac_table, scan)? }
            }
            Coding::DcFirst => Self::DcFirst(tables.dc(part.dc_table, scan)?),
            Coding::DcRefine => Self::DcRefine,
            Coding::AcFirst => Self::AcFirst(tables.ac(part.ac_table, scan)?),
            Coding::AcRefine => Self::AcRefine(tables.ac(part.ac_table, scan)?),
        })
    }
}

/// The state that runs along a scan.
struct Coder<'s, 't> {
    bits: BitReader<'s>,
    band: Band,
    /// By component of the scan.
    codings: Vec<BlockCoding<'t>>,
    /// By component of the scan: the DC coefficient before.
    predicted: [i32; 3],
    /// Blocks still to come that have nothing left in the band.
    end_of_band: u32,
}

impl<'s, 't> Coder<'s, 't> {
    fn new(bits: BitReader<'s>, scan: &Scan, tables: &'t HuffmanTables) -> Result<Self, CodecError> {
        let codings = scan.parts.iter();
        let codings = codings.map(|part| BlockCoding::new(scan.coding, part, tables, scan.offset));
        Ok(Self {
            bits,
            band: scan.band,
            codings: codings.collect::<Result<_, _>>()?,
            predicted: [0; 3],
            end_of_band: 0,
        })
    }

    /// Decodes what the scan codes of one block of its component `index`.
    fn block(&mut self, index: usize, component: &mut Component, row: usize, column: usize) -> Result<(), CodecError> {
        let place = row * component.blocks_wide + column;
        let (blocks, _) = component.coefficients.as_chunks_mut::<BLOCK>();
        let block = &mut blocks[place];
        let (bits, band) = (&mut self.bits, self.band);
        let predicted = &mut self.predicted[index];
        let end_of_band = &mut self.end_of_band;
        match self.codings[index] {
            BlockCoding::Sequential { dc, ac } => block::sequential(bits, dc, ac, predicted, block),
            BlockCoding::DcFirst(dc) => block::dc_first(bits, dc, band, predicted, block),
            BlockCoding::DcRefine => block::dc_refine(bits, band, block),
            BlockCoding::AcFirst(ac) => block::ac_first(bits, ac, band, end_of_band, block),
            BlockCoding::AcRefine(ac) => block::ac_refine(bits, ac, band, end_of_band, block),
        }
    }

    /// Passes the restart marker that belongs after `restarts` others.
    fn restart(&mut self, data: &'s [u8], restarts: u8) -> Result<(), CodecError> {
        let from = self.bits.offset();
        let offset = find_marker(data, from, is_stuffing)
            .ok_or(CodecError::Truncated { what: "a JPEG restart interval", offset: from })?;
        let marker = data[offset + 1];
        if marker != RST0 + restarts {
            return Err(CodecError::UnexpectedMarker { marker, expected: "the next restart marker", offset });
        }
        self.bits = BitReader::new(data, offset + 2);
        self.predicted = [0; 3];
        self.end_of_band = 0;
        Ok(())
    }
}
