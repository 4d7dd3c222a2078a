//! How much of the host's memory a model would take here, counted without taking it: a backend that computes nothing.
//!
//! Weights that are used where a checkpoint's file is mapped count nothing: the system takes their memory back when it is short
//! of it. What an operation takes while it runs is not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache_value_bytes;
use super::lanes::InstructionSet;
use super::packed::Packing;
use crate::args::{
    Activate, AddLowRank, AddRmsNorm, AddRows, Attend, AttendPatches, AveragePool, CacheShape, Embed, GatedLinear,
    LayerNorm, Linear, PatchEmbed, PlaceRows, RmsNorm, Span, StoreKeysValues,
};
use crate::backend::{Backend, DeviceError};
use crate::choice::{ChoiceError, Choices, Choose};
use crate::host::HostPlan;
use crate::weights::{Arithmetic, Storage, WeightView};

/// Counts what [`super::Cpu`] would take.
#[derive(Debug)]
pub struct Tally {
    set: InstructionSet,
    arithmetic: Arithmetic,
    taken: Arc<Taken>,
}

/// Bytes.
#[derive(Debug, Default)]
struct Taken {
    now: AtomicU64,
    most: AtomicU64,
}

/// What stands for something that takes memory.
#[derive(Debug)]
pub struct Counted {
    bytes: u64,
    taken: Arc<Taken>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.taken.now.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Tally {
    pub(super) fn new(set: InstructionSet, arithmetic: Arithmetic) -> Self {
        Self { set, arithmetic, taken: Arc::default() }
    }

    /// Bytes that are taken now.
    pub fn taken(&self) -> u64 {
        self.taken.now.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: u64) -> Counted {
        let now = self.taken.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.taken.most.fetch_max(now, Ordering::Relaxed);
        Counted { bytes, taken: Arc::clone(&self.taken) }
    }

    fn packing(&self, parts: &[WeightView<'_>], storage: Storage) -> Packing {
        Packing::new(parts, storage, self.arithmetic, self.set)
    }
}

impl Backend for Tally {
    type Buffer = Counted;
    type Matrix = Counted;
    type Gated = Counted;
    type Cache = Counted;
    type Plan = HostPlan;

    fn name(&self) -> String {
        "a count of memory".to_owned()
    }

    fn buffer(&self, len: usize) -> Counted {
        self.count((len * size_of::<f32>()) as u64)
    }

    fn upload(&self, values: &[f32]) -> Result<Counted, DeviceError> {
        Ok(self.buffer(values.len()))
    }

    fn download(&self, _: &Counted, len: usize) -> Vec<f32> {
        vec![0.0; len]
    }

    fn matrix(&self, parts: &[WeightView<'_>], storage: Storage) -> Result<Counted, DeviceError> {
        Ok(self.count(self.packing(parts, storage).matrix_bytes(parts) as u64))
    }

    fn gated(&self, gate: WeightView<'_>, up: WeightView<'_>, storage: Storage) -> Result<Counted, DeviceError> {
        Ok(self.count(self.packing(&[gate, up], storage).gated_bytes(gate, up) as u64))
    }

    fn cache_value_bytes(&self) -> usize {
        cache_value_bytes(self.set, self.arithmetic)
    }

    fn cache(&self, shape: CacheShape) -> Result<Counted, DeviceError> {
        Ok(self.count(self.cache_bytes(shape)))
    }

    fn rehearse(&self, passes: impl FnOnce()) -> Option<u64> {
        let before = self.taken();
        self.taken.most.store(before, Ordering::Relaxed);
        passes();
        Some(self.taken.most.load(Ordering::Relaxed) - before)
    }

    fn plan(&self, spans: &[Span<'_>], block_tokens: usize) -> HostPlan {
        HostPlan::new(spans, block_tokens)
    }

    fn rope_angles(&self, plan: &HostPlan, frequencies: &[f32]) -> Counted {
        self.buffer(plan.tokens * 2 * frequencies.len())
    }

    fn choose(&self, args: Choose<'_, Self>) -> Result<Choices, DeviceError> {
        Ok(vec![Err(ChoiceError::NothingAllowed); args.rows.len()])
    }

    fn embed(&self, _: Embed<'_, Self>) {}
    fn place_rows(&self, _: PlaceRows<'_, Self>) {}
    fn rms_norm(&self, _: RmsNorm<'_, Self>) {}
    fn add_rms_norm(&self, _: AddRmsNorm<'_, Self>) {}
    fn layer_norm(&self, _: LayerNorm<'_, Self>) {}
    fn linear(&self, _: Linear<'_, Self>) {}
    fn gated_linear(&self, _: GatedLinear<'_, Self>) {}
    fn add_low_rank(&self, _: AddLowRank<'_, Self>) {}
    fn activate(&self, _: Activate<'_, Self>) {}
    fn add_rows(&self, _: AddRows<'_, Self>) {}
    fn store_keys_values(&self, _: StoreKeysValues<'_, Self>) {}
    fn attend(&self, _: Attend<'_, Self>) {}
    fn attend_patches(&self, _: AttendPatches<'_, Self>) {}
    fn patch_embed(&self, _: PatchEmbed<'_, Self>) {}
    fn average_pool(&self, _: AveragePool<'_, Self>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Cpu, pages};
    use crate::weights::{Dtype, Owner};

    /// Bytes that are mapped for what `make` makes.
    fn mapped<T>(make: impl FnOnce() -> T) -> u64 {
        let before = pages::MAPPED.get();
        drop(make());
        pages::MAPPED.get() - before
    }

    #[test]
    fn what_is_counted_is_what_is_taken() {
        let stored = Owner::new(vec![0_u8; 4 * 96 * 256]);
        for set in InstructionSet::available() {
            for arithmetic in [Arithmetic::Exact, Arithmetic::Bf16] {
                let cpu = Cpu::with_instructions(1, set).unwrap().unwrap().with_arithmetic(arithmetic);
                let tally = cpu.tally();
                for storage in [Storage::F32, Storage::Bf16, Storage::Int8, Storage::Int4] {
                    for (rows, columns) in [(1, 32), (16, 64), (24, 96), (40, 256), (96, 200), (33, 128)] {
                        for dtype in [Dtype::F32, Dtype::Bf16] {
                            let view = WeightView::kept(&stored, 0, dtype, rows, columns);
                            let what = format!("{set:?} {arithmetic:?} {storage:?} {dtype:?} {rows} x {columns}");
                            let parts = [view, view];
                            let taken = mapped(|| cpu.matrix(&parts, storage).unwrap());
                            let counted = tally.rehearse(|| drop(tally.matrix(&parts, storage)));
                            assert_eq!(counted, Some(taken), "stacked, {what}");
                            let taken = mapped(|| cpu.gated(view, view, storage).unwrap());
                            let counted = tally.rehearse(|| drop(tally.gated(view, view, storage)));
                            assert_eq!(counted, Some(taken), "gated, {what}");
                            let whole = rows % 16 == 0 && columns % 32 == 0;
                            if (storage, dtype, whole) == (Storage::Bf16, Dtype::Bf16, true) {
                                assert_eq!(taken, 0, "where it is mapped, {what}");
                            }
                        }
                    }
                }
                let shape = CacheShape { layers: 2, blocks: 3, block_tokens: 16, kv_heads: 2, head_dim: 64 };
                let taken = mapped(|| cpu.cache(shape).unwrap());
                assert_eq!(tally.rehearse(|| drop(tally.cache(shape))), Some(taken), "{set:?} {arithmetic:?} cache");
            }
        }
    }

    #[test]
    fn what_is_given_back_counts_no_more() {
        let tally = Cpu::with_threads(1).unwrap().tally();
        let held = tally.buffer(1000);
        let counted = tally.rehearse(|| {
            for _ in 0..3 {
                let _both = (tally.buffer(100), tally.buffer(150));
            }
        });
        assert_eq!((counted, tally.taken()), (Some(1000), 4000));
        drop(held);
        assert_eq!(tally.rehearse(|| drop(tally.buffer(25))), Some(100));
    }
}
