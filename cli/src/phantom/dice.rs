//! Chance, from a seed: every number of a study comes from one stream.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Modality;

/// A side of the patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Right,
    Left,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Right, Self::Left];

    /// The side's place in an array of two.
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// -1 for the right, 1 for the left: the patient's left is at the right of the picture, towards +x.
    pub(super) fn sign(self) -> f32 {
        match self {
            Self::Right => -1.0,
            Self::Left => 1.0,
        }
    }

    /// The side on which a coordinate lies.
    pub(super) fn of(x: f32) -> Self {
        if x < 0.0 { Self::Right } else { Self::Left }
    }

    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Left => "left",
        }
    }
}

/// A stream of random numbers.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of one study: it depends on the seed, the study's number and its modality, and on nothing else.
    pub(super) fn of_study(seed: u64, index: u64, modality: Modality) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        key[16] = modality as u8 + 1;
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Evenly between `low` and `high`.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        // 24 bits fill the mantissa of an f32.
        let unit = (self.0.next_u32() >> 8) as f32 / 16_777_216.0;
        low + (high - low) * unit
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f32) -> bool {
        self.between(0.0, 1.0) < p
    }

    /// A whole number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((u64::from(self.0.next_u32()) * end as u64) >> 32) as usize
    }

    /// One of the sides.
    pub(super) fn side(&mut self) -> Side {
        if self.chance(0.5) { Side::Left } else { Side::Right }
    }

    /// About normal, mean 0 and deviation 1: the sum of four bytes, which is enough for textures and costs one draw.
    pub(super) fn bell(&mut self) -> f32 {
        /// Deviation of a sum of four even bytes.
        const DEVIATION: f32 = 147.8;
        let sum: u32 = self.0.next_u32().to_le_bytes().iter().map(|&byte| u32::from(byte)).sum();
        (sum as f32 - 510.0) / DEVIATION
    }

    /// An index, drawn with the given weights.
    pub(super) fn weighted(&mut self, weights: &[f32]) -> usize {
        let mut left = self.between(0.0, weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }
}
