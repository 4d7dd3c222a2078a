//! A checkpoint of a published model's make with random weights: what speed is measured on, since none is shipped.
//!
//! Tokenizer, template and reading profile are those of the demonstration model, so that it reads studies as any model does,
//! and writes answers of the same form with other words in them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use prelim_worker::demo_model;
use serde_json::{Map, Value, json};

/// Sizes of a Gemma 3 model with a SigLIP tower.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Part of the folder's name: whoever changes a size changes it.
    pub(crate) name: &'static str,
    vocabulary: usize,
    hidden: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    intermediate: usize,
    window: usize,
    tower_hidden: usize,
    tower_layers: usize,
    tower_heads: usize,
    tower_intermediate: usize,
    image_size: usize,
    patch: usize,
    image_tokens: usize,
}

/// A decoder of 18 layers of 640 (as Gemma 3 270M), and a tower of 12 layers of 768 at 448 px.
pub(crate) const MEDIUM: Sizes = Sizes {
    name: "medium-2",
    vocabulary: 262_144,
    hidden: 640,
    layers: 18,
    heads: 4,
    kv_heads: 1,
    head_dim: 256,
    intermediate: 2_048,
    window: 512,
    tower_hidden: 768,
    tower_layers: 12,
    tower_heads: 12,
    tower_intermediate: 3_072,
    image_size: 448,
    patch: 14,
    image_tokens: 256,
};

/// MedGemma 4B's: a decoder of 34 layers of 2,560, and a tower of 27 layers of 1,152 at 896 px. 8.6 GB.
pub(crate) const FULL: Sizes = Sizes {
    name: "4b-2",
    vocabulary: 262_208,
    hidden: 2_560,
    layers: 34,
    heads: 8,
    kv_heads: 4,
    head_dim: 256,
    intermediate: 10_240,
    window: 1_024,
    tower_hidden: 1_152,
    tower_layers: 27,
    tower_heads: 16,
    tower_intermediate: 4_304,
    image_size: 896,
    patch: 14,
    image_tokens: 256,
};

/// What these weights are asked. They answer most words with an empty list, and these with some fifty tokens, about as many as
/// the demonstration model writes.
const PROMPT: &str = "What does this radiograph show?";

/// Where tensors begin in the file, as published checkpoints have it at best: on a line of the cache.
const ALIGNMENT: usize = 64;

/// A tensor to be drawn.
struct Drawn {
    name: String,
    shape: Vec<usize>,
    /// Numbers are uniform between minus and plus this.
    spread: f32,
}

impl Sizes {
    /// The folder of this checkpoint below `cache`, which is made where it is not there yet.
    pub(crate) fn checkpoint(&self, cache: &Path) -> io::Result<PathBuf> {
        let folder = cache.join(format!("bench-{}", self.name));
        if folder.join("config.json").is_file() {
            return Ok(folder);
        }
        std::fs::create_dir_all(cache)?;
        // Moved into place whole: another process may be at it, too.
        let making = tempfile::tempdir_in(cache)?;
        self.write_weights(&making.path().join("model.safetensors"))?;
        let pretty = |value: &Value| serde_json::to_string_pretty(value).map_err(io::Error::from);
        self.write_settings(&demo_model::unpack(cache)?, making.path())?;
        std::fs::write(making.path().join("config.json"), pretty(&self.config())?)?;
        match std::fs::rename(making.path(), &folder) {
            Err(error) if !folder.join("config.json").is_file() => Err(error),
            _ => Ok(folder),
        }
    }

    /// What stands beside weights and sizes: the demonstration model's, with pictures of our size.
    fn write_settings(&self, from: &Path, to: &Path) -> io::Result<()> {
        for name in ["chat_template.jinja", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(from.join(name), to.join(name))?;
        }
        let changed = |name: &str, changes: Value| -> io::Result<()> {
            let mut settings: Map<String, Value> = serde_json::from_slice(&std::fs::read(from.join(name))?)?;
            settings.extend(changes.as_object().cloned().unwrap_or_default());
            // Films alone are read, and nothing else is asked.
            settings.remove("questions");
            std::fs::write(to.join(name), serde_json::to_string_pretty(&settings)?)
        };
        let size = json!({"height": self.image_size, "width": self.image_size});
        changed("preprocessor_config.json", json!({"size": size, "image_seq_length": self.image_tokens}))?;
        let profile: Value = serde_json::from_slice(&std::fs::read(from.join("prelim.json"))?)?;
        let mut films = profile["kinds"]["xray"].clone();
        films["prompt"] = json!(PROMPT);
        films["impression_chars"] = json!(160);
        let kinds = json!({"xray": films});
        changed("prelim.json", json!({"name": "random weights", "prompt_version": "bench-1", "kinds": kinds}))
    }

