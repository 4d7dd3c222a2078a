//! The published JSON document.
//!
//! Its shape is [`document::Document`], a contract of its own beside the domain types, so that those may change without
//! breaking readers. The JSON Schema is generated from it and committed as `report.schema.json`.
//!
//! Readers must take unknown fields: a later version may add some under the same [`SCHEMA_ID`]. A change that breaks readers
//! gets another id.

mod convert;
pub mod document;
mod priors;
mod words;

use document::Document;

use super::{ReportError, ReportInputs};

/// The schema that [`write()`] follows and [`parse`] reads.
pub const SCHEMA_ID: &str = "urn:prelim:report:1";

/// Decimals of a confidence: a tenth of a per cent is finer than any calibration.
const CONFIDENCE_DECIMALS: i32 = 3;
/// Decimals of a fraction of the frame: finer than a pixel of a 4096-pixel film.
const FRACTION_DECIMALS: i32 = 4;
/// Decimals of a length in mm.
const LENGTH_DECIMALS: i32 = 1;

/// Writes the document, indented, with a line feed at its end.
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    to_bytes(&Document::of(inputs.report, inputs.study))
}

/// Writes a document that is at hand, as [`super::write`] does.
pub fn to_bytes(document: &Document) -> Result<Vec<u8>, ReportError> {
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a document back. [`Document::to_report`] gives the draft, with its numbers as rounded on writing: writing it again
/// gives the same bytes.
pub fn parse(bytes: &[u8]) -> Result<Document, ReportError> {
    let document: Document = serde_json::from_slice(bytes)?;
    if document.schema != SCHEMA_ID {
        return Err(ReportError::UnknownSchema { found: document.schema.chars().take(80).collect() });
    }
    Ok(document)
}

/// The JSON Schema (draft 2020-12) of the document, indented, with a line feed at its end.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(Document);
    schema.insert("$id".to_owned(), SCHEMA_ID.into());
    schema.insert("title".to_owned(), "prelim report".into());
    format!("{:#}\n", schema.as_value())
}

/// A fraction of the frame as the document rounds it.
pub(super) fn fraction(value: f32) -> f64 {
    rounded(value, FRACTION_DECIMALS)
}

/// `value` to that many decimals, as the shortest number that prints so. JSON has no word for what is not finite: 0.
fn rounded(value: f32, decimals: i32) -> f64 {
    if !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powi(decimals);
    (f64::from(value) * scale).round() / scale
}
