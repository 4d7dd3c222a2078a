//! Arithmetic for the model: one [`Backend`] trait of fused, named operations, and the backends behind it.
//!
//! # Layout
//! - [`backend`]: the trait; [`args`]: the named arguments of its operations
//! - [`choice`]: a token from a row of scores
//! - [`weights`]: how weights are handed over, as they lie in a checkpoint; [`quantised`]: as whole numbers with scales
//! - [`host`]: buffers and batch plans of backends that compute on the host
//! - [`reference`](mod@reference): naive loops, the truth that the others are held to
//! - [`cpu`]: the default: packed weights, or weights where a checkpoint has them; AMX, AVX-512, AVX2 or plain lanes; threads
//! - [`cuda`]: GPUs since Ampere, with the kernels of `cuda/*.cu`
//!
//! # Invariants
//! - Every activation is f32, on every backend; weights are f32, bf16 or whole numbers of 8 or
//!   4 bits that stand for bf16, and on a GPU f16, bf16 or whole numbers. The residual stream of
//!   Gemma 3 overflows f16. What products round, on demand, says [`Arithmetic`].
//! - A row of a result depends on that row's own input alone: not on the rows beside it, not on how a prompt was cut
//!   into chunks, not on the number of threads. So a draft does not depend on what else was in the batch.
//! - Nothing here knows DICOM, jobs, gRPC, tokio or the layout of a checkpoint.

pub mod args;
pub mod backend;
pub mod choice;
pub mod cpu;
pub mod cuda;
pub mod host;
pub mod quantised;
pub mod reference;
pub mod weights;

pub use args::{
    Activate, Activation, AddLowRank, AddRmsNorm, AddRows, Attend, AttendPatches, AveragePool, CacheShape, Embed,
    GatedLinear, HeadNorms, LayerNorm, Linear, PatchEmbed, PlaceRows, RmsNorm, Rows, Span, StoreKeysValues, Then,
};
pub use backend::{Backend, DeviceError, DeviceMemory, GraphCounts};
pub use choice::{Choice, ChoiceError, Choices, Choose, Draw, Likely, Pick};
pub use cpu::{Cpu, Tally};
pub use cuda::{Cuda, Precision};
pub use quantised::{Bits, Grid};
pub use reference::Reference;
pub use weights::{Arithmetic, Dtype, GROUP, KeptBytes, Owner, Storage, WeightView};
