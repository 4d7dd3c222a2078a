//! Tables for people.
//!
//! # Layout
//! - here: cells and rows
//! - [`intake`]: how a study came in, in a cell and as JSON

pub(crate) mod intake;

use std::io::{IsTerminal as _, Write as _};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, presets};
use prelim_coordinator::report::present::clean;
use prelim_proto::v1::{JobCounts, JobKind, Study, StudyState};

/// Columns of a table where there is no terminal to ask.
const WIDTH: u16 = 120;

/// A table with a line below its header and no others, fitted to the terminal where there is one.
pub(crate) fn new(header: &[&str]) -> Table {
    let line = LineStyle::none().fill('─').junction('─');
    fitted(TableStyle::new().header_separator(line), header)
}

/// A table with lines between its rows, for rows of several lines.
pub(crate) fn ruled(header: &[&str]) -> Table {
    fitted(presets::UTF8_HORIZONTAL_ONLY, header)
}

fn fitted(style: TableStyle, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(style).set_header(header);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    table
}

/// Keeps a column on one line, however narrow the terminal is.
pub(crate) fn keep_whole(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// Keeps every row on one line, which a narrow terminal breaks at its edge: what people copy from and `grep` in.
pub(crate) fn one_line_a_row(table: &mut Table) {
    table.set_content_arrangement(ContentArrangement::Disabled);
}

/// Puts numbers below each other.
pub(crate) fn align_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Text from a header or another machine, fit for a cell: without control characters, and at most so long.
pub(crate) fn cell(text: &str, most: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A number of things in words.
pub(crate) fn count(number: usize, thing: &str) -> String {
    let plural = match thing {
        _ if number == 1 => thing.to_owned(),
        "study" => "studies".to_owned(),
        _ => format!("{thing}s"),
    };
    format!("{number} {plural}")
}

/// Writes a line of data to stdout. Control characters do not reach the terminal. A closed pipe is an error, which ends the
/// program without a word.
pub(crate) fn say(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let text = text.to_string();
    let safe: String =
        text.chars().map(|c| if c.is_control() && !"\n\t".contains(c) { '\u{fffd}' } else { c }).collect();
    Ok(writeln!(std::io::stdout().lock(), "{safe}")?)
}

/// The same where there is something to say.
pub(crate) fn say_if(text: Option<impl std::fmt::Display>) -> anyhow::Result<()> {
    text.map_or(Ok(()), say)
}

/// The state of a study in a word, with its reason where it has one.
pub(crate) fn state(study: &Study) -> String {
    let word = prelim_proto::study::StudyState::try_from(study.state()).map_or("unknown", |state| state.as_str());
    match (&study.state_reason, study.state()) {
        (None, _) | (Some(_), StudyState::Drafted) => word.to_owned(),
        (Some(reason), _) => format!("{word}: {}", cell(reason, 300)),
    }
}

/// Jobs finished of all, or nothing before the study is partitioned.
pub(crate) fn jobs(study: &Study) -> String {
    if study.jobs_total == 0 { String::new() } else { format!("{}/{}", study.jobs_finished, study.jobs_total) }
}

/// Kinds of job in words.
pub(crate) fn kinds(wire: &[i32]) -> String {
    let word = |kind: &i32| match JobKind::try_from(*kind) {
        Ok(JobKind::ReadXray) => "X-ray",
        Ok(JobKind::ReadCt) => "CT",
        Ok(JobKind::Merge) => "merge",
        Ok(JobKind::Answer) => "questions",
        _ => "?",
    };
    wire.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// A length of time, in the unit that fits.
pub(crate) fn spell(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// Read jobs of all kinds.
pub(crate) fn reads(counts: &Option<JobCounts>) -> usize {
    counts.map_or(0, |counts| counts.xray + counts.ct) as usize
}
