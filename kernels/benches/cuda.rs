//! How fast the kernels are on a GPU of this machine: `cargo bench -p prelim-kernels --bench cuda [-- ORDINAL]`, on MedGemma 4B's
//! shapes, in the figures that `roofline.py` models. `kernels/benches/gpu.sh` runs it behind the tests of agreement and keeps what both
//! say.
//!
//! With `--small` the shapes are small enough for the kernels' simulator, which shows that all of this runs and says nothing of speed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints a table")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use prelim_kernels::{
    Activation, AddRmsNorm, Attend, AttendPatches, Backend, CacheShape, Choose, Cuda, Dtype, GatedLinear, Linear, Pick,
    Precision, Span, Storage, Then, WeightView,
};

/// Each is timed this long at least, three times, of which the best counts.
const LEAST: Duration = Duration::from_millis(200);

/// Weights are taken in turn from so many bytes of them, more than caches hold.
const BEYOND_CACHES: usize = 256 << 20;

/// Tokens in a block of the cache.
const BLOCK_TOKENS: usize = 16;

struct Bench {
    cuda: Cuda,
    /// What lengths are divided by.
    divisor: usize,
}

impl Bench {
    fn size(&self, whole: usize) -> usize {
        (whole / self.divisor).next_multiple_of(if self.divisor == 1 { 1 } else { 32 })
    }

    /// Seconds of what `start` starts, whose calls are numbered.
    fn seconds(&self, mut start: impl FnMut(usize)) -> f64 {
        let wait = || drop(self.cuda.memory());
        start(0);
        wait();
        let mut best = f64::INFINITY;
        for _ in 0..if self.divisor == 1 { 3 } else { 1 } {
            let mut calls = 1;
            loop {
                let began = Instant::now();
                (0..calls).for_each(&mut start);
                wait();
                let took = began.elapsed();
                if took >= LEAST || self.divisor > 1 {
                    best = best.min(took.as_secs_f64() / calls as f64);
                    break;
                }
                calls *= 2;
            }
        }
        best
    }

    fn values(&self, len: usize) -> <Cuda as Backend>::Buffer {
        let values: Vec<f32> = (0..len).map(|at| (at % 97) as f32 * 0.01 - 0.5).collect();
        self.cuda.upload(&values).expect("memory of the device")
    }

    fn product(&self, what: &str, (rows, inputs, outputs): (usize, usize, usize), storage: Storage, gated: bool) {
        let (inputs, outputs) = (self.size(inputs), self.size(outputs));
        // Whole numbers have a scale of 16 bits for each 32.
        let (bits, kind) = match storage {
            Storage::Int8 => (8.5, "int8"),
            Storage::Int4 => (4.5, "int4"),
            Storage::F32 | Storage::Bf16 => (16.0, "16 bits"),
        };
        let weights = inputs * outputs * if gated { 2 } else { 1 };
        let bytes = weights as f64 * bits / 8.0;
        let copies = if self.divisor == 1 { (BEYOND_CACHES as f64 / bytes).ceil() as usize } else { 1 };
        let numbers: Vec<u8> = (0..inputs * outputs).flat_map(|i| (0x3c00 + (i % 97) as u16).to_le_bytes()).collect();
        let view = WeightView::new(&numbers, Dtype::Bf16, outputs, inputs);
        let (x, mut out) = (self.values(rows * inputs), self.cuda.buffer(rows * outputs));
        let room = "memory of the device";
        let seconds = if gated {
            let all: Vec<_> = (0..copies).map(|_| self.cuda.gated(view, view, storage).expect(room)).collect();
            let activation = Activation::GeluTanh;
            self.seconds(|call| {
                let weight = &all[call % copies];
                self.cuda.gated_linear(GatedLinear { x: &x, rows, weight, activation, out: &mut out });
            })
        } else {
            let all: Vec<_> = (0..copies).map(|_| self.cuda.matrix(&[view], storage).expect(room)).collect();
            self.seconds(|call| {
                let weight = &all[call % copies];
                self.cuda.linear(Linear { x: &x, rows, weight, bias: None, then: Then::Store, out: &mut out });
            })
        };
        let tflop = 2.0 * rows as f64 * weights as f64 / 1e12;
        let (tflops, gbs) = (tflop / seconds, bytes / 1e9 / seconds);
        println!("  {what:8} {rows:4} x {inputs} x {outputs} {kind}: {tflops:.1} TFLOP/s, {gbs:.0} GB/s of weights");
    }

    fn patches(&self, images: usize) {
        let (patches, heads, head_dim) = (self.size(4096), if self.divisor == 1 { 16 } else { 2 }, 72);
        let qkv = self.values(images * patches * 3 * heads * head_dim);
        let (scale, mut out) = (0.1, self.cuda.buffer(images * patches * heads * head_dim));
        let seconds = self.seconds(|_| {
            self.cuda.attend_patches(AttendPatches {
                qkv: &qkv,
                images,
                patches,
                heads,
                head_dim,
                scale,
                out: &mut out,
            });
        });
        let tflop = 4.0 * (images * patches * patches * heads * head_dim) as f64 / 1e12;
        println!("  patches  {images} x {patches}, {heads} heads of {head_dim}: {:.1} TFLOP/s", tflop / seconds);
    }

