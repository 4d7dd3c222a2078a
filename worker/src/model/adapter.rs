//! Adapters (LoRA, in PEFT's format): what a fine-tuning changed of some products, beside a base model that stays as it is.
//!
//! A product `x · Wᵀ` becomes `x · Wᵀ + s · (x · Aᵀ) · Bᵀ`, with `A` `[rank, inputs]` and `B` `[outputs, rank]` (Hu et al.
//! 2021). A pass may hold sequences of several adapters and of none; each row is what it would be alone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use prelim_kernels::{AddLowRank, Backend, Dtype, Storage, WeightView};
use serde::Deserialize;
use serde_json::Value;

use super::error::ModelError;
use super::weights::Weights;

/// Settings of an adapter, in its folder: what has them is one.
pub const CONFIG: &str = "adapter_config.json";
/// Its weights.
const WEIGHTS: &str = "adapter_model.safetensors";
/// Which of the adapters that a model was loaded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdapterId(pub usize);

/// An adapter as it was published, open.
pub struct Adapter {
    folder: PathBuf,
    config: Config,
    weights: Weights,
    /// The modules that it changes, and whether a layer has asked for each.
    modules: Mutex<BTreeMap<String, bool>>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct Config {
    peft_type: String,
    r: usize,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f32>,
    #[serde(default)]
    rank_pattern: BTreeMap<String, usize>,
    /// Everything else, some of which changes the arithmetic in ways that are not computed here.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Settings that say how an adapter was trained, and nothing about what it computes.
const TRAINING: [&str; 16] = [
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
];

/// Ways to begin a training that leave the base as it was.
const BEGINNINGS: [&str; 3] = ["eva", "gaussian", "orthogonal"];

/// What a module's adapter is: `A` and `B` times the scale.
struct Pair {
    rank: usize,
    /// `[rank, inputs]`
    down: Vec<f32>,
    /// `[outputs, rank]`
    up: Vec<f32>,
}

impl Adapter {
    /// Opens `adapter_config.json` and `adapter_model.safetensors` in a folder.
    ///
    /// # Errors
    /// Files that are missing or damaged, and kinds of adapter that are not computed, by name.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let wrong = |what: String| ModelError::Adapter { folder: folder.to_owned(), what };
        let file = folder.join(CONFIG);
        let text = std::fs::read_to_string(&file).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                wrong(format!("there is no {CONFIG}; give the folder that PEFT's save_pretrained wrote"))
            }
            _ => ModelError::Read { file: file.clone(), source },
        })?;
        let config: Config = serde_json::from_str(&text).map_err(|error| wrong(format!("{CONFIG}: {error}")))?;
        config.check().map_err(wrong)?;
        let weights = Weights::open_file(folder.join(WEIGHTS)).map_err(|error| match error {
            ModelError::MissingShard { .. } => wrong(format!(
                "there is no {WEIGHTS}, which PEFT's save_pretrained writes beside {CONFIG}; adapter_model.bin is not read, so \
                 save it again with safe_serialization"
            )),
            other => other,
        })?;
        let mut modules = BTreeMap::new();
        for name in weights.names() {
            let module = name.strip_suffix(".lora_A.weight").or_else(|| name.strip_suffix(".lora_B.weight"));
            let module = module.ok_or_else(|| {
                wrong(format!(
                    "it holds {name}, and only lora_A and lora_B of linear layers are computed; train it without \
                     modules_to_save, or merge it into the model (merge_and_unload)"
                ))
            })?;
            modules.insert(module.to_owned(), false);
        }
        if modules.is_empty() {
            return Err(wrong(format!("{WEIGHTS} holds no adapter")));
        }
        Ok(Self { folder: folder.to_owned(), config, weights, modules: Mutex::new(modules) })
    }

    /// Where it is from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it changes a module whose name begins so.
    pub(super) fn changes(&self, part: &str) -> bool {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).keys().any(|module| module.starts_with(part))
    }

    /// Whether pictures are encoded otherwise with it: whether it changes anything before the decoder.
    pub(super) fn changes_pictures(&self) -> bool {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.keys().any(|module| !module.starts_with("language_model."))
    }

    /// What it changes of a module `[outputs, inputs]`; none where it does not.
    fn pair(&self, module: &str, outputs: usize, inputs: usize) -> Result<Option<Pair>, ModelError> {
        match self.modules.lock().unwrap_or_else(PoisonError::into_inner).get_mut(module) {
            None => return Ok(None),
            Some(asked_for) => *asked_for = true,
        }
        let name = |matrix: &str| format!("{module}.{matrix}.weight");
        let rank = self.weights.tensor(&name("lora_A"))?.shape().first().copied().unwrap_or(0);
        let said = *of_module(&self.config.rank_pattern, module).unwrap_or(&self.config.r);
        if rank == 0 || rank != said {
            let what =
                format!("{module} has rank {rank} in {WEIGHTS}, and {CONFIG} says {said}; save the adapter again");
            return Err(ModelError::Adapter { folder: self.folder.clone(), what });
        }
        let matrix = |name: String, shape: [usize; 2]| match self.weights.matrix(&name, &shape) {
            Err(ModelError::Shape { found, expected, .. }) => Err(ModelError::Adapter {
                folder: self.folder.clone(),
                what: format!(
                    "{name} is {found:?}, and this model's layer of {outputs} x {inputs} takes {expected:?}; {}",
                    self.config.made_for()
                ),
            }),
            other => Ok(other?.to_f32()),
        };
        let down = matrix(name("lora_A"), [rank, inputs])?;
        let mut up = matrix(name("lora_B"), [outputs, rank])?;
        let scale = self.config.scale(module, rank);
        up.iter_mut().for_each(|value| *value *= scale);
        Ok(Some(Pair { rank, down, up }))
    }

    /// That every module was asked for: one that was not is none of the model's that can be adapted.
    pub(super) fn check_taken(&self) -> Result<(), ModelError> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        match modules.iter().find(|(_, asked_for)| !**asked_for) {
            None => Ok(()),
            Some((module, _)) => Err(ModelError::Adapter {
                folder: self.folder.clone(),
                what: format!("it changes {module}, which is no linear layer of this model's decoder or vision tower"),
            }),
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), String> {
        if self.peft_type != "LORA" {
            return Err(format!("{CONFIG}: peft_type is {}, and LORA is computed", self.peft_type));
        }
        if self.r == 0 {
            return Err(format!("{CONFIG}: r is 0"));
        }
        for (name, value) in self.others.iter().filter(|(name, _)| !TRAINING.contains(&name.as_str())) {
            let changes_nothing = match (name.as_str(), value) {
                (_, Value::Null | Value::Bool(false)) | ("init_lora_weights", Value::Bool(true)) => true,
                ("bias", Value::String(kind)) => kind == "none",
                ("init_lora_weights", Value::String(kind)) => BEGINNINGS.contains(&kind.as_str()),
                (_, Value::Array(items)) => items.is_empty(),
                (_, Value::Object(items)) => items.is_empty(),
                _ => false,
            };
            if !changes_nothing {
                return Err(format!(
                    "{CONFIG}: {name} is {value}, which is not computed; train it without, or merge it into the model \
                     (merge_and_unload)"
                ));
            }
        }
        let alphas = self.alpha_pattern.keys().map(|key| ("alpha_pattern", key));
        let ranks = self.rank_pattern.keys().map(|key| ("rank_pattern", key));
        let is_name = |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
        match alphas.chain(ranks).find(|(_, key)| !is_name(key)) {
            Some((name, key)) => Err(format!("{CONFIG}: {name} has {key:?}, which is no name of a module")),
            None => Ok(()),
        }
    }

    /// Which model it is for, as far as it says, and what to do.
    fn made_for(&self) -> String {
        match self.others.get("base_model_name_or_path").and_then(Value::as_str).filter(|name| !name.is_empty()) {
            Some(base) => format!("it says that it was trained on {base}: load it beside that model"),
            None => "it was trained on another model: load it beside that one".to_owned(),
        }
    }

    /// What `B · A` is multiplied by.
    fn scale(&self, module: &str, rank: usize) -> f32 {
        let alpha = of_module(&self.alpha_pattern, module).unwrap_or(&self.lora_alpha);
        if self.use_rslora { alpha / (rank as f32).sqrt() } else { alpha / rank as f32 }
    }
}

