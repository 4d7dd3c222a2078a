//! What is to be known of a model of any family, from the files of its folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ModelError;
use super::family::{self, FamilyConfig, Known, Task};
use super::quantisation;
use super::raw::OneOrMany;

/// What the model is, resolved: one spelling, defaults filled in as `transformers` does.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Tokens that the embedding has rows for.
    pub vocabulary: usize,
    /// Positions that the model was made for.
    pub max_positions: usize,
    /// Keys and values that a token leaves behind.
    pub cache: TokenCache,
    /// The pictures that it takes.
    pub picture: PictureSize,
    /// Soft tokens of an image.
    pub tokens_per_image: usize,
    /// The id of a soft token.
    pub image_token: u32,
    /// What stands around an image's soft tokens. Where nothing does, a single soft token stands for an image in text.
    pub image_marks: Option<ImageMarks>,
    /// Any of these ends an answer.
    pub end_tokens: Vec<u32>,
    /// What only the family knows.
    pub family: FamilyConfig,
}

/// What a token leaves in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCache {
    /// Layers.
    pub layers: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Values in a head.
    pub head_dim: usize,
}

/// A square picture as a vision tower takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSize {
    /// Channels.
    pub channels: usize,
    /// Rows and columns.
    pub side: usize,
}

impl PictureSize {
    /// Numbers in a picture.
    pub fn values(&self) -> usize {
        self.channels * self.side * self.side
    }
}

/// Tokens around an image. In text the first stands for the whole image, and the processor writes an empty line before
/// and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageMarks {
    /// Before the soft tokens.
    pub start: u32,
    /// After the soft tokens.
    pub end: u32,
}

/// What every `config.json` has.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Outline {
    #[serde(default)]
    architectures: Vec<String>,
    model_type: Option<String>,
    quantization_config: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct RawGeneration {
    eos_token_id: Option<OneOrMany>,
}

impl ModelConfig {
    /// Reads `config.json`, and `generation_config.json` where there is one, for more end tokens.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let (file, text, read) = open(folder, "reads", Task::read)?;
        let mut config = read(folder, &text).map_err(|what| ModelError::Config { file, what })?;
        let generation = folder.join("generation_config.json");
        if let Ok(text) = fs::read_to_string(&generation) {
            let raw: RawGeneration = serde_json::from_str(without_mark(&text))
                .map_err(|error| ModelError::Config { file: generation, what: error.to_string() })?;
            let known = OneOrMany::Many(std::mem::take(&mut config.end_tokens));
            config.end_tokens = OneOrMany::union([Some(known), raw.eos_token_id]);
        }
        Ok(config)
    }
}

/// The text of `config.json` with its file, and how the family that it names does what is wanted.
pub(super) fn open<T>(
    folder: &Path,
    verb: &'static str,
    wanted: impl Fn(Task) -> Option<T>,
) -> Result<(PathBuf, String, T), ModelError> {
    let file = folder.join("config.json");
    let text = fs::read_to_string(&file).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            ModelError::NoModel { folder: folder.to_owned() }
        }
        _ => ModelError::Read { file: file.clone(), source },
    })?;
    let text = without_mark(&text).to_owned();
    let bad = |what: String| ModelError::Config { file: file.clone(), what };
    let outline: Outline = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let architectures = outline.architectures.join(", ");
    let known = family::KNOWN.iter().filter_map(|known| Some((known, wanted(known.task)?)));
    let Some((_, task)) = known.clone().find(|(known, _)| known.architecture == architectures) else {
        let listed = |known: &Known| format!("{} ({})", known.architecture, known.models);
        let known: Vec<String> = known.map(|(known, _)| listed(known)).collect();
        let other = family::KNOWN.iter().find(|known| known.architecture == architectures);
        let instead = other.map_or("", |known| known.task.instead());
        let found = named(architectures, &outline.model_type);
        return Err(ModelError::Architecture { file, found, verb, instead, known: known.join(", ") });
    };
    if let Some(quantization) = &outline.quantization_config {
        quantisation::check(quantization).map_err(bad)?;
    }
    Ok((file, text, task))
}

/// JSON without the mark of a byte order, which some editors write before it.
pub(crate) fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

fn named(architectures: String, model_type: &Option<String>) -> String {
    match (architectures.is_empty(), model_type) {
        (false, _) => architectures,
        (true, Some(model_type)) => format!("a model of type {model_type}"),
        (true, None) => "a model without a name".to_owned(),
    }
}
