//! NVIDIA GPUs since Ampere, through the driver.
//!
//! # Layout
//! - [`device`]: opening a device, and what can be wrong with one
//! - [`image`]: the compiled kernels that the binary carries; [`launch`]: their arguments, and starting them
//! - [`array`]: arrays and where their memory is from; `ranges`: which parts of it are free
//! - [`queue`]: what is started, in order; passes that repeat, as graphs
//! - [`staging`]: the way to the device and back through page-locked memory
//! - [`memory`]: buffers and the cache; [`weights`]; [`plan`]: the layout of a batch
//! - [`packed`]: activations in 16 bits; [`dense`], [`norm`], [`attention`], [`vision`], [`choose`]: operations, kernel by kernel
//!
//! # How the kernels get to the machine
//! As PTX inside the binary (`kernels/cuda/kernels.ptx.gz`, built by `kernels/cuda/build.sh` and kept in the repository), which
//! the driver compiles for its GPU when a kernel is first used, and caches. So a machine needs the driver and nothing else,
//! one binary serves every GPU since sm_80, future ones included, and building prelim needs neither nvcc nor a GPU. The other ways
//! were weighed: NVRTC on the machine keeps no generated file, but asks hospitals to install and update a toolkit's library that
//! must not be newer than the driver; cubins start at once, but only on the architectures that they were built for, at several
//! times the size. A test rebuilds the PTX, so that it cannot differ from its sources.
//!
//! # Arithmetic
//! Activations are f32 in memory. Tensor cores read 16 bits: weights are kept as [`Precision`] says, or as
//! whole numbers that become it inside a product, with the bits of the weights that they stand for; and activations are rounded to it on the way into a product, in f16 scaled by row so that none
//! overflows. Sums are f32, in one order that depends on their own terms only: see `kernels/cuda/linear.cu` and `attend.cu`.
//!
//! # When memory ends
//! A pass that finds no memory goes on to its end as a rehearsal does: its arrays lie nowhere, nothing is started, and what is read
//! is nought. The queue keeps why, until it is asked.
//!
//! # Not yet run on a GPU
//! Everything here runs in the tests, with kernels on a simulator behind a stand-in for the driver. No GPU has run it, and
//! nothing is said about speed but what `kernels/benches/roofline.py` models. With `PRELIM_SIMULATOR=none` the tests of
//! operations and of the model run on the machine's GPU.
//!
//! # Missing
//! Products and prompts by wgmma and TMA on sm_90: their place is
//! one more shape beside those of `linear.cu` and `attend.cu`, in files of their own that are built for sm_90a alone, chosen where
//! `dense::Shape::of` and `attention::Shape::wide` choose a shape.

mod array;
mod attention;
mod choose;
mod dense;
mod device;
mod image;
mod launch;
mod memory;
mod norm;
mod packed;
mod plan;
mod queue;
mod ranges;
mod staging;
mod vision;
mod weights;

use crate::args::{
    Activate, AddLowRank, AddRmsNorm, AddRows, Attend, AttendPatches, AveragePool, CacheShape, Embed, GatedLinear,
    LayerNorm, Linear, PatchEmbed, PlaceRows, RmsNorm, Span, StoreKeysValues,
};
use crate::backend::{Backend, DeviceError, DeviceMemory, GraphCounts};
use crate::choice::{Choices, Choose};
use crate::weights::{Storage, WeightView};

use device::Device;
pub use memory::{Buffer, Cache};
pub use plan::Plan;
pub use weights::{Matrix, Pair};

/// The numbers that tensor cores read. Sums are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Ten bits after the point. Activations are scaled row by row, so that their range is no limit; keys and values must
    /// stay below 65,504, and become infinite beyond.
    #[default]
    F16,
    /// Seven bits after the point, with the range of f32: what Gemma was trained in.
    Bf16,
}

/// A GPU.
pub struct Cuda {
    device: Device,
    precision: Precision,
    /// Positions of a cache that are summed up by themselves, a multiple of 64. The result of attention depends on it, so it is
    /// the same for all batches.
    split: usize,
}

impl Cuda {
    /// Few enough that an image or a prompt's instructions fill one, which sequences can share, and that a few sequences fill a
    /// GPU; enough that sums of splits are little beside what they read.
    const SPLIT: usize = 256;

    /// Opens the GPU that the driver calls `ordinal`.
    pub fn open(ordinal: usize, precision: Precision) -> Result<Self, DeviceError> {
        Ok(Self { device: Device::open(ordinal)?, precision, split: Self::SPLIT })
    }

    /// Another number of positions than 256 to a split, a multiple of 64.
    pub fn with_split(self, positions: usize) -> Self {
        assert!(positions > 0 && positions.is_multiple_of(64), "a split of {positions} positions");
        Self { split: positions, ..self }
    }

    /// How many GPUs the driver finds.
    pub fn count() -> Result<usize, DeviceError> {
        device::count()
    }

    /// Waits for what was started, and says what memory the device has, and what is free of it.
    pub fn memory(&self) -> Result<DeviceMemory, DeviceError> {
        self.device.settled_memory()
    }
}

