//! Models, engines, prompts and goldens for the tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use prelim_kernels::Cpu;
use prelim_proto::ids::Uid;
use prelim_proto::image::ImageKind;
use prelim_proto::job::ImageRole;
use prelim_worker::engine::device::OnDevice;
use prelim_worker::engine::request::{Picture, Prompt, PromptImage, Request, Sampling};
use prelim_worker::engine::tokenizer::Tokenizer;
use prelim_worker::engine::{Engine, GrammarSpec, PassLimits};
use prelim_worker::findings::SeenImage;
use prelim_worker::model::{Model, WeightType};
use prelim_worker::profile::{KindProfile, ReadingProfile};
use safetensors::SafeTensors;

pub(crate) struct Bench {
    folder: PathBuf,
    pub(crate) model: Arc<Model<Cpu>>,
    tokenizer: Tokenizer,
}

impl Bench {
    /// The random weights that parity is tested with.
    pub(crate) fn tiny() -> Self {
        Self::tiny_on(Cpu::new().expect("threads"), WeightType::F32)
    }

    /// LLaVA with DINOv2 and Llama, with random weights.
    pub(crate) fn tiny_llava() -> Self {
        Self::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/parity/tiny-llava-dinov2")))
    }

    /// [`Bench::tiny`] on a processor of the caller's.
    pub(crate) fn tiny_on(cpu: Cpu, weights: WeightType) -> Self {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/parity/tiny-gemma3"));
        Self::load_on(folder, cpu, weights)
    }

    pub(crate) fn load(folder: &Path) -> Self {
        Self::load_on(folder, Cpu::new().expect("threads"), WeightType::F32)
    }

    fn load_on(folder: &Path, cpu: Cpu, weights: WeightType) -> Self {
        let model = Arc::new(Model::load(folder, cpu, weights).expect("the checkpoint loads"));
        let config = model.config();
        let tokenizer = Tokenizer::open(folder, config.vocabulary, &config.end_tokens).expect("so does its tokenizer");
        Self { folder: folder.to_owned(), model, tokenizer }
    }

    pub(crate) fn engine(&self, limits: PassLimits, cache_tokens: usize) -> (Engine<OnDevice<Cpu>>, Tokenizer) {
        let device = OnDevice::new(Arc::clone(&self.model), cache_tokens).expect("room for a small cache");
        let engine = Engine::new(device, self.tokenizer.clone(), limits).expect("model and tokenizer agree");
        (engine, self.tokenizer.clone())
    }

    /// A turn of text after pictures of noise.
    pub(crate) fn prompt(&self, text: &str, seeds: &[u64]) -> Prompt {
        let config = self.model.config();
        let values = config.picture.values();
        let mut prompt = Prompt { tokens: vec![2], images: Vec::new() };
        for seed in seeds {
            prompt.tokens.extend(config.image_marks.map(|marks| marks.start));
            let start = prompt.tokens.len();
            prompt.tokens.extend(vec![config.image_token; config.tokens_per_image]);
            prompt.tokens.extend(config.image_marks.map(|marks| marks.end));
            let picture = Arc::new(Picture { digest: [*seed as u8; 32], pixels: noise(*seed, values).into() });
            prompt.images.push(PromptImage { span: start..start + config.tokens_per_image, picture });
        }
        prompt.tokens.extend(self.tokenizer.encode(text).expect("plain text"));
        prompt
    }

    /// The prompt of a parity golden, and its greedy tokens.
    pub(crate) fn golden(&self, case: &str) -> (Prompt, Vec<u32>) {
        let bytes =
            std::fs::read(self.folder.join(format!("golden_{case}.safetensors"))).expect("the golden is committed");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let ids = |name: &str| -> Vec<u32> {
            let data = file.tensor(name).expect("the golden has it").data().to_vec();
            data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32).collect()
        };
        let config = self.model.config();
        let values = config.picture.values();
        let pixels: Vec<f32> = match file.tensor("pixel_values") {
            Ok(view) => view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            Err(_) => Vec::new(),
        };
        let tokens = ids("input_ids");
        let soft = |at: usize| tokens[at] == config.image_token;
        let starts = (0..tokens.len()).filter(|at| soft(*at) && !soft(at - 1));
        let image = |(number, (start, pixels)): (u8, (usize, &[f32]))| PromptImage {
            span: start..start + config.tokens_per_image,
            picture: Arc::new(Picture { digest: [number; 32], pixels: pixels.into() }),
        };
        let images = (0..).zip(starts.zip(pixels.chunks_exact(values))).map(image).collect();
        (Prompt { tokens, images }, ids("greedy_tokens"))
    }
}

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A profile with everything in it.
pub(crate) fn tiny_kind() -> KindProfile {
    let text = r#"{ "schema": 1, "prompt_version": "test", "kinds": { "xray": { "prompt": "?", "images_per_prompt": 4,
        "max_new_tokens": 9, "findings": ["pleural_effusion", "pneumothorax", "nodule", "mass", "cardiomegaly"],
        "sides": ["left", "right", "bilateral"], "zones": ["upper", "mid", "lower"], "severities": ["small", "large"],
        "box": { "scale": 1000, "step": 10, "maximum": 990 }, "max_findings": 6, "impression_chars": 60 } } }"#;
    let profile = ReadingProfile::parse(text, Path::new("test")).expect("a valid profile");
    profile.kind(ImageKind::Xray).expect("it reads X-rays").clone()
}

