//! Objects in: accepted one by one, assembled into studies, planned when a study is complete.

mod accept;
mod assemble;

pub use accept::{Object, Outcome, Verdict};
