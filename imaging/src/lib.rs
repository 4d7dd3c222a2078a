//! DICOM in, pictures out.
//!
//! # Layout
//! - [`scan`]: the one reader of received bytes: every element found, or what is wrong and where
//! - [`dataset`], [`charset`]: the elements, and typed reading of their values
//! - [`syntax`]: transfer syntaxes
//! - [`header`]: bytes to domain types: study, series, instance, image attributes, planes
//! - [`pixels`]: the Image Pixel module, checked
//! - [`decode`]: one frame to stored values ([`frame`])
//! - [`codec`]: decoders of our own: JPEG-LS, 8 and 12-bit JPEG, RLE
//! - [`sandbox`]: the same in a child process, where hostile bytes can do no harm
//! - [`deidentify`]: an object without what names the patient, after PS3.15 annex E
//! - [`rewrite`]: an object in Explicit VR Little Endian, its pixels decoded
//! - [`same`]: whether two objects are one, encoded in two ways
//! - [`photometry`], [`lut`]: stored values to modality values (HU) and to shades
//! - [`render`]: the pictures that models and readers see
//! - [`keyimage`]: the same as PNG, for a page
//! - [`geometry`]: where slices lie, their order, and what is odd about it
//! - [`limits`]: the caps on what one object may make us hold
//!
//! **Invariant**: bytes from outside are read by [`scan`] alone; nothing recurses over them, and no length of theirs
//! is believed before it is compared with the bytes left.
//! **Invariant**: a compressed frame from outside meets a decoder only in [`sandbox`], or in-process where the caller
//! says so, and never before its own size agrees with the header.
//! **Invariant**: what is not read is an error that names what was found; nothing is replaced by a guess in silence.
//! **Invariant**: nothing here knows studies in time, jobs, tokio or gRPC.
//! Deliberately absent: writing DICOM that was not received (the report writers do that), and a general object model: [`scan`] finds what
//! an object holds, and each module reads what it needs.

pub mod charset;
pub mod codec;
pub mod dataset;
pub mod decode;
#[allow(deprecated, reason = "objects of long ago hold attributes that were retired since")]
pub mod deidentify;
pub mod frame;
pub mod geometry;
pub mod header;
pub mod keyimage;
pub mod limits;
pub mod lut;
pub mod photometry;
pub mod pixels;
pub mod render;
pub mod rewrite;
pub mod same;
pub mod sandbox;
pub mod scan;
pub mod syntax;

pub use limits::Limits;