    fn config(&self) -> Value {
        let kinds = ["sliding_attention", "full_attention"];
        let layers: Vec<&str> = (1..=self.layers).map(|layer| kinds[usize::from(layer % 6 == 0)]).collect();
        json!({
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            "dtype": "bfloat16",
            "boi_token_index": 6,
            "eoi_token_index": 7,
            "image_token_index": 8,
            "eos_token_id": [1, 5],
            "mm_tokens_per_image": self.image_tokens,
            "tie_word_embeddings": true,
            "text_config": {
                "model_type": "gemma3_text",
                "vocab_size": self.vocabulary,
                "hidden_size": self.hidden,
                "num_hidden_layers": self.layers,
                "num_attention_heads": self.heads,
                "num_key_value_heads": self.kv_heads,
                "head_dim": self.head_dim,
                "query_pre_attn_scalar": self.head_dim,
                "intermediate_size": self.intermediate,
                "hidden_activation": "gelu_pytorch_tanh",
                "rms_norm_eps": 1e-6,
                "sliding_window": self.window,
                "sliding_window_pattern": 6,
                "layer_types": layers,
                "max_position_embeddings": 32_768,
                "rope_parameters": {
                    "full_attention": {"rope_type": "default", "rope_theta": 1e6},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                },
            },
            "vision_config": {
                "model_type": "siglip_vision_model",
                "hidden_size": self.tower_hidden,
                "num_hidden_layers": self.tower_layers,
                "num_attention_heads": self.tower_heads,
                "intermediate_size": self.tower_intermediate,
                "image_size": self.image_size,
                "patch_size": self.patch,
                "num_channels": 3,
                "hidden_act": "gelu_pytorch_tanh",
                "layer_norm_eps": 1e-6,
                "vision_use_head": false,
            },
        })
    }

    fn tensors(&self) -> Vec<Drawn> {
        let mut tensors = Vec::new();
        let mut draw = |name: String, shape: &[usize], spread: f32| {
            tensors.push(Drawn { name, shape: shape.to_vec(), spread });
        };
        let (hidden, wide) = (self.hidden, self.intermediate);
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        // So that a sum over a row of inputs keeps their size.
        let keeping = |inputs: usize| (3.0 / inputs as f32).sqrt();
        draw("language_model.model.embed_tokens.weight".to_owned(), &[self.vocabulary, hidden], keeping(hidden));
        for layer in 0..self.layers {
            let name = |part: &str| format!("language_model.model.layers.{layer}.{part}.weight");
            for (part, outputs, inputs) in [
                ("self_attn.q_proj", queries, hidden),
                ("self_attn.k_proj", keys, hidden),
                ("self_attn.v_proj", keys, hidden),
                ("self_attn.o_proj", hidden, queries),
                ("mlp.gate_proj", wide, hidden),
                ("mlp.up_proj", wide, hidden),
                ("mlp.down_proj", hidden, wide),
            ] {
                draw(name(part), &[outputs, inputs], keeping(inputs));
            }
            for part in ["self_attn.q_norm", "self_attn.k_norm"] {
                draw(name(part), &[self.head_dim], 0.1);
            }
            for part in [
                "input_layernorm",
                "post_attention_layernorm",
                "pre_feedforward_layernorm",
                "post_feedforward_layernorm",
            ] {
                draw(name(part), &[hidden], 0.1);
            }
        }
        draw("language_model.model.norm.weight".to_owned(), &[hidden], 0.1);
        self.draw_tower(&mut draw);
        tensors
    }

