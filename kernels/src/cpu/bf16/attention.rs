//! Attention. A result of a product has keys in its rows and queries in its lanes, so that softmax needs no sums
//! across lanes.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::pack::{Tile, pack_rows, round_columns, round_row, rows_of};
use super::pairs::Pairs;
use super::tiles::Tiles;
use super::{Four, Multiply, SIDE, TERMS, Unit};
use crate::args::{Attend, AttendPatches, CacheShape};
use crate::backend::DeviceError;
use crate::cpu::Cpu;
use crate::cpu::lanes::{Avx512, Lanes};
use crate::cpu::math::exp;
use crate::cpu::paged::zeros;
use crate::cpu::pages::Pages;
use crate::cpu::rows::Group;
use crate::cpu::work::{Shared, Work};
use crate::host::{HostPlan, HostSpan};

/// Queries that share a pass over keys and values.
const QUERIES: usize = 2 * SIDE;
/// Rows of a prompt that share a copy of values.
const PROMPT_ROWS: usize = 8 * SIDE;

fn lines(numbers: usize) -> Vec<Group> {
    vec![Group([0; TERMS]); numbers.div_ceil(TERMS)]
}

fn numbers(lines: &mut [Group]) -> &mut [u16] {
    // SAFETY: a group is 32 numbers without padding.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * TERMS) }
}

/// What some queries of one head attend to: keys in strips of sixteen, and values.
struct Seen<K: Fn(usize) -> *const u8> {
    /// The first byte of a strip of keys.
    keys: K,
    /// Strips of keys.
    strips: usize,
    head_dim: usize,
    /// Values, `[padded head_dim, value_stride]`.
    values: *const u16,
    value_stride: usize,
    scale: f32,
}

/// The memory of a thread.
struct Scratch {
    queries: [Vec<MaybeUninit<Tile>>; 2],
    scores: Vec<Four>,
    weights: [Vec<MaybeUninit<Tile>>; 2],
}

impl Scratch {
    fn new() -> Self {
        Self { queries: [Vec::new(), Vec::new()], scores: Vec::new(), weights: [Vec::new(), Vec::new()] }
    }

    fn resize(&mut self, head_dim: usize, strips: usize) {
        let pairs = strips.div_ceil(2);
        self.scores.resize(pairs, Four::ZERO);
        for group in 0..2 {
            self.queries[group].resize(head_dim.div_ceil(TERMS), MaybeUninit::uninit());
            self.weights[group].resize(pairs, MaybeUninit::uninit());
        }
    }
}

