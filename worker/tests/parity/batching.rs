//! A sequence gets the same bits alone and in company, whole and in chunks.

use prelim_kernels::Backend;
use prelim_worker::model::{AdapterId, Batch, Chunk, KvCache, Model, PlacedImage, Want};

use crate::golden::{Golden, image_starts};

pub(crate) const BLOCK_TOKENS: usize = 16;
/// More than any prompt here needs.
const BLOCKS_EACH: usize = 12;

/// A prompt that is being read.
struct Reading<B: Backend> {
    tokens: Vec<u32>,
    images: Vec<(usize, prelim_worker::model::ImageFeatures<B>)>,
    blocks: Vec<u32>,
    done: usize,
    logits: Vec<f32>,
    adapter: Option<AdapterId>,
}

impl<B: Backend> Reading<B> {
    fn new(model: &Model<B>, case: &str, number: usize, adapter: Option<AdapterId>) -> Self {
        let golden = Golden::read(case);
        let starts = image_starts(&golden.tokens, model.config().image_token);
        let images = match golden.tensors.get("pixel_values") {
            Some(pixels) => model.encode_images_with(pixels, starts.len(), adapter),
            None => Vec::new(),
        };
        let blocks = (0..BLOCKS_EACH).map(|block| (block * 4 + number) as u32).collect();
        let images = starts.into_iter().zip(images).collect();
        Self { tokens: golden.tokens, images, blocks, done: 0, logits: Vec::new(), adapter }
    }

    /// The end of a chunk of about `step` tokens that cuts no image.
    fn chunk_end(&self, image_tokens: usize, step: usize) -> usize {
        let end = (self.done + step).min(self.tokens.len());
        let cut = self.images.iter().find(|(at, _)| *at < end && end < at + image_tokens);
        cut.map_or(end, |(at, _)| at + image_tokens)
    }
}

/// Reads all prompts side by side, `step` tokens at a time each, and returns the logits of every position.
fn read<B: Backend>(model: &Model<B>, kv: &mut KvCache<B>, mut prompts: Vec<Reading<B>>, step: usize) -> Vec<Vec<f32>> {
    let image_tokens = model.config().tokens_per_image;
    while prompts.iter().any(|prompt| prompt.done < prompt.tokens.len()) {
        let active = |prompt: &&Reading<B>| prompt.done < prompt.tokens.len();
        let ends: Vec<usize> = prompts.iter().map(|prompt| prompt.chunk_end(image_tokens, step)).collect();
        let chunks = prompts.iter().zip(&ends).filter(|(prompt, _)| active(prompt)).map(|(prompt, end)| {
            let range = prompt.done..*end;
            let images = prompt.images.iter().filter(|(at, _)| range.contains(at));
            Chunk {
                adapter: prompt.adapter,
                start: prompt.done,
                tokens: &prompt.tokens[range.clone()],
                images: images.map(|(at, features)| PlacedImage { at: *at, features: features.clone() }).collect(),
                blocks: &prompt.blocks,
                logits: Want::All,
            }
        });
        let logits = model.forward(kv, &Batch { chunks: chunks.collect() });
        let mut row = 0;
        for (prompt, end) in prompts.iter_mut().zip(ends) {
            while prompt.done < end {
                prompt.logits.extend_from_slice(logits.row(row));
                prompt.done += 1;
                row += 1;
            }
        }
    }
    prompts.into_iter().map(|prompt| prompt.logits).collect()
}

fn bits(values: &[Vec<f32>]) -> Vec<Vec<u32>> {
    values.iter().map(|row| row.iter().map(|value| value.to_bits()).collect()).collect()
}

/// All cases together, so many tokens at a time, on one model; alone and whole on another. Each case with the adapter that
/// stands in its place.
pub(crate) fn check_same_bits_in_company<A: Backend, B: Backend>(
    alone: &Model<A>,
    together: &Model<B>,
    adapters: [Option<AdapterId>; 4],
    steps: &[usize],
) {
    let cases = ["one_image_f32", "two_images_f32", "text_only_f32", "pan_scan_f32"];
    let cases: Vec<_> = cases.into_iter().zip(adapters).collect();
    let mut kv = alone.new_kv_cache(4 * BLOCKS_EACH, BLOCK_TOKENS).unwrap();
    let wanted: Vec<Vec<f32>> = cases
        .iter()
        .map(|(case, adapter)| {
            read(alone, &mut kv, vec![Reading::new(alone, case, 0, *adapter)], usize::MAX / 2).remove(0)
        })
        .collect();
    let mut kv = together.new_kv_cache(4 * BLOCKS_EACH, BLOCK_TOKENS).unwrap();
    for step in steps {
        let prompts = cases.iter().enumerate();
        let prompts = prompts.map(|(i, (case, adapter))| Reading::new(together, case, i, *adapter)).collect();
        let found = read(together, &mut kv, prompts, *step);
        assert!(bits(&found) == bits(&wanted), "{}, {step} tokens at a time", together.backend().name());
    }
}
