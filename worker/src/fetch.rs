//! The bytes of instances, by digest.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use prelim_proto::ids::Digest;
use sha2::{Digest as _, Sha256};

use crate::coordinator::{CallError, Coordinator};

/// Bytes that were not had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The coordinator.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Other bytes came than were asked for.
    #[error("object {wanted} came with digest {found}")]
    Digest {
        /// What was asked for.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
}

/// Where bytes come from.
pub trait ObjectSource: Send + Sync + 'static {
    /// The bytes with this digest, at most `size_bytes` of them.
    fn read(&self, digest: &Digest, size_bytes: u64) -> impl Future<Output = Result<Vec<u8>, CallError>> + Send;
}

impl ObjectSource for Coordinator {
    async fn read(&self, digest: &Digest, size_bytes: u64) -> Result<Vec<u8>, CallError> {
        self.read_object(digest, size_bytes).await
    }
}

/// Instances by digest: those fetched last stay, since neighbouring jobs of a study show each other's images.
pub struct Objects<S> {
    source: S,
    kept: Mutex<Kept>,
}

impl<S: ObjectSource> Objects<S> {
    /// Objects of `source`, of which at most `capacity_bytes` are kept.
    pub fn new(source: S, capacity_bytes: usize) -> Self {
        Self { source, kept: Mutex::new(Kept { capacity_bytes, ..Kept::default() }) }
    }

    /// The bytes with this digest, checked.
    pub async fn get(&self, digest: &Digest, size_bytes: u64) -> Result<Arc<[u8]>, FetchError> {
        if let Some(bytes) = self.kept().get(digest) {
            return Ok(bytes);
        }
        let bytes: Arc<[u8]> = self.source.read(digest, size_bytes).await?.into();
        let found = Digest::from_bytes(&Sha256::digest(&bytes).into());
        if found != *digest {
            return Err(FetchError::Digest { wanted: digest.clone(), found });
        }
        self.kept().put(digest.clone(), Arc::clone(&bytes));
        Ok(bytes)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Kept {
    capacity_bytes: usize,
    used_bytes: usize,
    entries: HashMap<Digest, (u64, Arc<[u8]>)>,
    by_use: BTreeMap<u64, Digest>,
    clock: u64,
}

impl Kept {
    fn get(&mut self, digest: &Digest) -> Option<Arc<[u8]>> {
        let (used, bytes) = self.entries.get_mut(digest)?;
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, digest.clone());
        Some(Arc::clone(bytes))
    }

    fn put(&mut self, digest: Digest, bytes: Arc<[u8]>) {
        if bytes.len() > self.capacity_bytes || self.entries.contains_key(&digest) {
            return;
        }
        self.clock += 1;
        self.used_bytes += bytes.len();
        self.by_use.insert(self.clock, digest.clone());
        self.entries.insert(digest, (self.clock, bytes));
        while self.used_bytes > self.capacity_bytes {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.used_bytes -= self.entries.remove(&oldest).map_or(0, |(_, bytes)| bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Objects are their own first byte, repeated; every read is counted.
    struct Source(Arc<AtomicUsize>, Vec<Vec<u8>>);

    impl ObjectSource for Source {
        async fn read(&self, digest: &Digest, _: u64) -> Result<Vec<u8>, CallError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let found = self.1.iter().find(|bytes| digest_of(bytes) == *digest);
            Ok(found.cloned().unwrap_or_else(|| b"something else".to_vec()))
        }
    }

    fn digest_of(bytes: &[u8]) -> Digest {
        Digest::from_bytes(&Sha256::digest(bytes).into())
    }

    #[tokio::test]
    async fn an_object_is_fetched_once_while_there_is_room_and_checked() {
        let reads = Arc::new(AtomicUsize::new(0));
        let all: Vec<_> = (0..3u8).map(|byte| vec![byte; 40]).collect();
        let objects = Objects::new(Source(Arc::clone(&reads), all.clone()), 100);
        for (at, reads_so_far) in [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)] {
            let bytes = objects.get(&digest_of(&all[at]), 40).await.unwrap();
            assert_eq!(*bytes, all[at][..]);
            assert_eq!(reads.load(Ordering::Relaxed), reads_so_far, "object {at}");
        }
        let error = objects.get(&digest_of(b"never stored"), 40).await.unwrap_err();
        assert!(matches!(error, FetchError::Digest { .. }));
    }
}
