//! `config.json` of a Gemma 3 checkpoint, in every spelling that published ones use.

use std::path::Path;

use serde::Deserialize;

use super::{Attention, Config, TextConfig};
use crate::model::config::{ImageMarks, ModelConfig, TokenCache};
use crate::model::family::FamilyConfig;
use crate::model::raw::{
    GELU_TANH, MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_POSITIONS, MAX_VOCABULARY, MAX_WIDTH, OneOrMany, RawRope,
    check_factors, check_heads, check_ids, check_sizes, refuse, token,
};
use crate::model::rope::Rope;
use crate::model::siglip::RawVision;

/// Every this many layers one sees everything, where nothing else is said.
const SLIDING_PATTERN: usize = 6;

/// What has no place here: scores are products with the embedding.
const UNTIED: &str = "a head that is not tied to the embedding";

/// What marks images where no file says it.
const IMAGE_TOKEN: u32 = 262_144;
const START_OF_IMAGE: u32 = 255_999;
const END_OF_IMAGE: u32 = 256_000;

/// What ends an answer where no file says it.
const DEFAULT_END_TOKEN: u32 = 1;

/// Reads the text of `config.json`. The error says what is wrong, in a phrase.
pub(crate) fn read(_: &Path, text: &str) -> Result<ModelConfig, String> {
    let raw: RawConfig = serde_json::from_str(text).map_err(|error| error.to_string())?;
    raw.resolve()
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct RawConfig {
    #[serde(default)]
    text_config: RawText,
    #[serde(default)]
    vision_config: RawVision,
    #[serde(default = "default_tokens_per_image")]
    mm_tokens_per_image: usize,
    image_token_index: Option<u32>,
    image_token_id: Option<u32>,
    boi_token_index: Option<u32>,
    boi_token_id: Option<u32>,
    eoi_token_index: Option<u32>,
    eoi_token_id: Option<u32>,
    eos_token_id: Option<OneOrMany>,
    tie_word_embeddings: Option<bool>,
}

/// Published files leave out what equals the defaults of `Gemma3TextConfig` in transformers.
#[derive(Deserialize)]
#[serde(default, expecting = "an object")]
struct RawText {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    hidden_activation: String,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    query_pre_attn_scalar: f32,
    sliding_window: usize,
    sliding_window_pattern: Option<usize>,
    #[serde(rename = "_sliding_window_pattern")]
    underscored_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    rope_theta: Option<f32>,
    rope_local_base_freq: Option<f32>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRopes>,
    attention_bias: Option<bool>,
    use_bidirectional_attention: Option<bool>,
    final_logit_softcapping: Option<f32>,
    attn_logit_softcapping: Option<f32>,
    tie_word_embeddings: Option<bool>,
    eos_token_id: Option<OneOrMany>,
}

impl Default for RawText {
    fn default() -> Self {
        Self {
            vocab_size: 262_208,
            hidden_size: 2304,
            intermediate_size: 9216,
            num_hidden_layers: 26,
            num_attention_heads: 8,
            num_key_value_heads: 4,
            head_dim: 256,
            hidden_activation: GELU_TANH.to_owned(),
            max_position_embeddings: 131_072,
            rms_norm_eps: 1e-6,
            query_pre_attn_scalar: 256.0,
            sliding_window: 4096,
            sliding_window_pattern: None,
            underscored_pattern: None,
            layer_types: None,
            rope_theta: None,
            rope_local_base_freq: None,
            rope_scaling: None,
            rope_parameters: None,
            attention_bias: None,
            use_bidirectional_attention: None,
            final_logit_softcapping: None,
            attn_logit_softcapping: None,
            tie_word_embeddings: None,
            eos_token_id: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct RawRopes {
    full_attention: Option<RawRope>,
    sliding_attention: Option<RawRope>,
}

fn default_tokens_per_image() -> usize {
    256
}

impl RawConfig {
    pub(super) fn resolve(self) -> Result<ModelConfig, String> {
        // That of the text alone is looked at with it.
        refuse("config.json", &[(self.tie_word_embeddings == Some(false), UNTIED)])?;
        let image_token = token("image_token", [self.image_token_index, self.image_token_id], IMAGE_TOKEN)?;
        let start = token("boi_token", [self.boi_token_index, self.boi_token_id], START_OF_IMAGE)?;
        let end = token("eoi_token", [self.eoi_token_index, self.eoi_token_id], END_OF_IMAGE)?;
        check_ids(&[("image_token_index", image_token), ("boi_token_index", start), ("eoi_token_index", end)])?;
        let mut end_tokens = OneOrMany::union([self.eos_token_id, self.text_config.eos_token_id.clone()]);
        if end_tokens.is_empty() {
            end_tokens.push(DEFAULT_END_TOKEN);
        }
        let max_positions = self.text_config.max_position_embeddings;
        let (text, vision) = (self.text_config.resolve()?, self.vision_config.resolve()?);
        let (tokens, tokens_per_side) = (self.mm_tokens_per_image, self.mm_tokens_per_image.isqrt());
        let pools = tokens_per_side > 0
            && tokens_per_side * tokens_per_side == tokens
            && vision.side().is_multiple_of(tokens_per_side);
        if !pools {
            let side = vision.side();
            return Err(format!("{side} x {side} patches do not pool to {tokens} tokens an image"));
        }
        Ok(ModelConfig {
            vocabulary: text.vocabulary,
            max_positions,
            cache: TokenCache { layers: text.layers.len(), kv_heads: text.kv_heads, head_dim: text.head_dim },
            picture: vision.picture,
            tokens_per_image: tokens,
            image_token,
            image_marks: Some(ImageMarks { start, end }),
            end_tokens,
            family: FamilyConfig::Gemma3(Config { text, vision, tokens_per_side }),
        })
    }
}

impl RawText {
    fn resolve(self) -> Result<TextConfig, String> {
        self.check()?;
        let pattern = self.sliding_window_pattern.or(self.underscored_pattern).unwrap_or(SLIDING_PATTERN).max(1);
        let layers = match &self.layer_types {
            Some(types) if types.len() != self.num_hidden_layers => {
                return Err(format!("layer_types has {} entries for {} layers", types.len(), self.num_hidden_layers));
            }
            Some(types) => types.iter().map(|name| attention(name)).collect::<Result<_, _>>()?,
            None => (0..self.num_hidden_layers)
                .map(|i| if (i + 1).is_multiple_of(pattern) { Attention::Full } else { Attention::Sliding })
                .collect(),
        };
        let (rope_global, rope_local) = self.ropes()?;
        Ok(TextConfig {
            vocabulary: self.vocab_size,
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            layers,
            window: self.sliding_window,
            query_scale: self.query_pre_attn_scalar,
            eps: self.rms_norm_eps,
            rope_global,
            rope_local,
        })
    }

    /// Refuses what Gemma 3 could have and no published multimodal checkpoint has, so that nothing is computed wrongly in silence.
    fn check(&self) -> Result<(), String> {
        refuse(
            "text_config",
            &[
                (self.hidden_activation != GELU_TANH, &format!("hidden_activation {}", self.hidden_activation)),
                (self.attention_bias == Some(true), "attention_bias"),
                (self.use_bidirectional_attention == Some(true), "use_bidirectional_attention"),
                (self.final_logit_softcapping.is_some(), "final_logit_softcapping"),
                (self.attn_logit_softcapping.is_some(), "attn_logit_softcapping"),
                (self.tie_word_embeddings == Some(false), UNTIED),
            ],
        )?;
        check_sizes(
            "text_config",
            &[
                ("vocab_size", self.vocab_size, MAX_VOCABULARY),
                ("hidden_size", self.hidden_size, MAX_WIDTH),
                ("intermediate_size", self.intermediate_size, MAX_WIDTH),
                ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
                ("num_attention_heads", self.num_attention_heads, MAX_HEADS),
                ("num_key_value_heads", self.num_key_value_heads, MAX_HEADS),
                ("head_dim", self.head_dim, MAX_HEAD_DIM),
                ("max_position_embeddings", self.max_position_embeddings, MAX_POSITIONS),
                ("sliding_window", self.sliding_window, MAX_POSITIONS),
            ],
        )?;
        check_factors(
            "text_config",
            &[("rms_norm_eps", self.rms_norm_eps), ("query_pre_attn_scalar", self.query_pre_attn_scalar)],
        )?;
        check_heads(self.num_attention_heads, self.num_key_value_heads, self.head_dim)
    }

    /// New files have `rope_parameters`, old ones `rope_theta`, `rope_scaling` and `rope_local_base_freq`.
    fn ropes(&self) -> Result<(Rope, Rope), String> {
        let (global, local) = match &self.rope_parameters {
            Some(ropes) => (ropes.full_attention.as_ref(), ropes.sliding_attention.as_ref()),
            None => (None, None),
        };
        let scaled = self.rope_scaling.as_ref().or(global);
        let theta = global.and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(1e6);
        let local_theta = local.and_then(|rope| rope.rope_theta).or(self.rope_local_base_freq).unwrap_or(1e4);
        Ok((RawRope::resolve(scaled, theta)?, RawRope::resolve(local, local_theta)?))
    }
}

fn attention(name: &str) -> Result<Attention, String> {
    match name {
        "sliding_attention" => Ok(Attention::Sliding),
        "full_attention" => Ok(Attention::Full),
        other => Err(format!("layer_types has {other}, which prelim does not compute")),
    }
}
