//! Values read from files, and read again when the files change.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one state of a file from another. Kubernetes swaps links to folders: the file behind the name is another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    /// When anything about it changed, its mode, too.
    changed: (i64, i64),
    size_bytes: u64,
    inode: u64,
}

type Read<T, E> = Box<dyn Fn() -> Result<T, E> + Send + Sync>;

/// A value read from files. Files that cannot be used any more leave the value as it was, with a line in the log.
pub(crate) struct Watched<T, E> {
    what: &'static str,
    files: Vec<PathBuf>,
    read: Read<T, E>,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    value: Arc<T>,
    stamps: Vec<Option<Stamp>>,
    looked_at: Instant,
    /// The files as they are now cannot be used.
    is_outdated: bool,
}

impl<T, E: std::fmt::Display> Watched<T, E> {
    /// Reads `what` for the first time.
    ///
    /// # Errors
    /// What `read` finds wrong: at the start there is nothing to fall back on.
    pub(crate) fn open(
        what: &'static str,
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let stamps = stamps(&files);
        let held = Held { value: Arc::new(read()?), stamps, looked_at: Instant::now(), is_outdated: false };
        Ok(Self { what, files, read: Box::new(read), held: Mutex::new(held) })
    }

    /// The value, read again where the files changed. At most once a second the disk is looked at.
    pub(crate) fn get(&self) -> Arc<T> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked_at.elapsed() >= LOOK_EVERY {
            held.looked_at = Instant::now();
            // Before the read: a file written in the middle of it has another stamp afterwards.
            let stamps = stamps(&self.files);
            if stamps != held.stamps {
                held.stamps = stamps;
                let read = (self.read)();
                held.is_outdated = read.is_err();
                match read {
                    Ok(value) => {
                        held.value = Arc::new(value);
                        tracing::info!(what = self.what, "read again");
                    }
                    Err(error) => tracing::error!(what = self.what, %error, "changed files not taken up"),
                }
            }
        }
        Arc::clone(&held.value)
    }

    /// Whether the value is of files that changed since and cannot be used as they are.
    pub(crate) fn is_outdated(&self) -> bool {
        drop(self.get());
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_outdated
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |file: &PathBuf| {
        let held = std::fs::metadata(file).ok()?;
        let changed = (held.ctime(), held.ctime_nsec());
        Some(Stamp { modified: held.modified().ok(), changed, size_bytes: held.len(), inode: held.ino() })
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_taken_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        std::fs::write(&file, "1").unwrap();
        let path = file.clone();
        let read = move || {
            std::fs::read_to_string(&path).map_err(|e| e.to_string())?.parse::<u32>().map_err(|e| e.to_string())
        };
        let watched = Watched::open("number", vec![file.clone()], read).unwrap();
        assert_eq!(*watched.get(), 1);
        for (text, expected) in [("22", 22), ("broken", 22), ("3", 3)] {
            std::fs::write(&file, text).unwrap();
            std::thread::sleep(LOOK_EVERY);
            assert_eq!((*watched.get(), watched.is_outdated()), (expected, text == "broken"), "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        std::thread::sleep(LOOK_EVERY);
        assert_eq!((*watched.get(), watched.is_outdated()), (3, true));
    }
}
