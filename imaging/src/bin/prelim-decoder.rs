//! A decoder process for the tests of this crate. The `prelim` binary serves the same under a subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    match prelim_imaging::sandbox::serve_stdio() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
