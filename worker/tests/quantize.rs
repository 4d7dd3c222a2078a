//! A checkpoint that is quantised ahead gives what one gives that is quantised at load, bit for bit; what cannot be read is
//! refused by name.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use prelim_kernels::{Arithmetic, Cpu, Grid};
use prelim_worker::model::weights::Weights;
use prelim_worker::model::{Batch, Chunk, KeptType, Model, ModelError, PlacedImage, Want, WeightType};
use prelim_worker::quantize::{Done, Plan, QuantizeError, quantize};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

fn demonstration() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/checkpoint")
}

/// In f32, and in many files.
fn sharded() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/parity/tiny-gemma3"))
}

const INT8: Plan = Plan { grid: Grid::INT8, embedding: true };
const INT4: Plan = Plan { grid: Grid::INT4, embedding: true };

/// Logits after an image and some words, and after another token.
fn logits(folder: &Path, weights: WeightType, arithmetic: Arithmetic) -> Vec<u32> {
    let cpu = Cpu::with_threads(2).unwrap().with_arithmetic(arithmetic);
    let model = Model::load(folder, cpu, weights).unwrap();
    let config = model.config();
    let pixels: Vec<f32> = (0..config.picture.values()).map(|i| (i % 199) as f32 / 99.0 - 1.0).collect();
    let features = model.encode_images(&pixels, 1).remove(0);
    let mut tokens: Vec<u32> = vec![2, config.image_marks.expect("Gemma marks images").start];
    tokens.extend(vec![config.image_token; config.tokens_per_image]);
    tokens.extend([30, 31, 32]);
    let blocks: Vec<u32> = (0..8).collect();
    let mut kv = model.new_kv_cache(8, 16).unwrap();
    let mut pass = |start: usize, tokens: &[u32], images| {
        let chunk = Chunk { start, tokens, images, adapter: None, blocks: &blocks, logits: Want::Last };
        let logits = model.forward(&mut kv, &Batch { chunks: vec![chunk] });
        logits.row(0).iter().map(|value| value.to_bits()).collect::<Vec<u32>>()
    };
    let mut all = pass(0, &tokens, vec![PlacedImage { at: 2, features }]);
    all.extend(pass(tokens.len(), &[33], Vec::new()));
    all
}

