//! Colour reduced to red, green and blue of 8 bits.

/// Samples of `bits` bits, reduced to the highest 8 of them.
pub(super) fn to_bytes(raw: &[u32], bits: u32) -> Vec<u8> {
    let shift = bits.saturating_sub(8);
    raw.iter().map(|&sample| (sample >> shift) as u8).collect()
}

/// Three planes, pixel by pixel.
pub(super) fn interleave(planes: &[u8]) -> Vec<u8> {
    let pixels = planes.len() / 3;
    (0..pixels).flat_map(|i| [planes[i], planes[pixels + i], planes[2 * pixels + i]]).collect()
}

/// YBR_FULL_422, stored as luma, luma, blue, red of two pixels, as three samples a pixel. A row of an odd number of
/// columns has a last pair of which only the first pixel counts.
pub(super) fn expand_422(stored: &[u8], columns: usize) -> Vec<u8> {
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

/// Full-range luma and chroma to red, green, blue (PS3.3 section C.7.6.3.1.2; ITU-T T.871).
pub(super) fn rgb_from_ybr(mut ybr: Vec<u8>) -> Vec<u8> {
    for pixel in ybr.as_chunks_mut::<3>().0 {
        let [y, blue, red] = pixel.map(f32::from);
        let (blue, red) = (blue - 128.0, red - 128.0);
        let channels = [y + 1.402 * red, y - 0.344_136 * blue - 0.714_136 * red, y + 1.772 * blue];
        // `as` saturates at 0 and 255.
        *pixel = channels.map(|channel| (channel + 0.5) as u8);
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
    fn grey_stays_grey_and_red_becomes_red() {
        assert_eq!(rgb_from_ybr(vec![77, 128, 128, 76, 85, 255]), [77, 77, 77, 254, 0, 0]);
    }
}
