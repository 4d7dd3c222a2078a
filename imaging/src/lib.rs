//! prelim-imaging
