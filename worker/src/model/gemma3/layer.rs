//! One layer of the decoder, and what all layers of a pass share.

use prelim_kernels::{AddRmsNorm, Attend, Backend, Geglu, RmsNorm, Rows, Storage, StoreKeysValues};

use super::{Attention, TextConfig};
use crate::model::Watch;
use crate::model::batch::KvCache;
use crate::model::error::ModelError;
use crate::model::parts::project;
use crate::model::weights::Weights;

pub(super) struct Layer<B: Backend> {
    pub(super) input_norm: B::Buffer,
    qkv: B::Matrix,
    q_norm: B::Buffer,
    k_norm: B::Buffer,
    output: B::Matrix,
    post_attention_norm: B::Buffer,
    pre_mlp_norm: B::Buffer,
    gate_up: B::Gated,
    down: B::Matrix,
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
    pub(super) branch: B::Buffer,
}

/// What all layers of a pass share.
pub(super) struct Pass<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) text: &'a TextConfig,
    pub(super) rows: usize,
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
            branch: buffer(text.hidden),
        }
    }
}

impl<B: Backend> Layer<B> {
    pub(super) fn load(
        backend: &B,
        weights: &Weights,
        text: &TextConfig,
        storage: Storage,
        index: usize,
    ) -> Result<Self, ModelError> {
        let name = |part: &str| format!("language_model.layers.{index}.{part}.weight");
        let norm = |part: &str, width: usize| -> Result<B::Buffer, ModelError> {
            Ok(backend.upload(&weights.vector(&name(part), width)?)?)
        };
        let view = |part: &str, rows: usize, columns: usize| weights.matrix(&name(part), &[rows, columns]);
        let (hidden, wide, head) = (text.hidden, text.intermediate, text.head_dim);
        let q = view("self_attn.q_proj", text.heads * head, hidden)?;
        let k = view("self_attn.k_proj", text.kv_heads * head, hidden)?;
        let v = view("self_attn.v_proj", text.kv_heads * head, hidden)?;
        let output = view("self_attn.o_proj", hidden, text.heads * head)?;
        let (gate, up) = (view("mlp.gate_proj", wide, hidden)?, view("mlp.up_proj", wide, hidden)?);
        Ok(Self {
            input_norm: norm("input_layernorm", hidden)?,
            qkv: backend.matrix(&[q, k, v], storage)?,
            q_norm: norm("self_attn.q_norm", head)?,
            k_norm: norm("self_attn.k_norm", head)?,
            output: backend.matrix(&[output], storage)?,
            post_attention_norm: norm("post_attention_layernorm", hidden)?,
            pre_mlp_norm: norm("pre_feedforward_layernorm", hidden)?,
            gate_up: backend.gated(gate, up, storage)?,
            down: backend.matrix(&[view("mlp.down_proj", hidden, wide)?], storage)?,
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
        backend.geglu(Geglu { x: &s.normed, rows, weight: &self.gate_up, out: &mut s.wide });
        project(backend, rows, &s.wide, &self.down, &mut s.branch);
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
        project(backend, pass.rows, &s.normed, &self.qkv, &mut s.qkv);
        if watch.is_on() {
            self.show_normed_queries(pass, layer, s, watch);
        }
        backend.store_keys_values(StoreKeysValues {
            qkv: &s.qkv,
            heads: text.heads,
            q_norm: &self.q_norm,
            k_norm: &self.k_norm,
            eps: text.eps,
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
        project(backend, pass.rows, &s.attended, &self.output, &mut s.branch);
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
            width: text.head_dim,
            eps: text.eps,
            out: &mut normed,
        });
        let name = || format!("layer{layer}_q_norm_out");
        watch.show(pass.backend, name, (queries.len(), text.head_dim), &normed);
    }
}
