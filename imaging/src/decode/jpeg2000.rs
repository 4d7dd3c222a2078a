//! JPEG 2000 and High-Throughput JPEG 2000 (ISO 15444-1 and -15), by OpenJPEG's port to Rust.

use jpeg2k::{DecodeParameters, Image, ImageComponent};

use super::codestream::Samples;
use crate::codec::{CodecFrame, Colour};

pub(super) fn decode(codestream: &[u8]) -> Result<Samples, String> {
    // Strict: a codestream cut short is an error, not a blurred picture. Palettes and channel definitions of a JP2
    // file have no place in DICOM, whose header explains the components.
    let parameters = DecodeParameters::new().strict(true).ignore_pclr_cmap_cdef();
    let image = Image::from_bytes_with(codestream, parameters).map_err(|error| error.to_string())?;
    let components = image.components();
    let first = components.first().ok_or("no components")?;
    let (width, height, bits) = (first.width(), first.height(), first.precision());
    if bits > 16 {
        return Err(format!("components of {bits} bits"));
    }
    let alike = |c: &ImageComponent| (c.width(), c.height(), c.precision()) == (width, height, bits);
    if !components.iter().all(alike) {
        return Err("components of different sizes or depths".to_owned());
    }
    let count = components.len();
    let mut samples = vec![0u16; width as usize * height as usize * count];
    for (index, component) in components.iter().enumerate() {
        let place = samples.iter_mut().skip(index).step_by(count);
        // The low bits of two's complement; who knows the sign extends it.
        place.zip(component.data()).for_each(|(sample, value)| *sample = *value as u16);
    }
    let colour = if count == 1 { Colour::Grey } else { Colour::Unstated };
    let is_signed = first.is_signed();
    let frame = CodecFrame { width, height, components: count as u8, bits: bits as u8, colour, samples };
    Ok(Samples { frame, is_signed })
}
