//! The truth: every operation as its formula reads, one value at a time.
//!
//! Sums run in f64 and are rounded once, so that the truth favours no order of summation. It is far too slow to serve a
//! model; other backends are held to it, operation by operation, and it runs the small checkpoints of the parity tests.

mod attention;
mod choose;
mod norm;
mod vision;

use crate::args::{
    Activate, Activation, AddLowRank, AddRmsNorm, AddRows, Attend, AttendPatches, AveragePool, CacheShape, Embed,
    GatedLinear, LayerNorm, Linear, PatchEmbed, PlaceRows, RmsNorm, Span, StoreKeysValues, Then,
};
use crate::backend::{Backend, DeviceError};
use crate::choice::{Choices, Choose};
use crate::host::HostPlan;
use crate::weights::{Arithmetic, Form, Storage, WeightView};

/// The naive backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference {
    /// What it rounds. It does not keep the order of sums that goes with it.
    pub arithmetic: Arithmetic,
}

/// A matrix `[rows, columns]`, row-major.
#[derive(Debug, Clone)]
pub struct Dense {
    values: Vec<f32>,
    columns: usize,
    arithmetic: Arithmetic,
}

impl Dense {
    fn stack(parts: &[WeightView<'_>], storage: Storage, arithmetic: Arithmetic) -> Self {
        let (columns, form) = (parts[0].columns, Form::of(parts, storage));
        let rows = parts.iter().flat_map(|part| (0..part.rows).map(move |row| (part, row)));
        let values = rows.flat_map(|(part, row)| form.row(part, row)).collect();
        let arithmetic = if form == Form::F32 { Arithmetic::Exact } else { arithmetic };
        Self { values, columns, arithmetic }
    }

    fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// `x · Wᵀ` for one row `x`.
    fn times(&self, x: &[f32]) -> impl Iterator<Item = f32> {
        let x: Vec<f32> = x.iter().map(|x| self.arithmetic.rounded(*x)).collect();
        (0..self.rows()).map(move |row| dot(&x, self.row(row)))
    }
}

/// Keys and values: `[layers, blocks, block_tokens, kv_heads, head_dim]` each.
#[derive(Debug, Clone)]
pub struct ReferenceCache {
    shape: CacheShape,
    keys: Vec<f32>,
    values: Vec<f32>,
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
}

/// Activations, as their definitions read.
fn activate(activation: Activation, x: f32) -> f32 {
    let x = f64::from(x);
    let value = match activation {
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::GeluErf => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::Silu => x / (1.0 + (-x).exp()),
    };
    value as f32
}

/// `erf(x) = 2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1))`, whose terms all have one sign (Abramowitz and Stegun 7.1.6);
/// beyond 6 it is ±1 in f64.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

impl Backend for Reference {
    type Buffer = Vec<f32>;
    type Matrix = Dense;
    type Gated = (Dense, Dense);
    type Cache = ReferenceCache;
    type Plan = HostPlan;

    fn name(&self) -> String {
        "reference".to_owned()
    }

    fn buffer(&self, len: usize) -> Vec<f32> {
        // Whoever reads what was never written shall see it.
        vec![f32::NAN; len]
    }

    fn upload(&self, values: &[f32]) -> Result<Vec<f32>, DeviceError> {
        Ok(values.to_vec())
    }

    fn download(&self, buffer: &Vec<f32>, len: usize) -> Vec<f32> {
        buffer[..len].to_vec()
    }

