//! What the README tells people to type exists.

use std::collections::BTreeSet;
use std::fs;

use prelim_tests::{prelim, repository, words};

/// Every command line of `prelim` in the README: in console blocks, and in code spans.
fn commands() -> Vec<Vec<String>> {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    let mut lines: Vec<String> = Vec::new();
    let mut fenced = false;
    for line in readme.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            lines.push(line.to_owned());
        } else {
            lines.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    lines.iter().filter_map(|line| prelim_arguments(line)).collect()
}

/// The arguments where `line` runs prelim, by name or through cargo; without a prompt and a trailing comment.
fn prelim_arguments(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ");
    let line = line.split(" #").next()?.trim();
    let arguments = line
        .strip_prefix("prelim ")
        .or_else(|| line.strip_prefix("cargo run --release -- "))
        .or_else(|| line.strip_prefix("cargo run -r -- "))?;
    Some(arguments.split_whitespace().map(str::to_owned).collect())
}

/// What `prelim` says of itself.
fn help_of(arguments: &[&str]) -> String {
    let output = prelim(arguments);
    assert!(output.status.success(), "prelim {arguments:?}: {}", words(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn commands_in_the_readme_exist() {
    let commands = commands();
    assert!(!commands.is_empty(), "the README names no command");
    let top = help_of(&["--help"]);
    for arguments in &commands {
        let line = arguments.join(" ");
        let name = &arguments[0];
        // "prelim COMMAND --help" stands for any.
        if name.starts_with('-') || name.chars().all(char::is_uppercase) {
            continue;
        }
        assert!(has_word(&top, name), "`prelim {line}`: no command {name}");
        let mut help = help_of(&[name, "--help"]);
        // A command may have commands of its own.
        if let Some(second) = arguments.get(1).filter(|second| has_word(&help, second) && !second.starts_with('-')) {
            help.push_str(&help_of(&[name, second, "--help"]));
        }
        for flag in arguments.iter().skip(1).filter(|argument| argument.starts_with('-') && argument.len() > 1) {
            let flag = flag.split('=').next().unwrap_or(flag);
            assert!(has_word(&help, flag), "`prelim {line}`: {name} has no {flag}");
        }
    }
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '=')).any(|found| found == word)
}

#[test]
fn every_command_is_explained_with_an_example() {
    let names: BTreeSet<String> = commands().into_iter().map(|arguments| arguments[0].clone()).collect();
    for name in names.iter().filter(|name| name.starts_with(char::is_lowercase)) {
        let help = help_of(&[name, "--help"]);
        assert!(
            help.contains("Example") && help.contains(&format!("prelim {name}")),
            "prelim {name} --help has no example"
        );
    }
}

#[test]
fn scripts_and_folders_in_the_readme_exist() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    for path in readme.split('`').skip(1).step_by(2).filter(|span| span.ends_with('/') && !span.contains(' ')) {
        // The chart comes with a later version; the table says so.
        let announced = readme.lines().any(|line| line.contains(&format!("`{path}`")) && line.contains("(to come)"));
        assert!(announced || repository().join(path).exists(), "{path}");
    }
    assert!(readme.contains("tests/run") && repository().join("tests/run").exists());
}
