//! SigLIP: its vision tower, which other families use.

mod raw;
mod tower;

pub(super) use raw::RawVision;
pub(super) use tower::Tower;

use super::config::PictureSize;

/// The SigLIP vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layers.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Heads.
    pub heads: usize,
    /// The pictures that it takes.
    pub picture: PictureSize,
    /// Rows and columns of a patch.
    pub patch: usize,
    /// Added to the variance in norms.
    pub eps: f32,
}

impl VisionConfig {
    /// Rows and columns of patches.
    pub fn side(&self) -> usize {
        self.picture.side / self.patch
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        self.side() * self.side()
    }
}
