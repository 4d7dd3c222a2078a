//! `config.json` as it is written: old and new spellings, with what may be left out.

use serde::Deserialize;

use super::{Attention, ModelConfig, Rope, TextConfig, VisionConfig};

#[derive(Deserialize)]
pub(super) struct RawConfig {
    #[serde(default)]
    pub(super) architectures: Vec<String>,
    pub(super) model_type: Option<String>,
    #[serde(default)]
    text_config: RawText,
    #[serde(default)]
    vision_config: RawVision,
    #[serde(default = "default_tokens_per_image")]
    mm_tokens_per_image: usize,
    #[serde(alias = "image_token_id", default = "default_image_token")]
    image_token_index: u32,
    #[serde(alias = "boi_token_id", default = "default_start_of_image")]
    boi_token_index: u32,
    #[serde(alias = "eoi_token_id", default = "default_end_of_image")]
    eoi_token_index: u32,
    eos_token_id: Option<OneOrMany>,
    quantization_config: Option<serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct RawGeneration {
    eos_token_id: Option<OneOrMany>,
}

impl RawGeneration {
    pub(super) fn end_tokens(self) -> Vec<u32> {
        self.eos_token_id.map(OneOrMany::into_vec).unwrap_or_default()
    }
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<u32> {
        match self {
            OneOrMany::One(id) => vec![id],
            OneOrMany::Many(ids) => ids,
        }
    }
}

/// Published files leave out what equals the defaults of `Gemma3TextConfig` in transformers.
#[derive(Deserialize)]
#[serde(default)]
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
struct RawRopes {
    full_attention: Option<RawRope>,
    sliding_attention: Option<RawRope>,
}

#[derive(Clone, Deserialize)]
struct RawRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
}

/// Defaults of `SiglipVisionConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct RawVision {
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

const GELU_TANH: &str = "gelu_pytorch_tanh";
/// Largest sizes that are read: several times those of any published checkpoint, and small enough that no product of
/// them overflows.
const MAX_LAYERS: usize = 1 << 10;
const MAX_WIDTH: usize = 1 << 18;
const MAX_HEADS: usize = 1 << 10;
const MAX_HEAD_DIM: usize = 1 << 12;
const MAX_VOCABULARY: usize = 1 << 22;
const MAX_POSITIONS: usize = 1 << 24;
const MAX_SIDE: usize = 1 << 12;
/// Every this many layers one sees everything, where nothing else is said.
const SLIDING_PATTERN: usize = 6;

fn default_tokens_per_image() -> usize {
    256
}

fn default_image_token() -> u32 {
    262_144
}

fn default_start_of_image() -> u32 {
    255_999
}

fn default_end_of_image() -> u32 {
    256_000
}

impl RawConfig {
    /// Checks and resolves. The error says what is wrong, in a phrase.
    pub(super) fn resolve(self) -> Result<ModelConfig, String> {
        if let Some(quantization) = &self.quantization_config {
            let method = quantization.get("quant_method").and_then(|method| method.as_str()).unwrap_or("unnamed");
            return Err(format!("the weights are quantized ({method}), and prelim reads unquantized ones"));
        }
        for (name, id) in [
            ("image_token_index", self.image_token_index),
            ("boi_token_index", self.boi_token_index),
            ("eoi_token_index", self.eoi_token_index),
        ] {
            if id as usize >= MAX_VOCABULARY {
                return Err(format!("{name} is {id}, and prelim reads ids below {MAX_VOCABULARY}"));
            }
        }
        let mut end_tokens: Vec<u32> = [self.eos_token_id, self.text_config.eos_token_id.clone()]
            .into_iter()
            .flatten()
            .flat_map(OneOrMany::into_vec)
            .collect();
        end_tokens.sort_unstable();
        end_tokens.dedup();
        let config = ModelConfig {
            text: self.text_config.resolve()?,
            vision: self.vision_config.resolve()?,
            tokens_per_image: self.mm_tokens_per_image,
            image_token: self.image_token_index,
            start_of_image: self.boi_token_index,
            end_of_image: self.eoi_token_index,
            end_tokens,
        };
        let per_side = config.tokens_per_side();
        if per_side * per_side != config.tokens_per_image
            || per_side == 0
            || !config.vision.side().is_multiple_of(per_side)
        {
            let (side, tokens) = (config.vision.side(), config.tokens_per_image);
            return Err(format!("{side} x {side} patches do not pool to {tokens} tokens an image"));
        }
        Ok(config)
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
            max_positions: self.max_position_embeddings,
        })
    }

    /// Refuses what Gemma 3 could have and no published multimodal checkpoint has, so that nothing is computed wrongly in silence.
    fn check(&self) -> Result<(), String> {
        let refused = [
            (self.hidden_activation != GELU_TANH, format!("hidden_activation {}", self.hidden_activation)),
            (self.attention_bias == Some(true), "attention_bias".to_owned()),
            (self.use_bidirectional_attention == Some(true), "use_bidirectional_attention".to_owned()),
            (self.final_logit_softcapping.is_some(), "final_logit_softcapping".to_owned()),
            (self.attn_logit_softcapping.is_some(), "attn_logit_softcapping".to_owned()),
            (self.tie_word_embeddings == Some(false), "a head that is not tied to the embedding".to_owned()),
        ];
        if let Some((_, what)) = refused.into_iter().find(|(found, _)| *found) {
            return Err(format!("text_config has {what}, which prelim does not compute"));
        }
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
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!("text_config has head_dim {}, which is odd", self.head_dim));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let (heads, kv) = (self.num_attention_heads, self.num_key_value_heads);
            return Err(format!("{heads} query heads cannot share {kv} key and value heads"));
        }
        Ok(())
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
        Ok((Rope { theta, factor: factor(scaled)? }, Rope { theta: local_theta, factor: factor(local)? }))
    }
}

/// Refuses sizes that no model has, before anything is made of them. Each comes with its name and the largest that is
/// read.
fn check_sizes(section: &str, sizes: &[(&str, usize, usize)]) -> Result<(), String> {
    match sizes.iter().find(|(_, found, most)| !(1..=*most).contains(found)) {
        Some((name, found, most)) => Err(format!("{section} has {name} {found}, and prelim reads 1 to {most}")),
        None => Ok(()),
    }
}

fn factor(rope: Option<&RawRope>) -> Result<f32, String> {
    let Some(rope) = rope else { return Ok(1.0) };
    match rope.rope_type.as_deref() {
        None | Some("default") => Ok(1.0),
        Some("linear") => rope.factor.ok_or_else(|| "a linear rope has no factor".to_owned()),
        Some(other) => Err(format!("text_config has a rope of type {other}, which prelim does not compute")),
    }
}

fn attention(name: &str) -> Result<Attention, String> {
    match name {
        "sliding_attention" => Ok(Attention::Sliding),
        "full_attention" => Ok(Attention::Full),
        other => Err(format!("layer_types has {other}, which prelim does not compute")),
    }
}

impl RawVision {
    fn resolve(self) -> Result<VisionConfig, String> {
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
            image_size: self.image_size,
            patch: self.patch_size,
            channels: self.num_channels,
            eps: self.layer_norm_eps,
        })
    }
}
