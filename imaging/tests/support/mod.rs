//! The sample images: those that the repository holds, and the whole collection where it is at hand.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// One sample image.
pub(crate) struct Sample {
    /// Folder and file name, as in the manifest.
    pub(crate) name: String,
    path: PathBuf,
}

impl Sample {
    /// Its bytes.
    pub(crate) fn read(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

/// One line of `pixels.tsv`.
pub(crate) struct Expected {
    pub(crate) file: String,
    pub(crate) frame: u32,
    pub(crate) syntax: String,
    pub(crate) is_colour: bool,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) low: i64,
    pub(crate) high: i64,
    pub(crate) sum: i64,
    pub(crate) sha256: String,
    pub(crate) decoder: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The committed samples, and where the whole collection lies beside the repository, all others of it. By name.
pub(crate) fn samples() -> Vec<Sample> {
    let mut samples = BTreeMap::new();
    let committed = repository().join("tests/data/dicom");
    let collection = repository().join("../shared/data/dicom");
    for root in [collection, committed].into_iter().filter(|root| root.is_dir()) {
        for folder in entries(&root).into_iter().filter(|folder| folder.is_dir()) {
            for path in entries(&folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "dcm")) {
                let part = |path: &Path| path.file_name().unwrap().display().to_string();
                let name = format!("{}/{}", part(&folder), part(&path));
                samples.insert(name.clone(), Sample { name, path });
            }
        }
    }
    assert!(samples.len() >= 80, "only {} samples found", samples.len());
    samples.into_values().collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    read.map(|entry| entry.unwrap().path()).collect()
}

/// The sample with the given name.
pub(crate) fn sample(name: &str) -> Sample {
    samples().into_iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("no sample {name}"))
}

/// What other decoders read.
pub(crate) fn expected() -> Vec<Expected> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pixels.tsv")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| parse(&line.split('\t').collect::<Vec<_>>())).collect()
}

fn parse(cells: &[&str]) -> Option<Expected> {
    let &[file, frame, syntax, kind, rows, columns, low, high, sum, sha256, decoder] = cells else {
        return None;
    };
    Some(Expected {
        file: file.to_owned(),
        frame: frame.parse().unwrap(),
        syntax: syntax.to_owned(),
        is_colour: kind == "rgb",
        rows: rows.parse().unwrap(),
        columns: columns.parse().unwrap(),
        low: low.parse().unwrap(),
        high: high.parse().unwrap(),
        sum: sum.parse().unwrap(),
        sha256: sha256.to_owned(),
        decoder: decoder.to_owned(),
    })
}

/// Compares `lines` (name, tab, outcome) with those of a golden file, which may know more names. Rewrites the file
/// where PRELIM_BLESS is set.
pub(crate) fn compare_golden(name: &str, lines: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    if env::var_os("PRELIM_BLESS").is_some() {
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let wrong: Vec<&String> = lines.iter().filter(|line| !golden.lines().any(|known| known == line.as_str())).collect();
    assert!(wrong.is_empty(), "not as in {name} (rewrite it with PRELIM_BLESS=1, and review):\n{wrong:#?}");
}

/// Says a table on the test's standard error.
pub(crate) fn report(title: &str, lines: &[String]) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{title}:\n  {}", lines.join("\n  "));
}

/// The lines of a golden file, by their cells.
pub(crate) fn golden(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}
