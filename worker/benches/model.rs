//! How fast the model is on this machine: `cargo bench -p prelim-worker --bench model [-- DIR [THREADS]]`. DIR is a
//! checkpoint, the demonstration model where none is given.
//!
//! The load of the machine comes first. The numbers to set beside `transformers` are those with f32 weights.
#![allow(clippy::print_stdout, reason = "a benchmark prints a table")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prelim_kernels::{Backend, Cpu};
use prelim_worker::model::{Batch, Chunk, KvCache, Model, PlacedImage, Want, WeightType};

/// At least this long and five times.
const LEAST: Duration = Duration::from_millis(1500);
const BLOCK_TOKENS: usize = 16;
/// Words around the image.
const TEXT_TOKENS: usize = 14;
const STEPS: usize = 40;

/// The best of several runs on many threads; on one thread the mean of its time on the processor, which other work that
/// takes turns with it does not lengthen.
fn best_s(model: &Model<Cpu>, mut run: impl FnMut() -> f64) -> f64 {
    run();
    let (began, on_processor) = (Instant::now(), on_processor_s());
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while began.elapsed() < LEAST || runs < 5 {
        best = best.min(run());
        runs += 1;
    }
    match (model.backend().threads(), on_processor, on_processor_s()) {
        (1, Some(before), Some(after)) => (after - before) / f64::from(runs),
        _ => best,
    }
}

/// How long this thread has run, where the system says so.
fn on_processor_s() -> Option<f64> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    times.split(' ').next()?.parse::<f64>().ok().map(|ns| ns / 1e9)
}

/// Sequences of one image and some words, each with blocks of its own.
struct Bench<'a> {
    model: &'a Model<Cpu>,
    kv: KvCache<Cpu>,
    images: Vec<PlacedImage<Cpu>>,
    prompts: Vec<Vec<u32>>,
    blocks: Vec<Vec<u32>>,
}

impl<'a> Bench<'a> {
    fn new(model: &'a Model<Cpu>, sequences: usize) -> Self {
        let config = model.config();
        let image = vec![config.image_token; config.tokens_per_image];
        let word = |i: usize| 20 + (i * 7 % (config.vocabulary - 40)) as u32;
        let words: Vec<u32> = (0..TEXT_TOKENS).map(word).filter(|id| *id != config.image_token).collect();
        let prompt: Vec<u32> = words[..4].iter().chain(&image).chain(&words[4..]).copied().collect();
        let each = (prompt.len() + STEPS).div_ceil(BLOCK_TOKENS);
        let features = model.encode_images(&pixels(model, sequences), sequences);
        Self {
            model,
            kv: model.new_kv_cache(each * sequences, BLOCK_TOKENS).expect("memory"),
            images: features.into_iter().map(|features| PlacedImage { at: 4, features }).collect(),
            prompts: vec![prompt; sequences],
            blocks: (0..sequences).map(|s| (s * each..(s + 1) * each).map(|block| block as u32).collect()).collect(),
        }
    }

    fn prefill_s(&mut self) -> f64 {
        let start = Instant::now();
        let chunks = self.prompts.iter().zip(&self.blocks).zip(&self.images).map(|((prompt, blocks), image)| Chunk {
            adapter: None,
            start: 0,
            tokens: prompt,
            images: vec![PlacedImage { at: image.at, features: image.features.clone() }],
            blocks,
            logits: Want::Last,
        });
        self.model.forward(&mut self.kv, &Batch { chunks: chunks.collect() });
        start.elapsed().as_secs_f64()
    }

    fn generate_s(&mut self) -> f64 {
        let start = Instant::now();
        let token = [self.prompts[0][0]];
        for step in 0..STEPS {
            let chunks = self.prompts.iter().zip(&self.blocks).map(|(prompt, blocks)| Chunk {
                adapter: None,
                start: prompt.len() + step,
                tokens: &token,
                images: Vec::new(),
                blocks,
                logits: Want::Last,
            });
            self.model.forward(&mut self.kv, &Batch { chunks: chunks.collect() });
        }
        start.elapsed().as_secs_f64()
    }
}

fn pixels(model: &Model<Cpu>, images: usize) -> Vec<f32> {
    let values = images * model.config().picture.values();
    (0..values).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/checkpoint");
    let folder = arguments.first().map_or(demo, PathBuf::from);
    let threads = arguments.get(1).and_then(|threads| threads.parse().ok());
    let threads = threads.unwrap_or(std::thread::available_parallelism().map_or(1, usize::from));
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        println!("load of the machine: {}", load.trim());
    }
    println!("{}", folder.display());
    for weights in [WeightType::F32, WeightType::Bf16] {
        let backend = Cpu::with_threads(threads).expect("threads");
        let start = Instant::now();
        let model = Model::load(&folder, backend, weights).unwrap_or_else(|error| panic!("{error}"));
        println!(
            "{} with {weights:?} weights, loaded in {:.3} s",
            model.backend().name(),
            start.elapsed().as_secs_f64()
        );
        println!("  batch   image encode ms   prefill ms   prefill tok/s   generation tok/s");
        for sequences in [1, 8] {
            let pixels = pixels(&model, sequences);
            let encode = best_s(&model, || {
                let start = Instant::now();
                model.encode_images(&pixels, sequences);
                start.elapsed().as_secs_f64()
            });
            let mut bench = Bench::new(&model, sequences);
            let prefill = best_s(&model, || bench.prefill_s());
            let generate = best_s(&model, || bench.generate_s());
            let read = (sequences * bench.prompts[0].len()) as f64;
            println!(
                "  {sequences:5}   {:15.2}   {:10.2}   {:13.0}   {:16.0}",
                encode * 1e3,
                prefill * 1e3,
                read / prefill,
                (sequences * STEPS) as f64 / generate,
            );
        }
    }
}
