//! Folders that hold patients' data: for their owner alone.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

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
}
