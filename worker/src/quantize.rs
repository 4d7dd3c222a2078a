//! A checkpoint with its decoder's weights as whole numbers, written once instead of made at every load.
//!
//! The format is `compressed-tensors`, `pack-quantized`, which vLLM and `transformers` read too. What comes of loading it is,
//! bit for bit, what comes of quantising at load. Weights stream through: a few thousand rows are in memory at a time. The
//! folder appears whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use prelim_kernels::{Grid, WeightView};
use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::model::adapter::CONFIG as ADAPTER_CONFIG;
use crate::model::weights::{Tensor, Weights};
use crate::model::{ModelConfig, ModelError, without_mark};
use crate::profile::named::PROMPTS_FOLDER;

/// Rows that are in memory at a time.
const ROWS_AT_ONCE: usize = 4_096;
/// Bytes that are copied at a time.
const BYTES_AT_ONCE: usize = 64 << 20;
/// Where weights begin in a file: on a line of the cache.
const ALIGNMENT: usize = 64;
/// How names of files end that hold weights, or the state of a training.
const WEIGHT_FILES: [&str; 10] = ["safetensors", "bin", "pt", "pth", "ckpt", "h5", "msgpack", "gguf", "onnx", "npz"];
const INDEX: &str = "model.safetensors.index.json";

/// What is wanted of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The whole numbers.
    pub grid: Grid,
    /// Whether the table of embeddings, which is also the head, becomes whole numbers. Other programs may not read it so.
    pub embedding: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Weights that were quantised.
    pub quantised: usize,
    /// Tensors that were copied.
    pub copied: usize,
    /// Bytes of all tensors before.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The checkpoint.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Something is in the way.
    #[error("{} is there already; nothing is overwritten: give a folder that is not there yet", .0.display())]
    Exists(PathBuf),
    /// It is quantised.
    #[error("{} is quantised already; quantise the checkpoint that it was made from", .0.display())]
    Already(PathBuf),
    /// No weight can be quantised.
    #[error("{} has no weights of a decoder whose rows are made of groups of {group}", folder.display())]
    Nothing {
        /// The checkpoint.
        folder: PathBuf,
        /// Inputs of a group.
        group: usize,
    },
    /// Nobody wants it any more.
    #[error("stopped before it was whole; what was begun is taken away")]
    Stopped,
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A tensor to be written.
struct Entry<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Of all entries of a file: what it is made of.
    content: Content<'a>,
    at: u64,
}

enum Content<'a> {
    /// Bytes as they are.
    Bytes(std::borrow::Cow<'a, [u8]>),
    /// The whole numbers of a weight; its scales are those of the entry with this place.
    Numbers { weight: WeightView<'a>, grid: Grid, scales: usize },
    /// Written with the numbers.
    Scales,
}

/// Writes the checkpoint in `from` to `to`, and tells `progress` how many bytes of how many were read, which says whether to
/// go on.
///
/// # Errors
/// Where the checkpoint cannot be read, `to` is there already, a file cannot be written, or `progress` ends it; nothing is left
/// behind then.
pub fn quantize(
    from: &Path,
    to: &Path,
    plan: Plan,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Done, QuantizeError> {
    ModelConfig::read(from)?;
    let weights = Weights::open(from)?;
    if weights.stored_type().is_quantised() {
        return Err(QuantizeError::Already(from.to_owned()));
    }
    if to.symlink_metadata().is_ok() {
        return Err(QuantizeError::Exists(to.to_owned()));
    }
    let making = Making::beside(to)?;
    let files: Vec<PathBuf> = weights.files().map(Path::to_owned).collect();
    let all: Vec<Vec<Tensor<'_>>> = (0..files.len()).map(|shard| weights.of_shard(shard)).collect();
    let bytes_before: u64 = all.iter().flatten().map(|tensor| tensor.bytes().len() as u64).sum();
    let mut done = Done { quantised: 0, copied: 0, bytes_before, bytes_after: 0 };
    let (mut index, mut whole) = (BTreeMap::new(), Vec::new());
    let mut read = 0;
    for (file, tensors) in files.iter().zip(&all) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut entries = Vec::new();
        for tensor in tensors {
            match plan.weight(tensor)? {
                Some(weight) => {
                    done.quantised += 1;
                    entries.extend(plan.packed(tensor, weight));
                }
                None => {
                    done.copied += 1;
                    whole.extend(module_of(tensor));
                    entries.push(Entry::copy(tensor));
                }
            }
        }
        let path = making.folder.join(&name);
        let written = write_file(&path, entries, &mut |bytes| {
            read += bytes;
            progress(read.min(bytes_before), bytes_before)
        })?;
        for (key, bytes) in written {
            done.bytes_after += bytes;
            index.insert(key, name.clone());
        }
    }
    if done.quantised == 0 {
        return Err(QuantizeError::Nothing { folder: from.to_owned(), group: plan.grid.group });
    }
    making.copy_rest(from)?;
    making.write_json("config.json", &config(from, plan, whole)?)?;
    if from.join(INDEX).is_file() {
        making.write_json(INDEX, &json!({"metadata": {"total_size": done.bytes_after}, "weight_map": index}))?;
    }
    making.finish(to)?;
    Ok(done)
}

impl Plan {
    /// A weight that is to be quantised: a matrix of the decoder, or its table. Towers and projectors compute more than they
    /// read, and stay.
    fn weight<'a>(&self, tensor: &Tensor<'a>) -> Result<Option<WeightView<'a>>, ModelError> {
        let name = tensor.canonical_name();
        let is_table = name == "language_model.embed_tokens.weight";
        let is_layer = name.starts_with("language_model.layers.") && name.ends_with("_proj.weight");
        match tensor.shape() {
            [_, columns] if self.grid.fits(*columns) && (is_layer || is_table && self.embedding) => {
                tensor.whole().map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The tensors that a weight becomes.
    fn packed<'a>(&self, tensor: &Tensor<'a>, weight: WeightView<'a>) -> [Entry<'a>; 3] {
        let (rows, columns) = (weight.rows, weight.columns);
        let stem = tensor.name().trim_end_matches("weight");
        let words = self.grid.row_bytes(columns) / size_of::<i32>();
        let shape: Vec<u8> = [rows, columns].iter().flat_map(|size| (*size as i64).to_le_bytes()).collect();
        let entry = |end: &str, dtype, shape: &[usize], content| Entry {
            name: format!("{stem}weight_{end}"),
            dtype,
            shape: shape.to_vec(),
            content,
            at: 0,
        };
        [
            entry("packed", Dtype::I32, &[rows, words], Content::Numbers { weight, grid: self.grid, scales: 0 }),
            entry("scale", Dtype::BF16, &[rows, self.grid.groups(columns)], Content::Scales),
            entry("shape", Dtype::I64, &[2], Content::Bytes(shape.into())),
        ]
    }
}

/// The module of a weight that stays as it is, for the list of those that are left out.
fn module_of(tensor: &Tensor<'_>) -> Option<String> {
    let is_decoder = tensor.canonical_name().starts_with("language_model.");
    let stem = tensor.name().strip_suffix(".weight")?;
    (is_decoder && tensor.shape().len() == 2).then(|| stem.to_owned())
}

impl<'a> Entry<'a> {
    fn copy(tensor: &Tensor<'a>) -> Self {
        let content = Content::Bytes(tensor.bytes().into());
        Self { name: tensor.name().to_owned(), dtype: tensor.dtype(), shape: tensor.shape().to_vec(), content, at: 0 }
    }

    fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.bitsize() as u64 / 8
    }
}

