//! prelim-imaging

pub mod codec;