pub(crate) fn seen_image() -> SeenImage {
    SeenImage {
        instance: Uid::parse("1.2.3").unwrap(),
        series: Uid::parse("1.2").unwrap(),
        frame: 1,
        role: ImageRole::Read,
        size: (100, 100),
        pixel_spacing_mm: None,
    }
}

/// What `transformers` made of a phantom.
pub(crate) struct GoldenAnswer {
    pub(crate) request: Request,
    pub(crate) text: String,
    pub(crate) tokens: Vec<u32>,
    pub(crate) probabilities: Vec<f32>,
}

/// The folder of the demonstration spike, where it is at hand.
pub(crate) fn spike() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/spikes/demo");
    folder.join("golden/golden.json").is_file().then_some(folder)
}

/// The spike's goldens as requests under the grammar that the demonstration model has now.
pub(crate) fn golden_prompts(folder: &Path, bench: &Bench) -> Vec<GoldenAnswer> {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/checkpoint");
    let profile = ReadingProfile::load(&demo).expect("the demonstration model has a profile");
    let text = std::fs::read_to_string(folder.join("golden/golden.json")).expect("it is there");
    let goldens: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    goldens.iter().map(|golden| golden_answer(golden, folder, bench, &profile)).collect()
}

fn golden_answer(golden: &serde_json::Value, folder: &Path, bench: &Bench, profile: &ReadingProfile) -> GoldenAnswer {
    let name = golden["image"].as_str().expect("a file name");
    let kind = if name.contains("ct") { ImageKind::Ct } else { ImageKind::Xray };
    // The spike wrote impressions; the demonstration model may have ceased to.
    let kind = KindProfile { impression_chars: 240, ..profile.kind(kind).expect("it reads both").clone() };
    let numbers = |key: &str| -> Vec<f64> {
        golden[key].as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
    };
    let ids = |key: &str| numbers(key).into_iter().map(|id| id as u32).collect::<Vec<_>>();
    let prompt = ids("prompt_ids");
    let start = prompt.iter().position(|token| *token == bench.model.config().image_token).expect("an image");
    let picture = Arc::new(Picture { digest: [0; 32], pixels: read_png(&folder.join("golden").join(name)).into() });
    let span = start..start + bench.model.config().tokens_per_image;
    let request = Request {
        prompt: Prompt { tokens: prompt, images: vec![PromptImage { span, picture }] },
        adapter: None,
        grammar: Some(GrammarSpec::JsonSchema(kind.answer_schema(1))),
        max_new_tokens: kind.max_new_tokens,
        sampling: Sampling::default(),
        alternatives: 0,
    };
    // The grammar ends the answer before the stop token.
    let mut tokens = ids("tokens");
    tokens.pop();
    let probabilities = numbers("logprobs").into_iter().map(|log| log.exp() as f32).collect();
    GoldenAnswer { request, text: golden["text"].as_str().expect("text").to_owned(), tokens, probabilities }
}

/// `[3, rows, columns]`, from -1 to 1.
fn read_png(path: &Path) -> Vec<f32> {
    let mut reader = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).expect("it is there")))
        .read_info()
        .expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a small picture")];
    reader.next_frame(&mut bytes).expect("a whole PNG");
    (0..3)
        .flat_map(|channel| bytes.iter().skip(channel).step_by(3).map(|byte| f32::from(*byte) / 127.5 - 1.0))
        .collect()
}
