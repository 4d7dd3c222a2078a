//! Pieces that several families are built from.

use prelim_kernels::{Activate, Backend, Dtype, LayerNorm, Linear, Storage, Then, WeightView};

use super::adapter::{AdaptedRows, Adapter, LowRanks};
use super::error::ModelError;
use super::weights::Weights;

/// Where weights come from and go to.
#[derive(Clone, Copy)]
pub(super) struct Loader<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) weights: &'a Weights,
    pub(super) storage: Storage,
    /// What changes linear layers in some passes.
    pub(super) adapters: &'a [Adapter],
}

impl<B: Backend> Loader<'_, B> {
    /// For a part that computes more than it reads.
    pub(super) fn unquantised(&self) -> Self {
        Self { storage: self.storage.unquantised(), ..*self }
    }

    /// Layers `[outputs, inputs]` that read the same input, stacked by outputs.
    pub(super) fn dense(&self, layers: &[(&str, usize)], inputs: usize) -> Result<Dense<B>, ModelError> {
        let view =
            |(name, outputs): &(&str, usize)| self.weights.matrix(&format!("{name}.weight"), &[*outputs, inputs]);
        let parts: Vec<_> = layers.iter().map(view).collect::<Result<_, _>>()?;
        let weight = self.backend.matrix(&parts, self.storage)?;
        let outputs = layers.iter().map(|(_, outputs)| outputs).sum();
        let low_ranks = LowRanks::load(self.backend, self.adapters, layers, inputs)?;
        Ok(Dense { weight, outputs, low_ranks })
    }

    /// Whether an adapter changes what belongs to this name.
    pub(super) fn is_adapted(&self, name: &str) -> bool {
        self.adapters.iter().any(|adapter| adapter.changes(name))
    }

    /// Layers that read the same input, stacked by outputs, with their biases.
    pub(super) fn affine(&self, names: &[String], [outputs, inputs]: [usize; 2]) -> Result<Affine<B>, ModelError> {
        let layers: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), outputs)).collect();
        let mut bias = Vec::new();
        for name in names {
            bias.extend(self.weights.vector(&format!("{name}.bias"), outputs)?);
        }
        Ok(Affine { dense: self.dense(&layers, inputs)?, bias: self.backend.upload(&bias)? })
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

/// `x · Wᵀ`, and what adapters change of it.
pub(super) struct Dense<B: Backend> {
    weight: B::Matrix,
    outputs: usize,
    low_ranks: LowRanks<B>,
}

/// What a dense layer is applied to.
pub(super) struct Applied<'a, B: Backend> {
    /// `[rows, inputs]`
    pub(super) x: &'a B::Buffer,
    /// How many rows.
    pub(super) rows: usize,
    /// Which of them adapters change.
    pub(super) adapted: &'a AdaptedRows,
}

impl<B: Backend> Clone for Applied<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Applied<'_, B> {}

impl<B: Backend> Dense<B> {
    /// `[rows, outputs]` to `out`.
    pub(super) fn apply(&self, backend: &B, to: Applied<'_, B>, out: &mut B::Buffer) {
        self.apply_with(backend, to, None, Then::Store, out);
    }

    fn apply_with(
        &self,
        backend: &B,
        Applied { x, rows, adapted }: Applied<'_, B>,
        bias: Option<&B::Buffer>,
        then: Then,
        out: &mut B::Buffer,
    ) {
        let weight = &self.weight;
        if !self.low_ranks.touch(adapted) {
            return backend.linear(Linear { x, rows, weight, bias, then, out });
        }
        // What is added belongs before the activation.
        let before = if then == Then::Gelu { Then::Store } else { then };
        backend.linear(Linear { x, rows, weight, bias, then: before, out });
        self.low_ranks.add(backend, adapted, x, out);
        if then == Then::Gelu {
            backend.activate(Activate { len: rows * self.outputs, times: None, out });
        }
    }
}

/// `x · Wᵀ + b`
pub(super) struct Affine<B: Backend> {
    dense: Dense<B>,
    bias: B::Buffer,
}

impl<B: Backend> Affine<B> {
    pub(super) fn apply(&self, backend: &B, to: Applied<'_, B>, then: Then, out: &mut B::Buffer) {
        self.dense.apply_with(backend, to, Some(&self.bias), then, out);
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
