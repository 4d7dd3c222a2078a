//! Opening a device, and what can be wrong with one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DriverError};

use super::array::{PassMemory, WeightMemory};
use super::queue::Queue;
use super::staging::{Inbox, Loading, Staging};
use crate::backend::{DeviceError, DeviceMemory};

/// A kernel that is soon loaded.
const SMALL_KERNEL: &str = "average_pool";
/// The oldest driver whose functions are all there: that of CUDA 12.0.
const DRIVER: (i32, &str) = (12_000, "12.0");
/// Copies from global to shared memory by themselves, and products of bf16, came with Ampere.
const CAPABILITY: ((i32, i32), &str) = ((8, 0), "8.0");

/// A GPU, and the one stream that all computing on it goes through, in order.
pub(super) struct Device {
    pub(super) context: Arc<CudaContext>,
    pub(super) stream: Arc<CudaStream>,
    pub(super) queue: Arc<Queue>,
    /// Kernels that have been used.
    pub(super) functions: Mutex<HashMap<String, CudaFunction>>,
    pub(super) multiprocessors: usize,
    /// Bytes of shared memory that a block may have.
    pub(super) shared_max: usize,
    /// What was taken for weights ahead, and for passes.
    pub(super) weights: Mutex<Option<WeightMemory>>,
    pub(super) passes: Mutex<Option<Arc<PassMemory>>>,
    /// The ways to the device, of weights and of what passes send, and the way back.
    pub(super) loading: Mutex<Option<Loading>>,
    pub(super) outbox: Mutex<Option<Staging>>,
    pub(super) inbox: Inbox,
    name: String,
}

/// How many devices a driver that will do finds.
pub(super) fn count() -> Result<usize, DeviceError> {
    // The library panics where there is no driver, so that is asked first.
    // SAFETY: looks for a library and runs its initialisers, as any use of the driver does.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::NoDriver);
    }
    let mut version = 0;
    // SAFETY: a valid place for the result.
    let answer = unsafe { sys::cuDriverGetVersion(&mut version) };
    answer.result().map_err(refused("version"))?;
    if version < DRIVER.0 {
        let found = format!("{}.{}", version / 1000, version % 1000 / 10);
        return Err(DeviceError::OldDriver { found, needed: DRIVER.1 });
    }
    match CudaContext::device_count() {
        Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
        Err(error) if is(error, CUresult::CUDA_ERROR_NO_DEVICE) => Ok(0),
        Err(error) => Err(refused("devices")(error)),
    }
}

impl Device {
    pub(super) fn open(ordinal: usize) -> Result<Self, DeviceError> {
        let found = count()?;
        if ordinal >= found {
            return Err(DeviceError::NoDevice { ordinal, found });
        }
        let context = CudaContext::new(ordinal).map_err(refused("context"))?;
        let name = context.name().map_err(refused("name"))?;
        let (major, minor) = context.compute_capability().map_err(refused("compute capability"))?;
        if (major, minor) < CAPABILITY.0 {
            return Err(DeviceError::Architecture { name, found: format!("{major}.{minor}"), needed: CAPABILITY.1 });
        }
        let attribute = |attribute| context.attribute(attribute).map(|value| usize::try_from(value).unwrap_or(0));
        let multiprocessors = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
        let shared_max = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
        // SAFETY: events would keep streams apart. One stream computes, and the one that weights come on and it wait for each
        // other where weights are sent.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(refused("stream"))?;
        let device = Self {
            queue: Queue::new(&stream),
            stream,
            functions: Mutex::new(HashMap::new()),
            multiprocessors: multiprocessors.map_err(refused("multiprocessors"))?,
            shared_max: shared_max.map_err(refused("shared memory"))?,
            weights: Mutex::new(None),
            passes: Mutex::new(None),
            loading: Mutex::new(None),
            outbox: Mutex::new(None),
            inbox: Inbox::default(),
            name: format!("{name}, sm_{major}{minor}"),
            context,
        };
        // A driver without its compiler, or with an old one, refuses all kernels.
        device.function(SMALL_KERNEL, 0).map_err(refused("its kernels, which its compiler builds"))?;
        Ok(device)
    }

    /// What was started runs, whether a pass was noted down or not.
    pub(super) fn flush(&self) {
        self.started("a pass", self.queue.flush());
    }

    /// Where a driver has no memory to start something with, the pass has failed.
    ///
    /// # Panics
    /// When the device is lost: nothing on it can be trusted afterwards.
    pub(super) fn started(&self, what: &str, started: Result<(), DriverError>) {
        match started {
            Ok(()) => {}
            Err(error) if is_out_of_memory(error) => {
                let free_bytes = self.memory().map_or(0, |memory| memory.free_bytes);
                let (what, error) = (what.to_owned(), words(error));
                self.queue.fail(DeviceError::NoRoomToStart { what, error, free_bytes });
            }
            Err(error) => panic!("the device is lost at {what}: {}", words(error)),
        }
    }

    /// A pass begins, which `repeats` where its sequences have one new token each.
    pub(super) fn begin_pass(&self, repeats: bool) {
        if !self.is_idle() {
            self.started("a pass", self.queue.begin(repeats));
        }
    }

    pub(super) fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// What it is called, and its architecture.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits: what was given back is free once the device has come so far.
    pub(super) fn settled_memory(&self) -> Result<DeviceMemory, DeviceError> {
        let done = self.queue.flush().and_then(|()| self.stream.synchronize());
        done.map_err(refused("memory"))?;
        self.memory()
    }

    pub(super) fn memory(&self) -> Result<DeviceMemory, DeviceError> {
        let (free, total) = self.context.mem_get_info().map_err(refused("memory"))?;
        Ok(DeviceMemory { free_bytes: free as u64, total_bytes: total as u64 })
    }
}

/// An error of the driver, with what was asked of it.
pub(super) fn refused(what: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| DeviceError::Driver { what, error: words(error) }
}

/// The number of an error. A driver newer than the list of errors here has others, which are none of its values: nothing but their
/// number may be looked at.
fn number(error: DriverError) -> u32 {
    const { assert!(size_of::<CUresult>() == size_of::<u32>()) };
    // SAFETY: 32 bits, of which any are a number.
    unsafe { std::ptr::from_ref(&error.0).cast::<u32>().read() }
}

fn is(error: DriverError, known: CUresult) -> bool {
    number(error) == known as u32
}

pub(super) fn is_out_of_memory(error: DriverError) -> bool {
    is(error, CUresult::CUDA_ERROR_OUT_OF_MEMORY)
}

/// The name of an error, or its number where the driver knows no name, and what the driver says of it.
fn words(error: DriverError) -> String {
    let name = match error.error_name() {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("error {}", number(error)),
    };
    match error.error_string() {
        Ok(said) => format!("{name}, {}", said.to_string_lossy()),
        Err(_) => name,
    }
}
