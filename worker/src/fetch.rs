//! The bytes of instances, by digest.
//!
//! **Invariant**: bytes that do not have the digest asked for reach nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prelim_proto::ids::Digest;
use prelim_proto::job::Lease;
use sha2::{Digest as _, Sha256};

use crate::coordinator::{CallError, Coordinator, Way};
use crate::lease::without_study;
use crate::retry::{backoff, entropy};

/// Times that an object is read again when it came damaged: once, from the coordinator, which sees what is stored.
const DAMAGE_RETRIES: u32 = 1;
/// How long an object is waited for while the coordinator or the object store is away. The job's lease lives on
/// meanwhile; giving the attempt up would not bring the bytes nearer.
const PATIENCE: Duration = Duration::from_secs(600);

/// Bytes that were not had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The coordinator.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Other bytes came than were asked for, again and again, though what is stored is sound.
    #[error("object {wanted} came damaged, with digest {found}")]
    Digest {
        /// What was asked for.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// The byte store does not have what the study's record names.
    #[error("object {0} is missing from the byte store")]
    Missing(Digest),
}

impl FetchError {
    /// Whether another attempt, here or elsewhere, may go better. What is damaged in the store stays so; what is missing may
    /// be seen by another coordinator, or come back with a folder that was not mounted.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Call(error) if error.is_damage())
    }

    fn is_damage(&self) -> bool {
        match self {
            Self::Call(error) => error.is_damage(),
            Self::Digest { .. } => true,
            Self::Missing(_) => false,
        }
    }
}

/// Where bytes come from.
pub trait ObjectSource: Send + Sync + 'static {
    /// The bytes with this digest, of an image of the leased job, at most `size_bytes` of them. They are not checked.
    fn read(
        &self,
        lease: &Lease,
        digest: &Digest,
        size_bytes: u64,
        way: Way,
    ) -> impl Future<Output = Result<Vec<u8>, CallError>> + Send;
}

