//! The draft as a FHIR R4 Bundle: DiagnosticReport, Observations, ImagingStudy, Patient and Device.
//!
//! # Layout
//! - `bundle`: the entries and how they refer to each other
//! - `report`: DiagnosticReport
//! - `observation`: one finding
//! - `study`: ImagingStudy, Patient, the Device that drafted, and the Practitioner who reviewed
//! - `narrative`: the report for people, within DiagnosticReport
//! - `value`: codes, identifiers, quantities, dates
//!
//! **Invariant**: ids are UUIDs of digests, so that the same report is the same Bundle, byte for byte. That of the Bundle is of its
//! content; those of resources are of what they are about (the study, the finding), so that versions of a report are versions
//! of the same resources.
//! **Invariant**: no time is written but that of a review: the record knows the scanner's clock without its zone, and FHIR takes
//! no time without one. Dates are the study's.

mod bundle;
mod narrative;
mod observation;
mod report;
mod study;
mod value;

use super::{ReportError, ReportInputs};

/// Writes the Bundle as JSON, indented, with a line feed at its end.
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    let mut bundle = value::pruned(bundle::of(inputs)?).unwrap_or_default();
    // The order of keys would depend on what else is built with serde_json.
    bundle.sort_all_objects();
    let mut bytes = serde_json::to_vec_pretty(&bundle)?;
    bytes.push(b'\n');
    Ok(bytes)
}
