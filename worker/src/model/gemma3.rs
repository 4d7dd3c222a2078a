//! Gemma 3 with SigLIP: MedGemma.
//!
//! Pictures go through SigLIP and a projector that pools patches; the decoder's layers see a window or everything, and the
//! tokens of a picture see each other both ways.

mod decoder;
mod layer;
mod projector;
mod raw;

use prelim_kernels::Backend;

use super::Watch;
use super::adapter::AdapterId;
use super::batch::{KvCache, Scores};
use super::error::ModelError;
use super::family::Family;
use super::layout::Layout;
use super::parts::Loader;
use super::rope::Rope;
use super::siglip::{Tower, VisionConfig};
use decoder::Decoder;
use projector::Projector;

pub(super) use raw::read;

/// What only this family knows of its model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The decoder.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Soft tokens along a side of an image.
    pub tokens_per_side: usize,
}

/// The decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Tokens that the embedding has rows for.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layers.
    pub intermediate: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Values in a head.
    pub head_dim: usize,
    /// For each layer whether it attends to a window only.
    pub layers: Vec<Attention>,
    /// How many positions a token sees in a window, itself included.
    pub window: usize,
    /// Scores are divided by the square root of this, which need not be `head_dim` (MedGemma 27B).
    pub query_scale: f32,
    /// Added to the mean square in norms.
    pub eps: f32,
    /// Rotary embedding of layers that see everything.
    pub rope_global: Rope,
    /// Rotary embedding of layers that see a window.
    pub rope_local: Rope,
}

/// What a decoder layer attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// The last `window` positions.
    Sliding,
    /// All positions.
    Full,
}

/// What is added to the weights of norms.
const NORM_OFFSET: f32 = 1.0;

/// The model on a device.
pub(super) struct Gemma3<B: Backend> {
    tower: Tower<B>,
    projector: Projector<B>,
    decoder: Decoder<B>,
}

impl<B: Backend> Gemma3<B> {
    pub(super) fn load(loader: &Loader<'_, B>, config: &Config) -> Result<Self, ModelError> {
        Ok(Self {
            tower: Tower::load(&loader.unquantised(), &config.vision)?,
            projector: Projector::load(&loader.unquantised(), config)?,
            decoder: Decoder::load(loader, &config.text)?,
        })
    }
}

impl<B: Backend> Family<B> for Gemma3<B> {
    fn encode(
        &self,
        backend: &B,
        pixel_values: &[f32],
        images: usize,
        adapter: Option<AdapterId>,
        watch: Watch<'_>,
    ) -> Vec<B::Buffer> {
        let mut features = Vec::with_capacity(images);
        self.tower.encode(backend, pixel_values, adapter, watch, |images, patches, watch| {
            features.extend(self.projector.project(backend, images, patches, watch));
        });
        features
    }

    fn forward(&self, backend: &B, kv: &mut KvCache<B>, layout: &Layout<'_, B>, watch: Watch<'_>) -> Scores<B> {
        self.decoder.forward(backend, kv, layout, watch)
    }

    fn forget(&self) {
        self.tower.forget();
        self.decoder.forget();
    }
}

#[cfg(test)]
mod tests;
