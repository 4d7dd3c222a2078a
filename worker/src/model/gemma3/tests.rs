//! Every spelling of a published configuration is one configuration.

use super::raw::RawConfig;
use super::{Attention, Config, Rope};
use crate::model::config::ModelConfig;
use crate::model::family::FamilyConfig;

fn read(json: serde_json::Value) -> ModelConfig {
    let raw: RawConfig = serde_json::from_value(json).expect("a configuration");
    raw.resolve().expect("one that is computed")
}

/// Settings as the first Gemma 3 checkpoints wrote them: most left out, those of the rope in three places.
fn old() -> serde_json::Value {
    serde_json::json!({
        "architectures": ["Gemma3ForConditionalGeneration"],
        "boi_token_index": 255999, "eoi_token_index": 256000, "image_token_index": 262144,
        "eos_token_id": [1, 106], "mm_tokens_per_image": 256, "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": { "factor": 8.0, "rope_type": "linear" }, "sliding_window": 1024,
            "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window_pattern": 6
        },
        "vision_config": {
            "hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "model_type": "siglip_vision_model",
            "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": false
        }
    })
}

#[test]
fn old_and_new_spellings_are_one_configuration() {
    let mut new = old();
    let text = new["text_config"].as_object_mut().unwrap();
    for key in ["rope_scaling", "rope_theta", "rope_local_base_freq", "sliding_window_pattern"] {
        text.remove(key);
    }
    text.insert(
        "rope_parameters".to_owned(),
        serde_json::json!({
            "full_attention": { "rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0 },
            "sliding_attention": { "rope_type": "default", "rope_theta": 10000.0 }
        }),
    );
    text.insert("_sliding_window_pattern".to_owned(), 6.into());
    let kind = |i: usize| if (i + 1).is_multiple_of(6) { "full_attention" } else { "sliding_attention" };
    text.insert("layer_types".to_owned(), (0..34).map(kind).collect());
    for (old, new_key) in [("image_token_index", "image_token_id"), ("boi_token_index", "boi_token_id")] {
        let value = new.as_object_mut().unwrap().remove(old).unwrap();
        new[new_key] = value;
    }
    assert_eq!(read(new), read(old()));
}

#[test]
fn what_is_left_out_is_as_transformers_has_it() {
    let config = read(old());
    let FamilyConfig::Gemma3(Config { text, vision, tokens_per_side }) = &config.family else {
        panic!("another family")
    };
    assert_eq!((text.heads, text.kv_heads, text.head_dim, text.vocabulary), (8, 4, 256, 262_208));
    assert_eq!(text.layers.iter().filter(|layer| **layer == Attention::Full).count(), 5);
    assert_eq!(text.layers[5], Attention::Full);
    assert_eq!(text.rope_global, Rope { theta: 1e6, factor: 8.0 });
    assert_eq!(text.rope_local, Rope { theta: 1e4, factor: 1.0 });
    assert_eq!((*tokens_per_side, vision.patches()), (16, 4096));
    assert_eq!(config.end_tokens, [1, 106]);
}

#[test]
fn tokens_that_end_an_answer_are_found_wherever_they_are_written() {
    let table = [
        (serde_json::json!(null), serde_json::json!(null), vec![1]),
        (serde_json::json!([1, 106]), serde_json::json!(null), vec![1, 106]),
        (serde_json::json!(106), serde_json::json!([1, 106]), vec![1, 106]),
        (serde_json::json!(null), serde_json::json!(106), vec![106]),
    ];
    for (whole, text, wanted) in table {
        let mut config = old();
        config["eos_token_id"] = whole;
        config["text_config"]["eos_token_id"] = text;
        assert_eq!(read(config).end_tokens, wanted);
    }
}
