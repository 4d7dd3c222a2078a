//! Instances and reports as bytes, by digest.
//!
//! **Invariant**: what was put is on the disk, whole, before `put` answers; a reader sees all of it or nothing.
//! **Invariant**: bytes are never changed: their name is their digest.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use prelim_proto::ids::Digest;

/// Why bytes were not stored or found.
#[derive(Debug, thiserror::Error)]
pub enum BytesError {
    /// Nothing is held under that digest.
    #[error("no object {0}")]
    Missing(Digest),
    /// The disk is full.
    #[error(
        "no space left for objects on the coordinator's disk; free some, and send again: nothing acknowledged was lost"
    )]
    Full,
    /// What is held under that digest has another one: the disk changed it.
    #[error("object {0} is damaged on the disk")]
    Damaged(Digest),
    /// The store failed.
    #[error("object store: {0}")]
    Store(object_store::Error),
}

impl From<object_store::Error> for BytesError {
    fn from(error: object_store::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(inner) = cause {
            let io = inner.downcast_ref::<std::io::Error>();
            if io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull) {
                return Self::Full;
            }
            cause = inner.source();
        }
        Self::Store(error)
    }
}

/// The store of bytes.
#[derive(Debug, Clone)]
pub struct ByteStore {
    store: Arc<dyn ObjectStore>,
}

impl ByteStore {
    /// Bytes in files below `folder`, which must exist. Files and their folders are synced.
    pub fn in_folder(folder: &Path) -> Result<Self, BytesError> {
        let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(store) })
    }

    /// Stores `bytes` under `digest`, durably; whether they are new. Bytes held already are left alone.
    pub async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<bool, BytesError> {
        let key = key(digest);
        match self.store.head(&key).await {
            Ok(held) if held.size == bytes.len() as u64 => return Ok(false),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.store.put(&key, PutPayload::from_bytes(bytes)).await?;
        Ok(true)
    }

    /// Forgets what is held under `digest`; nothing happens where nothing is.
    pub async fn delete(&self, digest: &Digest) -> Result<(), BytesError> {
        match self.store.delete(&key(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes under `digest`, checked against it.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, BytesError> {
        let found = match self.store.get(&key(digest)).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Err(BytesError::Missing(digest.clone())),
            Err(error) => return Err(error.into()),
        };
        if prelim_imaging::header::digest(&found) != *digest {
            return Err(BytesError::Damaged(digest.clone()));
        }
        Ok(found)
    }
}

/// Where bytes lie: `ab/cd/abcd…`, so that no folder gets too large.
fn key(digest: &Digest) -> Key {
    let name = digest.as_str();
    Key::from_iter([&name[..2], &name[2..4], name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_and_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = ByteStore::in_folder(folder.path()).unwrap();
        let digest = prelim_imaging::header::digest(b"hello");
        assert!(matches!(store.get(&digest).await, Err(BytesError::Missing(_))));
        assert!(store.put(&digest, Bytes::from_static(b"hello")).await.unwrap());
        assert!(!store.put(&digest, Bytes::from_static(b"hello")).await.unwrap());
        assert_eq!(store.get(&digest).await.unwrap(), Bytes::from_static(b"hello"));
        let name = digest.as_str();
        std::fs::write(folder.path().join(&name[..2]).join(&name[2..4]).join(name), b"jello").unwrap();
        assert!(matches!(store.get(&digest).await, Err(BytesError::Damaged(_))));
        for _ in 0..2 {
            store.delete(&digest).await.unwrap();
            assert!(matches!(store.get(&digest).await, Err(BytesError::Missing(_))));
        }
    }
}
