//! The boundary between the model and the arithmetic.

use crate::args::{
    Activate, AddLowRank, AddRmsNorm, AddRows, Attend, AttendPatches, AveragePool, CacheShape, Embed, GatedLinear,
    LayerNorm, Linear, PatchEmbed, PlaceRows, RmsNorm, Span, StoreKeysValues,
};
use crate::choice::{Choices, Choose};
use crate::weights::{Storage, WeightView};

/// Why a device cannot hold or do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is no room for a weight, a cache or a buffer.
    #[error("out of device memory: {wanted_bytes} bytes wanted for {what}{}", free(*.free_bytes))]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// How much was asked for.
        wanted_bytes: u64,
        /// What was free, where the device says so. It may be more than was asked for, and in no one piece.
        free_bytes: Option<u64>,
    },
    /// The system gives no threads.
    #[error("cannot start {threads} threads: {what}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        what: String,
    },
    /// There is no CUDA driver.
    #[error("no CUDA driver: libcuda.so.1 is not found; install the driver of the GPU, or compute on the processor")]
    NoDriver,
    /// The driver knows no such device.
    #[error("no CUDA device {ordinal}: the driver finds {found}")]
    NoDevice {
        /// The device asked for.
        ordinal: usize,
        /// How many there are.
        found: usize,
    },
    /// The driver is older than what the kernels need.
    #[error("CUDA driver for version {found} is too old: {needed} is needed; install a newer driver")]
    OldDriver {
        /// The version of CUDA that the driver is for.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The device lacks instructions that the kernels are made of.
    #[error("{name} is of compute capability {found}: {needed} is needed (Ampere, 2020, or newer)")]
    Architecture {
        /// What the device is called.
        name: String,
        /// Its compute capability.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The device has no kernel for such a model.
    #[error("no kernel for {what}")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// The driver has no memory for something that it does when a pass is started: to load a kernel, to launch a graph.
    #[error("CUDA driver, start of a pass: {error} for {what}, {free_bytes} bytes are free")]
    NoRoomToStart {
        /// What was to be started.
        what: String,
        /// What the driver said.
        error: String,
        /// What was free.
        free_bytes: u64,
    },
    /// The driver refuses.
    #[error("CUDA driver, {what}: {error}")]
    Driver {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        error: String,
    },
}

impl DeviceError {
    /// Whether there was no memory, so that less might fit.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory { .. } | Self::NoRoomToStart { .. })
    }
}

fn free(bytes: Option<u64>) -> String {
    bytes.map_or_else(String::new, |bytes| format!(", {bytes} are free"))
}

/// Memory of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// What nobody has taken, in bytes.
    pub free_bytes: u64,
    /// All, in bytes.
    pub total_bytes: u64,
}

/// Passes of a device that repeat, which are started as graphs, since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GraphCounts {
    /// Graphs that were made.
    pub captured: u64,
    /// Passes that were started as one.
    pub launched: u64,
}

