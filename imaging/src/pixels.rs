//! The Image Pixel module (PS3.3 section C.7.6.3), checked.

use dicom_dictionary_std::tags;
use serde::{Deserialize, Serialize};

use crate::dataset::Attributes;
use crate::limits::Limits;

/// How the pixels of an object are laid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelDescription {
    /// Rows (0028,0010).
    pub rows: u32,
    /// Columns (0028,0011).
    pub columns: u32,
    /// Samples per Pixel (0028,0002): 1 or 3.
    pub samples: u32,
    /// Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
    /// Bits Allocated (0028,0100): 1, 8, 16 or 32.
    pub bits_allocated: u32,
    /// Bits Stored (0028,0101): 1 to Bits Allocated.
    pub bits_stored: u32,
    /// High Bit (0028,0102): Bits Stored − 1 to Bits Allocated − 1.
    pub high_bit: u32,
    /// Pixel Representation (0028,0103) is 1: two's complement.
    pub is_signed: bool,
    /// Planar Configuration (0028,0006) is 1: one plane after the other.
    pub is_planar: bool,
    /// Number of Frames (0028,0008), 1 where absent.
    pub frames: u32,
}

/// What the samples of a pixel mean (PS3.3 section C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Photometric {
    /// Grey, the smallest value white.
    Monochrome1,
    /// Grey, the smallest value black.
    Monochrome2,
    /// An index into a palette.
    PaletteColor,
    /// Red, green, blue.
    Rgb,
    /// Luma and chroma, full range.
    YbrFull,
    /// The same, chroma halved along rows.
    YbrFull422,
    /// Luma and chroma by the irreversible transform of JPEG 2000, which its decoder undoes.
    YbrIct,
    /// The same by the reversible transform.
    YbrRct,
}

impl Photometric {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "MONOCHROME1" => Self::Monochrome1,
            "MONOCHROME2" => Self::Monochrome2,
            "PALETTE COLOR" => Self::PaletteColor,
            "RGB" => Self::Rgb,
            "YBR_FULL" => Self::YbrFull,
            "YBR_FULL_422" => Self::YbrFull422,
            "YBR_ICT" => Self::YbrIct,
            "YBR_RCT" => Self::YbrRct,
            _ => return None,
        })
    }

    /// Samples of a pixel.
    pub fn samples(self) -> u32 {
        match self {
            Self::Monochrome1 | Self::Monochrome2 | Self::PaletteColor => 1,
            Self::Rgb | Self::YbrFull | Self::YbrFull422 | Self::YbrIct | Self::YbrRct => 3,
        }
    }
}

/// Photometric interpretations that are defined (PS3.3 section C.7.6.3.1.2) and not read.
const NOT_READ: [&str; 6] = ["HSV", "ARGB", "CMYK", "XYB", "YBR_PARTIAL_420", "YBR_PARTIAL_422"];

