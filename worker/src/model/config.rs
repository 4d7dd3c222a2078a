//! `config.json` of a Gemma 3 checkpoint, in every spelling that published ones use.

use std::fs;
use std::path::Path;

mod raw;

use super::error::ModelError;
use raw::{RawConfig, RawGeneration};

/// What the model is, resolved: one spelling, defaults filled in as `transformers` does.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The decoder.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Soft tokens of an image.
    pub tokens_per_image: usize,
    /// The id of a soft token.
    pub image_token: u32,
    /// The id of `<start_of_image>`.
    pub start_of_image: u32,
    /// The id of `<end_of_image>`.
    pub end_of_image: u32,
    /// Any of these ends an answer.
    pub end_tokens: Vec<u32>,
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
    /// Positions that the model was made for.
    pub max_positions: usize,
}

/// What a decoder layer attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// The last `window` positions.
    Sliding,
    /// All positions.
    Full,
}

/// Rotary position embedding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f32,
    /// Frequencies are divided by this (linear scaling).
    pub factor: f32,
}

impl Rope {
    /// Frequencies of the pairs of a head, computed in f32 as `transformers` does.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim).step_by(2).map(|i| 1.0 / self.theta.powf(i as f32 / head_dim as f32) / self.factor).collect()
    }
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
    /// Rows and columns of the picture.
    pub image_size: usize,
    /// Rows and columns of a patch.
    pub patch: usize,
    /// Channels of the picture.
    pub channels: usize,
    /// Added to the variance in norms.
    pub eps: f32,
}

impl VisionConfig {
    /// Rows and columns of patches.
    pub fn side(&self) -> usize {
        self.image_size / self.patch
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        self.side() * self.side()
    }
}

impl ModelConfig {
    /// Reads `config.json`, and `generation_config.json` where there is one, for more end tokens.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let file = folder.join("config.json");
        let text = fs::read_to_string(&file).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                ModelError::NoModel { folder: folder.to_owned() }
            }
            _ => ModelError::Read { file: file.clone(), source },
        })?;
        let bad = |what: String| ModelError::Config { file: file.clone(), what };
        let raw: RawConfig = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let architectures = raw.architectures.join(", ");
        if architectures != "Gemma3ForConditionalGeneration" {
            return Err(ModelError::Architecture { file, found: named(architectures, &raw.model_type) });
        }
        let mut config = raw.resolve().map_err(bad)?;
        let generation = folder.join("generation_config.json");
        if let Ok(text) = fs::read_to_string(&generation) {
            let raw: RawGeneration = serde_json::from_str(&text)
                .map_err(|error| ModelError::Config { file: generation, what: error.to_string() })?;
            config.end_tokens.extend(raw.end_tokens());
            config.end_tokens.sort_unstable();
            config.end_tokens.dedup();
        }
        Ok(config)
    }

    /// Soft tokens along a side of an image.
    pub fn tokens_per_side(&self) -> usize {
        self.tokens_per_image.isqrt()
    }
}

fn named(architectures: String, model_type: &Option<String>) -> String {
    match (architectures.is_empty(), model_type) {
        (false, _) => architectures,
        (true, Some(model_type)) => format!("a model of type {model_type}"),
        (true, None) => "a model without a name".to_owned(),
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
