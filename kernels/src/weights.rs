//! Weights as they lie in a checkpoint, and as a backend keeps them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};

use crate::quantised::Grid;

/// How the numbers of a checkpoint are written, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// The upper half of a single.
    Bf16,
    /// IEEE half precision.
    F16,
    /// Whole numbers of a [`Grid`].
    Quantised(Grid),
}

impl Dtype {
    /// Bytes of a row of so many numbers.
    pub fn row_bytes(self, columns: usize) -> usize {
        match self {
            Dtype::F32 => columns * 4,
            Dtype::Bf16 | Dtype::F16 => columns * 2,
            Dtype::Quantised(grid) => grid.row_bytes(columns),
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
    /// A quarter of the memory, and 1/32 more: whole numbers from -127 to 127, with a scale for each group of inputs.
    Int8,
    /// An eighth of the memory, and 1/32 more: whole numbers from -8 to 7, with a scale for each group of inputs.
    Int4,
}

impl Storage {
    /// For what is not to be quantised: the same, or 16 bits.
    #[must_use]
    pub fn unquantised(self) -> Self {
        match self {
            Storage::F32 => Storage::F32,
            Storage::Bf16 | Storage::Int8 | Storage::Int4 => Storage::Bf16,
        }
    }

    /// The whole numbers that it is made of.
    pub fn grid(self) -> Option<Grid> {
        match self {
            Storage::F32 | Storage::Bf16 => None,
            Storage::Int8 => Some(Grid::INT8),
            Storage::Int4 => Some(Grid::INT4),
        }
    }
}

/// What becomes of a stack of weights in a [`Storage`]: the one decision, for every backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    F32,
    Bf16,
    Quantised(Grid),
}

impl Form {
    /// Weights that are quantised already stay as they are, unless f32 is asked for. Others are quantised where whole groups
    /// of inputs fit, and else kept as bf16.
    pub(crate) fn of(parts: &[WeightView<'_>], storage: Storage) -> Self {
        let columns = parts[0].columns;
        assert!(parts.iter().all(|part| part.columns == columns), "stacked weights differ in columns");
        let alike = parts.iter().all(|part| part.dtype == parts[0].dtype);
        match (storage, parts[0].dtype) {
            (Storage::F32, _) => Form::F32,
            (_, Dtype::Quantised(grid)) if alike => Form::Quantised(grid),
            _ => match storage.grid().filter(|grid| grid.fits(columns)) {
                Some(grid) if parts.iter().all(|part| !matches!(part.dtype, Dtype::Quantised(_))) => {
                    Form::Quantised(grid)
                }
                _ => Form::Bf16,
            },
        }
    }

    /// The numbers of a row as they come back from storage.
    pub(crate) fn row(self, view: &WeightView<'_>, row: usize) -> Vec<f32> {
        let mut values = view.row(row);
        match self {
            Form::F32 => {}
            Form::Quantised(_) if matches!(view.dtype, Dtype::Quantised(_)) => {}
            Form::Bf16 => values.iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32()),
            Form::Quantised(grid) => {
                let (numbers, scales) = grid.quantise(&values);
                grid.values(&numbers, &scales, &mut values);
            }
        }
        values
    }
}

/// What the factors of products are rounded to. Sums, norms, activations and the residual stream are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// Nothing is rounded: a product is that of f32 numbers.
    #[default]
    Exact,
    /// Both factors of a product with a weight that is not kept as [`Storage::F32`] are rounded to bf16, and so are queries,
    /// keys, the weights of attention and values. Four to sixteen times as fast where the processor
    /// has instructions for it, and the same bits where it has not.
    ///
    /// A sum over terms runs in groups of [`GROUP`]: in each, the terms at even places are summed by fused multiply-adds from
    /// zero on, those at odd places likewise, the two are added, and their sum is added to what the groups before gave. AVX-512
    /// BF16, without tiles, adds in an order of its own, and multiplies weights of whole numbers as such, with activations of 16
    /// bits: the same bits on every such processor, and others than elsewhere.
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
    /// Of whole numbers: `[rows, groups]`, bf16.
    scales: Option<Scales<'a>>,
}

