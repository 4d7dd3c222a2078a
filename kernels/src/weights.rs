//! Weights as they lie in a checkpoint, and as a backend keeps them.

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

/// How a backend keeps the numbers of a matrix. Arithmetic is in f32 either way.
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
}

impl<'a> WeightView<'a> {
    /// Checks the length.
    ///
    /// # Panics
    /// When `bytes` is not `rows · columns` numbers long; a reader of checkpoints has compared shapes before.
    pub fn new(bytes: &'a [u8], dtype: Dtype, rows: usize, columns: usize) -> Self {
        assert_eq!(bytes.len(), rows * columns * dtype.size(), "weight of {rows} x {columns} {dtype:?}");
        Self { bytes, dtype, rows, columns }
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
