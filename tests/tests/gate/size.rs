//! Files stay small enough to be read.

use std::fs;

use prelim_tests::{repository, workspace};

/// Lines that no file may pass.
const LINES_MAX: usize = 700;

/// What people write. Lock files, schemas and data are written by programs.
const WRITTEN: &[&str] = &["rs", "cu", "cuh", "py", "proto", "css", "sh", "lua", "toml", "md", "ts", "tsx", "mjs"];

#[test]
#[allow(clippy::print_stdout, reason = "the distribution is worth a look: run with --nocapture")]
fn no_file_is_above_700_lines() {
    let mut sizes: Vec<(usize, String)> = workspace::files(repository(), WRITTEN)
        .iter()
        .filter_map(|path| Some((fs::read_to_string(path).ok()?.lines().count(), workspace::shown(path))))
        .collect();
    sizes.sort();
    let rust: Vec<usize> = sizes.iter().filter(|(_, file)| file.ends_with(".rs")).map(|(lines, _)| *lines).collect();
    let at = |share: usize| rust[(rust.len() - 1) * share / 100];
    println!("{} Rust files: median {} lines, 95th percentile {}, largest {}", rust.len(), at(50), at(95), at(100));
    for (lines, file) in sizes.iter().rev().take(5) {
        println!("{lines:>6} {file}");
    }
    let large: Vec<_> = sizes.iter().filter(|(lines, _)| *lines > LINES_MAX).collect();
    assert!(large.is_empty(), "above {LINES_MAX} lines: {large:#?}");
}
