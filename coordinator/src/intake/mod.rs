//! Objects in: accepted one by one, assembled into studies, planned when a study is complete.
//!
//! Objects of the DICOM network come by [`crate::dimse`], those of gRPC by [`crate::grpc`].
//!
//! # Layout
//! - `accept`: one object scanned, stored, recorded; `assemble`: studies that are complete, planned

mod accept;
mod assemble;

pub use accept::{Object, Outcome, Refused, Verdict};
