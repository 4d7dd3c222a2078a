//! Pieces that several families are built from.

use std::sync::{Mutex, PoisonError};

use prelim_kernels::{
    Activate, Activation, Backend, Dtype, GatedLinear, LayerNorm, Linear, PlaceRows, Storage, Then, WeightView,
};

use super::adapter::{AdaptedRows, Adapter, LowRanks};
use super::batch::Scores;
use super::error::ModelError;
use super::layout::Layout;
use super::weights::Weights;

/// Where weights come from and go to.
#[derive(Clone, Copy)]
pub(super) struct Loader<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) weights: &'a Weights,
    pub(super) keeping: Keeping,
    /// What changes linear layers in some passes.
    pub(super) adapters: &'a [Adapter],
}

/// How weights are kept.
#[derive(Clone, Copy)]
pub(super) struct Keeping {
    pub(super) storage: Storage,
    /// What has more than 16 bits hold is kept as f32, whatever most weights are.
    pub(super) loses_nothing: bool,
}

impl Keeping {
    /// Of weights that become one matrix.
    pub(super) fn of(self, parts: impl IntoIterator<Item = Dtype>) -> Storage {
        let has_more = |part| matches!(part, Dtype::F32 | Dtype::F16);
        if self.loses_nothing && parts.into_iter().any(has_more) { Storage::F32 } else { self.storage }
    }
}

impl<B: Backend> Loader<'_, B> {
    /// For a part that computes more than it reads.
    pub(super) fn unquantised(&self) -> Self {
        let keeping = Keeping { storage: self.keeping.storage.unquantised(), ..self.keeping };
        Self { keeping, ..*self }
    }

    /// Weights stacked by rows, on the device.
    pub(super) fn matrix(&self, parts: &[WeightView<'_>]) -> Result<B::Matrix, ModelError> {
        Ok(self.backend.matrix(parts, self.keeping.of(parts.iter().map(|part| part.dtype)))?)
    }

    /// Layers `[outputs, inputs]` that read the same input, stacked by outputs.
    pub(super) fn dense(&self, layers: &[(&str, usize)], inputs: usize) -> Result<Dense<B>, ModelError> {
        let view =
            |(name, outputs): &(&str, usize)| self.weights.matrix(&format!("{name}.weight"), &[*outputs, inputs]);
        let parts: Vec<_> = layers.iter().map(view).collect::<Result<_, _>>()?;
        let weight = self.matrix(&parts)?;
        let outputs = layers.iter().map(|(_, outputs)| outputs).sum();
        let low_ranks = LowRanks::load(self.backend, self.adapters, layers, inputs)?;
        Ok(Dense { weight, outputs, low_ranks })
    }

    /// Whether an adapter changes what belongs to this name.
    pub(super) fn is_adapted(&self, name: &str) -> bool {
        self.adapters.iter().any(|adapter| adapter.changes(name))
    }

    /// Layers that read the same input, stacked by outputs, with their biases.
    pub(super) fn affine(&self, names: &[String], shape: [usize; 2]) -> Result<Affine<B>, ModelError> {
        self.affine_with(names, shape, true)
    }

    /// The same; without biases in the checkpoint they are zero.
    pub(super) fn affine_with(
        &self,
        names: &[String],
        [outputs, inputs]: [usize; 2],
        biased: bool,
    ) -> Result<Affine<B>, ModelError> {
        let layers: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), outputs)).collect();
        let mut bias = Vec::new();
        for name in names {
            match biased {
                true => bias.extend(self.weights.vector(&format!("{name}.bias"), outputs)?),
                false => bias.resize(bias.len() + outputs, 0.0),
            }
        }
        Ok(Affine { dense: self.dense(&layers, inputs)?, bias: self.backend.vector(&bias)? })
    }

    pub(super) fn norm(&self, name: &str, width: usize, eps: f32) -> Result<Norm<B>, ModelError> {
        let (weight, bias) = (self.vector(&format!("{name}.weight"), width)?, format!("{name}.bias"));
        Ok(Norm { weight, bias: self.vector(&bias, width)?, width, eps })
    }

    pub(super) fn vector(&self, name: &str, width: usize) -> Result<B::Buffer, ModelError> {
        Ok(self.backend.vector(&self.weights.vector(name, width)?)?)
    }

    /// A weight that the file has the other way round.
    pub(super) fn transposed(&self, view: WeightView<'_>) -> Result<B::Matrix, ModelError> {
        let values = view.to_f32();
        let mut bytes = Vec::with_capacity(values.len() * size_of::<f32>());
        for column in 0..view.columns {
            bytes.extend((0..view.rows).flat_map(|row| values[row * view.columns + column].to_le_bytes()));
        }
        let storage = self.keeping.of([view.dtype]);
        let view = WeightView::new(&bytes, Dtype::F32, view.columns, view.rows);
        Ok(self.backend.matrix(&[view], storage)?)
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

    /// Added to what is in `out`, `[rows, outputs]`: a branch that joins the residual stream.
    pub(super) fn add(&self, backend: &B, to: Applied<'_, B>, out: &mut B::Buffer) {
        self.apply_with(backend, to, None, Then::Add, out);
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
        let (before, after) = match then {
            Then::Activate(activation) => (Then::Store, Some(activation)),
            Then::Store | Then::Add => (then, None),
        };
        backend.linear(Linear { x, rows, weight, bias, then: before, out });
        self.low_ranks.add(backend, adapted, x, out);
        if let Some(activation) = after {
            backend.activate(Activate { len: rows * self.outputs, activation, times: None, out });
        }
    }
}

