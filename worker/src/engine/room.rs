//! How large the cache of keys and values is, what is kept for passes beside it, and whether all of it fits.

use prelim_kernels::{Backend, DeviceError, Tally};

use super::device::BLOCK_TOKENS;
use super::scheduler::PassLimits;
use super::{IMAGES_PER_PASS, KEPT_IMAGES};
use crate::desk::DeskWish;
use crate::memory::{Bound, HostMemory};
use crate::model::{Model, PassSizes};

/// Memory for the cache where it is the host's and nobody says how much.
const HOST_BYTES: u64 = 2048 << 20;

/// The part of a device's memory that is left alone: kernels that are loaded later, graphs, what does not fit together.
const SPARE_PART: u64 = 20;

/// Where the size of the cache is set by hand, no more than this is left alone of a device's memory: without it the first graph or
/// kernel that finds no memory ends requests.
const SPARE_BYTES: u64 = 512 << 20;

/// More than passes were found to take, since other orders leave other holes.
const PASS_PART: u64 = 16;

/// Why there is no room for a cache.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// What was set holds no prompt.
    #[error("--cache-mib {mib} holds {tokens} tokens; one prompt needs {needed}")]
    Setting {
        /// What was set.
        mib: u64,
        /// What it holds.
        tokens: usize,
        /// What the longest prompt and answer may need.
        needed: usize,
    },
    /// The device has too little memory beside the weights.
    #[error(
        "{device} has {} of {} MiB free beside the weights: passes take {} MiB, {} MiB are left alone, and {} MiB are \
         needed for a cache of {tokens} tokens; use a GPU with more free memory, or less of --pass-tokens, --batch or \
         --cache-mib",
        mib(*.free_bytes), mib(*.total_bytes), mib(*.pass_bytes), mib(*.spare_bytes), mib(*.cache_bytes)
    )]
    Full {
        /// Which.
        device: String,
        /// What is free.
        free_bytes: u64,
        /// All.
        total_bytes: u64,
        /// What passes take.
        pass_bytes: u64,
        /// What is left alone.
        spare_bytes: u64,
        /// What the cache needs: for one sequence at least, or as large as was set.
        cache_bytes: u64,
        /// The same in tokens.
        tokens: usize,
    },
    /// The host has too little memory.
    #[error(
        "{bound} has {} of {} MiB of memory free: weights take {} MiB, passes {} MiB, fetched objects {} MiB, images being \
         read {} MiB, {} MiB are left alone, and {} MiB are needed for a cache of {tokens} tokens; give it more memory, or use --weights in fewer \
         bits, or less of --batch, --pass-tokens, --cache-mib or --object-cache-mib",
        mib(*.free_bytes), mib(*.total_bytes), mib(*.weight_bytes), mib(*.pass_bytes), mib(*.object_bytes),
        mib(*.image_bytes), mib(*.spare_bytes), mib(*.cache_bytes)
    )]
    HostFull {
        /// What limits it.
        bound: Bound,
        /// What is free.
        free_bytes: u64,
        /// All.
        total_bytes: u64,
        /// What weights take that are not used in their file.
        weight_bytes: u64,
        /// What passes take.
        pass_bytes: u64,
        /// What fetched objects may take.
        object_bytes: u64,
        /// What a film takes, and its prompt's pictures, while it is read.
        image_bytes: u64,
        /// What is left alone.
        spare_bytes: u64,
        /// What the cache needs: for one sequence at least, or as large as was set.
        cache_bytes: u64,
        /// The same in tokens.
        tokens: usize,
    },
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// What a cache is for.
#[derive(Debug, Clone, Copy)]
pub struct CacheWish {
    /// The most that it may take, in MiB, where somebody says so.
    pub mib: Option<usize>,
    /// Tokens of the longest prompt and answer that are sure to come.
    pub longest: usize,
}

/// Bytes of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    free: u64,
    total: u64,
    /// What passes take of what is free.
    passes: u64,
}

/// The cache in blocks.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    bytes: u64,
    /// As many as the longest sequence has.
    needed: u64,
    /// As many as a full batch can use.
    useful: u64,
}

