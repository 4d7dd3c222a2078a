//! A model made ready to read: everything that is loaded once and shared by all jobs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prelim_imaging::sandbox::DecoderCommand;
use prelim_kernels::{Backend, Cpu, Cuda};
use prelim_proto::cost::JobCost;
use prelim_proto::demand::{Demand, MAX_ADAPTERS, ModelName, Offer, PromptName};
use prelim_proto::ids::Digest;
use prelim_proto::image::ImageKind;
use prelim_proto::job::{JobKind, JobOutcome, JobSpec};
use prelim_proto::question::QuestionKind;
use prelim_proto::report::ModelProvenance;
use sha2::{Digest as _, Sha256};

use crate::backend::{self, DeviceChoice, LoadedDevice};
use crate::config::{NamedAdapter, WorkerLimits};
use crate::desk::{Desk, DeskWish};
use crate::engine::device::OnDevice;
use crate::engine::handle::{self, EngineHandle};
use crate::engine::request::EngineError;
use crate::engine::room::{BesideModel, CacheWish, RoomError, cache_tokens, host_wish};
use crate::engine::tokenizer::{Tokenizer, TokenizerError};
use crate::engine::{Engine, PassLimits};
use crate::fit::{self, FitError};
use crate::job::{JobError, name_of};
use crate::memory::HostMemory;
use crate::model::weights::Weights;
use crate::model::{Adapter, Model, ModelConfig, ModelError, WeightType};
use crate::pictures::Sight;
use crate::preprocess::{Preprocess, PreprocessError};
use crate::profile::named::{NamedPrompt, NamedPromptError, PROMPTS_FOLDER, read_folder};
use crate::profile::{KindProfile, PROFILE_FILE, ProfileError, QuestionProfile, ReadingProfile};
use crate::prompt::{PromptError, PromptWriter};

/// A model folder that cannot be used, or a machine that cannot hold it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The checkpoint.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The reading profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A prompt of the model's folder, or of the site's.
    #[error(transparent)]
    NamedPrompt(#[from] NamedPromptError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A prompt that can never be asked.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The image processor.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Adapters that cannot be told apart, or more than can be offered.
    #[error("--adapter: {0}")]
    Adapters(String),
    /// There is no room for the cache.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// A file of the folder.
    #[error("{path} is not readable: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine's thread.
    #[error("engine thread is not started: {0}")]
    Thread(io::Error),
}

/// A model made ready to read.
pub struct Reader {
    pub(crate) profile: ReadingProfile,
    /// The same for the model with an adapter: that it was calibrated without says nothing.
    uncalibrated: ReadingProfile,
    pub(crate) prompts: PromptWriter,
    pub(crate) sight: Sight,
    /// Room for images on their way.
    pub(crate) desk: Desk,
    pub(crate) engine: EngineHandle,
    pub(crate) tokenizer: Tokenizer,
    /// Other words in which the model can be asked, by name.
    named: BTreeMap<PromptName, NamedPrompt>,
    provenance: ModelProvenance,
    device: Arc<LoadedDevice>,
    /// Tokens that its cache holds.
    cache_tokens: usize,
    /// Positions that the model looks back.
    max_positions: usize,
    /// What the model is with each of its adapters, which the engine numbers in this order.
    adapters: Vec<ModelProvenance>,
}

