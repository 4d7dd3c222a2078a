//! What is committed as the page's build is what its source builds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use prelim_tests::{repository, words};

/// Largest build, in bytes: what a browser fetches before the first image, uncompressed.
const MOST_BYTES: usize = 3 << 20;

/// The files below a folder by their paths in it, without what npm and the build make.
fn below(folder: &Path, left_out: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(folder).expect("it is below").to_owned();
            if left_out.iter().any(|each| name.starts_with(each)) {
                continue;
            }
            if path.is_dir() { folders.push(path) } else { drop(found.insert(name, fs::read(&path).expect("a file"))) }
        }
    }
    found
}

/// Promise: the page is built ahead and committed, and the build is the same wherever it is made: types checked, from the lock file
/// alone.
#[test]
fn the_committed_build_is_what_the_source_builds() {
    let page = repository().join("coordinator/page");
    let copy = tempfile::tempdir().expect("a folder");
    for (name, bytes) in below(&page, &["node_modules", "dist"]) {
        let path = copy.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    // A registry that hiccups is asked again.
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=6"];
    for line in [&install[..], &["run", "build"]] {
        let output = Command::new("npm")
            .args(line)
            .current_dir(copy.path())
            .output()
            .expect("npm is installed by tests/install.sh");
        assert!(output.status.success(), "npm {line:?}: {}", words(&output));
    }
    let (committed, built) = (below(&page.join("dist"), &[]), below(&copy.path().join("dist"), &[]));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    let advice = "run `npm ci && npm run build` in coordinator/page, and commit dist";
    assert_eq!(names(&committed), names(&built), "{advice}");
    for (name, bytes) in &committed {
        assert!(built[name] == *bytes, "{} differs: {advice}", name.display());
    }
    let size: usize = committed.values().map(Vec::len).sum();
    assert!(size <= MOST_BYTES, "the page has {size} bytes, more than {MOST_BYTES}");
    // Nothing of the machine that built it is in it.
    for (name, bytes) in &committed {
        let text = String::from_utf8_lossy(bytes);
        for word in [copy.path().to_str().expect("text"), repository().to_str().expect("text"), "node_modules/"] {
            assert!(!text.contains(word), "{} names {word}", name.display());
        }
    }
}
