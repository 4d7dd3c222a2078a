//! The binary `prelim`: every role, and the client commands.
//!
//! # Layout
//! - [`arguments`]: what is taken from the environment
//! - [`commands`]: one file a command, each a clap struct with its `run`
//! - [`client`]: connecting to a coordinator, and its errors in plain words
//! - [`stack`]: a coordinator and a worker in this process, for `up`, `demo`, `eval` and `bench`
//! - [`cluster`]: coordinators as processes, for `bench queue`
//! - [`drafts`]: drafts as a client fetches them
//! - [`each`]: a command on several things
//! - [`files`]: finding and writing files; [`upload`]: sending them; [`follow`]: waiting for what becomes of them
//! - [`first_account`]: who signs in to the page of a machine of one's own
//! - [`live`]: the cluster on a terminal, as it changes
//! - [`machine`]: what this machine is, and the memory in use
//! - [`png_file`]: pictures for commands that take some
//! - [`progress`], [`table`]: what people see on a terminal
//! - [`phantom`]: studies made by formulae, with their truth
//! - [`telemetry`]: traces to a collector
//! - [`score`]: drafts against truth; [`engine_bench`]: passes of the model, beside those of other programs
//!
//! **Invariant**: only this crate prints, and only `main` decides the exit code.
//! **Invariant**: stdout is for data, stderr for logs, progress and errors.

mod arguments;
mod client;
mod cluster;
mod commands;
mod drafts;
mod each;
mod edit;
mod engine_bench;
mod files;
mod first_account;
mod follow;
mod live;
mod machine;
mod phantom;
mod png_file;
mod progress;
mod score;
mod stack;
mod table;
mod telemetry;
mod upload;

use std::io::IsTerminal as _;
use std::process::ExitCode;

/// A coordinator's work is small allocations on many threads, of which this makes less than the system's does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    init_tracing(arguments.log_json);
    match arguments.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has enough of it.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Logs go to stderr; `PRELIM_LOG` filters them (`info`, `prelim_worker=debug`, …).
fn init_tracing(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PRELIM_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if json { builder.json().init() } else { builder.compact().init() }
}

/// One line on stderr: what was found, and what led to it.
#[allow(clippy::print_stderr, reason = "the one place that tells the user of an error")]
fn report_error(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some errors say their cause themselves.
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    eprintln!("prelim: {}", prelim_coordinator::report::present::clean(&text));
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
