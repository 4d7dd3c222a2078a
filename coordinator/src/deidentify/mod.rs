//! De-identification between the store and the workers: real UIDs and objects on this side, pseudonyms on theirs.
//!
//! # Layout
//! - [`config`]: the settings
//! - [`Veil`]: the key, and what was learnt with it
//! - `outward`: jobs and objects on their way to workers; `inward`: what workers say, on its way to the store
//! - `find`: from pseudonyms back to studies, by what is held
//!
//! Nothing is stored: what a worker reads is made anew from what is held, and its digest is known from then on. The key alone
//! leads from a pseudonym back, by trying what is held, so that any coordinator with the key can take over from any other.
//!
//! **Invariant**: with a key, no real UID, and no object as it came, goes to a worker: not in jobs, objects or errors.
//! **Invariant**: the store, its records and the drafts know real UIDs only.

pub mod config;
mod find;
mod inward;
mod outward;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use prelim_imaging::deidentify::{Key, Options};
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::trace::replace_uids;
use tokio::sync::Semaphore;

use config::DeidentifyConfig;
pub use find::Reidentified;

/// Things that are remembered of a kind; past that, all are forgotten, and learnt again as they are needed.
const REMEMBERED: usize = 200_000;
/// Memory for objects that are de-identified at once, in MiB.
const MEMORY_MIB: usize = 1_024;

/// What a worker gets of an object: its de-identified bytes by digest and length, or why it gets none.
type Given = Result<(Digest, u64), String>;

/// What is between the store and the workers.
pub(crate) struct Veil {
    key: Key,
    options: Options,
    /// Studies by what workers call them.
    studies: Memory<Uid, Uid>,
    /// What is given of an object, by the digest of what is stored.
    given: Memory<Digest, Given>,
    /// The digest of what is stored, by that of what is given.
    stored: Memory<Digest, Digest>,
    /// One look through all studies at a time.
    looking: tokio::sync::Mutex<()>,
    memory: Arc<Semaphore>,
}

impl Veil {
    /// The veil that the settings ask for; none where they name no key.
    ///
    /// # Errors
    /// A sentence: the key cannot be used.
    pub(crate) fn open(config: &DeidentifyConfig) -> Result<Option<Self>, String> {
        let Some(file) = &config.deidentify else { return Ok(None) };
        let key = Key::read(file).map_err(|error| format!("--deidentify {}: {error}", file.display()))?;
        Ok(Some(Self {
            key,
            options: config.options(),
            studies: Memory::default(),
            given: Memory::default(),
            stored: Memory::default(),
            looking: tokio::sync::Mutex::default(),
            memory: Arc::new(Semaphore::new(MEMORY_MIB)),
        }))
    }

    /// What workers call a study, series or instance.
    pub(crate) fn name(&self, uid: &Uid) -> Uid {
        self.key.map(uid)
    }

    /// A text for a worker: every UID in it is what workers call it.
    pub(crate) fn text(&self, said: &str) -> String {
        replace_uids(said, |uid| self.name(uid).to_string())
    }
}

/// What is remembered, up to [`REMEMBERED`].
struct Memory<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: K, value: V) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= REMEMBERED {
            held.clear();
        }
        held.insert(key, value);
    }
}