impl Reader {
    /// Loads the model in `folder`, adapters beside it, and starts its engine. Blocks for as long as the weights take.
    pub fn load(
        folder: &Path,
        adapters: &[NamedAdapter],
        limits: &WorkerLimits,
        decoder: DecoderCommand,
    ) -> Result<Self, LoadError> {
        // First, so that a folder of another family is named as such and not by what it lacks.
        let config = ModelConfig::read(folder)?;
        let mut profile = ReadingProfile::load(folder)?;
        if !folder.join(PROFILE_FILE).is_file() {
            tracing::warn!(
                "the model brings no {PROFILE_FILE}, and is asked as MedGemma is: give it one if it is another"
            );
        }
        let mut named = BTreeMap::new();
        let own_prompts = folder.join(PROMPTS_FOLDER);
        if own_prompts.is_dir() {
            read_folder(&own_prompts, &profile, &mut named)?;
        }
        let preprocess = Preprocess::read_whole(folder, config.picture.side)?;
        let stored = Weights::open(folder)?;
        let weights = WeightType::from(limits.weights);
        let kept = weights.kept(&stored)?;
        let arithmetic = limits.device.arithmetic(weights, kept, limits.arithmetic);
        let tokenizer = Tokenizer::open(folder, config.vocabulary, &config.end_tokens)?;
        let (prompts, kept_tokenizer) = (PromptWriter::open(folder, &config, tokenizer.clone())?, tokenizer.clone());
        let sight = Sight::new(preprocess, decoder);
        let provenance = ModelProvenance {
            name: profile.name.clone().unwrap_or_else(|| folder_name(folder)),
            digest: digest_of(folder)?,
            prompt_version: profile.prompt_version.clone(),
            preprocess_version: sight.version(),
            arithmetic,
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            demonstration: profile.demonstration,
            base: None,
        };
        let adapters = with_answering(adapters, &mut profile, folder)?;
        let changed = adapters.iter().map(|adapter| with_adapter(&provenance, adapter)).collect::<Result<_, _>>()?;
        let opened = adapters.iter().map(|adapter| Adapter::open(&adapter.folder)).collect::<Result<_, _>>()?;
        let lengths = [fit::own(&prompts, &profile)?, fit::named(&prompts, &named)?].concat();
        let max_positions = config.max_positions;
        lengths.iter().try_for_each(|each| each.check(POSITIONS, max_positions))?;
        let longest =
            lengths.iter().map(fit::PromptLength::tokens).max().unwrap_or(0).max(longest_sequence(&profile, &config));
        let at_once = profile.kinds.each().map(|kind| kind.images_per_prompt).max().unwrap_or(1);
        let images = DeskWish::new(limits.slots, at_once, sight.picture_bytes());
        let beside = BesideModel { object_bytes: (limits.object_cache_mib as u64) << 20, images };
        let checkpoint = Checkpoint { config, stored, weights, adapters: opened, longest };
        let (started, image_bytes) = match limits.device {
            DeviceChoice::Cpu => {
                let products = backend::products(kept, limits.arithmetic);
                let cpu = Cpu::new().map_err(ModelError::from)?.with_arithmetic(products);
                let (wish, image_bytes) = checkpoint.host_wish(&cpu, limits, beside)?;
                (checkpoint.start(cpu, tokenizer, limits, wish)?, image_bytes)
            }
            DeviceChoice::Cuda(ordinal) => {
                let cuda = Cuda::open(ordinal, backend::precision(weights)).map_err(ModelError::from)?;
                let wish = checkpoint.wish(limits);
                (checkpoint.start(cuda, tokenizer, limits, wish)?, beside.image_bytes(HostMemory::read()))
            }
        };
        let Started { engine, device, cache_tokens } = started;
        let uncalibrated = profile.uncalibrated();
        let reader = Self {
            profile,
            uncalibrated,
            prompts,
            sight,
            desk: Desk::new(images, image_bytes),
            engine,
            tokenizer: kept_tokenizer,
            named,
            provenance,
            device: Arc::new(device),
            cache_tokens,
            max_positions,
            adapters: changed,
        };
        reader.check_names()?;
        lengths.iter().try_for_each(|each| each.check(CACHE, cache_tokens))?;
        Ok(reader)
    }

