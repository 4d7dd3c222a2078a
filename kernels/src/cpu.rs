//! The default backend: this machine's processor.
//!
//! # Layout
//! - [`lanes`]: sixteen f32 at a time, on AVX-512, AVX2 or plain loops; `bf16`: products of bf16 numbers
//! - [`tile`]: a few rows times a panel of columns, which products and attention are made of
//! - [`packed`], [`quantised`], [`product`]: weights in panels, as floats and as whole numbers, and products with their
//!   epilogues
//! - [`norm`], [`math`], [`softmax`]: norms, exponentials and activations, weights of attention
//! - [`paged`]: the decoder's cache and attention; [`patches`], [`vision`]: the vision tower's own operations
//! - [`choose`]: tokens from scores
//! - [`work`]: tasks and threads; [`tally`]: how much memory all of it would take
//!
//! Every sum runs in one order that depends on its own terms only, so results are the same bits for every batch, number
//! of threads and instruction set; but that sums of bf16 products have an order of their own on AVX-512 BF16.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod bf16;
mod choose;
mod lanes;
mod math;
mod norm;
mod packed;
mod paged;
mod pages;
mod patches;
mod product;
mod quantised;
mod rows;
mod softmax;
mod tally;
mod team;
mod tile;
mod vision;
mod work;

use crate::args::{
    Activate, AddLowRank, AddRmsNorm, AddRows, Attend, AttendPatches, AveragePool, CacheShape, Embed, GatedLinear,
    LayerNorm, Linear, PatchEmbed, PlaceRows, RmsNorm, Rows, Span, StoreKeysValues, Then,
};
use crate::backend::{Backend, DeviceError};
use crate::choice::{ChoiceError, Choices, Choose};
use crate::host::HostPlan;
use crate::weights::{Arithmetic, Storage, WeightView};

pub use lanes::InstructionSet;
pub use packed::{Packed, PackedGated};
pub use paged::PagedCache;
pub use tally::Tally;

use norm::{Kind, Norm};
use packed::Packing;
use product::{Epilogue, Product};
use team::Team;
use work::{Kept, Work};

/// The processor, with threads of its own.
#[derive(Debug)]
pub struct Cpu {
    set: InstructionSet,
    arithmetic: Arithmetic,
    threads: usize,
    /// The threads beside the caller's; None where there are none.
    team: Option<Team>,
    kept: Kept,
}

impl Cpu {
    /// As many threads as the machine has cores, and its best instructions.
    pub fn new() -> Result<Self, DeviceError> {
        Self::with_threads(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// So many threads, at least one.
    pub fn with_threads(threads: usize) -> Result<Self, DeviceError> {
        let best = InstructionSet::available().first().copied().unwrap_or(InstructionSet::Portable);
        Self::build(threads.max(1), best)
    }

    /// Other instructions than the best, to compare them. None where this processor lacks them.
    pub fn with_instructions(threads: usize, set: InstructionSet) -> Option<Result<Self, DeviceError>> {
        InstructionSet::available().contains(&set).then(|| Self::build(threads.max(1), set))
    }

    /// Rounds as `arithmetic` says from now on. Weights and caches made before keep what they were made for.
    #[must_use]
    pub fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        Self { arithmetic, ..self }
    }

    fn packing(&self, parts: &[WeightView<'_>], storage: Storage) -> Packing {
        Packing::new(parts, storage, self.arithmetic, self.set)
    }

    fn build(threads: usize, set: InstructionSet) -> Result<Self, DeviceError> {
        let team = match threads {
            1 => None,
            _ => {
                let team = Team::new(threads - 1);
                Some(team.map_err(|error| DeviceError::Threads { threads, what: error.to_string() })?)
            }
        };
        Ok(Self { set, arithmetic: Arithmetic::default(), threads, team, kept: Kept::default() })
    }

    /// Counts the memory that a model would take here.
    pub fn tally(&self) -> Tally {
        Tally::new(self.set, self.arithmetic)
    }

    /// With which instructions.
    pub fn instructions(&self) -> InstructionSet {
        self.set
    }

    /// How many threads it computes with.
    pub fn threads(&self) -> usize {
        self.threads
    }

    fn work(&self) -> Work<'_> {
        Work { threads: self.threads, team: self.team.as_ref(), kept: &self.kept }
    }
}

/// Rounded numbers are kept as f32 where instructions are for f32.
fn cache_value_bytes(set: InstructionSet, arithmetic: Arithmetic) -> usize {
    match set.multiplies_bf16() {
        true => arithmetic.cache_value_bytes(),
        false => size_of::<f32>(),
    }
}

impl Backend for Cpu {
    type Buffer = Vec<f32>;
    type Matrix = Packed;
    type Gated = PackedGated;
    type Cache = PagedCache;
    type Plan = HostPlan;

    fn name(&self) -> String {
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        let set = match (self.set, self.arithmetic) {
            (set, Arithmetic::Exact) if set.multiplies_bf16() => InstructionSet::Avx512,
            (set, _) => set,
        };
        format!("cpu ({}, {} {threads})", set.name(), self.threads)
    }

    fn buffer(&self, len: usize) -> Vec<f32> {
        vec![0.0; len]
    }

    fn upload(&self, values: &[f32]) -> Result<Vec<f32>, DeviceError> {
        Ok(values.to_vec())
    }

    fn download(&self, buffer: &Vec<f32>, len: usize) -> Vec<f32> {
        buffer[..len].to_vec()
    }

