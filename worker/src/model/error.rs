//! Why a model folder cannot be used. Each sentence names the file and what to do.

use std::path::PathBuf;

use prelim_kernels::DeviceError;

use super::KeptType;

/// Why a model folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// There is no such folder, or it holds no `config.json`.
    #[error("no model in {}: config.json is not there; give a folder with a Hugging Face checkpoint", folder.display())]
    NoModel {
        /// The folder that was given.
        folder: PathBuf,
    },
    /// The checkpoint is of another family.
    #[error(
        "{} is for {found}, which prelim does not {}; it {verb} {known}{instead}", file.display(), verb.trim_end_matches('s')
    )]
    Architecture {
        /// `config.json`.
        file: PathBuf,
        /// Its `architectures`.
        found: String,
        /// What was wanted of it: reads.
        verb: &'static str,
        /// What is done with it instead, where something is.
        instead: &'static str,
        /// The families that do.
        known: String,
    },
    /// A setting is missing or one that the model code does not support.
    #[error("{}: {what}; the file should be the one that was published with the weights", file.display())]
    Config {
        /// The settings file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The weights are not there, or some of them.
    #[error("{} is missing; fetch the checkpoint again, with all of its .safetensors files", file.display())]
    MissingShard {
        /// The file that the index names.
        file: PathBuf,
    },
    /// A weight file is cut off or not what it claims to be.
    #[error("{} is not a whole safetensors file ({what}); fetch it again", file.display())]
    DamagedShard {
        /// The weight file.
        file: PathBuf,
        /// What the reader said.
        what: String,
    },
    /// No file has this tensor.
    #[error("{} has no tensor {name}; the weights and config.json are not of one model", file.display())]
    MissingTensor {
        /// Where the tensor was looked for: the weights, or their index.
        file: PathBuf,
        /// The key, as this model code spells it.
        name: String,
    },
    /// The numbers are of a kind that cannot be read.
    #[error("tensor {name} in {} is {found}; prelim reads F32, BF16 and F16, so fetch the unquantized checkpoint", file.display())]
    Dtype {
        /// The weight file.
        file: PathBuf,
        /// The key.
        name: String,
        /// The kind found.
        found: String,
    },
    /// Numbers that are infinite or none.
    #[error("tensor {name} in {} holds numbers that are not finite (NaN or infinity); fetch the file again", file.display())]
    NotFinite {
        /// The weight file.
        file: PathBuf,
        /// The key.
        name: String,
    },
    /// The shape is not the one that the settings imply.
    #[error("tensor {name} in {} is {found:?}, and config.json implies {expected:?}; the two are not of one model", file.display())]
    Shape {
        /// The weight file.
        file: PathBuf,
        /// The key.
        name: String,
        /// The shape found.
        found: Vec<usize>,
        /// The shape wanted.
        expected: Vec<usize>,
    },
    /// An adapter that is not for this model, or of a kind that is not computed.
    #[error("adapter {}: {what}", folder.display())]
    Adapter {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Quantised weights are of a kind that is not read.
    #[error("tensor {name} in {} {what}; prelim reads whole numbers of 4 or 8 bits with scales in BF16", file.display())]
    Quantised {
        /// The weight file.
        file: PathBuf,
        /// The key.
        name: String,
        /// What is wrong, as the end of a sentence.
        what: String,
    },
    /// Whole numbers of other bits than the checkpoint has.
    #[error(
        "the weights in {} are {found} already, and cannot be made {wanted}: quantise the checkpoint that they were made \
         from, or leave out --weights", file.display()
    )]
    OtherBits {
        /// The weights, or their index.
        file: PathBuf,
        /// What the checkpoint has.
        found: KeptType,
        /// What was asked for.
        wanted: KeptType,
    },
    /// The tokenizer or the chat template cannot be used.
    #[error("{}: {what}; fetch the file again from where the weights came", file.display())]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A prompt and its images do not fit together.
    #[error("the prompt has room for {places} images, and {images} were given")]
    ImageCount {
        /// `<start_of_image>` in the prompt.
        places: usize,
        /// Images given.
        images: usize,
    },
    /// A file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The device cannot be used, or the model does not fit on it.
    #[error("{0}{advice}", advice = advice(.0))]
    Device(#[from] DeviceError),
}

/// What helps. Other errors of a device say so themselves.
fn advice(error: &DeviceError) -> &'static str {
    match error {
        DeviceError::OutOfMemory { .. } => "; use a smaller model, weights of 8 bits or a device with more memory",
        _ => "",
    }
}