    /// Attention of `tokens` new tokens of each sequence, at the end of so many positions.
    fn attention(&self, what: &str, sequences: usize, positions: usize, tokens: usize) {
        let (heads, kv_heads, head_dim) = (8, 4, 256);
        let positions = if self.divisor == 1 { positions } else { (positions / self.divisor).max(32) };
        let tokens = tokens.min(positions);
        let of_each = positions.div_ceil(BLOCK_TOKENS);
        let shape =
            CacheShape { layers: 1, blocks: sequences * of_each, block_tokens: BLOCK_TOKENS, kv_heads, head_dim };
        let cache = self.cuda.cache(shape).expect("memory of the device");
        let tables: Vec<Vec<u32>> =
            (0..sequences).map(|sequence| (0..of_each).map(|at| (sequence * of_each + at) as u32).collect()).collect();
        let span = |blocks| Span { start: positions - tokens, tokens, blocks, images: Vec::new() };
        let spans: Vec<Span<'_>> = tables.iter().map(|blocks| span(blocks)).collect();
        let plan = self.cuda.plan(&spans, BLOCK_TOKENS);
        let rows = sequences * tokens;
        let (q, mut out) = (self.values(rows * heads * head_dim), self.cuda.buffer(rows * heads * head_dim));
        let seconds = self.seconds(|_| {
            let (plan, cache, out) = (&plan, &cache, &mut out);
            self.cuda.attend(Attend { q: &q, heads, scale: 0.06, window: None, plan, cache, layer: 0, out });
        });
        // The positions that tokens see, and the bytes of keys and values.
        let seen = sequences * (tokens * (2 * positions - tokens + 1) / 2);
        let (tflop, gb) = (
            4.0 * (seen * heads * head_dim) as f64 / 1e12,
            4.0 * (sequences * positions * kv_heads * head_dim) as f64 / 1e9,
        );
        let (tflops, gbs) = (tflop / seconds, gb / seconds);
        println!(
            "  {what:8} {sequences} x {tokens} of {positions}: {tflops:.1} TFLOP/s, {gbs:.0} GB/s of keys and values"
        );
    }

    fn norm(&self, rows: usize) {
        let width = 2560;
        let (branch, weight) = (self.values(rows * width), self.values(width));
        let (mut residual, mut out) = (self.values(rows * width), self.cuda.buffer(rows * width));
        let seconds = self.seconds(|_| {
            let (post, next) = (&weight, Some((&weight, &mut out)));
            let (branch, residual) = (&branch, &mut residual);
            self.cuda.add_rms_norm(AddRmsNorm { branch, post, residual, next, rows, width, eps: 1e-6 });
        });
        // Two read, two written, and one in 16 bits.
        println!("  norm     {rows} x {width}: {:.0} GB/s", (rows * width * 18) as f64 / 1e9 / seconds);
    }

    fn choose(&self, rows: usize) {
        let vocabulary = self.size(262_208);
        let scores = self.values(rows * vocabulary);
        let picks = vec![Pick { likely: 5, ..Pick::default() }; rows];
        let seconds = self.seconds(|_| {
            let rows = &picks[..];
            drop(self.cuda.choose(Choose { scores: &scores, vocabulary, excluded: None, rows }).expect("room"));
        });
        println!("  choose   {rows} of {vocabulary}: {:.0} µs", seconds * 1e6);
    }

    fn all(&self) {
        let whole = self.divisor == 1;
        for storage in [Storage::Bf16, Storage::Int8, Storage::Int4] {
            for rows in if whole { &[1, 16, 32, 128, 356][..] } else { &[1, 17][..] } {
                self.product("qkv", (*rows, 2560, 4096), storage, false);
                self.product("gated", (*rows, 2560, 10_240), storage, true);
                self.product("down", (*rows, 10_240, 2560), storage, false);
            }
        }
        self.product("tower", (self.size(4096), 1152, 4304), Storage::Bf16, false);
        self.patches(1);
        self.attention("prompt", 1, 356, 356);
        for (sequences, positions) in [(1, 416), (32, 416), (128, 416), (1, 8192)] {
            self.attention("decode", if whole { sequences } else { sequences.min(3) }, positions, 1);
        }
        self.norm(self.size(4096));
        for rows in if whole { &[1, 32, 128][..] } else { &[2][..] } {
            self.choose(*rows);
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let divisor = if arguments.iter().any(|argument| argument == "--small") { 32 } else { 1 };
    let named: Option<usize> = arguments.iter().find_map(|argument| argument.parse().ok());
    for precision in [Precision::F16, Precision::Bf16] {
        let cuda = match Cuda::open(named.unwrap_or(0), precision) {
            Ok(cuda) => cuda,
            Err(error) => {
                eprintln!("{error}");
                // All benches may run on a machine without a GPU.
                return if named.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            }
        };
        println!("{}{}", cuda.name(), if divisor > 1 { ", small shapes: no measure of speed" } else { "" });
        Bench { cuda, divisor }.all();
    }
    ExitCode::SUCCESS
}
