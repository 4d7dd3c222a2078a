//! Decoding: one frame of a scanned object, to stored values.

mod assemble;
mod codestream;
mod colour;
mod fragments;
mod jpeg2000;
mod jpeg_lossless;
mod jpeg_xl;
mod native;
mod palette;

use std::borrow::Cow;

pub use codestream::{Coded, decode_codestream};
use dicom_core::VR;
use dicom_dictionary_std::tags;
use prelim_proto::study::UnreadReason;

use crate::codec::CodecError;
use crate::frame::Frame;
use crate::limits::Limits;
use crate::pixels::{Photometric, PixelDescription, PixelDescriptionError};
use crate::sandbox::SandboxError;
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
    /// A codestream of another shape than the header says.
    #[error("codestream of {rows} × {columns} × {samples} samples where the header says {} × {} × {}", header.0, header.1, header.2)]
    Mismatch {
        /// Rows, columns and samples per pixel of the header.
        header: (u32, u32, u32),
        /// Rows of the codestream.
        rows: u32,
        /// Its columns.
        columns: u32,
        /// Its components.
        samples: u32,
    },
    /// Fragments that cannot be told apart into frames.
    #[error("{fragments} fragments for {frames} frames, and no offset table that fits")]
    Fragments {
        /// Fragments, without the offset table.
        fragments: usize,
        /// Number of Frames.
        frames: usize,
    },
    /// A codestream that one of our decoders refused.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A codestream that another decoder refused.
    #[error("{codec}: {message}")]
    Codestream {
        /// The kind of codestream.
        codec: &'static str,
        /// What its decoder says.
        message: String,
    },
    /// A palette that is not there, or of a kind that is not read.
    #[error("palette: {0}")]
    Palette(&'static str),
    /// The decoder process refused the frame.
    #[error("{message}")]
    Refused {
        /// The kind of reason.
        reason: UnreadReason,
        /// What it says.
        message: String,
    },
    /// The decoder process gave no answer.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
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
            Self::Refused { reason, .. } => *reason,
            Self::TransferSyntax(_) => UnreadReason::TransferSyntax,
            Self::Description(
                PixelDescriptionError::FrameTooLarge { .. } | PixelDescriptionError::TooManyFrames { .. },
            )
            | Self::Codec(CodecError::OverLimit { .. }) => UnreadReason::TooLarge,
            _ => UnreadReason::Corrupt,
        }
    }
}

/// Decodes frame `number` (from 1), in this process.
///
/// Native pixels cost no more than a copy. Compressed ones go through third-party decoders: bytes from outside belong
/// in [`crate::sandbox`].
pub fn decode_frame(scanned: &Scanned<'_>, number: u32, limits: &Limits) -> Result<Frame, DecodeError> {
    match locate(scanned, number, limits)? {
        Located::Native(frame) => Ok(frame),
        Located::Coded(coded, codestream) => finish(decode_codestream(&coded, &codestream, limits)?, &coded, scanned),
    }
}

/// The codestream of frame `number` (from 1), its fragments joined; nothing where pixels are native.
pub fn codestream<'a>(
    scanned: &'a Scanned<'_>,
    number: u32,
    limits: &Limits,
) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
    match locate(scanned, number, limits)? {
        Located::Native(_) => Ok(None),
        Located::Coded(_, codestream) => Ok(Some(codestream)),
    }
}

/// A frame found in an object.
pub(crate) enum Located<'a> {
    /// Native pixels: there is nothing to decode, so nothing to guard.
    Native(Frame),
    /// A codestream, its fragments joined.
    Coded(Coded, Cow<'a, [u8]>),
}

/// Finds frame `number` (from 1) of an object, and reads it where it is native.
pub(crate) fn locate<'a>(scanned: &'a Scanned<'_>, number: u32, limits: &Limits) -> Result<Located<'a>, DecodeError> {
    let attributes = scanned.attributes();
    let Some(pixel_bytes) = scanned.pixel_bytes() else {
        let is_float = attributes.has(tags::FLOAT_PIXEL_DATA) || attributes.has(tags::DOUBLE_FLOAT_PIXEL_DATA);
        return Err(if is_float { DecodeError::FloatPixelData } else { DecodeError::NoPixelData });
    };
    let compression = scanned.syntax().compression();
    if compression == Compression::Unknown {
        return Err(DecodeError::TransferSyntax(scanned.syntax().to_string()));
    }
    let description = PixelDescription::read(&attributes, limits)?;
    if number == 0 || number > description.frames {
        return Err(DecodeError::NoSuchFrame { frame: number, frames: description.frames });
    }
    let index = number as usize - 1;
    match (compression, pixel_bytes) {
        (Compression::Native, PixelBytes::Native(range)) => {
            let frame = native::decode(&scanned.bytes()[range.clone()], index, &description, byte_order(scanned))?;
            Ok(Located::Native(with_palette(frame, description.photometric, scanned)?))
        }
        (_, PixelBytes::Fragments(fragments)) => {
            let codestream = fragments::codestream(scanned, fragments, index, description.frames as usize)?;
            Ok(Located::Coded(Coded { compression, description }, codestream))
        }
        (_, PixelBytes::Native(_)) => {
            Err(DecodeError::WrongForm { found: "not encapsulated", syntax: scanned.syntax().to_string() })
        }
    }
}

/// What is left to do with a decoded codestream that needs the rest of the object.
pub(crate) fn finish(frame: Frame, coded: &Coded, scanned: &Scanned<'_>) -> Result<Frame, DecodeError> {
    with_palette(frame, coded.description.photometric, scanned)
}

fn with_palette(frame: Frame, photometric: Photometric, scanned: &Scanned<'_>) -> Result<Frame, DecodeError> {
    match photometric {
        Photometric::PaletteColor => palette::apply(frame, &scanned.attributes()),
        _ => Ok(frame),
    }
}

fn byte_order(scanned: &Scanned<'_>) -> native::ByteOrder {
    match scanned.dataset().get(tags::PIXEL_DATA) {
        Some(element) if element.big_endian && element.vr == VR::OW => native::ByteOrder::BigWords,
        Some(element) if element.big_endian => native::ByteOrder::Big,
        _ => native::ByteOrder::Little,
    }
}
