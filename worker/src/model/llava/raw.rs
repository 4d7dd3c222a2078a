//! `config.json` of a LLaVA checkpoint with DINOv2 and Llama.

use std::path::Path;

use prelim_kernels::Activation;
use serde::Deserialize;

use super::{Config, TextConfig, VisionConfig};
use crate::model::config::{ModelConfig, PictureSize, TokenCache};
use crate::model::family::FamilyConfig;
use crate::model::raw::{
    MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_POSITIONS, MAX_SIDE, MAX_VOCABULARY, MAX_WIDTH, OneOrMany, RawRope,
    activation, check_factors, check_heads, check_ids, check_pictures, check_sizes, check_width, refuse, token,
};
use crate::preprocess::Preprocess;

/// What stands for an image where no file says it.
const IMAGE_TOKEN: u32 = 32_000;

/// Reads the text of `config.json`, and the size of pictures from the image processor's settings, which alone have it. The
/// error says what is wrong, in a phrase.
pub(crate) fn read(folder: &Path, text: &str) -> Result<ModelConfig, String> {
    let raw: RawConfig = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let preprocess = Preprocess::read(folder).map_err(|error| error.to_string())?;
    if preprocess.height != preprocess.width {
        let Preprocess { height, width, .. } = preprocess;
        return Err(format!("the image processor makes pictures of {width} x {height}, and prelim reads square ones"));
    }
    raw.resolve(preprocess.height)
}

/// Defaults of `LlavaConfig`.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct RawConfig {
    text_config: RawText,
    vision_config: RawVision,
    image_token_index: Option<u32>,
    image_token_id: Option<u32>,
    #[serde(default = "default_activation")]
    projector_hidden_act: String,
    #[serde(default = "default_strategy")]
    vision_feature_select_strategy: String,
    #[serde(default = "default_layer")]
    vision_feature_layer: LayerChoice,
    #[serde(default = "yes")]
    multimodal_projector_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
    eos_token_id: Option<OneOrMany>,
}

/// Which states of the tower are used: 0 is its input, -1 what comes after its last layer.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a layer's number, or a list of them")]
enum LayerChoice {
    One(i64),
    Several(Vec<i64>),
}

/// Defaults of `LlamaConfig`.
#[derive(Deserialize)]
#[serde(default, expecting = "an object")]
struct RawText {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: String,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    attention_bias: bool,
    mlp_bias: bool,
    tie_word_embeddings: bool,
    eos_token_id: Option<OneOrMany>,
}

impl Default for RawText {
    fn default() -> Self {
        Self {
            model_type: "llama".to_owned(),
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 11_008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            hidden_act: "silu".to_owned(),
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
            attention_bias: false,
            mlp_bias: false,
            tie_word_embeddings: false,
            eos_token_id: None,
        }
    }
}

/// Defaults of `Dinov2Config`.
#[derive(Deserialize)]
#[serde(default, expecting = "an object")]
struct RawVision {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    mlp_ratio: usize,
    hidden_act: String,
    layer_norm_eps: f32,
    image_size: usize,
    patch_size: usize,
    num_channels: usize,
    qkv_bias: bool,
    use_swiglu_ffn: bool,
}

impl Default for RawVision {
    fn default() -> Self {
        Self {
            // What `LlavaConfig` takes a tower for that does not say what it is.
            model_type: "clip_vision_model".to_owned(),
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            mlp_ratio: 4,
            hidden_act: "gelu".to_owned(),
            layer_norm_eps: 1e-6,
            image_size: 224,
            patch_size: 14,
            num_channels: 3,
            qkv_bias: true,
            use_swiglu_ffn: false,
        }
    }
}

/// Largest ratio of widths that is read.
const MAX_RATIO: usize = 64;

fn default_activation() -> String {
    "gelu".to_owned()
}

fn default_strategy() -> String {
    "default".to_owned()
}

fn default_layer() -> LayerChoice {
    LayerChoice::One(-2)
}

fn yes() -> bool {
    true
}

impl RawConfig {
    pub(super) fn resolve(self, side: usize) -> Result<ModelConfig, String> {
        let image_token = token("image_token", [self.image_token_index, self.image_token_id], IMAGE_TOKEN)?;
        check_ids(&[("image_token_index", image_token)])?;
        let end_tokens = OneOrMany::union([self.eos_token_id, self.text_config.eos_token_id.clone()]);
        let max_positions = self.text_config.max_position_embeddings;
        let tied = self.tie_word_embeddings || self.text_config.tie_word_embeddings;
        let text = TextConfig { tied, ..self.text_config.resolve()? };
        let vision = self.vision_config.resolve(self.vision_feature_layer, side)?;
        let projector_activation = activation(&self.projector_hidden_act)
            .ok_or_else(|| format!("projector_hidden_act {} is not computed by prelim", self.projector_hidden_act))?;
        let keeps_class_token = match self.vision_feature_select_strategy.as_str() {
            "default" => false,
            "full" => true,
            other => return Err(format!("vision_feature_select_strategy {other} is not computed by prelim")),
        };
        Ok(ModelConfig {
            vocabulary: text.vocabulary,
            max_positions,
            cache: TokenCache { layers: text.layers, kv_heads: text.kv_heads, head_dim: text.head_dim },
            picture: vision.picture,
            tokens_per_image: vision.side() * vision.side() + usize::from(keeps_class_token),
            image_token,
            image_marks: None,
            end_tokens,
            family: FamilyConfig::Llava(Config {
                text,
                vision,
                projector_activation,
                projector_bias: self.multimodal_projector_bias,
                keeps_class_token,
            }),
        })
    }
}

