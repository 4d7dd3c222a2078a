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
    /// One of `count` prompts whose cache blocks lie mixed.
    fn new(model: &Model<B>, (golden, adapter): &Case, (number, count): (usize, usize)) -> Self {
        let (config, adapter) = (model.config(), *adapter);
        let starts = image_starts(&golden.tokens, config.image_token, config.tokens_per_image);
        let images = match golden.tensors.get("pixel_values") {
            Some(pixels) => model.encode_images_with(pixels, starts.len(), adapter).expect("room"),
            None => Vec::new(),
        };
        let blocks = (0..BLOCKS_EACH).map(|block| (block * count + number) as u32).collect();
        let images = starts.into_iter().zip(images).collect();
        Self { tokens: golden.tokens.clone(), images, blocks, done: 0, logits: Vec::new(), adapter }
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

/// A prompt, and the adapter that it is read with.
pub(crate) type Case = (Golden, Option<AdapterId>);

/// The cases of Gemma 3 in f32, each with the adapter that stands in its place.
pub(crate) fn gemma3_cases(adapters: [Option<AdapterId>; 4]) -> Vec<Case> {
    let cases = ["one_image_f32", "two_images_f32", "text_only_f32", "pan_scan_f32"].map(Golden::read);
    cases.into_iter().zip(adapters).collect()
}

/// All cases together, so many tokens at a time, on one model; alone and whole on another.
pub(crate) fn check_same_bits_in_company<A: Backend, B: Backend>(
    alone: &Model<A>,
    together: &Model<B>,
    cases: &[Case],
    steps: &[usize],
) {
    let count = cases.len();
    let mut kv = alone.new_kv_cache(count * BLOCKS_EACH, BLOCK_TOKENS).unwrap();
    let wanted: Vec<Vec<f32>> = cases
        .iter()
        .map(|case| read(alone, &mut kv, vec![Reading::new(alone, case, (0, count))], usize::MAX / 2).remove(0))
        .collect();
    let mut kv = together.new_kv_cache(count * BLOCKS_EACH, BLOCK_TOKENS).unwrap();
    for step in steps {
        let prompts = cases.iter().enumerate().map(|(i, case)| Reading::new(together, case, (i, count))).collect();
        let found = read(together, &mut kv, prompts, *step);
        assert!(bits(&found) == bits(&wanted), "{}, {step} tokens at a time", together.backend().name());
    }
}
