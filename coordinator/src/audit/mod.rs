//! The audit: a record of each refusal and of each access to a study, apart from the logs.
//!
//! # Layout
//! - [`Audit`]: where events go; [`Event`] and [`Act`]: what they are, in the codes of PS3.15 Annex A.5
//! - [`chain`]: the lines' chain of digests (pure); `files`: the files, and [`verify`]
//! - `writer`: the thread that writes
//!
//! **Invariant**: what was answered for is on the disk; an access that cannot be recorded is not granted.
//! **Invariant**: no token or key is in a line, and no patient attribute but those that somebody looked for; studies are named by
//! UID.

pub mod chain;
mod event;
mod files;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

pub use event::{Act, Code, Event};
pub use files::{Verified, find, verify};

use chain::Link;
use writer::{Waiting, Writer};

/// What the file is called beside the data, where no other is named.
pub const FILE: &str = "audit.jsonl";
/// A file larger than this is full.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Callers that may wait for the disk.
const QUEUE: usize = 1_024;
/// Refusals are told in the log at most this often; the audit has them all.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// An audit that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file cannot be read or written.
    #[error("audit file {file}: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not as it was written.
    #[error("audit file {file}: {broken}")]
    Changed {
        /// The file.
        file: PathBuf,
        /// The first line that does not fit.
        broken: chain::Broken,
    },
    /// Another coordinator writes to it.
    #[error("audit file {0} is in use by another coordinator; give each its own with --audit")]
    InUse(PathBuf),
    /// The thread could not be started.
    #[error("audit thread: {0}")]
    Thread(std::io::Error),
}

/// An event was not recorded: the disk is full or gone. The log says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event not recorded")]
pub struct NotRecorded;

/// Where events go: to a file, or nowhere where none was asked for. Clones share it.
#[derive(Clone, Default)]
pub struct Audit {
    events: Option<mpsc::Sender<Waiting>>,
    refusals: Arc<Refusals>,
}

impl Audit {
    /// Goes on with the audit at `path`, or begins one.
    ///
    /// # Errors
    /// [`AuditError::Changed`] where the chain is broken, unless `set_aside`: then its files are put into a folder beside, a
    /// new chain begins, and its first line says so.
    pub fn open(path: &Path, set_aside: bool) -> Result<Self, AuditError> {
        Self::with_limit(path, set_aside, MAX_FILE_BYTES)
    }

    fn with_limit(path: &Path, set_aside: bool, max_bytes: u64) -> Result<Self, AuditError> {
        let unusable = |source| AuditError::File { file: path.to_owned(), source };
        let mut first = Event::of(Act::Started);
        let (size_bytes, last) = match resume(path) {
            Ok((followed, last)) => {
                first.reason = followed.torn.then(|| "a line that a crash cut short was removed".to_owned());
                (followed.whole_bytes, last)
            }
            Err(AuditError::Changed { file, broken }) if set_aside => {
                let aside = files::set_aside(path).map_err(unusable)?;
                tracing::error!(file = %file.display(), %broken, aside = %aside.display(), "changed audit set aside");
                first = Event { reason: Some(format!("{}: {broken}", file.display())), ..Event::of(Act::SetAside) };
                (0, Link::genesis())
            }
            Err(error) => return Err(error),
        };
        // Outside of the file, so that a file that was cut short or written anew can be told.
        tracing::warn!(seq = last.seq, digest = %last.digest, "audit goes on after this line");
        let mut writer = Writer::open(path, size_bytes, last, max_bytes)?;
        writer.write(std::iter::once(&first)).map_err(unusable)?;
        let (events, waiting) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("audit".to_owned());
        thread.spawn(move || writer.run(waiting)).map_err(AuditError::Thread)?;
        Ok(Self { events: Some(events), refusals: Arc::default() })
    }

    /// Records events, all or none of them. They are on the disk when this returns.
    pub async fn record(&self, events: Vec<Event>) -> Result<(), NotRecorded> {
        let Some(queue) = &self.events else { return Ok(()) };
        let (told, answer) = oneshot::channel();
        queue.send((events, told)).await.map_err(|_| NotRecorded)?;
        if answer.await.unwrap_or(false) { Ok(()) } else { Err(NotRecorded) }
    }

    /// Records something that was refused, and tells the log of it now and then. It stays refused if that does not work.
    pub async fn refused(&self, event: Event) {
        let address = event.address.map(|address| address.ip().to_string()).unwrap_or_default();
        let reason = event.reason.clone().unwrap_or_default();
        if let Some(untold) = self.refusals.tell() {
            tracing::warn!(%address, %reason, untold, "refused");
        }
        let _ = self.record(vec![event]).await;
    }
}

/// The place after which the file at `path` goes on: after its last line, or after that of the newest full file.
fn resume(path: &Path) -> Result<(chain::Followed, Link), AuditError> {
    let unusable = |source| AuditError::File { file: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(unusable)?;
    }
    let before = match files::full(path).map_err(unusable)?.pop() {
        Some(newest) => files::follow(&newest, None)?.last,
        None => None,
    };
    let followed = if path.exists() {
        files::follow(path, before.as_ref())?
    } else {
        chain::Followed { before: None, last: before, lines: 0, whole_bytes: 0, torn: false }
    };
    let last = followed.last.clone().unwrap_or(Link::genesis());
    Ok((followed, last))
}

