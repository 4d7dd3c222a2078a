//! Who may use what.
//!
//! `proto ← imaging ← {coordinator, worker}`, the worker also on `kernels`, the command line on all, the tests on all and nothing
//! on them. Within the worker, `engine → model → kernels`, and neither knows DICOM, jobs or gRPC.

use std::fs;
use std::path::Path;

use prelim_tests::repository;
use prelim_tests::source::code_only;
use prelim_tests::workspace::{self, Package};

/// What each crate may depend on, of ours, and what it must not depend on, of others'. A name ending in `*` is a prefix. The two
/// roles keep their settings as clap structs beside what they configure (one text for flag, variable and help).
const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("prelim-proto", &[], &["dicom*", "anyhow", "clap", "redb"]),
    ("prelim-imaging", &["prelim-proto"], &["tokio*", "tonic*", "prost*", "anyhow", "clap"]),
    ("prelim-kernels", &[], &["tokio*", "tonic*", "prost*", "dicom*", "serde*", "anyhow", "clap"]),
    ("prelim-coordinator", &["prelim-proto", "prelim-imaging"], &["anyhow", "tokenizers", "gemm"]),
    ("prelim-worker", &["prelim-proto", "prelim-imaging", "prelim-kernels"], &["anyhow", "redb", "object_store"]),
    ("prelim", &["prelim-proto", "prelim-imaging", "prelim-kernels", "prelim-coordinator", "prelim-worker"], &[]),
    ("prelim-tests", &["prelim-proto", "prelim-imaging", "prelim-kernels", "prelim-coordinator", "prelim-worker"], &[]),
];

/// Folders whose code must not name certain paths, with the reason.
const FOLDERS: &[(&str, &[&str], &str)] = &[
    (
        "worker/src/engine",
        &["prelim_imaging", "prelim_proto", "dicom_", "tonic", "crate::job", "crate::lease", "crate::fetch"],
        "the engine knows requests in time, not DICOM, jobs or gRPC",
    ),
    (
        "worker/src/model",
        &["prelim_imaging", "prelim_proto", "dicom_", "tonic", "tokio", "crate::engine", "crate::job", "crate::lease"],
        "the model knows tensors, and nothing above it",
    ),
    ("kernels/src", &["prelim_", "dicom_", "tonic", "tokio"], "kernels are arithmetic"),
    ("imaging/src", &["tonic", "tokio", "prost"], "imaging reads bytes; it serves nobody"),
    (
        "coordinator/src/report",
        &["std::fs", "std::net", "std::time", "SystemTime", "rand::", "tokio"],
        "report writers are pure",
    ),
];

/// Ways to make a gRPC status.
const STATUS_MAKERS: &[&str] = &[
    "Status::new(",
    "Status::with_",
    "Status::cancelled(",
    "Status::unknown(",
    "Status::invalid_argument(",
    "Status::deadline_exceeded(",
    "Status::not_found(",
    "Status::already_exists(",
    "Status::permission_denied(",
    "Status::resource_exhausted(",
    "Status::failed_precondition(",
    "Status::aborted(",
    "Status::out_of_range(",
    "Status::unimplemented(",
    "Status::internal(",
    "Status::unavailable(",
    "Status::data_loss(",
    "Status::unauthenticated(",
];

