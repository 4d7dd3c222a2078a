//! The decoder's attention, on any backend: sequences that were cut into chunks and batched in many ways.

use prelim_kernels::{Attend, Backend, CacheShape, HeadNorms, Span, StoreKeysValues};

use crate::cases::Numbers;

/// Heads, and what a token sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) window: Option<usize>,
    pub(crate) block_tokens: usize,
    /// What is added to the weights of the heads' norms, where they are normed.
    pub(crate) normed: Option<f32>,
}

/// A sequence: its number (which decides its values), length, images, and how many of its first tokens are those of the first
/// sequence and lie in the same blocks of the cache, which they fill.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    pub(crate) number: u64,
    pub(crate) tokens: usize,
    pub(crate) images: Vec<std::ops::Range<usize>>,
    pub(crate) shared: usize,
}

/// Which new tokens of each sequence are computed in one pass: `(sequence, from, to)`.
pub(crate) type Pass = Vec<(usize, usize, usize)>;

/// Runs passes over one layer, and returns the result for each sequence, `[tokens, heads, head_dim]`.
pub(crate) fn run<B: Backend>(backend: &B, shape: Heads, sequences: &[Sequence], passes: &[Pass]) -> Vec<Vec<f32>> {
    run_spoiled(backend, shape, sequences, passes, &|_, _| ())
}

/// The same, where `spoil` changes queries, keys and values, of which it is told in which pass they come.
fn run_spoiled<B: Backend>(
    backend: &B,
    shape: Heads,
    sequences: &[Sequence],
    passes: &[Pass],
    spoil: &dyn Fn(usize, &mut [f32]),
) -> Vec<Vec<f32>> {
    let layer = 1;
    let table_len = sequences.iter().map(|s| s.tokens.div_ceil(shape.block_tokens)).max().unwrap_or(0);
    let cache_shape = CacheShape {
        layers: 2,
        blocks: table_len * sequences.len(),
        block_tokens: shape.block_tokens,
        kv_heads: shape.kv_heads,
        head_dim: shape.head_dim,
    };
    let mut cache = backend.cache(cache_shape).unwrap();
    // Blocks of different sequences lie mixed, in falling order.
    let tables: Vec<Vec<u32>> = (0..sequences.len())
        .map(|s| {
            let owner = |block| if (block + 1) * shape.block_tokens <= sequences[s].shared { 0 } else { s };
            (0..table_len).map(|block| ((table_len - 1 - block) * sequences.len() + owner(block)) as u32).collect()
        })
        .collect();
    let number = |s: usize, token| sequences[if token < sequences[s].shared { 0 } else { s }].number;
    let width = shape.heads * shape.head_dim;
    let mut results: Vec<Vec<f32>> = sequences.iter().map(|s| vec![f32::NAN; s.tokens * width]).collect();
    let mut norms = Numbers::new(99);
    let q_norm = backend.upload(&norms.vector(shape.head_dim, 0.5)).unwrap();
    let k_norm = backend.upload(&norms.vector(shape.head_dim, 0.5)).unwrap();
    let frequencies: Vec<f32> =
        (0..shape.head_dim).step_by(2).map(|i| 1e4f32.powf(-(i as f32) / shape.head_dim as f32)).collect();
    for (index, pass) in passes.iter().enumerate() {
        let spans: Vec<Span<'_>> = pass
            .iter()
            .map(|(s, from, to)| Span {
                start: *from,
                tokens: to - from,
                blocks: &tables[*s],
                images: sequences[*s].images.iter().filter(|i| *from <= i.start && i.end <= *to).cloned().collect(),
            })
            .collect();
        let rows: usize = spans.iter().map(|span| span.tokens).sum();
        let all_width = width + 2 * shape.kv_heads * shape.head_dim;
        let mut qkv: Vec<f32> = pass
            .iter()
            .flat_map(|(s, from, to)| (*from..*to).map(|token| (number(*s, token), token)))
            // What is added to a variance shows in small numbers.
            .flat_map(|(number, token)| {
                let size = if token % 7 == 5 { 1e-3 } else { 2.0 };
                Numbers::new(number << 32 | token as u64).vector(all_width, size)
            })
            .collect();
        spoil(index, &mut qkv);
        let qkv = backend.upload(&qkv).unwrap();
        let (mut q, mut out) = (backend.buffer(rows * width), backend.buffer(rows * width));
        let plan = backend.plan(&spans, shape.block_tokens);
        let angles = backend.rope_angles(&plan, &frequencies);
        backend.store_keys_values(StoreKeysValues {
            qkv: &qkv,
            heads: shape.heads,
            norms: shape.normed.map(|offset| HeadNorms { q: &q_norm, k: &k_norm, offset, eps: 1e-6 }),
            angles: &angles,
            plan: &plan,
            cache: &mut cache,
            layer,
            q: &mut q,
        });
        backend.attend(Attend {
            q: &q,
            heads: shape.heads,
            scale: (shape.head_dim as f32).powf(-0.5),
            window: shape.window,
            plan: &plan,
            cache: &cache,
            layer,
            out: &mut out,
        });

        let out = backend.download(&out, rows * width);
        let mut row = 0;
        for (s, from, to) in pass {
            results[*s][from * width..to * width].copy_from_slice(&out[row * width..(row + to - from) * width]);
            row += to - from;
        }
    }
    results
}

/// Some tokens whose cache is full of what is no number or too large for 16 bits: before the first position that they see, in
/// the same 64 positions, and after the last.
pub(crate) fn beside_rubbish<B: Backend>(backend: &B, shape: Heads) -> Vec<f32> {
    let sequences = [Sequence { number: 7, tokens: 160, images: vec![], shared: 0 }];
    // Without a window all positions are seen.
    let first_sound = if shape.window.is_some() { 70 } else { 0 };
    let passes = [vec![(0, 0, 160)], vec![(0, first_sound, 100)], vec![(0, 100, 110)], vec![(0, 110, 111)]];
    let rubbish = [f32::NAN, f32::MAX, f32::INFINITY, f32::MIN];
    let spoil = |pass, values: &mut [f32]| {
        if pass == 0 {
            values.iter_mut().zip(rubbish.into_iter().cycle()).for_each(|(value, rubbish)| *value = rubbish);
        }
    };
    let width = shape.heads * shape.head_dim;
    run_spoiled(backend, shape, &sequences, &passes, &spoil)[0][100 * width..111 * width].to_vec()
}

/// Sequence by sequence, whole.
pub(crate) fn whole(sequences: &[Sequence]) -> Vec<Pass> {
    sequences.iter().enumerate().map(|(s, sequence)| vec![(s, 0, sequence.tokens)]).collect()
}

/// All sequences side by side, `step` tokens at a time, images never cut.
pub(crate) fn side_by_side(sequences: &[Sequence], step: usize) -> Vec<Pass> {
    let mut done = vec![0; sequences.len()];
    let mut passes = Vec::new();
    loop {
        let mut pass = Pass::new();
        for (s, sequence) in sequences.iter().enumerate() {
            let from = done[s];
            let mut to = (from + step).min(sequence.tokens);
            if let Some(cut) = sequence.images.iter().find(|image| image.start < to && to < image.end) {
                to = cut.end;
            }
            if from < to {
                pass.push((s, from, to));
                done[s] = to;
            }
        }
        if pass.is_empty() {
            return passes;
        }
        passes.push(pass);
    }
}
