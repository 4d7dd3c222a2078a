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

#[cfg(test)]
mod tests {
    use zune_core::bit_depth::BitDepth;
    use zune_core::colorspace::ColorSpace;
    use zune_core::options::EncoderOptions;
    use zune_jpegxl::JxlSimpleEncoder;

    use super::*;

    fn encode(bytes: &[u8], colour: ColorSpace, depth: BitDepth) -> Vec<u8> {
        let options = EncoderOptions::new(32, 16, colour, depth);
        let mut codestream = Vec::new();
        JxlSimpleEncoder::new(bytes, options).encode(&mut codestream).unwrap();
        codestream
    }

    fn check(samples: &[u16], colour: ColorSpace, depth: BitDepth, bytes: Vec<u8>) {
        let decoded = decode(&encode(&bytes, colour, depth), &Limits::default()).unwrap().frame;
        assert_eq!((decoded.width, decoded.height), (32, 16));
        assert_eq!(decoded.samples, samples);
    }

    #[test]
    fn lossless_frames_come_back_to_the_last_bit() {
        let grey: Vec<u16> = (0..512u16).map(|i| (i * 37) % 256).collect();
        check(&grey, ColorSpace::Luma, BitDepth::Eight, grey.iter().map(|&v| v as u8).collect());
        let deep: Vec<u16> = (0..512u16).map(|i| i.wrapping_mul(509)).collect();
        check(&deep, ColorSpace::Luma, BitDepth::Sixteen, deep.iter().flat_map(|v| v.to_ne_bytes()).collect());
        let rgb: Vec<u16> = (0..1536u16).map(|i| (i * 31) % 256).collect();
        check(&rgb, ColorSpace::RGB, BitDepth::Eight, rgb.iter().map(|&v| v as u8).collect());
    }

    #[test]
    fn a_cut_codestream_is_an_error() {
        let grey: Vec<u8> = (0..512u16).map(|i| (i * 37 % 251) as u8).collect();
        let codestream = encode(&grey, ColorSpace::Luma, BitDepth::Eight);
        assert!(decode(&codestream[..codestream.len() / 2], &Limits::default()).is_err());
        assert!(decode(&codestream, &Limits { max_bytes: 100, ..Limits::default() }).is_err());
    }
}