impl ObjectSource for Coordinator {
    async fn read(&self, lease: &Lease, digest: &Digest, size_bytes: u64, way: Way) -> Result<Vec<u8>, CallError> {
        self.read_object(lease, digest, size_bytes, way).await
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

    /// The bytes with this digest, an image of the leased job, checked. Waits while they cannot be had, and reads them
    /// again when they come damaged, both within bounds.
    pub async fn get(&self, lease: &Lease, digest: &Digest, size_bytes: u64) -> Result<Arc<[u8]>, FetchError> {
        if let Some(bytes) = self.kept().get(digest) {
            return Ok(bytes);
        }
        let started = Instant::now();
        let (mut waits, mut damages) = (0, 0);
        let bytes = loop {
            let way = if damages == 0 { Way::Any } else { Way::Chunks };
            match self.read(lease, digest, size_bytes, way).await {
                Ok(bytes) => break bytes,
                Err(error) if error.is_damage() && damages < DAMAGE_RETRIES => {
                    damages += 1;
                    tracing::warn!(error = without_study(&error, &lease.job.id), "object read again");
                }
                Err(FetchError::Call(error)) if error.is_retryable() && started.elapsed() < PATIENCE => {
                    waits += 1;
                    tracing::warn!(error = without_study(&error, &lease.job.id), waits, "object waited for");
                    tokio::time::sleep(backoff(waits, entropy())).await;
                }
                Err(error) => return Err(error),
            }
        };
        self.kept().put(digest.clone(), Arc::clone(&bytes));
        Ok(bytes)
    }

    async fn read(&self, lease: &Lease, digest: &Digest, size_bytes: u64, way: Way) -> Result<Arc<[u8]>, FetchError> {
        let read = self.source.read(lease, digest, size_bytes, way).await;
        let bytes: Arc<[u8]> = match read {
            Err(CallError::NotFound(_)) => return Err(FetchError::Missing(digest.clone())),
            read => read?.into(),
        };
        let found = Digest::from_bytes(&Sha256::digest(&bytes).into());
        if found != *digest {
            return Err(FetchError::Digest { wanted: digest.clone(), found });
        }
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
    use std::collections::VecDeque;

    use prelim_proto::ids::{FencingToken, JobId, Uid};
    use prelim_proto::image::ImageKind;
    use prelim_proto::job::{JobKind, JobSpec};
    use prelim_proto::study::Priority;

    use super::*;

    type Answer = Result<Vec<u8>, CallError>;

    /// Answers in turn, and the ways that were asked for. After the last answer come the bytes of `all`.
    #[derive(Clone, Default)]
    struct Source {
        all: Vec<Vec<u8>>,
        answers: Arc<Mutex<VecDeque<Answer>>>,
        ways: Arc<Mutex<Vec<Way>>>,
    }

    impl ObjectSource for Source {
        async fn read(&self, _: &Lease, digest: &Digest, _: u64, way: Way) -> Answer {
            self.ways.lock().unwrap().push(way);
            let found = || self.all.iter().find(|bytes| digest_of(bytes) == *digest).cloned();
            let next = self.answers.lock().unwrap().pop_front();
            next.unwrap_or_else(|| found().ok_or_else(|| CallError::NotFound(digest.to_string())))
        }
    }

    fn digest_of(bytes: &[u8]) -> Digest {
        Digest::from_bytes(&Sha256::digest(bytes).into())
    }

    fn lease() -> Lease {
        let id = JobId::new(Uid::parse("1.2").unwrap(), 0);
        let kind = JobKind::Read(ImageKind::Xray);
        let job = JobSpec {
            id,
            kind,
            images: Vec::new(),
            body_part: None,
            priority: Priority::Routine,
            demand: Default::default(),
            told: None,
            compared: None,
        };
        Lease {
            job,
            token: FencingToken(1),
            attempt: 1,
            ttl_ms: 1_000,
            waited_ms: 0,
            attempt_waited_ms: 0,
            asked: None,
        }
    }

    #[tokio::test]
    async fn an_object_is_fetched_once_while_there_is_room() {
        let all: Vec<_> = (0..3u8).map(|byte| vec![byte; 40]).collect();
        let source = Source { all: all.clone(), ..Source::default() };
        let objects = Objects::new(source.clone(), 100);
        for (at, reads_so_far) in [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)] {
            let bytes = objects.get(&lease(), &digest_of(&all[at]), 40).await.unwrap();
            assert_eq!(*bytes, all[at][..]);
            assert_eq!(source.ways.lock().unwrap().len(), reads_so_far, "object {at}");
        }
    }

    /// What becomes of an object whose first reads are answered so, and by which ways it was read.
    async fn check(answers: Vec<Answer>, expected: Result<(), &str>, ways: &[Way]) {
        let source =
            Source { all: vec![b"good".to_vec()], answers: Arc::new(Mutex::new(answers.into())), ..Source::default() };
        let objects = Objects::new(source.clone(), 100);
        let got = objects.get(&lease(), &digest_of(b"good"), 4).await;
        match (&got, expected) {
            (Ok(bytes), Ok(())) => assert_eq!(**bytes, b"good"[..]),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            _ => panic!("{got:?}"),
        }
        assert_eq!(*source.ways.lock().unwrap(), ways);
    }

    #[tokio::test]
    async fn damage_is_read_again_once_and_absence_is_waited_for() {
        let bad = || Ok(b"evil".to_vec());
        let damaged = || Err(CallError::Damaged("object x".to_owned()));
        let away = || Err(CallError::Unavailable("object store".to_owned()));
        let gone = || Err(CallError::NotFound("x".to_owned()));
        let (any, chunks) = (Way::Any, Way::Chunks);
        let digest = digest_of(b"good");
        check(vec![bad()], Ok(()), &[any, chunks]).await;
        check(vec![bad(), bad()], Err(digest.as_str()), &[any, chunks]).await;
        check(vec![bad(), damaged()], Err("damaged"), &[any, chunks]).await;
        check(vec![damaged(), damaged()], Err("object x"), &[any, chunks]).await;
        check(vec![away(), away(), away()], Ok(()), &[any; 4]).await;
        check(vec![bad(), away()], Ok(()), &[any, chunks, chunks]).await;
        check(vec![gone()], Err("is missing from the byte store"), &[any]).await;
        assert!(FetchError::Missing(digest).is_retryable(), "another coordinator may have it");
    }
}