    fn matrix(&self, parts: &[WeightView<'_>], storage: Storage) -> Result<Dense, DeviceError> {
        Ok(Dense::stack(parts, storage, self.arithmetic))
    }

    fn gated(&self, gate: WeightView<'_>, up: WeightView<'_>, storage: Storage) -> Result<(Dense, Dense), DeviceError> {
        let dense = |view| Dense::stack(&[view], storage, self.arithmetic);
        Ok((dense(gate), dense(up)))
    }

    fn cache(&self, shape: CacheShape) -> Result<ReferenceCache, DeviceError> {
        let len = shape.layers * shape.blocks * shape.block_tokens * shape.kv_heads * shape.head_dim;
        Ok(ReferenceCache { shape, keys: vec![f32::NAN; len], values: vec![f32::NAN; len] })
    }

    fn plan(&self, spans: &[Span<'_>], block_tokens: usize) -> HostPlan {
        HostPlan::new(spans, block_tokens)
    }

    fn rope_angles(&self, plan: &HostPlan, frequencies: &[f32]) -> Vec<f32> {
        let angles = |position: usize| frequencies.iter().map(move |frequency| position as f32 * frequency);
        let cosines_sines = |position: usize| {
            let cosines = angles(position).map(|angle| f64::from(angle).cos() as f32);
            cosines.chain(angles(position).map(|angle| f64::from(angle).sin() as f32))
        };
        plan.positions().flat_map(cosines_sines).collect()
    }

    fn embed(&self, args: Embed<'_, Self>) {
        let width = args.table.columns;
        for (row, id) in args.ids.iter().enumerate() {
            for (out, value) in args.out[row * width..].iter_mut().zip(args.table.row(*id as usize)) {
                *out = value * args.scale;
            }
        }
    }

    fn place_rows(&self, args: PlaceRows<'_, Self>) {
        let len = args.rows * args.width;
        args.out[args.at * args.width..][..len].copy_from_slice(&args.from[args.first * args.width..][..len]);
    }

    fn rms_norm(&self, args: RmsNorm<'_, Self>) {
        for row in 0..args.rows.count() {
            let x = &args.x[args.rows.source(row) * args.width..][..args.width];
            norm::rms(x, (args.weight, args.offset), args.eps, &mut args.out[row * args.width..][..args.width]);
        }
    }

    fn add_rms_norm(&self, args: AddRmsNorm<'_, Self>) {
        norm::add_rms(args);
    }

    fn layer_norm(&self, args: LayerNorm<'_, Self>) {
        norm::layer(args);
    }

    fn linear(&self, args: Linear<'_, Self>) {
        let (inputs, outputs) = (args.weight.columns, args.weight.rows());
        for row in 0..args.rows {
            let x = &args.x[row * inputs..][..inputs];
            let out = &mut args.out[row * outputs..][..outputs];
            for (index, product) in args.weight.times(x).enumerate() {
                let value = product + args.bias.map_or(0.0, |bias| bias[index]);
                match args.then {
                    Then::Store => out[index] = value,
                    Then::Activate(activation) => out[index] = activate(activation, value),
                    Then::Add => out[index] += value,
                }
            }
        }
    }

    fn gated_linear(&self, args: GatedLinear<'_, Self>) {
        let (gate, up) = args.weight;
        let (inputs, outputs) = (gate.columns, gate.rows());
        for row in 0..args.rows {
            let x = &args.x[row * inputs..][..inputs];
            let out = &mut args.out[row * outputs..][..outputs];
            for (out, (gate, up)) in out.iter_mut().zip(gate.times(x).zip(up.times(x))) {
                *out = activate(args.activation, gate) * up;
            }
        }
    }

    fn add_low_rank(&self, args: AddLowRank<'_, Self>) {
        let (inputs, outputs) = (args.down.columns, args.up.rows());
        for row in args.rows {
            let inner: Vec<f32> = args.down.times(&args.x[row * inputs..][..inputs]).collect();
            let out = &mut args.out[row * outputs..][..outputs];
            out.iter_mut().zip(args.up.times(&inner)).for_each(|(out, value)| *out += value);
        }
    }

    fn activate(&self, args: Activate<'_, Self>) {
        for (index, out) in args.out[..args.len].iter_mut().enumerate() {
            *out = activate(args.activation, *out) * args.times.map_or(1.0, |times| times[index]);
        }
    }

    fn add_rows(&self, args: AddRows<'_, Self>) {
        for index in 0..args.rows * args.width {
            let scale = args.scale.map_or(1.0, |scale| f64::from(scale[index % args.width]));
            args.out[index] = (f64::from(args.out[index]) + f64::from(args.x[index]) * scale) as f32;
        }
    }

    fn store_keys_values(&self, args: StoreKeysValues<'_, Self>) {
        attention::store(self.arithmetic, args);
    }

    fn attend(&self, args: Attend<'_, Self>) {
        attention::attend(self.arithmetic, args);
    }

    fn attend_patches(&self, args: AttendPatches<'_, Self>) {
        vision::attend(self.arithmetic, args);
    }

    fn patch_embed(&self, args: PatchEmbed<'_, Self>) {
        vision::patch_embed(args);
    }

    fn average_pool(&self, args: AveragePool<'_, Self>) {
        vision::average_pool(args);
    }

    fn choose(&self, args: Choose<'_, Self>) -> Result<Choices, DeviceError> {
        let rows = args.scores.chunks(args.vocabulary).zip(args.rows);
        Ok(rows.map(|(scores, pick)| choose::choose(scores, args.excluded, pick)).collect())
    }
}
