//! A model folder that cannot be used gets one sentence that names the file and says what to do.

use std::fs;
use std::path::{Path, PathBuf};

use prelim_imaging::sandbox::DecoderCommand;
use prelim_kernels::Cpu;
use prelim_worker::WorkerLimits;
use prelim_worker::model::{Model, ModelError, WeightType};
use prelim_worker::reader::Reader;
use serde_json::{Value, json};

fn fixture() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/parity/tiny-gemma3"))
}

/// A copy of the fixture's configuration and weights, to spoil.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "config.json" || name.starts_with("model") {
            fs::write(folder.path().join(name), fs::read(&path).unwrap()).unwrap();
        }
    }
    folder
}

fn load(folder: &Path) -> Result<Model<Cpu>, ModelError> {
    Model::load(folder, Cpu::with_threads(1).unwrap(), WeightType::AsStored)
}

/// The sentence, with the folder's name taken out.
fn sentence(folder: &Path) -> String {
    let error = load(folder).err().expect("the folder is spoiled");
    error.to_string().replace(folder.to_str().unwrap(), "DIR")
}

/// The sentence of a worker that is to read with the folder.
fn reader_sentence(folder: &Path) -> String {
    let decoder = DecoderCommand { program: "/nowhere/decoder".into(), arguments: Vec::new(), environment: Vec::new() };
    let error = Reader::load(folder, &[], &WorkerLimits::default(), decoder).err().expect("the folder is spoiled");
    error.to_string().replace(folder.to_str().unwrap(), "DIR")
}

fn edit(folder: &Path, change: impl Fn(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

const SHARD: &str = "model-00003-of-00010.safetensors";

#[test]
fn a_folder_without_a_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = "no model in DIR: config.json is not there; give a folder with a Hugging Face checkpoint";
    assert_eq!(sentence(folder.path()), wanted);
    let absent = folder.path().join("absent");
    assert!(load(&absent).err().unwrap().to_string().starts_with("no model in "));
}

#[test]
fn another_architecture_is_named() {
    let folder = copy();
    edit(folder.path(), |config| config["architectures"] = json!(["LlamaForCausalLM"]));
    assert_eq!(
        sentence(folder.path()),
        "DIR/config.json is for LlamaForCausalLM, which prelim does not read; it reads \
         Gemma3ForConditionalGeneration (MedGemma 4B, 27B and 1.5), LlavaForConditionalGeneration (with DINOv2 and \
         Llama, as MAIRA-2's parts)"
    );
}

#[test]
fn an_encoder_is_sent_to_the_command_that_takes_it() {
    let folder = copy();
    edit(folder.path(), |config| config["architectures"] = json!(["SiglipModel"]));
    let said = sentence(folder.path());
    assert!(
        said.starts_with("DIR/config.json is for SiglipModel, which prelim does not read; it reads Gemma3"),
        "{said}"
    );
    assert!(said.ends_with("; this one is for `prelim embed --model`"), "{said}");
}

/// What people read names what they wrote, and nothing of how it is read.
#[test]
fn files_of_another_make_are_told_of_without_names_of_the_program() {
    let places = [
        ("config.json", None),
        ("config.json", Some("text_config")),
        ("config.json", Some("eos_token_id")),
        ("model.safetensors.index.json", None),
    ];
    for (file, key) in places {
        let folder = copy();
        let path = folder.path().join(file);
        let mut whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        match key {
            None => whole = json!([]),
            Some(key) => whole[key] = json!("x"),
        }
        fs::write(&path, whole.to_string()).unwrap();
        let said = sentence(folder.path());
        assert!(said.starts_with(&format!("DIR/{file}: ")) && said.contains("expected a"), "{said}");
        for word in ["struct", "enum", "Raw", "Outline", "Index", "OneOrMany"] {
            assert!(!said.contains(word), "{word} in {said}");
        }
    }
}

#[test]
fn another_architecture_is_named_before_what_its_folder_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096});
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    fs::copy(fixture().join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    let found = reader_sentence(folder.path());
    assert!(found.starts_with("DIR/config.json is for LlamaForCausalLM, which prelim does not read"), "{found}");
}