#[test]
fn crates_depend_only_downwards() {
    let packages = workspace::packages();
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut problems = Vec::new();
    for package in &packages {
        let Some((_, ours, forbidden)) = CRATES.iter().find(|(name, ..)| *name == package.name) else {
            problems.push(format!("{} is not in the table of this test", package.name));
            continue;
        };
        // What tests of a crate use may not turn the direction either.
        for dependency in package.dependencies.union(&package.test_dependencies) {
            if names.contains(&dependency.as_str()) && !ours.contains(&dependency.as_str()) {
                problems.push(format!("{} depends on {dependency}", package.name));
            }
        }
        for dependency in package.dependencies.iter().filter(|dependency| matches_any(dependency, forbidden)) {
            problems.push(format!("{} depends on {dependency}", package.name));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

fn matches_any(name: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| pattern.strip_suffix('*').map_or(name == *pattern, |prefix| name.starts_with(prefix)))
}

#[test]
fn folders_keep_to_their_own_rooms() {
    let mut problems = Vec::new();
    for (folder, words, reason) in FOLDERS {
        for (file, code) in sources(&repository().join(folder)) {
            for (number, line) in code.lines().enumerate() {
                if let Some(word) = words.iter().find(|word| names(line, word)) {
                    problems.push(format!("{file}:{}: {word}: {reason}", number + 1));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Whether `line` has `word` at the start of a path: not in the middle of a longer name.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn only_the_redis_store_names_redis() {
    for (file, code) in sources(repository()) {
        let redis = file.starts_with("coordinator/src/store/redis");
        // Our own module has the library's name.
        let code = code.replace("store::redis::", "");
        assert!(redis || !(code.contains("redis::") || code.contains("fred::")), "{file} uses Redis");
    }
    for package in workspace::packages().iter().filter(|package| package.name != "prelim-coordinator") {
        assert!(!package.dependencies.contains("redis"), "{} depends on redis", package.name);
    }
}

#[test]
fn one_file_a_crate_builds_grpc_statuses() {
    for package in workspace::packages() {
        let makers: Vec<String> = crate_sources(&package)
            .into_iter()
            .filter(|(_, code)| STATUS_MAKERS.iter().any(|maker| code.contains(maker)))
            .map(|(file, _)| file)
            .collect();
        assert!(makers.len() <= 1, "{} builds statuses in {makers:?}", package.name);
    }
}

#[test]
fn only_the_command_line_prints_exits_and_uses_anyhow() {
    let mut problems = Vec::new();
    for package in
        workspace::packages().iter().filter(|package| !matches!(package.name.as_str(), "prelim" | "prelim-tests"))
    {
        for (file, code) in crate_sources(package) {
            // A build script speaks to cargo on stdout.
            let words = ["anyhow::", "println!", "eprintln!", "print!(", "eprint!(", "process::exit", "dbg!("];
            for word in words.into_iter().filter(|word| names(&code, word)) {
                problems.push(format!("{file}: {word}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// The sources of a crate without its build script, and without the modules that are built for tests only.
fn crate_sources(package: &Package) -> Vec<(String, String)> {
    let all = sources(&package.folder.join("src"));
    let tests: Vec<String> = all.iter().flat_map(|(file, code)| test_modules(file, code)).collect();
    // A module may lie elsewhere (`#[path]`): then its file or folder is called `…_tests`.
    let is_named = |file: &str| file.split('/').any(|part| part.trim_end_matches(".rs").ends_with("_tests"));
    let is_test = |file: &str| {
        is_named(file)
            || tests.iter().any(|module| file == format!("{module}.rs") || file == format!("{module}/mod.rs"))
    };
    all.into_iter().filter(|(file, _)| !is_test(file)).map(|(file, code)| (file, without_inline_tests(&code))).collect()
}

/// The modules that `file` declares under `#[cfg(test)]`, as paths without their extension.
fn test_modules(file: &str, code: &str) -> Vec<String> {
    let path = Path::new(file);
    let root = matches!(path.file_name().and_then(|name| name.to_str()), Some("lib.rs" | "main.rs" | "mod.rs"));
    let folder = if root { path.parent().unwrap_or(path).to_owned() } else { path.with_extension("") };
    let declared = code.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let declaration = after.trim_start().trim_start_matches("pub(crate) ").strip_prefix("mod ")?;
        let (name, _) = declaration.split_once(';')?;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| folder.join(name).display().to_string())
    });
    declared.collect()
}

/// `code` up to its test module, which comes last.
fn without_inline_tests(code: &str) -> String {
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or(code).to_owned()
}

/// Files below `folder` with their code.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let read = |path: &Path| (workspace::shown(path), code_only(&fs::read_to_string(path).unwrap_or_default()));
    workspace::files(folder, &["rs"])
        .iter()
        .map(|path| read(path))
        .filter(|(file, _)| !file.starts_with("tests/"))
        .collect()
}
