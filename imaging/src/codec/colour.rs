//! YCbCr to RGB, with the integer arithmetic of libjpeg so that equal codestreams give equal
//! pixels everywhere.

use super::{CodecFrame, Colour};

/// Fraction bits of the conversion factors.
const FRACTION_BITS: u32 = 16;
const HALF: i64 = 1 << (FRACTION_BITS - 1);

/// Converts a [`Colour::Ycbcr`] frame to [`Colour::Rgb`] in place; leaves any other frame alone.
///
/// The equations are those of JFIF (ITU-T T.871 sect. 7) with the chroma centre and the largest
/// sample taken from the frame's bits.
pub fn ycbcr_to_rgb(frame: &mut CodecFrame) {
    if frame.colour != Colour::Ycbcr {
        return;
    }
    let centre = 1i64 << (frame.bits - 1);
    let largest = 2 * centre - 1;
    let clamp = |value: i64| value.clamp(0, largest) as u16;
    for pixel in frame.samples.chunks_exact_mut(3) {
        let luma = i64::from(pixel[0]);
        let blue = i64::from(pixel[1]) - centre;
        let red = i64::from(pixel[2]) - centre;
        let green_shift = HALF - factor(0.34414) * blue - factor(0.71414) * red;
        pixel[0] = clamp(luma + ((factor(1.402) * red + HALF) >> FRACTION_BITS));
        pixel[1] = clamp(luma + (green_shift >> FRACTION_BITS));
        pixel[2] = clamp(luma + ((factor(1.772) * blue + HALF) >> FRACTION_BITS));
    }
    frame.colour = Colour::Rgb;
}

/// `value` as a rounded fixed-point number.
const fn factor(value: f64) -> i64 {
    (value * (1u64 << FRACTION_BITS) as f64 + 0.5) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(pixel: [u16; 3], bits: u8) -> Vec<u16> {
        let mut frame =
            CodecFrame { width: 1, height: 1, components: 3, bits, colour: Colour::Ycbcr, samples: pixel.to_vec() };
        ycbcr_to_rgb(&mut frame);
        assert_eq!(frame.colour, Colour::Rgb);
        frame.samples
    }

    #[test]
    fn grey_stays_grey_and_primaries_come_out() {
        assert_eq!(convert([77, 128, 128], 8), [77, 77, 77]);
        assert_eq!(convert([76, 85, 255], 8), [254, 0, 0]);
        assert_eq!(convert([2000, 2048, 2048], 12), [2000, 2000, 2000]);
    }

    #[test]
    fn extremes_are_clamped() {
        assert_eq!(convert([255, 255, 255], 8), [255, 121, 255]);
        assert_eq!(convert([0, 0, 0], 8), [0, 135, 0]);
    }
}
