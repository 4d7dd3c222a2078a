//! Bits out of JPEG coded data (T.81 sect. F.2.2.5): a zero byte is stuffed behind every `ff`.

use crate::codec::CodecError;

/// Whether a byte after an `ff` says that the `ff` is coded data rather than a marker.
pub(super) fn is_stuffing(byte: u8) -> bool {
    byte == 0
}

/// Reads bits, most significant first, and stops at the first marker.
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    /// The next byte to load.
    at: usize,
    /// Loaded bits, left aligned; everything below the top `count` bits is zero.
    window: u64,
    /// How many bits of `window` are loaded: at most 63.
    count: u32,
}

impl<'a> BitReader<'a> {
    /// A reader of the coded data that begins at byte `at`.
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at, window: 0, count: 0 }
    }

    /// The next byte to load: the place of an error, give or take eight bytes.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The next 16 bits, with zeros where the data ends.
    pub(super) fn peek16(&mut self) -> u32 {
        if self.count < 16 {
            self.fill();
        }
        (self.window >> 48) as u32
    }

    /// Drops `bits` bits, which have been peeked at.
    pub(super) fn drop(&mut self, bits: u32) -> Result<(), CodecError> {
        if bits > self.count {
            return Err(self.ended());
        }
        self.window <<= bits;
        self.count -= bits;
        Ok(())
    }

    /// The next `bits` bits, at most 16, as a number.
    pub(super) fn take(&mut self, bits: u32) -> Result<u32, CodecError> {
        if bits == 0 {
            return Ok(0);
        }
        if self.count < bits {
            self.fill();
        }
        let value = (self.window >> (64 - bits)) as u32;
        self.drop(bits)?;
        Ok(value)
    }

    /// Loads at least 56 bits, fewer where the data or the scan ends.
    fn fill(&mut self) {
        while self.count <= 55 {
            let (byte, length) = match self.data[self.at..] {
                [0xff, 0x00, ..] => (0xff, 2),
                [0xff, ..] | [] => return,
                [byte, ..] => (byte, 1),
            };
            self.window |= u64::from(byte) << (56 - self.count);
            self.count += 8;
            self.at += length;
        }
    }

    fn ended(&self) -> CodecError {
        CodecError::Truncated { what: "the coded blocks of a JPEG scan", offset: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuffed_zero_is_dropped_and_a_marker_ends_the_data() {
        let mut bits = BitReader::new(&[0xab, 0xff, 0x00, 0xcd, 0xff, 0xd9, 0x77], 0);
        assert_eq!(bits.take(4), Ok(0xa));
        assert_eq!(bits.peek16(), 0xbffc);
        assert_eq!(bits.take(16), Ok(0xbffc));
        assert_eq!(bits.peek16(), 0xd000, "zeros past the end");
        assert!(bits.drop(5).is_err());
        assert_eq!(bits.take(4), Ok(0xd));
        assert!(bits.take(1).is_err());
        assert_eq!(bits.offset(), 4);
    }

    #[test]
    fn no_data_is_the_end() {
        let mut bits = BitReader::new(&[], 0);
        assert_eq!(bits.take(0), Ok(0));
        assert!(bits.take(16).is_err());
    }
}
