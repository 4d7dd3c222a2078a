//! The decoder's cache, and attention over it: prefill and decode are one code, so that how a prompt was cut into chunks
//! does not show in the result.

use std::ops::Range;

use crate::GROUP;
use crate::args::{Attend, CacheShape, HeadNorms, StoreKeysValues};
use crate::backend::DeviceError;
use crate::host::{HostPlan, HostSpan};
use crate::weights::Arithmetic;

use super::Cpu;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::bf16 as units;
use super::lanes::{InstructionSet, Kernel, LANES, Lanes, dispatch};
use super::norm::{Kind, norm_row};
use super::pages::{Number, Pages};
use super::patches::add_values;
use super::product::Round;
use super::softmax::weigh;
use super::tile::{Chains, Groups, Left, Order, PANEL, ROWS, Right, Sums, product};
use super::work::{Shared, Work};

/// Query heads of tokens that share a pass over keys and values.
const ROWS_AT_ONCE: usize = 4 * ROWS;

/// Keys and values.
#[derive(Debug)]
pub struct PagedCache {
    pub(super) shape: CacheShape,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Panels(Panels),
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Bf16(units::Cache),
}

/// Keys and values, laid out as panels that products read as they are.
#[derive(Debug)]
struct Panels {
    shape: CacheShape,
    arithmetic: Arithmetic,
    /// `[layers, blocks, kv_heads, head_dim, block_tokens]`
    keys: Pages<f32>,
    /// `[layers, blocks, kv_heads, block_tokens, padded head_dim]`
    values: Pages<f32>,
    value_dim: usize,
}

impl PagedCache {
    #[cfg_attr(
        not(all(target_arch = "x86_64", target_os = "linux")),
        expect(unused_variables, reason = "there is one way to keep them")
    )]
    pub(super) fn new(shape: CacheShape, arithmetic: Arithmetic, set: InstructionSet) -> Result<Self, DeviceError> {
        let tokens = shape.block_tokens;
        assert!(tokens > 0 && tokens.is_multiple_of(LANES), "a block has {tokens} tokens, not a multiple of {LANES}");
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if arithmetic == Arithmetic::Bf16 && set.multiplies_bf16() {
            return Ok(Self { shape, kept: Kept::Bf16(units::Cache::new(shape)?) });
        }
        Ok(Self { shape, kept: Kept::Panels(Panels::new(shape, arithmetic)?) })
    }

    /// Writes key and value of a head of one token. With its first token a block begins anew: what another sequence left there
    /// is multiplied with zero until it is written over, which NaN would survive.
    fn put(&mut self, at: (usize, usize, usize), place: usize, key: &[f32], value: &[f32]) {
        match &mut self.kept {
            Kept::Panels(panels) => {
                if place == 0 {
                    panels.clear_values(at);
                }
                panels.put(at, place, key, value);
            }
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kept::Bf16(cache) => {
                if place == 0 {
                    cache.clear_values(at);
                }
                cache.put(at, place, key, value);
            }
        }
    }
}

impl Panels {
    fn new(shape: CacheShape, arithmetic: Arithmetic) -> Result<Self, DeviceError> {
        let tokens = shape.block_tokens;
        let value_dim = shape.head_dim.next_multiple_of(LANES);
        let heads = shape.layers * shape.blocks * shape.kv_heads;
        let keys = zeros(heads * shape.head_dim * tokens)?;
        let values = zeros(heads * value_dim * tokens)?;
        Ok(Self { shape, arithmetic, keys, values, value_dim })
    }

    fn index(&self, layer: usize, block: usize, head: usize) -> usize {
        (layer * self.shape.blocks + block) * self.shape.kv_heads + head
    }

    fn keys(&self, layer: usize, block: usize, head: usize) -> &[f32] {
        let len = self.shape.head_dim * self.shape.block_tokens;
        &self.keys[self.index(layer, block, head) * len..][..len]
    }

