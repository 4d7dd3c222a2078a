//! The goldens that `transformers` made, and what a model of ours makes of the same inputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prelim_kernels::Backend;
use prelim_worker::model::{AdapterId, Batch, Chunk, KvCache, Model, Observer, PlacedImage, Want};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Tensors by name, as f32.
pub(crate) type Tensors = BTreeMap<String, Vec<f32>>;

/// A case of the fixture.
pub(crate) struct Golden {
    pub(crate) tokens: Vec<u32>,
    pub(crate) greedy: Vec<u32>,
    pub(crate) tensors: Tensors,
}

/// The folder of a checkpoint with random weights, and its goldens.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/parity")).join(name)
}

impl Golden {
    /// A case of Gemma 3.
    pub(crate) fn read(case: &str) -> Self {
        Self::of("tiny-gemma3", case)
    }

    /// A case of a checkpoint that answers.
    pub(crate) fn of(checkpoint: &str, case: &str) -> Self {
        let tensors = read_tensors(&fixture(checkpoint).join(format!("golden_{case}.safetensors")));
        let ids = |name: &str| tensors[name].iter().map(|id| *id as u32).collect();
        Self { tokens: ids("input_ids"), greedy: ids("greedy_tokens"), tensors }
    }
}

/// The tensors of a file that is committed.
pub(crate) fn read_tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).expect("the golden is committed");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let read = |(name, view): (String, TensorView<'_>)| {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::I64 => data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect(),
            Dtype::U8 => data.iter().map(|b| f32::from(*b)).collect(),
            other => panic!("{name} is {other:?}"),
        };
        (name, values)
    };
    file.tensors().into_iter().map(read).collect()
}

/// Everything that a pass shows.
#[derive(Default)]
pub(crate) struct Collector(pub(crate) Tensors);

impl Observer for Collector {
    fn tensor(&mut self, name: &str, _width: usize, values: Vec<f32>) {
        self.0.insert(name.to_owned(), values);
    }
}

const BLOCK_TOKENS: usize = 16;

/// A prompt in a model's cache.
pub(crate) struct Session<'a, B: Backend> {
    model: &'a Model<B>,
    kv: KvCache<B>,
    blocks: Vec<u32>,
    adapter: Option<AdapterId>,
    /// What the passes so far showed, logits included.
    pub(crate) seen: Tensors,
}

impl<'a, B: Backend> Session<'a, B> {
    /// Encodes the images and reads the whole prompt at once.
    pub(crate) fn read(model: &'a Model<B>, golden: &Golden) -> Self {
        Self::read_with(model, golden, None)
    }

    /// The same, with an adapter.
    pub(crate) fn read_with(model: &'a Model<B>, golden: &Golden, adapter: Option<AdapterId>) -> Self {
        let mut collector = Collector::default();
        let images = match golden.tensors.get("pixel_values") {
            Some(pixels) => {
                let images = pixels.len() / model.config().picture.values();
                model.encode_images_observed(pixels, images, adapter, Some(&mut collector))
            }
            None => Vec::new(),
        };
        let starts = image_starts(&golden.tokens, model.config().image_token, model.config().tokens_per_image);
        assert_eq!(starts.len(), images.len());
        let placed = starts.into_iter().zip(images).map(|(at, features)| PlacedImage { at, features }).collect();
        let positions = golden.tokens.len() + golden.greedy.len();
        let blocks = positions.div_ceil(BLOCK_TOKENS);
        let kv = model.new_kv_cache(blocks + 3, BLOCK_TOKENS).expect("room for a small cache");
        // Blocks out of order and not from zero, as an engine would hand them out.
        let blocks: Vec<u32> = (0..blocks as u32).rev().map(|block| block + 2).collect();
        let mut session = Self { model, kv, blocks, adapter, seen: Tensors::new() };
        let logits = session.pass(0, &golden.tokens, placed, Want::All, Some(&mut collector));
        session.seen = collector.0;
        session.seen.insert("logits".to_owned(), logits);
        session
    }

    /// Greedy tokens after the prompt, one pass each, and the logits that chose them.
    pub(crate) fn greedy(&mut self, prompt: usize, steps: usize) -> (Vec<u32>, Vec<f32>) {
        let vocabulary = self.model.config().vocabulary;
        let mut row = self.seen["logits"][(prompt - 1) * vocabulary..].to_vec();
        let (mut tokens, mut logits) = (Vec::new(), Vec::new());
        for step in 0..steps {
            tokens.push(argmax(&row));
            logits.extend_from_slice(&row);
            if step + 1 < steps {
                let last = [*tokens.last().unwrap()];
                row = self.pass(prompt + step, &last, Vec::new(), Want::Last, None);
            }
        }
        (tokens, logits)
    }

    fn pass(
        &mut self,
        start: usize,
        tokens: &[u32],
        images: Vec<PlacedImage<B>>,
        logits: Want,
        observer: Option<&mut dyn Observer>,
    ) -> Vec<f32> {
        let chunk = Chunk { start, tokens, images, adapter: self.adapter, blocks: &self.blocks, logits };
        let logits = self.model.forward_observed(&mut self.kv, &Batch { chunks: vec![chunk] }, observer);
        (0..logits.rows()).flat_map(|row| logits.row(row).to_vec()).collect()
    }
}

/// Where images begin: every so many soft tokens.
pub(crate) fn image_starts(tokens: &[u32], image_token: u32, tokens_per_image: usize) -> Vec<usize> {
    let soft = tokens.iter().enumerate().filter(|(_, token)| **token == image_token);
    soft.map(|(index, _)| index).step_by(tokens_per_image).collect()
}

pub(crate) fn argmax(row: &[f32]) -> u32 {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("a row");
    best.0 as u32
}
