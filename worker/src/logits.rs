//! A porter's tool: one prompt through the model, with the tensors that another implementation can be held to.
//!
//! The names are those of the parity goldens, and what they hold is what `transformers` computes from the same files: the
//! prompt is text that has gone through the chat template, and the greedy tokens are as many as asked for, since tokens
//! that end an answer are not chosen (`min_new_tokens`).

mod distance;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use prelim_kernels::Backend;
use prelim_proto::image::ImageKind;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::engine::request;
use crate::engine::tokenizer::{Tokenizer, TokenizerError};
use crate::model::weights::Weights;
use crate::model::{
    Adapter, AdapterId, Batch, Chunk, KvCache, Logits, Model, ModelConfig, ModelError, Observer, PlacedImage, Want,
    WeightType,
};
use crate::preprocess::{Picture, Preprocess, PreprocessError};
use crate::profile::{ProfileError, ReadingProfile};
use crate::prompt::{PictureWords, PromptError, PromptWriter};

pub use distance::Distance;

/// Greedy tokens that the parity goldens have.
pub const GREEDY_STEPS: usize = 24;

const BLOCK_TOKENS: usize = 16;

/// Why there are no logits.
#[derive(Debug, thiserror::Error)]
pub enum LogitsError {
    /// The checkpoint.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The image processor.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The reading profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Text that becomes no token.
    #[error("the prompt is empty; give text that has gone through the chat template, <bos> included")]
    EmptyPrompt,
    /// Soft tokens that are written out are not as many as the images have.
    #[error("the prompt has {found} soft tokens written out, and {images} images have {wanted}")]
    SoftTokens {
        /// Soft tokens in the prompt.
        found: usize,
        /// Images given.
        images: usize,
        /// Soft tokens of so many images.
        wanted: usize,
    },
    /// The prompt is longer than the model's positions.
    #[error("the prompt and {steps} generated tokens take {positions} positions, and the model has {limit}")]
    TooLong {
        /// Tokens to generate.
        steps: usize,
        /// Positions of prompt and answer.
        positions: usize,
        /// Positions that the model was made for.
        limit: usize,
    },
    /// The result does not fit the format.
    #[error("the tensors cannot be written as safetensors: {0}")]
    Encode(#[from] safetensors::SafeTensorError),
}

/// Tensors by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dump {
    /// `input_ids`, `pixel_values`, `vision_last_hidden_state`, `projected_image_tokens`, `logits`, `greedy_tokens`, and
    /// the output of every layer as the goldens name it.
    pub tensors: BTreeMap<String, Tensor>,
}

/// A tensor, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// The numbers, row-major.
    pub values: Values,
}

/// Numbers of a kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Activations.
    F32(Vec<f32>),
    /// Tokens.
    I64(Vec<i64>),
}