/// Tokens that the cache is made for: as many as a full batch can use, within what is set or free. Takes what passes need
/// where the device has memory of its own.
pub fn cache_tokens<B: Backend>(model: &Model<B>, limits: PassLimits, wish: CacheWish) -> Result<usize, RoomError> {
    let (blocks, set) = (Blocks::of(model, limits, wish), wish.bytes());
    let device = model.backend();
    let Some(passes) = model.pass_bytes(pass_sizes(model, limits, wish)) else {
        let count = in_host(blocks, set)?;
        let cache_mib = mib(count * blocks.bytes);
        tracing::info!(cache_mib, cache_tokens = count as usize * BLOCK_TOKENS, "cache sized");
        return Ok(count as usize * BLOCK_TOKENS);
    };
    let passes = passes + passes / PASS_PART;
    // Only now, when the kernels are loaded.
    let memory = device.device_memory()?.map_or(Memory { free: 0, total: 0, passes }, |memory| Memory {
        free: memory.free_bytes,
        total: memory.total_bytes,
        passes,
    });
    let (count, spare) = beside(&device.name(), memory, blocks, set)?;
    device.reserve_for_passes(passes)?;
    tracing::info!(
        device = device.name(),
        memory_mib = mib(memory.total),
        free_mib = mib(memory.free),
        pass_mib = mib(passes),
        spare_mib = mib(spare),
        is_set = set.is_some(),
        cache_mib = mib(count * blocks.bytes),
        cache_tokens = count as usize * BLOCK_TOKENS,
        "cache sized"
    );
    Ok(count as usize * BLOCK_TOKENS)
}

/// Holds what a model takes of the host's memory against what there is, before any of it is taken. The wish comes back, with
/// less for the cache where nobody said how much and there is less; and what there is for images, in bytes.
pub fn host_wish(
    model: &Model<Tally>,
    limits: PassLimits,
    wish: CacheWish,
    beside: BesideModel,
    memory: HostMemory,
) -> Result<(CacheWish, u64), RoomError> {
    let passes = model.pass_bytes(pass_sizes(model, limits, wish)).unwrap_or_default();
    let host = Host { memory, weights: model.backend().taken(), passes: passes + passes / PASS_PART, beside };
    tracing::info!(
        bound = %memory.bound,
        memory_mib = mib(memory.total_bytes),
        free_mib = mib(memory.free_bytes),
        weights_mib = mib(host.weights),
        pass_mib = mib(host.passes),
        "memory counted"
    );
    let (bytes, image_bytes) = host.cache_and_images(Blocks::of(model, limits, wish), wish.bytes())?;
    Ok((CacheWish { mib: wish.mib.or(Some(mib(bytes) as usize)), ..wish }, image_bytes))
}

/// What a worker holds beside its model.
#[derive(Debug, Clone, Copy)]
pub struct BesideModel {
    /// Fetched objects that are kept, in bytes.
    pub object_bytes: u64,
    /// Images on their way to the model.
    pub images: DeskWish,
}

impl BesideModel {
    /// What there is for images where the model and its cache are elsewhere: a half of what is free, within what is of use.
    pub fn image_bytes(self, memory: Option<HostMemory>) -> u64 {
        let DeskWish { least_bytes, most_bytes } = self.images;
        let free = memory.map(|memory| memory.free_bytes.saturating_sub(self.object_bytes) / 2);
        free.map_or(most_bytes, |free| free.clamp(least_bytes, most_bytes))
    }
}

impl CacheWish {
    fn bytes(self) -> Option<u64> {
        self.mib.map(|mib| (mib as u64) << 20)
    }
}

impl Blocks {
    fn of<B: Backend>(model: &Model<B>, limits: PassLimits, wish: CacheWish) -> Self {
        let of_tokens = |tokens: usize| tokens.div_ceil(BLOCK_TOKENS) as u64;
        let positions = model.config().max_positions;
        Self {
            bytes: model.kv_block_bytes(BLOCK_TOKENS),
            needed: of_tokens(wish.longest.min(positions)),
            useful: of_tokens(limits.requests.saturating_mul(positions)),
        }
    }
}

/// The largest passes of an engine.
fn pass_sizes<B: Backend>(model: &Model<B>, limits: PassLimits, wish: CacheWish) -> PassSizes {
    let config = model.config();
    PassSizes {
        pictures: IMAGES_PER_PASS,
        features: KEPT_IMAGES + limits.requests,
        tokens: limits.tokens.max(config.tokens_per_image + limits.requests),
        sequences: limits.requests,
        positions: wish.longest.min(config.max_positions),
    }
}

/// What is taken of the host's memory beside the cache, in bytes.
#[derive(Debug, Clone, Copy)]
struct Host {
    memory: HostMemory,
    weights: u64,
    passes: u64,
    beside: BesideModel,
}

