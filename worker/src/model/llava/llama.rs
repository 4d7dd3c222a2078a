//! The Llama decoder: tokens to logits.

use prelim_kernels::{Activation, Attend, Backend, Embed, RmsNorm, Rows, Span, StoreKeysValues};

use super::TextConfig;
use crate::model::Watch;
use crate::model::adapter::AdaptedRows;
use crate::model::batch::{KvCache, Scores};
use crate::model::error::ModelError;
use crate::model::layout::Layout;
use crate::model::parts::{Applied, Dense, GateUp, Kept, Loader, place_images, scores};

pub(super) struct Decoder<B: Backend> {
    text: TextConfig,
    embedding: B::Matrix,
    layers: Vec<Layer<B>>,
    final_norm: B::Buffer,
    /// None where it is the embedding.
    head: Option<B::Matrix>,
    /// Of the last pass, for the next.
    scratch: Kept<Scratch<B>>,
}

struct Layer<B: Backend> {
    attention_norm: B::Buffer,
    qkv: Dense<B>,
    output: Dense<B>,
    mlp_norm: B::Buffer,
    gate_up: GateUp<B>,
    down: Dense<B>,
}

/// Intermediates of a pass, reused by every layer.
struct Scratch<B: Backend> {
    /// As many as there is room for.
    rows: usize,
    residual: B::Buffer,
    normed: B::Buffer,
    qkv: B::Buffer,
    q: B::Buffer,
    attended: B::Buffer,
    wide: B::Buffer,
    /// What is computed apart, where an adapter changes it.
    wide_too: Option<B::Buffer>,
}

/// What all layers of a pass share.
struct Pass<'a, B: Backend> {
    backend: &'a B,
    text: &'a TextConfig,
    rows: usize,
    plan: B::Plan,
    angles: B::Buffer,
    /// Rows that adapters change.
    adapted: &'a AdaptedRows,
}

impl<B: Backend> Pass<'_, B> {
    fn applied<'a>(&'a self, x: &'a B::Buffer) -> Applied<'a, B> {
        Applied { x, rows: self.rows, adapted: self.adapted }
    }
}