    fn values(&self, layer: usize, block: usize, head: usize) -> &[f32] {
        let len = self.value_dim * self.shape.block_tokens;
        &self.values[self.index(layer, block, head) * len..][..len]
    }

    fn clear_values(&mut self, (layer, block, head): (usize, usize, usize)) {
        let len = self.value_dim * self.shape.block_tokens;
        let first = self.index(layer, block, head) * len;
        self.values[first..][..len].fill(0.0);
    }

    /// Writes key and value of a head of one token.
    fn put(&mut self, (layer, block, head): (usize, usize, usize), place: usize, key: &[f32], value: &[f32]) {
        let (index, tokens) = (self.index(layer, block, head), self.shape.block_tokens);
        let first = index * self.shape.head_dim * tokens + place;
        for (to, key) in self.keys[first..].iter_mut().step_by(tokens).zip(key) {
            *to = self.arithmetic.rounded(*key);
        }
        let first = (index * tokens + place) * self.value_dim;
        for (to, value) in self.values[first..].iter_mut().zip(value) {
            *to = self.arithmetic.rounded(*value);
        }
    }
}

/// Zeros and not just any memory: what a mask hides is multiplied with zero, which NaN would survive.
/// Memory that a job may use later: all of it is there from the start, so that no job ends for lack of it.
pub(super) fn zeros<T: Number>(len: usize) -> Result<Pages<T>, DeviceError> {
    let wanted_bytes = (len * size_of::<T>()) as u64;
    let what = "the cache of keys and values";
    Pages::held(len).map_err(|_| DeviceError::OutOfMemory { what, wanted_bytes, free_bytes: None })
}

/// Norms and rotates queries and keys, and writes the cache.
pub(super) fn store(set: InstructionSet, args: StoreKeysValues<'_, Cpu>) {
    dispatch(set, Store(args));
}

struct Store<'a>(StoreKeysValues<'a, Cpu>);

impl Kernel for Store<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let args = self.0;
        let shape = args.cache.shape;
        let (heads, width) = (args.heads, shape.head_dim);
        let all_heads = heads + 2 * shape.kv_heads;
        let mut key = vec![0.0; width];
        for span in &args.plan.spans {
            for index in 0..span.tokens {
                let row = span.row + index;
                let (block, place) = span.slot(span.start + index, args.plan.block_tokens);
                let angles = &args.angles[row * width..][..width];
                let head = |index: usize| &args.qkv[(row * all_heads + index) * width..][..width];
                for q in 0..heads {
                    let out = &mut args.q[(row * heads + q) * width..][..width];
                    norm_rotate::<L>(head(q), args.norms.map(|norms| (norms.q, norms)), angles, out);
                }
                for kv in 0..shape.kv_heads {
                    norm_rotate::<L>(head(heads + kv), args.norms.map(|norms| (norms.k, norms)), angles, &mut key);
                    let value = head(heads + shape.kv_heads + kv);
                    args.cache.put((args.layer, block, kv), place, &key, value);
                }
            }
        }
    }
}

