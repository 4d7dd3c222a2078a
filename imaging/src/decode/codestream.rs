//! Compressed frames: which decoder takes one, and what must hold before and after.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::{DecodeError, assemble, jpeg_lossless, jpeg_xl, jpeg2000, native};
use crate::codec::peek::{Dimensions, Kind};
use crate::codec::{CodecFrame, jpeg, jpegls, peek_dimensions, rle};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::pixels::PixelDescription;
use crate::scan::inflate;
use crate::syntax::Compression;

/// What a decoder needs to know beside the codestream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coded {
    /// How the frame is compressed.
    pub compression: Compression,
    /// The Image Pixel module.
    pub description: PixelDescription,
}

/// The samples of a decoded codestream.
pub(super) struct Samples {
    /// As coded, without a colour transform.
    pub(super) frame: CodecFrame,
    /// The codestream itself says that its samples are signed.
    pub(super) is_signed: bool,
}

impl From<CodecFrame> for Samples {
    fn from(frame: CodecFrame) -> Self {
        Self { frame, is_signed: false }
    }
}

/// Decodes one codestream, in this process.
pub fn decode_codestream(coded: &Coded, codestream: &[u8], limits: &Limits) -> Result<Frame, DecodeError> {
    let description = &coded.description;
    let plain = PixelDescription { is_planar: false, ..description.clone() };
    match coded.compression {
        Compression::Rle => {
            let shape = rle::Shape {
                width: description.columns,
                height: description.rows,
                samples_per_pixel: description.samples as u8,
                bits_allocated: description.bits_allocated as u8,
            };
            let bytes = rle::decode_bytes(codestream, &shape, &codec_limits(limits))?;
            native::decode(&bytes, 0, &plain, native::ByteOrder::Little)
        }
        Compression::DeflatedFrame => {
            let bits = description.pixels() * (description.samples * description.bits_allocated) as usize;
            // A frame may be padded to an even length.
            let bytes = inflate(codestream, bits.div_ceil(8) + 1)
                .map_err(|error| DecodeError::Codestream { codec: "deflated frame", message: error.to_string() })?;
            native::decode(&bytes, 0, description, native::ByteOrder::Little)
        }
        Compression::Native => native::decode(codestream, 0, description, native::ByteOrder::Little),
        _ => {
            let dimensions = peek_dimensions(codestream)?;
            check_dimensions(&dimensions, description)?;
            let samples = decode_kind(&dimensions, codestream, limits)?;
            let shape = (samples.frame.width, samples.frame.height, u32::from(samples.frame.components));
            if shape != (description.columns, description.rows, description.samples) {
                return Err(mismatch(description, shape.0, shape.1, Some(shape.2)));
            }
            Ok(assemble::assemble(samples, description))
        }
    }
}

/// The codestream says itself what it is; the transfer syntax may be wrong about it.
fn decode_kind(dimensions: &Dimensions, codestream: &[u8], limits: &Limits) -> Result<Samples, DecodeError> {
    let limits = codec_limits(limits);
    match dimensions.kind {
        Kind::JpegLs => Ok(jpegls::decode(codestream, &limits)?.into()),
        Kind::Jpeg { process: 3 } => guarded("JPEG Lossless", || jpeg_lossless::decode(codestream, &limits)),
        Kind::Jpeg { .. } => Ok(jpeg::decode(codestream, &limits)?.into()),
        Kind::Jpeg2000 => guarded("JPEG 2000", || jpeg2000::decode(codestream)),
        Kind::JpegXl => guarded("JPEG XL", || jpeg_xl::decode(codestream, &limits)),
    }
}

/// Runs a decoder that is not ours: its panic is an error of the codestream.
fn guarded(codec: &'static str, decode: impl FnOnce() -> Result<Samples, String>) -> Result<Samples, DecodeError> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(decoded) => decoded.map_err(|message| DecodeError::Codestream { codec, message }),
        Err(_) => Err(DecodeError::Codestream { codec, message: "the decoder panicked".to_owned() }),
    }
}

/// A codestream of another size than the header says would make a decoder allocate what no limit has seen.
fn check_dimensions(found: &Dimensions, description: &PixelDescription) -> Result<(), DecodeError> {
    let components = found.components.map(u32::from);
    let same = found.width == description.columns
        // The number of lines may follow the first scan.
        && (found.height == description.rows || found.height == 0)
        && components.is_none_or(|components| components == description.samples);
    if same { Ok(()) } else { Err(mismatch(description, found.width, found.height, components)) }
}

fn mismatch(description: &PixelDescription, columns: u32, rows: u32, samples: Option<u32>) -> DecodeError {
    DecodeError::Mismatch {
        header: (description.rows, description.columns, description.samples),
        rows,
        columns,
        samples: samples.unwrap_or(description.samples),
    }
}

fn codec_limits(limits: &Limits) -> crate::codec::Limits {
    crate::codec::Limits { max_pixels: limits.max_frame_samples as u64, ..Default::default() }
}