impl<B: Backend> Decoder<B> {
    pub(super) fn load(loader: &Loader<'_, B>, text: &TextConfig) -> Result<Self, ModelError> {
        let table = |name: &str| -> Result<B::Matrix, ModelError> {
            let view = loader.weights.matrix(name, &[text.vocabulary, text.hidden])?;
            loader.matrix(&[view])
        };
        Ok(Self {
            embedding: table("language_model.embed_tokens.weight")?,
            layers: (0..text.layers).map(|index| Layer::load(loader, text, index)).collect::<Result<_, _>>()?,
            final_norm: loader.vector("language_model.norm.weight", text.hidden)?,
            head: (!text.tied).then(|| table("language_model.lm_head.weight")).transpose()?,
            scratch: Kept::none(),
            text: text.clone(),
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
        let (text, rows) = (&self.text, layout.rows);
        // The tokens of an image do not see what comes after them.
        let causal = layout.spans.iter().map(|span| Span { images: Vec::new(), ..*span });
        let spans: Vec<Span<'_>> = causal.collect();
        let plan = backend.plan(&spans, kv.shape.block_tokens);
        let angles = backend.rope_angles(&plan, &text.rope.frequencies(text.head_dim));
        let pass = Pass { backend, text, rows, plan, angles, adapted: &layout.adapted };
        let (fits, make) = (|kept: &Scratch<B>| kept.rows >= rows, || Scratch::new(&pass));
        self.scratch.with(fits, make, |s| {
            backend.embed(Embed { table: &self.embedding, ids: &layout.ids, scale: 1.0, out: &mut s.residual });
            watch.show(backend, || "embed_tokens_out".to_owned(), (rows, text.hidden), &s.residual);
            place_images(backend, layout, text.hidden, &mut s.residual);
            for (index, layer) in self.layers.iter().enumerate() {
                layer.run(&pass, index, kv, s);
                watch.show(backend, || format!("layer{index}_out"), (rows, text.hidden), &s.residual);
            }
            let mut normed = backend.buffer(layout.wanted.len() * text.hidden);
            norm(&pass, &s.residual, Rows::At(&layout.wanted), &self.final_norm, &mut normed);
            let head = self.head.as_ref().unwrap_or(&self.embedding);
            scores(backend, &normed, layout.wanted.len(), head, text.vocabulary)
        })
    }
}

impl<B: Backend> Scratch<B> {
    fn new(pass: &Pass<'_, B>) -> Self {
        let text = pass.text;
        let buffer = |width: usize| pass.backend.buffer(pass.rows * width);
        Self {
            rows: pass.rows,
            residual: buffer(text.hidden),
            normed: buffer(text.hidden),
            qkv: buffer((text.heads + 2 * text.kv_heads) * text.head_dim),
            q: buffer(text.heads * text.head_dim),
            attended: buffer(text.heads * text.head_dim),
            wide: buffer(text.intermediate),
            wide_too: None,
        }
    }
}

impl<B: Backend> Layer<B> {
    fn load(loader: &Loader<'_, B>, text: &TextConfig, index: usize) -> Result<Self, ModelError> {
        let name = |part: &str| format!("language_model.layers.{index}.{part}");
        let norm = |part: &str| loader.vector(&format!("{}.weight", name(part)), text.hidden);
        let dense = |part: &str, outputs: usize, inputs: usize| loader.dense(&[(&name(part), outputs)], inputs);
        let (hidden, wide, head) = (text.hidden, text.intermediate, text.head_dim);
        let [q, k, v] = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        let (queries, keys) = (text.heads * head, text.kv_heads * head);
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            qkv: loader.dense(&[(&q, queries), (&k, keys), (&v, keys)], hidden)?,
            output: dense("self_attn.o_proj", hidden, queries)?,
            mlp_norm: norm("post_attention_layernorm")?,
            gate_up: GateUp::load(loader, [&name("mlp.gate_proj"), &name("mlp.up_proj")], wide, hidden)?,
            down: dense("mlp.down_proj", hidden, wide)?,
        })
    }

    fn run(&self, pass: &Pass<'_, B>, layer: usize, kv: &mut KvCache<B>, s: &mut Scratch<B>) {
        let (backend, text, rows) = (pass.backend, pass.text, pass.rows);
        norm(pass, &s.residual, Rows::First(rows), &self.attention_norm, &mut s.normed);
        self.qkv.apply(backend, pass.applied(&s.normed), &mut s.qkv);
        backend.store_keys_values(StoreKeysValues {
            qkv: &s.qkv,
            heads: text.heads,
            norms: None,
            angles: &pass.angles,
            plan: &pass.plan,
            cache: &mut kv.cache,
            layer,
            q: &mut s.q,
        });
        backend.attend(Attend {
            q: &s.q,
            heads: text.heads,
            scale: (text.head_dim as f32).powf(-0.5),
            window: None,
            plan: &pass.plan,
            cache: &kv.cache,
            layer,
            out: &mut s.attended,
        });
        self.output.add(backend, pass.applied(&s.attended), &mut s.residual);
        norm(pass, &s.residual, Rows::First(rows), &self.mlp_norm, &mut s.normed);
        let room = s.rows * text.intermediate;
        let (to, out) = (pass.applied(&s.normed), (&mut s.wide, &mut s.wide_too, room));
        self.gate_up.apply(backend, to, Activation::Silu, out);
        self.down.add(backend, pass.applied(&s.wide), &mut s.residual);
    }
}

fn norm<B: Backend>(pass: &Pass<'_, B>, x: &B::Buffer, rows: Rows<'_>, weight: &B::Buffer, out: &mut B::Buffer) {
    let (width, eps) = (pass.text.hidden, pass.text.eps);
    pass.backend.rms_norm(RmsNorm { x, rows, weight, offset: 0.0, width, eps, out });
}