/// What is said of a module by the end of its name.
fn of_module<'a, T>(patterns: &'a BTreeMap<String, T>, module: &str) -> Option<&'a T> {
    let fits =
        |pattern: &str| module.strip_suffix(pattern).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    patterns.iter().find(|(pattern, _)| fits(pattern)).map(|(_, said)| said)
}

/// Which rows of a pass which adapter changes, in order of rows, none twice.
#[derive(Debug, Clone, Default)]
pub(super) struct AdaptedRows(Vec<(Range<usize>, AdapterId)>);

impl AdaptedRows {
    /// The first so many rows.
    pub(super) fn first(rows: usize, adapter: Option<AdapterId>) -> Self {
        Self(adapter.map(|adapter| (0..rows, adapter)).into_iter().collect())
    }

    /// Rows after those that are there.
    pub(super) fn add(&mut self, rows: Range<usize>, adapter: Option<AdapterId>) {
        let Some(adapter) = adapter else { return };
        match self.0.last_mut() {
            Some((last, same)) if last.end == rows.start && *same == adapter => last.end = rows.end,
            _ => self.0.push((rows, adapter)),
        }
    }
}

/// What each adapter changes of a product: nothing where none does.
pub(super) struct LowRanks<B: Backend>(Vec<Option<LowRank<B>>>);

