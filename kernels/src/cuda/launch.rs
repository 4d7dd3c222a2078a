//! The arguments of the kernels, and starting them. Each structure is the one of the same name in `kernels/cuda/*.cu`, field by
//! field; addresses are of the device, 0 where there is nothing.

use cudarc::driver::{CudaFunction, DeviceRepr, DriverError, sys::CUfunction_attribute};
use cudarc::nvrtc::Ptx;

use super::device::Device;
use super::image;
use super::queue::Arguments;

macro_rules! arguments {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default)]
        pub(super) struct $name {
            $(pub(super) $field: $kind,)*
        }
        // SAFETY: plain numbers, laid out as C lays them out.
        unsafe impl DeviceRepr for $name {}
    };
}

arguments!(
    /// pack.cu
    Pack { x: u64, out: u64, factor: u64, width: u32, depth: u32, side: u32, patch: u32, }
);
arguments!(
    /// linear.cu
    Product {
        x: u64, factor: u64, weight: u64, scales: u64, bias: u64, addend: u64, out: u64,
        rows: u32, outputs: u32, depth: u32, addend_rows: u32, columns: u32, activation: u32,
        scale_stride: u32, padding: u32,
    }
);
arguments!(
    /// linear.cu, activate
    Activated { times: u64, out: u64, count: u64, activation: u32, padding: u32, }
);
arguments!(
    /// norm.cu
    Norm {
        x: u64, rows: u64, weight: u64, bias: u64, residual: u64, out: u64, packed: u64, factor: u64,
        width: u32, depth: u32, eps: f32, offset: f32,
    }
);
arguments!(
    /// decoder.cu, embed
    Gather {
        table: u64, scales: u64, ids: u64, out: u64, width: u32, depth: u32, scale: f32, scale_stride: u32,
    }
);
arguments!(
    /// decoder.cu, rope_angles
    Angles { positions: u64, frequencies: u64, out: u64, rows: u32, frequency_count: u32, }
);
arguments!(
    /// decoder.cu, store_keys_values
    Store {
        qkv: u64, q_norm: u64, k_norm: u64, angles: u64, slots: u64, q: u64, keys: u64, values: u64,
        heads: u32, kv_heads: u32, head_dim: u32, depth: u32, block_tokens: u32, eps: f32,
        offset: f32, padding: u32,
    }
);
arguments!(
    /// attend.cu: a tile
    Tile {
        row: u32, tokens: u32, start: u32, block_table: u32, first: u32, end: u32, shared: u32, members: u32,
    }
);
arguments!(
    /// attend.cu
    Attention {
        q: u64, keys: u64, values: u64, out: u64, partial: u64, tiles: u64, block_table: u64, image_end: u64,
        block_stride: u64, head_stride: u32, block_tokens: u32, block_magic: u32, q_stride: u32,
        heads: u32, kv_heads: u32, head_dim: u32, window: u32, split: u32, scale: f32, full_tiles: u32, padding: u32,
    }
);
arguments!(
    /// attend.cu, attend_merge
    Merge { attention: Attention, splits: u32, padding: u32, }
);
arguments!(
    /// vision.cu, pack_heads
    Heads { qkv: u64, keys: u64, values: u64, images: u32, patches: u32, heads: u32, head_dim: u32, depth: u32, padding: u32, }
);
arguments!(
    /// norm.cu, add_rows
    Add { x: u64, scale: u64, out: u64, rows: u32, width: u32, }
);
arguments!(
    /// vision.cu, average_pool
    Pool { x: u64, out: u64, images: u32, side: u32, kernel: u32, width: u32, }
);
arguments!(
    /// choose.cu: what is asked of a row
    PickRow { top_p: u64, unit: u64, mask: u32, top_k: u32, likely: u32, scale: f32, }
);
arguments!(
    /// choose.cu: sums of a chunk
    ChunkSums { all: u64, allowed: u64, tempered: u64, }
);
arguments!(
    /// choose.cu: how far a search is
    Place { target: u64, limit: u64, sum: u64, count: u64, equal_sum: u64, equal: u64, key: u32, padding: u32, }
);
arguments!(
    /// choose.cu: what came of a row
    ChosenRow {
        all: u64, allowed: u64, all_largest: f32, allowed_largest: f32, score: f32, token: u32, status: u32, likely: u32,
    }
);
arguments!(
    /// choose.cu: a token that might have been chosen
    LikelyToken { token: u32, score: f32, }
);
arguments!(
    /// choose.cu
    Choosing {
        scores: u64, masks: u64, rows: u64, largest: u64, sums: u64, bins: u64, places: u64, chosen: u64, likely: u64,
        vocabulary: u32, words: u32, chunks: u32, row_count: u32, excluded: u32, most_likely: u32, step: u32,
        first_step: u32,
    }
);

/// Blocks, threads of a block, and bytes of shared memory that a block has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Geometry {
    pub(super) grid: (u32, u32, u32),
    pub(super) threads: u32,
    pub(super) shared: u32,
}

impl Geometry {
    /// So many blocks in a row.
    pub(super) fn blocks(blocks: usize, threads: u32, shared: u32) -> Self {
        Self { grid: (narrowed(blocks), 1, 1), threads, shared }
    }

    /// A thread for each value.
    pub(super) fn values(values: usize) -> Self {
        Self::blocks(values.div_ceil(128), 128, 0)
    }
}

/// A number as kernels take it.
///
/// # Panics
/// When it is more than 32 bits hold: a batch of that size is a mistake of the caller.
pub(super) fn narrowed(value: usize) -> u32 {
    u32::try_from(value).unwrap_or_else(|_| panic!("{value} is more than a kernel takes"))
}

/// Shared memory that needs no permission.
const SHARED_WITHOUT_ASKING: u32 = 48 << 10;

impl Device {
    /// Starts a kernel; it runs after what was started before. A rehearsal loads it, which takes memory as well.
    ///
    /// # Panics
    /// When the device is lost, or has no such kernel.
    pub(super) fn launch<A: DeviceRepr>(&self, kernel: &str, geometry: Geometry, arguments: &A) {
        let launched = self.function(kernel, geometry.shared).and_then(|function| match self.is_idle() {
            true => Ok(()),
            false => self.queue.launch(&function, geometry, Arguments::of(arguments)),
        });
        self.started(kernel, launched);
    }

    pub(super) fn function(&self, kernel: &str, shared: u32) -> Result<CudaFunction, DriverError> {
        let mut functions = self.functions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(function) = functions.get(kernel) {
            return Ok(function.clone());
        }
        let module = self.context.load_module(Ptx::from_src(image::module(kernel)));
        let function = module.and_then(|module| module.load_function(kernel)).and_then(|function| {
            if shared > SHARED_WITHOUT_ASKING {
                let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                function.set_attribute(attribute, shared as i32)?;
            }
            Ok(function)
        })?;
        functions.insert(kernel.to_owned(), function.clone());
        Ok(function)
    }
}