impl<K: Fn(usize) -> *const u8> Seen<K> {
    /// Attention of up to 32 queries, which are packed in the scratch already; `visible` has the keys that each sees, and
    /// `out` where its result begins.
    ///
    /// # Safety
    /// The processor has the features and the unit. Strips of keys have 16 rows of `head_dim` numbers, padded to groups, and
    /// values a number for every key up to whole groups. Results have `head_dim` numbers.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    unsafe fn attend<M: Multiply>(&self, unit: &M, scratch: &mut Scratch, visible: &[Range<usize>], out: &[*mut f32]) {
        let groups = visible.len().div_ceil(SIDE);
        let steps = self.head_dim.div_ceil(TERMS);
        // SAFETY: the caller's contract.
        unsafe {
            let queries = [scratch.queries[0].as_ptr().cast(), scratch.queries[1].as_ptr().cast()];
            for (pair, scores) in scratch.scores.iter_mut().enumerate() {
                let second = (2 * pair + 1).min(self.strips - 1);
                let keys = [(self.keys)(2 * pair), (self.keys)(second)];
                let stride = steps * size_of::<Group>();
                match groups {
                    1 => unit.two_by_one(keys, stride, queries[0], steps, scores, true),
                    _ => unit.two_by_two(keys, stride, queries, steps, scores, true),
                }
            }
            let mut totals = [[0.0f32; SIDE]; 2];
            for group in 0..groups {
                let visible = &visible[group * SIDE..visible.len().min((group + 1) * SIDE)];
                let total = self.weigh(&scratch.scores, group, visible, &mut scratch.weights[group]);
                _mm512_storeu_ps(totals[group].as_mut_ptr(), total);
            }
            let weights = [scratch.weights[0].as_ptr().cast(), scratch.weights[1].as_ptr().cast()];
            let mut sums = Four::ZERO;
            let (strips, stride) = (self.head_dim.div_ceil(SIDE), self.value_stride);
            for strip in (0..strips).step_by(2) {
                let values = [strip, (strip + 1).min(strips - 1)].map(|strip| self.values.add(strip * SIDE * stride));
                let (values, steps) = (values.map(<*const u16>::cast), self.strips.div_ceil(2));
                match groups {
                    1 => unit.two_by_one(values, 2 * stride, weights[0], steps, &mut sums, true),
                    _ => unit.two_by_two(values, 2 * stride, weights, steps, &mut sums, true),
                }
                for (half, group) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let first = (strip + half) * SIDE;
                    if group < groups && first < self.head_dim {
                        let out = &out[group * SIDE..out.len().min((group + 1) * SIDE)];
                        let mask = ((1u32 << (self.head_dim - first).min(SIDE)) - 1) as u16;
                        let sums = rows_of(&sums.0[2 * half + group], out.len());
                        for ((out, sum), total) in out.iter().zip(sums).zip(totals[group]) {
                            let result = _mm512_div_ps(sum, _mm512_set1_ps(total));
                            // The mask leaves out what is beyond the head.
                            _mm512_mask_storeu_ps(out.add(first), mask, result);
                        }
                    }
                }
            }
        }
    }

    /// Scores to weights, `exp(scale · (score − largest))`, rounded and packed in pairs of keys; and the sums of weights, in
    /// the order of [`crate::cpu::softmax::weigh`].
    ///
    /// # Safety
    /// As [`Seen::attend`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    unsafe fn weigh(
        &self,
        scores: &[Four],
        group: usize,
        visible: &[Range<usize>],
        weights: &mut [MaybeUninit<Tile>],
    ) -> __m512 {
        let bound = |of: &dyn Fn(&Range<usize>) -> usize| {
            let mut bounds = [0i32; SIDE];
            bounds.iter_mut().zip(visible).for_each(|(bound, visible)| *bound = of(visible) as i32);
            // SAFETY: sixteen numbers.
            unsafe { _mm512_loadu_si512(bounds.as_ptr().cast()) }
        };
        let (starts, ends) = (bound(&|visible| visible.start), bound(&|visible| visible.end));
        let all_from = visible.iter().map(|visible| visible.start).max().unwrap_or(0);
        let all_to =
            if visible.len() == SIDE { visible.iter().map(|visible| visible.end).min().unwrap_or(0) } else { 0 };
        // Lanes that see a key.
        let seen = |key: usize| -> __mmask16 {
            let key = _mm512_set1_epi32(key as i32);
            _mm512_cmpge_epi32_mask(key, starts) & _mm512_cmplt_epi32_mask(key, ends)
        };
        let nothing = _mm512_set1_ps(f32::NEG_INFINITY);
        let mut largest = [nothing; 4];
        let tile = |strip: usize| &scores[strip / 2].0[strip % 2 * 2 + group];
        let whole = |strip: usize| all_from <= strip * SIDE && (strip + 1) * SIDE <= all_to;
        for strip in 0..self.strips {
            let whole = whole(strip);
            for (row, scores) in tile(strip).chunks_exact(SIDE).enumerate() {
                // SAFETY: a row has sixteen scores.
                let score = unsafe { _mm512_loadu_ps(scores.as_ptr()) };
                let mask = if whole { u16::MAX } else { seen(strip * SIDE + row) };
                largest[row % 4] = _mm512_mask_max_ps(largest[row % 4], mask, score, largest[row % 4]);
            }
        }
        let largest = _mm512_max_ps(_mm512_max_ps(largest[0], largest[1]), _mm512_max_ps(largest[2], largest[3]));
        let scale = _mm512_set1_ps(self.scale);
        let mut totals = [_mm512_setzero_ps(); SIDE];
        for strip in 0..self.strips {
            let (tile, whole) = (tile(strip), whole(strip));
            for pair in 0..SIDE / 2 {
                let mut bits = [_mm512_setzero_si512(); 2];
                for (half, bits) in bits.iter_mut().enumerate() {
                    let row = 2 * pair + half;
                    // SAFETY: a row has sixteen scores; the features are there.
                    unsafe {
                        let score = _mm512_loadu_ps(tile[row * SIDE..].as_ptr());
                        let weight = exp::<Avx512>(_mm512_mul_ps(_mm512_sub_ps(score, largest), scale));
                        let mask = if whole { u16::MAX } else { seen(strip * SIDE + row) };
                        let weight = _mm512_maskz_mov_ps(mask, weight);
                        totals[row] = _mm512_add_ps(totals[row], weight);
                        *bits = _mm512_castps_si512(Avx512::round_bf16(weight));
                    }
                }
                let both = _mm512_or_si512(_mm512_srli_epi32::<16>(bits[0]), bits[1]);
                Tile::put(&mut weights[strip / 2], strip % 2 * (SIDE / 2) + pair, both);
            }
        }
        if !self.strips.is_multiple_of(2) {
            for pair in SIDE / 2..SIDE {
                Tile::put(&mut weights[self.strips / 2], pair, _mm512_setzero_si512());
            }
        }
        for width in [8, 4, 2, 1] {
            for row in 0..width {
                totals[row] = _mm512_add_ps(totals[row], totals[row + width]);
            }
        }
        totals[0]
    }
}