/// Runs a checkpoint over one prompt, with an adapter where one is given.
///
/// # Errors
/// Where the folder is no model, or prompt and pictures do not fit it or each other.
pub fn dump<B: Backend>(
    folder: &Path,
    backend: B,
    weights: WeightType,
    adapter: Option<&Path>,
    prompt: &str,
    pictures: &[Picture<'_>],
) -> Result<Dump, LogitsError> {
    let config = ModelConfig::read(folder)?;
    let pixels: Vec<f32> = if pictures.is_empty() {
        Vec::new()
    } else {
        let preprocess = Preprocess::read_for(folder, config.picture.side)?;
        pictures.iter().flat_map(|picture| preprocess.pixel_values(picture)).collect()
    };
    let adapters: Vec<Adapter> = adapter.into_iter().map(Adapter::open).collect::<Result<_, _>>()?;
    let model = Model::from_weights(config, &Weights::open(folder)?, backend, weights, &adapters)?;
    let adapter = adapter.map(|_| AdapterId(0));
    let mut seen = Seen::default();
    let (tokens, places) = tokenize(folder, model.config(), prompt, pictures.len())?;
    let positions = tokens.len() + GREEDY_STEPS;
    let limit = model.config().max_positions;
    if positions > limit {
        return Err(LogitsError::TooLong { steps: GREEDY_STEPS, positions, limit });
    }
    let mut features = Vec::new();
    if !pictures.is_empty() {
        let side = model.config().picture.side;
        seen.put("pixel_values", &[pictures.len(), 3, side, side], Values::F32(pixels.clone()));
        features = model.encode_images_observed(&pixels, pictures.len(), adapter, Some(&mut seen));
    }
    let images = places.into_iter().zip(features).map(|(at, features)| PlacedImage { at, features }).collect();
    let blocks = positions.div_ceil(BLOCK_TOKENS);
    let mut run = Run {
        kv: model.new_kv_cache(blocks, BLOCK_TOKENS)?,
        blocks: (0..blocks as u32).collect(),
        model: &model,
        adapter,
    };
    let logits = run.pass(0, &tokens, images, Want::All, Some(&mut seen));
    let vocabulary = model.config().vocabulary;
    let all = (0..logits.rows()).flat_map(|row| logits.row(row).iter().copied()).collect();
    seen.put("logits", &[1, tokens.len(), vocabulary], Values::F32(all));
    let greedy = run.greedy(&tokens, logits.row(logits.rows() - 1));
    seen.put("greedy_tokens", &[1, greedy.len()], Values::I64(greedy.iter().map(|id| i64::from(*id)).collect()));
    seen.put("input_ids", &[1, tokens.len()], Values::I64(tokens.iter().map(|id| i64::from(*id)).collect()));
    Ok(seen.named(tokens.len(), pictures.len()))
}

/// Tokens of a templated prompt, and where the soft tokens of each image begin.
///
/// One token (`<start_of_image>`, `<image>`) stands for an image, as `transformers`' processor takes it; a prompt in which
/// the soft tokens are written out already is taken as it is.
fn tokenize(
    folder: &Path,
    config: &ModelConfig,
    prompt: &str,
    images: usize,
) -> Result<(Vec<u32>, Vec<usize>), LogitsError> {
    let tokenizer =
        Tokenizer::open(folder, config.vocabulary.max(config.image_token as usize + 1), &config.end_tokens)?;
    let soft = tokenizer.word_of(config.image_token).map_or(0, |word| prompt.matches(&word).count());
    // Where soft tokens have no marks around them, one of them stands for an image too.
    let stands_for_image = config.image_marks.is_none() && soft == images;
    let tokens = if images == 0 || soft > 0 && !stands_for_image {
        tokenizer.encode(prompt)?
    } else {
        // Only the places matter here, not what is seen there.
        let blank = Arc::new(request::Picture { digest: [0; 32], pixels: Arc::from([]) });
        let words = PictureWords::open(folder, config, tokenizer)?;
        words.tokenize(prompt, &vec![blank; images])?.tokens
    };
    if tokens.is_empty() {
        return Err(LogitsError::EmptyPrompt);
    }
    let mut places: Vec<usize> = Vec::new();
    for (at, _) in tokens.iter().enumerate().filter(|(_, id)| **id == config.image_token) {
        if places.last().is_none_or(|last| at >= last + config.tokens_per_image) {
            places.push(at);
        }
    }
    let found = tokens.iter().filter(|id| **id == config.image_token).count();
    let wanted = images * config.tokens_per_image;
    let whole = places.iter().all(|at| {
        tokens.get(*at..at + config.tokens_per_image).is_some_and(|run| run.iter().all(|id| *id == config.image_token))
    });
    if found != wanted || places.len() != images || !whole {
        return Err(LogitsError::SoftTokens { found, images, wanted });
    }
    Ok((tokens, places))
}

/// What the model's profile asks of an X-ray of so many pictures, after the chat template: a prompt where none is given.
///
/// # Errors
/// Where the folder is no model, or has no profile for X-rays.
pub fn own_prompt(folder: &Path, pictures: usize) -> Result<String, LogitsError> {
    let config = ModelConfig::read(folder)?;
    let profile = ReadingProfile::load(folder)?;
    let kind = profile.kind(ImageKind::Xray).ok_or(LogitsError::EmptyPrompt)?;
    let words = kind.prompt.replace("{images}", "").replace("{count}", &pictures.to_string());
    let images = (0..pictures).map(|_| json!({"type": "image"}));
    let content: Vec<Value> = images.chain([json!({"type": "text", "text": words})]).collect();
    let tokenizer = Tokenizer::open(folder, config.vocabulary, &config.end_tokens)?;
    let writer = PromptWriter::open(folder, &config, tokenizer)?;
    Ok(writer.render(&json!([{"role": "user", "content": content}]))?)
}

/// One sequence in a cache of its own.
struct Run<'a, B: Backend> {
    model: &'a Model<B>,
    kv: KvCache<B>,
    blocks: Vec<u32>,
    adapter: Option<AdapterId>,
}

