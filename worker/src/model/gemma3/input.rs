//! A batch, checked and laid out in rows.

use prelim_kernels::host::HostPlan;
use prelim_kernels::{Backend, Span};

use super::super::Watch;
use super::super::batch::{Batch, Want};
use super::super::config::{ModelConfig, TextConfig};

/// Checks a batch, and says where its tokens and images are.
pub(super) fn spans<'a, B: Backend>(batch: &Batch<'a, B>, config: &ModelConfig) -> Vec<Span<'a>> {
    let span = |chunk: &super::super::Chunk<'a, B>| {
        assert!(!chunk.tokens.is_empty(), "a chunk without tokens");
        let end = chunk.start + chunk.tokens.len();
        let mut soft = 0;
        let images = chunk.images.iter().map(|image| {
            let range = image.at..image.at + image.features.tokens;
            assert!(chunk.start <= range.start && range.end <= end, "image at {range:?} is cut by a chunk");
            let tokens = &chunk.tokens[range.start - chunk.start..range.end - chunk.start];
            assert!(tokens.iter().all(|id| *id == config.image_token), "image at {range:?} without soft tokens");
            soft += tokens.len();
            range
        });
        let images: Vec<_> = images.collect();
        let found = chunk.tokens.iter().filter(|id| **id == config.image_token).count();
        assert_eq!(found, soft, "soft tokens outside an image, or images that overlap");
        Span { start: chunk.start, tokens: chunk.tokens.len(), blocks: chunk.blocks, images }
    };
    assert!(!batch.chunks.is_empty(), "a batch without chunks");
    batch.chunks.iter().map(span).collect()
}

/// Rows of the embedding; soft tokens may have none and are replaced afterwards.
pub(super) fn embedding_ids<B: Backend>(batch: &Batch<'_, B>, config: &ModelConfig) -> Vec<u32> {
    let ids = batch.chunks.iter().flat_map(|chunk| chunk.tokens.iter().copied());
    ids.map(|id| {
        let known = (id as usize) < config.text.vocabulary;
        assert!(known || id == config.image_token, "token {id} is outside the vocabulary");
        if known { id } else { 0 }
    })
    .collect()
}

pub(super) fn wanted_rows<B: Backend>(batch: &Batch<'_, B>) -> Vec<u32> {
    let mut rows = Vec::new();
    let mut row = 0;
    for chunk in &batch.chunks {
        let end = row + chunk.tokens.len() as u32;
        match chunk.logits {
            Want::None => {}
            Want::Last => rows.push(end - 1),
            Want::All => rows.extend(row..end),
        }
        row = end;
    }
    rows
}

/// Which positions each new token sees, as 0 and 1; of the first sequence.
pub(super) fn show_masks(spans: &[Span<'_>], block_tokens: usize, text: &TextConfig, watch: &mut Watch<'_>) {
    if !watch.is_on() {
        return;
    }
    let plan = HostPlan::new(&spans[..1], block_tokens);
    let span = &plan.spans[0];
    let width = span.start + span.tokens;
    for (name, window) in [("mask_full_attention", None), ("mask_sliding_attention", Some(text.window))] {
        watch.show_values(name, width, || {
            let row = |index: usize| {
                let visible = span.visible(index, window);
                (0..width).map(move |position| f32::from(u8::from(visible.contains(&position))))
            };
            (0..span.tokens).flat_map(row).collect()
        });
    }
}
