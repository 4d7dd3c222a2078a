//! One job in, findings out.
//!
//! # Layout
//! - [`demo_model`]: the demonstration model, carried inside the binary
//! - [`engine`]: requests in time: batches, cache, grammar, sampling
//! - [`model`]: tensors only: a checkpoint, pictures and tokens to logits
//! - [`preprocess`]: pictures of bytes to the numbers a vision tower takes
//! - [`findings`]: an answer to findings, with confidence
//! - [`prompt`]: the profile's words and the pictures to tokens
//! - [`profile`]: the reading profile: what a model wants to be asked, and what it may answer
//!
//! **Invariant**: nothing here knows the coordinator; the two meet over gRPC only.
//! **Invariant**: `engine` and `model` know no DICOM, no jobs and no gRPC.
//! **Invariant**: no patient attribute reaches a worker; jobs name images by digest.

pub mod demo_model;
pub mod engine;
pub mod findings;
pub mod model;
pub mod preprocess;
pub mod profile;
pub mod prompt;
