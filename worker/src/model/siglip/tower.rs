//! The vision tower: pictures to patches that know of each other.

use prelim_kernels::{Activation, Backend, PatchEmbed};

use super::{LAYER_NAMES, VisionConfig};
use crate::model::Watch;
use crate::model::adapter::{AdaptedRows, AdapterId};
use crate::model::encoder::{Encoder, EncoderSizes};
use crate::model::error::ModelError;
use crate::model::parts::{Loader, Norm, upload};

/// Patches computed at a time, in whole pictures: bounds the memory of intermediates, and changes no result. More would
/// be no faster, since what a layer hands to the next has left the caches by then.
const PATCHES_AT_ONCE: usize = 1_024;

pub(crate) struct Tower<B: Backend> {
    vision: VisionConfig,
    /// `[hidden, channels · patch · patch]`, and its bias.
    patch: (B::Matrix, B::Buffer),
    positions: B::Buffer,
    encoder: Encoder<B>,
    post_norm: Norm<B>,
}

impl<B: Backend> Tower<B> {
    pub(crate) fn load(loader: &Loader<'_, B>, vision: &VisionConfig) -> Result<Self, ModelError> {
        let embeddings = |part: &str| format!("vision_tower.embeddings.{part}");
        let (hidden, side) = (vision.hidden, vision.patch);
        let sizes = EncoderSizes {
            hidden,
            intermediate: vision.intermediate,
            layers: vision.layers,
            heads: vision.heads,
            eps: vision.eps,
            activation: Activation::GeluTanh,
            qkv_bias: true,
        };
        let patch = loader
            .weights
            .matrix(&embeddings("patch_embedding.weight"), &[hidden, vision.picture.channels, side, side])?;
        let positions = embeddings("position_embedding.weight");
        let positions = loader.weights.matrix(&positions, &[vision.patches(), hidden])?;
        Ok(Self {
            patch: (loader.matrix(&[patch])?, loader.vector(&embeddings("patch_embedding.bias"), hidden)?),
            positions: loader.backend.vector(&positions.to_f32())?,
            encoder: Encoder::load(loader, sizes, LAYER_NAMES)?,
            post_norm: loader.norm("vision_tower.post_layernorm", hidden, vision.eps)?,
            vision: vision.clone(),
        })
    }

    /// Gives up what the last pass computed in.
    pub(crate) fn forget(&self) {
        self.encoder.forget();
    }

    /// Runs pictures through the tower, some at a time, and hands on how many they are and the last hidden state of
    /// theirs, `[images, patches, hidden]`.
    pub(crate) fn encode(
        &self,
        backend: &B,
        pixel_values: &[f32],
        adapter: Option<AdapterId>,
        mut watch: Watch<'_>,
        mut hand_on: impl FnMut(usize, &B::Buffer, &mut Watch<'_>),
    ) {
        let picture = self.vision.picture.values();
        // An observer wants whole tensors, not parts of them.
        let few = (PATCHES_AT_ONCE / self.vision.patches()).max(1);
        let at_once = if watch.is_on() { (pixel_values.len() / picture).max(1) } else { few };
        for pixels in pixel_values.chunks(picture * at_once) {
            self.encode_some(backend, pixels, adapter, &mut watch, &mut hand_on);
        }
    }

    fn encode_some(
        &self,
        backend: &B,
        pixels: &[f32],
        adapter: Option<AdapterId>,
        watch: &mut Watch<'_>,
        hand_on: &mut impl FnMut(usize, &B::Buffer, &mut Watch<'_>),
    ) {
        let vision = &self.vision;
        let (images, patches) = (pixels.len() / vision.picture.values(), vision.patches());
        let rows = images * patches;
        self.encoder.with_scratch(backend, rows, |scratch| {
            backend.patch_embed(PatchEmbed {
                pixels: &upload(backend, pixels),
                images,
                channels: vision.picture.channels,
                side: vision.picture.side,
                patch: vision.patch,
                weight: &self.patch.0,
                bias: &self.patch.1,
                positions: &self.positions,
                out: &mut scratch.residual,
            });
            let adapted = AdaptedRows::first(rows, adapter);
            self.encoder.run(backend, (images, patches), &adapted, scratch, "vision_layer", watch);
            self.post_norm.apply(backend, rows, &scratch.residual, &mut scratch.normed);
            watch.show(backend, || "vision_last_hidden_state".to_owned(), (rows, vision.hidden), &scratch.normed);
            hand_on(images, &scratch.normed, watch);
        });
    }
}
