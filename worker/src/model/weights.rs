//! Reads tensors out of (sharded) safetensors files, mapped into memory. A backend may compute with weights where they are
//! in the map, which processes that use one checkpoint share.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use prelim_kernels::{Bits, Dtype, Owner, WeightView};
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::KeptType;
use super::error::ModelError;

mod packed;

/// All tensors of a checkpoint, by key. Keys are spelled as [`canonical`] spells them.
pub struct Weights {
    shards: Vec<Shard>,
    tensors: HashMap<String, (usize, Placed)>,
    /// What errors about missing tensors name.
    root: PathBuf,
}

struct Shard {
    file: PathBuf,
    map: Owner,
}

struct Placed {
    stored_name: String,
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    /// In the file.
    bytes: std::ops::Range<usize>,
}

/// A tensor and where it came from, for errors.
pub struct Tensor<'a> {
    weights: &'a Weights,
    shard: usize,
    placed: &'a Placed,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Opens every shard, and checks that all that the index names is there, and that all numbers are finite.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let index = folder.join("model.safetensors.index.json");
        let (root, names, expected) = if index.is_file() {
            let text = fs::read_to_string(&index).map_err(|source| ModelError::Read { file: index.clone(), source })?;
            let parsed: Index = serde_json::from_str(&text)
                .map_err(|error| ModelError::Config { file: index.clone(), what: error.to_string() })?;
            let mut names: Vec<String> = parsed.weight_map.values().cloned().collect();
            names.sort_unstable();
            names.dedup();
            (index, names, parsed.weight_map)
        } else {
            let single = "model.safetensors".to_owned();
            (folder.join(&single), vec![single], BTreeMap::new())
        };
        let mut weights = Self { shards: Vec::new(), tensors: HashMap::new(), root };
        for name in &names {
            // A name with a separator would leave the folder.
            let file = match Path::new(name).file_name() {
                Some(bare) if bare == name.as_str() => folder.join(bare),
                _ => return Err(ModelError::Config { file: weights.root, what: format!("{name} is not a file name") }),
            };
            weights.add_shard(file)?;
        }
        if let Some((key, _)) = expected.iter().find(|(key, _)| !weights.tensors.contains_key(&canonical(key))) {
            return Err(ModelError::MissingTensor { file: weights.root, name: key.clone() });
        }
        weights.check_finite()?;
        Ok(weights)
    }

    /// One file by itself.
    pub fn open_file(file: PathBuf) -> Result<Self, ModelError> {
        let mut weights = Self { shards: Vec::new(), tensors: HashMap::new(), root: file.clone() };
        weights.add_shard(file)?;
        weights.check_finite()?;
        Ok(weights)
    }

    /// One number that is none spoils every answer, and shows at the first of them.
    fn check_finite(&self) -> Result<(), ModelError> {
        let tensors: Vec<Tensor<'_>> = (0..self.shards.len()).flat_map(|shard| self.of_shard(shard)).collect();
        let spoiled = tensors.par_iter().find_first(|tensor| !tensor.is_finite());
        spoiled.map_or(Ok(()), |tensor| {
            let (file, name) = (tensor.file().to_owned(), tensor.placed.stored_name.clone());
            Err(ModelError::NotFinite { file, name })
        })
    }

    /// The keys of all tensors, as [`canonical`] spells them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    fn add_shard(&mut self, file: PathBuf) -> Result<(), ModelError> {
        let opened = File::open(&file).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ModelError::MissingShard { file: file.clone() },
            _ => ModelError::Read { file: file.clone(), source },
        })?;
        // SAFETY: the map is only read. A checkpoint that someone rewrites while it is in use gives wrong numbers or a
        // bus error, which no reader of mapped files can exclude; files are replaced by renaming, not by rewriting.
        let map = unsafe { Mmap::map(&opened) }.map_err(|source| ModelError::Read { file: file.clone(), source })?;
        let map = Owner::new(map);
        let damaged = |what: String| ModelError::DamagedShard { file: file.clone(), what };
        let (header, metadata): (usize, Metadata) =
            SafeTensors::read_metadata(map.bytes()).map_err(|error| damaged(error.to_string()))?;
        let data = header + 8;
        let shard = self.shards.len();
        let mut tensors: Vec<_> = metadata.tensors().into_iter().collect();
        tensors.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, info) in tensors {
            let bytes = data + info.data_offsets.0..data + info.data_offsets.1;
            if bytes.end > map.bytes().len() {
                return Err(damaged(format!("it ends before {name} does")));
            }
            let placed = Placed { stored_name: name.clone(), dtype: info.dtype, shape: info.shape.clone(), bytes };
            if let Some((_, other)) = self.tensors.insert(canonical(&name), (shard, placed)) {
                return Err(damaged(format!("{name} is there twice, also as {}", other.stored_name)));
            }
        }
        self.shards.push(Shard { file, map });
        Ok(())
    }

    /// The tensor with this key.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, ModelError> {
        match self.tensors.get(name) {
            Some((shard, placed)) => Ok(Tensor { weights: self, shard: *shard, placed }),
            None => Err(ModelError::MissingTensor { file: self.root.clone(), name: name.to_owned() }),
        }
    }

    /// A matrix of exactly this shape; trailing axes are folded into columns. It may be quantised.
    pub fn matrix(&self, name: &str, shape: &[usize]) -> Result<WeightView<'_>, ModelError> {
        let packed = || name.strip_suffix(".weight").filter(|stem| self.is_packed(stem));
        match (self.tensors.contains_key(name), packed(), shape) {
            (false, Some(stem), [rows, columns]) => packed::view(self, stem, *rows, *columns),
            _ => self.tensor(name)?.view(shape),
        }
    }

    /// What errors about the checkpoint as a whole name.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a module's weight is quantised.
    fn is_packed(&self, stem: &str) -> bool {
        self.tensors.contains_key(&format!("{stem}{}", packed::NUMBERS))
    }

    /// The shards' files, in order.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.file.as_path())
    }

    /// The tensors of a shard in order of place: keys as they are stored.
    pub(crate) fn of_shard(&self, shard: usize) -> Vec<Tensor<'_>> {
        let here = self.tensors.values().filter(|(of, _)| *of == shard);
        let mut tensors: Vec<_> = here.map(|(_, placed)| Tensor { weights: self, shard, placed }).collect();
        tensors.sort_by_key(|tensor| tensor.placed.bytes.start);
        tensors
    }

    /// A vector of exactly this length.
    pub fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        Ok(self.tensor(name)?.view(&[len])?.to_f32())
    }

    /// How the checkpoint is stored: quantised, where some of it is; else bf16 where keeping most so loses nothing, and f32
    /// for anything else.
    pub fn stored_type(&self) -> KeptType {
        let stems = self.tensors.keys().filter_map(|name| name.strip_suffix(packed::NUMBERS));
        let eight = stems.map(|stem| packed::bits(self, stem) == Some(Bits::Eight));
        let (eight, four): (Vec<bool>, Vec<bool>) = eight.partition(|eight| *eight);
        match (eight.len(), four.len()) {
            (0, 0) => {}
            (eight, four) if eight >= four => return KeptType::Int8,
            _ => return KeptType::Int4,
        }
        let size = |wanted: bool| -> usize {
            let chosen = self.tensors.values().filter(|(_, p)| (p.dtype == safetensors::Dtype::BF16) == wanted);
            chosen.map(|(_, placed)| placed.bytes.len()).sum()
        };
        if size(true) > size(false) { KeptType::Bf16 } else { KeptType::F32 }
    }
}

