//! The model: tensors only. It reads Hugging Face checkpoints as they are and computes what `transformers` computes.
//!
//! # Layout
//! - [`family`]: the boundary between families, and the table of them
//! - [`gemma3`]: Gemma 3 with SigLIP (MedGemma); [`llava`]: LLaVA with DINOv2 and Llama (MAIRA-2's parts)
//! - [`siglip`]: SigLIP (MedSigLIP), behind [`embedder`]: pictures and texts to points of one space
//! - [`config`]: what is to be known of any model; `raw`: what every `config.json` has in common
//! - [`weights`]: sharded safetensors
//! - [`adapter`]: what a fine-tuning changed, beside the model
//! - [`batch`]: what goes into a forward pass and what comes out; `layout`: the same, checked and in rows
//! - `rehearsal`: how much of a device's memory passes take
//! - `parts`, `encoder`, [`rope`]: pieces that several families are built from
//!
//! How a family is added is told in `ADDING.md` beside this file.
//!
//! # Invariants
//! - Nothing here knows DICOM, jobs, requests, time or randomness.
//! - A model does not change after it was loaded; caches are apart from it.
//! - What a family computes is in its own file; nothing else knows it.

pub mod adapter;
pub mod batch;
pub mod config;
pub mod embedder;
mod encoder;
pub mod error;
pub mod family;
pub mod gemma3;
mod layout;
pub mod llava;
mod parts;
mod quantisation;
mod raw;
mod rehearsal;
pub mod rope;
pub mod siglip;
pub mod weights;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use prelim_kernels::{Backend, CacheShape, Choices, Choose, DeviceError, Pick, Storage};

pub use adapter::{Adapter, AdapterId};
pub use batch::{Batch, Chunk, ImageFeatures, KvCache, Logits, Observer, PlacedImage, Scores, Want};
pub use config::ModelConfig;
pub(crate) use config::without_mark;
pub use embedder::{Embedder, Embeddings};
pub use error::ModelError;
pub use family::FamilyConfig;
pub use rehearsal::PassSizes;

use config::TokenCache;
use family::Family;
use layout::Layout;
use parts::{Keeping, Loader};
use weights::Weights;

/// How weights are kept in memory. What is rounded when they are used says the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightType {
    /// As the checkpoint has them: where it is of bf16 for the most part, a matrix of bf16 stays so, and any other becomes f32;
    /// else all becomes f32. Nothing is lost. Where some weights are quantised, these stay so, and the others are kept in bf16.
    #[default]
    AsStored,
    /// f32, always.
    F32,
    /// bf16, rounded to nearest where the checkpoint has more. What it has quantised stays so, which has the same bits.
    Bf16,
    /// The decoder and its embedding table in eight bits, the rest in bf16: a tower computes more than it reads.
    Int8,
    /// The same in four bits.
    Int4,
}

/// How most weights of the decoder are kept, for logs and drafts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptType {
    /// f32.
    F32,
    /// bf16.
    Bf16,
    /// Whole numbers of eight bits.
    Int8,
    /// Whole numbers of four bits.
    Int4,
}

impl KeptType {
    /// Whole numbers with scales.
    pub fn is_quantised(self) -> bool {
        matches!(self, KeptType::Int8 | KeptType::Int4)
    }
}

impl fmt::Display for KeptType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeptType::F32 => "f32",
            KeptType::Bf16 => "bf16",
            KeptType::Int8 => "int8",
            KeptType::Int4 => "int4",
        })
    }
}

impl WeightType {
    /// How weights of this checkpoint are kept. Those that it has quantised stay so, unless f32 is asked for.
    ///
    /// # Errors
    /// Whole numbers of other bits than the checkpoint has: what it was made from is not there any more.
    pub fn kept(self, stored: &Weights) -> Result<KeptType, ModelError> {
        let wanted = match self {
            WeightType::F32 => return Ok(KeptType::F32),
            WeightType::AsStored => None,
            WeightType::Bf16 => Some(KeptType::Bf16),
            WeightType::Int8 => Some(KeptType::Int8),
            WeightType::Int4 => Some(KeptType::Int4),
        };
        let found = stored.stored_type();
        match wanted {
            Some(wanted) if found.is_quantised() && wanted.is_quantised() && wanted != found => {
                Err(ModelError::OtherBits { file: stored.root().to_owned(), found, wanted })
            }
            Some(wanted) if !found.is_quantised() => Ok(wanted),
            _ => Ok(found),
        }
    }

