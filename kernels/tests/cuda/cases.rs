//! Numbers to compute with, and the one comparison.
//!
//! All numbers are exact in bf16 and, but for the smallest, in f16: what is left to differ is the order of sums, so that products
//! are held to nearly what f32 gives.

use half::bf16;
use prelim_kernels::{Dtype, WeightView};

/// A seeded stream of numbers (SplitMix64): the same on every machine.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn vector(&mut self, len: usize, scale: f32) -> Vec<f32> {
        let mut unit = || (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        (0..len).map(|_| bf16::from_f32(unit() * scale).to_f32()).collect()
    }
}

/// A weight with its bytes.
pub(crate) struct Weight {
    bytes: Vec<u8>,
    rows: usize,
    columns: usize,
}

impl Weight {
    pub(crate) fn new(numbers: &mut Numbers, rows: usize, columns: usize) -> Self {
        let values = numbers.vector(rows * columns, (3.0 / columns as f32).sqrt());
        Self { bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(), rows, columns }
    }

    pub(crate) fn view(&self) -> WeightView<'_> {
        WeightView::new(&self.bytes, Dtype::F32, self.rows, self.columns)
    }
}

/// Within `tolerance` of the largest value, everywhere. NaN is nowhere near.
pub(crate) fn check(what: &str, found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    let largest = wanted.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
    for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let error = (found - wanted).abs() / largest;
        // `!(error > tolerance)` would let NaN pass.
        assert!(error <= tolerance, "{what}: value {index} is {found}, should be {wanted} within {tolerance:e}");
    }
}

/// The same bits.
pub(crate) fn check_bits(what: &str, found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let same = found.to_bits() == wanted.to_bits();
        assert!(same, "{what}: value {index} is {found}, should be {wanted} to the bit");
    }
}
