//! The text tower: tokens to one point.

use prelim_kernels::{Activation, AddRows, Backend, Embed, PlaceRows, Then};

use super::TextConfig;
use crate::model::Watch;
use crate::model::adapter::AdaptedRows;
use crate::model::encoder::{Encoder, EncoderNames, EncoderSizes};
use crate::model::error::ModelError;
use crate::model::parts::{Affine, Applied, Loader, Norm};

/// Texts computed at a time: bounds the memory of intermediates, and changes no result.
const TEXTS_AT_ONCE: usize = 8;

const NAMES: EncoderNames = EncoderNames { layers: "text_model.encoder.layers", ..super::LAYER_NAMES };

pub(super) struct TextTower<B: Backend> {
    text: TextConfig,
    tokens: B::Matrix,
    /// Those of a text, for as many texts as are computed at a time.
    positions: B::Buffer,
    encoder: Encoder<B>,
    final_norm: Norm<B>,
    head: Affine<B>,
}

impl<B: Backend> TextTower<B> {
    pub(super) fn load(loader: &Loader<'_, B>, text: &TextConfig) -> Result<Self, ModelError> {
        let (backend, hidden) = (loader.backend, text.hidden);
        let embeddings = |part: &str| format!("text_model.embeddings.{part}.weight");
        let tokens = loader.weights.matrix(&embeddings("token_embedding"), &[text.vocabulary, hidden])?;
        let positions = loader.weights.matrix(&embeddings("position_embedding"), &[text.positions, hidden])?;
        let sizes = EncoderSizes {
            hidden,
            intermediate: text.intermediate,
            layers: text.layers,
            heads: text.heads,
            eps: text.eps,
            activation: Activation::GeluTanh,
            qkv_bias: true,
        };
        Ok(Self {
            tokens: loader.matrix(&[tokens])?,
            positions: backend.vector(&positions.to_f32().repeat(TEXTS_AT_ONCE))?,
            encoder: Encoder::load(loader, sizes, NAMES)?,
            final_norm: loader.norm("text_model.final_layer_norm", hidden, text.eps)?,
            head: loader.affine(&["text_model.head".to_owned()], [text.projection, hidden])?,
            text: text.clone(),
        })
    }

    /// `[texts, projection]`
    pub(super) fn pool(&self, backend: &B, texts: &[Vec<u32>], mut watch: Watch<'_>) -> Vec<f32> {
        let pooled = texts.chunks(TEXTS_AT_ONCE).flat_map(|some| self.pool_some(backend, some, &mut watch));
        let pooled: Vec<f32> = pooled.collect();
        watch.show_values("text_pooler", self.text.projection, || pooled.clone());
        pooled
    }

    fn pool_some(&self, backend: &B, texts: &[Vec<u32>], watch: &mut Watch<'_>) -> Vec<f32> {
        let (width, tokens) = (self.text.hidden, self.text.positions);
        let rows = texts.len() * tokens;
        let mut last = backend.buffer(texts.len() * width);
        self.encoder.with_scratch(backend, rows, |s| {
            let ids: Vec<u32> = texts.concat();
            backend.embed(Embed { table: &self.tokens, ids: &ids, scale: 1.0, out: &mut s.residual });
            backend.add_rows(AddRows { x: &self.positions, scale: None, rows, width, out: &mut s.residual });
            // Padding is seen like any other token: SigLIP was trained so.
            self.encoder.run(backend, (texts.len(), tokens), &AdaptedRows::default(), s, "text_layer", watch);
            self.final_norm.apply(backend, rows, &s.residual, &mut s.normed);
            watch.show(backend, || "text_last_hidden_state".to_owned(), (rows, width), &s.normed);
            for text in 0..texts.len() {
                // The text is its last token, which the padding ends with.
                let first = (text + 1) * tokens - 1;
                backend.place_rows(PlaceRows { from: &s.normed, first, rows: 1, width, at: text, out: &mut last });
            }
        });
        let mut out = backend.buffer(texts.len() * self.text.projection);
        let last = Applied { x: &last, rows: texts.len(), adapted: &AdaptedRows::default() };
        self.head.apply(backend, last, Then::Store, &mut out);
        backend.download(&out, texts.len() * self.text.projection)
    }
}