/// The scales of a matrix of whole numbers.
#[derive(Debug, Clone, Copy)]
struct Scales<'a> {
    owner: &'a Owner,
    at: usize,
    len: usize,
}

impl<'a> Scales<'a> {
    fn bytes(&self) -> &'a [u8] {
        &self.owner.bytes()[self.at..self.at + self.len]
    }
}

impl<'a> WeightView<'a> {
    /// Checks the length.
    ///
    /// # Panics
    /// When `bytes` is not `rows · columns` numbers long; a reader of checkpoints has compared shapes before.
    pub fn new(bytes: &'a [u8], dtype: Dtype, rows: usize, columns: usize) -> Self {
        assert!(!matches!(dtype, Dtype::Quantised(_)), "whole numbers without scales");
        Self::sized(bytes, dtype, rows, columns)
    }

    fn sized(bytes: &'a [u8], dtype: Dtype, rows: usize, columns: usize) -> Self {
        assert_eq!(bytes.len(), rows * dtype.row_bytes(columns), "weight of {rows} x {columns} {dtype:?}");
        Self { bytes, dtype, rows, columns, owner: None, scales: None }
    }

    /// The bytes from `at` on of what `owner` keeps: a backend may compute with them where they are.
    ///
    /// # Panics
    /// When they are not there.
    pub fn kept(owner: &'a Owner, at: usize, dtype: Dtype, rows: usize, columns: usize) -> Self {
        let bytes = &owner.bytes()[at..at + rows * dtype.row_bytes(columns)];
        Self { owner: Some((owner, at)), ..Self::new(bytes, dtype, rows, columns) }
    }

    /// Whole numbers from `numbers` on, row by row as [`Grid`] says, and their scales `[rows, groups]` in bf16 from `scales`
    /// on, of what these owners keep.
    ///
    /// # Panics
    /// When they are not there, or whole groups do not fit.
    pub fn quantised(
        numbers: (&'a Owner, usize),
        scales: (&'a Owner, usize),
        grid: Grid,
        rows: usize,
        columns: usize,
    ) -> Self {
        assert!(grid.fits(columns), "groups of {} in rows of {columns}", grid.group);
        let bytes = &numbers.0.bytes()[numbers.1..numbers.1 + rows * grid.row_bytes(columns)];
        let scales = Scales { owner: scales.0, at: scales.1, len: rows * grid.groups(columns) * size_of::<bf16>() };
        assert!(scales.at + scales.len <= scales.owner.bytes().len(), "scales of {rows} x {columns}");
        let view = Self::sized(bytes, Dtype::Quantised(grid), rows, columns);
        Self { owner: Some(numbers), scales: Some(scales), ..view }
    }

    /// The bytes, to be kept beyond loading; None where that would be a copy.
    pub fn keep(&self) -> Option<KeptBytes> {
        let (owner, at) = self.owner?;
        Some(KeptBytes { owner: owner.clone(), range: at..at + self.bytes.len() })
    }

    /// A row of whole numbers and its scales, as they lie in memory.
    pub(crate) fn quantised_row(&self, row: usize) -> Option<(&'a [u8], Vec<bf16>)> {
        let (Dtype::Quantised(grid), Some(scales)) = (self.dtype, self.scales) else { return None };
        let (stride, groups) = (grid.row_bytes(self.columns), grid.groups(self.columns) * size_of::<bf16>());
        let scales = scales.bytes()[row * groups..(row + 1) * groups].chunks_exact(2);
        let scales = scales.map(|bytes| bf16::from_le_bytes([bytes[0], bytes[1]])).collect();
        Some((&self.bytes[row * stride..(row + 1) * stride], scales))
    }

    /// The numbers of one row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> Vec<f32> {
        let stride = self.dtype.row_bytes(self.columns);
        let bytes = &self.bytes[row * stride..(row + 1) * stride];
        match self.dtype {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::Bf16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::Quantised(grid) => {
                let (numbers, scales) = self.quantised_row(row).expect("whole numbers have scales");
                let mut values = vec![0.0; self.columns];
                grid.values(numbers, &scales, &mut values);
                values
            }
        }
    }

    /// All numbers.
    pub fn to_f32(&self) -> Vec<f32> {
        (0..self.rows).flat_map(|row| self.row(row)).collect()
    }
}
