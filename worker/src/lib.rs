//! prelim-worker
