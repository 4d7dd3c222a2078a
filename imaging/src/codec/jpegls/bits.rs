//! Bits out of JPEG-LS coded data (T.87 sect. A.1, 9.1): after an `ff` only seven bits follow.

use crate::codec::CodecError;

/// Whether a byte after an `ff` is coded data (a stuffed zero bit) rather than a marker.
pub(super) fn is_stuffing(byte: u8) -> bool {
    byte < 0x80
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
    /// Whether the byte before `at` was an `ff`.
    after_ff: bool,
}

impl<'a> BitReader<'a> {
    /// A reader of the coded data that begins at byte `at`.
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at, window: 0, count: 0, after_ff: false }
    }

    /// The next byte to load: the place of an error, give or take eight bytes.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Loads up to 63 bits, fewer where the data or the scan ends.
    fn fill(&mut self) {
        if !self.after_ff
            && let Some(bytes) = self.data[self.at..].first_chunk::<8>()
        {
            let word = u64::from_be_bytes(*bytes);
            if !has_ff(word) {
                let take = (63 - self.count) / 8;
                if take > 0 {
                    let low = word >> (64 - 8 * take);
                    self.window |= low << (64 - self.count - 8 * take);
                    self.count += 8 * take;
                    self.at += take as usize;
                }
                return;
            }
        }
        self.fill_by_byte();
    }

    fn fill_by_byte(&mut self) {
        while self.count <= 55 {
            let Some(&byte) = self.data.get(self.at) else {
                return;
            };
            if byte == 0xff && !self.data.get(self.at + 1).is_some_and(|&b| is_stuffing(b)) {
                return;
            }
            let bits = if self.after_ff { 7 } else { 8 };
            self.window |= u64::from(byte) << (64 - bits - self.count);
            self.count += bits;
            self.after_ff = byte == 0xff;
            self.at += 1;
        }
    }

    /// The next `bits` bits, at most 24, as a number.
    pub(super) fn take(&mut self, bits: u32) -> Result<u32, CodecError> {
        if bits == 0 {
            return Ok(0);
        }
        if self.count < bits {
            self.fill();
            if self.count < bits {
                return Err(self.ended());
            }
        }
        let value = (self.window >> (64 - bits)) as u32;
        self.window <<= bits;
        self.count -= bits;
        Ok(value)
    }

    /// A limited-length Golomb code (T.87 sect. A.5.3): the value with parameter `k`, or the
    /// escape of `prefix` zeros before `escape_bits` bits that hold the value less one.
    pub(super) fn golomb(&mut self, k: u32, prefix: u32, escape_bits: u32) -> Result<u32, CodecError> {
        let mut zeros = self.window.leading_zeros();
        if zeros >= self.count {
            self.fill();
            zeros = self.window.leading_zeros();
            if zeros >= self.count {
                return Err(self.ended());
            }
        }
        // `count` is at most 63, so that `zeros + 1` is a shift a u64 can make.
        self.window <<= zeros + 1;
        self.count -= zeros + 1;
        if zeros < prefix {
            // At most 62 << 16.
            Ok(zeros << k | self.take(k)?)
        } else if zeros == prefix {
            Ok(self.take(escape_bits)? + 1)
        } else {
            Err(CodecError::Corrupt { what: "JPEG-LS Golomb code", offset: self.at })
        }
    }

    fn ended(&self) -> CodecError {
        CodecError::Truncated { what: "the coded samples of a JPEG-LS scan", offset: self.at }
    }
}

/// Whether any byte of `word` is `ff`: the zero-byte test of its complement.
fn has_ff(word: u64) -> bool {
    let inverse = !word;
    inverse.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_bits_follow_an_ff() {
        let mut bits = BitReader::new(&[0xff, 0x7f, 0x80], 0);
        assert_eq!(bits.take(15), Ok(0x7fff));
        assert_eq!(bits.take(8), Ok(0x80));
        assert!(bits.take(1).is_err());
    }

    #[test]
    fn a_marker_ends_the_data() {
        let mut bits = BitReader::new(&[0xa5, 0xff, 0xd9, 0, 0, 0, 0, 0, 0, 0], 0);
        assert_eq!(bits.take(8), Ok(0xa5));
        assert!(bits.take(1).is_err());
    }

    #[test]
    fn both_ways_of_loading_read_the_same_bits() {
        let plain: Vec<u8> = (0..64u8).map(|i| i.wrapping_mul(37)).collect();
        let mut fast = BitReader::new(&plain, 0);
        for &byte in &plain {
            assert_eq!(fast.take(3), Ok(u32::from(byte >> 5)));
            assert_eq!(fast.take(5), Ok(u32::from(byte & 31)));
        }
    }

    #[test]
    fn the_ff_test_finds_it_in_every_byte() {
        for byte in 0..8 {
            assert!(has_ff(0xff << (8 * byte)));
            assert!(!has_ff(0xfe << (8 * byte)));
        }
        assert!(!has_ff(0x80fe_7f00_0180_fe7f));
    }

    #[test]
    fn a_golomb_escape_holds_the_value_less_one() {
        // Four zeros, a one, then 1010: with prefix 4 and four escape bits.
        let mut bits = BitReader::new(&[0b0000_1101, 0b0000_0000], 0);
        assert_eq!(bits.golomb(2, 4, 4), Ok(11));
        let mut bits = BitReader::new(&[0b0001_1000], 0);
        assert_eq!(bits.golomb(2, 4, 4), Ok(3 << 2 | 0b10));
        let mut bits = BitReader::new(&[0b0000_0100], 0);
        assert!(bits.golomb(2, 4, 4).is_err());
    }
}
