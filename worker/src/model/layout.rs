//! A batch, checked and laid out in rows: what every decoder begins with.

use prelim_kernels::host::HostPlan;
use prelim_kernels::{Backend, Span};

use super::Watch;
use super::adapter::AdaptedRows;
use super::batch::{Batch, Chunk, ImageFeatures, Want};
use super::config::ModelConfig;

/// A batch in rows, one for each new token.
pub(super) struct Layout<'a, B: Backend> {
    /// How many.
    pub(super) rows: usize,
    /// The sequences.
    pub(super) spans: Vec<Span<'a>>,
    /// A row of the embedding for each; soft tokens may have none and are replaced afterwards.
    pub(super) ids: Vec<u32>,
    /// Images, with the row that the first of their tokens has.
    pub(super) images: Vec<(usize, &'a ImageFeatures<B>)>,
    /// Rows whose logits are wanted.
    pub(super) wanted: Vec<u32>,
    /// Rows that adapters change.
    pub(super) adapted: AdaptedRows,
}

impl<'a, B: Backend> Layout<'a, B> {
    /// Checks a batch, and says where its tokens and images are.
    ///
    /// # Panics
    /// As [`super::Model::forward`].
    pub(super) fn new(batch: &'a Batch<'a, B>, config: &ModelConfig) -> Self {
        assert!(!batch.chunks.is_empty(), "a batch without chunks");
        let mut layout = Self {
            rows: 0,
            spans: Vec::new(),
            ids: Vec::new(),
            images: Vec::new(),
            wanted: Vec::new(),
            adapted: AdaptedRows::default(),
        };
        for chunk in &batch.chunks {
            layout.add(chunk, config);
        }
        layout
    }

    fn add(&mut self, chunk: &'a Chunk<'a, B>, config: &ModelConfig) {
        self.spans.push(span(chunk, config.image_token));
        self.ids.extend(chunk.tokens.iter().map(|id| {
            let known = (*id as usize) < config.vocabulary;
            assert!(known || *id == config.image_token, "token {id} is outside the vocabulary");
            if known { *id } else { 0 }
        }));
        let first = self.rows;
        self.images.extend(chunk.images.iter().map(|image| (first + image.at - chunk.start, &image.features)));
        self.rows += chunk.tokens.len();
        self.adapted.add(first..self.rows, chunk.adapter);
        let (from, to) = (first as u32, self.rows as u32);
        match chunk.logits {
            Want::None => {}
            Want::Last => self.wanted.push(to - 1),
            Want::All => self.wanted.extend(from..to),
        }
    }

    /// Which positions each new token sees, as 0 and 1; of the first sequence.
    pub(super) fn show_mask(&self, name: &str, block_tokens: usize, window: Option<usize>, watch: &mut Watch<'_>) {
        if !watch.is_on() {
            return;
        }
        let plan = HostPlan::new(&self.spans[..1], block_tokens);
        let span = &plan.spans[0];
        let width = span.start + span.tokens;
        watch.show_values(name, width, || {
            let row = |index: usize| {
                let visible = span.visible(index, window);
                (0..width).map(move |position| f32::from(u8::from(visible.contains(&position))))
            };
            (0..span.tokens).flat_map(row).collect()
        });
    }
}

fn span<'a, B: Backend>(chunk: &'a Chunk<'a, B>, image_token: u32) -> Span<'a> {
    assert!(!chunk.tokens.is_empty(), "a chunk without tokens");
    let end = chunk.start + chunk.tokens.len();
    let mut soft = 0;
    let images = chunk.images.iter().map(|image| {
        let range = image.at..image.at + image.features.tokens;
        assert!(chunk.start <= range.start && range.end <= end, "image at {range:?} is cut by a chunk");
        let tokens = &chunk.tokens[range.start - chunk.start..range.end - chunk.start];
        assert!(tokens.iter().all(|id| *id == image_token), "image at {range:?} without soft tokens");
        soft += tokens.len();
        range
    });
    let images: Vec<_> = images.collect();
    let found = chunk.tokens.iter().filter(|id| **id == image_token).count();
    assert_eq!(found, soft, "soft tokens outside an image, or images that overlap");
    Span { start: chunk.start, tokens: chunk.tokens.len(), blocks: chunk.blocks, images }
}