/// Keys and values of one head of an image.
struct Head {
    keys: Vec<Group>,
    values: Vec<Group>,
}

/// Attention of patches among themselves.
pub(in super::super) fn attend_patches(unit: Unit, work: Work<'_>, args: AttendPatches<'_, Cpu>) {
    match unit {
        Unit::Tiles => patches::<Tiles>(work, args),
        Unit::Pairs => patches::<Pairs>(work, args),
    }
}

fn patches<M: Multiply>(work: Work<'_>, args: AttendPatches<'_, Cpu>) {
    let (patches, heads, head_dim) = (args.patches, args.heads, args.head_dim);
    let (width, row) = (heads * head_dim, 3 * heads * head_dim);
    assert!(args.qkv.len() >= args.images * patches * row, "queries, keys and values");
    assert!(args.out.len() >= args.images * patches * width, "result of attention");
    let pairs = args.images * heads;
    let (key_width, value_stride) = (head_dim.next_multiple_of(TERMS), patches.next_multiple_of(TERMS));
    let work = if work.tasks(pairs * 2 * patches * patches * head_dim) == 1 { work.alone() } else { work };
    let qkv: &[f32] = args.qkv;
    let part = |pair: usize, patch: usize, part: usize| {
        let (image, head) = (pair / heads, pair % heads);
        &qkv[(image * patches + patch) * row + part * width + head * head_dim..]
    };
    let mut packed: Vec<Head> = (0..pairs).map(|_| Head { keys: Vec::new(), values: Vec::new() }).collect();
    work.run_each(&mut packed, |pair, head| {
        head.keys = lines(patches.next_multiple_of(SIDE) * key_width);
        head.values = lines(head_dim.next_multiple_of(SIDE) * value_stride);
        for (patch, to) in numbers(&mut head.keys).chunks_exact_mut(key_width).enumerate().take(patches) {
            // SAFETY: a key has `head_dim` numbers; the processor has the features wherever this is used.
            unsafe { round_row(part(pair, patch, 1).as_ptr(), head_dim, to) };
        }
        for first in (0..patches).step_by(TERMS) {
            let (from, to) = (part(pair, first, 2).as_ptr(), &mut numbers(&mut head.values)[first..]);
            // SAFETY: as above, for values of this and the next patches.
            unsafe { round_columns(from, row, (patches - first).min(TERMS), head_dim, to, value_stride) };
        }
    });
    let blocks = patches.div_ceil(QUERIES);
    let out = Shared::new(args.out);
    let packed: &[Head] = &packed;
    work.run_with(pairs * blocks, Scratch::new, |scratch, task| {
        let (pair, first) = (task / blocks, task % blocks * QUERIES);
        let count = (patches - first).min(QUERIES);
        let head = &packed[pair];
        let strips = patches.div_ceil(SIDE);
        scratch.resize(head_dim, strips);
        let seen = Seen {
            keys: |strip: usize| head.keys[strip * SIDE * key_width / TERMS..].as_ptr().cast(),
            strips,
            head_dim,
            values: head.values.as_ptr().cast(),
            value_stride,
            scale: args.scale,
        };
        let at = |query: usize| ((pair / heads * patches + first + query) * heads + pair % heads) * head_dim;
        // SAFETY: queries are there; results of these queries are nobody else's; the rest as `Seen::attend` wants it.
        unsafe {
            for group in 0..count.div_ceil(SIDE) {
                let from = part(pair, first + group * SIDE, 0).as_ptr();
                let queries = (count - group * SIDE).min(SIDE);
                pack_rows(from, row, queries, head_dim, &mut scratch.queries[group]);
            }
            let results: Vec<*mut f32> = (0..count).map(|query| out.pointer().add(at(query))).collect();
            seen.attend(&M::new(), scratch, &vec![0..patches; count], &results);
        }
    });
}

