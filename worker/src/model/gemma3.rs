//! The Gemma 3 decoder: tokens to logits.

mod input;
mod layer;

use std::sync::{Mutex, PoisonError};

use half::bf16;
use prelim_kernels::{Backend, Dtype, Embed, Linear, PlaceRows, RmsNorm, Rows, Storage, Then, WeightView};

use super::Watch;
use super::batch::{Batch, KvCache, Logits};
use super::config::{ModelConfig, TextConfig};
use super::error::ModelError;
use super::weights::Weights;
use input::{embedding_ids, show_masks, spans, wanted_rows};
use layer::{Layer, Pass, Scratch};

pub(super) struct Decoder<B: Backend> {
    /// Rows for tokens; the head of the model is the same matrix.
    embedding: B::Matrix,
    /// √hidden, which is what embeddings (and not image features) are multiplied by.
    embedding_scale: f32,
    layers: Vec<Layer<B>>,
    final_norm: B::Buffer,
    /// Of the last pass, for the next.
    scratch: Mutex<Option<Scratch<B>>>,
}

impl<B: Backend> Decoder<B> {
    pub(super) fn load(
        backend: &B,
        weights: &Weights,
        text: &TextConfig,
        storage: Storage,
    ) -> Result<Self, ModelError> {
        let embedding = weights.matrix("language_model.embed_tokens.weight", &[text.vocabulary, text.hidden])?;
        let scale = (text.hidden as f32).sqrt();
        Ok(Self {
            embedding: backend.matrix(&[embedding], storage)?,
            // Gemma was trained, and transformers computes, with the scale rounded to the type of the weights.
            embedding_scale: match storage {
                Storage::F32 => scale,
                Storage::Bf16 => bf16::from_f32(scale).to_f32(),
            },
            layers: (0..text.layers.len())
                .map(|i| Layer::load(backend, weights, text, storage, i))
                .collect::<Result<_, _>>()?,
            final_norm: backend.upload(&weights.vector("language_model.norm.weight", text.hidden)?)?,
            scratch: Mutex::new(None),
        })
    }

    pub(super) fn forward(
        &self,
        backend: &B,
        config: &ModelConfig,
        kv: &mut KvCache<B>,
        batch: &Batch<'_, B>,
        mut watch: Watch<'_>,
    ) -> Logits {
        let text = &config.text;
        let spans = spans(batch, config);
        let rows: usize = spans.iter().map(|span| span.tokens).sum();
        let plan = backend.plan(&spans, kv.shape.block_tokens);
        show_masks(&spans, kv.shape.block_tokens, text, &mut watch);
        let pass = Pass {
            backend,
            text,
            rows,
            angles_global: backend.rope_angles(&plan, &text.rope_global.frequencies(text.head_dim)),
            angles_local: backend.rope_angles(&plan, &text.rope_local.frequencies(text.head_dim)),
            plan,
        };
        let kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut scratch = kept.filter(|kept| kept.rows >= rows).unwrap_or_else(|| Scratch::new(&pass));
        self.embed(&pass, config, batch, &mut scratch, &mut watch);
        for (index, layer) in self.layers.iter().enumerate() {
            let next = self.layers.get(index + 1).map(|next| &next.input_norm);
            layer.run(&pass, index, kv, next, &mut scratch, &mut watch);
        }
        let logits = self.head(&pass, &wanted_rows(batch), &mut scratch, &mut watch);
        *self.scratch.lock().unwrap_or_else(PoisonError::into_inner) = Some(scratch);
        logits
    }

    /// The residual stream's start, and its first norm.
    fn embed(
        &self,
        pass: &Pass<'_, B>,
        config: &ModelConfig,
        batch: &Batch<'_, B>,
        s: &mut Scratch<B>,
        watch: &mut Watch<'_>,
    ) {
        let (backend, width) = (pass.backend, pass.text.hidden);
        let ids = embedding_ids(batch, config);
        let (table, scale) = (&self.embedding, self.embedding_scale);
        backend.embed(Embed { table, ids: &ids, scale, out: &mut s.residual });
        watch.show(backend, || "embed_tokens_out".to_owned(), (pass.rows, width), &s.residual);
        let mut row = 0;
        for chunk in &batch.chunks {
            for image in &chunk.images {
                let (from, rows) = (&*image.features.buffer, image.features.tokens);
                let at = row + image.at - chunk.start;
                backend.place_rows(PlaceRows { from, rows, width, at, out: &mut s.residual });
            }
            row += chunk.tokens.len();
        }
        if let Some(first) = self.layers.first() {
            let rows = Rows::First(pass.rows);
            let (x, out) = (&s.residual, &mut s.normed);
            backend.rms_norm(RmsNorm { x, rows, weight: &first.input_norm, width, eps: pass.text.eps, out });
        }
    }

    /// The last norm and the head, for the rows whose logits are wanted.
    fn head(&self, pass: &Pass<'_, B>, wanted: &[u32], s: &mut Scratch<B>, watch: &mut Watch<'_>) -> Logits {
        let (backend, text) = (pass.backend, pass.text);
        let norm = |rows: Rows<'_>, out: &mut B::Buffer| {
            let (x, weight) = (&s.residual, &self.final_norm);
            backend.rms_norm(RmsNorm { x, rows, weight, width: text.hidden, eps: text.eps, out });
        };
        if watch.is_on() {
            let mut all = backend.buffer(pass.rows * text.hidden);
            norm(Rows::First(pass.rows), &mut all);
            watch.show(backend, || "final_norm_out".to_owned(), (pass.rows, text.hidden), &all);
        }
        let rows = wanted.len();
        let mut normed = backend.buffer(rows * text.hidden);
        norm(Rows::At(wanted), &mut normed);
        let mut out = backend.buffer(rows * text.vocabulary);
        let weight = &self.embedding;
        backend.linear(Linear { x: &normed, rows, weight, bias: None, then: Then::Store, out: &mut out });
        Logits { values: backend.download(&out, rows * text.vocabulary), vocabulary: text.vocabulary }
    }
}

/// A weight that the file has the other way round.
pub(super) fn transposed<B: Backend>(
    backend: &B,
    view: WeightView<'_>,
    storage: Storage,
) -> Result<B::Matrix, ModelError> {
    let values = view.to_f32();
    let mut bytes = Vec::with_capacity(values.len() * size_of::<f32>());
    for column in 0..view.columns {
        bytes.extend((0..view.rows).flat_map(|row| values[row * view.columns + column].to_le_bytes()));
    }
    Ok(backend.matrix(&[WeightView::new(&bytes, Dtype::F32, view.columns, view.rows)], storage)?)
}
