//! `prelim embed`: pictures and texts as points of one space.

use std::path::PathBuf;

use clap::Args;
use prelim_worker::embed::{Encoder, TextTokens};
use prelim_worker::model::{Embeddings, WeightType};
use prelim_worker::preprocess::Picture;
use serde_json::json;

use crate::png_file::PngFile;
use crate::table;

/// Say how well pictures and texts go together, by an encoder such as MedSigLIP.
///
/// The probability is what the model was trained to give for a picture and a text that belong together, each pair by itself.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim embed --model ~/models/medsiglip-448 film.png --text 'a chest X-ray with a pleural effusion' --text 'a normal chest X-ray'"
)]
pub(crate) struct Embed {
    /// Hugging Face checkpoint folder with a SiglipModel.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A picture (PNG, 8 bits, grey or RGB).
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// A text to hold the pictures against; as often as wanted.
    #[arg(long = "text", value_name = "TEXT")]
    texts: Vec<String>,
    /// For programs: the points themselves, cosines and probabilities as JSON.
    #[arg(long)]
    json: bool,
}

impl Embed {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.images.is_empty() || !self.texts.is_empty(), "give a picture, or a text with --text");
        let files = self.images.iter().map(|path| PngFile::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::ensure!(
            self.json || !self.images.is_empty() && (!self.texts.is_empty() || self.images.len() > 1),
            "nothing to hold against each other: give a picture and --text, or several pictures; --json gives the points themselves"
        );
        let pictures: Vec<Picture<'_>> = files.iter().map(PngFile::picture).collect();
        let encoder = Encoder::open(&self.model, prelim_kernels::Cpu::new()?, WeightType::AsStored)?;
        let tokens = self.texts.iter().map(|text| encoder.tokenize(text)).collect::<Result<Vec<_>, _>>()?;
        Self::note_cut(&tokens);
        let (images, texts) = (encoder.embed_pictures(&pictures), encoder.embed_texts(&tokens));
        let logits = encoder.embedder().logits_per_image(&images, &texts);
        match self.json {
            true => table::say(serde_json::to_string_pretty(&self.to_json(&images, &texts, &logits))?),
            false => self.show(&images, &texts, &logits),
        }
    }

    fn note_cut(tokens: &[TextTokens]) {
        // By number: what people search for may name somebody.
        for (number, _) in (1..).zip(tokens).filter(|(_, tokens)| tokens.is_cut) {
            tracing::warn!("the end of text {number} is not seen: it is longer than the model's positions");
        }
    }

    /// A row for each pair: of pictures and texts, and of pictures, where there is no text.
    fn show(&self, images: &Embeddings, texts: &Embeddings, logits: &[Vec<f32>]) -> anyhow::Result<()> {
        if self.texts.is_empty() {
            let mut rows = table::new(&["Picture", "Picture", "Cosine"]);
            for a in 0..images.len() {
                for b in a + 1..images.len() {
                    let (first, second) = (self.images[a].display(), self.images[b].display());
                    let cosine = format!("{:.4}", cosine(images.row(a), images.row(b)));
                    rows.add_row([first.to_string(), second.to_string(), cosine]);
                }
            }
            table::align_right(&mut rows, &[2]);
            return table::say(rows);
        }
        let mut rows = table::new(&["Picture", "Text", "Cosine", "Probability"]);
        for (image, logits) in logits.iter().enumerate() {
            for (text, logit) in logits.iter().enumerate() {
                rows.add_row([
                    self.images[image].display().to_string(),
                    self.texts[text].clone(),
                    format!("{:.4}", cosine(images.row(image), texts.row(text))),
                    format!("{:.4}", probability(*logit)),
                ]);
            }
        }
        table::align_right(&mut rows, &[2, 3]);
        table::say(rows)
    }

    fn to_json(&self, images: &Embeddings, texts: &Embeddings, logits: &[Vec<f32>]) -> serde_json::Value {
        let image = |(index, path): (usize, &PathBuf)| json!({ "file": path, "embedding": images.row(index) });
        let text = |(index, text): (usize, &String)| json!({ "text": text, "embedding": texts.row(index) });
        let pair = |image: usize, text: usize| {
            json!({
                "image": image,
                "text": text,
                "cosine": cosine(images.row(image), texts.row(text)),
                "probability": probability(logits[image][text]),
            })
        };
        let pairs = (0..images.len()).flat_map(|image| (0..texts.len()).map(move |text| (image, text)));
        json!({
            "images": self.images.iter().enumerate().map(image).collect::<Vec<_>>(),
            "texts": self.texts.iter().enumerate().map(text).collect::<Vec<_>>(),
            "pairs": pairs.map(|(image, text)| pair(image, text)).collect::<Vec<_>>(),
        })
    }
}

/// Of points on the unit sphere.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn probability(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit)).exp())
}