fn written(from: &Path, plan: Plan) -> (tempfile::TempDir, PathBuf, Done) {
    let parent = tempfile::tempdir().unwrap();
    let to = parent.path().join("quantised");
    let mut told = Vec::new();
    let done = quantize(from, &to, plan, &mut |read, all| {
        told.push((read, all));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(told.is_sorted() && told.last().is_some_and(|(read, all)| read == all), "{told:?}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing else is left behind");
    (parent, to, done)
}

#[test]
fn what_is_made_ahead_has_the_bits_of_what_is_made_at_load() {
    for from in [demonstration(), sharded()] {
        for (plan, weights, kept) in
            [(INT8, WeightType::Int8, KeptType::Int8), (INT4, WeightType::Int4, KeptType::Int4)]
        {
            let (_parent, to, done) = written(&from, plan);
            assert!(done.quantised > 7 && done.bytes_after < done.bytes_before, "{done:?}");
            let opened = Weights::open(&to).unwrap();
            assert_eq!(opened.stored_type(), kept);
            assert_eq!(WeightType::Bf16.kept(&opened).unwrap(), kept);
            for arithmetic in [Arithmetic::Exact, Arithmetic::Bf16] {
                let wanted = logits(&from, weights, arithmetic);
                assert!(logits(&to, WeightType::AsStored, arithmetic) == wanted, "{kept} {arithmetic:?}");
                assert!(logits(&from, WeightType::Bf16, arithmetic) != wanted, "nothing was quantised");
            }
            // All else is there, too.
            for name in ["tokenizer.json", "chat_template.jinja", "generation_config.json"] {
                assert_eq!(fs::read(to.join(name)).unwrap(), fs::read(from.join(name)).unwrap());
            }
            // With the adapter that answers questions, where there is one.
            let adapter = "questions/adapter_model.safetensors";
            assert_eq!(fs::read(to.join(adapter)).ok(), fs::read(from.join(adapter)).ok());
        }
    }
}

#[test]
fn an_embedding_that_was_left_is_quantised_at_load_on_demand() {
    let from = demonstration();
    let (_parent, to, _) = written(&from, Plan { embedding: false, ..INT8 });
    let exact = Arithmetic::Exact;
    assert!(logits(&to, WeightType::Int8, exact) == logits(&from, WeightType::Int8, exact));
    assert!(logits(&to, WeightType::AsStored, exact) != logits(&from, WeightType::Int8, exact));
    let config: Value = serde_json::from_slice(&fs::read(to.join("config.json")).unwrap()).unwrap();
    let ignored = &config["quantization_config"]["ignore"];
    assert!(
        ignored.as_array().unwrap().iter().any(|name| name.as_str().unwrap().ends_with("embed_tokens")),
        "{ignored}"
    );
}

#[test]
fn f32_is_what_the_numbers_stand_for() {
    let (_parent, to, _) = written(&demonstration(), INT4);
    // A tower of bf16 is the same in f32; the scale of embeddings, 16, is exact in bf16.
    let exact = Arithmetic::Exact;
    assert!(logits(&to, WeightType::F32, exact) == logits(&to, WeightType::AsStored, exact));
}

#[test]
fn nothing_is_overwritten_and_nothing_is_quantised_twice() {
    let (parent, to, _) = written(&demonstration(), INT8);
    let again = quantize(&demonstration(), &to, INT4, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(&again, QuantizeError::Exists(path) if *path == to), "{again}");
    let twice = quantize(&to, &parent.path().join("twice"), INT4, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(twice, QuantizeError::Already(_)), "{twice}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn what_is_of_other_bits_is_not_made_of_these() {
    for (plan, other) in [(INT8, WeightType::Int4), (INT4, WeightType::Int8)] {
        let (_parent, to, _) = written(&demonstration(), plan);
        let refused = Model::load(&to, Cpu::with_threads(1).unwrap(), other).err().expect("it is made of others");
        let said = refused.to_string();
        assert!(
            said.contains("/model.safetensors are int") && said.contains(" already, and cannot be made int"),
            "{said}"
        );
        assert!(said.contains("quantise the checkpoint that they were made from"), "{said}");
    }
}

/// Nothing is left of a checkpoint that nobody waits for any more, and a folder that cannot be made is named as it was given.
#[test]
fn what_is_not_finished_is_taken_away() {
    let parent = tempfile::tempdir().unwrap();
    let (to, mut told) = (parent.path().join("quantised"), 0);
    let stopped = quantize(&demonstration(), &to, INT8, &mut |_, _| {
        told += 1;
        if told == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(QuantizeError::Stopped)), "{stopped:?}");
    assert_eq!((told, fs::read_dir(parent.path()).unwrap().count()), (2, 0), "it ends at once and leaves nothing");
    let nowhere = parent.path().join("absent/quantised");
    let said =
        quantize(&demonstration(), &nowhere, INT8, &mut |_, _| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(said.starts_with(&format!("{}: ", nowhere.display())), "{said}");
}

/// A number that is not finite is found in what is quantised, in f32 and bf16, and in what is copied.
#[test]
fn numbers_that_are_not_finite_are_refused_by_name() {
    let table: [(&str, safetensors::Dtype, &[u8]); 4] = [
        ("layers.1.mlp.down_proj.weight", safetensors::Dtype::BF16, &[0xc0, 0x7f]),
        ("layers.1.mlp.down_proj.weight", safetensors::Dtype::BF16, &[0x80, 0xff]),
        ("layers.1.input_layernorm.weight", safetensors::Dtype::BF16, &[0x80, 0x7f]),
        ("post_layernorm.weight", safetensors::Dtype::BF16, &[0xff, 0xff]),
    ];
    for (which, dtype, number) in table {
        let folder = copied();
        spoil(folder.path(), |name, view| {
            let mut tensor = as_is(name, &view);
            if name.ends_with(which) {
                assert_eq!(tensor.1, dtype);
                let last = tensor.3.len() - number.len();
                tensor.3[last..].copy_from_slice(number);
            }
            vec![tensor]
        });
        let parent = tempfile::tempdir().unwrap();
        let to = parent.path().join("quantised");
        let refused = quantize(folder.path(), &to, INT8, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
        let said = refused.to_string().replace(folder.path().to_str().unwrap(), "DIR");
        assert!(
            matches!(refused, QuantizeError::Model(ModelError::NotFinite { .. })) && said.contains(which),
            "{said}"
        );
        assert!(said.contains("in DIR/model.safetensors holds numbers that are not finite"), "{said}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "nothing is left behind");
    }
}

/// The weights of the demonstration model and what says what they are, to spoil.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(demonstration().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// Promise: a quantised checkpoint is no larger by what it was made from.
#[test]
fn weights_of_other_formats_are_left_where_they_are() {
    let folder = copied();
    for name in ["pytorch_model.bin", "optimizer.pt", "tokenizer.model", "LICENSE"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    // Some editors write the mark of a byte order before JSON.
    let config = fs::read_to_string(folder.path().join("config.json")).unwrap();
    fs::write(folder.path().join("config.json"), format!("\u{feff}{config}")).unwrap();
    let (_parent, to, _) = written(folder.path(), INT8);
    let is_there = |name: &str| to.join(name).exists();
    assert!(is_there("tokenizer.model") && is_there("LICENSE") && is_there("config.json"));
    assert!(!is_there("pytorch_model.bin") && !is_there("optimizer.pt"));
}

/// Kept as stored, a matrix of f16 in a checkpoint of bf16 loses nothing: it has the logits of the same numbers in f32.
#[test]
fn a_matrix_that_has_more_than_the_others_is_not_rounded() {
    const WHICH: &str = "layers.1.mlp.down_proj.weight";
    let with = |dtype| {
        let folder = copied();
        spoil(folder.path(), |name, view| {
            let mut tensor = as_is(name, &view);
            if name.ends_with(WHICH) {
                // Numbers that f16 has and bf16 has not.
                let values = tensor.3.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32());
                let values = values.map(|value| half::f16::from_f32(value * 1.003));
                tensor.3 = match dtype {
                    safetensors::Dtype::F16 => values.flat_map(|value| value.to_le_bytes()).collect(),
                    safetensors::Dtype::BF16 => {
                        values.flat_map(|value| half::bf16::from_f32(value.to_f32()).to_le_bytes()).collect()
                    }
                    _ => values.flat_map(|value| value.to_f32().to_le_bytes()).collect(),
                };
                tensor.1 = dtype;
            }
            vec![tensor]
        });
        folder
    };
    let [half, single, rounded] =
        [safetensors::Dtype::F16, safetensors::Dtype::F32, safetensors::Dtype::BF16].map(with);
    let of = |folder: &tempfile::TempDir, weights| logits(folder.path(), weights, Arithmetic::Exact);
    assert_eq!(Weights::open(half.path()).unwrap().stored_type(), KeptType::Bf16, "most of it");
    let kept = of(&half, WeightType::AsStored);
    assert!(kept == of(&single, WeightType::AsStored));
    assert!(kept != of(&rounded, WeightType::AsStored), "the numbers have more than bf16");
    // Where bf16 is asked for, all is rounded.
    assert!(of(&half, WeightType::Bf16) == of(&rounded, WeightType::AsStored));
}

/// Writes the weights of a folder again, changed.
fn spoil(
    folder: &Path,
    change: impl Fn(&str, TensorView<'_>) -> Vec<(String, safetensors::Dtype, Vec<usize>, Vec<u8>)>,
) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let all: Vec<_> = file.tensors().into_iter().flat_map(|(name, view)| change(&name, view)).collect();
    let views =
        all.iter().map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn as_is(name: &str, view: &TensorView<'_>) -> (String, safetensors::Dtype, Vec<usize>, Vec<u8>) {
    (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec())
}

#[test]
fn quantised_weights_that_are_not_read_are_refused_by_name() {
    type Change = fn(&mut (String, safetensors::Dtype, Vec<usize>, Vec<u8>));
    const LAYER: &str = "layers.1.mlp.down_proj.weight_";
    let table: [(&str, Change, &str); 4] = [
        ("scale", |t| t.1 = safetensors::Dtype::F16, "weight_scale in DIR/model.safetensors is F16 of [256, 16]"),
        ("scale", |t| (t.2, t.3) = (vec![256, 1], vec![0; 512]), ""),
        (
            "scale",
            |t| (t.2, t.3) = (vec![256, 32], vec![0; 16_384]),
            "weight_scale in DIR/model.safetensors is 256 x 32 for 256 x 512 numbers, in groups of no multiple of 32",
        ),
        (
            "shape",
            |t| t.3[0] = 9,
            "weight_shape in DIR/model.safetensors is [265, 512], and config.json implies [256, 512]",
        ),
    ];
    let sentence = |folder: &Path| {
        let found = Model::load(folder, Cpu::with_threads(1).unwrap(), WeightType::AsStored).err();
        found.map_or_else(String::new, |error| error.to_string().replace(folder.to_str().unwrap(), "DIR"))
    };
    for (which, change, wanted) in table {
        let (_parent, to, _) = written(&demonstration(), INT8);
        spoil(&to, |name, view| {
            let mut tensor = as_is(name, &view);
            if name.ends_with(&format!("{LAYER}{which}")) {
                change(&mut tensor);
            }
            vec![tensor]
        });
        let found = sentence(&to);
        // Scales of whole rows are read.
        assert!(found.contains(wanted) && found.is_empty() == wanted.is_empty(), "{found}");
    }
    let (_parent, to, _) = written(&demonstration(), INT4);
    spoil(&to, |name, view| match name.strip_suffix("scale").filter(|_| name.ends_with(&format!("{LAYER}scale"))) {
        Some(stem) => {
            let mut other = as_is(name, &view);
            other.0 = format!("{stem}zero_point");
            vec![as_is(name, &view), other]
        }
        None => vec![as_is(name, &view)],
    });
    let found = sentence(&to);
    assert!(found.contains("weight_zero_point in DIR/model.safetensors is there; prelim reads"), "{found}");
    let path = to.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["quantization_config"]["format"] = json!("marlin-24");
    fs::write(&path, config.to_string()).unwrap();
    assert!(sentence(&to).contains("the weights are quantized (compressed-tensors, marlin-24)"));
}

/// `tests/data/quantised/make.py` packed these with compressed-tensors, which says what they stand for.
#[test]
fn what_others_packed_stands_for_what_they_say() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/quantised"));
    let weights = Weights::open(&folder).unwrap();
    for bits in ["int8", "int4"] {
        for group in ["32", "128", "row"] {
            let of = |end: &str| weights.matrix(&format!("{bits}_{group}.{end}"), &[9, 256]).unwrap().to_f32();
            let (found, wanted) = (of("weight"), of("values"));
            assert!(wanted.iter().any(|value| *value != 0.0));
            let same = found.iter().zip(&wanted).all(|(found, wanted)| found == wanted);
            assert!(same, "{bits} {group}: {:?} for {:?}", &found[..8], &wanted[..8]);
        }
    }
}
