//! Numbers to compute with, and the one comparison.

use prelim_kernels::{Dtype, Owner, WeightView};

/// A seeded stream of numbers (SplitMix64): the same on every machine.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From -1 to 1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn vector(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.unit() * scale).collect()
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
        let scale = (3.0 / columns as f32).sqrt();
        let values = numbers.vector(rows * columns, scale);
        Self { bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(), rows, columns }
    }

    /// The numbers as bf16 in memory that stays, and where they begin in it, which is nowhere round.
    pub(crate) fn kept(&self) -> (Owner, usize) {
        const BEFORE: usize = 7;
        let upper = |bytes: &[u8]| [bytes[2], bytes[3]];
        let numbers = self.bytes.chunks_exact(4).flat_map(upper);
        (Owner::new([0xff; BEFORE].into_iter().chain(numbers).collect::<Vec<u8>>()), BEFORE)
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
        assert_eq!(
            found.to_bits(),
            wanted.to_bits(),
            "{what}: value {index} is {found}, should be {wanted} to the bit"
        );
    }
}