impl RawText {
    /// Without what the whole model says of its head.
    fn resolve(self) -> Result<TextConfig, String> {
        let heads = self.num_attention_heads;
        let kv_heads = self.num_key_value_heads.unwrap_or(heads);
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / heads.max(1));
        refuse(
            "text_config",
            &[
                (self.model_type != "llama", &format!("model_type {}", self.model_type)),
                (activation(&self.hidden_act) != Some(Activation::Silu), &format!("hidden_act {}", self.hidden_act)),
                (self.attention_bias, "attention_bias"),
                (self.mlp_bias, "mlp_bias"),
            ],
        )?;
        check_sizes(
            "text_config",
            &[
                ("vocab_size", self.vocab_size, MAX_VOCABULARY),
                ("hidden_size", self.hidden_size, MAX_WIDTH),
                ("intermediate_size", self.intermediate_size, MAX_WIDTH),
                ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
                ("num_attention_heads", heads, MAX_HEADS),
                ("num_key_value_heads", kv_heads, MAX_HEADS),
                ("head_dim", head_dim, MAX_HEAD_DIM),
                ("max_position_embeddings", self.max_position_embeddings, MAX_POSITIONS),
            ],
        )?;
        check_heads(heads, kv_heads, head_dim)?;
        check_factors("text_config", &[("rms_norm_eps", self.rms_norm_eps)])?;
        // New files have all in rope_parameters, old ones the base beside rope_scaling.
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let theta = rope.and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(1e4);
        Ok(TextConfig {
            vocabulary: self.vocab_size,
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads,
            kv_heads,
            head_dim,
            eps: self.rms_norm_eps,
            rope: RawRope::resolve(rope, theta)?,
            tied: self.tie_word_embeddings,
        })
    }
}

impl RawVision {
    /// For pictures of so many rows and columns.
    fn resolve(self, choice: LayerChoice, side: usize) -> Result<VisionConfig, String> {
        refuse(
            "vision_config",
            &[
                (self.model_type != "dinov2", &format!("model_type {}", self.model_type)),
                (activation(&self.hidden_act) != Some(Activation::GeluErf), &format!("hidden_act {}", self.hidden_act)),
                (self.use_swiglu_ffn, "use_swiglu_ffn"),
            ],
        )?;
        check_sizes(
            "vision_config",
            &[
                ("hidden_size", self.hidden_size, MAX_WIDTH),
                ("mlp_ratio", self.mlp_ratio, MAX_RATIO),
                ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
                ("num_attention_heads", self.num_attention_heads, MAX_HEADS),
                ("image_size", self.image_size, MAX_SIDE),
                ("patch_size", self.patch_size, MAX_SIDE),
            ],
        )?;
        check_width("vision_config", self.hidden_size, self.num_attention_heads)?;
        check_factors("vision_config", &[("layer_norm_eps", self.layer_norm_eps)])?;
        check_pictures(self.num_channels, &[self.image_size, side], self.patch_size)?;
        Ok(VisionConfig {
            hidden: self.hidden_size,
            intermediate: self.mlp_ratio * self.hidden_size,
            layers: choice.layers(self.num_hidden_layers)?,
            heads: self.num_attention_heads,
            picture: PictureSize { channels: self.num_channels, side },
            patch: self.patch_size,
            trained_side: self.image_size / self.patch_size,
            qkv_bias: self.qkv_bias,
            eps: self.layer_norm_eps,
        })
    }
}

impl LayerChoice {
    /// After how many of the tower's layers the states are taken.
    fn layers(self, all: usize) -> Result<usize, String> {
        let chosen = match self {
            Self::One(chosen) => chosen,
            Self::Several(chosen) => match chosen[..] {
                [chosen] => chosen,
                _ => return Err(format!("vision_feature_layer is {chosen:?}, and prelim reads one layer")),
            },
        };
        let from_end = if chosen < 0 { all as i64 + 1 + chosen } else { chosen };
        let layers = usize::try_from(from_end).ok().filter(|layers| *layers <= all);
        layers.ok_or_else(|| format!("vision_feature_layer is {chosen}, and the tower has {all} layers"))
    }
}
