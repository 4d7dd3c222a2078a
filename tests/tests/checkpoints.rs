//! Commands that take a checkpoint: what is evaluated is named, what cannot be done is refused with the numbers, and what is
//! interrupted leaves nothing.

use std::path::PathBuf;

use prelim_tests::{phantoms, prelim, prelim_json, repository, words};
use serde_json::{Value, json};

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
