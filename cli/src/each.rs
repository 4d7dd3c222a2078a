//! A command on several things: what goes wrong with one does not keep the others from being done.

use tonic::Status;

use crate::client::{is_away, plain};
use crate::progress::note;
use crate::table;

/// How many there are, and with how many something went wrong.
pub(crate) struct Each {
    all: usize,
    failed: usize,
    thing: &'static str,
}

impl Each {
    /// So many things of that name.
    pub(crate) fn of(all: usize, thing: &'static str) -> Self {
        Self { all, failed: 0, thing }
    }

    /// Tells that it was not done for one. An error where it is not worth going on: it is the only one, or nobody answers.
    pub(crate) fn failed(&mut self, name: &str, status: Status) -> anyhow::Result<()> {
        let is_over = self.all == 1 || is_away(&status);
        let why = plain(status);
        if is_over {
            return Err(why);
        }
        self.left(name, &format!("{why:#}"));
        Ok(())
    }

    /// Tells why it was not done for one.
    pub(crate) fn left(&mut self, name: &str, why: &str) {
        self.failed += 1;
        note(&format!("{}: {}", table::cell(name, 80), table::cell(why, 300)));
    }

    /// The error where it was not done for all.
    pub(crate) fn finish(self, done: &str) -> anyhow::Result<()> {
        let Self { all, failed, thing } = self;
        anyhow::ensure!(failed == 0, "{failed} of {} not {done}, each with its reason above", table::count(all, thing));
        Ok(())
    }
}
