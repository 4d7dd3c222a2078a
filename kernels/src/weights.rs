//! Weights as they lie in a checkpoint, and as a backend keeps them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};

/// How the numbers of a checkpoint are written, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// The upper half of a single.
    Bf16,
    /// IEEE half precision.
    F16,
}

impl Dtype {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::Bf16 | Dtype::F16 => 2,
        }
    }
}

/// How a backend keeps the numbers of a matrix. What it computes with them says [`Arithmetic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Exact for every checkpoint.
    F32,
    /// Half the memory; exact for a bf16 checkpoint, rounded to nearest for others.
    Bf16,
}

impl Storage {
    /// A number as it comes back from storage.
    pub fn rounded(self, value: f32) -> f32 {
        match self {
            Storage::F32 => value,
            Storage::Bf16 => bf16::from_f32(value).to_f32(),
        }
    }
}

/// What the factors of products are rounded to. Sums, norms, activations and the residual stream are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// Nothing is rounded: a product is that of f32 numbers.
    #[default]
    Exact,
    /// Both factors of a product with a weight kept as [`Storage::Bf16`] are rounded to bf16, and so are queries, keys, the
    /// weights of attention and values. Four to sixteen times as fast where the processor
    /// has instructions for it, and the same bits where it has not.
    ///
    /// A sum over terms runs in groups of [`GROUP`]: in each, the terms at even places are summed by fused multiply-adds from
    /// zero on, those at odd places likewise, the two are added, and their sum is added to what the groups before gave.
    Bf16,
}

/// Terms of a group of [`Arithmetic::Bf16`].
pub const GROUP: usize = 32;

impl Arithmetic {
    /// A factor of a product as it is computed with: to the nearest, ties to even, zero for what is subnormal.
    pub fn rounded(self, value: f32) -> f32 {
        match self {
            Arithmetic::Exact => value,
            Arithmetic::Bf16 if value.is_subnormal() => 0.0,
            Arithmetic::Bf16 => bf16::from_f32(value).to_f32(),
        }
    }

    /// Bytes that a number of the cache of keys and values needs at least.
    pub fn cache_value_bytes(self) -> usize {
        match self {
            Arithmetic::Exact => size_of::<f32>(),
            Arithmetic::Bf16 => size_of::<bf16>(),
        }
    }
}

/// What keeps the bytes of weights in memory: a mapped file.
#[derive(Clone)]
pub struct Owner(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Owner {
    /// Takes what holds the bytes.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(bytes))
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({} bytes)", self.bytes().len())
    }
}

/// Bytes of a weight that stay where they are for as long as this lives.
#[derive(Debug, Clone)]
pub struct KeptBytes {
    owner: Owner,
    range: Range<usize>,
}

impl KeptBytes {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.owner.bytes()[self.range.clone()]
    }
}

/// A matrix inside a checkpoint file: `[rows, columns]`, row-major, of any alignment.
#[derive(Debug, Clone, Copy)]
pub struct WeightView<'a> {
    /// `rows · columns` numbers.
    pub bytes: &'a [u8],
    /// How they are written.
    pub dtype: Dtype,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// What keeps the bytes, and where they are in it; None where they are gone after loading.
    owner: Option<(&'a Owner, usize)>,
}

impl<'a> WeightView<'a> {
    /// Checks the length.
    ///
    /// # Panics
    /// When `bytes` is not `rows · columns` numbers long; a reader of checkpoints has compared shapes before.
    pub fn new(bytes: &'a [u8], dtype: Dtype, rows: usize, columns: usize) -> Self {
        assert_eq!(bytes.len(), rows * columns * dtype.size(), "weight of {rows} x {columns} {dtype:?}");
        Self { bytes, dtype, rows, columns, owner: None }
    }

    /// The bytes from `at` on of what `owner` keeps: a backend may compute with them where they are.
    ///
    /// # Panics
    /// When they are not there.
    pub fn kept(owner: &'a Owner, at: usize, dtype: Dtype, rows: usize, columns: usize) -> Self {
        let bytes = &owner.bytes()[at..at + rows * columns * dtype.size()];
        Self { owner: Some((owner, at)), ..Self::new(bytes, dtype, rows, columns) }
    }

    /// The bytes, to be kept beyond loading; None where that would be a copy.
    pub fn keep(&self) -> Option<KeptBytes> {
        let (owner, at) = self.owner?;
        Some(KeptBytes { owner: owner.clone(), range: at..at + self.bytes.len() })
    }

    /// The numbers of one row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = f32> + use<'a> {
        let stride = self.columns * self.dtype.size();
        let dtype = self.dtype;
        self.bytes[row * stride..(row + 1) * stride].chunks_exact(dtype.size()).map(move |b| match dtype {
            Dtype::F32 => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            Dtype::Bf16 => bf16::from_le_bytes([b[0], b[1]]).to_f32(),
            Dtype::F16 => f16::from_le_bytes([b[0], b[1]]).to_f32(),
        })
    }

    /// All numbers.
    pub fn to_f32(&self) -> Vec<f32> {
        (0..self.rows).flat_map(|row| self.row(row)).collect()
    }
}
