//! Pictures from PNG files, for the commands that take some.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;
use prelim_imaging::codec::Limits;
use prelim_worker::preprocess::Picture;

/// A picture read from a file.
pub(crate) struct PngFile {
    bytes: Vec<u8>,
    width: usize,
    height: usize,
    channels: usize,
}

impl PngFile {
    /// Reads a PNG of 8 bits, grey or RGB, of no more pixels than a DICOM frame may have.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("picture {} cannot be read", path.display()))?;
        let no_png = || format!("{} is no PNG of 8 bits, grey or RGB", path.display());
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info().with_context(no_png)?;
        let (width, height, most) = (reader.info().width, reader.info().height, Limits::default().max_pixels);
        anyhow::ensure!(
            u64::from(width) * u64::from(height) <= most,
            "picture {} has {width} x {height} pixels, more than {most}: give a smaller one",
            path.display()
        );
        let size = reader.output_buffer_size().with_context(no_png)?;
        let mut bytes = vec![0; size];
        let frame = reader.next_frame(&mut bytes).with_context(no_png)?;
        let channels = match (frame.bit_depth, frame.color_type) {
            (png::BitDepth::Eight, png::ColorType::Grayscale) => 1,
            (png::BitDepth::Eight, png::ColorType::Rgb) => 3,
            _ => anyhow::bail!(no_png()),
        };
        bytes.truncate(frame.buffer_size());
        Ok(Self { bytes, width: frame.width as usize, height: frame.height as usize, channels })
    }

    /// What models take.
    pub(crate) fn picture(&self) -> Picture<'_> {
        Picture { bytes: &self.bytes, height: self.height, width: self.width, channels: self.channels }
    }
}
