//! prelim-kernels
