//! From patches to soft tokens.

use prelim_kernels::{AveragePool, Backend, RmsNorm, Rows};

use super::{Config, NORM_OFFSET};
use crate::model::Watch;
use crate::model::error::ModelError;
use crate::model::parts::{Loader, project};

/// Pools neighbouring patches, norms, and maps to the decoder's width: in this order.
pub(super) struct Projector<B: Backend> {
    /// Between pooling and projection.
    norm: B::Buffer,
    projection: B::Matrix,
    /// Rows and columns of patches, and of tokens.
    sides: (usize, usize),
    /// Widths of patches, and of tokens.
    widths: (usize, usize),
    /// The tower's.
    eps: f32,
}

impl<B: Backend> Projector<B> {
    pub(super) fn load(loader: &Loader<'_, B>, config: &Config) -> Result<Self, ModelError> {
        let (width, hidden) = (config.vision.hidden, config.text.hidden);
        // The file has [vision, text], to be used as x · W; every other weight is used as x · Wᵀ.
        let name = "multi_modal_projector.mm_input_projection_weight";
        let projection = loader.weights.matrix(name, &[width, hidden])?;
        Ok(Self {
            norm: loader.vector("multi_modal_projector.mm_soft_emb_norm.weight", width)?,
            projection: loader.transposed(projection)?,
            sides: (config.vision.side(), config.tokens_per_side),
            widths: (width, hidden),
            eps: config.vision.eps,
        })
    }

    /// Patches `[images, patches, width]` to one buffer `[tokens, hidden]` for each picture.
    pub(super) fn project(
        &self,
        backend: &B,
        images: usize,
        patches: &B::Buffer,
        watch: &mut Watch<'_>,
    ) -> Vec<B::Buffer> {
        let ((side, tokens_per_side), (width, hidden)) = (self.sides, self.widths);
        let tokens = tokens_per_side * tokens_per_side;
        let mut pooled = backend.buffer(images * tokens * width);
        let kernel = side / tokens_per_side;
        backend.average_pool(AveragePool { x: patches, images, side, kernel, width, out: &mut pooled });
        let mut features = Vec::with_capacity(images);
        for image in 0..images {
            let mine: Vec<u32> = (image * tokens..(image + 1) * tokens).map(|row| row as u32).collect();
            let (rows, weight, offset, eps) = (Rows::At(&mine), &self.norm, NORM_OFFSET, self.eps);
            let mut normed = backend.buffer(tokens * width);
            backend.rms_norm(RmsNorm { x: &pooled, rows, weight, offset, width, eps, out: &mut normed });
            let mut out = backend.buffer(tokens * hidden);
            project(backend, tokens, &normed, &self.projection, &mut out);
            features.push(out);
        }
        watch.show_values("projected_image_tokens", hidden, || {
            features.iter().flat_map(|buffer| backend.download(buffer, tokens * hidden)).collect()
        });
        features
    }
}
