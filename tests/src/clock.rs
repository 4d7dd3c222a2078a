//! A wall's clock that is wrong, for one process, as where a host's clock is set.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{repository, words};

/// The clock of one process: right until it is set.
#[derive(Debug, Clone)]
pub struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// The clock of this name, whose files are in `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        Self { library: folder.join("clock.so"), offset: folder.join(format!("{name}.clock")) }
    }

    /// What its process is started with. Sets it right, and compiles the library that makes it wrong (whoever links Rust
    /// has a C compiler).
    ///
    /// # Panics
    /// Where there is none.
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&self.library);
        let output = compiler.arg(repository().join("tests/src/clock.c")).output().expect("there is a C compiler");
        assert!(output.status.success(), "{}", words(&output));
        fs::write(&self.offset, [0; 16]).expect("a file");
        let variable = |name: &str, value: &Path| (name.to_owned(), value.display().to_string());
        vec![variable("LD_PRELOAD", &self.library), variable("CHAOS_CLOCK", &self.offset)]
    }

    /// Sets it to be wrong by so many seconds.
    ///
    /// # Panics
    /// Where its file is gone.
    pub fn set(&self, by_s: i64) {
        self.write(0, by_s);
    }

    /// Lets so many seconds go by, for whatever its process measures time with.
    ///
    /// # Panics
    /// Where its file is gone.
    pub fn pass(&self, by_s: i64) {
        self.write(8, by_s);
    }

    fn write(&self, at: u64, by_s: i64) {
        // In place: the process has the file in its memory.
        let file = File::options().write(true).open(&self.offset).expect("a file");
        file.write_all_at(&by_s.to_ne_bytes(), at).expect("a file");
    }
}
