//! `prelim audit`: the record of who did what.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::table;

/// Check the record of who did what, as a coordinator writes it with --audit.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim audit verify /var/lib/prelim/audit.jsonl")]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow the chain of digests through a file, and the full ones beside it; say the first line that was changed.
    ///
    /// The chain cannot show lines cut off at the end: hold the last digest against the one that the coordinator wrote to
    /// its log when it last started.
    #[command(after_help = "Example:\n  prelim audit verify /var/lib/prelim/audit.jsonl")]
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    /// The file that the coordinator writes to.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For programs: a JSON object.
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Command::Verify(Verify { file, json }) = self.command;
        let found = prelim_coordinator::audit::verify(&file).context("the audit does not hold")?;
        if json {
            let (first, last) = (found.first, &found.last);
            return table::say(json!({
                "files": found.files, "lines": found.lines, "first": first, "last": last.seq, "digest": last.digest,
                "torn": found.torn,
            }));
        }
        let (lines, files) = (table::count(found.lines, "line"), table::count(found.files, "file"));
        table::say(format!("the chain holds: {lines} in {files}, numbers {} to {}", found.first, found.last.seq))?;
        if found.first > 1 {
            table::say(format!("lines before number {} are not here", found.first))?;
        }
        if found.torn {
            table::say("a line that a crash cut short, or that is being written, comes after them")?;
        }
        table::say(format!("last digest {}", found.last.digest))
    }
}
