//! The stand-in for the driver, built from the kernels and loaded before anything asks for the real one.
//!
//! With `PRELIM_SIMULATOR=none` there is none: tests of operations and of the model then run on the GPU of the machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libloading::Library;

/// Which build this process is to load, where it is not the sound one: a folder below `target/simulator`.
pub(crate) const VARIABLE: &str = "PRELIM_SIMULATOR";

/// Whether this process runs under sanitizers.
pub(crate) fn is_sanitized() -> bool {
    std::env::var(VARIABLE).is_ok_and(|build| build == "sanitized")
}

/// The crate whose test this is lies in it.
fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where builds lie.
pub(crate) fn folder(build: &str) -> PathBuf {
    repository().join("target/simulator").join(build)
}

/// Builds the stand-in, unless it is there, with these flags for the compiler.
pub(crate) fn build(name: &str, flags: &[&str]) {
    let script = repository().join("kernels/cuda/simulator/build.sh");
    let output = Command::new(script).arg(folder(name)).args(flags).output().expect("bash and g++");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Flags that have the compiler look for reads and writes out of bounds, and for what C++ leaves undefined.
pub(crate) const SANITIZERS: [&str; 3] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g1"];

/// This program again, with these tests on another build of the stand-in.
pub(crate) fn run(build: &str, tests: &[&str], sanitized: bool) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(tests).arg("--exact").env(VARIABLE, build);
    if sanitized {
        let runtime = Command::new("g++").arg("-print-file-name=libasan.so").output().expect("g++").stdout;
        command.env("LD_PRELOAD", String::from_utf8(runtime).expect("a path").trim());
        // Leaks are the process's own business; fibers have stacks that the sanitizer does not know.
        command.env("ASAN_OPTIONS", "detect_leaks=0:detect_stack_use_after_return=0");
    }
    let output = command.output().expect("this program runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let count = tests.len();
    assert!(said.contains(&format!("running {count} test")), "{build}: {tests:?} did not run:\n{said}");
    assert!(!said.contains("the stand-in loads"), "{build}: {said}");
    (output.status.success(), said)
}

/// The loaded stand-in, unless there is none. It is one device for the whole process, so tests take turns.
pub(crate) struct StandIn {
    library: Option<Library>,
}

/// What the simulator has counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) launches: u64,
    pub(crate) mma: u64,
    pub(crate) matrix_loads: u64,
    pub(crate) bank_conflicts: u64,
    pub(crate) copies: u64,
    pub(crate) barriers: u64,
    pub(crate) word_loads: u64,
}

/// What the host asked of the stand-in: graphs captured and launched, waits for work that was not done, and page-locked memory that
/// was given back while copies of it were to come, which ends the process unless a wait was forgotten on purpose.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostCounts {
    pub(crate) captured: u64,
    pub(crate) launched: u64,
    pub(crate) waits: u64,
    pub(crate) freed_too_early: u64,
}

impl StandIn {
    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.library.is_some()
    }

    /// Waits for other tests of this process.
    pub(crate) fn turn() -> (MutexGuard<'static, ()>, &'static Self) {
        static TURN: Mutex<()> = Mutex::new(());
        static LOADED: OnceLock<StandIn> = OnceLock::new();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let stand_in = LOADED.get_or_init(|| {
            let build_name = std::env::var(VARIABLE).unwrap_or_else(|_| "sound".to_owned());
            if build_name == "none" {
                return Self { library: None };
            }
            if build_name == "sound" {
                build("sound", &[]);
            }
            // SAFETY: our own library; its initialisers register kernels.
            let library = unsafe { Library::new(folder(&build_name).join("libcuda.so")) };
            Self { library: Some(library.expect("the stand-in loads")) }
        });
        (turn, stand_in)
    }

    /// A property of the device, or the seed of the order that warps run in.
    pub(crate) fn set(&self, name: &std::ffi::CStr, value: u64) {
        let Some(library) = &self.library else { return };
        // SAFETY: driver.cpp declares it so.
        unsafe {
            let set = library.get::<unsafe extern "C" fn(*const std::ffi::c_char, u64)>(b"simulator_set");
            set.expect("simulator_set")(name.as_ptr(), value);
        }
    }

    pub(crate) fn host_counts(&self) -> HostCounts {
        // SAFETY: driver.cpp declares it so, and writes four numbers.
        let [captured, launched, waits, freed_too_early] = unsafe { self.numbers(b"simulator_host_counts") };
        HostCounts { captured, launched, waits, freed_too_early }
    }

    pub(crate) fn counts(&self) -> Counts {
        // SAFETY: driver.cpp declares it so, and writes seven numbers.
        let [launches, mma, matrix_loads, bank_conflicts, copies, barriers, word_loads] =
            unsafe { self.numbers(b"simulator_counts") };
        Counts { launches, mma, matrix_loads, bank_conflicts, copies, barriers, word_loads }
    }

    /// What a function of the library writes; nought where there is none.
    ///
    /// # Safety
    /// The library has a function of this name that takes an address and writes `N` numbers there.
    unsafe fn numbers<const N: usize>(&self, name: &[u8]) -> [u64; N] {
        let mut all = [0; N];
        if let Some(library) = &self.library {
            // SAFETY: the caller's contract.
            unsafe {
                let write = library.get::<unsafe extern "C" fn(*mut u64)>(name);
                write.unwrap_or_else(|error| panic!("{}: {error}", name.escape_ascii()))(all.as_mut_ptr());
            }
        }
        all
    }
}
