//! One job in, findings out.
//!
//! # Layout
//! The path of a job, in order:
//! - [`run`]: a worker from start to stop; [`config`]: its settings; `lease`, `renew`: the loop around jobs
//! - [`connection`]: the way to a coordinator; [`coordinator`]: the coordinator, as a worker sees it
//! - [`fetch`]: the bytes of instances; `direct`: from the object store
//! - [`job`]: one job, from images to findings; `answer`: one question, from words and images to an answer
//! - [`desk`]: room for what is on its way; [`pictures`]: decode, render, [`preprocess`]: an instance's bytes to the numbers a vision tower takes
//! - [`profile`]: what a model wants to be asked, and what it may answer; [`prompt`]: its words and pictures to tokens
//! - [`engine`]: requests in time: batches, cache, grammar, sampling
//! - [`model`]: tensors only: a checkpoint, pictures and tokens to logits; `backend`: the device of this build
//! - [`findings`]: an answer to findings, with confidence
//!
//! Beside it:
//! - [`embed`]: pictures and texts to points of one space, for an encoder
//! - [`logits`]: a porter's tool: one prompt through the model, tensor by tensor
//! - [`quantize`]: a checkpoint with whole numbers for weights, written ahead
//! - [`reader`]: what is loaded once and shared by all jobs; `fit`: whether what it is to be asked can be asked
//! - [`metrics`]: numbers for Prometheus, alive and ready; `traces`: what is added to a study's trace
//! - [`simulate`]: a worker that only takes its time
//! - [`backend`]: the device that the model computes on; [`memory`]: what this machine has for it
//! - [`demo_model`]: the demonstration model, carried inside the binary
//!
//! **Invariant**: nothing here knows the coordinator's code; the two meet over gRPC only.
//! **Invariant**: `engine` and `model` know no DICOM, no jobs and no gRPC.
//! **Invariant**: no patient attribute reaches a worker, unless somebody writes it into a question; jobs name images by digest.
//! **Invariant**: a pass of the model blocks the engine's thread and nothing else; leases are renewed from another.

mod answer;
pub mod backend;
pub mod config;
pub mod connection;
pub mod coordinator;
pub mod demo_model;
pub mod desk;
mod direct;
pub mod embed;
pub mod engine;
pub mod fetch;
pub mod findings;
mod fit;
pub mod job;
mod lease;
#[cfg(test)]
mod logged;
pub mod logits;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod pictures;
pub mod preprocess;
pub mod profile;
pub mod prompt;
pub mod quantize;
pub mod reader;
mod renew;
mod retry;
pub mod run;
pub mod simulate;
mod traces;

pub use config::{WorkerConfig, WorkerLimits};
pub use run::WorkerError;
