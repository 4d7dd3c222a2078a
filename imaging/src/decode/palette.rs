//! Palettes (PS3.3 section C.7.9): an index to red, green and blue.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::DecodeError;
use crate::dataset::Attributes;
use crate::frame::{Frame, Pixels};
use crate::lut::Lut;

/// The frame with its indices looked up; a frame that is colour already stays.
pub(super) fn apply(frame: Frame, attributes: &Attributes<'_>) -> Result<Frame, DecodeError> {
    let Pixels::Grey(indices) = &frame.pixels else { return Ok(frame) };
    if attributes.has(tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA) {
        return Err(DecodeError::Palette("segmented"));
    }
    let table = |descriptor: Tag, data: Tag| {
        Lut::from_tags(attributes, descriptor, data, false).ok_or(DecodeError::Palette("missing or damaged"))
    };
    let tables = [
        table(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA)?,
        table(tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA)?,
        table(tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA)?,
    ];
    let shade = |lut: &Lut, index: i32| (lut.get(i64::from(index)) >> (lut.bits - 8)) as u8;
    let rgb = indices.iter().flat_map(|&index| [0, 1, 2].map(|channel: usize| shade(&tables[channel], index)));
    Ok(Frame { rows: frame.rows, columns: frame.columns, pixels: Pixels::Rgb(rgb.collect()) })
}
