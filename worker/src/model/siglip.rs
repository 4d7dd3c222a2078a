//! SigLIP: pictures and texts to points of one space (MedSigLIP), and the vision tower that other families use.

mod pooling;
mod raw;
mod text;
mod tower;

use prelim_kernels::Backend;

use super::Watch;
use super::encoder::EncoderNames;
use super::error::ModelError;
use super::parts::{Keeping, Loader};
use super::weights::Weights;
use pooling::Pooling;
use text::TextTower;

pub(super) use raw::{RawVision, read};
pub(super) use tower::Tower;

use super::config::PictureSize;

/// What an encoder of pictures and texts is.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The tower of texts.
    pub text: TextConfig,
    /// The tower of pictures.
    pub vision: VisionConfig,
}

impl Config {
    /// Numbers of an embedding.
    pub fn width(&self) -> usize {
        self.vision.hidden
    }
}

/// The text tower.
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
    /// Heads.
    pub heads: usize,
    /// Tokens of a text, padding included.
    pub positions: usize,
    /// Numbers of an embedding.
    pub projection: usize,
    /// Added to the variance in norms.
    pub eps: f32,
}

/// The SigLIP vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layers.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Heads.
    pub heads: usize,
    /// The pictures that it takes.
    pub picture: PictureSize,
    /// Rows and columns of a patch.
    pub patch: usize,
    /// Added to the variance in norms.
    pub eps: f32,
}

impl VisionConfig {
    /// Rows and columns of patches.
    pub fn side(&self) -> usize {
        self.picture.side / self.patch
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        self.side() * self.side()
    }
}

/// What checkpoints call the parts of a layer.
const LAYER_NAMES: EncoderNames = EncoderNames {
    layers: "vision_tower.encoder.layers",
    attention_norm: "layer_norm1",
    qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    output: "self_attn.out_proj",
    mlp_norm: "layer_norm2",
    up: "mlp.fc1",
    down: "mlp.fc2",
    scales: None,
};

/// Both towers on a device.
pub(super) struct Siglip<B: Backend> {
    text: TextTower<B>,
    vision: Tower<B>,
    pooling: Pooling<B>,
    /// The factor of logits, and what is added.
    scale_and_bias: (f64, f64),
}

impl<B: Backend> Siglip<B> {
    pub(super) fn load(backend: &B, weights: &Weights, config: &Config, keeping: Keeping) -> Result<Self, ModelError> {
        let loader = Loader { backend, weights, keeping, adapters: &[] };
        let number = |name: &str| Ok::<f64, ModelError>(f64::from(weights.vector(name, 1)?[0]));
        Ok(Self {
            text: TextTower::load(&loader, &config.text)?,
            vision: Tower::load(&loader, &config.vision)?,
            pooling: Pooling::load(&loader, &config.vision)?,
            scale_and_bias: (number("logit_scale")?.exp(), number("logit_bias")?),
        })
    }

    /// What a cosine is multiplied by, and what is added to it.
    pub(super) fn scale_and_bias(&self) -> (f64, f64) {
        self.scale_and_bias
    }

    /// Pictures to points `[images, hidden]` of any length.
    pub(super) fn pool_images(&self, backend: &B, pixel_values: &[f32], mut watch: Watch<'_>) -> Vec<f32> {
        let mut pooled = Vec::new();
        self.vision.encode(backend, pixel_values, None, watch.again(), |images, patches, _| {
            pooled.extend(self.pooling.pool(backend, images, patches));
        });
        watch.show_values("vision_pooler", self.pooling.width(), || pooled.clone());
        pooled
    }

    /// Texts to points `[texts, projection]` of any length.
    pub(super) fn pool_texts(&self, backend: &B, texts: &[Vec<u32>], watch: Watch<'_>) -> Vec<f32> {
        self.text.pool(backend, texts, watch)
    }
}
