//! Instances and reports as bytes, by study and digest, behind the crate `object_store`.
//!
//! # Layout
//! - [`ByteStore`]: put, get, read piece by piece, sign
//! - [`place`]: `--bytes`, as a folder or a bucket; `s3`: a bucket, from the variables of its kind; `probe`: the start
//! - `pieces`: an object as a stream that is checked at its end
//! - `error`: what can go wrong, and what is behind an error of `object_store`
//!
//! **Invariant**: what was put is stored durably and whole before `put` answers; a reader sees all of it or nothing.
//! **Invariant**: nothing is put into, looked for or removed from a folder that took the place of the one that was opened.
//! **Invariant**: bytes are never changed: their name is their digest.
//! **Invariant**: no key holds a UID, and all keys of a study begin with one prefix that is its own.
//! **Invariant**: no error and no log holds a credential or a signed address.

mod error;
mod pieces;
pub mod place;
mod probe;
mod s3;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::signer::{Method, Signer};
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use prelim_proto::ids::{Digest, Uid};
use sha2::{Digest as _, Sha256};

pub use error::{BytesError, OpenError};
pub use pieces::{PIECE_BYTES, Pieces};
pub use place::{Place, Variables};

use crate::folder::Kept;
use error::Fault;

/// How long a signed address may be used: as long as the largest object takes on a slow line.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// Hexadecimal digits of the SHA-256 of a Study Instance UID that stand for the study in keys.
const STUDY_DIGITS: usize = 32;

/// The store of bytes. Clones share it.
#[derive(Clone)]
pub struct ByteStore {
    store: Arc<dyn ObjectStore>,
    /// Present where the store can be read by signed address.
    signer: Option<Arc<dyn Signer>>,
    /// Before every key.
    prefix: Key,
    /// Present where bytes are kept in a folder of this machine.
    folder: Option<Arc<Kept>>,
}

/// An address that grants its holder one object.
#[derive(Clone)]
pub struct SignedAddress {
    /// The address, to be read with GET. Not to be logged.
    pub url: String,
    /// How long it may be used.
    pub expires_in: Duration,
}

impl ByteStore {
    /// Opens the store at `place` and probes it: puts a tiny object, reads it and deletes it. Files and their folders
    /// are synced; a bucket checks what it takes against a SHA-256.
    pub async fn open(place: &Place, variables: &Variables) -> Result<Self, OpenError> {
        let opened = match place {
            Place::Folder(folder) => {
                let unusable = |source| OpenError::Folder { folder: folder.clone(), source };
                crate::folder::make_private(folder).map_err(unusable)?;
                let store = LocalFileSystem::new_with_prefix(folder)
                    .map_err(|error| OpenError::Settings(error.to_string()))?
                    .with_fsync(true)
                    .with_automatic_cleanup(true);
                let kept = Kept::open(folder).map_err(unusable)?;
                Self { store: Arc::new(store), signer: None, prefix: Key::default(), folder: Some(Arc::new(kept)) }
            }
            Place::S3 { bucket, prefix } => {
                let store = Arc::new(s3::build(bucket, variables)?);
                Self { store: store.clone(), signer: Some(store), prefix: prefix.clone(), folder: None }
            }
        };
        opened.probe(place, variables).await?;
        Ok(opened)
    }

    /// Stores `bytes` under their digest, durably. May be repeated.
    pub async fn put(&self, study: &Uid, digest: &Digest, bytes: Bytes) -> Result<(), BytesError> {
        self.check_place()?;
        self.store.put(&self.key(study, digest), PutPayload::from_bytes(bytes)).await?;
        // It may have been moved meanwhile, and made anew for these bytes alone.
        self.check_place()
    }

    /// Whether `size_bytes` of a study are held under `digest`; their contents are not looked at.
    pub async fn holds(&self, study: &Uid, digest: &Digest, size_bytes: u64) -> Result<bool, BytesError> {
        self.check_place()?;
        match self.store.head(&self.key(study, digest)).await {
            Ok(found) => Ok(found.size == size_bytes),
            Err(error) => match Fault::of(&error) {
                Fault::NotFound => Ok(false),
                fault => Err(fault.into()),
            },
        }
    }

    /// Whether the folder for bytes is still the one that was opened; a bucket answers for itself.
    ///
    /// # Errors
    /// [`BytesError::Unavailable`].
    pub(crate) fn check_place(&self) -> Result<(), BytesError> {
        self.folder.as_ref().map_or(Ok(()), |folder| folder.check().map_err(BytesError::Unavailable))
    }

    /// The bytes of a study under `digest`, checked against it.
    pub async fn get(&self, study: &Uid, digest: &Digest) -> Result<Bytes, BytesError> {
        let found = self.find(study, digest).await?.bytes().await?;
        if prelim_imaging::header::digest(&found) != *digest {
            return Err(BytesError::Damaged(digest.clone()));
        }
        Ok(found)
    }

    /// The same in pieces of at most [`PIECE_BYTES`], of which a few are held at a time. Bytes of another digest end in
    /// [`BytesError::Damaged`], with their last piece held back.
    pub async fn read(&self, study: &Uid, digest: &Digest) -> Result<Pieces, BytesError> {
        Ok(pieces::checked(self.find(study, digest).await?, digest.clone()))
    }

    /// Removes all bytes of a study. May be repeated.
    pub async fn remove(&self, study: &Uid) -> Result<(), BytesError> {
        self.check_place()?;
        let held = self.store.list(Some(&self.folder(study))).map_ok(|object| object.location).boxed();
        let mut gone = self.store.delete_stream(held);
        while let Some(removed) = gone.next().await {
            match removed {
                // Another coordinator removes the same study.
                Err(error) if matches!(Fault::of(&error), Fault::NotFound) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// An address from which whoever has it can read the object for a while, whether or not there is one; nothing where
    /// the store has no addresses.
    pub async fn sign(&self, study: &Uid, digest: &Digest) -> Result<Option<SignedAddress>, BytesError> {
        let Some(signer) = &self.signer else { return Ok(None) };
        let url = signer.signed_url(Method::GET, &self.key(study, digest), SIGNED_FOR).await?;
        Ok(Some(SignedAddress { url: url.into(), expires_in: SIGNED_FOR }))
    }

    async fn find(&self, study: &Uid, digest: &Digest) -> Result<object_store::GetResult, BytesError> {
        // Bytes that are elsewhere are not missing.
        self.check_place()?;
        let found = self.store.get(&self.key(study, digest)).await;
        found.map_err(|error| match Fault::of(&error) {
            Fault::NotFound => BytesError::Missing(digest.clone()),
            fault => fault.into(),
        })
    }

    /// `studies/STUDY/DIGEST`: an object belongs to one study, since its bytes name it.
    fn key(&self, study: &Uid, digest: &Digest) -> Key {
        self.folder(study).parts().chain([digest.as_str().into()]).collect()
    }

    /// What all keys of a study begin with.
    fn folder(&self, study: &Uid) -> Key {
        let hash = Digest::from_bytes(&Sha256::digest(study.as_str()).into());
        self.under(["studies", &hash.as_str()[..STUDY_DIGITS]])
    }

    fn under<'a>(&'a self, parts: impl IntoIterator<Item = &'a str>) -> Key {
        self.prefix.parts().chain(parts.into_iter().map(Into::into)).collect()
    }
}

impl fmt::Debug for ByteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByteStore").field(&self.store.to_string()).finish()
    }
}