#[test]
fn a_processor_that_does_not_fit_the_tower_is_refused() {
    let folder = copy();
    let write = |settings: Value| fs::write(folder.path().join("processor_config.json"), settings.to_string()).unwrap();
    write(json!({"image_processor": {"size": {"height": 56, "width": 64}}}));
    let found = reader_sentence(folder.path());
    assert!(found.contains("makes pictures of 64 x 56, the vision tower takes 112 x 112"), "{found}");
    write(json!({"image_processor": {"size": 112, "do_resize": false}}));
    let found = reader_sentence(folder.path());
    assert!(found.starts_with("image processor setting do_resize is false; "), "{found}");
}

#[test]
fn a_size_that_no_model_has_is_refused_by_name() {
    let table = [
        ("text_config", "vocab_size"),
        ("text_config", "hidden_size"),
        ("text_config", "intermediate_size"),
        ("text_config", "num_hidden_layers"),
        ("text_config", "num_attention_heads"),
        ("text_config", "num_key_value_heads"),
        ("text_config", "head_dim"),
        ("text_config", "max_position_embeddings"),
        ("text_config", "sliding_window"),
        ("vision_config", "hidden_size"),
        ("vision_config", "intermediate_size"),
        ("vision_config", "num_hidden_layers"),
        ("vision_config", "num_attention_heads"),
        ("vision_config", "image_size"),
        ("vision_config", "patch_size"),
    ];
    for (section, key) in table {
        for size in [0, 1_000_000_000_000_u64] {
            let folder = copy();
            edit(folder.path(), |config| {
                config[section][key] = json!(size);
                // Their number is compared with that of the layers later.
                config["text_config"]["layer_types"] = Value::Null;
            });
            let found = sentence(folder.path());
            let begins = format!("DIR/config.json: {section} has {key} {size}, and prelim reads 1 to ");
            assert!(found.starts_with(&begins), "{found}");
        }
    }
    let folder = copy();
    edit(folder.path(), |config| config["image_token_index"] = json!(u32::MAX));
    let found = sentence(folder.path());
    assert!(found.contains("image_token_index is 4294967295, and prelim reads ids below 4194304"), "{found}");
    let folder = copy();
    edit(folder.path(), |config| config["vision_config"]["num_channels"] = json!(1));
    assert!(sentence(folder.path()).contains("vision_config has num_channels 1, and pictures have 3"));
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    type Spoil = fn(&mut Value);
    let table: [(Spoil, &str); 12] = [
        (|c| c["tie_word_embeddings"] = json!(false), "a head that is not tied to the embedding"),
        (|c| c["text_config"]["rms_norm_eps"] = json!(-1.0), "rms_norm_eps -1, and prelim reads what is above 0"),
        (|c| c["text_config"]["query_pre_attn_scalar"] = json!(0), "query_pre_attn_scalar 0"),
        (|c| c["vision_config"]["layer_norm_eps"] = json!(-1.0), "vision_config has layer_norm_eps -1"),
        (|c| c["text_config"]["rope_parameters"]["sliding_attention"]["rope_theta"] = json!(0), "rope_theta 0"),
        (
            |c| (c["image_token_index"], c["image_token_id"]) = (json!(5), json!(6)),
            "image_token_index is 5 and image_token_id is 6",
        ),
        (
            |c| c["quantization_config"] = json!({"quant_method": "bitsandbytes"}),
            "the weights are quantized (bitsandbytes)",
        ),
        (|c| c["text_config"]["final_logit_softcapping"] = json!(30.0), "final_logit_softcapping"),
        (|c| c["text_config"]["hidden_activation"] = json!("silu"), "hidden_activation silu"),
        (|c| c["text_config"]["rope_parameters"]["full_attention"]["rope_type"] = json!("yarn"), "a rope of type yarn"),
        (|c| c["mm_tokens_per_image"] = json!(9), "8 x 8 patches do not pool to 9 tokens"),
        (|c| c["text_config"]["layer_types"] = json!(["full_attention"]), "layer_types has 1 entries for 7 layers"),
    ];
    for (change, wanted) in table {
        let folder = copy();
        edit(folder.path(), change);
        let found = sentence(folder.path());
        assert!(found.starts_with("DIR/config.json: ") && found.contains(wanted), "{found}");
    }
}

