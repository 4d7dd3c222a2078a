//! Decoded samples to a frame.

use super::codestream::Samples;
use super::colour;
use crate::frame::{Frame, Pixels};
use crate::pixels::{PixelDescription, sample_value};

/// The frame of decoded samples, whose shape is that of `description`.
pub(super) fn assemble(samples: Samples, description: &PixelDescription) -> Frame {
    let (rows, columns) = (description.rows, description.columns);
    let pixels = if description.samples == 1 {
        Pixels::Grey(grey(&samples, description))
    } else {
        Pixels::Rgb(colour::rgb(samples.frame, description))
    };
    Frame { rows, columns, pixels }
}

/// Grey values with their sign.
///
/// Decoders give two's complement as plain bits: the sign is extended from Bits Stored where either the header or the
/// codestream says that there is one. Unsigned samples are taken whole: a lossy decoder may overshoot Bits Stored by
/// a little, and masking would turn white into black.
fn grey(samples: &Samples, description: &PixelDescription) -> Vec<i32> {
    let bits_stored = description.bits_stored;
    let is_signed = description.is_signed || samples.is_signed;
    let is_shifted =
        description.high_bit + 1 != bits_stored && u32::from(samples.frame.bits) == description.bits_allocated;
    let value = |sample: u16| {
        let raw = u32::from(sample);
        let raw = if is_shifted { raw >> (description.high_bit + 1 - bits_stored) } else { raw };
        if is_signed { sample_value(raw, bits_stored, true) as i32 } else { raw as i32 }
    };
    samples.frame.samples.iter().map(|&sample| value(sample)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{CodecFrame, Colour};
    use crate::pixels::Photometric;

    #[test]
    fn the_sign_is_extended_and_an_overshoot_is_not_wrapped() {
        let check = |bits, bits_stored, high_bit, header_signed, is_signed, sample, expected| {
            let frame =
                CodecFrame { width: 1, height: 1, components: 1, bits, colour: Colour::Grey, samples: vec![sample] };
            let description = PixelDescription {
                rows: 1,
                columns: 1,
                samples: 1,
                photometric: Photometric::Monochrome2,
                bits_allocated: 16,
                bits_stored,
                high_bit,
                is_signed: header_signed,
                is_planar: false,
                frames: 1,
            };
            assert_eq!(grey(&Samples { frame, is_signed }, &description), [expected]);
        };
        check(16, 16, 15, true, false, 0xFC00, -1024);
        check(16, 12, 11, true, false, 0x0FFF, -1);
        check(12, 10, 9, false, false, 1025, 1025);
        check(13, 16, 15, false, true, 0xFFFB, -5);
        check(16, 12, 15, false, false, 0xABC0, 0xABC);
    }
}
