//! A model that turns pictures and texts into points of one space, in which what belongs together lies close.

use std::path::Path;

use prelim_kernels::Backend;

use super::Observer;
use super::config;
use super::error::ModelError;
use super::family::Task;
use super::siglip::{Config, Siglip};
use super::weights::Weights;
use super::{Watch, WeightType};

/// An encoder of pictures and texts, loaded. It does not change: share it by reference or `Arc`.
pub struct Embedder<B: Backend> {
    config: Config,
    backend: B,
    model: Siglip<B>,
}

/// Points on the unit sphere, one for each picture or text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    values: Vec<f32>,
    width: usize,
}

impl Embeddings {
    /// Scales each row to length 1.
    fn normalized(mut values: Vec<f32>, width: usize) -> Self {
        for row in values.chunks_exact_mut(width) {
            let length = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            row.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
        Self { values, width }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Numbers of a point.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One point.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// All numbers, point by point.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl<B: Backend> Embedder<B> {
    /// Reads a Hugging Face checkpoint folder onto a device.
    pub fn load(folder: &Path, backend: B, weights: WeightType) -> Result<Self, ModelError> {
        let config = Config::of_folder(folder)?;
        Self::from_weights(config, &Weights::open(folder)?, backend, weights)
    }

    /// Builds a model from an opened checkpoint and its settings.
    pub fn from_weights(config: Config, stored: &Weights, backend: B, weights: WeightType) -> Result<Self, ModelError> {
        let keeping = weights.keeping(stored)?;
        let load = || Siglip::load(&backend, stored, &config, keeping);
        super::reserve(&backend, || drop(load()))?;
        let model = load()?;
        Ok(Self { config, backend, model })
    }

    /// What the model is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device it is on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Pictures `[images, channels, side, side]`, normalised as the processor says.
    ///
    /// # Panics
    /// When `pixel_values` is not a whole number of pictures.
    pub fn embed_images(&self, pixel_values: &[f32]) -> Embeddings {
        self.embed_images_observed(pixel_values, None)
    }

    /// [`Embedder::embed_images`], with a look at what is in between.
    pub fn embed_images_observed(&self, pixel_values: &[f32], observer: Option<&mut dyn Observer>) -> Embeddings {
        let picture = self.config.vision.picture;
        assert!(pixel_values.len().is_multiple_of(picture.values()), "pictures of {} px", picture.side);
        let values = self.model.pool_images(&self.backend, pixel_values, Watch(observer));
        Embeddings::normalized(values, self.config.width())
    }

    /// Texts as tokens, each padded to as many as there are positions.
    ///
    /// # Panics
    /// When a text has another length, or a token outside the vocabulary.
    pub fn embed_texts(&self, texts: &[Vec<u32>]) -> Embeddings {
        self.embed_texts_observed(texts, None)
    }

    /// [`Embedder::embed_texts`], with a look at what is in between.
    pub fn embed_texts_observed(&self, texts: &[Vec<u32>], observer: Option<&mut dyn Observer>) -> Embeddings {
        let text = &self.config.text;
        for tokens in texts {
            assert_eq!(tokens.len(), text.positions, "tokens of a text");
            assert!(tokens.iter().all(|id| (*id as usize) < text.vocabulary), "a token outside the vocabulary");
        }
        let values = self.model.pool_texts(&self.backend, texts, Watch(observer));
        Embeddings::normalized(values, self.config.width())
    }

    /// How well each text goes with each picture, as the model was trained to say it: a row for each picture. The logistic
    /// function of a value is the probability that the two belong together.
    pub fn logits_per_image(&self, images: &Embeddings, texts: &Embeddings) -> Vec<Vec<f32>> {
        let (scale, bias) = self.model.scale_and_bias();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let logit = |image: usize, text: usize| dot(images.row(image), texts.row(text)) * scale + bias;
        let row = |image: usize| (0..texts.len()).map(|text| logit(image, text) as f32).collect();
        (0..images.len()).map(row).collect()
    }
}

impl Config {
    /// Reads `config.json`.
    pub fn of_folder(folder: &Path) -> Result<Self, ModelError> {
        let (file, text, read) = config::open(folder, "embeds", Task::embed)?;
        read(&text).map_err(|what| ModelError::Config { file, what })
    }
}
