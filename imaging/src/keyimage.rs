//! Key images: a rendered frame as PNG or JPEG, small enough for a page.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::render::{GreyImage, RgbImage};

/// Why a picture was not written.
#[derive(Debug, thiserror::Error)]
#[error("PNG: {0}")]
pub struct KeyImageError(#[from] png::EncodingError);

/// A grey picture as PNG, made smaller where a side is longer than `max_side` pixels.
pub fn grey_png(image: &GreyImage, max_side: u32) -> Result<Vec<u8>, KeyImageError> {
    let (width, height, data) = shrink::<1>(image.width, image.height, &image.data, max_side);
    encode(width, height, png::ColorType::Grayscale, &data)
}

/// A colour picture as PNG, made smaller where a side is longer than `max_side` pixels.
pub fn rgb_png(image: &RgbImage, max_side: u32) -> Result<Vec<u8>, KeyImageError> {
    let (width, height, data) = shrink::<3>(image.width, image.height, &image.data, max_side);
    encode(width, height, png::ColorType::Rgb, &data)
}

/// Why a picture was not written as JPEG.
#[derive(Debug, thiserror::Error)]
#[error("JPEG: {0}")]
pub struct JpegError(#[from] image::ImageError);

/// A grey picture as JPEG of a quality from 1 to 100, made smaller where a side is longer than `max_side` pixels.
pub fn grey_jpeg(image: &GreyImage, max_side: u32, quality: u8) -> Result<Vec<u8>, JpegError> {
    let (width, height, data) = shrink::<1>(image.width, image.height, &image.data, max_side);
    encode_jpeg(width, height, ExtendedColorType::L8, &data, quality)
}

/// A colour picture as JPEG of a quality from 1 to 100, made smaller where a side is longer than `max_side` pixels.
pub fn rgb_jpeg(image: &RgbImage, max_side: u32, quality: u8) -> Result<Vec<u8>, JpegError> {
    let (width, height, data) = shrink::<3>(image.width, image.height, &image.data, max_side);
    encode_jpeg(width, height, ExtendedColorType::Rgb8, &data, quality)
}

fn encode_jpeg(
    width: u32,
    height: u32,
    colour: ExtendedColorType,
    data: &[u8],
    quality: u8,
) -> Result<Vec<u8>, JpegError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100)).encode(data, width, height, colour)?;
    Ok(bytes)
}

fn encode(width: u32, height: u32, colour: png::ColorType, data: &[u8]) -> Result<Vec<u8>, KeyImageError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(data)?;
    writer.finish()?;
    Ok(bytes)
}

/// The picture with its longer side at most `max_side`, each new pixel the mean of those it stands for.
fn shrink<const CHANNELS: usize>(width: u32, height: u32, data: &[u8], max_side: u32) -> (u32, u32, Vec<u8>) {
    let longest = width.max(height);
    if longest <= max_side || max_side == 0 {
        return (width, height, data.to_vec());
    }
    let scaled = |side: u32| ((u64::from(side) * u64::from(max_side)).div_ceil(u64::from(longest)) as u32).max(1);
    let (new_width, new_height) = (scaled(width), scaled(height));
    // The old pixels of a new one: never none, for the new side is not longer than the old.
    let span = |new: u32, old_side: u32, new_side: u32| {
        let edge = |at: u32| (u64::from(at) * u64::from(old_side) / u64::from(new_side)) as usize;
        edge(new)..edge(new + 1)
    };
    let mut shrunk = Vec::with_capacity(new_width as usize * new_height as usize * CHANNELS);
    for row in 0..new_height {
        let rows = span(row, height, new_height);
        for column in 0..new_width {
            let columns = span(column, width, new_width);
            let count = (rows.len() * columns.len()) as u32;
            let mut sums = [0u32; CHANNELS];
            for old_row in rows.clone() {
                for old_column in columns.clone() {
                    let at = (old_row * width as usize + old_column) * CHANNELS;
                    sums.iter_mut().zip(&data[at..]).for_each(|(sum, value)| *sum += u32::from(*value));
                }
            }
            shrunk.extend(sums.map(|sum| ((sum + count / 2) / count) as u8));
        }
    }
    (new_width, new_height, shrunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_is_cut_to_size_by_means() {
        let (width, height, data) = shrink::<1>(4, 2, &[0, 2, 10, 20, 4, 2, 30, 40], 2);
        assert_eq!((width, height, data), (2, 1, vec![2, 25]));
        let (width, height, data) = shrink::<3>(1, 3, &[1, 2, 3, 4, 5, 6, 7, 8, 9], 1);
        assert_eq!((width, height, data), (1, 1, vec![4, 5, 6]));
        assert_eq!(shrink::<1>(2, 1, &[1, 2], 2), (2, 1, vec![1, 2]));
    }

    #[test]
    fn a_jpeg_reads_back_nearly() {
        let image = GreyImage { width: 16, height: 8, data: (0..128).collect() };
        let bytes = grey_jpeg(&image, 512, 95).unwrap();
        let mut reader = jpeg_decoder::Decoder::new(&bytes[..]);
        let data = reader.decode().unwrap();
        let info = reader.info().unwrap();
        assert_eq!((info.width, info.height), (16, 8));
        assert!(data.iter().zip(&image.data).all(|(read, meant)| read.abs_diff(*meant) <= 4), "{data:?}");
    }

    #[test]
    fn a_png_reads_back() {
        let image = GreyImage { width: 3, height: 2, data: vec![0, 50, 100, 150, 200, 255] };
        let bytes = grey_png(&image, 512).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut data = vec![0; 6];
        reader.next_frame(&mut data).unwrap();
        assert_eq!(data, image.data);
        assert_eq!((reader.info().width, reader.info().height), (3, 2));
    }
}
