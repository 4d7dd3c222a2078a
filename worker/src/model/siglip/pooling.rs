//! From patches to one point: attention with a query that was learned, the probe.

use prelim_kernels::{Activation, AttendPatches, Backend, Dtype, Linear, PlaceRows, Then, WeightView};

use super::VisionConfig;
use crate::model::adapter::AdaptedRows;
use crate::model::error::ModelError;
use crate::model::parts::{Affine, Applied, Loader, Norm};

/// The head of the vision tower.
///
/// The probe's query is the same for every picture, so it is computed once and stands in the bias of the product that makes
/// keys and values, whose weight for queries is zero. Every patch then asks the same, and the first patch's answer is taken:
/// that is half a percent of what the tower costs, and needs no operation of its own.
pub(super) struct Pooling<B: Backend> {
    /// `[3 · hidden, hidden]`, and its bias.
    qkv: (B::Matrix, B::Buffer),
    output: Affine<B>,
    norm: Norm<B>,
    up: Affine<B>,
    down: Affine<B>,
    vision: VisionConfig,
}

impl<B: Backend> Pooling<B> {
    pub(super) fn load(loader: &Loader<'_, B>, vision: &VisionConfig) -> Result<Self, ModelError> {
        let (hidden, wide) = (vision.hidden, vision.intermediate);
        let name = |part: &str| format!("vision_tower.head.{part}");
        let one = |part: &str, shape: [usize; 2]| loader.affine(&[name(part)], shape);
        Ok(Self {
            qkv: probed(loader, hidden)?,
            output: one("attention.out_proj", [hidden, hidden])?,
            norm: loader.norm(&name("layernorm"), hidden, vision.eps)?,
            up: one("mlp.fc1", [wide, hidden])?,
            down: one("mlp.fc2", [hidden, wide])?,
            vision: vision.clone(),
        })
    }

    /// Numbers of a point.
    pub(super) fn width(&self) -> usize {
        self.vision.hidden
    }

    /// Patches `[images, patches, hidden]` to `[images, hidden]`.
    pub(super) fn pool(&self, backend: &B, images: usize, x: &B::Buffer) -> Vec<f32> {
        let (width, patches, heads) = (self.vision.hidden, self.vision.patches(), self.vision.heads);
        let (rows, head_dim) = (images * patches, width / heads);
        let (mut qkv, mut attended) = (backend.buffer(rows * 3 * width), backend.buffer(rows * width));
        let (weight, bias) = (&self.qkv.0, Some(&self.qkv.1));
        backend.linear(Linear { x, rows, weight, bias, then: Then::Store, out: &mut qkv });
        let scale = (head_dim as f32).powf(-0.5);
        backend.attend_patches(AttendPatches {
            qkv: &qkv,
            images,
            patches,
            heads,
            head_dim,
            scale,
            out: &mut attended,
        });
        let mut first = backend.buffer(images * width);
        for image in 0..images {
            let (from, at) = (&attended, image);
            backend.place_rows(PlaceRows { from, first: image * patches, rows: 1, width, at, out: &mut first });
        }
        let (mut residual, mut normed) = (backend.buffer(images * width), backend.buffer(images * width));
        let mut up = backend.buffer(images * self.vision.intermediate);
        let adapted = AdaptedRows::default();
        let of = |x| Applied { x, rows: images, adapted: &adapted };
        self.output.apply(backend, of(&first), Then::Store, &mut residual);
        self.norm.apply(backend, images, &residual, &mut normed);
        self.up.apply(backend, of(&normed), Then::Activate(Activation::GeluTanh), &mut up);
        self.down.apply(backend, of(&up), Then::Add, &mut residual);
        backend.download(&residual, images * width)
    }
}

/// The weight of queries, keys and values, with the probe's query in place of the first.
fn probed<B: Backend>(loader: &Loader<'_, B>, width: usize) -> Result<(B::Matrix, B::Buffer), ModelError> {
    let name = |part: &str| format!("vision_tower.head.{part}");
    let weight = loader.weights.matrix(&name("attention.in_proj_weight"), &[3 * width, width])?;
    let mut bias = loader.weights.vector(&name("attention.in_proj_bias"), 3 * width)?;
    let probe = loader.weights.matrix(&name("probe"), &[1, 1, width])?.to_f32();
    for (row, query) in bias[..width].iter_mut().enumerate() {
        let terms =
            weight.row(row).into_iter().zip(&probe).map(|(weight, probe)| f64::from(weight) * f64::from(*probe));
        *query = (terms.sum::<f64>() + f64::from(*query)) as f32;
    }
    let mut bytes = vec![0; width * width * size_of::<f32>()];
    bytes.extend((width..3 * width).flat_map(|row| weight.row(row)).flat_map(f32::to_le_bytes));
    let storage = loader.keeping.of([weight.dtype]);
    let view = WeightView::new(&bytes, Dtype::F32, 3 * width, width);
    Ok((loader.backend.matrix(&[view], storage)?, loader.backend.vector(&bias)?))
}
