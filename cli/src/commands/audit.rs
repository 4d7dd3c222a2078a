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
    /// The chain has no key: it shows accidents, and hands that changed some lines. Who may write the file can cut lines off its
    /// end, or write it anew from some line on with digests that fit. Against that, keep the last digest on another machine now
    /// and then, and give it with --expect: the chain must still have it. The coordinator's log tells the last digest at each
    /// start, too.
    #[command(
        after_help = "Example:\n  prelim audit verify /var/lib/prelim/audit.jsonl\n  prelim audit verify audit.jsonl --expect DIGEST    # the last one that was kept elsewhere"
    )]
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    /// The file that the coordinator writes to.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A digest that was the last one once, from a place where nobody changes it: that line must still be there.
    #[arg(long, value_name = "DIGEST")]
    expect: Option<String>,
    /// For programs: a JSON object.
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Command::Verify(Verify { file, expect, json }) = self.command;
        let found = prelim_coordinator::audit::verify(&file).context("the audit does not hold")?;
        anyhow::ensure!(
            found.lines > 0,
            "the audit does not hold: {} has no lines, and a coordinator writes one when it starts: they were taken out",
            file.display()
        );
        let expected = match &expect {
            Some(digest) => Some(prelim_coordinator::audit::find(&file, digest)?.with_context(|| {
                format!("the audit does not hold: no line has the digest {digest}: lines were cut off or written anew, or the file that has it was taken away")
            })?),
            None => None,
        };
        if json {
            let (first, last) = (found.first, &found.last);
            return table::say(json!({
                "files": found.files, "lines": found.lines, "first": first, "last": last.seq, "digest": last.digest,
                "torn": found.torn, "expected": expected,
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
        table::say_if(expected.map(|number| format!("the digest that was expected is that of number {number}")))?;
        table::say(format!("last digest {} (keep it elsewhere, for --expect)", found.last.digest))
    }
}