struct LowRank<B: Backend> {
    down: B::Matrix,
    up: B::Matrix,
}

impl<B: Backend> LowRanks<B> {
    /// For modules `[outputs, inputs]` that read one input and are stacked by outputs.
    pub(super) fn load(
        backend: &B,
        adapters: &[Adapter],
        modules: &[(&str, usize)],
        inputs: usize,
    ) -> Result<Self, ModelError> {
        let all = adapters.iter().map(|adapter| LowRank::load(backend, adapter, modules, inputs));
        let all: Vec<_> = all.collect::<Result<_, _>>()?;
        // So that none costs nothing.
        Ok(Self(if all.iter().all(Option::is_none) { Vec::new() } else { all }))
    }

    /// Whether some of these rows change.
    pub(super) fn touch(&self, rows: &AdaptedRows) -> bool {
        rows.0.iter().any(|(_, adapter)| self.of(*adapter).is_some())
    }

    /// Adds to `out` what the adapters change.
    pub(super) fn add(&self, backend: &B, rows: &AdaptedRows, x: &B::Buffer, out: &mut B::Buffer) {
        for (rows, adapter) in &rows.0 {
            if let Some(LowRank { down, up }) = self.of(*adapter) {
                backend.add_low_rank(AddLowRank { x, rows: rows.clone(), down, up, out });
            }
        }
    }

    fn of(&self, adapter: AdapterId) -> Option<&LowRank<B>> {
        self.0.get(adapter.0)?.as_ref()
    }
}

impl<B: Backend> LowRank<B> {
    /// One pair of matrices for all modules: their `A` under each other, and their `B` along a diagonal of blocks.
    fn load(
        backend: &B,
        adapter: &Adapter,
        modules: &[(&str, usize)],
        inputs: usize,
    ) -> Result<Option<Self>, ModelError> {
        let pairs = modules.iter().map(|(module, outputs)| adapter.pair(module, *outputs, inputs));
        let pairs: Vec<Option<Pair>> = pairs.collect::<Result<_, _>>()?;
        let rank: usize = pairs.iter().flatten().map(|pair| pair.rank).sum();
        if rank == 0 {
            return Ok(None);
        }
        let mut down = Vec::with_capacity(rank * inputs);
        let mut up = Vec::new();
        let mut before = 0;
        for ((_, outputs), pair) in modules.iter().zip(&pairs) {
            let Some(pair) = pair else {
                up.resize(up.len() + outputs * rank, 0.0);
                continue;
            };
            down.extend_from_slice(&pair.down);
            for row in pair.up.chunks_exact(pair.rank) {
                up.resize(up.len() + before, 0.0);
                up.extend_from_slice(row);
                up.resize(up.len() + rank - before - pair.rank, 0.0);
            }
            before += pair.rank;
        }
        let outputs = up.len() / rank;
        // They are small beside the weights: nothing is rounded.
        let matrix = |values: &[f32], rows: usize, columns: usize| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            backend.matrix(&[WeightView::new(&bytes, Dtype::F32, rows, columns)], Storage::F32)
        };
        Ok(Some(Self { down: matrix(&down, rank, inputs)?, up: matrix(&up, outputs, rank)? }))
    }
}
