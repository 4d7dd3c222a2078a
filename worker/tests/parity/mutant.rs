//! A backend that makes one mistake, to show that the goldens catch it.
//!
//! Each is a mistake that ports of these models have made, or could. Those that are settings are made in the configuration
//! instead.

use std::sync::atomic::{AtomicUsize, Ordering};

use prelim_kernels::cpu::{Packed, PackedGated, PagedCache};
use prelim_kernels::host::HostPlan;
use prelim_kernels::{
    Activate, Activation, AddLowRank, AddRmsNorm, AddRows, Attend, AttendPatches, AveragePool, Backend, CacheShape,
    Choices, Choose, Cpu, DeviceError, Embed, GatedLinear, HeadNorms, LayerNorm, Linear, PatchEmbed, PlaceRows,
    RmsNorm, Rows, Span, Storage, StoreKeysValues, Then, WeightView,
};
use prelim_worker::model::gemma3::{Attention, Config};
use prelim_worker::model::{FamilyConfig, ModelConfig};

/// What is done wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    NoVisionPostNorm,
    NormWeightWithoutOne,
    GroupedHeadsTiled,
    NoEmbeddingScale,
    ImageFeaturesScaled,
    CausalImages,
    NoPostNorms,
    GlobalLayersShifted,
    InterleavedRope,
    WindowOffByOne,
    ProjectorNormBeforePooling,
    NoLinearRopeFactor,
    HeadDimForQueryScale,
    RopeBeforeNorm,
    OneRopeTheta,
    ErfGeluInText,
    ErfGeluInVision,
    // LLaVA's own.
    NormWeightWithOne,
    NoLayerScale,
    TanhGeluInVision,
    TanhGeluInProjector,
    GeluForSilu,
    ImagesSeeBothWays,
    PositionsTransposed,
    FeaturesAfterTheLastNorm,
    EarlierFeatureLayer,
    TiedHead,
    NormEps,
    NoRopeFactor,
    // SigLIP's own.
    FirstTokenForText,
    NoTextPositions,
    NoPoolingResidual,
    ProbesAskOfOnePatch,
    ScaleOfWholeWidth,
}

impl Mistake {
    /// All but none.
    pub(crate) const ALL: [Self; 17] = [
        Self::NoVisionPostNorm,
        Self::NormWeightWithoutOne,
        Self::GroupedHeadsTiled,
        Self::NoEmbeddingScale,
        Self::ImageFeaturesScaled,
        Self::CausalImages,
        Self::NoPostNorms,
        Self::GlobalLayersShifted,
        Self::InterleavedRope,
        Self::WindowOffByOne,
        Self::ProjectorNormBeforePooling,
        Self::NoLinearRopeFactor,
        Self::HeadDimForQueryScale,
        Self::RopeBeforeNorm,
        Self::OneRopeTheta,
        Self::ErfGeluInText,
        Self::ErfGeluInVision,
    ];

    /// Those that LLaVA with DINOv2 and Llama can have.
    pub(crate) const OF_LLAVA: [Self; 13] = [
        Self::NormWeightWithOne,
        Self::NoLayerScale,
        Self::TanhGeluInVision,
        Self::TanhGeluInProjector,
        Self::GeluForSilu,
        Self::ImagesSeeBothWays,
        Self::PositionsTransposed,
        Self::FeaturesAfterTheLastNorm,
        Self::EarlierFeatureLayer,
        Self::TiedHead,
        Self::NormEps,
        Self::NoRopeFactor,
        Self::InterleavedRope,
    ];

    /// Those that SigLIP can have.
    pub(crate) const OF_SIGLIP: [Self; 6] = [
        Self::FirstTokenForText,
        Self::NoTextPositions,
        Self::NoPoolingResidual,
        Self::ProbesAskOfOnePatch,
        Self::ScaleOfWholeWidth,
        Self::ErfGeluInVision,
    ];