impl Host {
    /// Bytes of the cache: what is set, or what there is up to what it has otherwise. And of images, which have a half of what
    /// is left beside what both need.
    fn cache_and_images(self, blocks: Blocks, set: Option<u64>) -> Result<(u64, u64), RoomError> {
        let Self { memory, weights, passes, beside: BesideModel { object_bytes, images } } = self;
        // What is set may take what is otherwise left alone: the host has no graphs.
        let (spare, wanted) = least(memory.total_bytes, blocks, set, 0)?;
        let left = memory.free_bytes.saturating_sub(weights + passes + object_bytes + images.least_bytes + spare);
        if left / blocks.bytes < wanted {
            return Err(RoomError::HostFull {
                bound: memory.bound,
                free_bytes: memory.free_bytes,
                total_bytes: memory.total_bytes,
                weight_bytes: weights,
                pass_bytes: passes,
                object_bytes,
                image_bytes: images.least_bytes,
                spare_bytes: spare,
                cache_bytes: wanted * blocks.bytes,
                tokens: wanted as usize * BLOCK_TOKENS,
            });
        }
        let more = ((left - wanted * blocks.bytes) / 2).min(images.most_bytes - images.least_bytes);
        let left = left - more;
        let most =
            if set.is_some() { wanted } else { (left / blocks.bytes).min(HOST_BYTES / blocks.bytes).max(wanted) };
        Ok((most * blocks.bytes, images.least_bytes + more))
    }
}

/// Blocks in the host's memory.
fn in_host(blocks: Blocks, set: Option<u64>) -> Result<u64, RoomError> {
    within(blocks, set.unwrap_or(HOST_BYTES))
}

/// As many blocks as are useful within so many bytes.
fn within(blocks: Blocks, bytes: u64) -> Result<u64, RoomError> {
    let allowed = bytes / blocks.bytes;
    if allowed < blocks.needed {
        let (tokens, needed) = (allowed as usize * BLOCK_TOKENS, blocks.needed as usize * BLOCK_TOKENS);
        return Err(RoomError::Setting { mib: mib(bytes), tokens, needed });
    }
    Ok(allowed.min(blocks.useful))
}

/// What is left alone of all memory, and how many blocks are wanted at least. What is set may take what is otherwise left alone,
/// but for `floor` bytes.
fn least(total: u64, blocks: Blocks, set: Option<u64>, floor: u64) -> Result<(u64, u64), RoomError> {
    match set {
        Some(bytes) => Ok((floor.min(total / SPARE_PART), within(blocks, bytes)?)),
        None => Ok((total / SPARE_PART, blocks.needed)),
    }
}

/// Blocks beside weights and passes, and what is left alone.
fn beside(device: &str, memory: Memory, blocks: Blocks, set: Option<u64>) -> Result<(u64, u64), RoomError> {
    let (spare, wanted) = least(memory.total, blocks, set, SPARE_BYTES)?;
    let left = memory.free.saturating_sub(memory.passes).saturating_sub(spare);
    if left / blocks.bytes < wanted {
        return Err(RoomError::Full {
            device: device.to_owned(),
            free_bytes: memory.free,
            total_bytes: memory.total,
            pass_bytes: memory.passes,
            spare_bytes: spare,
            cache_bytes: wanted * blocks.bytes,
            tokens: wanted as usize * BLOCK_TOKENS,
        });
    }
    Ok((if set.is_some() { wanted } else { (left / blocks.bytes).min(blocks.useful) }, spare))
}

