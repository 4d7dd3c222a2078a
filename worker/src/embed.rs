//! Pictures and texts, as people have them, to points of one space: an image processor, a tokenizer and an encoder.

use std::path::Path;

use prelim_kernels::Backend;
use serde_json::Value;
use tokenizers::{PaddingParams, PaddingStrategy, Tokenizer, TruncationParams};

use crate::model::{Embedder, Embeddings, ModelError, WeightType};
use crate::preprocess::{Picture, Preprocess, PreprocessError};

/// Why there are no points.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The checkpoint.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The image processor.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// A file of the tokenizer.
    #[error("{path} is not usable: {detail}")]
    Tokenizer {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Text that the tokenizer refuses.
    #[error("text is not tokenizable: {0}")]
    Text(String),
}

/// An encoder with all that leads to it.
pub struct Encoder<B: Backend> {
    embedder: Embedder<B>,
    preprocess: Preprocess,
    tokenizer: Tokenizer,
    /// What is done to a text before it is cut into tokens.
    canonical: Option<Canonical>,
}

/// A text as an encoder sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTokens {
    /// As many as the model has positions.
    pub ids: Vec<u32>,
    /// Whether the text was longer, and its end is not seen.
    pub is_cut: bool,
}

/// What `SiglipTokenizer` does to a text: it was trained without capital letters and punctuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Canonical {
    lower_case: bool,
}

impl<B: Backend> Encoder<B> {
    /// Reads a checkpoint folder onto a device.
    ///
    /// # Errors
    /// Where the folder is no encoder, or lacks what it needs.
    pub fn open(folder: &Path, backend: B, weights: WeightType) -> Result<Self, EmbedError> {
        let embedder = Embedder::load(folder, backend, weights)?;
        let config = embedder.config();
        let preprocess = Preprocess::read_for(folder, config.vision.picture.side)?;
        let (tokenizer, canonical) = open_tokenizer(folder, config.text.positions)?;
        let count = tokenizer.get_vocab_size(true);
        if count > config.text.vocabulary {
            let detail = format!("it has {count} tokens, the model {}", config.text.vocabulary);
            return Err(EmbedError::Tokenizer { path: tokenizer_file(folder), detail });
        }
        Ok(Self { embedder, preprocess, tokenizer, canonical })
    }

    /// The model itself.
    pub fn embedder(&self) -> &Embedder<B> {
        &self.embedder
    }

    /// A point for each picture.
    pub fn embed_pictures(&self, pictures: &[Picture<'_>]) -> Embeddings {
        let pixels: Vec<f32> = pictures.iter().flat_map(|picture| self.preprocess.pixel_values(picture)).collect();
        self.embedder.embed_images(&pixels)
    }

    /// A point for each text.
    pub fn embed_texts(&self, texts: &[TextTokens]) -> Embeddings {
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| text.ids.clone()).collect();
        self.embedder.embed_texts(&ids)
    }

    /// The tokens of a text, with the end of a text and padding.
    pub fn tokenize(&self, text: &str) -> Result<TextTokens, EmbedError> {
        let text = self.canonical.map_or_else(|| text.to_owned(), |canonical| canonical.of(text));
        let encoding = self.tokenizer.encode(text, true).map_err(|error| EmbedError::Text(error.to_string()))?;
        Ok(TextTokens { ids: encoding.get_ids().to_vec(), is_cut: !encoding.get_overflowing().is_empty() })
    }
}

impl Canonical {
    fn of(self, text: &str) -> String {
        let plain: String = text.chars().filter(|c| !c.is_ascii_punctuation()).collect();
        let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.lower_case { plain.to_lowercase() } else { plain }
    }
}

fn tokenizer_file(folder: &Path) -> String {
    folder.join("tokenizer.json").display().to_string()
}

/// A tokenizer that gives every text so many tokens.
fn open_tokenizer(folder: &Path, positions: usize) -> Result<(Tokenizer, Option<Canonical>), EmbedError> {
    let path = tokenizer_file(folder);
    let unusable = |detail: String| EmbedError::Tokenizer { path: path.clone(), detail };
    let mut tokenizer = Tokenizer::from_file(&path).map_err(|error| unusable(error.to_string()))?;
    let settings = read_settings(&folder.join("tokenizer_config.json"))?;
    let word = |name: &str| {
        let setting = &settings[name];
        setting.as_str().or_else(|| setting["content"].as_str()).map(str::to_owned)
    };
    // SigLIP pads with the end of a text where nothing else is said.
    let pad_token = word("pad_token").or_else(|| word("eos_token")).unwrap_or_else(|| "</s>".to_owned());
    let pad_id = tokenizer.token_to_id(&pad_token);
    let pad_id = pad_id.ok_or_else(|| unusable(format!("it has no token {pad_token}, which pads texts")))?;
    let (strategy, truncation) =
        (PaddingStrategy::Fixed(positions), TruncationParams { max_length: positions, ..Default::default() });
    tokenizer.with_padding(Some(PaddingParams { strategy, pad_id, pad_token, ..Default::default() }));
    tokenizer.with_truncation(Some(truncation)).map_err(|error| unusable(error.to_string()))?;
    let class = settings["tokenizer_class"].as_str().unwrap_or_default();
    let canonical = class
        .starts_with("Siglip")
        .then(|| Canonical { lower_case: settings["do_lower_case"].as_bool().unwrap_or(true) });
    Ok((tokenizer, canonical))
}

/// A file of settings; nothing where there is no file.
fn read_settings(path: &Path) -> Result<Value, EmbedError> {
    let unusable = |detail: String| EmbedError::Tokenizer { path: path.display().to_string(), detail };
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| unusable(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(unusable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::Canonical;

    #[test]
    fn a_text_loses_capitals_and_punctuation() {
        let table = [
            ("Left-sided pleural effusion, small.", "leftsided pleural effusion small"),
            ("  no \t acute\n process ", "no acute process"),
            ("Größe: 5 mm", "größe 5 mm"),
        ];
        for (text, wanted) in table {
            assert_eq!(Canonical { lower_case: true }.of(text), wanted);
            assert_eq!(Canonical { lower_case: false }.of(text).to_lowercase(), wanted);
        }
    }
}
