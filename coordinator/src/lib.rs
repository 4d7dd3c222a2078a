//! prelim-coordinator
