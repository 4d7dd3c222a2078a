//! The boundary between families of models and what is the same for all of them, and the table of families.
//!
//! A family is a file (or folder) beside this one, an entry of [`KNOWN`] and a variant of [`FamilyConfig`]. What a family computes is in its own file; everything around it knows the three methods of
//! [`Family`] and the numbers of [`ModelConfig`].

use std::path::Path;

use prelim_kernels::Backend;

use super::Watch;
use super::adapter::AdapterId;
use super::batch::{KvCache, Scores};
use super::config::ModelConfig;
use super::error::ModelError;
use super::gemma3;
use super::layout::Layout;
use super::llava;
use super::parts::Loader;
use super::siglip;

/// A model of one family on a device.
pub(super) trait Family<B: Backend>: Send + Sync {
    /// Pictures `[images, channels, side, side]` to one buffer of features `[tokens_per_image, hidden]` each.
    fn encode(
        &self,
        backend: &B,
        pixel_values: &[f32],
        images: usize,
        adapter: Option<AdapterId>,
        watch: Watch<'_>,
    ) -> Vec<B::Buffer>;

    /// Computes the new tokens of a batch into the cache, and the scores that it asks for.
    fn forward(&self, backend: &B, kv: &mut KvCache<B>, layout: &Layout<'_, B>, watch: Watch<'_>) -> Scores<B>;

    /// Gives up what passes left for the next one to compute in.
    fn forget(&self);
}

/// What only a family knows of its model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FamilyConfig {
    /// Gemma 3 with SigLIP.
    Gemma3(gemma3::Config),
    /// LLaVA with DINOv2 and Llama.
    Llava(llava::Config),
}

impl FamilyConfig {
    /// Takes the weights to the device.
    pub(super) fn load<B: Backend>(&self, loader: &Loader<'_, B>) -> Result<Box<dyn Family<B>>, ModelError> {
        Ok(match self {
            Self::Gemma3(config) => Box::new(gemma3::Gemma3::load(loader, config)?),
            Self::Llava(config) => Box::new(llava::Llava::load(loader, config)?),
        })
    }
}

/// What a family is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    /// Pictures and words to words. Reads `config.json`, given the folder and the file's text; the error says what is
    /// wrong, in a phrase.
    Read(ReadConfig),
    /// Pictures and words to points of one space.
    Embed(ReadEncoder),
}

/// Makes sense of `config.json`.
pub(super) type ReadConfig = fn(&Path, &str) -> Result<ModelConfig, String>;
/// The same for an encoder.
pub(super) type ReadEncoder = fn(&str) -> Result<siglip::Config, String>;

impl Task {
    pub(super) fn read(self) -> Option<ReadConfig> {
        match self {
            Self::Read(read) => Some(read),
            Self::Embed(_) => None,
        }
    }

    /// What it is for, where something else was wanted.
    pub(super) fn instead(self) -> &'static str {
        match self {
            Self::Read(_) => "; this one is for `prelim worker --model`",
            Self::Embed(_) => "; this one is for `prelim embed --model`",
        }
    }

    pub(super) fn embed(self) -> Option<ReadEncoder> {
        match self {
            Self::Embed(read) => Some(read),
            Self::Read(_) => None,
        }
    }
}

/// A family, as the table has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// In `architectures` of `config.json`.
    pub(super) architecture: &'static str,
    /// Published models, for people.
    pub(super) models: &'static str,
    /// What it is for.
    pub(super) task: Task,
}

/// Every family that is computed.
pub(super) const KNOWN: &[Known] = &[
    Known {
        architecture: "Gemma3ForConditionalGeneration",
        models: "MedGemma 4B, 27B and 1.5",
        task: Task::Read(gemma3::read),
    },
    Known {
        architecture: "LlavaForConditionalGeneration",
        models: "with DINOv2 and Llama, as MAIRA-2's parts",
        task: Task::Read(llava::read),
    },
    Known { architecture: "SiglipModel", models: "MedSigLIP", task: Task::Embed(siglip::read) },
];
