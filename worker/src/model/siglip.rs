//! The SigLIP vision tower and Gemma 3's projector: pictures to soft tokens.

use std::sync::{Mutex, PoisonError};

use prelim_kernels::{
    AttendPatches, AveragePool, Backend, LayerNorm, Linear, PatchEmbed, RmsNorm, Rows, Storage, Then,
};

use super::config::{ModelConfig, VisionConfig};
use super::error::ModelError;
use super::weights::Weights;
use super::{Watch, gemma3};

/// Patches computed at a time, in whole pictures: bounds the memory of intermediates, and changes no result. More would
/// be no faster, since what a layer hands to the next has left the caches by then.
const PATCHES_AT_ONCE: usize = 1_024;

pub(super) struct Tower<B: Backend> {
    patch: Affine<B>,
    positions: B::Buffer,
    layers: Vec<Layer<B>>,
    post_norm: Norm<B>,
    /// Between pooling and projection; its eps is the tower's.
    soft_norm: B::Buffer,
    projection: B::Matrix,
    /// Of the last pass, for the next.
    scratch: Mutex<Option<Scratch<B>>>,
}

struct Layer<B: Backend> {
    attention_norm: Norm<B>,
    qkv: Affine<B>,
    output: Affine<B>,
    mlp_norm: Norm<B>,
    up: Affine<B>,
    down: Affine<B>,
}

struct Affine<B: Backend> {
    weight: B::Matrix,
    bias: B::Buffer,
}

struct Norm<B: Backend> {
    weight: B::Buffer,
    bias: B::Buffer,
}

struct Loader<'a, B: Backend> {
    backend: &'a B,
    weights: &'a Weights,
    storage: Storage,
}

impl<B: Backend> Loader<'_, B> {
    /// Layers that read the same input, stacked by outputs.
    fn affine(&self, names: &[String], shape: &[usize]) -> Result<Affine<B>, ModelError> {
        let mut parts = Vec::new();
        let mut bias = Vec::new();
        for name in names {
            parts.push(self.weights.matrix(&format!("{name}.weight"), shape)?);
            bias.extend(self.weights.vector(&format!("{name}.bias"), shape[0])?);
        }
        let weight = self.backend.matrix(&parts, self.storage)?;
        Ok(Affine { weight, bias: self.backend.upload(&bias)? })
    }

    fn norm(&self, name: &str, width: usize) -> Result<Norm<B>, ModelError> {
        let weight = self.weights.vector(&format!("{name}.weight"), width)?;
        let bias = self.weights.vector(&format!("{name}.bias"), width)?;
        Ok(Norm { weight: self.backend.upload(&weight)?, bias: self.backend.upload(&bias)? })
    }

    fn layer(&self, index: usize, vision: &VisionConfig) -> Result<Layer<B>, ModelError> {
        let (hidden, wide) = (vision.hidden, vision.intermediate);
        let name = |part: &str| format!("vision_tower.encoder.layers.{index}.{part}");
        let qkv = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        Ok(Layer {
            attention_norm: self.norm(&name("layer_norm1"), hidden)?,
            qkv: self.affine(&qkv, &[hidden, hidden])?,
            output: self.affine(&[name("self_attn.out_proj")], &[hidden, hidden])?,
            mlp_norm: self.norm(&name("layer_norm2"), hidden)?,
            up: self.affine(&[name("mlp.fc1")], &[wide, hidden])?,
            down: self.affine(&[name("mlp.fc2")], &[hidden, wide])?,
        })
    }
}

/// Intermediates of a pass, reused by every layer.
struct Scratch<B: Backend> {
    /// As many as there is room for.
    rows: usize,
    residual: B::Buffer,
    normed: B::Buffer,
    qkv: B::Buffer,
    attended: B::Buffer,
    wide: B::Buffer,
}

impl<B: Backend> Scratch<B> {
    fn new(backend: &B, vision: &VisionConfig, rows: usize) -> Self {
        let buffer = |width: usize| backend.buffer(rows * width);
        Self {
            rows,
            residual: buffer(vision.hidden),
            normed: buffer(vision.hidden),
            qkv: buffer(3 * vision.hidden),
            attended: buffer(vision.hidden),
            wide: buffer(vision.intermediate),
        }
    }
}

impl<B: Backend> Tower<B> {
    pub(super) fn load(
        backend: &B,
        weights: &Weights,
        config: &ModelConfig,
        storage: Storage,
    ) -> Result<Self, ModelError> {
        let vision = &config.vision;
        let loader = Loader { backend, weights, storage };
        let embeddings = |part: &str| format!("vision_tower.embeddings.{part}");
        let positions = weights.matrix(&embeddings("position_embedding.weight"), &[vision.patches(), vision.hidden])?;
        // The file has [vision, text], to be used as x · W; every other weight is used as x · Wᵀ.
        let name = "multi_modal_projector.mm_input_projection_weight";
        let projection = weights.matrix(name, &[vision.hidden, config.text.hidden])?;
        Ok(Self {
            patch: loader.affine(
                &[embeddings("patch_embedding")],
                &[vision.hidden, vision.channels, vision.patch, vision.patch],
            )?,
            positions: backend.upload(&positions.to_f32())?,
            layers: (0..vision.layers).map(|i| loader.layer(i, vision)).collect::<Result<_, _>>()?,
            post_norm: loader.norm("vision_tower.post_layernorm", vision.hidden)?,
            soft_norm: backend
                .upload(&weights.vector("multi_modal_projector.mm_soft_emb_norm.weight", vision.hidden)?)?,
            projection: gemma3::transposed(backend, projection, storage)?,
            scratch: Mutex::new(None),
        })
    }