/// A device that can run the model.
///
/// Loading (`matrix`, `gated`, `vector`, `cache`) can run out of memory and says so. The operations of a forward pass return
/// nothing that could fail: a pass that finds no memory goes on to its end without computing anything, and
/// [`Backend::had_room`] says so then. Wrong shapes are mistakes of the caller and panic, and so does a device that is lost in
/// mid-pass, since nothing on it can be trusted afterwards.
///
/// Operations may run later than the call returns, in order; [`Backend::download`] and [`Backend::choose`] wait for them.
pub trait Backend: Send + Sync + Sized + 'static {
    /// A dense f32 array on the device.
    type Buffer: Send + Sync;
    /// A weight of [`Backend::linear`], in the layout that the backend likes.
    type Matrix: Send + Sync;
    /// The two weights of [`Backend::gated_linear`].
    type Gated: Send + Sync;
    /// Keys and values of all layers, in blocks of tokens.
    type Cache: Send;
    /// What a batch looks like: spans, positions, block tables.
    type Plan: Send + Sync;

    /// A name for logs and `prelim doctor`: "cpu (avx512, 2 threads)".
    fn name(&self) -> String;

    /// A buffer for `len` values. What it holds is not specified.
    fn buffer(&self, len: usize) -> Self::Buffer;

    /// Copies values to the device, for a pass.
    fn upload(&self, values: &[f32]) -> Result<Self::Buffer, DeviceError>;

    /// A vector of the model (of a norm, a bias), which stays with its matrices.
    fn vector(&self, values: &[f32]) -> Result<Self::Buffer, DeviceError> {
        self.upload(values)
    }

    /// Waits, then copies the first `len` values of a buffer back.
    ///
    /// # Panics
    /// When the pass found no memory, and nobody has asked [`Backend::had_room`].
    fn download(&self, buffer: &Self::Buffer, len: usize) -> Vec<f32>;

    /// A weight `[rows, columns]` of `x · Wᵀ`, made of parts that are stacked by rows (queries, keys, values).
    fn matrix(&self, parts: &[WeightView<'_>], storage: Storage) -> Result<Self::Matrix, DeviceError>;

    /// The gate and up weights of a gated feed-forward layer, both `[rows, columns]`.
    fn gated(&self, gate: WeightView<'_>, up: WeightView<'_>, storage: Storage) -> Result<Self::Gated, DeviceError>;

    /// Bytes of a number in a cache, for sizing it.
    fn cache_value_bytes(&self) -> usize {
        size_of::<f32>()
    }

    /// Bytes of a cache of this shape.
    fn cache_bytes(&self, shape: CacheShape) -> u64 {
        let tokens = (shape.layers * 2 * shape.blocks * shape.block_tokens) as u64;
        tokens * (shape.kv_heads * shape.head_dim * self.cache_value_bytes()) as u64
    }

    /// A paged cache.
    fn cache(&self, shape: CacheShape) -> Result<Self::Cache, DeviceError>;

    /// The memory that the device has of its own; none where it computes in the host's. Waits for nothing: what was given back
    /// may count as taken until the device has come so far.
    fn device_memory(&self) -> Result<Option<DeviceMemory>, DeviceError> {
        Ok(None)
    }

    /// How passes that repeat are started, where the device has graphs. Waits for nothing.
    fn graph_counts(&self) -> Option<GraphCounts> {
        None
    }

    /// Goes through `passes` without computing anything, and says how many bytes of the device's own memory all that they
    /// make takes at most at once. Nothing that they make may be used afterwards, and what they read back means nothing. None,
    /// and `passes` does not run, where the device has no memory of its own.
    fn rehearse(&self, passes: impl FnOnce()) -> Option<u64> {
        drop(passes);
        None
    }

    /// Takes memory for all weights ahead, in one piece: [`Backend::matrix`], [`Backend::gated`] and [`Backend::vector`] put them
    /// there, one behind the other, as long as there is room. [`Backend::rehearse`] says how much loading needs.
    fn reserve_for_weights(&self, bytes: u64) -> Result<(), DeviceError> {
        let _ = bytes;
        Ok(())
    }

    /// Takes memory for passes ahead, once all weights are there, so that they find it whatever else is on the device. Passes that
    /// need more take it from what is free then.
    fn reserve_for_passes(&self, bytes: u64) -> Result<(), DeviceError> {
        let _ = bytes;
        Ok(())
    }

    /// Whether the device had memory for all that was started since this was asked last. Where it had not, what was made since
    /// then is of no use and must be dropped, buffers that are kept for the next pass included; and the next pass begins anew.
    /// Waits for nothing, and whatever was held back is started.
    fn had_room(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Takes the layout of a batch to the device, once for all layers.
    fn plan(&self, spans: &[Span<'_>], block_tokens: usize) -> Self::Plan;

    /// Cosines and sines of the rotary embedding: `[tokens, 2, frequencies]`, from the angle `position · frequency` in f32.
    fn rope_angles(&self, plan: &Self::Plan, frequencies: &[f32]) -> Self::Buffer;

    /// Rows of the embedding table, scaled.
    fn embed(&self, args: Embed<'_, Self>);

    /// Puts rows in the place of others: the features of an image in that of its soft tokens.
    fn place_rows(&self, args: PlaceRows<'_, Self>);

    /// `x / rms(x) · (offset + w)`.
    fn rms_norm(&self, args: RmsNorm<'_, Self>);

    /// `residual += rms_norm(branch)`, and the norm that the next branch starts with.
    fn add_rms_norm(&self, args: AddRmsNorm<'_, Self>);

    /// `(x − mean) / σ · w + b`.
    fn layer_norm(&self, args: LayerNorm<'_, Self>);

    /// `x · Wᵀ`, with bias, activation or addition in the epilogue.
    fn linear(&self, args: Linear<'_, Self>);

    /// `activation(x · Gᵀ) · (x · Uᵀ)`: GEGLU, SwiGLU.
    fn gated_linear(&self, args: GatedLinear<'_, Self>);

    /// `out += (x · downᵀ) · upᵀ` for some rows: what an adapter (LoRA) changes of a product.
    fn add_low_rank(&self, args: AddLowRank<'_, Self>);

    /// `out = activation(out)`, or `activation(out) · times`: the epilogue of a product to which something was added before.
    /// The same bits as in [`Backend::linear`] and [`Backend::gated_linear`].
    fn activate(&self, args: Activate<'_, Self>);

    /// `out += x · scale`: a branch that joins the residual stream.
    fn add_rows(&self, args: AddRows<'_, Self>);

    /// Norms (where wanted) and rotates queries and keys, and writes keys and values to the cache.
    fn store_keys_values(&self, args: StoreKeysValues<'_, Self>);

    /// Attention of new tokens over the cache: prefill and decode alike.
    fn attend(&self, args: Attend<'_, Self>);

    /// Attention of patches among themselves, both ways.
    fn attend_patches(&self, args: AttendPatches<'_, Self>);

    /// Pictures to patch embeddings with positions.
    fn patch_embed(&self, args: PatchEmbed<'_, Self>);

    /// Means of square neighbourhoods of patches.
    fn average_pool(&self, args: AveragePool<'_, Self>);

    /// A token for each row of scores, the most likely or drawn, and how likely it was. Waits for what was started before. A
    /// row's answer depends on that row's scores and wishes alone. Fails as [`Backend::had_room`], which it asks.
    fn choose(&self, args: Choose<'_, Self>) -> Result<Choices, DeviceError>;
}
