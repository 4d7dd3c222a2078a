//! Objects in: accepted one by one, assembled into studies, planned when a study is complete.
//!
//! # Layout
//! - [`dimse`]: objects from the DICOM network; those of gRPC come by [`crate::grpc`]
//! - `accept`: one object scanned, stored, recorded; `assemble`: studies that are complete, planned

mod accept;
mod assemble;
pub mod dimse;

pub use accept::{Object, Outcome, Refused, Verdict};
