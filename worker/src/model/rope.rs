//! Rotary position embedding.

/// Rotary position embedding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f32,
    /// Frequencies are divided by this (linear scaling).
    pub factor: f32,
}

impl Rope {
    /// Frequencies of the pairs of a head, computed in f32 as `transformers` does.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim).step_by(2).map(|i| 1.0 / self.theta.powf(i as f32 / head_dim as f32) / self.factor).collect()
    }
}