    /// How a backend is to keep weights of this checkpoint.
    fn keeping(self, stored: &Weights) -> Result<Keeping, ModelError> {
        let kept = self.kept(stored)?;
        let storage = match (self, kept) {
            (WeightType::Int8, _) => Storage::Int8,
            (WeightType::Int4, _) => Storage::Int4,
            (_, KeptType::F32) => Storage::F32,
            (_, KeptType::Bf16 | KeptType::Int8 | KeptType::Int4) => Storage::Bf16,
        };
        Ok(Keeping { storage, loses_nothing: self == WeightType::AsStored && !kept.is_quantised() })
    }
}

/// A vision language model, loaded. It does not change: share it by reference or `Arc`.
pub struct Model<B: Backend> {
    config: ModelConfig,
    backend: B,
    family: Box<dyn Family<B>>,
    /// For each adapter, whether pictures are encoded otherwise with it.
    adapts_pictures: Vec<bool>,
}

impl<B: Backend> Model<B> {
    /// Reads a Hugging Face checkpoint folder onto a device.
    pub fn load(folder: &Path, backend: B, weights: WeightType) -> Result<Self, ModelError> {
        let config = ModelConfig::read(folder)?;
        let stored = Weights::open(folder)?;
        Self::from_weights(config, &stored, backend, weights, &[])
    }

    /// Builds a model from an opened checkpoint and its settings, with adapters beside it.
    pub fn from_weights(
        config: ModelConfig,
        stored: &Weights,
        backend: B,
        weights: WeightType,
        adapters: &[Adapter],
    ) -> Result<Self, ModelError> {
        let loader = Loader { backend: &backend, weights: stored, keeping: weights.keeping(stored)?, adapters };
        reserve(&backend, || drop(config.family.load(&loader)))?;
        let family = config.family.load(&loader)?;
        adapters.iter().try_for_each(Adapter::check_taken)?;
        let adapts_pictures = adapters.iter().map(|adapter| adapter.changes_pictures()).collect();
        Ok(Self { config, backend, family, adapts_pictures })
    }

    /// How many adapters there are: [`AdapterId`]s count from 0.
    pub fn adapters(&self) -> usize {
        self.adapts_pictures.len()
    }

