//! JPEG Lossless (ITU-T T.81 process 14), by the `jpeg-decoder` crate.

use jpeg_decoder::Decoder;

use super::codestream::Samples;
use crate::codec::{CodecFrame, Colour, Limits};

pub(super) fn decode(codestream: &[u8], limits: &Limits) -> Result<Samples, String> {
    let mut decoder = Decoder::new(codestream);
    decoder.set_max_decoding_buffer_size(usize::try_from(limits.max_bytes).unwrap_or(usize::MAX));
    let bytes = decoder.decode().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("no frame header")?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let pixels = width as usize * height as usize;
    // The decoder gives one byte a sample where the precision is 8, and else two in the machine's order. It does not
    // say the precision of the others; what matters is that they are not reduced.
    let is_byte = bytes.len().is_multiple_of(pixels) && matches!(bytes.len() / pixels.max(1), 1 | 3);
    let samples: Vec<u16> = if is_byte {
        bytes.iter().map(|&byte| u16::from(byte)).collect()
    } else {
        bytes.as_chunks().0.iter().map(|pair| u16::from_ne_bytes(*pair)).collect()
    };
    let components = (samples.len() / pixels.max(1)) as u8;
    let bits = if is_byte { 8 } else { 16 };
    let colour = if components == 1 { Colour::Grey } else { Colour::Unstated };
    Ok(CodecFrame { width, height, components, bits, colour, samples }.into())
}
