//! A GPU as `prelim` sees it, without one: the kernels' simulator, behind a stand-in for the driver.
//!
//! Verifies issue 6, promises 2 and 3: the device is named, what is wrong with it is said, and nothing falls back unasked.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use prelim_tests::{binary, stand_in_driver, words};

/// `prelim` where libraries are looked for in `folder` first.
fn prelim_with(folder: &Path, arguments: &[&str]) -> Output {
    prelim_on(folder, 4096, arguments)
}

/// The same on a device of so much memory.
fn prelim_on(folder: &Path, memory_mib: usize, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env("LD_LIBRARY_PATH", folder).stdin(Stdio::null());
    command.env("PRELIM_SIMULATOR_MEMORY_MIB", memory_mib.to_string()).env("PRELIM_LOG", "info,prelim_kernels=debug");
    command.output().expect("prelim starts")
}

#[test]
fn the_doctor_names_the_gpu() {
    let output = prelim_with(&stand_in_driver(), &["doctor", "--json"]);
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let gpu = checks.as_array().unwrap().iter().find(|check| check["what"] == "GPU").expect("a GPU's line");
    let found = gpu["found"].as_str().unwrap();
    assert!(found.starts_with("cuda:0 (simulator, sm_80, f16), 4.0 of 4.0 GiB free\nused with --device"), "{found}");
    // A sentence a line, also in the table.
    let told = words(&prelim_with(&stand_in_driver(), &["doctor"]));
    assert!(
        told.lines().any(|line| line.contains("(our kernels have not yet run on a GPU: see kernels/README.md)")),
        "{told}"
    );
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_and_nothing_falls_back() {
    let output = prelim_with(&stand_in_driver(), &["bench", "--device", "cuda:1", "--count", "1", "--runs", "1"]);
    assert!(!output.status.success());
    assert!(words(&output).contains("no CUDA device 1: the driver finds 1"), "{}", words(&output));
    let worker = ["worker", "--grpc", "127.0.0.1:1", "--device", "cuda", "--arithmetic", "bf16"];
    let output = prelim_with(&stand_in_driver(), &worker);
    assert!(!output.status.success());
    assert!(words(&output).contains("a GPU computes in bf16 with --weights bf16"), "{}", words(&output));
    let output = prelim_with(Path::new("/nowhere"), &["bench", "--device", "gpu", "--count", "1"]);
    assert!(words(&output).contains("\"gpu\" is not cpu, cuda or cuda:N"), "{}", words(&output));
}

#[test]
fn a_machine_without_a_driver_computes_on_the_processor_unless_a_gpu_is_asked_for() {
    // What is no library stands before any driver that the machine may have.
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["libcuda.so", "libcuda.so.1"] {
        std::fs::write(folder.path().join(name), "no library").expect("a file");
    }
    let output = prelim_with(folder.path(), &["doctor", "--json"]);
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let gpu = checks.as_array().unwrap().iter().find(|check| check["what"] == "GPU").expect("a GPU's line");
    assert_eq!(gpu["found"], "none; the CPU computes");
    let output = prelim_with(folder.path(), &["bench", "--device", "cuda", "--count", "1", "--runs", "1"]);
    assert!(!output.status.success());
    let wanted =
        "no CUDA driver: libcuda.so.1 is not found; install the driver of the GPU, or compute on the processor";
    let told = words(&output);
    assert!(told.contains(wanted) && !told.contains("smaller model"), "{told}");
}

/// A study from pixels to findings, with every product and all attention of the model in the kernels.
#[test]
fn a_study_is_read_on_the_gpu() {
    let output =
        prelim_with(&stand_in_driver(), &["bench", "--device", "cuda", "--count", "1", "--runs", "1", "--json"]);
    assert!(output.status.success(), "{}", words(&output));
    let results: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(results["arithmetic"], "cuda f16", "{results}");
    // The cache was sized from what is free: 16 prompts of 2,048 tokens are as much as is of use.
    let told = words(&output);
    let sized = told.lines().find(|line| line.contains("cache sized")).unwrap_or_else(|| panic!("{told}"));
    for number in ["memory_mib=4096", "is_set=false", "cache_mib=32", "cache_tokens=32768"] {
        assert!(sized.contains(number), "no {number} in {sized}");
    }
    let captured = told.lines().find(|line| line.contains("graph captured")).unwrap_or_else(|| panic!("{told}"));
    assert!(captured.contains("graphs=1") && captured.contains("steps="), "{captured}");
}

#[test]
fn a_gpu_that_is_too_full_is_an_error_at_the_start_with_the_numbers() {
    let bench = ["bench", "--device", "cuda", "--count", "1", "--runs", "1"];
    let output = prelim_on(&stand_in_driver(), 24, &bench);
    let told = words(&output);
    assert!(!output.status.success());
    assert!(
        told.contains("(simulator, sm_80, f16) has ") && told.contains(" of 24 MiB free beside the weights"),
        "{told}"
    );
    assert!(told.contains("2 MiB are left alone") && told.contains("for a cache of 720 tokens"), "{told}");
    // What is set has to be there: a thousand prompts can use 2 GiB.
    let output =
        prelim_on(&stand_in_driver(), 1024, &[&bench[..], &["--cache-mib", "1048576", "--batch", "1024"]].concat());
    let told = words(&output);
    assert!(told.contains("of 1024 MiB free beside the weights") && told.contains("2097152 tokens"), "{told}");
    let output = prelim_on(&stand_in_driver(), 4, &bench);
    assert!(words(&output).contains("out of device memory"), "{}", words(&output));
}
