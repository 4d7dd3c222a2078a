//! What the documents tell people to type, and lead them to, exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use prelim_tests::workspace::{files, shown};
use prelim_tests::{prelim, repository, words};

/// Every document of the repository with its text, README.md among them.
fn documents() -> Vec<(PathBuf, String)> {
    let found: Vec<_> = files(repository(), &["md"])
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", shown(&path)));
            (path, text)
        })
        .collect();
    assert!(found.iter().any(|(path, _)| *path == repository().join("README.md")), "README.md is not among them");
    found
}

/// Every command line of `prelim` in the documents: in console blocks, and in code spans.
fn commands() -> Vec<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for (_, text) in documents() {
        let mut fenced = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            } else if fenced {
                lines.push(line.to_owned());
            } else {
                lines.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
            }
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
fn commands_in_the_documents_exist() {
    let commands = commands();
    assert!(!commands.is_empty(), "the documents name no command");
    for arguments in &commands {
        let line = arguments.join(" ");
        let name = &arguments[0];
        // "prelim COMMAND --help" stands for any.
        if name.starts_with('-') || name.chars().all(char::is_uppercase) {
            continue;
        }
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

/// Headings of a document as GitHub makes anchors of them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        })
        .collect()
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut seen = 0;
    for (path, text) in documents() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            let said = format!("{}: {target}", shown(&path));
            assert!(to.exists(), "{said} is not there");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&to).unwrap_or_else(|error| panic!("{said}: {error}"));
                assert!(anchors(&text).contains(anchor), "{said}: no such heading");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} links were found");
}

#[test]
fn scripts_and_folders_in_the_readme_exist() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    for path in readme.split('`').skip(1).step_by(2).filter(|span| span.ends_with('/') && !span.contains(' ')) {
        assert!(repository().join(path).exists(), "{path}");
    }
    assert!(readme.contains("tests/run") && repository().join("tests/run").exists());
}
