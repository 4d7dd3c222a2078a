//! Decoding: one frame of a scanned object, to stored values.

mod colour;
mod native;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use prelim_proto::study::UnreadReason;

use crate::frame::Frame;
use crate::limits::Limits;
use crate::pixels::{PixelDescription, PixelDescriptionError};
use crate::scan::{PixelBytes, Scanned};
use crate::syntax::Compression;

/// Why a frame was not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No Pixel Data in the object.
    #[error("no pixel data")]
    NoPixelData,
    /// Floating-point pixels (PS3.3 section C.7.6.24), which no X-ray or CT image has.
    #[error("floating-point pixel data is not read")]
    FloatPixelData,
    /// The Image Pixel module cannot be.
    #[error(transparent)]
    Description(#[from] PixelDescriptionError),
    /// A transfer syntax without a decoder.
    #[error("no decoder for transfer syntax {0}")]
    TransferSyntax(String),
    /// No such frame.
    #[error("frame {frame} of {frames}")]
    NoSuchFrame {
        /// The frame asked for, from 1.
        frame: u32,
        /// How many there are.
        frames: u32,
    },
    /// Fewer bytes of pixels than the frames need.
    #[error("pixel data ends before frame {frame}: {needed} bytes needed, {found} found")]
    PixelDataTooShort {
        /// The frame, from 1.
        frame: u32,
        /// Bytes up to and with that frame.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// An unsigned 32-bit sample that is no signed one.
    #[error("a sample is larger than 2147483647")]
    SampleTooLarge,
    /// Native bytes in a compressed syntax, or fragments in an uncompressed one.
    #[error("pixel data is {found}, which transfer syntax {syntax} does not allow")]
    WrongForm {
        /// What it is.
        found: &'static str,
        /// The transfer syntax.
        syntax: String,
    },
}

impl DecodeError {
    /// The kind of reason, for the record of what was not read.
    pub fn unread_reason(&self) -> UnreadReason {
        match self {
            Self::NoPixelData | Self::FloatPixelData => UnreadReason::NotReadable,
            Self::TransferSyntax(_) => UnreadReason::TransferSyntax,
            Self::Description(
                PixelDescriptionError::FrameTooLarge { .. } | PixelDescriptionError::TooManyFrames { .. },
            ) => UnreadReason::TooLarge,
            _ => UnreadReason::Corrupt,
        }
    }
}

/// Decodes frame `number` (from 1), in this process.
///
/// Native pixels cost no more than a copy. Compressed ones go through third-party decoders: bytes from outside belong
/// in [`crate::sandbox`].
pub fn decode_frame(scanned: &Scanned<'_>, number: u32, limits: &Limits) -> Result<Frame, DecodeError> {
    let attributes = scanned.attributes();
    let Some(pixel_bytes) = scanned.pixel_bytes() else {
        let is_float = attributes.has(tags::FLOAT_PIXEL_DATA) || attributes.has(tags::DOUBLE_FLOAT_PIXEL_DATA);
        return Err(if is_float { DecodeError::FloatPixelData } else { DecodeError::NoPixelData });
    };
    let description = PixelDescription::read(&attributes, limits)?;
    if number == 0 || number > description.frames {
        return Err(DecodeError::NoSuchFrame { frame: number, frames: description.frames });
    }
    let compression = scanned.syntax().compression();
    match (compression, pixel_bytes) {
        (Compression::Native, PixelBytes::Native(range)) => {
            let bytes = &scanned.bytes()[range.clone()];
            native::decode(bytes, number as usize - 1, &description, byte_order(scanned))
        }
        _ => Err(DecodeError::TransferSyntax(scanned.syntax().to_string())),
    }
}

fn byte_order(scanned: &Scanned<'_>) -> native::ByteOrder {
    match scanned.dataset().get(tags::PIXEL_DATA) {
        Some(element) if element.big_endian && element.vr == VR::OW => native::ByteOrder::BigWords,
        Some(element) if element.big_endian => native::ByteOrder::Big,
        _ => native::ByteOrder::Little,
    }
}
