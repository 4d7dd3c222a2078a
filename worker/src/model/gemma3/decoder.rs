//! The Gemma 3 decoder: tokens to logits.

use half::bf16;
use prelim_kernels::{Backend, Embed, RmsNorm, Rows, Storage};

use super::layer::{Layer, Pass, Scratch};
use super::{NORM_OFFSET, TextConfig};
use crate::model::Watch;
use crate::model::batch::{KvCache, Scores};
use crate::model::error::ModelError;
use crate::model::layout::Layout;
use crate::model::parts::{Kept, Loader, place_images, scores};

pub(super) struct Decoder<B: Backend> {
    text: TextConfig,
    /// Rows for tokens; the head of the model is the same matrix.
    embedding: B::Matrix,
    /// √hidden, which is what embeddings (and not image features) are multiplied by.
    embedding_scale: f32,
    layers: Vec<Layer<B>>,
    final_norm: B::Buffer,
    /// Of the last pass, for the next.
    scratch: Kept<Scratch<B>>,
}

impl<B: Backend> Decoder<B> {
    pub(super) fn load(loader: &Loader<'_, B>, text: &TextConfig) -> Result<Self, ModelError> {
        let Loader { backend, weights, keeping, .. } = *loader;
        let embedding = weights.matrix("language_model.embed_tokens.weight", &[text.vocabulary, text.hidden])?;
        let scale = (text.hidden as f32).sqrt();
        Ok(Self {
            text: text.clone(),
            embedding: loader.matrix(&[embedding])?,
            // Gemma was trained, and transformers computes, with the scale rounded to the type of the weights.
            embedding_scale: match keeping.storage {
                Storage::F32 => scale,
                Storage::Bf16 | Storage::Int8 | Storage::Int4 => bf16::from_f32(scale).to_f32(),
            },
            layers: (0..text.layers.len()).map(|i| Layer::load(loader, text, i)).collect::<Result<_, _>>()?,
            final_norm: backend.vector(&weights.vector("language_model.norm.weight", text.hidden)?)?,
            scratch: Kept::none(),
        })
    }

    /// Gives up what the last pass computed in.
    pub(super) fn forget(&self) {
        self.scratch.forget();
    }

    pub(super) fn forward(
        &self,
        backend: &B,
        kv: &mut KvCache<B>,
        layout: &Layout<'_, B>,
        mut watch: Watch<'_>,
    ) -> Scores<B> {
        let (text, block_tokens) = (&self.text, kv.shape.block_tokens);
        let plan = backend.plan(&layout.spans, block_tokens);
        layout.show_mask("mask_full_attention", block_tokens, None, &mut watch);
        layout.show_mask("mask_sliding_attention", block_tokens, Some(text.window), &mut watch);
        let rows = layout.rows;
        let pass = Pass {
            backend,
            text,
            rows,
            adapted: &layout.adapted,
            angles_global: backend.rope_angles(&plan, &text.rope_global.frequencies(text.head_dim)),
            angles_local: backend.rope_angles(&plan, &text.rope_local.frequencies(text.head_dim)),
            plan,
        };
        let (fits, make) = (|kept: &Scratch<B>| kept.rows >= rows, || Scratch::new(&pass));
        self.scratch.with(fits, make, |scratch| {
            self.embed(&pass, layout, scratch, &mut watch);
            for (index, layer) in self.layers.iter().enumerate() {
                let next = self.layers.get(index + 1).map(|next| &next.input_norm);
                layer.run(&pass, index, kv, next, scratch, &mut watch);
            }
            self.head(&pass, &layout.wanted, scratch, &mut watch)
        })
    }

    /// The residual stream's start, and its first norm.
    fn embed(&self, pass: &Pass<'_, B>, layout: &Layout<'_, B>, s: &mut Scratch<B>, watch: &mut Watch<'_>) {
        let (backend, width) = (pass.backend, pass.text.hidden);
        let (table, scale) = (&self.embedding, self.embedding_scale);
        backend.embed(Embed { table, ids: &layout.ids, scale, out: &mut s.residual });
        watch.show(backend, || "embed_tokens_out".to_owned(), (pass.rows, width), &s.residual);
        place_images(backend, layout, width, &mut s.residual);
        if let Some(first) = self.layers.first() {
            let rows = Rows::First(pass.rows);
            let (x, out) = (&s.residual, &mut s.normed);
            let (weight, offset, eps) = (&first.input_norm, NORM_OFFSET, pass.text.eps);
            backend.rms_norm(RmsNorm { x, rows, weight, offset, width, eps, out });
        }
    }

    /// The last norm and the head, for the rows whose logits are wanted.
    fn head(&self, pass: &Pass<'_, B>, wanted: &[u32], s: &mut Scratch<B>, watch: &mut Watch<'_>) -> Scores<B> {
        let (backend, text) = (pass.backend, pass.text);
        let norm = |rows: Rows<'_>, out: &mut B::Buffer| {
            let (x, weight) = (&s.residual, &self.final_norm);
            let (offset, width, eps) = (NORM_OFFSET, text.hidden, text.eps);
            backend.rms_norm(RmsNorm { x, rows, weight, offset, width, eps, out });
        };
        if watch.is_on() {
            let mut all = backend.buffer(pass.rows * text.hidden);
            norm(Rows::First(pass.rows), &mut all);
            watch.show(backend, || "final_norm_out".to_owned(), (pass.rows, text.hidden), &all);
        }
        let rows = wanted.len();
        let mut normed = backend.buffer(rows * text.hidden);
        norm(Rows::At(wanted), &mut normed);
        scores(backend, &normed, rows, &self.embedding, text.vocabulary)
    }
}