/// Bytes as people read them.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// MedGemma 4B: 2.2 MB a block of 16 tokens.
    const BLOCKS: Blocks = Blocks { bytes: 34 * 2 * 16 * 4 * 256 * 2, needed: 128, useful: 16 * 131_072 / 16 };

    #[test]
    fn a_cache_takes_what_is_free_beside_passes_and_never_more_than_is_useful() {
        let gpu = |free: u64, passes: u64| Memory { free: free * MIB, total: 24_576 * MIB, passes: passes * MIB };
        let found = |memory, blocks, set| beside("a GPU", memory, blocks, set).unwrap().0;
        // 24,576 / 20 are left alone.
        let wanted = (15_000 - 1_000) * MIB - 24_576 * MIB / 20;
        assert_eq!(found(gpu(15_000, 1_000), BLOCKS, None), wanted / BLOCKS.bytes);
        assert_eq!(found(gpu(15_000, 1_000), Blocks { useful: 200, ..BLOCKS }, None), 200);
        // A setting is taken as it is, as far as it is of use, and takes of what is left alone otherwise.
        let most = 15_000 - 1_000 - 512;
        assert_eq!(found(gpu(15_000, 1_000), BLOCKS, Some(most * MIB)), most * MIB / BLOCKS.bytes);
        assert_eq!(found(gpu(15_000, 1_000), Blocks { useful: 200, ..BLOCKS }, Some(14_000 * MIB)), 200);
        assert!(beside("a GPU", gpu(15_000, 1_000), BLOCKS, Some((most + 3) * MIB)).is_err());
    }

    #[test]
    fn a_device_that_is_too_full_is_refused_with_the_numbers() {
        let gpu = |free: u64| Memory { free: free * MIB, total: 24_000 * MIB, passes: 1_000 * MIB };
        // One sequence takes 272 MiB.
        assert_eq!(beside("a GPU", gpu(2_472), BLOCKS, None).unwrap(), (BLOCKS.needed, 1_200 * MIB));
        assert_eq!(
            beside("a GPU", gpu(2_471), BLOCKS, None).unwrap_err().to_string(),
            "a GPU has 2471 of 24000 MiB free beside the weights: passes take 1000 MiB, 1200 MiB are left alone, and 272 \
             MiB are needed for a cache of 2048 tokens; use a GPU with more free memory, or less of --pass-tokens, --batch \
             or --cache-mib"
        );
        let set = beside("a GPU", gpu(2_100), BLOCKS, Some(600 * MIB)).unwrap_err().to_string();
        assert!(set.contains("passes take 1000 MiB, 512 MiB are left alone, and 600 MiB are needed"), "{set}");
        assert_eq!(
            beside("a GPU", gpu(2_112), BLOCKS, Some(600 * MIB)).unwrap(),
            (600 * MIB / BLOCKS.bytes, 512 * MIB)
        );
        // A small device leaves the part of it that it leaves otherwise.
        let small = Memory { free: 900 * MIB, total: 2_000 * MIB, passes: 300 * MIB };
        assert_eq!(beside("a GPU", small, BLOCKS, Some(500 * MIB)).unwrap().1, 100 * MIB);
        assert!(beside("a GPU", gpu(10), BLOCKS, None).is_err());
    }

    #[test]
    fn a_host_holds_weights_passes_images_and_cache_or_refuses_with_the_numbers() {
        let images = DeskWish { least_bytes: 300 * MIB, most_bytes: 1_300 * MIB };
        let host = |free: u64| Host {
            memory: HostMemory { free_bytes: free * MIB, total_bytes: 24_000 * MIB, bound: Bound::Machine },
            weights: 8_000 * MIB,
            passes: 1_000 * MIB,
            beside: BesideModel { object_bytes: 256 * MIB, images },
        };
        // One sequence takes 272 MiB, and 1,200 are left alone.
        let most = (HOST_BYTES / BLOCKS.bytes * BLOCKS.bytes, 1_300 * MIB);
        assert_eq!(host(20_000).cache_and_images(BLOCKS, None).unwrap(), most);
        assert_eq!(host(11_028).cache_and_images(BLOCKS, None).unwrap(), (272 * MIB, 300 * MIB));
        assert_eq!(host(11_228).cache_and_images(BLOCKS, None).unwrap().1, 400 * MIB, "a half of what is left");
        assert_eq!(
            host(11_027).cache_and_images(BLOCKS, None).unwrap_err().to_string(),
            "this machine has 11027 of 24000 MiB of memory free: weights take 8000 MiB, passes 1000 MiB, fetched objects 256 \
             MiB, images being read 300 MiB, 1200 MiB are left alone, and 272 MiB are needed for a cache of 2048 tokens; give \
             it more memory, or use --weights in fewer bits, or less of --batch, --pass-tokens, --cache-mib or \
             --object-cache-mib"
        );
        assert!(host(10_300).cache_and_images(BLOCKS, Some(744 * MIB)).is_ok());
        let set = host(10_300).cache_and_images(BLOCKS, Some(746 * MIB)).unwrap_err().to_string();
        assert!(set.contains("0 MiB are left alone, and 746 MiB are needed"), "{set}");
        assert!(host(10).cache_and_images(BLOCKS, None).is_err());
        let memory =
            |free: u64| HostMemory { free_bytes: free * MIB, total_bytes: 24_000 * MIB, bound: Bound::Machine };
        let beside = host(0).beside;
        assert_eq!(beside.image_bytes(Some(memory(1_256))), 500 * MIB);
        assert_eq!(beside.image_bytes(Some(memory(100))), 300 * MIB);
        assert_eq!(beside.image_bytes(None), 1_300 * MIB);
    }

    #[test]
    fn a_setting_that_holds_no_prompt_is_refused() {
        for set in [in_host(BLOCKS, Some(100 * MIB)), within(BLOCKS, 100 * MIB)] {
            assert_eq!(set.unwrap_err().to_string(), "--cache-mib 100 holds 752 tokens; one prompt needs 2048");
        }
        assert_eq!(in_host(BLOCKS, None).unwrap(), HOST_BYTES / BLOCKS.bytes);
    }
}