/// Gate and up of a gated feed-forward layer.
pub(super) enum GateUp<B: Backend> {
    /// No adapter changes them.
    Fused(B::Gated),
    /// One does, and what it adds belongs before the activation.
    Apart { gate: Dense<B>, up: Dense<B>, width: usize },
}

impl<B: Backend> GateUp<B> {
    pub(super) fn load(
        loader: &Loader<'_, B>,
        names: [&str; 2],
        width: usize,
        inputs: usize,
    ) -> Result<Self, ModelError> {
        if names.iter().any(|name| loader.is_adapted(name)) {
            let [gate, up] = names.map(|name| loader.dense(&[(name, width)], inputs));
            return Ok(Self::Apart { gate: gate?, up: up?, width });
        }
        let [gate, up] = names.map(|name| loader.weights.matrix(&format!("{name}.weight"), &[width, inputs]));
        let (gate, up) = (gate?, up?);
        let storage = loader.keeping.of([gate.dtype, up.dtype]);
        Ok(Self::Fused(loader.backend.gated(gate, up, storage)?))
    }

    /// `[rows, width]` to `out`, of which there is room for so many values, as in what a pass keeps for what is computed
    /// apart.
    pub(super) fn apply(
        &self,
        backend: &B,
        to: Applied<'_, B>,
        activation: Activation,
        (out, kept, room): (&mut B::Buffer, &mut Option<B::Buffer>, usize),
    ) {
        match self {
            Self::Fused(weight) => {
                backend.gated_linear(GatedLinear { x: to.x, rows: to.rows, weight, activation, out });
            }
            Self::Apart { gate, up, width } => {
                let times = kept.get_or_insert_with(|| backend.buffer(room));
                gate.apply(backend, to, out);
                up.apply(backend, to, times);
                backend.activate(Activate { len: to.rows * width, activation, times: Some(times), out });
            }
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

/// What a pass computes in, kept for the next one.
pub(super) struct Kept<S>(Mutex<Option<S>>);

impl<S> Kept<S> {
    pub(super) fn none() -> Self {
        Self(Mutex::new(None))
    }

    /// Gives up what is kept.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Runs a pass in what is kept, where it fits, or in new memory. Passes at the same time have memory of their own.
    pub(super) fn with<R>(
        &self,
        fits: impl FnOnce(&S) -> bool,
        make: impl FnOnce() -> S,
        pass: impl FnOnce(&mut S) -> R,
    ) -> R {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut scratch = kept.filter(fits).unwrap_or_else(make);
        let result = pass(&mut scratch);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(scratch);
        result
    }
}

/// `x · Wᵀ`
pub(super) fn project<B: Backend>(backend: &B, rows: usize, x: &B::Buffer, weight: &B::Matrix, out: &mut B::Buffer) {
    backend.linear(Linear { x, rows, weight, bias: None, then: Then::Store, out });
}

/// Puts the features of a batch's images in the places of their soft tokens.
pub(super) fn place_images<B: Backend>(backend: &B, layout: &Layout<'_, B>, width: usize, out: &mut B::Buffer) {
    for (at, features) in &layout.images {
        let (from, rows) = (&*features.buffer, features.tokens);
        backend.place_rows(PlaceRows { from, first: 0, rows, width, at: *at, out });
    }
}

/// Normed rows by the head of a decoder.
pub(super) fn scores<B: Backend>(
    backend: &B,
    normed: &B::Buffer,
    rows: usize,
    head: &B::Matrix,
    vocabulary: usize,
) -> Scores<B> {
    let mut buffer = backend.buffer(rows * vocabulary);
    project(backend, rows, normed, head, &mut buffer);
    Scores { buffer, rows, vocabulary }
}

/// A pass cannot go on without its input, which is small beside what loading has placed.
pub(super) fn upload<B: Backend>(backend: &B, values: &[f32]) -> B::Buffer {
    backend.upload(values).unwrap_or_else(|error| panic!("{error}"))
}