/// How often refusals were told in the log.
#[derive(Default)]
struct Refusals {
    told_at: std::sync::Mutex<Option<Instant>>,
    untold: AtomicU64,
}

impl Refusals {
    /// How many were not told since the last that was; nothing where this one is not told either.
    fn tell(&self) -> Option<u64> {
        let mut told_at = self.told_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told_at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *told_at = Some(Instant::now());
        Some(self.untold.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: &str) -> Event {
        Event { reason: Some(reason.to_owned()), ..Event::of(Act::LoginRefused) }
    }

    async fn closed(audit: Audit, path: &Path) {
        drop(audit);
        // The thread ends when the last sender is gone, and then lets go of the lock.
        while std::fs::File::open(path).unwrap().try_lock().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn the_chain_goes_on_over_restarts_and_full_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for life in 0..3 {
            let audit = Audit::with_limit(&path, false, 1_000).unwrap();
            for event in 0..5 {
                audit.record(vec![refused(&format!("{life} {event}"))]).await.unwrap();
            }
            closed(audit, &path).await;
        }
        let verified = verify(&path).unwrap();
        assert_eq!((verified.lines, verified.first, verified.last.seq), (18, 1, 18));
        assert!(verified.files > 2, "{verified:?}");
        // A digest that was kept elsewhere is there still, unless its line was cut off.
        assert_eq!(find(&path, &verified.last.digest).unwrap(), Some(18));
        assert_eq!(find(&path, chain::GENESIS).unwrap(), None);
        let text = std::fs::read_to_string(&path).unwrap();
        let cut = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
        std::fs::write(&path, &text[..cut]).unwrap();
        assert_eq!(verify(&path).unwrap().last.seq, 17);
        assert_eq!(find(&path, &verified.last.digest).unwrap(), None);
        let oldest = files::full(&path).unwrap().remove(0);
        std::fs::remove_file(&oldest).unwrap();
        assert!(verify(&path).unwrap().first > 1, "the oldest files may be taken away");
    }

    #[tokio::test]
    async fn a_changed_file_stops_the_start_unless_it_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path, false).unwrap();
        assert!(matches!(Audit::open(&path, false), Err(AuditError::InUse(_))));
        audit.record(vec![refused("one"), refused("two")]).await.unwrap();
        closed(audit, &path).await;
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("one", "none")).unwrap();
        let Err(AuditError::Changed { broken, .. }) = Audit::open(&path, false) else { panic!("taken") };
        assert_eq!(broken.line, 2);
        closed(Audit::open(&path, true).unwrap(), &path).await;
        assert_eq!(verify(&path).unwrap().lines, 1);
        assert!(std::fs::read_to_string(&path).unwrap().contains("line 2 was changed"));
        let aside = folder.path().join("audit.jsonl.changed-1/audit.jsonl");
        assert!(matches!(verify(&aside), Err(AuditError::Changed { .. })));
    }

    #[tokio::test]
    async fn a_torn_line_is_cut_off_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        closed(Audit::open(&path, false).unwrap(), &path).await;
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"seq\":2,"].concat()).unwrap();
        closed(Audit::open(&path, false).unwrap(), &path).await;
        assert_eq!(verify(&path).unwrap().lines, 2);
        assert!(std::fs::read_to_string(&path).unwrap().contains("cut short"));
    }

    #[tokio::test]
    async fn a_file_that_another_hand_took_is_begun_anew_and_the_chain_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let moved = folder.path().join("audit.jsonl.1");
        let audit = Audit::open(&path, false).unwrap();
        audit.record(vec![refused("one")]).await.unwrap();
        std::fs::rename(&path, &moved).unwrap();
        audit.record(vec![refused("two"), refused("three")]).await.unwrap();
        let (first, second) = (verify(&moved).unwrap(), verify(&path).unwrap());
        assert_eq!((first.last.seq, second.first, second.last.seq), (2, 3, 4));
        assert!(files::follow(&path, Some(&first.last)).is_ok(), "the new file goes on where the moved one ends");
        std::fs::remove_file(&path).unwrap();
        audit.record(vec![refused("four")]).await.unwrap();
        assert_eq!(verify(&path).unwrap().first, 5);
        // As logrotate's copytruncate does.
        std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        audit.record(vec![refused("five")]).await.unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with('{'));
        // Another coordinator cannot take what this one writes to, and a restart goes on.
        assert!(matches!(Audit::open(&path, false), Err(AuditError::InUse(_))));
        closed(audit, &path).await;
        closed(Audit::open(&path, false).unwrap(), &path).await;
        let verified = verify(&path).unwrap();
        assert_eq!((verified.first, verified.last.seq), (6, 7));
    }

    #[test]
    fn repeated_refusals_are_counted_in_the_log() {
        let refusals = Refusals::default();
        assert_eq!(refusals.tell(), Some(0));
        assert_eq!((refusals.tell(), refusals.tell()), (None, None));
        *refusals.told_at.lock().unwrap() = None;
        assert_eq!(refusals.tell(), Some(2));
    }
}
