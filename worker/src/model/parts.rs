//! Pieces that several families are built from.

use prelim_kernels::{Backend, Dtype, LayerNorm, Linear, Storage, Then, WeightView};

use super::error::ModelError;
use super::weights::Weights;

/// Where weights come from and go to.
#[derive(Clone, Copy)]
pub(super) struct Loader<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) weights: &'a Weights,
    pub(super) storage: Storage,
}

impl<B: Backend> Loader<'_, B> {
    /// Layers that read the same input, stacked by outputs.
    pub(super) fn affine(&self, names: &[String], shape: &[usize]) -> Result<Affine<B>, ModelError> {
        let mut parts = Vec::new();
        let mut bias = Vec::new();
        for name in names {
            parts.push(self.weights.matrix(&format!("{name}.weight"), shape)?);
            bias.extend(self.weights.vector(&format!("{name}.bias"), shape[0])?);
        }
        let weight = self.backend.matrix(&parts, self.storage)?;
        Ok(Affine { weight, bias: self.backend.upload(&bias)? })
    }

    pub(super) fn norm(&self, name: &str, width: usize, eps: f32) -> Result<Norm<B>, ModelError> {
        let (weight, bias) = (self.vector(&format!("{name}.weight"), width)?, format!("{name}.bias"));
        Ok(Norm { weight, bias: self.vector(&bias, width)?, width, eps })
    }

    pub(super) fn vector(&self, name: &str, width: usize) -> Result<B::Buffer, ModelError> {
        Ok(self.backend.upload(&self.weights.vector(name, width)?)?)
    }

    /// A weight that the file has the other way round.
    pub(super) fn transposed(&self, view: WeightView<'_>) -> Result<B::Matrix, ModelError> {
        let values = view.to_f32();
        let mut bytes = Vec::with_capacity(values.len() * size_of::<f32>());
        for column in 0..view.columns {
            bytes.extend((0..view.rows).flat_map(|row| values[row * view.columns + column].to_le_bytes()));
        }
        let view = WeightView::new(&bytes, Dtype::F32, view.columns, view.rows);
        Ok(self.backend.matrix(&[view], self.storage)?)
    }
}

/// `x · Wᵀ + b`
pub(super) struct Affine<B: Backend> {
    pub(super) weight: B::Matrix,
    pub(super) bias: B::Buffer,
}

impl<B: Backend> Affine<B> {
    pub(super) fn apply(&self, backend: &B, rows: usize, x: &B::Buffer, then: Then, out: &mut B::Buffer) {
        backend.linear(Linear { x, rows, weight: &self.weight, bias: Some(&self.bias), then, out });
    }
}

/// A layer norm.
pub(super) struct Norm<B: Backend> {
    weight: B::Buffer,
    bias: B::Buffer,
    width: usize,
    eps: f32,
}

impl<B: Backend> Norm<B> {
    pub(super) fn apply(&self, backend: &B, rows: usize, x: &B::Buffer, out: &mut B::Buffer) {
        let (weight, bias) = (&self.weight, &self.bias);
        backend.layer_norm(LayerNorm { x, weight, bias, rows, width: self.width, eps: self.eps, out });
    }
}

/// `x · Wᵀ`
pub(super) fn project<B: Backend>(backend: &B, rows: usize, x: &B::Buffer, weight: &B::Matrix, out: &mut B::Buffer) {
    backend.linear(Linear { x, rows, weight, bias: None, then: Then::Store, out });
}

/// A pass cannot go on without its input, which is small beside what loading has placed.
pub(super) fn upload<B: Backend>(backend: &B, values: &[f32]) -> B::Buffer {
    backend.upload(values).unwrap_or_else(|error| panic!("{error}"))
}
