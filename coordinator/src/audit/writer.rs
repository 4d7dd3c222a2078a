//! The thread that writes the audit: lines that wait together are written together, and on the disk before they are answered.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};

use super::chain::{self, Link};
use super::event::{Event, Record};
use super::{AuditError, files};

/// Events that are written together at most.
const BATCH: usize = 256;

/// Events that wait, each with whom to tell that they are on the disk.
pub(super) type Waiting = (Vec<Event>, oneshot::Sender<bool>);

/// The file that is written to, and where the chain stands.
pub(super) struct Writer {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    max_bytes: u64,
    last: Link,
    /// A write ended in the middle; what it left is cut off before the next.
    torn: bool,
}

impl Writer {
    /// Goes on with the file at `path`, whose whole lines are `size_bytes` long and end at `last`. It is locked: one
    /// coordinator writes to it.
    pub(super) fn open(path: &Path, size_bytes: u64, last: Link, max_bytes: u64) -> Result<Self, AuditError> {
        let file = open(path).map_err(|source| AuditError::File { file: path.to_owned(), source })?;
        file.try_lock().map_err(|_| AuditError::InUse(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), file, size_bytes, max_bytes, last, torn: true })
    }

    /// Writes what comes until nobody can send any more.
    pub(super) fn run(mut self, mut events: mpsc::Receiver<Waiting>) {
        let mut waiting = Vec::new();
        while events.blocking_recv_many(&mut waiting, BATCH) > 0 {
            let written = self.write(waiting.iter().flat_map(|(events, _)| events));
            if let Err(error) = &written {
                tracing::error!(%error, file = %self.path.display(), "audit not written");
            }
            for (_, told) in waiting.drain(..) {
                // Who no longer waits was given up; the record stands.
                let _ = told.send(written.is_ok());
            }
        }
    }

    /// Writes events, all or none, and has them on the disk when it returns.
    pub(super) fn write<'a>(&mut self, events: impl Iterator<Item = &'a Event>) -> io::Result<()> {
        self.find_again()?;
        if self.size_bytes >= self.max_bytes {
            self.rotate()?;
        }
        if self.torn {
            self.file.set_len(self.size_bytes)?;
        }
        let mut last = self.last.clone();
        let mut text = String::new();
        for event in events {
            let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            let record = Record::new(event, last.seq + 1, at, &last.digest);
            let (line, digest) = chain::seal(&serde_json::to_string(&record)?);
            last = Link { seq: last.seq + 1, digest };
            text.push_str(&line);
            text.push('\n');
        }
        self.torn = true;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.torn = false;
        self.size_bytes += text.len() as u64;
        self.last = last;
        Ok(())
    }

    /// Goes on in a new file where another hand (logrotate, an operator) moved or removed the one written to: lines in a file
    /// without a name would be lost. The chain goes on, so that the moved file and the new one still fit. In one that was emptied
    /// or cut short it goes on, too; after a cut, the lines that are missing leave a break that `verify` finds.
    fn find_again(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let is_ours = match fs::metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        let what = match (is_ours, ours.len()) {
            (true, held) if held >= self.size_bytes => return Ok(()),
            (true, 0) => "emptied by another hand; the chain goes on in it after this line",
            (true, _) => {
                "cut short by another hand: the lines up to this one are lost, and `prelim audit verify` finds the break"
            }
            (false, _) => "moved or removed by another hand; the chain goes on in a new one after this line",
        };
        if !is_ours {
            if self.torn {
                self.file.set_len(self.size_bytes)?;
            }
            let file = open(&self.path)?;
            file.try_lock()?;
            self.file = file;
        }
        // What lies there is left as it is, and told by `verify` where it does not fit.
        (self.size_bytes, self.torn) = (self.file.metadata()?.len(), false);
        let (file, seq, digest) = (self.path.display(), self.last.seq, &self.last.digest);
        tracing::error!(%file, seq, %digest, "audit file {what}");
        sync_folder(&self.path)
    }

    /// Puts a full file beside, under the next number, and begins another, in which the chain goes on.
    fn rotate(&mut self) -> io::Result<()> {
        let full = files::next_full(&self.path)?;
        if self.torn {
            self.file.set_len(self.size_bytes)?;
        }
        fs::rename(&self.path, &full)?;
        self.file = open(&self.path)?;
        self.file.try_lock()?;
        (self.size_bytes, self.torn) = (0, false);
        sync_folder(&full)?;
        tracing::warn!(file = %full.display(), seq = self.last.seq, digest = %self.last.digest, "audit file full, and kept");
        Ok(())
    }
}

/// Has the names in a file's folder on the disk, too.
fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Opens a file to be added to; others than its owner may not read it.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
