//! Commands that take a checkpoint: what is evaluated is named, what cannot be done is refused with the numbers, and what is
//! interrupted leaves nothing.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use prelim_tests::{binary, eventually, phantoms, prelim, prelim_json, repository, words};
use serde_json::{Value, json};

/// How long a command may take to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A PNG of 60,000 x 60,000 pixels, grey, of which nothing is there.
const HUGE_PNG: &[u8] = b"\x89PNG\r\n\x1a\n\
    \x00\x00\x00\x0dIHDR\x00\x00\xea`\x00\x00\xea`\x08\x00\x00\x00\x00\xa5\xb9*\x9e\
    \x00\x00\x00\x08IDATx\x9c\x03\x00\x00\x00\x00\x01H\x06\x89\xd2\
    \x00\x00\x00\x00IEND\xaeB`\x82";

fn demonstration() -> PathBuf {
    repository().join("worker/demo-model/checkpoint")
}

/// What a command says that is to fail.
fn refused(arguments: &[&str]) -> String {
    let output = prelim(arguments);
    assert!(!output.status.success(), "{}", words(&output));
    let said = words(&output);
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// The demonstration model, with a few bytes of a tensor changed.
fn spoiled(folder: &Path, tensor: &str, number: [u8; 2]) {
    for entry in fs::read_dir(demonstration()).expect("the demonstration model") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    let path = folder.join("model.safetensors");
    let mut bytes = fs::read(&path).expect("the weights");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    let at = 8 + length + header[tensor]["data_offsets"][0].as_u64().expect("a place") as usize;
    bytes[at..at + 2].copy_from_slice(&number);
    fs::write(&path, bytes).expect("a file");
}

/// Promise: adapters are measured as models are, and an evaluation says what it is of.
#[test]
fn an_evaluation_names_the_model_the_adapter_and_the_arithmetic() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("set");
    phantoms(&folder, 1, 3, Some("dx"));
    let folder = folder.display().to_string();
    let own = prelim_json(["eval", "--json", "--weights", "bf16", &folder]);
    assert_eq!((&own["model"]["base"], &own["weights"], &own["studies"]), (&Value::Null, &json!("bf16"), &json!(1)));
    assert_eq!(own["model"]["arithmetic"], "cpu bf16");
    let base = own["model"]["name"].as_str().expect("a name");
    // The demonstration model brings an adapter, which answers questions where it has its own name.
    let questions = demonstration().join("questions").display().to_string();
    let adapted = prelim_json(["eval", "--json", "--adapter", &format!("asked={questions}"), &folder]);
    assert_eq!((&adapted["model"]["name"], &adapted["model"]["base"]), (&json!("asked"), &json!(base)));
    assert_ne!(adapted["model"]["digest"], own["model"]["digest"]);
    assert_eq!((&adapted["weights"], &adapted["studies"]), (&json!("as-stored"), &json!(1)));
    let said = refused(&["eval", "--adapter", &format!("questions={questions}"), &folder]);
    assert!(said.contains("nothing is read with questions"), "{said}");
    let said = refused(&["eval", "--adapter", &questions, &folder]);
    assert!(said.contains("is not NAME=DIR"), "{said}");
}

#[test]
fn a_picture_that_no_frame_could_be_is_refused_with_the_limit() {
    let work = tempfile::tempdir().unwrap();
    let picture = work.path().join("huge.png");
    fs::write(&picture, HUGE_PNG).unwrap();
    let (picture, model) = (picture.display().to_string(), demonstration().display().to_string());
    for command in [&["logits", "--beside", "bf16", "--image"][..], &["embed"]] {
        let said = refused(&[command, &[&picture, "--model", &model]].concat());
        assert!(said.contains("huge.png has 60000 x 60000 pixels, more than 67108864"), "{said}");
    }
}

#[test]
fn a_benchmark_beyond_the_models_positions_is_refused_with_the_numbers() {
    let model = demonstration().display().to_string();
    let said = refused(&["bench", "engine", "--model", &model, "--words", "8000", "--films", "0"]);
    assert!(
        said.contains("--words 8000 and --steps 16 take ") && said.contains("positions, and the model has "),
        "{said}"
    );
    let help = words(&prelim(["bench", "engine", "--help"]));
    assert!(help.contains("[default: 1,8]"), "{help}");
}

#[test]
fn logits_that_are_no_numbers_are_no_distance_apart() {
    let folder = tempfile::tempdir().unwrap();
    // The largest bf16: products of products with it are infinite, and their sums no numbers.
    spoiled(folder.path(), "language_model.model.layers.0.pre_feedforward_layernorm.weight", [0x7f, 0x7f]);
    let said = refused(&["logits", "--model", &folder.path().display().to_string(), "--beside", "bf16"]);
    assert!(said.contains("what is no number"), "{said}");
}

#[test]
fn weights_of_other_bits_than_the_checkpoint_has_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let (from, to) = (demonstration().display().to_string(), work.path().join("int8").display().to_string());
    let done = prelim(["quantize", "--model", &from, "--to", &to, "--weights", "int8"]);
    assert!(done.status.success(), "{}", words(&done));
    let out = work.path().join("out").display().to_string();
    for command in [
        &["logits", "--weights", "int4", "-o", &out, "--model", &to][..],
        &["worker", "--weights", "int4", "--grpc", "127.0.0.1:1", "--model", &to],
    ] {
        let said = refused(command);
        assert!(said.contains("are int8 already, and cannot be made int4: quantise the checkpoint"), "{said}");
    }
    let nowhere = work.path().join("absent/int8").display().to_string();
    let said = refused(&["quantize", "--model", &from, "--to", &nowhere, "--weights", "int8"]);
    assert!(said.contains(&nowhere) && !said.contains(".part"), "{said}");
}

/// Promise: a checkpoint that is being quantised appears whole or not at all, also where it is interrupted.
#[test]
fn quantize_that_is_interrupted_leaves_nothing() {
    let work = tempfile::tempdir().unwrap();
    let from = work.path().join("large");
    fs::create_dir(&from).unwrap();
    fs::copy(demonstration().join("config.json"), from.join("config.json")).unwrap();
    // 16 GiB of zeros that take no room on the disk, and minutes to quantise.
    let (rows, columns) = (1u64 << 20, 8_192u64);
    let place = json!({"dtype": "BF16", "shape": [rows, columns], "data_offsets": [0, rows * columns * 2]});
    let header = json!({"language_model.model.layers.0.mlp.down_proj.weight": place}).to_string();
    let mut file = File::create(from.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + rows * columns * 2).unwrap();
    for signal in ["INT", "TERM"] {
        let into = work.path().join(signal);
        fs::create_dir(&into).unwrap();
        let mut command = Command::new(binary());
        command.args(["quantize", "--weights", "int4", "--model"]).arg(&from).arg("--to").arg(into.join("small"));
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("prelim starts");
        let entries = || fs::read_dir(&into).expect("a folder").count();
        eventually(PATIENCE, || "it has begun".to_owned(), || entries() == 1);
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill");
        assert!(sent.success(), "{sent}");
        let mut ended = None;
        eventually(
            PATIENCE,
            || "it ends".to_owned(),
            || {
                ended = child.try_wait().expect("a child");
                ended.is_some()
            },
        );
        let output = child.wait_with_output().expect("its words");
        assert_eq!(output.status.code(), Some(1), "{signal}: {}", words(&output));
        assert!(words(&output).contains("interrupted; what it had begun is taken away"), "{}", words(&output));
        assert_eq!(entries(), 0, "{signal}: nothing is left behind");
    }
}
