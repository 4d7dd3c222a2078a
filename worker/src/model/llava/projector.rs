//! From states of patches to soft tokens.

use prelim_kernels::{Activation, Backend, PlaceRows, Then};

use super::Config;
use crate::model::Watch;
use crate::model::adapter::{AdaptedRows, AdapterId};
use crate::model::error::ModelError;
use crate::model::parts::{Affine, Applied, Loader};

/// Two products with an activation between them.
pub(super) struct Projector<B: Backend> {
    first: Affine<B>,
    second: Affine<B>,
    activation: Activation,
    /// Tokens of an image in the tower, the class token included.
    states: usize,
    /// The first state that is used: 1 where the class token is dropped.
    from: usize,
    /// Widths of states, and of tokens.
    widths: (usize, usize),
}

impl<B: Backend> Projector<B> {
    pub(super) fn load(loader: &Loader<'_, B>, config: &Config) -> Result<Self, ModelError> {
        let (width, hidden) = (config.vision.hidden, config.text.hidden);
        let product = |number: usize, inputs: usize| {
            let name = format!("multi_modal_projector.linear_{number}");
            loader.affine_with(&[name], [hidden, inputs], config.projector_bias)
        };
        Ok(Self {
            first: product(1, width)?,
            second: product(2, hidden)?,
            activation: config.projector_activation,
            states: 1 + config.vision.side() * config.vision.side(),
            from: usize::from(!config.keeps_class_token),
            widths: (width, hidden),
        })
    }

    /// States `[images, states, width]` to one buffer `[tokens, hidden]` for each picture.
    pub(super) fn project(
        &self,
        backend: &B,
        images: usize,
        adapter: Option<AdapterId>,
        states: &B::Buffer,
        watch: &mut Watch<'_>,
    ) -> Vec<B::Buffer> {
        let (rows, (width, hidden)) = (self.states - self.from, self.widths);
        let adapted = AdaptedRows::first(rows, adapter);
        let project = |image: usize| {
            let (mut mine, mut between) = (backend.buffer(rows * width), backend.buffer(rows * hidden));
            let mut out = backend.buffer(rows * hidden);
            let first = image * self.states + self.from;
            backend.place_rows(PlaceRows { from: states, first, rows, width, at: 0, out: &mut mine });
            self.first.apply(
                backend,
                Applied { x: &mine, rows, adapted: &adapted },
                Then::Activate(self.activation),
                &mut between,
            );
            self.second.apply(backend, Applied { x: &between, rows, adapted: &adapted }, Then::Store, &mut out);
            out
        };
        let features: Vec<B::Buffer> = (0..images).map(project).collect();
        watch.show_values("image_features", hidden, || {
            features.iter().flat_map(|buffer| backend.download(buffer, rows * hidden)).collect()
        });
        features
    }
}