/// Writes a safetensors file, and returns its keys and their bytes.
fn write_file(
    path: &Path,
    mut entries: Vec<Entry<'_>>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Vec<(String, u64)>, QuantizeError> {
    let header = header(&mut entries).map_err(io_error(path))?;
    let mut file = Output { file: File::create(path).map_err(io_error(path))?, path };
    file.put(0, &(header.len() as u64).to_le_bytes())?;
    file.put(8, &header)?;
    let begin = 8 + header.len() as u64;
    let mut step = |bytes: usize| match progress(bytes as u64) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(QuantizeError::Stopped),
    };
    for entry in &entries {
        let mut at = begin + entry.at;
        match &entry.content {
            Content::Scales => {}
            Content::Bytes(bytes) => {
                for some in bytes.chunks(BYTES_AT_ONCE) {
                    file.put(at, some)?;
                    at += some.len() as u64;
                    step(some.len())?;
                }
            }
            Content::Numbers { weight, grid, scales } => {
                let mut scales_at = begin + entries[*scales].at;
                for first in (0..weight.rows).step_by(ROWS_AT_ONCE) {
                    let rows = first..(first + ROWS_AT_ONCE).min(weight.rows);
                    let quantised: Vec<_> =
                        rows.clone().into_par_iter().map(|row| grid.quantise(&weight.row(row))).collect();
                    let numbers: Vec<u8> = quantised.iter().flat_map(|(numbers, _)| numbers).copied().collect();
                    let scales: Vec<u8> =
                        quantised.iter().flat_map(|(_, scales)| scales).flat_map(|scale| scale.to_le_bytes()).collect();
                    file.put(at, &numbers)?;
                    file.put(scales_at, &scales)?;
                    (at, scales_at) = (at + numbers.len() as u64, scales_at + scales.len() as u64);
                    step(rows.len() * weight.dtype.row_bytes(weight.columns))?;
                }
            }
        }
    }
    file.file.sync_all().map_err(io_error(path))?;
    step(0)?;
    Ok(entries.into_iter().map(|entry| (entry.bytes(), entry.name)).map(|(bytes, name)| (name, bytes)).collect())
}

/// A file that is written out of order.
struct Output<'a> {
    file: File,
    path: &'a Path,
}

impl Output<'_> {
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), QuantizeError> {
        let mut write = || {
            self.file.seek(SeekFrom::Start(at))?;
            self.file.write_all(bytes)
        };
        write().map_err(io_error(self.path))
    }
}

