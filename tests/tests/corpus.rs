//! Real files through the whole path: each ends as read, or as skipped or refused with what was found.
//!
//! The goldens are `data/outcomes/*.tsv`, one line a file. `PRELIM_UPDATE_GOLDENS=1` writes them anew; read the
//! difference before committing it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prelim_tests::{Process, repository, submit};
use serde_json::Value;

/// What is said of an object that is not read because of another one in the folder: it has the same UID, or it shows the
/// same slice.
const OVERSHADOWED: [&str; 2] = ["same SOP Instance UID", "at the place of another slice"];

/// The files of a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder is there").map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

/// What became of each file below `folder`, submitted together to one coordinator.
fn outcomes(folder: &Path) -> BTreeMap<String, String> {
    let data = tempfile::tempdir().unwrap();
    let mut process = Process::up(data.path());
    let answer = submit(&process.grpc, folder);
    assert!(process.is_alive(), "the server stays up");
    let studies: BTreeMap<&str, &Value> = answer["studies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|study| (study["study_uid"].as_str().unwrap(), study))
        .collect();
    let objects = answer["objects"].as_array().unwrap();
    objects.iter().map(|object| (object["name"].as_str().unwrap().to_owned(), outcome(object, &studies))).collect()
}

/// What became of one object: refused at the door, skipped or not read in its study, or read.
fn outcome(object: &Value, studies: &BTreeMap<&str, &Value>) -> String {
    if object["disposition"] == "refused" {
        return format!("refused\t{}", object["reason"].as_str().unwrap());
    }
    let study = studies[object["study_uid"].as_str().unwrap()];
    let state = study["state"].as_str().unwrap();
    assert!(["drafted", "failed"].contains(&state), "{study}");
    let unread = study["unread"].as_array().unwrap();
    let mut reasons: Vec<String> = unread
        .iter()
        .filter(|unread| unread["instance_uid"] == object["instance_uid"])
        .map(|unread| format!("{}: {}", unread["reason"].as_str().unwrap(), unread["detail"].as_str().unwrap()))
        .collect();
    reasons.dedup();
    match reasons.as_slice() {
        [] => {
            assert_eq!(state, "drafted", "neither read nor accounted for: {object} in {study}");
            "read\t".to_owned()
        }
        [first, ..] => format!("skipped\t{first}"),
    }
}

/// Submits `folder` as a whole, and alone each file that another one of the folder kept from being read.
fn check(folder: &Path, golden: &str) {
    let mut found = outcomes(folder);
    for path in files(folder) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if found.get(&name).is_some_and(|outcome| OVERSHADOWED.iter().any(|why| outcome.contains(why))) {
            let alone = tempfile::tempdir().unwrap();
            fs::copy(&path, alone.path().join(&name)).unwrap();
            found.extend(outcomes(alone.path()));
        }
    }
    assert_eq!(found.len(), files(folder).len(), "every file has an outcome");
    let table: String = found.iter().map(|(name, outcome)| format!("{name}\t{outcome}\n")).collect();
    let path = repository().join("tests/data/outcomes").join(golden);
    if std::env::var_os("PRELIM_UPDATE_GOLDENS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &table).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let differing: Vec<_> =
        table.lines().chain(wanted.lines()).filter(|line| !(table.contains(line) && wanted.contains(line))).collect();
    assert!(differing.is_empty(), "{}:\n{}", path.display(), differing.join("\n"));
}

/// Checks the committed subset, and the whole of it where the shared data is at hand.
fn check_both(part: &str) {
    let committed = repository().join("tests/data/dicom").join(part);
    if committed.is_dir() {
        check(&committed, &format!("{part}.tsv"));
    }
    let shared = repository().join("../shared/data/dicom").join(part);
    if shared.is_dir() {
        check(&shared, &format!("{part}.shared.tsv"));
    }
}

/// Issue promise 9: real X-rays.
#[test]
fn xrays_are_read() {
    check_both("cr_dx");
}

/// Issue promise 9: real CT, with a tilted gantry and uneven gaps.
#[test]
fn ct_series_are_read() {
    check_both("ct_series");
}

/// Issue promise 9: one slice in every transfer syntax.
#[test]
fn every_transfer_syntax_is_read_or_refused_by_name() {
    check_both("transfer_syntaxes");
}

/// Issue promise 9: objects that are no X-ray and no CT.
#[test]
fn other_objects_are_skipped_by_name() {
    check_both("other");
}

/// Issue promise 9: objects made to break readers.
#[test]
fn malformed_objects_are_refused_by_what_was_found() {
    check_both("malformed");
}