    /// One buffer of features `[tokens_per_image, text hidden]` for each picture.
    pub(super) fn encode(
        &self,
        backend: &B,
        config: &ModelConfig,
        pixel_values: &[f32],
        images: usize,
        mut watch: Watch<'_>,
    ) -> Vec<B::Buffer> {
        let picture = pixel_values.len() / images.max(1);
        // An observer wants whole tensors, not parts of them.
        let few = (PATCHES_AT_ONCE / config.vision.patches()).max(1);
        let at_once = if watch.is_on() { images.max(1) } else { few };
        let groups = pixel_values.chunks(picture.max(1) * at_once);
        groups
            .flat_map(|pixels| self.encode_some(backend, config, pixels, pixels.len() / picture, &mut watch))
            .collect()
    }

    fn encode_some(
        &self,
        backend: &B,
        config: &ModelConfig,
        pixels: &[f32],
        images: usize,
        watch: &mut Watch<'_>,
    ) -> Vec<B::Buffer> {
        let vision = &config.vision;
        let rows = images * vision.patches();
        let kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut scratch = kept.filter(|kept| kept.rows >= rows).unwrap_or_else(|| Scratch::new(backend, vision, rows));
        let pixels = upload(backend, pixels);
        backend.patch_embed(PatchEmbed {
            pixels: &pixels,
            images,
            channels: vision.channels,
            side: vision.image_size,
            patch: vision.patch,
            weight: &self.patch.weight,
            bias: &self.patch.bias,
            positions: &self.positions,
            out: &mut scratch.residual,
        });
        for (index, layer) in self.layers.iter().enumerate() {
            layer.run(backend, vision, images, &mut scratch);
            watch.show(backend, || format!("vision_layer{index}_out"), (rows, vision.hidden), &scratch.residual);
        }
        self.post_norm.apply(backend, vision, rows, &scratch.residual, &mut scratch.normed);
        watch.show(backend, || "vision_last_hidden_state".to_owned(), (rows, vision.hidden), &scratch.normed);
        let features = self.project(backend, config, images, &scratch.normed, watch);
        *self.scratch.lock().unwrap_or_else(PoisonError::into_inner) = Some(scratch);
        features
    }

    /// Pools neighbouring patches, norms, and maps to the decoder's width: in this order.
    fn project(
        &self,
        backend: &B,
        config: &ModelConfig,
        images: usize,
        patches: &B::Buffer,
        watch: &mut Watch<'_>,
    ) -> Vec<B::Buffer> {
        let (vision, tokens) = (&config.vision, config.tokens_per_image);
        let rows = images * tokens;
        let (width, hidden) = (vision.hidden, config.text.hidden);
        let mut pooled = backend.buffer(rows * width);
        let kernel = vision.side() / config.tokens_per_side();
        backend.average_pool(AveragePool { x: patches, images, side: vision.side(), kernel, width, out: &mut pooled });
        let mut features = Vec::with_capacity(images);
        for image in 0..images {
            let mine: Vec<u32> = (image * tokens..(image + 1) * tokens).map(|row| row as u32).collect();
            let mut normed = backend.buffer(tokens * width);
            backend.rms_norm(RmsNorm {
                x: &pooled,
                rows: Rows::At(&mine),
                weight: &self.soft_norm,
                width,
                eps: vision.eps,
                out: &mut normed,
            });
            let mut out = backend.buffer(tokens * hidden);
            let weight = &self.projection;
            backend.linear(Linear { x: &normed, rows: tokens, weight, bias: None, then: Then::Store, out: &mut out });
            features.push(out);
        }
        watch.show_values("projected_image_tokens", hidden, || {
            features.iter().flat_map(|buffer| backend.download(buffer, tokens * hidden)).collect()
        });
        features
    }
}

/// A pass cannot go on without its pictures, and they are small beside what `load` has placed.
fn upload<B: Backend>(backend: &B, pixels: &[f32]) -> B::Buffer {
    backend.upload(pixels).unwrap_or_else(|error| panic!("{error}"))
}

impl<B: Backend> Layer<B> {
    fn run(&self, backend: &B, vision: &VisionConfig, images: usize, s: &mut Scratch<B>) {
        let (patches, heads) = (vision.patches(), vision.heads);
        let rows = images * patches;
        let head_dim = vision.hidden / heads;
        self.attention_norm.apply(backend, vision, rows, &s.residual, &mut s.normed);
        self.qkv.apply(backend, rows, &s.normed, Then::Store, &mut s.qkv);
        backend.attend_patches(AttendPatches {
            qkv: &s.qkv,
            images,
            patches,
            heads,
            head_dim,
            scale: (head_dim as f32).powf(-0.5),
            out: &mut s.attended,
        });
        self.output.apply(backend, rows, &s.attended, Then::Add, &mut s.residual);
        self.mlp_norm.apply(backend, vision, rows, &s.residual, &mut s.normed);
        self.up.apply(backend, rows, &s.normed, Then::Gelu, &mut s.wide);
        self.down.apply(backend, rows, &s.wide, Then::Add, &mut s.residual);
    }
}

impl<B: Backend> Affine<B> {
    fn apply(&self, backend: &B, rows: usize, x: &B::Buffer, then: Then, out: &mut B::Buffer) {
        backend.linear(Linear { x, rows, weight: &self.weight, bias: Some(&self.bias), then, out });
    }
}

impl<B: Backend> Norm<B> {
    fn apply(&self, backend: &B, vision: &VisionConfig, rows: usize, x: &B::Buffer, out: &mut B::Buffer) {
        let (weight, bias) = (&self.weight, &self.bias);
        backend.layer_norm(LayerNorm { x, weight, bias, rows, width: vision.hidden, eps: vision.eps, out });
    }
}
