//! Tables for people.

use std::io::{IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use prelim_proto::v1::{Study, StudyState};

/// Columns of a table where there is no terminal to ask.
const WIDTH: u16 = 120;

/// A table without lines between columns, fitted to the terminal where there is one.
pub(crate) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    table
}

/// Writes a line of data to stdout; a closed pipe ends the output, not the program.
pub(crate) fn say(text: impl std::fmt::Display) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// The state of a study in a word, with its reason where it has one.
pub(crate) fn state(study: &Study) -> String {
    let word = prelim_proto::study::StudyState::try_from(study.state()).map_or("unknown", |state| state.as_str());
    match (&study.state_reason, study.state()) {
        (Some(reason), StudyState::Failed | StudyState::Cancelled) => format!("{word}: {reason}"),
        _ => word.to_owned(),
    }
}

/// Jobs finished of all, or nothing before the study is partitioned.
pub(crate) fn jobs(study: &Study) -> String {
    if study.jobs_total == 0 { String::new() } else { format!("{}/{}", study.jobs_finished, study.jobs_total) }
}
