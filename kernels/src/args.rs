//! Named arguments of the operations. Shapes are row-major, the last axis varies fastest.

use std::ops::Range;

use crate::backend::Backend;

/// The size of a paged cache of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// Decoder layers.
    pub layers: usize,
    /// Blocks, each of which exists in every layer.
    pub blocks: usize,
    /// Tokens in a block: a multiple of 16.
    pub block_tokens: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Values in a head.
    pub head_dim: usize,
}

/// New tokens of one sequence in a ragged batch.
#[derive(Debug, Clone)]
pub struct Span<'a> {
    /// Position of the first new token in its sequence.
    pub start: usize,
    /// How many new tokens; they take the next so many rows of the batch.
    pub tokens: usize,
    /// The sequence's cache blocks: entry `p / block_tokens` holds position `p`.
    pub blocks: &'a [u32],
    /// Positions of images among the new tokens; the tokens of an image attend to each other both ways.
    pub images: Vec<Range<usize>>,
}

/// A function of single values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// GELU in its tanh form: `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))` (Gemma, SigLIP).
    GeluTanh,
    /// GELU: `x/2 · (1 + erf(x/√2))` (DINOv2).
    GeluErf,
    /// `x / (1 + e⁻ˣ)` (Llama, Qwen).
    Silu,
}

/// Arguments of [`Backend::embed`].
pub struct Embed<'a, B: Backend> {
    /// `[vocabulary, width]`, the same weight that the head of the model uses.
    pub table: &'a B::Matrix,
    /// A row of the table for each row of the result.
    pub ids: &'a [u32],
    /// What every value is multiplied by.
    pub scale: f32,
    /// `[ids, width]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::place_rows`].
pub struct PlaceRows<'a, B: Backend> {
    /// `[.., width]`
    pub from: &'a B::Buffer,
    /// The row of `from` that is taken first.
    pub first: usize,
    /// How many rows.
    pub rows: usize,
    /// Values in a row.
    pub width: usize,
    /// The row of `out` that the first row replaces.
    pub at: usize,
    /// `[.., width]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::rms_norm`].
pub struct RmsNorm<'a, B: Backend> {
    /// `[.., width]`
    pub x: &'a B::Buffer,
    /// Which rows of `x` to take, in this order.
    pub rows: Rows<'a>,
    /// `[width]`
    pub weight: &'a B::Buffer,
    /// What is added to the weight: 1 in Gemma, 0 elsewhere.
    pub offset: f32,
    /// Values in a row.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
    /// `[rows, width]`
    pub out: &'a mut B::Buffer,
}

/// Rows that an operation reads.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// The first so many.
    First(usize),
    /// These.
    At(&'a [u32]),
}

impl Rows<'_> {
    /// How many rows.
    pub fn count(&self) -> usize {
        match self {
            Rows::First(count) => *count,
            Rows::At(rows) => rows.len(),
        }
    }

    /// The row of the input that becomes row `index` of the result.
    pub fn source(&self, index: usize) -> usize {
        match self {
            Rows::First(_) => index,
            Rows::At(rows) => rows[index] as usize,
        }
    }
}

/// Arguments of [`Backend::add_rms_norm`].
pub struct AddRmsNorm<'a, B: Backend> {
    /// What a branch (attention, feed-forward) gave: `[rows, width]`.
    pub branch: &'a B::Buffer,
    /// The norm after the branch: `[width]`, one is added to it.
    pub post: &'a B::Buffer,
    /// The residual stream: `[rows, width]`.
    pub residual: &'a mut B::Buffer,
    /// The norm before the next branch, and where its result goes: `[width]`, `[rows, width]`. None after the last layer.
    pub next: Option<(&'a B::Buffer, &'a mut B::Buffer)>,
    /// How many rows.
    pub rows: usize,
    /// Values in a row.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
}

/// Arguments of [`Backend::layer_norm`].
pub struct LayerNorm<'a, B: Backend> {
    /// `[rows, width]`
    pub x: &'a B::Buffer,
    /// `[width]`
    pub weight: &'a B::Buffer,
    /// `[width]`
    pub bias: &'a B::Buffer,
    /// How many rows.
    pub rows: usize,
    /// Values in a row.
    pub width: usize,
    /// Added to the variance.
    pub eps: f32,
    /// `[rows, width]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::add_rows`].
pub struct AddRows<'a, B: Backend> {
    /// `[rows, width]`
    pub x: &'a B::Buffer,
    /// What each column is multiplied by before it is added: `[width]` (the layer scale of DINOv2).
    pub scale: Option<&'a B::Buffer>,
    /// How many rows.
    pub rows: usize,
    /// Values in a row.
    pub width: usize,
    /// What is added to: `[rows, width]`.
    pub out: &'a mut B::Buffer,
}

/// What becomes of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is the result.
    Store,
    /// A function of it is the result.
    Activate(Activation),
    /// It is added to what is there: a residual.
    Add,
}

/// Arguments of [`Backend::linear`].
pub struct Linear<'a, B: Backend> {
    /// `[rows, columns of the weight]`
    pub x: &'a B::Buffer,
    /// How many rows.
    pub rows: usize,
    /// `[outputs, columns]`
    pub weight: &'a B::Matrix,
    /// `[outputs]`
    pub bias: Option<&'a B::Buffer>,
    /// The epilogue, after the bias.
    pub then: Then,
    /// `[rows, outputs]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::gated_linear`].
