//! Every spelling of a configuration is one configuration, and what is not computed is refused.

use serde_json::{Value, json};

use super::raw::RawConfig;
use super::{Config, Rope};
use crate::model::config::ModelConfig;
use crate::model::family::FamilyConfig;

/// Pictures as the processor makes them.
const SIDE: usize = 518;

fn resolve(json: Value) -> Result<ModelConfig, String> {
    let raw: RawConfig = serde_json::from_value(json).map_err(|error| error.to_string())?;
    raw.resolve(SIDE)
}

fn parts(config: &ModelConfig) -> &Config {
    match &config.family {
        FamilyConfig::Llava(config) => config,
        _ => panic!("another family"),
    }
}

/// DINOv2 base at 518 px and a Llama of 7B, as older files write them: what equals the defaults is left out.
fn old() -> Value {
    json!({
        "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
        "image_token_index": 32204, "projector_hidden_act": "gelu",
        "vision_feature_layer": -1, "vision_feature_select_strategy": "default",
        "text_config": {
            "model_type": "llama", "vocab_size": 32207, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
            "rope_scaling": { "factor": 1.5, "type": "linear" }, "eos_token_id": 2
        },
        "vision_config": { "model_type": "dinov2", "image_size": 518, "patch_size": 14 }
    })
}

#[test]
fn what_is_left_out_is_as_transformers_has_it() {
    let config = resolve(old()).unwrap();
    let Config { text, vision, projector_bias, keeps_class_token, .. } = parts(&config);
    assert_eq!((text.hidden, text.intermediate, text.layers, text.heads), (4096, 11_008, 32, 32));
    assert_eq!((text.kv_heads, text.head_dim, text.tied), (32, 128, false));
    assert_eq!(text.rope, Rope { theta: 1e4, factor: 1.5 });
    assert_eq!((vision.hidden, vision.intermediate, vision.layers, vision.heads), (768, 3072, 12, 12));
    assert_eq!((vision.side(), vision.trained_side, config.tokens_per_image), (37, 37, 1369));
    assert_eq!((vision.eps, vision.qkv_bias, *projector_bias, *keeps_class_token), (1e-6, true, true, false));
    assert_eq!((config.max_positions, &config.end_tokens[..]), (4096, &[2][..]));
}

#[test]
fn old_and_new_spellings_are_one_configuration() {
    let mut new = old();
    new["image_token_id"] = new.as_object_mut().unwrap().remove("image_token_index").unwrap();
    new["vision_feature_layer"] = json!([-1]);
    let text = new["text_config"].as_object_mut().unwrap();
    text.remove("rope_scaling");
    text.insert("head_dim".to_owned(), json!(128));
    text.insert("rope_parameters".to_owned(), json!({"rope_type": "linear", "factor": 1.5, "rope_theta": 1e4}));
    assert_eq!(resolve(new), resolve(old()));
}

#[test]
fn the_states_of_an_earlier_layer_need_no_later_ones() {
    for (chosen, layers) in [(json!(-2), 11), (json!(0), 0), (json!(12), 12), (json!(-13), 0)] {
        let mut config = old();
        config["vision_feature_layer"] = chosen;
        assert_eq!(parts(&resolve(config).unwrap()).vision.layers, layers);
    }
    let mut full = old();
    full["vision_feature_select_strategy"] = json!("full");
    assert_eq!(resolve(full).unwrap().tokens_per_image, 1370);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    type Spoil = fn(&mut Value);
    let table: [(Spoil, &str); 11] = [
        (|c| c["vision_config"]["model_type"] = json!("clip_vision_model"), "model_type clip_vision_model"),
        (|c| drop(c["vision_config"].as_object_mut().unwrap().remove("model_type")), "model_type clip_vision_model"),
        (|c| c["vision_config"]["use_swiglu_ffn"] = json!(true), "use_swiglu_ffn"),
        (|c| c["vision_config"]["hidden_act"] = json!("relu"), "hidden_act relu"),
        (|c| c["vision_config"]["patch_size"] = json!(16), "a picture of 518 px has no whole patches of 16"),
        (|c| c["text_config"]["model_type"] = json!("mistral"), "model_type mistral"),
        (|c| c["text_config"]["attention_bias"] = json!(true), "attention_bias"),
        (|c| c["text_config"]["rope_scaling"]["type"] = json!("llama3"), "a rope of type llama3"),
        (
            |c| c["vision_feature_layer"] = json!([-2, -5]),
            "vision_feature_layer is [-2, -5], and prelim reads one layer",
        ),
        (|c| c["vision_feature_layer"] = json!(-14), "vision_feature_layer is -14, and the tower has 12 layers"),
        (|c| c["projector_hidden_act"] = json!("quick_gelu"), "projector_hidden_act quick_gelu"),
    ];
    for (spoil, wanted) in table {
        let mut config = old();
        spoil(&mut config);
        let found = resolve(config).unwrap_err();
        assert!(found.contains(wanted), "{found}");
    }
}
