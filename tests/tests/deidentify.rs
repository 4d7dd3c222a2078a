//! De-identification: files for research sets, held against programs of others, and what workers get to see.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use prelim_tests::{prelim, prelim_json, repository, words};
use serde_json::Value;

/// A key that nobody else may read.
fn key(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, format!("{name:x>64}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// De-identifies a folder, of which some files are refused; gives the file that each of the others became.
fn set(from: &Path, to: &Path, key: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let output = prelim(["deidentify", "--json", &text(from), "-o", &text(to), "--key", &text(key)]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
    let word = |file: &Value, member: &str| file[member].as_str().unwrap().to_owned();
    let written = files(to);
    let place = |uid: &str| written.iter().find(|path| path.ends_with(format!("{uid}.dcm"))).unwrap().clone();
    let all = said["files"].as_array().unwrap();
    all.iter()
        .filter(|file| word(file, "outcome") != "refused")
        .map(|file| (PathBuf::from(word(file, "path")), place(&word(file, "instance_uid"))))
        .collect()
}

/// Promise: a set agrees attribute by attribute with dicom-anonymizer and its table E.1-1, pydicom reads it, dciodvfy finds
/// nothing new in it, UIDs are what their definition says, and references within it hold.
#[test]
fn a_set_is_as_programs_of_others_would_have_it() {
    let work = tempfile::tempdir().unwrap();
    let key = key(work.path(), "key");
    // The larger collection is beside the repository on some machines.
    let collection = repository().join("../shared/data/dicom");
    let from = if collection.is_dir() { collection } else { repository().join("tests/data/dicom") };
    let pairs = set(&from, &work.path().join("set"), &key);
    assert!(pairs.len() >= 40, "{}", pairs.len());
    let pairs: Vec<_> = pairs.iter().map(|(before, after)| (text(before), text(after))).collect();
    let python = repository().join("target/python/bin/python");
    let script = repository().join("tests/peers/deidentify.py");
    let mut peer = Command::new(python)
        .arg(script)
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python of tests/install.sh");
    peer.stdin.take().unwrap().write_all(serde_json::to_string(&pairs).unwrap().as_bytes()).unwrap();
    let output = peer.wait_with_output().unwrap();
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 1, "{said}");
    let counts: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(counts["compared"], pairs.len(), "{counts}");
    assert!(counts["references within the set"].as_u64().unwrap() >= 9, "{counts}");
}

#[test]
fn a_set_depends_on_the_key_is_never_overwritten_and_its_table_leads_back() {
    let work = tempfile::tempdir().unwrap();
    let (one, other) = (key(work.path(), "one"), key(work.path(), "other"));
    let from = repository().join("tests/data/dicom/ct_series");
    let to = |name: &str| work.path().join(name);
    let first = set(&from, &to("first"), &one);
    assert_eq!(first.len(), 4);
    let again = set(&from, &to("again"), &one);
    for (before, after) in &first {
        assert_eq!(fs::read(after).unwrap(), fs::read(&again[before]).unwrap());
    }
    let names = |set: &BTreeMap<PathBuf, PathBuf>| {
        set.values().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(names(&set(&from, &to("other"), &other)).iter().all(|name| !names(&first).contains(name)));
    // What is there stays, whether or not it is the same.
    let changed = first.values().next().unwrap();
    fs::write(changed, "mine").unwrap();
    let table = work.path().join("table.csv");
    let run = |more: &[&str]| {
        let (from, to, one) = (text(&from), text(&to("first")), text(&one));
        let arguments = [&["deidentify", &from, "-o", &to, "--key", &one][..], more].concat();
        prelim(arguments)
    };
    let output = run(&["--table", &text(&table)]);
    let said = words(&output);
    assert!(!output.status.success() && said.contains("3 there already, 1 refused"), "{said}");
    assert_eq!(fs::read(changed).unwrap(), b"mine");
    // The table is for its owner alone, has every UID, and is not overwritten nor given away.
    assert_eq!(fs::metadata(&table).unwrap().permissions().mode() & 0o777, 0o600);
    let rows = fs::read_to_string(&table).unwrap();
    for kind in ["patient_id", "study_uid", "series_uid", "instance_uid"] {
        assert!(rows.lines().any(|row| row.starts_with(&format!("{kind},"))), "{rows}");
    }
    for (arguments, says) in [
        (["--table", &text(&table)], "already"),
        (["--table", &text(&to("first").join("table.csv"))], "must not go with the set"),
        (["--retain", "everything"], "possible values"),
    ] {
        let said = words(&run(&arguments));
        assert!(said.contains(says), "{said}");
    }
    let inside = prelim(["deidentify", &text(&from), "-o", &text(&from.join("set")), "--key", &text(&one)]);
    let _ = fs::remove_dir(from.join("set"));
    assert!(words(&inside).contains("which is read"), "{}", words(&inside));
    fs::set_permissions(&one, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(words(&run(&[])).contains("chmod 600"), "{}", words(&run(&[])));
}

#[test]
fn options_are_in_the_files_and_refusals_are_told() {
    let work = tempfile::tempdir().unwrap();
    let key = text(&key(work.path(), "key"));
    let from = text(&repository().join("tests/data/dicom/ct_series"));
    let out = text(&work.path().join("set"));
    let kept =
        prelim_json(["deidentify", "--json", &from, "-o", &out, "--key", &key, "--retain", "dates,characteristics"]);
    assert_eq!(kept["files"].as_array().unwrap().len(), 4);
    for file in files(Path::new(&out)) {
        let dump = Command::new("dcmdump").arg(&file).output().unwrap();
        let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
        for code in ["113100", "113107", "113108", "MODIFIED"] {
            assert!(dump.contains(code), "{code}: {dump}");
        }
    }
    let strict = work.path().join("strict");
    let output = prelim(["deidentify", &from, "-o", &text(&strict), "--key", &key, "--refuse-burned-in"]);
    let said = words(&output);
    assert!(!output.status.success() && said.contains("4 refused") && said.contains("face"), "{said}");
    assert!(files(&strict).is_empty());
}
