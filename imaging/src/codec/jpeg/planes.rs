//! From coefficients to pixels: each component becomes a plane and is brought to full size.

use super::frame::{BLOCK, BLOCK_SIDE, Component, Frame};
use super::idct;

/// Fancy upsampling wants neighbours: narrower components are repeated, as libjpeg does.
const MIN_FANCY_WIDTH: usize = 3;

/// The samples of one component, as coded.
struct Plane {
    /// Samples of the picture, without padding.
    width: usize,
    height: usize,
    /// Samples from one row to the next.
    stride: usize,
    samples: Vec<u16>,
}

/// Turns the coefficients of a decoded frame into interleaved samples, and lets go of them.
pub(super) fn reconstruct(frame: &mut Frame) -> Vec<u16> {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let stride = frame.components.len();
    // `Frame::parse` has found this many samples within the limits.
    let mut pixels = vec![0; width * height * stride];
    let (horizontal, vertical) = (frame.horizontal, frame.vertical);
    for (index, component) in frame.components.iter_mut().enumerate() {
        let ratio = (horizontal / component.horizontal, vertical / component.vertical);
        let plane = Plane::new(component, frame.bits);
        component.coefficients = Vec::new();
        let rows = pixels.chunks_exact_mut(width * stride);
        let mut full = vec![0; plane.width * ratio.0];
        for (y, row) in rows.enumerate() {
            plane.full_row(y, ratio, &mut full);
            for (to, &from) in row[index..].iter_mut().step_by(stride).zip(&full) {
                *to = from;
            }
        }
    }
    pixels
}

impl Plane {
    fn new(component: &Component, bits: u8) -> Self {
        let stride = component.blocks_wide * BLOCK_SIDE;
        let mut plane = Self {
            width: component.width,
            height: component.height,
            stride,
            samples: vec![0; stride * component.blocks_high * BLOCK_SIDE],
        };
        // A component that no scan has coded has no divisors; its zeros make mid-grey.
        let divisors = component.divisors.unwrap_or([0; BLOCK]);
        let (blocks, _) = component.coefficients.as_chunks::<BLOCK>();
        for (index, block) in blocks.iter().enumerate() {
            let corner =
                index / component.blocks_wide * BLOCK_SIDE * stride + index % component.blocks_wide * BLOCK_SIDE;
            let rows = idct::inverse(block, &divisors, bits);
            for (y, row) in rows.iter().enumerate() {
                let start = corner + y * stride;
                plane.samples[start..start + BLOCK_SIDE].copy_from_slice(row);
            }
        }
        plane
    }

    fn row(&self, y: usize) -> &[u16] {
        &self.samples[y * self.stride..][..self.width]
    }

    /// Writes row `y` of the frame, `ratio` times the plane across and down. Ratios of two are
    /// interpolated as libjpeg's "fancy upsampling" does, other ratios repeat samples.
    fn full_row(&self, y: usize, ratio: (usize, usize), full: &mut [u16]) {
        match ratio {
            (1, 1) => full.copy_from_slice(self.row(y)),
            (2, 1) if self.width >= MIN_FANCY_WIDTH => {
                let row = self.row(y);
                // Quarters, rounded down and up by turns so that no direction is favoured.
                interpolate(full, 1, 2, 2, |x| u32::from(row[x]));
            }
            (2, 2) if self.width >= MIN_FANCY_WIDTH => {
                let near = y / 2;
                let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(self.height - 1) };
                let (near, far) = (self.row(near), self.row(far));
                interpolate(full, 8, 7, 4, |x| 3 * u32::from(near[x]) + u32::from(far[x]));
            }
            (across, down) => {
                let row = self.row(y / down);
                for (to, &from) in full.chunks_exact_mut(across).zip(row) {
                    to.fill(from);
                }
            }
        }
    }
}

/// Doubles a row: each sample lies at a quarter of the way from its nearest source to the next.
///
/// `shift` takes out the weights; `left` and `right` are what is added first to round samples that
/// lean to the left and to the right.
fn interpolate(full: &mut [u16], left: u32, right: u32, shift: u32, source: impl Fn(usize) -> u32) {
    let last = full.len() / 2 - 1;
    for (x, pair) in full.chunks_exact_mut(2).enumerate() {
        let here = source(x);
        let before = if x == 0 { here } else { source(x - 1) };
        let after = if x == last { here } else { source(x + 1) };
        // A weighted mean of samples is itself in the range of a sample.
        pair[0] = ((3 * here + before + left) >> shift) as u16;
        pair[1] = ((3 * here + after + right) >> shift) as u16;
    }
}
