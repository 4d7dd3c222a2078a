//! A model for tests whose scores are a digest of what it finds in its cache: a wrong block, a lost token, a picture cut
//! or put in the wrong place changes them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prelim_kernels::{Backend, Choices, Choose, Cpu, DeviceError, Pick};

use super::language_model::{Capacity, Chunk, LanguageModel};

/// Decides scores from everything before: `(history, vocabulary) -> scores`.
type Score = fn(u64, usize) -> Vec<f32>;

pub(super) struct FakeModel {
    capacity: Capacity,
    cache: Vec<Option<u64>>,
    score: Score,
    /// Pictures encoded, and tokens of each pass.
    pub(super) encoded: Arc<AtomicUsize>,
    pub(super) fails_after: Option<usize>,
    /// Tokens of a pass, or of the pictures that are encoded at once, that there is memory for.
    pub(super) room: Arc<AtomicUsize>,
}

impl FakeModel {
    pub(super) fn new(capacity: Capacity, score: Score) -> Self {
        let cache = vec![None; capacity.blocks * capacity.block_tokens];
        let room = Arc::new(AtomicUsize::new(usize::MAX));
        Self { capacity, cache, score, encoded: Arc::default(), fails_after: None, room }
    }

    fn take_room(&self, tokens: usize) -> Result<(), DeviceError> {
        let room = self.room.load(Ordering::Relaxed);
        let (wanted_bytes, free_bytes) = (tokens as u64, Some(room as u64));
        let full = DeviceError::OutOfMemory { what: "activations", wanted_bytes, free_bytes };
        if tokens > room { Err(full) } else { Ok(()) }
    }

    fn slot(&self, blocks: &[u32], position: usize) -> usize {
        blocks[position / self.capacity.block_tokens] as usize * self.capacity.block_tokens
            + position % self.capacity.block_tokens
    }
}

/// Any scores, different for every history.
pub(super) fn noise(history: u64, vocabulary: usize) -> Vec<f32> {
    (0..vocabulary as u64).map(|token| (mix(history ^ mix(token)) >> 40) as f32 / (1 << 22) as f32).collect()
}

pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) ^ (z >> 31)
}

impl LanguageModel for FakeModel {
    type Image = u64;
    type Scores = Vec<f32>;

    fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Adapter 0 leaves pictures alone.
    fn picture_adapter(&self, adapter: Option<usize>) -> Option<usize> {
        adapter.filter(|adapter| *adapter > 0)
    }

    fn encode(&mut self, pictures: &[&[f32]], adapter: Option<usize>) -> Result<Vec<u64>, DeviceError> {
        self.take_room(pictures.len() * self.capacity.image_tokens)?;
        self.encoded.fetch_add(pictures.len(), Ordering::Relaxed);
        let first = 1 + adapter.map_or(0, |adapter| adapter as u64);
        Ok(pictures
            .iter()
            .map(|pixels| pixels.iter().fold(first, |all, p| mix(all ^ u64::from(p.to_bits()))))
            .collect())
    }

    fn choose(&mut self, scores: &Vec<f32>, picks: &[Pick<'_>]) -> Result<Choices, DeviceError> {
        let vocabulary = self.capacity.vocabulary;
        assert_eq!(picks.len() * vocabulary, scores.len(), "a pick for each row of scores");
        let cpu = Cpu::with_threads(1).expect("a thread");
        cpu.choose(Choose { scores, vocabulary, excluded: None, rows: picks })
    }

    fn forward(&mut self, chunks: &[Chunk<'_, u64>]) -> Result<Vec<f32>, DeviceError> {
        if let Some(left) = &mut self.fails_after {
            let lost = DeviceError::Driver { what: "a pass", error: "device is lost".to_owned() };
            *left = left.checked_sub(1).ok_or(lost)?;
        }
        self.take_room(chunks.iter().map(|chunk| chunk.tokens.len()).sum())?;
        let mut rows = Vec::new();
        for chunk in chunks {
            let end = chunk.start + chunk.tokens.len();
            for (offset, token) in chunk.tokens.iter().enumerate() {
                let position = chunk.start + offset;
                let within = |(span, image): &(Range<usize>, &u64)| span.contains(&position).then_some(**image);
                let image = chunk.images.iter().find_map(within).unwrap_or(0);
                assert!(
                    chunk.images.iter().all(|(span, _)| chunk.start <= span.start && span.end <= end),
                    "cut picture"
                );
                assert_eq!(*token == SOFT, image != 0, "soft tokens and pictures disagree at {position}");
                let slot = self.slot(chunk.blocks, position);
                let adapter = chunk.adapter.map_or(0, |adapter| mix(adapter as u64 + 1));
                self.cache[slot] = Some(mix(u64::from(*token) ^ image ^ adapter));
            }
            if chunk.wants_scores {
                let history = (0..end).fold(7, |all, position| {
                    let found = self.cache[self.slot(chunk.blocks, position)].expect("position was never computed");
                    mix(all ^ mix(found ^ position as u64))
                });
                rows.extend((self.score)(history, self.capacity.vocabulary));
            }
        }
        Ok(rows)
    }
}

/// The soft token of the demonstration tokenizer, which the tests use.
pub(super) const SOFT: u32 = 8;
