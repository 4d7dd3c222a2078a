//! Huffman tables (T.81 annex C, sect. F.2.2.3) and the numbers coded with them.

use super::bits::BitReader;
use crate::codec::CodecError;
use crate::codec::markers::Segment;

/// Codes of up to this many bits are looked up in one step.
const LOOKUP_BITS: u32 = 9;

/// A table ready to decode with.
pub(super) struct HuffmanTable {
    /// By the next bits: the length of the code in the high byte and its symbol; 0 for a longer
    /// code.
    lookup: Box<[u16; 1 << LOOKUP_BITS]>,
    /// By length: one past the largest code, left aligned to 16 bits.
    ends: [u32; 17],
    /// By length: what to add to a code to find its symbol.
    places: [i32; 17],
    symbols: Vec<u8>,
}

impl HuffmanTable {
    /// Builds a table from how many codes there are of each length from 1 to 16, and the symbols
    /// in the order of their codes. `None` where the lengths leave no room for the codes.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
        if total > 256 || symbols.len() != total {
            return None;
        }
        let mut table =
            Self { lookup: Box::new([0; 1 << LOOKUP_BITS]), ends: [0; 17], places: [0; 17], symbols: symbols.to_vec() };
        let mut code = 0u32;
        let mut place = 0usize;
        for (length, &count) in (1u32..).zip(counts) {
            code <<= 1;
            table.places[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                if length <= LOOKUP_BITS {
                    let first = (code << (LOOKUP_BITS - length)) as usize;
                    let entries = table.lookup.get_mut(first..first + (1 << (LOOKUP_BITS - length)))?;
                    entries.fill((length as u16) << 8 | u16::from(symbols[place]));
                }
                code += 1;
                place += 1;
            }
            if code > 1 << length {
                return None;
            }
            table.ends[length as usize] = code << (16 - length);
        }
        Some(table)
    }

    /// Decodes one symbol.
    pub(super) fn symbol(&self, bits: &mut BitReader<'_>) -> Result<u8, CodecError> {
        let next = bits.peek16();
        let entry = self.lookup[(next >> (16 - LOOKUP_BITS)) as usize];
        if entry != 0 {
            bits.drop(u32::from(entry >> 8))?;
            return Ok(entry as u8);
        }
        for length in LOOKUP_BITS + 1..=16 {
            if next < self.ends[length as usize] {
                bits.drop(length)?;
                let code = (next >> (16 - length)) as i32;
                let place = usize::try_from(code + self.places[length as usize]).ok();
                if let Some(&symbol) = place.and_then(|place| self.symbols.get(place)) {
                    return Ok(symbol);
                }
                break;
            }
        }
        Err(CodecError::Corrupt { what: "JPEG Huffman code", offset: bits.offset() })
    }
}

/// Reads a signed number of `size` bits, at most 16 (T.81 sect. F.2.2.1, EXTEND).
pub(super) fn signed(bits: &mut BitReader<'_>, size: u32) -> Result<i32, CodecError> {
    if size == 0 {
        return Ok(0);
    }
    let value = bits.take(size)? as i32;
    if value < 1 << (size - 1) { Ok(value - (1 << size) + 1) } else { Ok(value) }
}

/// The tables that a scan may name, by class and destination.
#[derive(Default)]
pub(super) struct HuffmanTables {
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
}

impl HuffmanTables {
    /// Reads a DHT segment, which may define several tables (T.81 sect. B.2.4.2).
    pub(super) fn define(&mut self, segment: &Segment<'_>) -> Result<(), CodecError> {
        let mut rest = segment.payload;
        while let Some((&target, after)) = rest.split_first() {
            let (counts, after) = after.split_first_chunk::<16>().ok_or_else(|| segment.short())?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, after) = after.split_at_checked(total).ok_or_else(|| segment.short())?;
            let class = match target >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                class => return Err(segment.bad("JPEG Huffman table class", class)),
            };
            let slot = class
                .get_mut(usize::from(target & 15))
                .ok_or_else(|| segment.bad("JPEG Huffman table destination", target & 15))?;
            let table = HuffmanTable::new(counts, symbols);
            *slot = Some(table.ok_or_else(|| segment.bad("overfull JPEG Huffman table", target))?);
            rest = after;
        }
        Ok(())
    }

    /// The table for DC coefficients at `destination`.
    pub(super) fn dc(&self, destination: u8, scan: usize) -> Result<&HuffmanTable, CodecError> {
        let table = self.dc.get(usize::from(destination));
        found(table, "missing JPEG DC table", destination, scan)
    }

    /// The table for AC coefficients at `destination`.
    pub(super) fn ac(&self, destination: u8, scan: usize) -> Result<&HuffmanTable, CodecError> {
        let table = self.ac.get(usize::from(destination));
        found(table, "missing JPEG AC table", destination, scan)
    }
}

fn found<'t>(
    table: Option<&'t Option<HuffmanTable>>,
    what: &'static str,
    destination: u8,
    offset: usize,
) -> Result<&'t HuffmanTable, CodecError> {
    table.and_then(Option::as_ref).ok_or(CodecError::BadValue { what, value: destination.into(), offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths 2, 2, 2, 3 and 12: codes 00, 01, 10, 110 and 111000000000.
    fn table() -> HuffmanTable {
        let mut counts = [0; 16];
        (counts[1], counts[2], counts[11]) = (3, 1, 1);
        HuffmanTable::new(&counts, &[5, 6, 7, 8, 9]).unwrap()
    }

    #[test]
    fn short_and_long_codes_are_decoded() {
        let data = [0b0001_1011, 0b0111_0000, 0b0000_0000];
        let mut bits = BitReader::new(&data, 0);
        let symbols: Vec<u8> = (0..5).map_while(|_| table().symbol(&mut bits).ok()).collect();
        assert_eq!(symbols, [5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_code_that_is_not_there_is_corrupt() {
        let mut bits = BitReader::new(&[0b1111_1111, 0, 0b1111_1111, 0], 0);
        assert!(matches!(table().symbol(&mut bits), Err(CodecError::Corrupt { .. })));
        let mut bits = BitReader::new(&[0xff, 0xd9], 0);
        assert!(table().symbol(&mut bits).is_err());
    }

    #[test]
    fn overfull_lengths_are_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(HuffmanTable::new(&counts, &[1, 2, 3]).is_none());
        counts[0] = 2;
        assert!(HuffmanTable::new(&counts, &[1, 2]).is_some());
        assert!(HuffmanTable::new(&counts, &[1]).is_none());
    }

    #[test]
    fn signed_numbers_have_their_sign_in_the_first_bit() {
        let data = [0b0001_1101, 0b1000_0000];
        let mut bits = BitReader::new(&data, 0);
        assert_eq!(signed(&mut bits, 3), Ok(-7));
        assert_eq!(signed(&mut bits, 3), Ok(7));
        assert_eq!(signed(&mut bits, 3), Ok(-4));
        assert_eq!(signed(&mut bits, 0), Ok(0));
    }
}
