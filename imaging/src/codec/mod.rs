//! Decoders for the compressed transfer syntaxes that no pure-Rust crate decodes exactly.
//!
//! # Layout
//! - [`jpegls`]: JPEG-LS, lossless and near-lossless (ISO/IEC 14495-1): `.80`, `.81`
//! - [`jpeg`]: Huffman-coded DCT JPEG, 8 and 12 bit, sequential and progressive (ITU-T T.81):
//!   `.50`, `.51`, `.53`, `.55`
//! - [`rle`]: DICOM RLE (PS3.5 annex G)
//! - [`colour`]: YCbCr to RGB, apart from decoding
//! - [`peek`]: what a codestream says of its size, before anything is decoded
//!
//! **Invariant**: no `unsafe`, no C, no IO, no clock; a codestream in, samples out.
//! **Invariant**: a number from a header allocates nothing before it has been checked against
//! [`Limits`] and against the bytes that are there.
//! **Invariant**: hostile bytes give an error, never a panic; arithmetic that a codestream can push
//! out of range says whether it wraps or saturates.
//! Deliberately absent: lossless JPEG (`.57`, `.70`) and JPEG 2000, which dicom-rs decodes exactly;
//! arithmetic coding and hierarchical JPEG, which DICOM retired.

pub mod colour;
mod error;
pub mod jpeg;
pub mod jpegls;
mod limits;
mod markers;
pub mod peek;
pub mod rle;

pub use error::CodecError;
pub use limits::Limits;
pub use peek::peek_dimensions;

/// What the samples of a [`CodecFrame`] mean, as far as the codestream itself tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// One component.
    Grey,
    /// Three components: red, green, blue.
    Rgb,
    /// Three components: luma and two chroma differences, full range (ITU-T T.871).
    Ycbcr,
    /// Several components that only the data set explains (Photometric Interpretation).
    Unstated,
}

/// One decoded frame: samples as they were coded, without a colour transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecFrame {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Samples per pixel.
    pub components: u8,
    /// Bits of a sample in the codestream; no sample is above `2^bits - 1`.
    pub bits: u8,
    /// What the components mean.
    pub colour: Colour,
    /// `[height, width, components]`, row by row. Signed pixels are two's complement in the low
    /// bits, as in the data set: extend the sign from Bits Stored.
    pub samples: Vec<u16>,
}
