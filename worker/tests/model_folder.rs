//! A model folder that cannot be used gets one sentence that names the file and says what to do.

use std::fs;
use std::path::{Path, PathBuf};

use prelim_kernels::Cpu;
use prelim_worker::model::{Model, ModelError, WeightType};
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
         Gemma3ForConditionalGeneration (MedGemma 4B, 27B and 1.5)"
    );
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    type Spoil = fn(&mut Value);
    let table: [(Spoil, &str); 6] = [
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
