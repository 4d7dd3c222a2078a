//! Layers of a transformer in which every token sees every other: norm, attention, norm, two products. Vision towers and
//! SigLIP's text tower are made of them.

use prelim_kernels::{Activation, AddRows, AttendPatches, Backend, Then};

use super::Watch;
use super::adapter::AdaptedRows;
use super::error::ModelError;
use super::parts::{Affine, Applied, Kept, Loader, Norm};

/// Sizes of the layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct EncoderSizes {
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) eps: f32,
    pub(super) activation: Activation,
    /// Whether queries, keys and values have biases.
    pub(super) qkv_bias: bool,
}

/// What a checkpoint calls the parts of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct EncoderNames {
    /// Before the number of the layer.
    pub(super) layers: &'static str,
    pub(super) attention_norm: &'static str,
    /// Queries, keys, values.
    pub(super) qkv: [&'static str; 3],
    pub(super) output: &'static str,
    pub(super) mlp_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    /// What the results of attention and of the second product are multiplied by, column by column, where they are.
    pub(super) scales: Option<[&'static str; 2]>,
}

/// The layers.
pub(super) struct Encoder<B: Backend> {
    pub(super) sizes: EncoderSizes,
    layers: Vec<Layer<B>>,
    /// Of the last pass, for the next.
    scratch: Kept<Scratch<B>>,
}

struct Layer<B: Backend> {
    attention_norm: Norm<B>,
    qkv: Affine<B>,
    output: Affine<B>,
    mlp_norm: Norm<B>,
    up: Affine<B>,
    down: Affine<B>,
    scales: Option<[B::Buffer; 2]>,
}

/// Intermediates of a pass, reused by every layer.
pub(super) struct Scratch<B: Backend> {
    /// As many as there is room for.
    rows: usize,
    pub(super) residual: B::Buffer,
    pub(super) normed: B::Buffer,
    qkv: B::Buffer,
    attended: B::Buffer,
    wide: B::Buffer,
}

impl<B: Backend> Encoder<B> {
    pub(super) fn load(loader: &Loader<'_, B>, sizes: EncoderSizes, names: EncoderNames) -> Result<Self, ModelError> {
        let layers = (0..sizes.layers).map(|index| Layer::load(loader, sizes, names, index));
        Ok(Self { sizes, layers: layers.collect::<Result<_, _>>()?, scratch: Kept::none() })
    }

    /// Gives up what the last pass computed in.
    pub(super) fn forget(&self) {
        self.scratch.forget();
    }

    /// Runs `pass` with room for so many rows, which is kept for the next pass.
    pub(super) fn with_scratch<R>(&self, backend: &B, rows: usize, pass: impl FnOnce(&mut Scratch<B>) -> R) -> R {
        self.scratch.with(|kept| kept.rows >= rows, || Scratch::new(backend, self.sizes, rows), pass)
    }

    /// All layers over `s.residual`, `[sequences, tokens, hidden]`. What comes after layer 3 is shown as `{name}3_out`.
    pub(super) fn run(
        &self,
        backend: &B,
        (sequences, tokens): (usize, usize),
        adapted: &AdaptedRows,
        s: &mut Scratch<B>,
        name: &str,
        watch: &mut Watch<'_>,
    ) {
        let shape = (sequences * tokens, self.sizes.hidden);
        for (index, layer) in self.layers.iter().enumerate() {
            layer.run(backend, self.sizes, (sequences, tokens), adapted, s);
            watch.show(backend, || format!("{name}{index}_out"), shape, &s.residual);
        }
    }
}

impl<B: Backend> Scratch<B> {
    fn new(backend: &B, sizes: EncoderSizes, rows: usize) -> Self {
        let buffer = |width: usize| backend.buffer(rows * width);
        Self {
            rows,
            residual: buffer(sizes.hidden),
            normed: buffer(sizes.hidden),
            qkv: buffer(3 * sizes.hidden),
            attended: buffer(sizes.hidden),
            wide: buffer(sizes.intermediate),
        }
    }
}

impl<B: Backend> Layer<B> {
    fn load(
        loader: &Loader<'_, B>,
        sizes: EncoderSizes,
        names: EncoderNames,
        index: usize,
    ) -> Result<Self, ModelError> {
        let (hidden, wide) = (sizes.hidden, sizes.intermediate);
        let name = |part: &str| format!("{}.{index}.{part}", names.layers);
        Ok(Self {
            attention_norm: loader.norm(&name(names.attention_norm), hidden, sizes.eps)?,
            qkv: loader.affine_with(&names.qkv.map(name), [hidden, hidden], sizes.qkv_bias)?,
            output: loader.affine(&[name(names.output)], [hidden, hidden])?,
            mlp_norm: loader.norm(&name(names.mlp_norm), hidden, sizes.eps)?,
            up: loader.affine(&[name(names.up)], [wide, hidden])?,
            down: loader.affine(&[name(names.down)], [hidden, wide])?,
            scales: match names.scales {
                Some([first, second]) => {
                    Some([loader.vector(&name(first), hidden)?, loader.vector(&name(second), hidden)?])
                }
                None => None,
            },
        })
    }

    fn run(
        &self,
        backend: &B,
        sizes: EncoderSizes,
        (sequences, tokens): (usize, usize),
        adapted: &AdaptedRows,
        s: &mut Scratch<B>,
    ) {
        let rows = sequences * tokens;
        let head_dim = sizes.hidden / sizes.heads;
        self.attention_norm.apply(backend, rows, &s.residual, &mut s.normed);
        self.qkv.apply(backend, Applied { x: &s.normed, rows, adapted }, Then::Store, &mut s.qkv);
        backend.attend_patches(AttendPatches {
            qkv: &s.qkv,
            images: sequences,
            patches: tokens,
            heads: sizes.heads,
            head_dim,
            scale: (head_dim as f32).powf(-0.5),
            out: &mut s.attended,
        });
        let shape = (rows, sizes.hidden);
        let attended = Applied { x: &s.attended, rows, adapted };
        self.join(backend, shape, (&self.output, 0), attended, &mut s.normed, &mut s.residual);
        self.mlp_norm.apply(backend, rows, &s.residual, &mut s.normed);
        let then = Then::Activate(sizes.activation);
        self.up.apply(backend, Applied { x: &s.normed, rows, adapted }, then, &mut s.wide);
        let wide = Applied { x: &s.wide, rows, adapted };
        self.join(backend, shape, (&self.down, 1), wide, &mut s.normed, &mut s.residual);
    }

    /// Adds the product of a branch to the residual stream, scaled where the layer scales it.
    fn join(
        &self,
        backend: &B,
        (rows, width): (usize, usize),
        (product, branch): (&Affine<B>, usize),
        x: Applied<'_, B>,
        between: &mut B::Buffer,
        residual: &mut B::Buffer,
    ) {
        match &self.scales {
            None => product.apply(backend, x, Then::Add, residual),
            Some(scales) => {
                product.apply(backend, x, Then::Store, between);
                let scale = Some(&scales[branch]);
                backend.add_rows(AddRows { x: between, scale, rows, width, out: residual });
            }
        }
    }
}
