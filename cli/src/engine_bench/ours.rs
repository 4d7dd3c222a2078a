//! Passes of our model, timed.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use prelim_kernels::{Arithmetic, Backend, Cpu};
use prelim_worker::model::{Batch, Chunk, KvCache, Model, ModelConfig, PlacedImage, Want, WeightType};

use super::{Figures, Load, Times};

const BLOCK_TOKENS: usize = 32;

/// A loaded model.
pub(crate) struct Ours {
    model: Model<Cpu>,
    load: Load,
    pub(crate) load_s: f64,
}

/// Sequences of a prompt each, with blocks of their own.
struct Sequences<'a> {
    model: &'a Model<Cpu>,
    kv: KvCache<Cpu>,
    images: Vec<PlacedImage<Cpu>>,
    prompt: Vec<u32>,
    blocks: Vec<Vec<u32>>,
}

impl Ours {
    pub(crate) fn load(
        folder: &Path,
        threads: usize,
        arithmetic: Arithmetic,
        weights: WeightType,
        load: Load,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let backend = Cpu::with_threads(threads)?.with_arithmetic(arithmetic);
        let config = ModelConfig::read(folder)?;
        let (image, words, steps, most) = (config.tokens_per_image, load.words, load.steps, config.max_positions);
        anyhow::ensure!(
            image + words + steps <= most,
            "an image of {image} tokens, --words {words} and --steps {steps} take {} positions, and the model has {most}: \
             what is beyond them says nothing",
            image + words + steps
        );
        let model = Model::load(folder, backend, weights)?;
        Ok(Self { model, load, load_s: began.elapsed().as_secs_f64() })
    }

    pub(crate) fn name(&self) -> String {
        self.model.backend().name()
    }

    /// Tokens of a prompt with its image.
    pub(crate) fn prompt_tokens(&self) -> usize {
        self.model.config().tokens_per_image + self.load.words
    }

    /// Every pass once.
    pub(crate) fn measure(&self) -> anyhow::Result<Figures> {
        self.load.batches.iter().map(|batch| self.times(*batch)).collect()
    }

    fn times(&self, batch: usize) -> anyhow::Result<Times> {
        let picture = self.model.config().picture.values();
        let pixels: Vec<f32> = (0..batch * picture).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
        let began = Instant::now();
        let features = self.model.encode_images(&pixels, batch);
        let encode_s = Some(began.elapsed().as_secs_f64());
        let mut sequences = self.sequences(features)?;
        let began = Instant::now();
        sequences.prefill();
        let prefill_s = began.elapsed().as_secs_f64();
        let began = Instant::now();
        (0..self.load.steps).for_each(|step| sequences.generate(step));
        let step_s = began.elapsed().as_secs_f64() / self.load.steps as f64;
        Ok(Times { encode_s, prefill_s, step_s })
    }

    fn sequences(&self, features: Vec<prelim_worker::model::ImageFeatures<Cpu>>) -> anyhow::Result<Sequences<'_>> {
        let config = self.model.config();
        let word = |i: usize| (20 + i * 7_919 % (config.vocabulary - 60)) as u32;
        let mut prompt: Vec<u32> = (0..self.load.words).map(word).filter(|id| *id != config.image_token).collect();
        anyhow::ensure!(prompt.len() > 4, "a vocabulary of {} is too small", config.vocabulary);
        prompt.splice(4..4, vec![config.image_token; config.tokens_per_image]);
        let each = (prompt.len() + self.load.steps).div_ceil(BLOCK_TOKENS);
        let count = features.len();
        Ok(Sequences {
            model: &self.model,
            kv: self.model.new_kv_cache(each * count, BLOCK_TOKENS).context("no memory for keys and values")?,
            images: features.into_iter().map(|features| PlacedImage { at: 4, features }).collect(),
            prompt,
            blocks: (0..count).map(|s| (s * each..(s + 1) * each).map(|block| block as u32).collect()).collect(),
        })
    }
}

impl Sequences<'_> {
    fn prefill(&mut self) {
        let chunks = self.blocks.iter().zip(&self.images).map(|(blocks, image)| Chunk {
            adapter: None,
            start: 0,
            tokens: &self.prompt,
            images: vec![PlacedImage { at: image.at, features: image.features.clone() }],
            blocks,
            logits: Want::Last,
        });
        self.model.forward(&mut self.kv, &Batch { chunks: chunks.collect() });
    }

    fn generate(&mut self, step: usize) {
        let token = [self.prompt[0]];
        let chunks = self.blocks.iter().map(|blocks| Chunk {
            adapter: None,
            start: self.prompt.len() + step,
            tokens: &token,
            images: Vec::new(),
            blocks,
            logits: Want::Last,
        });
        self.model.forward(&mut self.kv, &Batch { chunks: chunks.collect() });
    }
}
