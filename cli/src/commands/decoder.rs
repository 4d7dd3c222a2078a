//! `prelim decoder`: the process in which pixels from outside are decoded.

use clap::Args;

/// Decode pixels for a parent process, on stdin and stdout, with little memory and no files.
#[derive(Debug, Args)]
pub(crate) struct Decoder {}

impl Decoder {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        Ok(prelim_imaging::sandbox::serve_stdio()?)
    }
}
