//! The programs that read what is written. `tests/install.sh` installs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use prelim_coordinator::report::Format;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::samples::Sample;

/// Writes the sample where tools can open it, until it is dropped.
pub(crate) fn written(sample: &Sample, format: Format) -> NamedTempFile {
    let end = format!(".{}", format.extension());
    let file = tempfile::Builder::new().prefix(sample.name).suffix(&end).tempfile().unwrap();
    std::fs::write(file.path(), sample.write(format)).unwrap();
    file
}

/// Both streams of a tool, which must be there and succeed.
pub(crate) fn run(tool: &str, arguments: &[&str], path: &Path) -> String {
    let output = output(Command::new(tool).args(arguments).arg(path));
    let text = words(&output);
    assert!(output.status.success(), "{tool} {}: {text}", path.display());
    text
}

/// What a script beside this file prints of `path`.
pub(crate) fn python(script: &str, path: &Path) -> String {
    let installed = target().join("python/bin/python");
    let python = if installed.exists() { installed } else { PathBuf::from("python3") };
    let output = output(Command::new(python).arg(beside(script)).arg(path));
    assert!(output.status.success(), "{script} {}: {}", path.display(), words(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a script of node's succeeds on `path`, and what it says.
pub(crate) fn node(script: &str, path: &Path) -> (bool, String) {
    let output = output(Command::new("node").env("NODE_FOLDER", target().join("node")).arg(beside(script)).arg(path));
    (output.status.success(), words(&output))
}

/// `dciodvfy` knows the object as `iod` and finds no error in it.
pub(crate) fn dciodvfy(sample: &Sample, format: Format, iod: &str) {
    let file = written(sample, format);
    let said = words(&output(Command::new("dciodvfy").arg(file.path())));
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("Error")).collect();
    assert!(errors.is_empty(), "{format} of {}: {errors:#?}", sample.name);
    assert!(said.contains(iod), "{format} of {}: {said}", sample.name);
}

/// What every object of a draft says of itself, as `read_objects.py` prints it.
pub(crate) fn check_header(sample: &Sample, read: &Value, modality: &str) {
    assert_eq!(read["study"], sample.study.uid.as_str(), "{}", sample.name);
    assert_eq!(read["modality"], modality, "{}", sample.name);
    assert_eq!((&read["characters"], &read["qualification"]), (&"ISO_IR 192".into(), &"RESEARCH".into()));
    let description = read["series_description"].as_str().unwrap();
    assert!(description.starts_with("UNSIGNED DRAFT") && description.contains("not a medical device"), "{description}");
    assert_eq!(description.contains("DEMONSTRATION"), sample.demonstration(), "{description}");
    assert!(read["contribution"].as_str().unwrap().contains(&sample.report.statement), "{read}");
    let series: Vec<&str> = sample.study.series.iter().map(|series| series.uid.as_str()).collect();
    assert!(!series.contains(&read["series"].as_str().unwrap()), "a series of its own");
}

/// What `read_objects.py` reads of the sample in that form.
pub(crate) fn object(sample: &Sample, format: Format) -> Value {
    let file = written(sample, format);
    serde_json::from_str(&python("read_objects.py", file.path())).unwrap()
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} does not start ({error}): run tests/install.sh"))
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn beside(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(script)
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}
