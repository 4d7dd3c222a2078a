//! Objects in: accepted one by one, assembled into studies, planned when a study is complete.
//!
//! Objects of the DICOM network come by [`crate::dimse`], those of gRPC by [`crate::grpc`].
//!
//! # Layout
//! - `accept`: one object scanned, stored, recorded; `sending`: what comes together, by one association or upload
//! - [`complete`]: when a study is complete (pure); `assemble`: studies that are, routed and planned

mod accept;
mod assemble;
pub mod complete;
mod sending;

pub use accept::{Claim, Object, Outcome, Refused, Verdict};
pub use sending::Sending;
