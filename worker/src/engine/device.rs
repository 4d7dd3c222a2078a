//! A loaded model with its cache, as the engine wants it.

use std::sync::Arc;

use prelim_kernels::{Backend, Choices, DeviceError, Pick};

use super::language_model::{Capacity, Chunk, LanguageModel};
use crate::model::{self, AdapterId, ImageFeatures, KvCache, Model, ModelError, PlacedImage, Scores, Want};

/// Tokens in a cache block: small enough that short sequences waste little, and what paged attention likes.
pub const BLOCK_TOKENS: usize = 16;

/// A model on a device, and the cache for its sequences.
pub struct OnDevice<B: Backend> {
    model: Arc<Model<B>>,
    cache: KvCache<B>,
}

impl<B: Backend> OnDevice<B> {
    /// Makes a cache for `tokens` tokens beside the model.
    pub fn new(model: Arc<Model<B>>, tokens: usize) -> Result<Self, ModelError> {
        let cache = model.new_kv_cache(tokens.div_ceil(BLOCK_TOKENS), BLOCK_TOKENS)?;
        Ok(Self { model, cache })
    }
}

impl<B: Backend> LanguageModel for OnDevice<B> {
    type Image = ImageFeatures<B>;
    type Scores = Scores<B>;

    fn capacity(&self) -> Capacity {
        let config = self.model.config();
        Capacity {
            vocabulary: config.vocabulary,
            positions: config.max_positions,
            blocks: self.cache.blocks(),
            block_tokens: self.cache.block_tokens(),
            image_tokens: config.tokens_per_image,
            picture_values: config.picture.values(),
            adapters: self.model.adapters(),
        }
    }

    fn picture_adapter(&self, adapter: Option<usize>) -> Option<usize> {
        adapter.filter(|adapter| self.model.adapts_pictures(AdapterId(*adapter)))
    }

    fn encode(&mut self, pictures: &[&[f32]], adapter: Option<usize>) -> Result<Vec<ImageFeatures<B>>, DeviceError> {
        self.model.encode_images_with(&pictures.concat(), pictures.len(), adapter.map(AdapterId))
    }

    fn forward(&mut self, chunks: &[Chunk<'_, ImageFeatures<B>>]) -> Result<Scores<B>, DeviceError> {
        let batch = model::Batch { chunks: chunks.iter().map(to_model).collect() };
        self.model.score(&mut self.cache, &batch)
    }

    fn choose(&mut self, scores: &Scores<B>, picks: &[Pick<'_>]) -> Result<Choices, DeviceError> {
        self.model.choose(scores, picks)
    }
}

fn to_model<'a, B: Backend>(chunk: &'a Chunk<'_, ImageFeatures<B>>) -> model::Chunk<'a, B> {
    let images = chunk.images.iter();
    model::Chunk {
        start: chunk.start,
        tokens: chunk.tokens,
        images: images.map(|(span, image)| PlacedImage { at: span.start, features: (*image).clone() }).collect(),
        adapter: chunk.adapter.map(AdapterId),
        blocks: chunk.blocks,
        logits: if chunk.wants_scores { Want::Last } else { Want::None },
    }
}