    fn draw_tower(&self, draw: &mut impl FnMut(String, &[usize], f32)) {
        let (hidden, wide) = (self.tower_hidden, self.tower_intermediate);
        let keeping = |inputs: usize| (3.0 / inputs as f32).sqrt();
        let embeddings = |part: &str| format!("vision_tower.vision_model.embeddings.{part}");
        let patch_inputs = 3 * self.patch * self.patch;
        let patch_shape = [hidden, 3, self.patch, self.patch];
        draw(embeddings("patch_embedding.weight"), &patch_shape, keeping(patch_inputs));
        draw(embeddings("patch_embedding.bias"), &[hidden], 0.1);
        let patches = (self.image_size / self.patch).pow(2);
        draw(embeddings("position_embedding.weight"), &[patches, hidden], 0.5);
        let mut affine = |name: String, outputs: usize, inputs: usize| {
            draw(format!("{name}.weight"), &[outputs, inputs], keeping(inputs));
            draw(format!("{name}.bias"), &[outputs], 0.1);
        };
        for layer in 0..self.tower_layers {
            let name = |part: &str| format!("vision_tower.vision_model.encoder.layers.{layer}.{part}");
            for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                affine(name(&format!("self_attn.{part}")), hidden, hidden);
            }
            affine(name("mlp.fc1"), wide, hidden);
            affine(name("mlp.fc2"), hidden, wide);
        }
        let mut norm = |name: String| {
            draw(format!("{name}.weight"), &[hidden], 1.0);
            draw(format!("{name}.bias"), &[hidden], 0.1);
        };
        for layer in 0..self.tower_layers {
            for part in ["layer_norm1", "layer_norm2"] {
                norm(format!("vision_tower.vision_model.encoder.layers.{layer}.{part}"));
            }
        }
        norm("vision_tower.vision_model.post_layernorm".to_owned());
        let projector = |part: &str| format!("multi_modal_projector.{part}");
        draw(projector("mm_soft_emb_norm.weight"), &[hidden], 0.1);
        draw(projector("mm_input_projection_weight"), &[hidden, self.hidden], keeping(hidden));
    }

    /// A safetensors file in bf16.
    fn write_weights(&self, path: &Path) -> io::Result<()> {
        let tensors = self.tensors();
        let mut header = Map::new();
        let mut end = 0;
        for tensor in &tensors {
            let begin = end;
            end += tensor.shape.iter().product::<usize>() * 2;
            header.insert(
                tensor.name.clone(),
                json!({"dtype": "BF16", "shape": tensor.shape, "data_offsets": [begin, end]}),
            );
        }
        header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        let mut text = serde_json::to_vec(&header)?;
        let padded = (8 + text.len()).next_multiple_of(ALIGNMENT) - 8;
        text.resize(padded, b' ');
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&(padded as u64).to_le_bytes())?;
        file.write_all(&text)?;
        for (seed, tensor) in tensors.iter().enumerate() {
            tensor.write(seed as u64, &mut file)?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

impl Drawn {
    fn write(&self, seed: u64, file: &mut impl Write) -> io::Result<()> {
        let mut state = seed << 40;
        for _ in 0..self.shape.iter().product() {
            // SplitMix64 (Steele, Lea and Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let unit = (z >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            // The upper half of an f32 is a bf16; cutting the rest off is as random as rounding it.
            file.write_all(&(((unit * self.spread).to_bits() >> 16) as u16).to_le_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prelim_kernels::Cpu;
    use prelim_worker::model::{Model, WeightType};

    use super::*;

    #[test]
    fn a_checkpoint_is_one_that_the_model_reads_and_is_made_once() {
        let tiny = Sizes {
            name: "tiny",
            vocabulary: 64,
            hidden: 32,
            layers: 6,
            heads: 2,
            kv_heads: 1,
            head_dim: 16,
            intermediate: 64,
            window: 8,
            tower_hidden: 32,
            tower_layers: 2,
            tower_heads: 2,
            tower_intermediate: 64,
            image_size: 28,
            patch: 14,
            image_tokens: 1,
        };
        let cache = tempfile::tempdir().unwrap();
        let folder = tiny.checkpoint(cache.path()).unwrap();
        let written = || std::fs::metadata(folder.join("model.safetensors")).unwrap().modified().unwrap();
        let first = written();
        let model = Model::load(&folder, Cpu::with_threads(1).unwrap(), WeightType::AsStored).unwrap();
        let features = model.encode_images(&vec![0.5; 3 * 28 * 28], 1);
        assert_eq!(features[0].tokens(), 1);
        assert_eq!(tiny.checkpoint(cache.path()).unwrap(), folder);
        assert_eq!(written(), first);
        // Beside it, the demonstration model whose settings it has.
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 2, "nothing else is left behind");
    }
}
