//! The words that every part of prelim shares: ids, studies, jobs, findings and reports.
//!
//! # Layout
//! - [`ids`]: checked identifiers (DICOM UIDs, job ids, digests, fencing tokens)
//! - [`study`]: a study as received: series, instances, state, what was not read and why
//! - [`image`]: the attributes of an image that decide how it is read (geometry, photometry, view)
//! - [`job`]: a part of a study that one worker reads in one go, and what came of it
//! - [`demand`]: the models and prompts that jobs demand and workers offer
//! - [`cost`]: what reading costs
//! - [`finding`]: one observation: code, side, site, size, confidence and where it was seen
//! - [`trace`]: the ids by which spans from every machine find each other
//! - [`vocabulary`]: the coded concepts that findings are made of
//! - [`report`]: a report with its provenance; [`comparison`]: earlier studies, and what changed; [`review`]: what a radiologist
//!   made of it
//! - [`priors`]: earlier studies as a model is told of them
//! - [`question`]: questions about a study, and what a model says to them
//! - [`v1`]: the generated messages and services of `prelim.v1`; [`convert`] takes them to domain types and back
//! - [`keda`]: the same of KEDA's external scaler
//!
//! **Invariant**: nothing here does IO, reads a clock or draws a random number.
//! **Invariant**: no type here is named after a transport or a store.
//! **Invariant**: a value of a domain type is valid; checks happen in `TryFrom` and constructors.

pub mod comparison;
pub mod convert;
pub mod cost;
pub mod demand;
pub mod finding;
pub mod ids;
pub mod image;
pub mod job;
pub mod keda;
pub mod priors;
pub mod question;
pub mod report;
pub mod review;
pub mod study;
pub mod trace;
pub mod v1;
pub mod vocabulary;

/// The sentence that every draft, page and object carries.
pub const UNSIGNED_DRAFT_STATEMENT: &str = "Unsigned draft made by software that is not a medical device. \
     It has not been reviewed by a radiologist and must not be used for diagnosis or treatment.";