    /// Whether pictures are encoded otherwise with an adapter than without.
    pub fn adapts_pictures(&self, adapter: AdapterId) -> bool {
        self.adapts_pictures[adapter.0]
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device it is on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Pictures `[images, channels, side, side]`, normalised as the processor says, to one set of features each.
    ///
    /// # Panics
    /// When `pixel_values` is of another length.
    pub fn encode_images(&self, pixel_values: &[f32], images: usize) -> Vec<ImageFeatures<B>> {
        self.encode_images_observed(pixel_values, images, None, None)
    }

    /// [`Model::encode_images`], with an adapter. Fails where the device has no memory for it.
    pub fn encode_images_with(
        &self,
        pixel_values: &[f32],
        images: usize,
        adapter: Option<AdapterId>,
    ) -> Result<Vec<ImageFeatures<B>>, DeviceError> {
        let features = self.encode_images_observed(pixel_values, images, adapter, None);
        self.dropped(self.backend.had_room())?;
        Ok(features)
    }

    /// What a pass without memory left for the next one is dropped.
    fn dropped<T>(&self, pass: Result<T, DeviceError>) -> Result<T, DeviceError> {
        pass.inspect_err(|_| self.family.forget())
    }

    /// [`Model::encode_images`], with a look at what is in between.
    pub fn encode_images_observed(
        &self,
        pixel_values: &[f32],
        images: usize,
        adapter: Option<AdapterId>,
        observer: Option<&mut dyn Observer>,
    ) -> Vec<ImageFeatures<B>> {
        let picture = self.config.picture;
        assert_eq!(pixel_values.len(), images * picture.values(), "{images} pictures of {} px", picture.side);
        let features = self.family.encode(&self.backend, pixel_values, images, adapter, Watch(observer));
        let tokens = self.config.tokens_per_image;
        features.into_iter().map(|buffer| ImageFeatures { buffer: Arc::new(buffer), tokens }).collect()
    }

    /// A cache of `blocks` blocks of `block_tokens` tokens, a multiple of 16.
    pub fn new_kv_cache(&self, blocks: usize, block_tokens: usize) -> Result<KvCache<B>, ModelError> {
        let TokenCache { layers, kv_heads, head_dim } = self.config.cache;
        let shape = CacheShape { layers, blocks, block_tokens, kv_heads, head_dim };
        Ok(KvCache { cache: self.backend.cache(shape)?, shape })
    }

    /// Bytes that one block of a cache takes, for sizing it.
    pub fn kv_block_bytes(&self, block_tokens: usize) -> u64 {
        let TokenCache { layers, kv_heads, head_dim } = self.config.cache;
        self.backend.cache_bytes(CacheShape { layers, blocks: 1, block_tokens, kv_heads, head_dim })
    }

    /// Computes the new tokens of a batch into the cache, and the logits that it asks for.
    ///
    /// # Panics
    /// When a chunk is empty, cuts an image, has a soft token outside an image, a token outside the vocabulary, or a
    /// block table that is too short; and when the device has no memory for it.
    pub fn forward(&self, kv: &mut KvCache<B>, batch: &Batch<'_, B>) -> Logits {
        self.forward_observed(kv, batch, None)
    }

    /// [`Model::forward`], with a look at what is in between.
    pub fn forward_observed(
        &self,
        kv: &mut KvCache<B>,
        batch: &Batch<'_, B>,
        observer: Option<&mut dyn Observer>,
    ) -> Logits {
        let layout = Layout::new(batch, &self.config);
        self.family.forward(&self.backend, kv, &layout, Watch(observer)).read(&self.backend)
    }

    /// [`Model::forward`], with the logits left on the device: for [`Model::choose`]. Fails where the device has no memory for
    /// the pass; what is in the cache for its new tokens is of no use then.
    ///
    /// # Panics
    /// As [`Model::forward`], but not for want of memory.
    pub fn score(&self, kv: &mut KvCache<B>, batch: &Batch<'_, B>) -> Result<Scores<B>, DeviceError> {
        let layout = Layout::new(batch, &self.config);
        let scores = self.family.forward(&self.backend, kv, &layout, Watch(None));
        self.dropped(self.backend.had_room())?;
        Ok(scores)
    }

    /// A token for each row of scores. What stands for a part of an image is no word, and nothing could be computed after it:
    /// it is never chosen, and has no part in probabilities. Fails where the device has no memory for it.
    ///
    /// # Panics
    /// When there are not as many picks as rows.
    pub fn choose(&self, scores: &Scores<B>, picks: &[Pick<'_>]) -> Result<Choices, DeviceError> {
        assert_eq!(picks.len(), scores.rows, "wishes for rows of scores");
        let (vocabulary, excluded) = (scores.vocabulary, Some(self.config.image_token));
        let args = Choose { scores: &scores.buffer, vocabulary, excluded, rows: picks };
        self.dropped(self.backend.choose(args))
    }
}

/// Has a device take memory for all that `load` puts there, before anything is read: a model that does not fit is told of at
/// once.
fn reserve<B: Backend>(backend: &B, load: impl FnOnce()) -> Result<(), ModelError> {
    match backend.rehearse(load) {
        Some(bytes) => Ok(backend.reserve_for_weights(bytes)?),
        None => Ok(()),
    }
}

/// An observer that may be absent; then nothing is copied and no name is made.
struct Watch<'a>(Option<&'a mut dyn Observer>);

impl Watch<'_> {
    /// The same observer, lent.
    fn again(&mut self) -> Watch<'_> {
        Watch(self.0.as_mut().map(|observer| &mut **observer as &mut dyn Observer))
    }

    fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Shows the first `rows` rows of a buffer.
    fn show<B: Backend>(
        &mut self,
        backend: &B,
        name: impl FnOnce() -> String,
        (rows, width): (usize, usize),
        buffer: &B::Buffer,
    ) {
        if let Some(observer) = &mut self.0 {
            observer.tensor(&name(), width, backend.download(buffer, rows * width));
        }
    }

    fn show_values(&mut self, name: &str, width: usize, values: impl FnOnce() -> Vec<f32>) {
        if let Some(observer) = &mut self.0 {
            observer.tensor(name, width, values());
        }
    }
}
