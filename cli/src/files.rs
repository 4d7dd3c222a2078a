//! Files as the commands find and write them.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Files taken together; more are an error, so that a wrong folder is noticed.
const MAX_FILES: usize = 200_000;

/// Files below some folders.
pub(crate) struct Found {
    /// Those that can be opened, as far as a look tells, in order of path.
    pub(crate) files: Vec<PathBuf>,
    /// Files and folders that cannot be read, each with the reason.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
}

/// The files below `paths`, which are folders or files. Links are followed, but no folder is entered twice.
pub(crate) fn below(paths: &[PathBuf]) -> anyhow::Result<Found> {
    let mut files = Vec::new();
    let mut unreadable = Vec::new();
    let mut folders = Vec::new();
    // Links are followed, but no folder is entered twice: links may lead in circles.
    let mut entered = HashSet::new();
    for path in paths {
        let kind = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if kind.is_dir() { folders.push(path.clone()) } else { files.push(path.clone()) }
    }
    while let Some(folder) = folders.pop() {
        let entries = match fs::canonicalize(&folder).and_then(|real| Ok((real, fs::read_dir(&folder)?))) {
            Ok((real, entries)) if entered.insert(real.clone()) => entries,
            Ok(_) => continue,
            Err(error) => {
                unreadable.push((folder, format!("folder cannot be read: {error}")));
                continue;
            }
        };
        for entry in entries {
            let path = entry.with_context(|| format!("folder {} cannot be read", folder.display()))?.path();
            match fs::metadata(&path) {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => files.push(path),
                Ok(_) => unreadable.push((path, "neither a file nor a folder".to_owned())),
                Err(error) => unreadable.push((path, format!("cannot be read: {error}"))),
            }
            anyhow::ensure!(files.len() <= MAX_FILES, "more than {MAX_FILES} files; send smaller folders");
        }
    }
    anyhow::ensure!(!files.is_empty() || !unreadable.is_empty(), "no files in {}", paths[0].display());
    files.sort();
    Ok(Found { files, unreadable })
}

/// A folder for studies that goes away with what it is in, and that nobody else can read.
pub(crate) fn private_folder() -> std::io::Result<tempfile::TempDir> {
    own_by_nobody_else().tempdir()
}

/// The same in a folder, with a name that begins so.
pub(crate) fn private_folder_in(folder: &Path, prefix: &str) -> std::io::Result<tempfile::TempDir> {
    own_by_nobody_else().prefix(prefix).tempdir_in(folder)
}

fn own_by_nobody_else() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("prelim-").permissions(fs::Permissions::from_mode(0o700));
    builder
}

/// That a file can be written there, before the work whose result it is to hold.
pub(crate) fn check_place(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.display();
    anyhow::ensure!(!path.is_dir(), "{name} is a folder; give the name of a file");
    if fs::metadata(path).is_ok_and(|held| !held.is_file()) {
        return Ok(());
    }
    tempfile::tempfile_in(folder).with_context(|| format!("{name} cannot be written"))?;
    Ok(())
}

/// Writes a file beside its place and moves it there, so that nobody sees half of it. A link is followed, a file keeps its
/// permissions, and what is no file (a device, a pipe) is written to.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = real.as_path();
    let held = fs::metadata(path).ok();
    if held.as_ref().is_some_and(|held| !held.is_file() && !held.is_dir()) {
        let written = fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(content));
        return written.with_context(|| format!("{} could not be written", path.display()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().with_context(|| format!("{} is no file name", path.display()))?;
    let temporary = folder.join(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()
    };
    let written = write()
        .and_then(|()| held.map_or(Ok(()), |held| fs::set_permissions(&temporary, held.permissions())))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(|| format!("{} could not be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_for_studies_is_private_and_goes_away() {
        let around = tempfile::tempdir().unwrap();
        for folder in [private_folder().unwrap(), private_folder_in(around.path(), ".store-").unwrap()] {
            assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
            let path = folder.path().to_owned();
            drop(folder);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_place(&folder.path().join("picture.svg")).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let error = check_place(&folder.path().join("missing/picture.svg")).unwrap_err();
        assert!(error.to_string().contains("missing/picture.svg cannot be written"), "{error}");
        assert!(check_place(folder.path()).is_err());
    }

    #[test]
    fn a_file_is_written_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.safetensors");
        for content in [b"first".as_slice(), b"second"] {
            write_whole(&path, content).unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        }
    }
}