/// Keys and values as bf16: a key's numbers follow each other, and so do the values of a block that one number of a result
/// is summed from.
#[derive(Debug)]
pub(in super::super) struct Cache {
    shape: CacheShape,
    /// `[layers, blocks, kv_heads, block_tokens, padded head_dim]`
    keys: Pages<Group>,
    /// `[layers, blocks, kv_heads, padded head_dim, block_tokens]`
    values: Pages<Group>,
}

impl Cache {
    pub(in super::super) fn new(shape: CacheShape) -> Result<Self, DeviceError> {
        let heads = shape.layers * shape.blocks * shape.kv_heads;
        // Zeros and not just any memory: what a mask hides is multiplied with zero, which NaN would survive.
        let lines = |width: usize| zeros((heads * shape.block_tokens * width).div_ceil(TERMS));
        Ok(Self { shape, keys: lines(cache_key_width(shape))?, values: lines(cache_value_width(shape))? })
    }

    fn index(&self, layer: usize, block: usize, head: usize) -> usize {
        (layer * self.shape.blocks + block) * self.shape.kv_heads + head
    }

    pub(in super::super) fn clear_values(&mut self, at: (usize, usize, usize)) {
        let len = self.shape.block_tokens * cache_value_width(self.shape);
        let first = self.index(at.0, at.1, at.2) * len;
        numbers(&mut self.values)[first..][..len].fill(0);
    }

    /// Writes key and value of a head of one token.
    pub(in super::super) fn put(&mut self, at: (usize, usize, usize), place: usize, key: &[f32], value: &[f32]) {
        let (index, tokens) = (self.index(at.0, at.1, at.2), self.shape.block_tokens);
        let width = cache_key_width(self.shape);
        let to = &mut numbers(&mut self.keys)[(index * tokens + place) * width..][..width];
        // SAFETY: the key is as long as it says; this cache is made only where the processor has the features.
        unsafe { round_row(key.as_ptr(), key.len(), to) };
        let mut rounded = [0u16; 2 * TERMS];
        let width = cache_value_width(self.shape);
        let values = &mut numbers(&mut self.values)[index * tokens * width + place..];
        for (part, value) in value.chunks(rounded.len()).enumerate() {
            // SAFETY: as above.
            unsafe { round_row(value.as_ptr(), value.len(), &mut rounded) };
            let to = values[part * rounded.len() * tokens..].iter_mut().step_by(tokens);
            for (to, bits) in to.zip(rounded).take(value.len()) {
                *to = bits;
            }
        }
    }

    fn strip_of_keys(&self, layer: usize, block: usize, head: usize, place: usize) -> *const u8 {
        let width = cache_key_width(self.shape) / TERMS;
        self.keys[(self.index(layer, block, head) * self.shape.block_tokens + place) * width..].as_ptr().cast()
    }

    /// Sixteen values for each number of a head.
    fn values(&self, layer: usize, block: usize, head: usize, place: usize) -> impl Iterator<Item = *const u16> {
        let (tokens, width) = (self.shape.block_tokens, cache_value_width(self.shape));
        let first = self.index(layer, block, head) * tokens * width + place;
        assert!(first + (self.shape.head_dim - 1) * tokens + SIDE <= self.values.len() * TERMS, "values of a block");
        let values: *const u16 = self.values.as_ptr().cast();
        // SAFETY: within the cache, as was just checked.
        (0..self.shape.head_dim).map(move |number| unsafe { values.add(first + number * tokens) })
    }
}

fn cache_key_width(shape: CacheShape) -> usize {
    shape.head_dim.next_multiple_of(TERMS)
}

fn cache_value_width(shape: CacheShape) -> usize {
    shape.head_dim.next_multiple_of(SIDE)
}

/// Some tokens of a sequence, the positions that any of them sees, and a head of keys.
struct Task<'a> {
    span: &'a HostSpan,
    tokens: Range<usize>,
    seen: Range<usize>,
    kv_head: usize,
}