impl Backend for Cuda {
    type Buffer = Buffer;
    type Matrix = Matrix;
    type Gated = Pair;
    type Cache = Cache;
    type Plan = Plan;

    fn name(&self) -> String {
        let precision = match self.precision {
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
        };
        format!("cuda:{} ({}, {precision})", self.device.ordinal(), self.device.name())
    }

    fn buffer(&self, len: usize) -> Buffer {
        self.device.buffer(len)
    }

    fn upload(&self, values: &[f32]) -> Result<Buffer, DeviceError> {
        self.device.upload("a buffer", values)
    }

    fn vector(&self, values: &[f32]) -> Result<Buffer, DeviceError> {
        self.device.vector(values)
    }

    fn download(&self, buffer: &Buffer, len: usize) -> Vec<f32> {
        self.device.download(buffer, len)
    }

    fn matrix(&self, parts: &[WeightView<'_>], storage: Storage) -> Result<Matrix, DeviceError> {
        Matrix::upload(&self.device, self.precision, parts, storage)
    }

    fn gated(&self, gate: WeightView<'_>, up: WeightView<'_>, storage: Storage) -> Result<Pair, DeviceError> {
        Pair::upload(&self.device, self.precision, gate, up, storage)
    }

    fn cache_value_bytes(&self) -> usize {
        size_of::<u16>()
    }

    fn cache_bytes(&self, shape: CacheShape) -> u64 {
        Cache::bytes(shape)
    }

    fn cache(&self, shape: CacheShape) -> Result<Cache, DeviceError> {
        Cache::new(&self.device, shape)
    }

    fn device_memory(&self) -> Result<Option<DeviceMemory>, DeviceError> {
        self.device.memory().map(Some)
    }

    fn graph_counts(&self) -> Option<GraphCounts> {
        Some(self.device.queue.graph_counts())
    }

    fn rehearse(&self, passes: impl FnOnce()) -> Option<u64> {
        Some(array::rehearse(passes))
    }

    fn reserve_for_passes(&self, bytes: u64) -> Result<(), DeviceError> {
        // Kernels that a rehearsal loads take memory, too.
        self.had_room()?;
        self.device.end_loading();
        self.device.reserve(bytes)?;
        self.device.prepare_ways()
    }

    fn reserve_for_weights(&self, bytes: u64) -> Result<(), DeviceError> {
        self.had_room()?;
        self.device.reserve_for_weights(bytes)
    }

    fn had_room(&self) -> Result<(), DeviceError> {
        // What a rehearsal lacks is told when memory is taken.
        if array::is_rehearsal() {
            return Ok(());
        }
        // What a pass has noted down is started now: whoever asks goes on beside the device.
        self.device.flush();
        self.device.queue.take_failure().map_or(Ok(()), Err)
    }

    fn plan(&self, spans: &[Span<'_>], block_tokens: usize) -> Plan {
        Plan::new(&self.device, spans, block_tokens)
    }

    fn rope_angles(&self, plan: &Plan, frequencies: &[f32]) -> Buffer {
        self.angles(plan, frequencies)
    }

    fn embed(&self, args: Embed<'_, Self>) {
        self.gather(args);
    }

    fn place_rows(&self, args: PlaceRows<'_, Self>) {
        let PlaceRows { from, first, rows, width, at, out } = args;
        self.device.copy((from, first * width), (out, at * width), rows * width);
    }

    fn rms_norm(&self, args: RmsNorm<'_, Self>) {
        self.norm_rows(args);
    }

    fn add_rms_norm(&self, args: AddRmsNorm<'_, Self>) {
        self.add_and_norm(args);
    }

    fn layer_norm(&self, args: LayerNorm<'_, Self>) {
        self.norm_layer(args);
    }

    fn linear(&self, args: Linear<'_, Self>) {
        self.product(args);
    }

    fn gated_linear(&self, args: GatedLinear<'_, Self>) {
        self.gated_product(args);
    }

    fn add_low_rank(&self, args: AddLowRank<'_, Self>) {
        self.low_rank(args);
    }

    fn activate(&self, args: Activate<'_, Self>) {
        self.activation(args);
    }

    fn add_rows(&self, args: AddRows<'_, Self>) {
        self.add(args);
    }

    fn store_keys_values(&self, args: StoreKeysValues<'_, Self>) {
        self.store(args);
    }

    fn attend(&self, args: Attend<'_, Self>) {
        self.attend_cache(args);
    }

    fn attend_patches(&self, args: AttendPatches<'_, Self>) {
        self.attend_pictures(args);
    }

    fn patch_embed(&self, args: PatchEmbed<'_, Self>) {
        self.embed_patches(args);
    }

    fn average_pool(&self, args: AveragePool<'_, Self>) {
        self.pool(args);
    }

    fn choose(&self, args: Choose<'_, Self>) -> Result<Choices, DeviceError> {
        let choices = self.choose_tokens(args);
        self.had_room().map(|()| choices)
    }
}