    /// Mistakes that are wrong settings of LLaVA.
    pub(crate) fn misread_llava(self, config: &mut ModelConfig) {
        let FamilyConfig::Llava(config) = &mut config.family else { panic!("another family") };
        match self {
            Self::TanhGeluInProjector => config.projector_activation = Activation::GeluTanh,
            Self::EarlierFeatureLayer => config.vision.layers -= 1,
            Self::TiedHead => config.text.tied = true,
            Self::NormEps => config.text.eps = 1e-6,
            Self::NoRopeFactor => config.text.rope.factor = 1.0,
            _ => {}
        }
    }

    /// Mistakes that are wrong settings.
    pub(crate) fn misread(self, config: &mut ModelConfig) {
        let FamilyConfig::Gemma3(Config { text, .. }) = &mut config.family else { panic!("another family") };
        match self {
            Self::GlobalLayersShifted => {
                for (index, layer) in text.layers.iter_mut().enumerate() {
                    *layer = if index % 6 == 0 { Attention::Full } else { Attention::Sliding };
                }
            }
            Self::WindowOffByOne => text.window += 1,
            Self::NoLinearRopeFactor => text.rope_global.factor = 1.0,
            Self::HeadDimForQueryScale => text.query_scale = text.head_dim as f32,
            Self::OneRopeTheta => text.rope_global.theta = text.rope_local.theta,
            _ => {}
        }
    }
}

/// The processor, with a mistake.
pub(crate) struct Mutant {
    pub(crate) mistake: Mistake,
    cpu: Cpu,
    vision_width: usize,
    norms_per_picture: usize,
    layer_norms: AtomicUsize,
}

impl Mutant {
    pub(crate) fn new(mistake: Mistake) -> Self {
        let cpu = Cpu::with_threads(1).expect("one thread");
        Self { mistake, cpu, vision_width: 0, norms_per_picture: usize::MAX, layer_norms: AtomicUsize::new(0) }
    }

    pub(crate) fn of_gemma3(mistake: Mistake, config: &ModelConfig) -> Self {
        let FamilyConfig::Gemma3(Config { vision, .. }) = &config.family else { panic!("another family") };
        Self { vision_width: vision.hidden, norms_per_picture: 2 * vision.layers + 1, ..Self::new(mistake) }
    }

    /// What is added to a norm's weight.
    fn offset(&self, offset: f32) -> f32 {
        match self.mistake {
            Mistake::NormWeightWithoutOne => 0.0,
            Mistake::NormWeightWithOne => 1.0,
            _ => offset,
        }
    }

    fn rms(&self, x: &Vec<f32>, rows: Rows<'_>, weight: &Vec<f32>, eps: f32, out: &mut Vec<f32>) {
        let offset = self.offset(1.0);
        self.cpu.rms_norm(RmsNorm { x, rows, weight, offset, width: weight.len(), eps, out });
    }
}

/// Heads of `width` values with pairs (0,1), (2,3), … moved to where (0, half), (1, half + 1), … are.
fn split_pairs(head: &[f32]) -> Vec<f32> {
    head.iter().step_by(2).chain(head.iter().skip(1).step_by(2)).copied().collect()
}

fn rotate(head: &mut [f32], angles: &[f32]) {
    let half = head.len() / 2;
    for i in 0..half {
        let (a, b, cos, sin) = (head[i], head[i + half], angles[i], angles[i + half]);
        (head[i], head[i + half]) = (a * cos - b * sin, b * cos + a * sin);
    }
}

impl Backend for Mutant {
    type Buffer = Vec<f32>;
    type Matrix = Packed;
    type Gated = PackedGated;
    type Cache = PagedCache;
    type Plan = HostPlan;

    fn name(&self) -> String {
        format!("{:?}", self.mistake)
    }

    fn buffer(&self, len: usize) -> Vec<f32> {
        self.cpu.buffer(len)
    }

    fn upload(&self, values: &[f32]) -> Result<Vec<f32>, DeviceError> {
        self.cpu.upload(values)
    }

    fn download(&self, buffer: &Vec<f32>, len: usize) -> Vec<f32> {
        self.cpu.download(buffer, len)
    }