    /// That rules can tell the adapters from each other and from the model.
    fn check_names(&self) -> Result<(), LoadError> {
        if self.adapters.len() > MAX_ADAPTERS {
            return Err(LoadError::Adapters(format!(
                "{} of them, and at most {MAX_ADAPTERS} are held",
                self.adapters.len()
            )));
        }
        let mut names: Vec<&str> = self.adapters.iter().map(|model| model.name.as_str()).collect();
        names.push(&self.provenance.name);
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(LoadError::Adapters(format!("{:?} is the name of two; give each its own", pair[0]))),
            None => Ok(()),
        }
    }

    /// The same under another name, by which rules choose the model and drafts name it.
    ///
    /// # Errors
    /// An adapter has the name.
    pub fn called(mut self, name: &ModelName) -> Result<Self, LoadError> {
        self.provenance.name = name.to_string();
        for adapter in &mut self.adapters {
            adapter.base = Some(name.to_string());
        }
        self.check_names()?;
        Ok(self)
    }

    /// Adds the prompts of a folder to those that the model brings; each takes the place of one with its name.
    ///
    /// # Errors
    /// A prompt that cannot be used or asked, none at all, and any where the model is the demonstration.
    pub fn with_prompts(mut self, folder: &Path) -> Result<Self, LoadError> {
        let before = self.named.clone();
        if read_folder(folder, &self.profile, &mut self.named)? == 0 {
            return Err(NamedPromptError::None(folder.to_owned()).into());
        }
        if self.profile.demonstration && self.named != before {
            return Err(NamedPromptError::Demonstration.into());
        }
        for length in fit::named(&self.prompts, &self.named)? {
            length.check(POSITIONS, self.max_positions)?;
            length.check(CACHE, self.cache_tokens)?;
        }
        Ok(self)
    }

    /// What it offers to jobs that demand a model or a prompt.
    pub fn offer(&self) -> Offer {
        Offer {
            model: offered_name(&self.provenance.name),
            adapters: self.adapted().filter_map(|model| offered_name(&model.name)).collect(),
            prompts: self.named.keys().cloned().collect(),
        }
    }

    /// The kinds of job that the model reads.
    pub fn kinds(&self) -> Vec<JobKind> {
        let reads = |kind: &ImageKind| self.profile.kind(*kind).is_some();
        let mut kinds: Vec<_> = [ImageKind::Xray, ImageKind::Ct].into_iter().filter(reads).map(JobKind::Read).collect();
        kinds.extend(self.profile.questions.iter().map(|_| JobKind::Answer));
        kinds
    }

    /// What people can ask the model.
    pub fn question_kinds(&self) -> impl Iterator<Item = QuestionKind> {
        let answers = |kind: &QuestionKind| {
            self.profile.questions.as_ref().is_some_and(|questions| questions.template(*kind).is_some())
        };
        QuestionKind::ALL.into_iter().filter(answers)
    }

    /// What the model wants to be asked in plain words, and the adapter that answers, as the engine numbers them: the one of the
    /// profile, or the one that the job demands. None where the model itself answers.
    pub(crate) fn questions(&self, job: &JobSpec) -> Result<(&QuestionProfile, Option<usize>), JobError> {
        // What is asked says by itself which of the profile's texts it wants.
        let model = Demand { prompt: None, ..job.demand.clone() };
        if !self.offer().meets(&model) {
            return Err(JobError::NotOffered(model));
        }
        let profile = self.profile.questions.as_ref().ok_or(JobError::Kind(name_of(JobKind::Answer)))?;
        let own = profile.adapter.as_ref().and_then(|name| self.adapters.iter().position(|model| model.name == *name));
        Ok((profile, own.or_else(|| self.adapter(job))))
    }

    /// The name of an adapter, as the engine numbers them.
    pub(crate) fn adapter_name(&self, adapter: usize) -> String {
        self.adapters[adapter].name.clone()
    }

    /// Whether an adapter is there for questions alone: nothing is read by it.
    fn only_answers(&self, adapter: &ModelProvenance) -> bool {
        self.profile.questions.as_ref().and_then(|questions| questions.adapter.as_ref()) == Some(&adapter.name)
    }

    /// Which model this is.
    pub fn provenance(&self) -> &ModelProvenance {
        &self.provenance
    }

    /// What it is with each adapter that rules can choose.
    pub fn adapted(&self) -> impl Iterator<Item = &ModelProvenance> {
        self.adapters.iter().filter(|model| !self.only_answers(model))
    }

    /// What the model computes on.
    pub fn device(&self) -> &Arc<LoadedDevice> {
        &self.device
    }

    /// The engine, for what is not a job: its progress, and requests of another kind.
    pub fn engine(&self) -> &EngineHandle {
        &self.engine
    }

    /// What the model is asked in this job: what its profile says for the kind of image, or the prompt that is demanded.
    pub(crate) fn kind(&self, job: &JobSpec) -> Result<(ImageKind, &KindProfile), JobError> {
        let JobKind::Read(kind) = job.kind else { return Err(JobError::Kind(name_of(job.kind))) };
        if !self.offer().meets(&job.demand) {
            return Err(JobError::NotOffered(job.demand.clone()));
        }
        let found = match &job.demand.prompt {
            None => {
                let profile = if self.adapter(job).is_some() { &self.uncalibrated } else { &self.profile };
                profile.kind(kind).ok_or(JobError::Kind(name_of(job.kind)))?
            }
            Some(name) => {
                let prompt = self.named.get(name).and_then(|prompt| prompt.kind(kind));
                prompt.ok_or_else(|| JobError::PromptKind { prompt: name.clone(), kind: name_of(job.kind) })?
            }
        };
        Ok((kind, found))
    }

    /// The adapter that the job demands, as the engine numbers them; none where it is the model itself.
    pub(crate) fn adapter(&self, job: &JobSpec) -> Option<usize> {
        let wanted = job.demand.model.as_ref()?;
        self.adapters.iter().position(|model| model.name == wanted.as_str())
    }

    /// An outcome of a question, with no answer yet.
    pub(crate) fn answer_outcome(&self) -> JobOutcome {
        JobOutcome {
            findings: Vec::new(),
            frames_read: 0,
            unread: Vec::new(),
            truncated: false,
            limitations: Vec::new(),
            model: self.provenance.clone(),
            cost: JobCost::default(),
            answer: None,
        }
    }

    /// An outcome with nothing read yet, and what qualifies any reading by this model.
    pub(crate) fn blank_outcome(&self, job: &JobSpec, kind: &KindProfile) -> JobOutcome {
        let mut limitations = Vec::new();
        if !self.profile.covers(job.body_part.as_deref()) {
            let (made_for, found) = (self.profile.body_parts.join(", "), job.body_part.as_deref().unwrap_or_default());
            limitations.push(format!("The model was made for {made_for} images; these are said to be of {found}."));
        }
        if !kind.is_calibrated() {
            limitations.push("The model's confidences are not calibrated.".to_owned());
        }
        let mut model = self.adapter(job).map_or(&self.provenance, |adapter| &self.adapters[adapter]).clone();
        if let Some(prompt) = job.demand.prompt.as_ref().and_then(|name| self.named.get(name)) {
            model.prompt_version.clone_from(&prompt.version);
        }
        JobOutcome { limitations, model, ..self.answer_outcome() }
    }
}

