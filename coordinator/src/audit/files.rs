//! The files of an audit: the one written to, and the full ones beside it, numbered.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::AuditError;
use super::chain::{self, Followed, Link};

/// Digits in the number of a full file.
const DIGITS: usize = 6;

/// The full files beside `current`, the oldest first.
pub(super) fn full(current: &Path) -> io::Result<Vec<PathBuf>> {
    let (folder, name) = parts(current);
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = file.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
        if let Some(number) = number.filter(|n| n.len() >= DIGITS).and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The name that `current` gets when it is full: after the newest of the full ones.
pub(super) fn next_full(current: &Path) -> io::Result<PathBuf> {
    let newest = full(current)?.pop();
    let number = newest.and_then(|path| path.extension()?.to_str()?.parse::<u64>().ok()).unwrap_or(0) + 1;
    Ok(beside(current, &format!("{number:0width$}", width = DIGITS)))
}

/// Moves all files of an audit into a folder beside it, and names the folder.
pub(super) fn set_aside(current: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    let folder = loop {
        let folder = beside(current, &format!("changed-{number}"));
        match fs::create_dir(&folder) {
            Ok(()) => break folder,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    let held = full(current)?.into_iter().chain(current.exists().then(|| current.to_owned()));
    for file in held {
        fs::rename(&file, folder.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(folder)
}

fn beside(current: &Path, end: &str) -> PathBuf {
    let (folder, name) = parts(current);
    folder.join(format!("{name}.{end}"))
}

fn parts(current: &Path) -> (&Path, String) {
    let folder = current.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (folder, current.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Follows the chain through one file.
pub(super) fn follow(path: &Path, after: Option<&Link>) -> Result<Followed, AuditError> {
    let unusable = |source| AuditError::File { file: path.to_owned(), source };
    let file = File::open(path).map_err(unusable)?;
    let followed = chain::follow(BufReader::new(file), after).map_err(unusable)?;
    followed.map_err(|broken| AuditError::Changed { file: path.to_owned(), broken })
}

/// A whole audit: the full files beside `current`, then `current`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Files looked at.
    pub files: usize,
    /// Lines in them.
    pub lines: usize,
    /// Number of the first line: above 1 where older files were taken away.
    pub first: u64,
    /// The last line.
    pub last: Link,
    /// A write that a crash cut short comes after it.
    pub torn: bool,
}

/// All files of the audit whose newest is `current`, the oldest first.
fn all(current: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let mut files = full(current).map_err(|source| AuditError::File { file: current.to_owned(), source })?;
    files.push(current.to_owned());
    Ok(files)
}

/// The number of the line of an audit that has this digest; nothing where none has.
///
/// # Errors
/// A file that cannot be read.
pub fn find(current: &Path, digest: &str) -> Result<Option<u64>, AuditError> {
    let unusable = |source| AuditError::File { file: current.to_owned(), source };
    for file in &all(current)? {
        for line in BufReader::new(File::open(file).map_err(unusable)?).lines() {
            let line = line.map_err(unusable)?;
            if let Some(seq) = chain::number_of(&line, digest) {
                return Ok(Some(seq));
            }
        }
    }
    Ok(None)
}

/// Follows the chain through all files of the audit whose newest is `current`.
///
/// # Errors
/// [`AuditError::Changed`] with the first line that does not fit.
pub fn verify(current: &Path) -> Result<Verified, AuditError> {
    let files = all(current)?;
    let mut verified = Verified { files: files.len(), lines: 0, first: 0, last: Link::genesis(), torn: false };
    let mut after = None;
    for file in &files {
        let followed = follow(file, after.as_ref())?;
        if verified.lines == 0 {
            verified.first = followed.before.as_ref().map_or(0, |link| link.seq) + 1;
        }
        verified.lines += followed.lines;
        verified.torn = followed.torn;
        after = followed.last.or(after);
    }
    verified.last = after.unwrap_or(Link::genesis());
    Ok(verified)
}