/// Attention of new tokens over the cache.
pub(in super::super) fn attend(
    unit: Unit,
    work: Work<'_>,
    args: Attend<'_, Cpu>,
    cache: &Cache,
    seen: impl Fn(&HostSpan, Range<usize>) -> Range<usize>,
) {
    let shape = cache.shape;
    let group = args.heads / shape.kv_heads;
    let tokens_at_once = (PROMPT_ROWS / group).max(1);
    let mut tasks = Vec::new();
    let mut multiply_adds = 0;
    for span in &args.plan.spans {
        for first in (0..span.tokens).step_by(tokens_at_once) {
            let tokens = first..(first + tokens_at_once).min(span.tokens);
            let seen = seen(span, tokens.clone());
            multiply_adds += 2 * tokens.len() * args.heads * seen.len() * shape.head_dim;
            for kv_head in 0..shape.kv_heads {
                tasks.push(Task { span, tokens: tokens.clone(), seen: seen.clone(), kv_head });
            }
        }
    }
    let work = if work.tasks(multiply_adds) == 1 { work.alone() } else { work };
    let out = Shared::new(args.out);
    let over = Over {
        q: args.q,
        heads: args.heads,
        group,
        scale: args.scale,
        window: args.window,
        plan: args.plan,
        cache,
        layer: args.layer,
    };
    let own = || (Scratch::new(), Vec::new(), Vec::new());
    work.run_with(tasks.len(), own, |(scratch, values, queries), task| {
        let task = &tasks[task];
        // SAFETY: this unit was found on the processor; results of the task's tokens are nobody else's.
        unsafe {
            match unit {
                Unit::Tiles => over.run::<Tiles>(task, scratch, values, queries, out.pointer()),
                Unit::Pairs => over.run::<Pairs>(task, scratch, values, queries, out.pointer()),
            }
        }
    });
}

/// What all tasks of a pass share.
struct Over<'a> {
    q: &'a [f32],
    heads: usize,
    group: usize,
    scale: f32,
    window: Option<usize>,
    plan: &'a HostPlan,
    cache: &'a Cache,
    layer: usize,
}

impl Over<'_> {
    /// # Safety
    /// The processor has the unit; the results of the task's tokens belong to it.
    unsafe fn run<M: Multiply>(
        &self,
        task: &Task<'_>,
        scratch: &mut Scratch,
        values: &mut Vec<Group>,
        queries: &mut Vec<f32>,
        out: *mut f32,
    ) {
        let (head_dim, block_tokens) = (self.cache.shape.head_dim, self.plan.block_tokens);
        // Groups of values begin where they would for any other tokens.
        let origin = task.seen.start / TERMS * TERMS;
        let strips = (task.seen.end - origin).div_ceil(SIDE);
        let slot = |strip: usize| task.span.slot(origin + strip * SIDE, block_tokens);
        let value_stride = strips.next_multiple_of(2) * SIDE;
        values.clear();
        values.resize(head_dim.next_multiple_of(SIDE) * value_stride / TERMS, Group([0; TERMS]));
        for strip in 0..strips {
            let (block, place) = slot(strip);
            let to = numbers(values).as_mut_ptr();
            for (number, from) in self.cache.values(self.layer, block, task.kv_head, place).enumerate() {
                // SAFETY: both have sixteen values.
                unsafe { to.add(number * value_stride + strip * SIDE).copy_from_nonoverlapping(from, SIDE) };
            }
        }
        scratch.resize(head_dim, strips);
        let seen = Seen {
            keys: |strip: usize| {
                let (block, place) = slot(strip);
                self.cache.strip_of_keys(self.layer, block, task.kv_head, place)
            },
            strips,
            head_dim,
            values: values.as_ptr().cast(),
            value_stride,
            scale: self.scale,
        };
        let rows = task.tokens.len() * self.group;
        // Query heads of a token follow each other, and those of the next token begin `heads` later.
        let at = |row: usize| {
            let token = task.span.row + task.tokens.start + row / self.group;
            (token * self.heads + task.kv_head * self.group + row % self.group) * head_dim
        };
        // SAFETY: the caller's contract.
        let unit = unsafe { M::new() };
        for first in (0..rows).step_by(QUERIES) {
            let mine = first..(first + QUERIES).min(rows);
            queries.clear();
            mine.clone().for_each(|row| queries.extend_from_slice(&self.q[at(row)..at(row) + head_dim]));
            let visible: Vec<Range<usize>> = mine
                .clone()
                .map(|row| {
                    let visible = task.span.visible(task.tokens.start + row / self.group, self.window);
                    visible.start - origin..visible.end - origin
                })
                .collect();
            // SAFETY: the caller's contract; queries are those just copied.
            unsafe {
                for (group, queries) in queries.chunks(SIDE * head_dim).enumerate() {
                    let rows = queries.len() / head_dim;
                    pack_rows(queries.as_ptr(), head_dim, rows, head_dim, &mut scratch.queries[group]);
                }
                let results: Vec<*mut f32> = mine.map(|row| out.add(at(row))).collect();
                seen.attend(&unit, scratch, &visible, &results);
            }
        }
    }
}
