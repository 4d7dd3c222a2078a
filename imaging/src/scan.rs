//! The scan: the one reader of received bytes. It finds every element, or says what is wrong and where.
//!
//! It takes what other tools take (no preamble, no or a wrong file header, over-long header values) and checks what
//! they do not: each length against the bytes left, the depth of nesting, and what a deflated data set inflates to.
//! No other parser sees an object, so none can be made to recurse or to allocate by one.

mod error;
mod inflate;
mod meta;
mod walk;

use std::borrow::Cow;
use std::ops::Range;

use dicom_dictionary_std::tags;

pub use error::ScanError;
pub(crate) use inflate::inflate;
pub(crate) use walk::has_long_length;

use crate::dataset::{Attributes, Dataset, Value};
use crate::limits::Limits;
use crate::syntax::TransferSyntax;

/// An object whose bytes were scanned from end to end.
#[derive(Debug, Clone)]
pub struct Scanned<'a> {
    syntax: TransferSyntax,
    bytes: Cow<'a, [u8]>,
    dataset: Dataset,
}

/// Where the pixels of an object are, in its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PixelBytes<'a> {
    /// Native pixels of all frames, one after the other.
    Native(&'a Range<usize>),
    /// Encapsulated fragments; the first is the Basic Offset Table.
    Fragments(&'a [Range<usize>]),
}

/// Scans an object. See [`ScanError`] for all that may be wrong with it.
pub fn scan<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Scanned<'a>, ScanError> {
    if bytes.len() > limits.max_object_bytes {
        return Err(ScanError::TooLong { length: bytes.len(), limit: limits.max_object_bytes });
    }
    let meta = meta::read(bytes)?;
    let (bytes, start) = if meta.syntax.is_deflated() {
        (Cow::Owned(inflate(&bytes[meta.dataset_offset..], limits.max_inflated_bytes)?), 0)
    } else {
        (Cow::Borrowed(bytes), meta.dataset_offset)
    };
    let dataset = walk::walk(&bytes, start, meta.encoding, limits)?;
    Ok(Scanned { syntax: meta.syntax, bytes, dataset })
}

impl Scanned<'_> {
    /// The transfer syntax that the file header names, or that was guessed.
    pub fn syntax(&self) -> &TransferSyntax {
        &self.syntax
    }

    /// The bytes that all ranges count in: those of the object, or the inflated data set.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The values of the elements.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::new(&self.bytes, &self.dataset)
    }

    /// Where Pixel Data (7FE0,0010) is.
    pub fn pixel_bytes(&self) -> Option<PixelBytes<'_>> {
        match &self.dataset.get(tags::PIXEL_DATA)?.value {
            Value::Bytes(range) => Some(PixelBytes::Native(range)),
            Value::Fragments(fragments) => Some(PixelBytes::Fragments(fragments)),
            Value::Items(_) => None,
        }
    }
}