/// The adapters that a worker was given, and the one that answers questions by the model's profile, from the model's folder
/// where none of them has its name. Where there is none, the model reads as before and answers no questions.
fn with_answering(
    given: &[NamedAdapter],
    profile: &mut ReadingProfile,
    folder: &Path,
) -> Result<Vec<NamedAdapter>, LoadError> {
    let mut all = given.to_vec();
    let wanted = profile.questions.as_ref().and_then(|questions| questions.adapter.clone());
    let Some(wanted) = wanted.filter(|wanted| !given.iter().any(|adapter| adapter.name.as_str() == wanted)) else {
        return Ok(all);
    };
    let own = folder.join(&wanted);
    // A name may hold what leads out of a folder.
    let is_within = Path::new(&wanted).components().eq([std::path::Component::Normal(wanted.as_ref())]);
    if is_within && own.is_dir() {
        let name = ModelName::parse(&wanted).map_err(|error| LoadError::Adapters(error.to_string()))?;
        all.push(NamedAdapter { name, folder: own });
    } else {
        tracing::warn!(
            adapter = wanted,
            "no questions are answered: the adapter that answers them is not in the model's folder"
        );
        profile.questions = None;
    }
    Ok(all)
}

/// What a model is with an adapter: another one, by name and digest.
fn with_adapter(model: &ModelProvenance, adapter: &NamedAdapter) -> Result<ModelProvenance, LoadError> {
    let mut both = Sha256::new();
    both.update(model.digest.to_string());
    both.update(digest_of(&adapter.folder)?.to_string());
    let digest = Digest::from_bytes(&both.finalize().into());
    Ok(ModelProvenance { name: adapter.name.to_string(), digest, base: Some(model.name.clone()), ..model.clone() })
}

