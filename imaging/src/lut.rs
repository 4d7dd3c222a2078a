//! Look-up tables (PS3.3 sections C.11.1 and C.11.2).

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use crate::dataset::Attributes;

/// A table from values to values.
#[derive(Debug, Clone, PartialEq)]
pub struct Lut {
    /// The value that the first entry stands for.
    pub first: i32,
    /// The entries; never none.
    pub entries: Vec<u16>,
    /// Bits of an entry: 8 to 16.
    pub bits: u32,
}

impl Lut {
    /// Reads an item with LUT Descriptor (0028,3002) and LUT Data (0028,3006).
    ///
    /// The first mapped value is signed where the values that are looked up are. A table whose data is shorter than
    /// its descriptor says is taken as long as it is.
    pub fn read(item: &Attributes<'_>, is_signed: bool) -> Option<Self> {
        Self::from_tags(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, is_signed)
    }

    /// Reads a table whose descriptor and data have other tags.
    pub(crate) fn from_tags(from: &Attributes<'_>, descriptor: Tag, data: Tag, is_signed: bool) -> Option<Self> {
        let [count, first, bits] = *from.words(descriptor).first_chunk::<3>()?;
        let first = if is_signed { i32::from(first as i16) } else { i32::from(first) };
        let count = if count == 0 { 65_536 } else { usize::from(count) };
        let bits = u32::from(bits).clamp(8, 16);
        let bytes = from.bytes(data)?;
        let entries: Vec<u16> = if bits == 8 && bytes.len() < 2 * count && bytes.len() >= count {
            // Entries of 8 bits packed two to a word.
            bytes.iter().take(count).map(|&byte| u16::from(byte)).collect()
        } else {
            from.words(data).into_iter().take(count).collect()
        };
        let largest = entries.iter().copied().max()?;
        // Entries larger than the descriptor allows are met: then the entries are right.
        let bits = bits.max(16 - u32::from(largest).leading_zeros().saturating_sub(16));
        Some(Self { first, entries, bits })
    }

    /// The entry for `value`; the first or last beyond the ends.
    pub fn get(&self, value: i64) -> u16 {
        let last = self.entries.len() as i64 - 1;
        self.entries[value.saturating_sub(i64::from(self.first)).clamp(0, last) as usize]
    }

    /// The largest value that an entry can have.
    pub fn max(&self) -> u16 {
        ((1u32 << self.bits) - 1) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_ends_get_the_end_entries() {
        let lut = Lut { first: -2, entries: vec![10, 20, 30], bits: 8 };
        assert_eq!([-9, -2, -1, 0, 9].map(|value| lut.get(value)), [10, 10, 20, 30, 30]);
        assert_eq!(lut.max(), 255);
    }
}
