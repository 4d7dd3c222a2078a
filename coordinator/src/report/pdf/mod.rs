//! The draft as pages: PDF, and the same within a DICOM object (Encapsulated PDF, PS3.3 section A.45.1).
//!
//! # Layout
//! - `content`: what is on the pages, in which order
//! - `findings`: the table of findings; `images`: the key images with their boxes
//! - `page`: lines, tables and page breaks
//! - `draw`: pages to bytes
//! - `encapsulated`: the DICOM object around them
//!
//! **Invariant**: every page says that it is an unsigned draft, or who answers for it, whose it is, and which of how many pages it is.

mod content;
mod draw;
mod encapsulated;
mod findings;
mod images;
mod page;

use super::uid::Names;
use super::{ReportError, ReportInputs, present};

pub(super) use encapsulated::write as encapsulated;

/// Writes the PDF.
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    document(inputs, &Names::of(inputs)?)
}

fn document(inputs: &ReportInputs<'_>, names: &Names) -> Result<Vec<u8>, ReportError> {
    let pictures = super::picture::in_reading_order(inputs);
    let pages = content::of(inputs, &pictures);
    let title = present::banner(inputs.report);
    let made_at_ms = inputs.report.review.as_ref().map_or(inputs.study.received_at_ms, |review| review.at_ms);
    draw::write(&pages, &pictures, title, &names.uuid("pdf"), made_at_ms)
}