/// A model's name as rules can choose it: what no name may hold is left out.
fn offered_name(name: &str) -> Option<ModelName> {
    let plain: String = name.chars().filter(|c| !c.is_control()).collect();
    let cut = plain.trim();
    ModelName::parse(cut[..cut.floor_char_boundary(ModelName::MAX_BYTES)].trim()).ok()
}

/// A checkpoint that is open, on its way to a device.
struct Checkpoint {
    config: ModelConfig,
    stored: Weights,
    weights: WeightType,
    adapters: Vec<Adapter>,
    /// Tokens of the longest prompt and answer that are sure to come.
    longest: usize,
}

impl Checkpoint {
    /// What is wanted of the cache.
    fn wish(&self, limits: &WorkerLimits) -> CacheWish {
        CacheWish { mib: limits.cache_mib, longest: self.longest }
    }

    /// The same, as far as this machine has memory for it and all else; and what it has for images, in bytes.
    fn host_wish(&self, cpu: &Cpu, limits: &WorkerLimits, beside: BesideModel) -> Result<(CacheWish, u64), LoadError> {
        let Some(memory) = HostMemory::read() else { return Ok((self.wish(limits), beside.image_bytes(None))) };
        let tallied =
            Model::from_weights(self.config.clone(), &self.stored, cpu.tally(), self.weights, &self.adapters)?;
        Ok(host_wish(&tallied, passes(limits), self.wish(limits), beside, memory)?)
    }

    /// Loads it onto the device, and starts an engine there.
    fn start<B: Backend>(
        self,
        device: B,
        tokenizer: Tokenizer,
        limits: &WorkerLimits,
        wish: CacheWish,
    ) -> Result<Started, LoadError> {
        let model = Arc::new(Model::from_weights(self.config, &self.stored, device, self.weights, &self.adapters)?);
        drop(self.stored);
        let passes = passes(limits);
        let cache_tokens = cache_tokens(&model, passes, wish)?;
        let device = LoadedDevice::of(&model, limits.device);
        let engine = Engine::new(OnDevice::new(model, cache_tokens)?, tokenizer, passes)?;
        Ok(Started { engine: handle::spawn(engine).map_err(LoadError::Thread)?, device, cache_tokens })
    }
}

/// A checkpoint on its device.
struct Started {
    engine: EngineHandle,
    device: LoadedDevice,
    cache_tokens: usize,
}

/// What holds prompts and answers, in words.
const POSITIONS: &str = "the model looks back over";
const CACHE: &str = "the cache of keys and values (--cache-mib) holds";

fn passes(limits: &WorkerLimits) -> PassLimits {
    PassLimits { requests: limits.batch, tokens: limits.pass_tokens }
}

/// Tokens of text that a prompt may have at least: a page. Longer ones are refused one by one, with their numbers.
const TEXT_TOKENS: usize = 512;

/// Tokens of the longest prompt and answer that the profile asks for.
fn longest_sequence(profile: &ReadingProfile, config: &ModelConfig) -> usize {
    let reading = profile.kinds.each().map(|kind| (kind.images_per_prompt, kind.max_new_tokens));
    let asking = profile.questions.iter().map(|questions| (questions.images_per_prompt, questions.max_new_tokens));
    let longest = reading.chain(asking).map(|(images, answer)| images * config.tokens_per_image + answer);
    longest.max().unwrap_or(0) + TEXT_TOKENS
}

fn folder_name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// SHA-256 over the names and digests of the folder's files that say what the model computes, in order of name.
fn digest_of(folder: &Path) -> Result<Digest, LoadError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadError::Unreadable { path, source }
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let counts = ["json", "jinja", "safetensors"].map(std::ffi::OsStr::new);
        if path.is_file() && path.extension().is_some_and(|extension| counts.contains(&extension)) {
            names.push(path);
        }
    }
    names.sort();
    let mut all = Sha256::new();
    for path in names {
        let mut hash = Sha256::new();
        let mut file = File::open(&path).map_err(unreadable(&path))?;
        io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(unreadable(&path))?;
        all.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        all.update([0]);
        all.update(hash.finalize());
    }
    Ok(Digest::from_bytes(&all.finalize().into()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
