//! Notes: small texts under keys that end by themselves. Sessions of people, their unfinished work and who reads what are
//! notes: what of them is lost costs somebody a minute, and no report.
//!
//! A note is changed by whoever looked at its newest version, so that nobody overwrites what another wrote meanwhile.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Notes that a store holds, at most.
pub const MAX_NOTES: u64 = 50_000;
/// Longest text of a note, in bytes.
pub const MAX_NOTE_BYTES: usize = 256 << 10;

/// A note as it is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its name: words with a slash behind each, so that no key is the beginning of another.
    pub key: String,
    /// Larger than that of every note that was held under the key before.
    pub version: u64,
    /// The version that it took the place of; 0 where there was none.
    pub after: u64,
    /// What it says.
    pub text: String,
    /// When it was written, on the store's clock.
    pub written_at_ms: i64,
    /// When it ends. From then on it is not there.
    pub ends_at_ms: i64,
}

/// A note to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutNote {
    /// Its name.
    pub key: String,
    /// What it is to say.
    pub text: String,
    /// The version that it takes the place of, 0 where there is to be none; whichever is there where this is none.
    pub after: Option<u64>,
    /// How long it lasts, in ms.
    pub lasts_ms: u64,
    /// Notes that may be held.
    pub max_notes: u64,
}

impl PutNote {
    /// A note that takes the place of whatever is there.
    pub fn new(key: String, text: String, lasts_ms: u64) -> Self {
        Self { key, text, after: None, lasts_ms, max_notes: MAX_NOTES }
    }
}

/// The record of notes. The guarantees are those of [`super::JobStore`].
#[async_trait]
pub trait Notes: Send + Sync + 'static {
    /// Writes a note; its version. [`StoreError::NoteChanged`] where the one that it takes the place of is not the newest; the
    /// same text again after the same version changes nothing. [`StoreError::TooManyNotes`] past the limit.
    async fn put_note(&self, put: PutNote) -> Result<u64, StoreError>;

    /// One note, until it ends.
    async fn note(&self, key: &str) -> Result<Option<Note>, StoreError>;

    /// Notes whose keys begin so and that have not ended, in order of key.
    async fn notes(&self, beginning: &str, limit: usize) -> Result<Vec<Note>, StoreError>;

    /// Forgets the notes whose keys begin so; how many. Idempotent.
    async fn drop_notes(&self, beginning: &str) -> Result<u64, StoreError>;

    /// Forgets notes that have ended, at most `limit`; how many. Idempotent.
    async fn forget_notes(&self, limit: usize) -> Result<u64, StoreError>;
}
