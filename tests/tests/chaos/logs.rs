//! What processes said: JSON lines of tracing, and whatever else came with them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Errors that a coordinator without its store says, and no others: each names a task that goes on when the store is back.
const EXPECTED_ERRORS: &[&str] =
    &["no work for those who wait", "merge failed", "expired leases", "waiting studies", "housekeeping"];
/// What those errors must be about.
const EXPECTED_REASONS: &[&str] = &["the store cannot be reached"];

/// One line of tracing.
pub(crate) struct Event {
    /// What it says in full.
    pub(crate) line: Value,
}

impl Event {
    /// Its level.
    pub(crate) fn level(&self) -> &str {
        self.line["level"].as_str().unwrap_or_default()
    }

    /// Its message.
    pub(crate) fn message(&self) -> &str {
        self.field("message")
    }

    /// One of its fields.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.line["fields"][name].as_str().unwrap_or_default()
    }
}

/// The events in a log.
pub(crate) fn events(log: &Path) -> Vec<Event> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["level"].is_string()).map(|line| Event { line }).collect()
}

/// How many events in the logs have this message.
pub(crate) fn count(logs: &[PathBuf], message: &str) -> usize {
    logs.iter().flat_map(|log| events(log)).filter(|event| event.message() == message).count()
}

/// Everything in the logs that nobody should have to say, whatever breaks: panics, errors that are not about an absent
/// store, and jobs and queues that did not agree.
pub(crate) fn complaints(logs: &[PathBuf]) -> Vec<String> {
    let mut complaints = Vec::new();
    for log in logs {
        let name = log.file_stem().unwrap_or_default().display().to_string();
        let text = fs::read_to_string(log).unwrap_or_default();
        complaints.extend(text.lines().filter(|line| line.contains("panicked")).map(|line| format!("{name}: {line}")));
        for event in events(log) {
            let is_expected = EXPECTED_ERRORS.contains(&event.message())
                && EXPECTED_REASONS.iter().any(|reason| event.field("error").contains(reason));
            let mended = event.field("mended").chars().any(|c| ('1'..='9').contains(&c));
            if event.level() == "ERROR" && !is_expected || mended {
                complaints.push(format!("{name}: {}", event.line));
            }
        }
    }
    complaints
}
