//! Folders that hold patients' data: for their owner alone.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What others than the owner and the group may do.
const OTHERS: u32 = 0o007;

/// Makes a folder where it is missing, for its owner alone: what is in it is then out of others' reach, whatever its own mode. One
/// that is there is left as it is, for it may be a volume, or hold more than ours; where others have a way in, the log says so.
///
/// # Errors
/// What the system says.
pub fn make_private(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => return made,
    }
    let mode = fs::metadata(folder)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        let (folder, mode) = (folder.display(), format!("{mode:o}"));
        tracing::warn!(%folder, mode, "every user of this machine has a way into the folder with patients' data: chmod 700 it");
    }
    Ok(())
}

/// A folder that has to stay where it is: what is written to another in its place is not found again.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    /// Open, so that no other folder gets its number.
    held: File,
}

impl Kept {
    /// The folder that is there now.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // A name from the root on: the process may change its own folder.
        Ok(Self { path: std::path::absolute(path)?, held: File::open(path)? })
    }

    /// Whether the folder is still where it was. The time is that of two looks at the disk.
    ///
    /// # Errors
    /// A sentence that says what is there instead, and what to do.
    pub(crate) fn check(&self) -> Result<(), String> {
        let number = |found: io::Result<Metadata>| found.map(|found| (found.dev(), found.ino()));
        let instead = match (number(fs::metadata(&self.path)), number(self.held.metadata())) {
            (Ok(there), Ok(held)) if there == held => return Ok(()),
            (Ok(_), Ok(_)) => "another is there".to_owned(),
            (Err(error), _) | (_, Err(error)) => error.to_string(),
        };
        Err(format!(
            "folder {} is not there any more as it was at the start ({instead}): it was moved, or its volume is gone; put it \
             back, or start again with the folder that is meant",
            self.path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(folder: &Path) -> u32 {
        fs::metadata(folder).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner_and_what_is_there_is_left() {
        let work = tempfile::tempdir().unwrap();
        let data = work.path().join("above/data");
        make_private(&data).unwrap();
        assert_eq!(mode(&data), 0o700);
        assert_ne!(mode(data.parent().unwrap()), 0o700, "only what is ours");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
        make_private(&data).unwrap();
        assert_eq!(mode(&data), 0o755);
        let file = work.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(make_private(&file).is_err());
    }

    #[test]
    fn a_folder_that_was_moved_or_replaced_is_missed_until_it_is_back() {
        let work = tempfile::tempdir().unwrap();
        let (data, elsewhere) = (work.path().join("data"), work.path().join("elsewhere"));
        fs::create_dir(&data).unwrap();
        let kept = Kept::open(&data).unwrap();
        assert_eq!(kept.check(), Ok(()));
        fs::rename(&data, &elsewhere).unwrap();
        assert!(kept.check().unwrap_err().contains("No such file"));
        fs::create_dir(&data).unwrap();
        assert!(kept.check().unwrap_err().contains("another is there"));
        fs::remove_dir(&data).unwrap();
        fs::rename(&elsewhere, &data).unwrap();
        assert_eq!(kept.check(), Ok(()));
        // A new one may get the number of one that was removed, but not while that is open.
        fs::remove_dir(&data).unwrap();
        fs::create_dir(&data).unwrap();
        assert!(kept.check().is_err());
    }
}
