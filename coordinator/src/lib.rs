//! Everything between the PACS and the queue, and back.
//!
//! # Layout
//! - [`queue`]: the rules of the queue: order, retries, limits (pure)
//! - [`store`]: where studies, jobs, leases and drafts are recorded
//! - [`report`]: drafts as JSON, HTML, text and DICOM SR (pure)
//! - [`clock`]: time, as an argument
//!
//! **Invariant**: the coordinator knows no model and no pixels beyond key images; workers are spoken to by gRPC only.

pub mod clock;
pub mod queue;
pub mod report;
pub mod store;