/// The halves of a head are rotated against each other: `angles` are cosines, then sines.
#[inline(always)]
fn norm_rotate<L: Lanes>(
    head: &[f32],
    norms: Option<(&Vec<f32>, HeadNorms<'_, Cpu>)>,
    angles: &[f32],
    out: &mut [f32],
) {
    match norms {
        // SAFETY: `out` is as long as the head.
        Some((weight, HeadNorms { offset, eps, .. })) => unsafe {
            norm_row::<L>(head, Kind::Rms { weight, offset }, eps, out.as_mut_ptr());
        },
        None => out.copy_from_slice(head),
    }
    let (cosines, sines) = angles.split_at(angles.len() / 2);
    let (first, second) = out.split_at_mut(cosines.len());
    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// Attention of the new tokens.
pub(super) fn attend(set: InstructionSet, work: Work<'_>, args: Attend<'_, Cpu>) {
    let shape = args.cache.shape;
    assert_eq!(args.plan.block_tokens, shape.block_tokens, "block size of plan and cache");
    assert!(args.heads.is_multiple_of(shape.kv_heads), "query heads share key and value heads");
    let values = args.plan.tokens * args.heads * shape.head_dim;
    assert!(args.q.len() >= values && args.out.len() >= values, "queries and result of attention");
    let panels = match &args.cache.kept {
        Kept::Panels(panels) => panels,
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Kept::Bf16(cache) => {
            let window = args.window;
            let unit = set.unit().expect("a cache of bf16 is made for a unit that multiplies them");
            return units::attend(unit, work, args, cache, |span, tokens| seen(span, tokens, window));
        }
    };
    let group = args.heads / shape.kv_heads;
    // Whole tokens: all query heads that read one key head.
    let tokens_at_once = (ROWS_AT_ONCE / group).max(1);
    let mut tasks = Vec::new();
    let mut multiply_adds = 0;
    for span in &args.plan.spans {
        for first in (0..span.tokens).step_by(tokens_at_once) {
            let tokens = first..(first + tokens_at_once).min(span.tokens);
            let seen = seen(span, tokens.clone(), args.window);
            multiply_adds += 2 * tokens.len() * args.heads * seen.len() * shape.head_dim;
            tasks.extend((0..shape.kv_heads).map(|head| (span, tokens.clone(), seen.clone(), head)));
        }
    }
    let work = if work.tasks(multiply_adds) == 1 { work.alone() } else { work };
    let out = Shared::new(args.out);
    work.run_with(tasks.len(), Vec::new, |scratch, task| {
        let (span, tokens, seen, kv_head) = tasks[task].clone();
        let queries = Queries {
            q: args.q,
            plan: args.plan,
            cache: panels,
            layer: args.layer,
            window: args.window,
            scale: args.scale,
            heads: (args.heads, group, kv_head),
            span,
            tokens,
            seen,
            scratch,
            out: out.pointer(),
        };
        dispatch(set, queries);
    });
}

/// The positions that any of these tokens sees.
fn seen(span: &HostSpan, tokens: Range<usize>, window: Option<usize>) -> Range<usize> {
    let first = span.visible(tokens.start, window).start;
    let end = tokens.map(|token| span.visible(token, window).end).max().unwrap_or(first);
    first..end
}

/// Some tokens of a sequence with the query heads that read one key head.
struct Queries<'a> {
    q: &'a [f32],
    plan: &'a HostPlan,
    cache: &'a Panels,
    layer: usize,
    window: Option<usize>,
    scale: f32,
    /// All query heads, those of a key head, and which key head.
    heads: (usize, usize, usize),
    span: &'a HostSpan,
    tokens: Range<usize>,
    seen: Range<usize>,
    scratch: &'a mut Vec<f32>,
    out: *mut f32,
}

impl Kernel for Queries<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.cache.arithmetic {
            Arithmetic::Exact => self.attend::<L, Chains>(),
            Arithmetic::Bf16 => self.attend::<L, Groups>(),
        }
    }
}

