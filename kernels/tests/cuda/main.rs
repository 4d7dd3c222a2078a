//! The CUDA backend without a GPU: every kernel, run by the simulator behind a stand-in for the driver, against the naive
//! reference, over shapes with ragged ends.
//!
//! The host's side is the real one: modules are loaded, memory is allocated, kernels are launched through cudarc.

mod cases;
mod choices;
#[path = "../agreement/choose.rs"]
mod choose;
mod compile;
mod counts;
#[path = "../agreement/decoder.rs"]
mod decoder;
#[path = "../agreement/dense.rs"]
mod dense;
mod device;
mod full;
mod mutants;
mod norms;
mod operations;
mod prefixes;
#[path = "../agreement/quantised.rs"]
mod quantised;
mod scripts;
mod sizes;
mod stand_in;
mod streams;
mod wrappers;
