//! `config.json` of a SigLIP checkpoint, and the `vision_config` of families with its tower.

use serde::Deserialize;

use super::{Config, TextConfig, VisionConfig};
use crate::model::config::PictureSize;
use crate::model::raw::{
    GELU_TANH, MAX_HEADS, MAX_LAYERS, MAX_POSITIONS, MAX_SIDE, MAX_VOCABULARY, MAX_WIDTH, check_factors,
    check_pictures, check_sizes, check_width, refuse,
};

/// Reads the text of `config.json`. The error says what is wrong, in a phrase.
pub(crate) fn read(text: &str) -> Result<Config, String> {
    let raw: RawConfig = serde_json::from_str(text).map_err(|error| error.to_string())?;
    refuse("vision_config", &[(!raw.vision_config.vision_use_head, "no pooling head (vision_use_head)")])?;
    let (text, vision) = (raw.text_config.resolve()?, raw.vision_config.resolve()?);
    if text.projection != vision.hidden {
        let (text, vision) = (text.projection, vision.hidden);
        return Err(format!("texts become points of {text} numbers and pictures of {vision}: they cannot be compared"));
    }
    Ok(Config { text, vision })
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct RawConfig {
    #[serde(default)]
    text_config: RawText,
    #[serde(default)]
    vision_config: RawVision,
}

/// Defaults of `SiglipTextConfig`.
#[derive(Deserialize)]
#[serde(default, expecting = "an object")]
struct RawText {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    layer_norm_eps: f32,
    projection_size: Option<usize>,
}

impl Default for RawText {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 64,
            hidden_act: GELU_TANH.to_owned(),
            layer_norm_eps: 1e-6,
            projection_size: None,
        }
    }
}

impl RawText {
    fn resolve(self) -> Result<TextConfig, String> {
        refuse("text_config", &[(self.hidden_act != GELU_TANH, &format!("hidden_act {}", self.hidden_act))])?;
        let projection = self.projection_size.unwrap_or(self.hidden_size);
        check_sizes(
            "text_config",
            &[
                ("vocab_size", self.vocab_size, MAX_VOCABULARY),
                ("hidden_size", self.hidden_size, MAX_WIDTH),
                ("intermediate_size", self.intermediate_size, MAX_WIDTH),
                ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
                ("num_attention_heads", self.num_attention_heads, MAX_HEADS),
                ("max_position_embeddings", self.max_position_embeddings, MAX_POSITIONS),
                ("projection_size", projection, MAX_WIDTH),
            ],
        )?;
        check_width("text_config", self.hidden_size, self.num_attention_heads)?;
        check_factors("text_config", &[("layer_norm_eps", self.layer_norm_eps)])?;
        Ok(TextConfig {
            vocabulary: self.vocab_size,
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            positions: self.max_position_embeddings,
            projection,
            eps: self.layer_norm_eps,
        })
    }
}

/// Defaults of `SiglipVisionConfig`.
#[derive(Deserialize)]
#[serde(default, expecting = "an object")]
pub(crate) struct RawVision {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_channels: usize,
    image_size: usize,
    patch_size: usize,
    hidden_act: String,
    layer_norm_eps: f32,
    vision_use_head: bool,
}

impl Default for RawVision {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 16,
            hidden_act: GELU_TANH.to_owned(),
            layer_norm_eps: 1e-6,
            vision_use_head: true,
        }
    }
}

impl RawVision {
    pub(crate) fn resolve(self) -> Result<VisionConfig, String> {
        refuse("vision_config", &[(self.hidden_act != GELU_TANH, &format!("hidden_act {}", self.hidden_act))])?;
        check_sizes(
            "vision_config",
            &[
                ("hidden_size", self.hidden_size, MAX_WIDTH),
                ("intermediate_size", self.intermediate_size, MAX_WIDTH),
                ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
                ("num_attention_heads", self.num_attention_heads, MAX_HEADS),
                ("image_size", self.image_size, MAX_SIDE),
                ("patch_size", self.patch_size, MAX_SIDE),
            ],
        )?;
        check_width("vision_config", self.hidden_size, self.num_attention_heads)?;
        check_factors("vision_config", &[("layer_norm_eps", self.layer_norm_eps)])?;
        check_pictures(self.num_channels, &[self.image_size], self.patch_size)?;
        Ok(VisionConfig {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            picture: PictureSize { channels: self.num_channels, side: self.image_size },
            patch: self.patch_size,
            eps: self.layer_norm_eps,
        })
    }
}