pub struct GatedLinear<'a, B: Backend> {
    /// `[rows, columns of the weights]`
    pub x: &'a B::Buffer,
    /// How many rows.
    pub rows: usize,
    /// Gate and up, both `[outputs, columns]`.
    pub weight: &'a B::Gated,
    /// What is done to the gate.
    pub activation: Activation,
    /// `[rows, outputs]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::add_low_rank`].
pub struct AddLowRank<'a, B: Backend> {
    /// `[.., inputs]`
    pub x: &'a B::Buffer,
    /// Which rows of `x` and of `out`.
    pub rows: Range<usize>,
    /// `[rank, inputs]`
    pub down: &'a B::Matrix,
    /// `[outputs, rank]`
    pub up: &'a B::Matrix,
    /// `[.., outputs]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::activate`].
pub struct Activate<'a, B: Backend> {
    /// How many values.
    pub len: usize,
    /// What is done to each.
    pub activation: Activation,
    /// What the activation is multiplied by: `[len]`. None where it is the result.
    pub times: Option<&'a B::Buffer>,
    /// `[len]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::store_keys_values`].
pub struct StoreKeysValues<'a, B: Backend> {
    /// `[tokens, heads + 2 · kv_heads, head_dim]`: queries, keys, values.
    pub qkv: &'a B::Buffer,
    /// Heads of queries.
    pub heads: usize,
    /// The norms of heads; none where they are only rotated.
    pub norms: Option<HeadNorms<'a, B>>,
    /// From [`Backend::rope_angles`]: `[tokens, 2, head_dim / 2]`. The two halves of a head are rotated against each other.
    pub angles: &'a B::Buffer,
    /// Where the tokens are.
    pub plan: &'a B::Plan,
    /// Takes keys and values.
    pub cache: &'a mut B::Cache,
    /// The layer of the cache.
    pub layer: usize,
    /// Takes queries as they are attended with: `[tokens, heads, head_dim]`.
    pub q: &'a mut B::Buffer,
}

/// RMS norms of single heads, before they are rotated (Gemma 3, Qwen 3).
pub struct HeadNorms<'a, B: Backend> {
    /// Of a query head: `[head_dim]`
    pub q: &'a B::Buffer,
    /// Of a key head: `[head_dim]`
    pub k: &'a B::Buffer,
    /// What is added to both: 1 in Gemma, 0 elsewhere.
    pub offset: f32,
    /// Added to the mean square.
    pub eps: f32,
}

impl<B: Backend> Clone for HeadNorms<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for HeadNorms<'_, B> {}

/// Arguments of [`Backend::attend`].
///
/// A token at position `i` sees the positions `j` with `j > i − window` that are not after it or lie in the same image.
pub struct Attend<'a, B: Backend> {
    /// `[tokens, heads, head_dim]`
    pub q: &'a B::Buffer,
    /// Heads of queries; head `h` reads keys and values of head `h / (heads / kv_heads)`.
    pub heads: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// How many positions a token sees, itself included; all where none.
    pub window: Option<usize>,
    /// Where the tokens are.
    pub plan: &'a B::Plan,
    /// Keys and values, the new ones included.
    pub cache: &'a B::Cache,
    /// The layer of the cache.
    pub layer: usize,
    /// `[tokens, heads, head_dim]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::attend_patches`].
pub struct AttendPatches<'a, B: Backend> {
    /// `[images, patches, 3, heads, head_dim]`: queries, keys, values.
    pub qkv: &'a B::Buffer,
    /// How many images.
    pub images: usize,
    /// Patches of an image.
    pub patches: usize,
    /// Heads.
    pub heads: usize,
    /// Values in a head.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// `[images, patches, heads, head_dim]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::patch_embed`].
pub struct PatchEmbed<'a, B: Backend> {
    /// `[images, channels, side, side]`
    pub pixels: &'a B::Buffer,
    /// How many images.
    pub images: usize,
    /// Channels of a picture.
    pub channels: usize,
    /// Rows and columns of a picture.
    pub side: usize,
    /// Rows and columns of a patch.
    pub patch: usize,
    /// `[width, channels · patch · patch]`
    pub weight: &'a B::Matrix,
    /// `[width]`
    pub bias: &'a B::Buffer,
    /// Position embeddings: `[(side / patch)², width]`.
    pub positions: &'a B::Buffer,
    /// `[images, (side / patch)², width]`
    pub out: &'a mut B::Buffer,
}

/// Arguments of [`Backend::average_pool`].
pub struct AveragePool<'a, B: Backend> {
    /// `[images, side, side, width]`
    pub x: &'a B::Buffer,
    /// How many images.
    pub images: usize,
    /// Rows and columns of patches in an image.
    pub side: usize,
    /// Rows and columns of a neighbourhood; divides `side`.
    pub kernel: usize,
    /// Values of a patch.
    pub width: usize,
    /// `[images, side / kernel, side / kernel, width]`
    pub out: &'a mut B::Buffer,
}