impl Queries<'_> {
    #[inline(always)]
    fn attend<L: Lanes, O: Order>(self) {
        let (heads, group, kv_head) = self.heads;
        let (block_tokens, head_dim) = (self.plan.block_tokens, self.cache.shape.head_dim);
        let value_dim = self.cache.value_dim;
        let mut blocks = self.seen.start / block_tokens..self.seen.end.div_ceil(block_tokens);
        // Groups begin where they would for any other tokens.
        while O::GROUPS && !(blocks.start * block_tokens).is_multiple_of(GROUP) {
            blocks.start -= 1;
        }
        let origin = blocks.start * block_tokens;
        // One vector more than needed, so that rows do not fall on the same cache sets.
        let stride = blocks.len() * block_tokens + LANES;
        let rows = self.tokens.len() * group;
        self.scratch.clear();
        self.scratch.resize(rows * (head_dim + stride + value_dim + 1), 0.0);
        let (queries, rest) = self.scratch.split_at_mut(rows * head_dim);
        let (scores, rest) = rest.split_at_mut(rows * stride);
        let (sums, totals) = rest.split_at_mut(rows * value_dim);
        // Query heads of a token follow each other, and those of the next token begin `heads` later.
        for (row, to) in queries.chunks_exact_mut(head_dim).enumerate() {
            let token = self.span.row + self.tokens.start + row / group;
            let from = (token * heads + kv_head * group + row % group) * head_dim;
            to.copy_from_slice(&self.q[from..from + head_dim]);
        }
        if O::GROUPS {
            Round(queries).run::<L>();
        }
        for (index, block) in self.span.blocks[blocks.clone()].iter().enumerate() {
            let keys = self.cache.keys(self.layer, *block as usize, kv_head);
            let to = &mut scores[index * block_tokens..];
            score::<L, O>((rows, stride), queries, (head_dim, block_tokens), keys, to);
        }
        for (row, total) in totals.iter_mut().enumerate() {
            let visible = self.span.visible(self.tokens.start + row / group, self.window);
            let visible = visible.start - origin..visible.end - origin;
            let scores = &mut scores[row * stride..][..stride - LANES];
            // SAFETY: rows of scores are whole blocks.
            *total = unsafe { weigh::<L, O>(scores, visible, self.scale) };
        }
        // Values of some keys: a block of them, or all, where groups may span blocks.
        let all;
        let blocks = &self.span.blocks[blocks];
        let each = |block: &u32| self.cache.values(self.layer, *block as usize, kv_head);
        let parts: Vec<&[f32]> = if O::GROUPS {
            all = blocks.iter().flat_map(each).copied().collect::<Vec<f32>>();
            vec![&all]
        } else {
            blocks.iter().map(each).collect()
        };
        for (index, values) in parts.into_iter().enumerate() {
            let keys = values.len() / value_dim;
            for row in (0..rows).step_by(ROWS) {
                let count = (rows - row).min(ROWS);
                let first = scores[row * stride + index * block_tokens..].as_ptr();
                let sums = &mut sums[row * value_dim..];
                // SAFETY: there are weights and values for each token of the block, and sums for each row.
                unsafe { add_values::<L, O>((count, value_dim, keys), Left { first, stride }, values, sums) };
            }
        }
        for (row, total) in totals.iter().enumerate() {
            let token = self.span.row + self.tokens.start + row / group;
            let at = (token * heads + kv_head * group + row % group) * head_dim;
            // SAFETY: `out` has this head, and no other task has it.
            let out = unsafe { std::slice::from_raw_parts_mut(self.out.add(at), head_dim) };
            for (out, sum) in out.iter_mut().zip(&sums[row * value_dim..]) {
                *out = sum / total;
            }
        }
    }
}

/// Scores of a block of keys for all rows.
#[inline(always)]
fn score<L: Lanes, O: Order>(
    (rows, stride): (usize, usize),
    queries: &[f32],
    (head_dim, block_tokens): (usize, usize),
    keys: &[f32],
    scores: &mut [f32],
) {
    let mut sums = Sums::new();
    for first in (0..block_tokens).step_by(PANEL) {
        let vectors = (block_tokens - first).min(PANEL) / LANES;
        let right = Right { first: keys[first..].as_ptr(), stride: block_tokens };
        for row in (0..rows).step_by(ROWS) {
            let count = (rows - row).min(ROWS);
            let left = Left { first: queries[row * head_dim..].as_ptr(), stride: head_dim };
            // SAFETY: queries and keys have `head_dim` values.
            unsafe { product::<L, O>((count, vectors, head_dim), left, right, &mut sums, false) };
            for r in 0..count {
                let width = vectors * LANES;
                scores[(row + r) * stride + first..][..width].copy_from_slice(sums.row(r, width));
            }
        }
    }
}
