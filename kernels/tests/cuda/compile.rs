//! nvcc builds every kernel for every architecture, within budgets of registers, and spills nothing.
//!
//! nvcc is the pinned one that `tests/install.sh` puts below `target/cuda`; no GPU is needed.
#![allow(clippy::print_stdout, reason = "registers are worth a look: run with --nocapture")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A100; RTX 30 and A10; RTX 40, L4 and L40; H100 and H200; B200.
const ARCHITECTURES: [&str; 5] = ["80", "86", "89", "90a", "100a"];

/// Registers of a thread, by the beginning of a kernel's name; the first that fits. 65,536 of a multiprocessor decide how many
/// blocks run side by side.
const REGISTERS: [(&str, u32); 11] = [
    // 128 threads: three blocks.
    ("attend_wide_F16_32", 168),
    ("attend_wide_Bf16_32", 168),
    // Two blocks of 128 threads, one of 256: more than 255 a thread cannot have.
    ("attend_wide", 255),
    ("attend_small", 255),
    // 128 threads: two blocks, which is what shared memory leaves room for at D = 256 on an A100.
    ("attend_narrow", 248),
    // 128 threads: twelve blocks.
    ("attend_merge", 40),
    // 256 threads: two blocks.
    ("linear_large", 128),
    ("gated_large", 128),
    ("linear_", 128),
    // 256 threads: two blocks.
    ("choose_", 128),
    ("", 128),
];

/// Bytes of a thread's own memory, without spills: rope_angles reduces large angles in an array.
const STACK: [(&str, u32); 2] = [("rope_angles", 40), ("", 0)];

/// What ptxas says of a kernel.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    registers: u32,
    stack: u32,
    spills: u32,
    shared: u32,
}

fn sources() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
    let files = fs::read_dir(folder).expect("kernels/cuda").map(|entry| entry.expect("an entry").path());
    let mut sources: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "cu")).collect();
    sources.sort();
    sources
}

/// Where the compiler's programs are.
fn toolkit() -> PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda/lib");
    let pythons = fs::read_dir(&packages).unwrap_or_else(|_| panic!("no nvcc: run tests/install.sh"));
    let found = pythons.map(|python| python.expect("an entry").path().join("site-packages/nvidia/cu13"));
    found.filter(|path| path.join("bin/nvcc").exists()).last().expect("no nvcc: run tests/install.sh")
}

pub(crate) fn tool(name: &str) -> Command {
    let toolkit = toolkit();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(toolkit.join("bin").join(name));
    command.env("CUDA_HOME", &toolkit).env("PATH", format!("{}/bin:{path}", toolkit.display()));
    command
}

/// What ptxas says about one source on one architecture. A source that has not changed is not compiled again.
fn compiled(source: &Path, architecture: &str) -> String {
    let name = source.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda/kernels");
    fs::create_dir_all(&folder).expect("target/cuda/kernels");
    let log = folder.join(format!("{name}.sm_{architecture}.log"));
    let header = source.with_file_name("primitives.cuh");
    let text: Vec<u8> = [source, &header].iter().flat_map(|path| fs::read(path).expect("a source")).collect();
    let kept = log.with_extension("source");
    if fs::read(&kept).is_ok_and(|kept| kept == text) {
        return fs::read_to_string(&log).expect("a log");
    }
    let include = source.parent().expect("a folder");
    let output = tool("nvcc")
        .args(["-O3", "-std=c++17", "-cubin", "-Xptxas", "-v", "-Werror", "all-warnings"])
        .arg(format!("-arch=sm_{architecture}"))
        .arg("-I")
        .arg(include)
        .arg("-o")
        .arg(folder.join(format!("{name}.sm_{architecture}.cubin")))
        .arg(source)
        .output()
        .expect("nvcc runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name} for sm_{architecture}: {said}");
    fs::write(&log, &said).expect("a log");
    fs::write(&kept, text).expect("a copy");
    said
}

/// The number before `unit`, or 0.
fn number(line: &str, unit: &str) -> u32 {
    let before = line.split(unit).next().filter(|before| before.len() < line.len());
    before.and_then(|text| text.split_whitespace().last()).map_or(0, |word| word.parse().expect("a number"))
}

fn usages(said: &str) -> BTreeMap<String, Usage> {
    let mut all: BTreeMap<String, Usage> = BTreeMap::new();
    let mut current = String::new();
    for line in said.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            current = rest.split('\'').next().unwrap_or_default().to_owned();
        }
        let usage = all.entry(current.clone()).or_default();
        usage.stack += number(line, " bytes stack frame");
        usage.spills += number(line, " bytes spill stores") + number(line, " bytes spill loads");
        usage.registers += number(line, " registers");
        usage.shared += number(line, " bytes smem");
    }
    all.remove("");
    all
}

fn budget<const N: usize>(table: &[(&str, u32); N], kernel: &str) -> u32 {
    table.iter().find(|(prefix, _)| kernel.starts_with(prefix)).expect("the last fits all").1
}

#[test]
fn every_kernel_builds_for_every_architecture_within_its_budgets() {
    let jobs: Vec<(PathBuf, &str)> = sources()
        .into_iter()
        .flat_map(|source| ARCHITECTURES.map(|architecture| (source.clone(), architecture)))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let problems = std::sync::Mutex::new(Vec::new());
    let work = || {
        while let Some((source, architecture)) = jobs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let usages = usages(&compiled(source, architecture));
            assert!(!usages.is_empty(), "{} has no kernel", source.display());
            for (kernel, usage) in usages {
                println!("sm_{architecture} {kernel}: {usage:?}");
                let within = usage.registers > 0
                    && usage.registers <= budget(&REGISTERS, &kernel)
                    && usage.stack <= budget(&STACK, &kernel)
                    && usage.spills == 0
                    && usage.shared == 0;
                if !within {
                    problems.lock().expect("a list").push(format!("sm_{architecture} {kernel}: {usage:?}"));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let problems = problems.into_inner().expect("a list");
    assert!(problems.is_empty(), "over budget: {problems:#?}");
}

fn unpacked(file: &Path) -> String {
    let mut text = String::new();
    let file = fs::File::open(file).expect("a file");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("text");
    text
}

#[test]
fn the_ptx_in_the_binary_is_what_its_sources_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
    let built = temporary("gz");
    let toolkit = toolkit();
    let path = std::env::var("PATH").unwrap_or_default();
    let status = Command::new(folder.join("build.sh"))
        .arg(&built)
        .env("CUDA_HOME", &toolkit)
        .env("PATH", format!("{}/bin:{path}", toolkit.display()))
        .status();
    assert!(status.expect("bash").success());
    let same = unpacked(&built) == unpacked(&folder.join("kernels.ptx.gz"));
    assert!(same, "kernels.ptx.gz is older than the kernels: run kernels/cuda/build.sh with nvcc on the PATH");
}

#[test]
fn the_ptx_in_the_binary_assembles_for_every_architecture() {
    let text = temporary("ptx");
    fs::write(&text, unpacked(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/kernels.ptx.gz"))).expect("a file");
    for architecture in ARCHITECTURES {
        let output = tool("ptxas")
            .arg(format!("-arch=sm_{architecture}"))
            .arg("-O0")
            .arg("-o")
            .arg(text.with_extension("cubin"))
            .arg(&text)
            .output()
            .expect("ptxas runs");
        assert!(output.status.success(), "sm_{architecture}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A name below `target` that no other test of this process uses.
pub(crate) fn temporary(extension: &str) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kernels-{}-{number}.{extension}", std::process::id()))
}