/// Why the Image Pixel module cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PixelDescriptionError {
    /// An attribute that must be there is not, or is no number.
    #[error("no usable {0}")]
    Missing(&'static str),
    /// An attribute has a value that cannot be.
    #[error("{name} is {found}")]
    Impossible {
        /// The attribute.
        name: &'static str,
        /// Its value.
        found: String,
    },
    /// An attribute has a value that is none of those defined. It is not repeated: in damaged objects it may be a name.
    #[error("{0} is none that is known")]
    Unknown(&'static str),
    /// A frame larger than is taken.
    #[error("frame of {rows} × {columns} × {samples} samples is larger than the limit of {limit}")]
    FrameTooLarge {
        /// Rows.
        rows: u32,
        /// Columns.
        columns: u32,
        /// Samples per pixel.
        samples: u32,
        /// [`Limits::max_frame_samples`].
        limit: usize,
    },
    /// More frames than are taken.
    #[error("{found} frames are more than the limit of {limit}")]
    TooManyFrames {
        /// Number of Frames.
        found: i64,
        /// [`Limits::max_frames`].
        limit: u32,
    },
}

impl PixelDescription {
    /// Reads and checks the module.
    pub fn read(attributes: &Attributes<'_>, limits: &Limits) -> Result<Self, PixelDescriptionError> {
        use PixelDescriptionError::{Impossible, Missing, Unknown};
        let number = |tag, name| attributes.u16(tag).map(u32::from).ok_or(Missing(name));
        let impossible = |name, found: &dyn ToString| Impossible { name, found: found.to_string() };

        let rows = number(tags::ROWS, "Rows")?;
        let columns = number(tags::COLUMNS, "Columns")?;
        if rows == 0 || columns == 0 {
            return Err(impossible("Rows × Columns", &format!("{rows} × {columns}")));
        }
        let text = attributes.text(tags::PHOTOMETRIC_INTERPRETATION).ok_or(Missing("Photometric Interpretation"))?;
        let photometric = match Photometric::parse(&text) {
            Some(photometric) => photometric,
            None if NOT_READ.contains(&text.as_str()) => return Err(impossible("Photometric Interpretation", &text)),
            None => return Err(Unknown("Photometric Interpretation")),
        };
        let samples = number(tags::SAMPLES_PER_PIXEL, "Samples per Pixel").unwrap_or(photometric.samples());
        if samples != photometric.samples() {
            return Err(impossible("Samples per Pixel", &format!("{samples}, with {text}")));
        }
        let bits_allocated = number(tags::BITS_ALLOCATED, "Bits Allocated")?;
        if !matches!(bits_allocated, 1 | 8 | 16 | 32) {
            return Err(impossible("Bits Allocated", &bits_allocated));
        }
        let bits_stored = number(tags::BITS_STORED, "Bits Stored").unwrap_or(bits_allocated);
        if bits_stored == 0 || bits_stored > bits_allocated {
            return Err(impossible("Bits Stored", &format!("{bits_stored} of {bits_allocated} allocated")));
        }
        // A high bit that cannot be is read as the usual one, as other tools do.
        let high_bit = number(tags::HIGH_BIT, "High Bit")
            .ok()
            .filter(|high| (bits_stored - 1..bits_allocated).contains(high))
            .unwrap_or(bits_stored - 1);
        let is_signed = attributes.u16(tags::PIXEL_REPRESENTATION) == Some(1);
        let is_planar = samples > 1 && attributes.u16(tags::PLANAR_CONFIGURATION) == Some(1);

        let limit = limits.max_frame_samples;
        if u64::from(rows) * u64::from(columns) * u64::from(samples) > limit as u64 {
            return Err(PixelDescriptionError::FrameTooLarge { rows, columns, samples, limit });
        }
        let frames = read_frames(attributes, limits)?;
        Ok(Self {
            rows,
            columns,
            samples,
            photometric,
            bits_allocated,
            bits_stored,
            high_bit,
            is_signed,
            is_planar,
            frames,
        })
    }

    /// Pixels of a frame.
    pub fn pixels(&self) -> usize {
        self.rows as usize * self.columns as usize
    }

    /// The value of a sample: the bits stored at and under the high bit (bits beside them may be overlays or noise),
    /// with their sign.
    pub(crate) fn value(&self, raw: u32) -> i64 {
        sample_value(raw >> (self.high_bit + 1 - self.bits_stored), self.bits_stored, self.is_signed)
    }
}

/// The value of the low `bits` bits of `raw`.
pub(crate) fn sample_value(raw: u32, bits: u32, is_signed: bool) -> i64 {
    let unused = 64 - bits;
    let top = u64::from(raw) << unused;
    if is_signed { (top as i64) >> unused } else { (top >> unused) as i64 }
}

/// Number of Frames, absent in single-frame objects.
fn read_frames(attributes: &Attributes<'_>, limits: &Limits) -> Result<u32, PixelDescriptionError> {
    if attributes.bytes(tags::NUMBER_OF_FRAMES).is_none() {
        return Ok(1);
    }
    let found = attributes.integer(tags::NUMBER_OF_FRAMES).ok_or(PixelDescriptionError::Missing("Number of Frames"))?;
    match u32::try_from(found) {
        // Written by some single-frame modalities.
        Ok(0) => Ok(1),
        Ok(frames) if frames <= limits.max_frames => Ok(frames),
        Ok(_) => Err(PixelDescriptionError::TooManyFrames { found, limit: limits.max_frames }),
        Err(_) => Err(PixelDescriptionError::Impossible { name: "Number of Frames", found: found.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_comes_from_the_bits_stored() {
        for (raw, high_bit, bits_stored, is_signed, expected) in [
            (0xFFFF, 11, 12, true, -1),
            (0xFFFF, 11, 12, false, 4095),
            (0xF7FF, 11, 12, true, 2047),
            (0x8000, 15, 16, true, -32768),
            (0xFFF0, 15, 12, true, -1),
            (0xFFFF_FFFF, 31, 32, true, -1),
            (0xFFFF_FFFF, 31, 32, false, 0xFFFF_FFFF),
        ] {
            let description = PixelDescription {
                rows: 1,
                columns: 1,
                samples: 1,
                photometric: Photometric::Monochrome2,
                bits_allocated: 32,
                bits_stored,
                high_bit,
                is_signed,
                is_planar: false,
                frames: 1,
            };
            assert_eq!(description.value(raw), expected, "{raw:x}");
        }
    }
}
