//! JPEG XL (ISO 18181), by the `jxl-oxide` crate.

use jxl_oxide::{AllocTracker, JxlImage};

use super::codestream::Samples;
use crate::codec::{CodecFrame, Colour, Limits};

pub(super) fn decode(codestream: &[u8], limits: &Limits) -> Result<Samples, String> {
    let tracker = AllocTracker::with_limit(usize::try_from(limits.max_bytes).unwrap_or(usize::MAX));
    let image = JxlImage::builder().alloc_tracker(tracker).read(codestream).map_err(|error| error.to_string())?;
    let bits = image.image_header().metadata.bit_depth.bits_per_sample();
    if !(1..=16).contains(&bits) {
        return Err(format!("samples of {bits} bits"));
    }
    let render = image.render_frame(0).map_err(|error| error.to_string())?;
    let mut stream = render.stream_no_alpha();
    let (width, height, count) = (stream.width(), stream.height(), stream.channels());
    let mut fractions = vec![0f32; width as usize * height as usize * count as usize];
    if stream.write_to_buffer(&mut fractions) != fractions.len() {
        return Err("samples are missing".to_owned());
    }
    // Samples come as fractions of the largest; 24 bits of an f32 hold 16 exactly.
    let largest = ((1u32 << bits) - 1) as f32;
    let samples = fractions.iter().map(|fraction| (fraction * largest).round().clamp(0.0, largest) as u16).collect();
    // The decoder undoes the transforms of the codestream: three channels are red, green and blue.
    let colour = if count == 1 { Colour::Grey } else { Colour::Rgb };
    Ok(CodecFrame { width, height, components: count as u8, bits: bits as u8, colour, samples }.into())
}
