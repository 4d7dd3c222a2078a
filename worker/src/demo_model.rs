//! The demonstration model, carried inside the binary.
//!
//! It is unpacked into a cache folder on first use, and its files are compared with those carried on every use: a
//! folder that someone else left there, or half wrote, is written anew.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../demo-model/checkpoint/", $name)).as_slice())),*]
    };
}

/// The files of the checkpoint, by name; those with which it answers questions in a folder of their own.
const FILES: &[(&str, &[u8])] = files![
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "prelim.json",
    "preprocessor_config.json",
    "questions/adapter_config.json",
    "questions/adapter_model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Unpacks the demonstration model below `cache` where it is not there already, and returns its folder.
///
/// Safe to call from several processes at once: files are moved into place whole.
pub fn unpack(cache: &Path) -> io::Result<PathBuf> {
    let folder = cache.join(format!("demo-model-{}", short_digest()));
    for (name, bytes) in FILES {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|found| found == *bytes) {
            continue;
        }
        let (within, own) = name.rsplit_once('/').unwrap_or(("", name));
        let within = folder.join(within);
        std::fs::create_dir_all(&within)?;
        let temporary = within.join(format!(".{own}.{}", std::process::id()));
        let write = || {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)
        };
        let written = write();
        if written.is_err() {
            // Half a file on a full disk.
            let _ = std::fs::remove_file(&temporary);
        }
        written?;
    }
    Ok(folder)
}

/// The folder for files that can be made again: `$XDG_CACHE_HOME/prelim`, `~/.cache/prelim`, or one in the system's
/// folder for temporary files.
pub fn default_cache() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("prelim")
}

/// The first digits of a digest over names and contents, so that versions do not share a folder.
fn short_digest() -> String {
    let mut hasher = Sha256::new();
    for (name, bytes) in FILES {
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_put_in_its_place_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join(format!("demo-model-{}", short_digest()));
        std::fs::create_dir_all(folder.join("model.safetensors/in the way")).unwrap();
        assert!(unpack(cache.path()).is_err());
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let hidden: Vec<_> = names.filter(|name| name.as_encoded_bytes().starts_with(b".")).collect();
        assert_eq!(hidden, [""; 0]);
    }

    #[test]
    fn a_spoilt_copy_is_written_anew() {
        let cache = tempfile::tempdir().unwrap();
        let folder = unpack(cache.path()).unwrap();
        for name in ["config.json", "questions/adapter_config.json"] {
            let config = folder.join(name);
            std::fs::write(&config, "spoilt").unwrap();
            assert_eq!(unpack(cache.path()).unwrap(), folder);
            let carried = FILES.iter().find(|(carried, _)| *carried == name).unwrap().1;
            assert_eq!(std::fs::read(&config).unwrap(), carried);
        }
        let count = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
        let there = count(&folder) - 1 + count(&folder.join("questions"));
        assert_eq!(there, FILES.len(), "nothing else is left behind");
    }
}