    fn matrix(&self, parts: &[WeightView<'_>], storage: Storage) -> Result<Packed, DeviceError> {
        self.cpu.matrix(parts, storage)
    }

    fn gated(&self, gate: WeightView<'_>, up: WeightView<'_>, storage: Storage) -> Result<Self::Gated, DeviceError> {
        self.cpu.gated(gate, up, storage)
    }

    fn cache(&self, shape: CacheShape) -> Result<PagedCache, DeviceError> {
        self.cpu.cache(shape)
    }

    fn plan(&self, spans: &[Span<'_>], block_tokens: usize) -> HostPlan {
        let mut spans = spans.to_vec();
        if self.mistake == Mistake::CausalImages {
            spans.iter_mut().for_each(|span| span.images.clear());
        }
        if self.mistake == Mistake::ImagesSeeBothWays && spans[0].start == 0 {
            // Where the golden's image is.
            spans[0].images.push(1..65);
        }
        self.cpu.plan(&spans, block_tokens)
    }

    fn rope_angles(&self, plan: &HostPlan, frequencies: &[f32]) -> Vec<f32> {
        self.cpu.rope_angles(plan, frequencies)
    }

    fn embed(&self, args: Embed<'_, Self>) {
        let scale = if self.mistake == Mistake::NoEmbeddingScale { 1.0 } else { args.scale };
        self.cpu.embed(Embed { table: args.table, ids: args.ids, scale, out: args.out });
    }

    fn place_rows(&self, args: PlaceRows<'_, Self>) {
        let PlaceRows { from, first, rows, width, at, out } = args;
        let scale = if self.mistake == Mistake::ImageFeaturesScaled { (width as f32).sqrt() } else { 1.0 };
        // Texts of the golden have 64 tokens, and its pictures 64 patches, the first of which is taken.
        let first = if self.mistake == Mistake::FirstTokenForText && rows == 1 { first / 64 * 64 } else { first };
        let from: Vec<f32> = from.iter().map(|value| value * scale).collect();
        self.cpu.place_rows(PlaceRows { from: &from, first, rows, width, at, out });
    }

    fn rms_norm(&self, args: RmsNorm<'_, Self>) {
        if self.mistake == Mistake::ProjectorNormBeforePooling && args.width == self.vision_width {
            // Already normed: only the weight is left to apply.
            for row in 0..args.rows.count() {
                let x = &args.x[args.rows.source(row) * args.width..];
                for (i, out) in args.out[row * args.width..][..args.width].iter_mut().enumerate() {
                    *out = x[i] * (args.offset + args.weight[i]);
                }
            }
            return;
        }
        let RmsNorm { x, rows, weight, offset, width, eps, out } = args;
        let offset = self.offset(offset);
        self.cpu.rms_norm(RmsNorm { x, rows, weight, offset, width, eps, out });
    }

    fn add_rms_norm(&self, args: AddRmsNorm<'_, Self>) {
        let AddRmsNorm { branch, post, residual, next, rows, width, eps } = args;
        if self.mistake == Mistake::NoPostNorms {
            residual.iter_mut().zip(branch).for_each(|(residual, branch)| *residual += branch);
        } else {
            let mut normed = self.cpu.buffer(rows * width);
            self.rms(branch, Rows::First(rows), post, eps, &mut normed);
            residual.iter_mut().zip(&normed).for_each(|(residual, normed)| *residual += normed);
        }
        if let Some((weight, out)) = next {
            self.rms(residual, Rows::First(rows), weight, eps, out);
        }
    }

    fn layer_norm(&self, args: LayerNorm<'_, Self>) {
        let LayerNorm { x, weight, bias, rows, width, eps, out } = args;
        let number = self.layer_norms.fetch_add(1, Ordering::Relaxed) + 1;
        if self.mistake == Mistake::NoVisionPostNorm && number.is_multiple_of(self.norms_per_picture) {
            out.copy_from_slice(x);
            return;
        }
        self.cpu.layer_norm(LayerNorm { x, weight, bias, rows, width, eps, out });
    }

    fn linear(&self, args: Linear<'_, Self>) {
        let Linear { x, rows, weight, bias, then, out } = args;
        if self.mistake == Mistake::NoPoolingResidual && then == Then::Add && rows == 2 {
            return self.cpu.linear(Linear { x, rows, weight, bias, then: Then::Store, out });
        }
        if self.mistake == Mistake::TanhGeluInVision
            && then == Then::Activate(Activation::GeluErf)
            && out.len() > rows * 64
        {
            let then = Then::Activate(Activation::GeluTanh);
            return self.cpu.linear(Linear { x, rows, weight, bias, then, out });
        }
        if self.mistake == Mistake::FeaturesAfterTheLastNorm
            && then == Then::Activate(Activation::GeluErf)
            && rows == 64
        {
            // The projector's first product; the checkpoint's last norm, but for its weights.
            let width = x.len() / rows;
            let (weight_of_norm, bias_of_norm) = (vec![1.0; width], vec![0.0; width]);
            let mut normed = self.cpu.buffer(x.len());
            let (of_norm, eps) = ((&weight_of_norm, &bias_of_norm), 1e-6);
            let out_of_norm = &mut normed;
            self.cpu.layer_norm(LayerNorm {
                x,
                weight: of_norm.0,
                bias: of_norm.1,
                rows,
                width,
                eps,
                out: out_of_norm,
            });
            return self.cpu.linear(Linear { x: &normed, rows, weight, bias, then, out });
        }
        let wrong = self.mistake == Mistake::ErfGeluInVision && then == Then::Activate(Activation::GeluTanh);
        let then = if wrong { Then::Activate(Activation::GeluErf) } else { then };
        self.cpu.linear(Linear { x, rows, weight, bias, then, out });
    }

    fn gated_linear(&self, args: GatedLinear<'_, Self>) {
        let GatedLinear { x, rows, weight, activation, out } = args;
        let activation = match self.mistake {
            Mistake::ErfGeluInText => Activation::GeluErf,
            Mistake::GeluForSilu => Activation::GeluTanh,
            _ => activation,
        };
        self.cpu.gated_linear(GatedLinear { x, rows, weight, activation, out });
    }

    fn add_rows(&self, args: AddRows<'_, Self>) {
        let AddRows { x, scale, rows, width, out } = args;
        if self.mistake == Mistake::NoTextPositions && scale.is_none() {
            return;
        }
        let scale = scale.filter(|_| self.mistake != Mistake::NoLayerScale);
        self.cpu.add_rows(AddRows { x, scale, rows, width, out });
    }

    fn add_low_rank(&self, args: AddLowRank<'_, Self>) {
        let AddLowRank { x, rows, down, up, out } = args;
        self.cpu.add_low_rank(AddLowRank { x, rows, down, up, out });
    }

    fn activate(&self, args: Activate<'_, Self>) {
        let Activate { len, activation, times, out } = args;
        self.cpu.activate(Activate { len, activation, times, out });
    }

    fn store_keys_values(&self, args: StoreKeysValues<'_, Self>) {
        let mut qkv = args.qkv.clone();
        let mut angles = args.angles.clone();
        let width = angles.len() / args.plan.tokens;
        let mut norms =
            args.norms.map(|norms| (norms.q.clone(), norms.k.clone(), self.offset(norms.offset), norms.eps));
        let all_heads = qkv.len() / width / args.plan.tokens;
        let kv_heads = (all_heads - args.heads) / 2;
        for (index, head) in qkv.chunks_exact_mut(width).enumerate() {
            let (token, head_index) = (index / all_heads, index % all_heads);
            if head_index >= args.heads + kv_heads {
                continue;
            }
            match self.mistake {
                Mistake::InterleavedRope => head.copy_from_slice(&split_pairs(head)),
                Mistake::RopeBeforeNorm => rotate(head, &args.angles[token * width..][..width]),
                _ => {}
            }
        }
        match self.mistake {
            Mistake::InterleavedRope => {
                norms = norms.map(|(q, k, offset, eps)| (split_pairs(&q), split_pairs(&k), offset, eps));
            }
            Mistake::RopeBeforeNorm => {
                angles.iter_mut().enumerate().for_each(|(i, a)| *a = if i % width < width / 2 { 1.0 } else { 0.0 });
            }
            _ => {}
        }
        self.cpu.store_keys_values(StoreKeysValues {
            qkv: &qkv,
            heads: args.heads,
            norms: norms.as_ref().map(|(q, k, offset, eps)| HeadNorms { q, k, offset: *offset, eps: *eps }),
            angles: &angles,
            plan: args.plan,
            cache: args.cache,
            layer: args.layer,
            q: args.q,
        });
    }

    fn attend(&self, args: Attend<'_, Self>) {
        let Attend { q, heads, scale, window, plan, cache, layer, out } = args;
        if self.mistake != Mistake::GroupedHeadsTiled {
            return self.cpu.attend(Attend { q, heads, scale, window, plan, cache, layer, out });
        }
        let width = q.len() / plan.tokens / heads;
        // Two key heads: head h reads key head h mod 2, not h / group.
        let place = |head: usize| (head % 2) * (heads / 2) + head / 2;
        let at = |index: usize| (index / heads * heads + place(index % heads)) * width;
        let (mut moved, mut result) = (q.clone(), out.clone());
        for (index, head) in q.chunks_exact(width).enumerate() {
            moved[at(index)..][..width].copy_from_slice(head);
        }
        self.cpu.attend(Attend { q: &moved, heads, scale, window, plan, cache, layer, out: &mut result });
        for (index, head) in out.chunks_exact_mut(width).enumerate() {
            head.copy_from_slice(&result[at(index)..][..width]);
        }
    }

    fn attend_patches(&self, args: AttendPatches<'_, Self>) {
        let AttendPatches { qkv, images, patches, heads, head_dim, scale, out } = args;
        let scale = if self.mistake == Mistake::ScaleOfWholeWidth { scale / (heads as f32).sqrt() } else { scale };
        let row = 3 * heads * head_dim;
        let is_probe = qkv[..row / 3] == qkv[row..row + row / 3];
        if self.mistake == Mistake::ProbesAskOfOnePatch && is_probe {
            // Keys and values of each picture's first patch alone: the mean that attention makes of them is gone.
            for image in 0..images {
                let values = &qkv[image * patches * row + 2 * row / 3..][..row / 3];
                out[image * patches * row / 3..][..row / 3].copy_from_slice(values);
            }
            return;
        }
        self.cpu.attend_patches(AttendPatches { qkv, images, patches, heads, head_dim, scale, out });
    }

    fn patch_embed(&self, args: PatchEmbed<'_, Self>) {
        let PatchEmbed { pixels, images, channels, side, patch, weight, bias, positions, out } = args;
        let mut positions = positions.clone();
        if self.mistake == Mistake::PositionsTransposed {
            let grid = side / patch;
            let width = positions.len() / (grid * grid);
            let from = positions.clone();
            for (place, to) in positions.chunks_exact_mut(width).enumerate() {
                to.copy_from_slice(&from[(place % grid * grid + place / grid) * width..][..width]);
            }
        }
        let positions = &positions;
        self.cpu.patch_embed(PatchEmbed { pixels, images, channels, side, patch, weight, bias, positions, out });
    }

    fn average_pool(&self, args: AveragePool<'_, Self>) {
        let AveragePool { x, images, side, kernel, width, out } = args;
        let mut normed = x.clone();
        if self.mistake == Mistake::ProjectorNormBeforePooling {
            let rows = Rows::First(images * side * side);
            let weight = vec![0.0; width];
            self.cpu.rms_norm(RmsNorm { x, rows, weight: &weight, offset: 1.0, width, eps: 1e-6, out: &mut normed });
        }
        self.cpu.average_pool(AveragePool { x: &normed, images, side, kernel, width, out });
    }

    fn choose(&self, args: Choose<'_, Self>) -> Result<Choices, DeviceError> {
        let Choose { scores, vocabulary, excluded, rows } = args;
        self.cpu.choose(Choose { scores, vocabulary, excluded, rows })
    }
}
