//! LLaVA with DINOv2 and Llama: what MAIRA-2 is built from.
//!
//! Pictures go through DINOv2 and two products; the decoder sees a picture's tokens like any others, one after the other.

mod dinov2;
mod llama;
mod positions;
mod projector;
mod raw;

use prelim_kernels::{Activation, Backend};

use super::Watch;
use super::adapter::AdapterId;
use super::batch::{KvCache, Scores};
use super::config::PictureSize;
use super::error::ModelError;
use super::family::Family;
use super::layout::Layout;
use super::parts::Loader;
use super::rope::Rope;
use dinov2::Tower;
use llama::Decoder;
use projector::Projector;

pub(super) use raw::read;

/// What only this family knows of its model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The decoder.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Between the products of the projector.
    pub projector_activation: Activation,
    /// Whether the products of the projector have biases.
    pub projector_bias: bool,
    /// Whether an image begins with the token that stands for all of it.
    pub keeps_class_token: bool,
}

/// The Llama decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Tokens that the embedding has rows for.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layers.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Values in a head.
    pub head_dim: usize,
    /// Added to the mean square in norms.
    pub eps: f32,
    /// Rotary embedding.
    pub rope: Rope,
    /// Whether the head is the embedding.
    pub tied: bool,
}

/// The DINOv2 vision tower, as far as it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layers.
    pub intermediate: usize,
    /// Layers that pictures go through: those after the one whose result is used are left out.
    pub layers: usize,
    /// Heads.
    pub heads: usize,
    /// The pictures that the processor makes.
    pub picture: PictureSize,
    /// Rows and columns of a patch.
    pub patch: usize,
    /// Rows and columns of patches that position embeddings were made for; for others they are interpolated.
    pub trained_side: usize,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Added to the variance in norms.
    pub eps: f32,
}

impl VisionConfig {
    /// Rows and columns of patches.
    pub fn side(&self) -> usize {
        self.picture.side / self.patch
    }
}

/// The model on a device.
pub(super) struct Llava<B: Backend> {
    tower: Tower<B>,
    projector: Projector<B>,
    decoder: Decoder<B>,
}

impl<B: Backend> Llava<B> {
    pub(super) fn load(loader: &Loader<'_, B>, config: &Config) -> Result<Self, ModelError> {
        Ok(Self {
            tower: Tower::load(&loader.unquantised(), &config.vision)?,
            projector: Projector::load(&loader.unquantised(), config)?,
            decoder: Decoder::load(loader, &config.text)?,
        })
    }
}

impl<B: Backend> Family<B> for Llava<B> {
    fn encode(
        &self,
        backend: &B,
        pixel_values: &[f32],
        images: usize,
        adapter: Option<AdapterId>,
        watch: Watch<'_>,
    ) -> Vec<B::Buffer> {
        let mut features = Vec::with_capacity(images);
        self.tower.encode(backend, pixel_values, adapter, watch, |images, states, watch| {
            features.extend(self.projector.project(backend, images, adapter, states, watch));
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
