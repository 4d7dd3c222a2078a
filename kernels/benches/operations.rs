//! How fast the CPU backend's operations are: `cargo bench -p prelim-kernels [-- WORD]`, on the instruction sets and
//! arithmetic whose names have the word, such as `amx` or `Bf16`. The load of the machine comes first.
#![allow(clippy::print_stdout, reason = "a benchmark prints a table")]

use std::time::{Duration, Instant};

use prelim_kernels::cpu::InstructionSet;
use prelim_kernels::{Arithmetic, AttendPatches, Backend, Cpu, Dtype, Linear, Storage, Then, WeightView};

/// At least this long and three times.
const LEAST: Duration = Duration::from_millis(500);

/// The best of several runs on many threads; on one thread the mean of its time on the processor, which other work that
/// takes turns with it does not lengthen.
fn seconds(cpu: &Cpu, mut run: impl FnMut()) -> f64 {
    run();
    let (began, on_processor) = (Instant::now(), on_processor_s());
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while began.elapsed() < LEAST || runs < 3 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    match (cpu.threads(), on_processor, on_processor_s()) {
        (1, Some(before), Some(after)) => (after - before) / f64::from(runs),
        _ => best,
    }
}

/// How long this thread has run, where the system says so.
fn on_processor_s() -> Option<f64> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    times.split(' ').next()?.parse::<f64>().ok().map(|ns| ns / 1e9)
}

/// Seconds of a product `[rows, inputs] · [outputs, inputs]ᵀ`.
fn linear_s(cpu: &Cpu, (rows, inputs, outputs): (usize, usize, usize), storage: Storage) -> f64 {
    let bytes: Vec<u8> = (0..inputs * outputs).flat_map(|i| ((i % 97) as f32 * 0.01).to_le_bytes()).collect();
    let weight = cpu.matrix(&[WeightView::new(&bytes, Dtype::F32, outputs, inputs)], storage).expect("memory");
    let x = cpu.upload(&vec![0.5; rows * inputs]).expect("memory");
    let mut out = cpu.buffer(rows * outputs);
    seconds(cpu, || {
        cpu.linear(Linear { x: &x, rows, weight: &weight, bias: None, then: Then::Store, out: &mut out });
    })
}

/// Seconds in which a matrix of bf16 is made ready.
fn ready_s(cpu: &Cpu, (inputs, outputs): (usize, usize), storage: Storage) -> f64 {
    let bytes: Vec<u8> = (0..inputs * outputs).flat_map(|i| (0x3c00 + (i % 97) as u16).to_le_bytes()).collect();
    let view = WeightView::new(&bytes, Dtype::Bf16, outputs, inputs);
    seconds(cpu, || drop(cpu.matrix(&[view], storage).expect("memory")))
}

fn patches_s(cpu: &Cpu, (images, patches, heads, head_dim): (usize, usize, usize, usize)) -> f64 {
    let qkv = cpu.upload(&vec![0.1; images * patches * 3 * heads * head_dim]).expect("memory");
    let mut out = cpu.buffer(images * patches * heads * head_dim);
    let scale = 0.1;
    seconds(cpu, || {
        cpu.attend_patches(AttendPatches { qkv: &qkv, images, patches, heads, head_dim, scale, out: &mut out });
    })
}

fn main() {
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        println!("load of the machine: {}", load.trim());
    }
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for set in InstructionSet::available().into_iter().filter(|set| *set != InstructionSet::Portable) {
        for threads in [1, threads] {
            for arithmetic in [Arithmetic::Exact, Arithmetic::Bf16] {
                let cpu = Cpu::with_instructions(threads, set).expect("an available set").expect("threads");
                let cpu = cpu.with_arithmetic(arithmetic);
                let name = format!("{} {arithmetic:?}", cpu.name());
                if word.as_ref().is_some_and(|word| !name.contains(word.as_str())) {
                    continue;
                }
                println!("{name}");
                for (name, shape) in [
                    ("gemm", (1024, 1024, 4096)),
                    ("up", (1024, 768, 3072)),
                    ("down", (1024, 3072, 768)),
                    ("tower", (144, 192, 768)),
                    ("rows 8", (8, 640, 2048)),
                ] {
                    for storage in [Storage::F32, Storage::Bf16, Storage::Int8, Storage::Int4] {
                        let gflop = 2.0 * (shape.0 * shape.1 * shape.2) as f64 / 1e9;
                        println!(
                            "  {name:8} {shape:?} {storage:?}: {:.0} GFLOP/s",
                            gflop / linear_s(&cpu, shape, storage)
                        );
                    }
                }
                for (storage, bits) in [(Storage::F32, 32), (Storage::Bf16, 16), (Storage::Int8, 8), (Storage::Int4, 4)]
                {
                    for shape in [(1, 2560, 10_240), (1, 640, 131_072)] {
                        let gigabytes = (shape.1 * shape.2 * bits / 8) as f64 / 1e9;
                        let seconds = linear_s(&cpu, shape, storage);
                        println!("  gemv     {shape:?} {storage:?}: {:.1} GB/s", gigabytes / seconds);
                    }
                }
                // Made by all cores, whatever products have: told once, by the time that passes.
                for storage in [Storage::Bf16, Storage::Int8, Storage::Int4].into_iter().filter(|_| threads > 1) {
                    let shape = (2560, 10_240);
                    let numbers = (shape.0 * shape.1) as f64 / 1e9;
                    println!("  ready    {shape:?} {storage:?}: {:.2} G/s", numbers / ready_s(&cpu, shape, storage));
                }
                for shape in [(1, 1024, 4, 72), (8, 144, 3, 64)] {
                    let gflop = 4.0 * (shape.0 * shape.1 * shape.1 * shape.2 * shape.3) as f64 / 1e9;
                    println!("  patches  {shape:?}: {:.0} GFLOP/s", gflop / patches_s(&cpu, shape));
                }
            }
        }
    }
}