    fn matrix(&self, parts: &[WeightView<'_>], storage: Storage) -> Result<Packed, DeviceError> {
        Packed::stack(parts, self.packing(parts, storage))
    }

    fn gated(&self, gate: WeightView<'_>, up: WeightView<'_>, storage: Storage) -> Result<PackedGated, DeviceError> {
        PackedGated::new(gate, up, self.packing(&[gate, up], storage))
    }

    fn cache_value_bytes(&self) -> usize {
        cache_value_bytes(self.set, self.arithmetic)
    }

    fn cache(&self, shape: CacheShape) -> Result<PagedCache, DeviceError> {
        PagedCache::new(shape, self.arithmetic, self.set)
    }

    fn plan(&self, spans: &[Span<'_>], block_tokens: usize) -> HostPlan {
        HostPlan::new(spans, block_tokens)
    }

    fn rope_angles(&self, plan: &HostPlan, frequencies: &[f32]) -> Vec<f32> {
        let pairs = frequencies.len();
        let mut angles = vec![0.0; plan.tokens * 2 * pairs];
        for (row, position) in angles.chunks_exact_mut((2 * pairs).max(1)).zip(plan.positions()) {
            let (cosines, sines) = row.split_at_mut(pairs);
            for ((cos, sin), frequency) in cosines.iter_mut().zip(sines).zip(frequencies) {
                let (s, c) = f64::from(position as f32 * frequency).sin_cos();
                (*cos, *sin) = (c as f32, s as f32);
            }
        }
        angles
    }

    fn embed(&self, args: Embed<'_, Self>) {
        let width = args.table.columns;
        for (row, id) in args.ids.iter().enumerate() {
            args.table.copy_row(*id as usize, args.scale, &mut args.out[row * width..][..width]);
        }
    }

    fn place_rows(&self, args: PlaceRows<'_, Self>) {
        let len = args.rows * args.width;
        args.out[args.at * args.width..][..len].copy_from_slice(&args.from[args.first * args.width..][..len]);
    }

    fn rms_norm(&self, args: RmsNorm<'_, Self>) {
        let RmsNorm { x, rows, weight, offset, width, eps, out } = args;
        Norm { x, rows, width, eps, kind: Kind::Rms { weight, offset }, out }.run(self.set, self.work());
    }

    fn add_rms_norm(&self, args: AddRmsNorm<'_, Self>) {
        let AddRmsNorm { branch, post, residual, next, rows, width, eps } = args;
        let rows = Rows::First(rows);
        let add = Norm { x: branch, rows, width, eps, kind: Kind::AddRms { weight: post, offset: 1.0 }, out: residual };
        add.run(self.set, self.work());
        if let Some((weight, out)) = next {
            let norm = Norm { x: residual, rows, width, eps, kind: Kind::Rms { weight, offset: 1.0 }, out };
            norm.run(self.set, self.work());
        }
    }

    fn layer_norm(&self, args: LayerNorm<'_, Self>) {
        let LayerNorm { x, weight, bias, rows, width, eps, out } = args;
        let norm = Norm { x, rows: Rows::First(rows), width, eps, kind: Kind::Layer { weight, bias }, out };
        norm.run(self.set, self.work());
    }

    fn linear(&self, args: Linear<'_, Self>) {
        let Linear { x, rows, weight, bias, then, out } = args;
        let epilogue = Epilogue::Each { bias: bias.map(Vec::as_slice), then };
        Product { x, rows, weight, epilogue, out }.run(self.set, self.work());
    }

    fn gated_linear(&self, args: GatedLinear<'_, Self>) {
        product::gated((self.set, self.work()), args);
    }

    fn add_rows(&self, args: AddRows<'_, Self>) {
        norm::add_rows(self.work(), args);
    }

    fn add_low_rank(&self, args: AddLowRank<'_, Self>) {
        let AddLowRank { x, rows, down, up, out } = args;
        let (first, rows) = (rows.start, rows.len());
        let mut inner = vec![0.0; rows * down.rows];
        let x = &x[first * down.columns..];
        let epilogue = |then| Epilogue::Each { bias: None, then };
        let to_inner = Product { x, rows, weight: down, epilogue: epilogue(Then::Store), out: &mut inner };
        to_inner.run(self.set, self.work());
        let out = &mut out[first * up.rows..];
        Product { x: &inner, rows, weight: up, epilogue: epilogue(Then::Add), out }.run(self.set, self.work());
    }

    fn activate(&self, args: Activate<'_, Self>) {
        product::activate(self.set, self.work(), args);
    }

    fn store_keys_values(&self, args: StoreKeysValues<'_, Self>) {
        paged::store(self.set, args);
    }

    fn attend(&self, args: Attend<'_, Self>) {
        paged::attend(self.set, self.work(), args);
    }

    fn attend_patches(&self, args: AttendPatches<'_, Self>) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let (Arithmetic::Bf16, Some(unit)) = (self.arithmetic, self.set.unit()) {
            return bf16::attend_patches(unit, self.work(), args);
        }
        patches::attend(self.set, self.work(), self.arithmetic, args);
    }

    fn patch_embed(&self, args: PatchEmbed<'_, Self>) {
        vision::patch_embed(self.set, self.work(), args);
    }

    fn average_pool(&self, args: AveragePool<'_, Self>) {
        vision::average_pool(args);
    }

    fn choose(&self, args: Choose<'_, Self>) -> Result<Choices, DeviceError> {
        let Choose { scores, vocabulary, excluded, rows } = args;
        let mut choices = vec![Err(ChoiceError::NothingAllowed); rows.len()];
        self.work().run_each(&mut choices, |row, choice| {
            *choice = choose::choose(&scores[row * vocabulary..][..vocabulary], excluded, &rows[row]);
        });
        Ok(choices)
    }
}