/// Puts the entries of a file in order and gives each its place: what stands before them.
fn header(entries: &mut [Entry<'_>]) -> io::Result<Vec<u8>> {
    // Wide numbers first, so that every tensor lies on a multiple of its numbers' size; large ones first among these.
    entries.sort_by_key(|entry| std::cmp::Reverse((entry.dtype.bitsize(), entry.bytes())));
    let scales: BTreeMap<String, usize> =
        entries.iter().enumerate().map(|(at, entry)| (entry.name.clone(), at)).collect();
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut end = 0;
    for entry in &mut *entries {
        (entry.at, end) = (end, end + entry.bytes());
        let dtype = serde_json::to_value(entry.dtype)?;
        let place = json!({"dtype": dtype, "shape": entry.shape, "data_offsets": [entry.at, end]});
        header.insert(entry.name.clone(), place);
        if let (Content::Numbers { scales: of, .. }, Some(stem)) =
            (&mut entry.content, entry.name.strip_suffix("packed"))
        {
            *of = scales.get(&format!("{stem}scale")).copied().unwrap_or_default();
        }
    }
    let mut text = serde_json::to_vec(&header)?;
    // So that the packed numbers, which come after the shapes, begin on a line.
    let shapes: u64 = entries.iter().filter(|entry| entry.dtype == Dtype::I64).map(Entry::bytes).sum();
    let shapes = (shapes % ALIGNMENT as u64) as usize;
    let begin = (8 + text.len() + shapes).next_multiple_of(ALIGNMENT) - shapes;
    text.resize(begin - 8, b' ');
    Ok(text)
}

/// `config.json`, with what was done.
fn config(from: &Path, plan: Plan, whole: Vec<String>) -> Result<Value, QuantizeError> {
    let path = from.join("config.json");
    let text = fs::read_to_string(&path).map_err(io_error(&path))?;
    let mut config: Value = serde_json::from_str(without_mark(&text)).map_err(|error| io_error(&path)(error.into()))?;
    let bits = match plan.grid.bits {
        prelim_kernels::Bits::Eight => 8,
        prelim_kernels::Bits::Four => 4,
    };
    let mut ignore: Vec<String> =
        ["re:.*vision_tower.*", "re:.*multi_modal_projector.*", "re:.*lm_head.*"].map(str::to_owned).to_vec();
    ignore.extend(whole);
    config["quantization_config"] = json!({
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {
            "targets": if plan.embedding { json!(["Linear", "Embedding"]) } else { json!(["Linear"]) },
            "input_activations": null,
            "output_activations": null,
            "weights": {
                "num_bits": bits, "type": "int", "symmetric": true, "strategy": "group",
                "group_size": plan.grid.group, "dynamic": false,
            },
        }},
        "ignore": ignore,
    });
    Ok(config)
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> QuantizeError {
    let path = path.to_owned();
    move |source| QuantizeError::Io { path: path.clone(), source }
}

/// A folder in the making, which goes away unless it is finished.
struct Making {
    folder: PathBuf,
}

/// What lies in a folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, QuantizeError> {
    let listed = fs::read_dir(folder).map_err(io_error(folder))?;
    listed.map(|entry| Ok(entry.map_err(io_error(folder))?.path())).collect()
}

impl Making {
    fn beside(to: &Path) -> Result<Self, QuantizeError> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let folder = to.with_file_name(format!(".{name}.{}.part", std::process::id()));
        fs::create_dir(&folder).map_err(io_error(to))?;
        Ok(Self { folder })
    }

    /// What is no weight of the model's: tokenizer, templates, profile, licences, and folders of prompts and of adapters, which
    /// stay as they are.
    fn copy_rest(&self, from: &Path) -> Result<(), QuantizeError> {
        for path in entries(from)? {
            // Weights in other formats are those of the checkpoint that this one is made from, and so is what a training left.
            let is_weights = path.extension().is_some_and(|end| WEIGHT_FILES.iter().any(|weights| end == *weights));
            let name = path.file_name().unwrap_or_default();
            let to = self.folder.join(name);
            if path.is_file() && !is_weights && name != "config.json" && name != INDEX {
                fs::copy(&path, to).map_err(io_error(&path))?;
            } else if path.is_dir() && (name == PROMPTS_FOLDER || path.join(ADAPTER_CONFIG).is_file()) {
                fs::create_dir(&to).map_err(io_error(&to))?;
                for path in entries(&path)?.into_iter().filter(|path| path.is_file()) {
                    fs::copy(&path, to.join(path.file_name().unwrap_or_default())).map_err(io_error(&path))?;
                }
            }
        }
        Ok(())
    }

    fn write_json(&self, name: &str, value: &Value) -> Result<(), QuantizeError> {
        let path = self.folder.join(name);
        let write = || {
            let mut file = File::create(&path)?;
            serde_json::to_writer_pretty(&mut file, value)?;
            file.sync_all()
        };
        write().map_err(io_error(&path))
    }

    fn finish(self, to: &Path) -> Result<(), QuantizeError> {
        if to.symlink_metadata().is_ok() {
            return Err(QuantizeError::Exists(to.to_owned()));
        }
        fs::rename(&self.folder, to).map_err(io_error(to))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Gone already, where it was finished.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
