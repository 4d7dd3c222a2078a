//! One layer of the decoder, and what all layers of a pass share.

use prelim_kernels::{Activation, AddRmsNorm, Attend, Backend, HeadNorms, RmsNorm, Rows, StoreKeysValues};

use super::{Attention, NORM_OFFSET, TextConfig};
use crate::model::Watch;
use crate::model::adapter::AdaptedRows;
use crate::model::batch::KvCache;
use crate::model::error::ModelError;
use crate::model::parts::{Applied, Dense, GateUp, Loader};

pub(super) struct Layer<B: Backend> {
    pub(super) input_norm: B::Buffer,
    qkv: Dense<B>,
    q_norm: B::Buffer,
    k_norm: B::Buffer,
    output: Dense<B>,
    post_attention_norm: B::Buffer,
    pre_mlp_norm: B::Buffer,
    gate_up: GateUp<B>,
    down: Dense<B>,
    post_mlp_norm: B::Buffer,
}

/// Intermediates of a pass, reused by every layer.
pub(super) struct Scratch<B: Backend> {
    /// As many as there is room for.
    pub(super) rows: usize,
    pub(super) residual: B::Buffer,
    pub(super) normed: B::Buffer,
    pub(super) qkv: B::Buffer,
    pub(super) q: B::Buffer,
    pub(super) attended: B::Buffer,
    pub(super) wide: B::Buffer,
    /// Where gate and up are apart.
    wide_too: Option<B::Buffer>,
    pub(super) branch: B::Buffer,
}

/// What all layers of a pass share.
pub(super) struct Pass<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) text: &'a TextConfig,
    pub(super) rows: usize,
    pub(super) adapted: &'a AdaptedRows,
    pub(super) plan: B::Plan,
    pub(super) angles_global: B::Buffer,
    pub(super) angles_local: B::Buffer,
}

impl<B: Backend> Scratch<B> {
    pub(super) fn new(pass: &Pass<'_, B>) -> Self {
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
            branch: buffer(text.hidden),
        }
    }
}

impl<B: Backend> Pass<'_, B> {
    fn applied<'a>(&'a self, x: &'a B::Buffer) -> Applied<'a, B> {
        Applied { x, rows: self.rows, adapted: self.adapted }
    }
}

impl<B: Backend> Layer<B> {
    pub(super) fn load(loader: &Loader<'_, B>, text: &TextConfig, index: usize) -> Result<Self, ModelError> {
        let name = |part: &str| format!("language_model.layers.{index}.{part}");
        let norm = |part: &str, width: usize| loader.vector(&format!("{}.weight", name(part)), width);
        let dense = |part: &str, outputs: usize, inputs: usize| loader.dense(&[(&name(part), outputs)], inputs);
        let (hidden, wide, head) = (text.hidden, text.intermediate, text.head_dim);
        let [q, k, v] = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        let (queries, keys) = (text.heads * head, text.kv_heads * head);
        Ok(Self {
            input_norm: norm("input_layernorm", hidden)?,
            qkv: loader.dense(&[(&q, queries), (&k, keys), (&v, keys)], hidden)?,
            q_norm: norm("self_attn.q_norm", head)?,
            k_norm: norm("self_attn.k_norm", head)?,
            output: dense("self_attn.o_proj", hidden, queries)?,
            post_attention_norm: norm("post_attention_layernorm", hidden)?,
            pre_mlp_norm: norm("pre_feedforward_layernorm", hidden)?,
            gate_up: GateUp::load(loader, [&name("mlp.gate_proj"), &name("mlp.up_proj")], wide, hidden)?,
            down: dense("mlp.down_proj", hidden, wide)?,
            post_mlp_norm: norm("post_feedforward_layernorm", hidden)?,
        })
    }

    /// One layer: `s.normed` has the input norm's result on entry, and the next layer's on return.
    pub(super) fn run(
        &self,
        pass: &Pass<'_, B>,
        index: usize,
        kv: &mut KvCache<B>,
        next: Option<&B::Buffer>,
        s: &mut Scratch<B>,
        watch: &mut Watch<'_>,
    ) {
        let (backend, text, rows) = (pass.backend, pass.text, pass.rows);
        self.attend(pass, index, kv, s, watch);
        watch.show(backend, || format!("layer{index}_attn_out"), (rows, text.hidden), &s.branch);
        backend.add_rms_norm(AddRmsNorm {
            branch: &s.branch,
            post: &self.post_attention_norm,
            residual: &mut s.residual,
            next: Some((&self.pre_mlp_norm, &mut s.normed)),
            rows,
            width: text.hidden,
            eps: text.eps,
        });
        let room = s.rows * text.intermediate;
        let (to, out) = (pass.applied(&s.normed), (&mut s.wide, &mut s.wide_too, room));
        self.gate_up.apply(backend, to, Activation::GeluTanh, out);
        self.down.apply(backend, pass.applied(&s.wide), &mut s.branch);
        backend.add_rms_norm(AddRmsNorm {
            branch: &s.branch,
            post: &self.post_mlp_norm,
            residual: &mut s.residual,
            next: next.map(|norm| (norm, &mut s.normed)),
            rows,
            width: text.hidden,
            eps: text.eps,
        });
        watch.show(backend, || format!("layer{index}_out"), (rows, text.hidden), &s.residual);
    }

    fn attend(&self, pass: &Pass<'_, B>, layer: usize, kv: &mut KvCache<B>, s: &mut Scratch<B>, watch: &mut Watch<'_>) {
        let (backend, text) = (pass.backend, pass.text);
        let (window, angles) = match text.layers[layer] {
            Attention::Sliding => (Some(text.window), &pass.angles_local),
            Attention::Full => (None, &pass.angles_global),
        };
        self.qkv.apply(backend, pass.applied(&s.normed), &mut s.qkv);
        if watch.is_on() {
            self.show_normed_queries(pass, layer, s, watch);
        }
        backend.store_keys_values(StoreKeysValues {
            qkv: &s.qkv,
            heads: text.heads,
            norms: Some(HeadNorms { q: &self.q_norm, k: &self.k_norm, offset: NORM_OFFSET, eps: text.eps }),
            angles,
            plan: &pass.plan,
            cache: &mut kv.cache,
            layer,
            q: &mut s.q,
        });
        backend.attend(Attend {
            q: &s.q,
            heads: text.heads,
            scale: text.query_scale.powf(-0.5),
            window,
            plan: &pass.plan,
            cache: &kv.cache,
            layer,
            out: &mut s.attended,
        });
        self.output.apply(backend, pass.applied(&s.attended), &mut s.branch);
    }

    /// Queries between their norm and their rotation, which the fused operation does not show: `[tokens, heads, head_dim]`.
    fn show_normed_queries(&self, pass: &Pass<'_, B>, layer: usize, s: &Scratch<B>, watch: &mut Watch<'_>) {
        let text = pass.text;
        let all_heads = text.heads + 2 * text.kv_heads;
        let queries: Vec<u32> =
            (0..pass.rows).flat_map(|row| (0..text.heads).map(move |head| (row * all_heads + head) as u32)).collect();
        let mut normed = pass.backend.buffer(queries.len() * text.head_dim);
        pass.backend.rms_norm(RmsNorm {
            x: &s.qkv,
            rows: Rows::At(&queries),
            weight: &self.q_norm,
            offset: NORM_OFFSET,
            width: text.head_dim,
            eps: text.eps,
            out: &mut normed,
        });
        let name = || format!("layer{layer}_q_norm_out");
        watch.show(pass.backend, name, (queries.len(), text.head_dim), &normed);
    }
}
