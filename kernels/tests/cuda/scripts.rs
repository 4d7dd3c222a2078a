//! What is run by hand says what it needs, and runs all that it should.

use std::path::Path;
use std::process::{Command, Output};

use crate::compile::temporary;

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(name)
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_machine_without_a_gpu_is_told_what_to_run_instead() {
    // A PATH with what the script begins with, and no nvidia-smi.
    let path = temporary("path");
    std::fs::create_dir_all(&path).expect("a folder");
    let dirname = ["/usr/bin/dirname", "/bin/dirname"].into_iter().find(|file| Path::new(file).exists());
    let link = path.join("dirname");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(dirname.expect("coreutils"), link).expect("a link");
    let output = Command::new("/bin/bash").arg(script("gpu.sh")).env("PATH", &path).output().expect("bash");
    assert!(!output.status.success());
    let told = words(&output);
    assert!(told.contains("no nvidia-smi on the PATH") && told.contains("--test cuda"), "{told}");
}

/// Modules of tests that need no stand-in all run on a GPU.
#[test]
fn the_tests_of_agreement_run_on_a_gpu() {
    let text = std::fs::read_to_string(script("gpu.sh")).expect("a script");
    let tests = text.lines().find(|line| line.contains("--test cuda --")).expect("the tests of kernels");
    for module in ["operations::", "prefixes::", "sizes::", "streams::"] {
        assert!(tests.split(' ').any(|word| word == module), "no {module} in {tests}");
    }
    assert!(text.contains("CUDA_DEVICE_ORDER=PCI_BUS_ID"), "nvidia-smi and the driver count in two orders");
}

#[test]
fn the_model_of_speed_says_what_it_takes() {
    let run = |argument| Command::new("python3").arg(script("roofline.py")).arg(argument).output().expect("python3");
    let help = run("--help");
    assert!(help.status.success() && words(&help).contains("80, 86, 89, 90, 100"), "{}", words(&help));
    let unknown = run("sm_75");
    assert_eq!(unknown.status.code(), Some(2));
    let told = words(&unknown);
    assert!(told.contains("no architecture '75': choose from 80") && !told.contains("Traceback"), "{told}");
}
