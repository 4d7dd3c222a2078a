//! Colour reduced to red, green and blue of 8 bits.

use crate::codec::colour::ycbcr_to_rgb;
use crate::codec::{CodecFrame, Colour};
use crate::pixels::{Photometric, PixelDescription};

/// Red, green and blue of a frame of three components, as the codestream or else the header explains them.
pub(super) fn rgb(mut frame: CodecFrame, description: &PixelDescription) -> Vec<u8> {
    if frame.colour == Colour::Unstated {
        frame.colour = match description.photometric {
            Photometric::YbrFull | Photometric::YbrFull422 => Colour::Ycbcr,
            // The transforms of JPEG 2000 are undone by its decoder.
            _ => Colour::Rgb,
        };
    }
    ycbcr_to_rgb(&mut frame);
    let shift = u32::from(frame.bits).saturating_sub(8);
    frame.samples.iter().map(|&sample| (sample >> shift).min(255) as u8).collect()
}

/// Three planes, pixel by pixel.
pub(super) fn interleave(planes: &[u16]) -> Vec<u16> {
    let pixels = planes.len() / 3;
    (0..pixels).flat_map(|i| [planes[i], planes[pixels + i], planes[2 * pixels + i]]).collect()
}

/// YBR_FULL_422, stored as luma, luma, blue, red of two pixels, as three samples a pixel. A row of an odd number of
/// columns has a last pair of which only the first pixel counts.
pub(super) fn expand_422(stored: &[u16], columns: usize) -> Vec<u16> {
    let mut ybr = Vec::with_capacity(stored.len() / 2 * 3);
    for row in stored.chunks_exact(columns.div_ceil(2) * 4) {
        for (pair, quad) in row.chunks_exact(4).enumerate() {
            ybr.extend_from_slice(&[quad[0], quad[2], quad[3]]);
            if pair * 2 + 1 < columns {
                ybr.extend_from_slice(&[quad[1], quad[2], quad[3]]);
            }
        }
    }
    ybr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halved_chroma_is_shared_by_two_pixels() {
        assert_eq!(expand_422(&[1, 2, 10, 20, 3, 99, 30, 40], 3), [1, 10, 20, 2, 10, 20, 3, 30, 40]);
    }

    #[test]
    fn planes_become_pixels() {
        assert_eq!(interleave(&[1, 2, 3, 4, 5, 6]), [1, 3, 5, 2, 4, 6]);
    }
}
