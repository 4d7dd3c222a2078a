//! The DINOv2 vision tower: pictures to states of a class token and of patches.

use prelim_kernels::{Activation, Backend, PatchEmbed, PlaceRows};

use super::VisionConfig;
use super::positions::interpolated;
use crate::model::Watch;
use crate::model::adapter::{AdaptedRows, AdapterId};
use crate::model::encoder::{Encoder, EncoderNames, EncoderSizes};
use crate::model::error::ModelError;
use crate::model::parts::{Loader, upload};

/// Tokens computed at a time, in whole pictures: bounds the memory of intermediates, and changes no result.
const TOKENS_AT_ONCE: usize = 1_024;

const NAMES: EncoderNames = EncoderNames {
    layers: "vision_tower.encoder.layer",
    attention_norm: "norm1",
    qkv: ["attention.attention.query", "attention.attention.key", "attention.attention.value"],
    output: "attention.output.dense",
    mlp_norm: "norm2",
    up: "mlp.fc1",
    down: "mlp.fc2",
    scales: Some(["layer_scale1.lambda1", "layer_scale2.lambda1"]),
};

pub(super) struct Tower<B: Backend> {
    vision: VisionConfig,
    /// `[hidden, channels · patch · patch]`, and its bias.
    patch: (B::Matrix, B::Buffer),
    /// Of patches.
    positions: B::Buffer,
    /// The class token with its position.
    class_token: B::Buffer,
    encoder: Encoder<B>,
}

impl<B: Backend> Tower<B> {
    pub(super) fn load(loader: &Loader<'_, B>, vision: &VisionConfig) -> Result<Self, ModelError> {
        let (hidden, patch, trained) = (vision.hidden, vision.patch, vision.trained_side);
        let name = |part: &str| format!("vision_tower.embeddings.{part}");
        let sizes = EncoderSizes {
            hidden,
            intermediate: vision.intermediate,
            layers: vision.layers,
            heads: vision.heads,
            eps: vision.eps,
            activation: Activation::GeluErf,
            qkv_bias: vision.qkv_bias,
        };
        let positions = &[1, 1 + trained * trained, hidden];
        let positions = loader.weights.matrix(&name("position_embeddings"), positions)?.to_f32();
        let (of_class, of_patches) = positions.split_at(hidden);
        let class_token = loader.weights.matrix(&name("cls_token"), &[1, 1, hidden])?.to_f32();
        let class_token: Vec<f32> = class_token.iter().zip(of_class).map(|(token, place)| token + place).collect();
        let projection = |part: &str| name(&format!("patch_embeddings.projection.{part}"));
        let shape = [hidden, vision.picture.channels, patch, patch];
        let weight = loader.weights.matrix(&projection("weight"), &shape)?;
        Ok(Self {
            patch: (loader.matrix(&[weight])?, loader.vector(&projection("bias"), hidden)?),
            positions: loader.backend.vector(&interpolated(of_patches, trained, vision.side(), hidden))?,
            class_token: loader.backend.vector(&class_token)?,
            encoder: Encoder::load(loader, sizes, NAMES)?,
            vision: vision.clone(),
        })
    }

    /// Gives up what the last pass computed in.
    pub(super) fn forget(&self) {
        self.encoder.forget();
    }

    /// Runs pictures through the tower, some at a time, and hands on how many they are and the states after its last layer,
    /// `[images, 1 + patches, hidden]`.
    pub(super) fn encode(
        &self,
        backend: &B,
        pixel_values: &[f32],
        adapter: Option<AdapterId>,
        mut watch: Watch<'_>,
        mut hand_on: impl FnMut(usize, &B::Buffer, &mut Watch<'_>),
    ) {
        let vision = &self.vision;
        let (picture, width) = (vision.picture.values(), vision.hidden);
        let tokens = 1 + vision.side() * vision.side();
        // An observer wants whole tensors, not parts of them.
        let few = (TOKENS_AT_ONCE / tokens).max(1);
        let at_once = if watch.is_on() { (pixel_values.len() / picture).max(1) } else { few };
        for pixels in pixel_values.chunks(picture * at_once) {
            let images = pixels.len() / picture;
            let rows = images * tokens;
            self.encoder.with_scratch(backend, rows, |s| {
                for (image, pixels) in pixels.chunks_exact(picture).enumerate() {
                    self.embed(backend, pixels, image * tokens, &mut s.residual);
                }
                let adapted = AdaptedRows::first(rows, adapter);
                self.encoder.run(backend, (images, tokens), &adapted, s, "vision_layer", &mut watch);
                watch.show(backend, || "vision_hidden_last_prenorm".to_owned(), (rows, width), &s.residual);
                hand_on(images, &s.residual, &mut watch);
            });
        }
    }

    /// The embeddings of one picture, from row `at` on.
    fn embed(&self, backend: &B, pixels: &[f32], at: usize, out: &mut B::Buffer) {
        let vision = &self.vision;
        let (width, patches) = (vision.hidden, vision.side() * vision.side());
        let mut embedded = backend.buffer(patches * width);
        backend.patch_embed(PatchEmbed {
            pixels: &upload(backend, pixels),
            images: 1,
            channels: vision.picture.channels,
            side: vision.picture.side,
            patch: vision.patch,
            weight: &self.patch.0,
            bias: &self.patch.1,
            positions: &self.positions,
            out: &mut embedded,
        });
        backend.place_rows(PlaceRows { from: &self.class_token, first: 0, rows: 1, width, at, out });
        backend.place_rows(PlaceRows { from: &embedded, first: 0, rows: patches, width, at: at + 1, out });
    }
}