impl<'a> Tensor<'a> {
    /// The key, as it is stored.
    pub(crate) fn name(&self) -> &'a str {
        &self.placed.stored_name
    }

    /// The key, in the one spelling.
    pub(crate) fn canonical_name(&self) -> String {
        canonical(&self.placed.stored_name)
    }

    pub(crate) fn dtype(&self) -> safetensors::Dtype {
        self.placed.dtype
    }

    /// Its shape, as the file has it.
    pub fn shape(&self) -> &'a [usize] {
        &self.placed.shape
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        &self.weights.shards[self.shard].map.bytes()[self.placed.bytes.clone()]
    }

    /// Whether it holds neither infinities nor what is no number. Whole numbers are finite.
    fn is_finite(&self) -> bool {
        const PIECE: usize = 1 << 20;
        let pieces = self.bytes().par_chunks(PIECE);
        // A number is not finite where all bits of its exponent are set.
        let halves = |exponent: u16| {
            move |piece: &[u8]| {
                let bits = piece.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
                bits.fold(true, |finite, bits| finite & (bits & exponent != exponent))
            }
        };
        match self.placed.dtype {
            safetensors::Dtype::F32 => pieces.all(|piece| {
                let bits = piece.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                bits.fold(true, |finite, bits| finite & (bits & 0x7f80_0000 != 0x7f80_0000))
            }),
            safetensors::Dtype::BF16 => pieces.all(halves(0x7f80)),
            safetensors::Dtype::F16 => pieces.all(halves(0x7c00)),
            _ => true,
        }
    }

    /// The numbers, whatever the shape.
    pub(crate) fn whole(&self) -> Result<WeightView<'a>, ModelError> {
        self.view(&self.placed.shape)
    }

    fn file(&self) -> &'a Path {
        &self.weights.shards[self.shard].file
    }

    fn view(&self, shape: &[usize]) -> Result<WeightView<'a>, ModelError> {
        let shard = &self.weights.shards[self.shard];
        let name = self.placed.stored_name.clone();
        if self.placed.shape != shape {
            let (found, expected) = (self.placed.shape.clone(), shape.to_vec());
            return Err(ModelError::Shape { file: shard.file.clone(), name, found, expected });
        }
        let dtype = match self.placed.dtype {
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::BF16 => Dtype::Bf16,
            safetensors::Dtype::F16 => Dtype::F16,
            other => {
                return Err(ModelError::Dtype { file: shard.file.clone(), name, found: format!("{other:?}") });
            }
        };
        let (rows, columns) = match shape {
            [len] => (1, *len),
            [rows, rest @ ..] => (*rows, rest.iter().product()),
            [] => (1, 1),
        };
        Ok(WeightView::kept(&shard.map, self.placed.bytes.start, dtype, rows, columns))
    }
}

