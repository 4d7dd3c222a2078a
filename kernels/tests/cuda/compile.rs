//! What the binary carries is what nvcc makes of its sources, and becomes machine code for every architecture as a driver makes it:
//! a module for each kernel, from PTX for compute_80, within budgets of registers, and without spills.
//!
//! nvcc and its assembler are the pinned ones that `tests/install.sh` puts below `target/cuda`; no GPU is needed.
#![allow(clippy::print_stdout, reason = "registers are worth a look: run with --nocapture")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A100; RTX 30 and A10; RTX 40, L4 and L40; H100 and H200; B200; RTX 50 and RTX PRO.
const ARCHITECTURES: [&str; 6] = ["80", "86", "89", "90", "100", "120"];

/// What starts a kernel.
const ENTRY: &str = ".visible .entry ";

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

/// Each kernel's name and its module, as `kernels/src/cuda/image.rs` hands them to the driver: the kernel behind all that stands
/// outside of kernels.
fn modules() -> Vec<(String, String)> {
    let text = unpacked(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/kernels.ptx.gz"));
    let mut parts = text.split(ENTRY);
    let mut header = parts.next().expect("a version").to_owned();
    let mut kernels = Vec::new();
    for part in parts {
        let (kernel, shared) = part.split_once("\n}\n").expect("a kernel's end");
        let name = kernel.split('(').next().expect("a name").to_owned();
        kernels.push((name, format!("{ENTRY}{kernel}\n}}\n")));
        header.push_str(shared);
    }
    kernels.into_iter().map(|(name, kernel)| (name, format!("{header}{kernel}"))).collect()
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

/// What ptxas says about one kernel on one architecture. One that has not changed is not assembled again.
fn assembled(kernel: &str, module: &str, architecture: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda/kernels");
    fs::create_dir_all(&folder).expect("target/cuda/kernels");
    let file = |end: &str| folder.join(format!("{kernel}.sm_{architecture}.{end}"));
    let (log, kept) = (file("log"), file("ptx"));
    if fs::read_to_string(&kept).is_ok_and(|kept| kept == module) && file("cubin").exists() {
        return fs::read_to_string(&log).expect("a log");
    }
    let input = temporary("ptx");
    fs::write(&input, module).expect("a file");
    // -O3 is what drivers do.
    let output = tool("ptxas")
        .args(["-O3", "-v"])
        .arg(format!("-arch=sm_{architecture}"))
        .arg("-o")
        .arg(file("cubin"))
        .arg(&input)
        .output()
        .expect("ptxas runs");
    fs::remove_file(&input).expect("our own file");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.contains("warning"), "{kernel} for sm_{architecture}: {said}");
    fs::write(&log, &said).expect("a log");
    fs::write(&kept, module).expect("a copy");
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
fn every_kernel_that_the_binary_carries_becomes_machine_code_within_its_budgets() {
    let modules = modules();
    assert!(modules.len() > 40, "{} kernels", modules.len());
    let jobs: Vec<(&(String, String), &str)> =
        modules.iter().flat_map(|module| ARCHITECTURES.map(|architecture| (module, architecture))).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let problems = std::sync::Mutex::new(Vec::new());
    let work = || {
        while let Some(((name, module), architecture)) =
            jobs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        {
            let usages = usages(&assembled(name, module, architecture));
            assert!(usages.len() == 1 && usages.contains_key(name), "{name} for sm_{architecture}: {usages:?}");
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

/// A name below `target` that no other test of this process uses.
pub(crate) fn temporary(extension: &str) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kernels-{}-{number}.{extension}", std::process::id()))
}
