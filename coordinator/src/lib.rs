//! Everything between the PACS and the queue, and back.
//!
//! # Layout
//! - [`serve()`]: a running coordinator, from its [`CoordinatorConfig`]
//! - [`grpc`]: `prelim.v1` over gRPC; [`service`]: what is done, whoever asks
//! - [`dimse`]: DICOM over associations, as SCP and as SCU
//! - `page`: the reading room, a page on which radiologists review drafts
//! - [`web`]: DICOMweb; `worklist`: workitems kept and performed; `session`: the gate of both services, and a call that was let in
//! - [`intake`]: objects in, studies whole; [`route`]: what becomes of them (pure); [`partition`]: studies to jobs (pure)
//! - [`priors`]: the patient's earlier studies, that a study is compared with
//! - [`queue`]: order, retries, limits (pure); [`dispatch`]: jobs to workers and back; `waiting`: workers in a line; `drains`: those that are to stop; [`operate`]: what operators ask
//! - [`merge`]: findings to a draft (pure); [`drafting`]: drafts made and fetched; `pictures`: their key images
//! - `review`: drafts signed with changes, or rejected
//! - `question`: questions about a study, and their answers
//! - [`report`]: a report as DICOM, FHIR, HL7, PDF, HTML, JSON and text (pure)
//! - [`deliver`]: reports out, to a PACS and to archives; `fetch`: studies from a PACS; `commitments`:
//!   what is held, for who asks
//! - [`store`]: where studies, jobs, leases and drafts are recorded; [`bytes`]: objects and reports, by study and digest
//! - [`deidentify`]: what workers see of patients, and the way back; [`retain`]: what is no longer kept
//! - [`access`]: who may call what; [`audit`]: the record of it; [`accept`] and `tls`: connections in
//! - [`backlog`]: what waits in seconds of work; `demanded`: models that jobs wait for, and who offers them; `metrics`: numbers for Prometheus, alive and ready
//! - `spelling`: texts in the form in which they are compared (pure)
//! - `summary`: what lists tell of a report (pure)
//! - [`traces`]: what is added to a study's trace
//! - `causes`: what is behind an error; [`clock`]: time, as an argument; `watched`: files that change; [`folder`]: folders for their owner alone, that stay where they are
//!
//! **Invariant**: the coordinator knows no model; the only pixels it touches are those of key images.
//! **Invariant**: workers are spoken to by gRPC only.

pub mod accept;
pub mod access;
pub mod audit;
pub mod backlog;
pub mod bytes;
mod causes;
pub mod clock;
mod commitments;
pub mod config;
pub mod deidentify;
pub mod deliver;
mod demanded;
pub mod dimse;
pub mod dispatch;
pub mod drafting;
mod drains;
mod fetch;
pub mod folder;
pub mod grpc;
pub mod intake;
pub mod merge;
mod metrics;
pub mod operate;
mod page;
pub mod partition;
mod pictures;
pub mod priors;
mod question;
pub mod queue;
pub mod report;
pub mod retain;
mod review;
pub mod route;
mod serve;
pub mod service;
mod session;
mod spelling;
mod steps;
pub mod store;
mod summary;
mod tls;
pub mod traces;
mod waiting;
mod watched;
pub mod web;
mod worklist;

pub use config::CoordinatorConfig;
pub use metrics::Beside;
pub use serve::{Listeners, Opened, ServeError, open, serve};
