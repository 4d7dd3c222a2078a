//! `prelim logits`: a porter's tool.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use prelim_worker::logits::{self, Dump};
use prelim_worker::model::WeightType;
use prelim_worker::preprocess::Picture;

use crate::files::write_whole;

/// Write the tensors of one prompt, to be held against another implementation.
///
/// The prompt is text that has gone through the model's chat template. The file holds input_ids, pixel_values,
/// vision_last_hidden_state, projected_image_tokens, logits and greedy_tokens.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim logits --model ~/models/medgemma-4b-it --prompt prompt.txt --image film.png -o out.safetensors"
)]
pub(crate) struct Logits {
    /// Hugging Face checkpoint folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder with an adapter (LoRA, in PEFT's format) that the model is run with.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// File with the prompt, after the chat template.
    #[arg(long, value_name = "FILE")]
    prompt: PathBuf,
    /// A picture (PNG, 8 bits, grey or RGB); once for each in the prompt.
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Where the tensors are written.
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
}

impl Logits {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let prompt = std::fs::read_to_string(&self.prompt)
            .with_context(|| format!("prompt {} cannot be read", self.prompt.display()))?;
        let images = self.images.iter().map(|path| Image::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let pictures: Vec<Picture<'_>> = images.iter().map(Image::picture).collect();
        let (backend, adapter) = (prelim_kernels::Cpu::new()?, self.adapter.as_deref());
        let dump: Dump = logits::dump(&self.model, backend, WeightType::AsStored, adapter, &prompt, &pictures)?;
        write_whole(&self.output, &dump.to_safetensors()?)
    }
}

/// A picture read from a file.
struct Image {
    bytes: Vec<u8>,
    width: usize,
    height: usize,
    channels: usize,
}

impl Image {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("picture {} cannot be read", path.display()))?;
        let no_png = || format!("{} is no PNG of 8 bits, grey or RGB", path.display());
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info().with_context(no_png)?;
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

    fn picture(&self) -> Picture<'_> {
        Picture { bytes: &self.bytes, height: self.height, width: self.width, channels: self.channels }
    }
}
