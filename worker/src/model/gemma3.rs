//! The Gemma 3 decoder: tokens to logits.

use half::bf16;
use prelim_kernels::host::HostPlan;
use prelim_kernels::{
    AddRmsNorm, Attend, Backend, Dtype, Embed, Geglu, Linear, PlaceRows, RmsNorm, Rows, Span, Storage, StoreKeysValues,
    Then, WeightView,
};

use super::Watch;
use super::batch::{Batch, KvCache, Logits, Want};
use super::config::{Attention, ModelConfig, TextConfig};
use super::error::ModelError;
use super::weights::Weights;

pub(super) struct Decoder<B: Backend> {
    /// Rows for tokens; the head of the model is the same matrix.
    embedding: B::Matrix,
    /// √hidden, which is what embeddings (and not image features) are multiplied by.
    embedding_scale: f32,
    layers: Vec<Layer<B>>,
    final_norm: B::Buffer,
}

struct Layer<B: Backend> {
    input_norm: B::Buffer,
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
struct Scratch<B: Backend> {
    residual: B::Buffer,
    normed: B::Buffer,
    qkv: B::Buffer,
    q: B::Buffer,
    attended: B::Buffer,
    wide: B::Buffer,
    branch: B::Buffer,
}

/// What all layers of a pass share.
struct Pass<'a, B: Backend> {
    backend: &'a B,
    text: &'a TextConfig,
    rows: usize,
    plan: B::Plan,
    angles_global: B::Buffer,
    angles_local: B::Buffer,
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
        let mut scratch = Scratch::new(&pass);
        self.embed(&pass, config, batch, &mut scratch, &mut watch);
        for (index, layer) in self.layers.iter().enumerate() {
            let next = self.layers.get(index + 1).map(|next| &next.input_norm);
            layer.run(&pass, index, kv, next, &mut scratch, &mut watch);
        }
        self.head(&pass, &wanted_rows(batch), &mut scratch, &mut watch)
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

impl<B: Backend> Scratch<B> {
    fn new(pass: &Pass<'_, B>) -> Self {
        let text = pass.text;
        let buffer = |width: usize| pass.backend.buffer(pass.rows * width);
        Self {
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
    fn load(
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
    fn run(
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

fn project<B: Backend>(backend: &B, rows: usize, x: &B::Buffer, weight: &B::Matrix, out: &mut B::Buffer) {
    backend.linear(Linear { x, rows, weight, bias: None, then: Then::Store, out });
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

/// Checks a batch, and says where its tokens and images are.
fn spans<'a, B: Backend>(batch: &Batch<'a, B>, config: &ModelConfig) -> Vec<Span<'a>> {
    let span = |chunk: &super::Chunk<'a, B>| {
        assert!(!chunk.tokens.is_empty(), "a chunk without tokens");
        let end = chunk.start + chunk.tokens.len();
        let mut soft = 0;
        let images = chunk.images.iter().map(|image| {
            let range = image.at..image.at + image.features.tokens;
            assert!(chunk.start <= range.start && range.end <= end, "image at {range:?} is cut by a chunk");
            let tokens = &chunk.tokens[range.start - chunk.start..range.end - chunk.start];
            assert!(tokens.iter().all(|id| *id == config.image_token), "image at {range:?} without soft tokens");
            soft += tokens.len();
            range
        });
        let images: Vec<_> = images.collect();
        let found = chunk.tokens.iter().filter(|id| **id == config.image_token).count();
        assert_eq!(found, soft, "soft tokens outside an image, or images that overlap");
        Span { start: chunk.start, tokens: chunk.tokens.len(), blocks: chunk.blocks, images }
    };
    assert!(!batch.chunks.is_empty(), "a batch without chunks");
    batch.chunks.iter().map(span).collect()
}

/// Rows of the embedding; soft tokens may have none and are replaced afterwards.
fn embedding_ids<B: Backend>(batch: &Batch<'_, B>, config: &ModelConfig) -> Vec<u32> {
    let ids = batch.chunks.iter().flat_map(|chunk| chunk.tokens.iter().copied());
    ids.map(|id| {
        let known = (id as usize) < config.text.vocabulary;
        assert!(known || id == config.image_token, "token {id} is outside the vocabulary");
        if known { id } else { 0 }
    })
    .collect()
}

fn wanted_rows<B: Backend>(batch: &Batch<'_, B>) -> Vec<u32> {
    let mut rows = Vec::new();
    let mut row = 0;
    for chunk in &batch.chunks {
        let end = row + chunk.tokens.len() as u32;
        match chunk.logits {
            Want::None => {}
            Want::Last => rows.push(end - 1),
            Want::All => rows.extend(row..end),
        }
        row = end;
    }
    rows
}

/// Which positions each new token sees, as 0 and 1; of the first sequence.
fn show_masks(spans: &[Span<'_>], block_tokens: usize, text: &TextConfig, watch: &mut Watch<'_>) {
    if !watch.is_on() {
        return;
    }
    let plan = HostPlan::new(&spans[..1], block_tokens);
    let span = &plan.spans[0];
    let width = span.start + span.tokens;
    for (name, window) in [("mask_full_attention", None), ("mask_sliding_attention", Some(text.window))] {
        watch.show_values(name, width, || {
            let row = |index: usize| {
                let visible = span.visible(index, window);
                (0..width).map(move |position| f32::from(u8::from(visible.contains(&position))))
            };
            (0..span.tokens).flat_map(row).collect()
        });
    }
}