/// One spelling for the keys of all published files: `vision_tower.…`, `multi_modal_projector.…`, `language_model.…`.
///
/// Files come as `model.language_model.layers…` (new), `language_model.model.layers…` (old), with and without
/// `vision_model.` inside the tower, or with it alone (SigLIP). Those of adapters begin with `base_model.model.` besides.
fn canonical(stored: &str) -> String {
    let name = stored.strip_prefix("base_model.model.").unwrap_or(stored);
    let name = name.strip_prefix("model.").unwrap_or(name);
    let name = match name.strip_prefix("language_model.") {
        Some(rest) => format!("language_model.{}", rest.strip_prefix("model.").unwrap_or(rest)),
        None => name.to_owned(),
    };
    match name.strip_prefix("vision_model.") {
        Some(rest) => format!("vision_tower.{rest}"),
        None => name.replace("vision_tower.vision_model.", "vision_tower."),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn every_published_spelling_of_a_key_is_one_key() {
        let table = [
            ("language_model.model.embed_tokens.weight", "language_model.embed_tokens.weight"),
            ("model.language_model.embed_tokens.weight", "language_model.embed_tokens.weight"),
            ("language_model.model.layers.3.mlp.up_proj.weight", "language_model.layers.3.mlp.up_proj.weight"),
            ("vision_tower.vision_model.post_layernorm.bias", "vision_tower.post_layernorm.bias"),
            ("model.vision_tower.vision_model.post_layernorm.bias", "vision_tower.post_layernorm.bias"),
            (
                "base_model.model.model.language_model.layers.0.mlp.up_proj.lora_A.weight",
                "language_model.layers.0.mlp.up_proj.lora_A.weight",
            ),
            (
                "base_model.model.language_model.model.layers.0.mlp.up_proj.lora_A.weight",
                "language_model.layers.0.mlp.up_proj.lora_A.weight",
            ),
            ("vision_tower.post_layernorm.bias", "vision_tower.post_layernorm.bias"),
            ("vision_model.post_layernorm.bias", "vision_tower.post_layernorm.bias"),
            ("model.multi_modal_projector.mm_soft_emb_norm.weight", "multi_modal_projector.mm_soft_emb_norm.weight"),
        ];
        for (stored, wanted) in table {
            assert_eq!(canonical(stored), wanted);
        }
    }
}