#[test]
fn a_tensor_in_two_spellings_is_refused() {
    let folder = copy();
    let path = folder.path().join(SHARD);
    let bytes = fs::read(&path).unwrap();
    let held = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (name, tensor) = held.iter().find(|(name, _)| name.contains("language_model")).unwrap();
    let other = name.strip_prefix("model.").map_or_else(|| format!("model.{name}"), str::to_owned);
    let both: Vec<_> = held.iter().chain([(other.as_str(), tensor.clone())]).collect();
    fs::write(&path, safetensors::serialize(both, None).unwrap()).unwrap();
    let found = sentence(folder.path());
    assert!(found.contains("is there twice, also as") && found.contains(name), "{found}");
}

#[test]
fn a_missing_shard_is_named() {
    let folder = copy();
    fs::remove_file(folder.path().join(SHARD)).unwrap();
    let wanted = format!("DIR/{SHARD} is missing; fetch the checkpoint again, with all of its .safetensors files");
    assert_eq!(sentence(folder.path()), wanted);
}

#[test]
fn a_shard_that_is_cut_off_is_named() {
    for keep in [100, 4096, 190_000] {
        let folder = copy();
        let path = folder.path().join(SHARD);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..keep]).unwrap();
        let found = sentence(folder.path());
        let begins = format!("DIR/{SHARD} is not a whole safetensors file (");
        assert!(found.starts_with(&begins) && found.ends_with("); fetch it again"), "{found}");
    }
}

/// Of all weights, those that no prompt happens to use too.
#[test]
fn weights_that_are_no_numbers_are_refused_by_name() {
    for spoiled in [f32::NAN, f32::INFINITY] {
        let folder = copy();
        let path = folder.path().join(SHARD);
        let bytes = fs::read(&path).unwrap();
        let held = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let (name, tensor) = held.iter().max_by_key(|(_, tensor)| tensor.data().len()).unwrap();
        assert_eq!(tensor.dtype(), safetensors::Dtype::F32);
        let mut numbers = tensor.data().to_vec();
        let middle = numbers.len() / 8 * 4;
        numbers[middle..middle + 4].copy_from_slice(&spoiled.to_le_bytes());
        let changed = safetensors::tensor::TensorView::new(tensor.dtype(), tensor.shape().to_vec(), &numbers).unwrap();
        let all = held.iter().map(|(other, tensor)| (other, if other == name { changed.clone() } else { tensor }));
        fs::write(&path, safetensors::serialize(all, None).unwrap()).unwrap();
        let wanted = format!(
            "tensor {name} in DIR/{SHARD} holds numbers that are not finite (NaN or infinity); fetch the file again"
        );
        assert_eq!(sentence(folder.path()), wanted);
    }
}

#[test]
fn an_index_does_not_leave_the_folder() {
    let folder = copy();
    let path = folder.path().join("model.safetensors.index.json");
    let index = fs::read_to_string(&path).unwrap().replace(SHARD, "../../etc/passwd");
    fs::write(&path, index).unwrap();
    assert!(sentence(folder.path()).contains("../../etc/passwd is not a file name"));
}

#[test]
fn a_shape_that_the_configuration_does_not_imply_is_named() {
    let folder = copy();
    edit(folder.path(), |config| config["text_config"]["vocab_size"] = json!(500));
    assert_eq!(
        sentence(folder.path()),
        "tensor language_model.model.embed_tokens.weight in DIR/model-00001-of-00010.safetensors is [512, 64], \
         and config.json implies [500, 64]; the two are not of one model"
    );
}

#[test]
fn a_tensor_that_no_file_has_is_named() {
    let folder = copy();
    edit(folder.path(), |config| {
        config["vision_config"]["num_hidden_layers"] = json!(4);
    });
    assert_eq!(
        sentence(folder.path()),
        "DIR/model.safetensors.index.json has no tensor vision_tower.encoder.layers.3.layer_norm1.weight; the weights \
         and config.json are not of one model"
    );
}

#[test]
fn numbers_that_cannot_be_read_are_named() {
    let folder = copy();
    let path = folder.path().join(SHARD);
    let mut bytes = fs::read(&path).unwrap();
    // As long as F32, so that the file stays whole.
    let at = bytes.windows(5).position(|window| window == b"\"F32\"").unwrap();
    bytes[at..at + 5].copy_from_slice(b"\"I32\"");
    fs::write(&path, bytes).unwrap();
    let found = sentence(folder.path());
    assert!(found.contains("is I32; prelim reads F32, BF16 and F16, so fetch the unquantized checkpoint"), "{found}");
}
