//! `vision_config` as it is written.

use serde::Deserialize;

use super::VisionConfig;
use crate::model::config::PictureSize;
use crate::model::raw::{GELU_TANH, MAX_HEADS, MAX_LAYERS, MAX_SIDE, MAX_WIDTH, check_sizes};

/// Defaults of `SiglipVisionConfig`.
#[derive(Deserialize)]
#[serde(default)]
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
        }
    }
}

impl RawVision {
    pub(crate) fn resolve(self) -> Result<VisionConfig, String> {
        if self.hidden_act != GELU_TANH {
            return Err(format!("vision_config has hidden_act {}, which prelim does not compute", self.hidden_act));
        }
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
        if self.num_channels != 3 {
            return Err(format!("vision_config has num_channels {}, and pictures have 3", self.num_channels));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!("vision_config cannot divide {} by its heads", self.hidden_size));
        }
        if !self.image_size.is_multiple_of(self.patch_size) {
            return Err(format!("a picture of {} px has no whole patches of {}", self.image_size, self.patch_size));
        }
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