impl<B: Backend> Run<'_, B> {
    fn pass(
        &mut self,
        start: usize,
        tokens: &[u32],
        images: Vec<PlacedImage<B>>,
        logits: Want,
        observer: Option<&mut dyn Observer>,
    ) -> Logits {
        let chunk = Chunk { start, tokens, images, adapter: self.adapter, blocks: &self.blocks, logits };
        self.model.forward_observed(&mut self.kv, &Batch { chunks: vec![chunk] }, observer)
    }

    /// The likeliest tokens after the prompt, one after the other.
    fn greedy(&mut self, prompt: &[u32], after_prompt: &[f32]) -> Vec<u32> {
        let config = self.model.config();
        // What stands for a part of an image is no word.
        let without: Vec<u32> = config.end_tokens.iter().copied().chain([config.image_token]).collect();
        let mut scores = after_prompt.to_vec();
        let mut tokens = Vec::with_capacity(GREEDY_STEPS);
        while tokens.len() < GREEDY_STEPS {
            let next = likeliest(&scores, &without);
            tokens.push(next);
            if tokens.len() < GREEDY_STEPS {
                let logits = self.pass(prompt.len() + tokens.len() - 1, &[next], Vec::new(), Want::Last, None);
                scores = logits.row(0).to_vec();
            }
        }
        tokens
    }
}

/// The first of the largest scores, leaving out some tokens.
fn likeliest(scores: &[f32], without: &[u32]) -> u32 {
    let allowed = scores.iter().enumerate().filter(|(id, _)| !without.contains(&(*id as u32)));
    let best = allowed.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(0, |(id, _)| id as u32)
}

/// Keeps what a pass shows.
#[derive(Default)]
struct Seen(BTreeMap<String, Tensor>);

impl Observer for Seen {
    fn tensor(&mut self, name: &str, width: usize, values: Vec<f32>) {
        let rows = values.len() / width.max(1);
        self.put(name, &[rows, width], Values::F32(values));
    }
}

impl Seen {
    fn put(&mut self, name: &str, shape: &[usize], values: Values) {
        self.0.insert(name.to_owned(), Tensor { shape: shape.to_vec(), values });
    }

    /// Shapes as `transformers` has them: with the axis of the batch, or of the images.
    fn named(mut self, tokens: usize, images: usize) -> Dump {
        for (name, tensor) in &mut self.0 {
            let [rows, width] = tensor.shape[..] else { continue };
            if name.starts_with("mask_") || matches!(tensor.values, Values::I64(_)) {
                continue;
            }
            let batch = if name.starts_with("vision_") || name == "projected_image_tokens" { images.max(1) } else { 1 };
            tensor.shape = vec![batch, rows / batch, width];
            if name.ends_with("_q_norm_out") {
                tensor.shape = vec![1, tokens, rows / tokens, width];
            }
        }
        Dump { tensors: self.0 }
    }
}

impl Dump {
    /// How far its logits are from those of another dump of the same prompt.
    pub fn distance(&self, beside: &Self) -> Option<Distance> {
        let (Tensor { values: Values::F32(found), .. }, Tensor { shape, values: Values::F32(beside) }) =
            (self.tensors.get("logits")?, beside.tensors.get("logits")?)
        else {
            return None;
        };
        (found.len() == beside.len()).then(|| Distance::of(found, beside, *shape.last().unwrap_or(&1)))
    }

    /// The tensors as a safetensors file.
    ///
    /// # Errors
    /// Where the format cannot hold them.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, LogitsError> {
        let bytes: Vec<(Dtype, Vec<u8>)> = self.tensors.values().map(|tensor| tensor.values.to_bytes()).collect();
        let views = self.tensors.iter().zip(&bytes).map(|((name, tensor), (dtype, bytes))| {
            TensorView::new(*dtype, tensor.shape.clone(), bytes).map(|view| (name.clone(), view))
        });
        Ok(safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, None)?)
    }
}

impl Values {
    fn to_bytes(&self) -> (Dtype, Vec<u8>) {
        match self {
            Values::F32(values) => (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Values::I64(values) => (Dtype::I64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        }
    }
}
