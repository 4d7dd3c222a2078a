//! What is started on the device, in order; and passes that repeat, as graphs.
//!
//! A pass in which every sequence has one new token starts the same kernels each time, as long as the batch is of one size. Its
//! steps are noted down while the host goes through it, and started when it is over: one by one the first time, as a graph that
//! is captured the second time, and by launching that graph from then on. What is sent to the device goes through page-locked
//! memory at fixed places, so that a graph sends what is there when it is launched: token ids, positions, tables of blocks.
//!
//! Graphs take memory of the device's, some tens of KiB for each step, which nobody counts ahead: they live on what is left alone
//! beside the cache. Where little of that is left no more are made, and where there is none for one, all are given up and the pass
//! is started step by step: no request ends for want of a graph.
//!
//! **Invariant**: a graph is launched only in place of the very steps that it was captured from: kernels, geometry, arguments and
//! addresses are compared. A pass that differs in anything is started step by step.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{
    CudaEvent, CudaFunction, CudaGraph, CudaStream, DeviceRepr, DriverError, LaunchConfig, PinnedHostSlice,
    PushKernelArg, result,
};

use super::device::is_out_of_memory;
use super::launch::Geometry;
use crate::backend::{DeviceError, GraphCounts};

/// Bytes that a pass of this kind may send; one that sends more is started at once.
const SENT_BYTES: usize = 1 << 20;
/// Where what is sent begins.
const ALIGNMENT: usize = 16;
/// Passes that are remembered, a graph of each that was seen twice. Batches have some tens of sizes, and contexts a few lengths
/// that make a difference.
const REMEMBERED: usize = 64;
/// No graph is made where less is free than this part of all memory, or than so many bytes where that is less: half of what an
/// engine leaves alone at least.
const FREE_PART: usize = 40;
const FREE_BYTES: usize = 256 << 20;

/// The stream that computes.
pub(super) struct Queue {
    stream: Arc<CudaStream>,
    state: Mutex<State>,
    /// Beside the state, which is locked while the host waits for the device.
    captured: AtomicU64,
    launched: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Whether passes are noted down at all.
    is_on: bool,
    /// The steps of a pass that is being noted down.
    noted: Option<Vec<Step>>,
    sent: Option<Sent>,
    /// The latest first.
    remembered: VecDeque<Remembered>,
    /// Why the pass under way came to nothing.
    failure: Option<DeviceError>,
}

/// What noted steps send.
struct Sent {
    memory: PinnedHostSlice<u8>,
    used: usize,
    /// When it has been read.
    read: CudaEvent,
}

impl Sent {
    fn new(stream: &CudaStream) -> Result<Self, DriverError> {
        let context = stream.context();
        // SAFETY: what is sent is written first.
        let memory = unsafe { context.alloc_pinned::<u8>(SENT_BYTES) }?;
        Ok(Self { memory, used: 0, read: context.new_event(None)? })
    }
}

/// A pass that was seen.
struct Remembered {
    hash: u64,
    /// Since it was seen a second time.
    graph: Option<(Vec<Step>, Graph)>,
}

struct Graph(CudaGraph);

// SAFETY: it is used under the lock of the queue's state alone.
unsafe impl Send for Graph {}

/// The arguments of a kernel, as they lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C, align(16))]
pub(super) struct Arguments([u64; 16]);

// SAFETY: plain numbers. A kernel takes as many of them as it has arguments.
unsafe impl DeviceRepr for Arguments {}

impl Arguments {
    pub(super) fn of<A: DeviceRepr>(arguments: &A) -> Self {
        const { assert!(size_of::<A>() <= size_of::<Self>() && align_of::<A>() <= align_of::<Self>()) };
        let mut new = Self([0; 16]);
        // SAFETY: it fits, and the structures of arguments are numbers without gaps.
        unsafe { std::ptr::copy_nonoverlapping(arguments, new.0.as_mut_ptr().cast::<A>(), 1) };
        new
    }
}

/// A kernel that is loaded.
struct Kernel(CudaFunction);

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.0.cu_function() == other.0.cu_function()
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.0.cu_function() as usize).hash(hasher);
    }
}

/// Something that the device does.
#[derive(PartialEq, Eq, Hash)]
enum Step {
    Launch {
        kernel: Kernel,
        geometry: Geometry,
        arguments: Arguments,
    },
    /// Bytes of what was sent, from `at` on.
    Send {
        to: u64,
        at: usize,
        bytes: usize,
    },
    /// From one place on the device to another.
    Copy {
        to: u64,
        from: u64,
        bytes: usize,
    },
}

impl Queue {
    pub(super) fn new(stream: &Arc<CudaStream>) -> Arc<Self> {
        Arc::new(Self {
            stream: Arc::clone(stream),
            state: Mutex::default(),
            captured: AtomicU64::new(0),
            launched: AtomicU64::new(0),
        })
    }

    pub(super) fn graph_counts(&self) -> GraphCounts {
        let [captured, launched] = [&self.captured, &self.launched].map(|count| count.load(Ordering::Relaxed));
        GraphCounts { captured, launched }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on passes that repeat become graphs: their memory is at the same places each time.
    pub(super) fn turn_on(&self) -> Result<(), DriverError> {
        let mut state = self.state();
        if state.sent.is_none() {
            state.sent = Some(Sent::new(&self.stream)?);
        }
        state.is_on = true;
        Ok(())
    }

    /// The pass under way came to nothing: what is noted down of it is not started.
    pub(super) fn fail(&self, why: DeviceError) {
        let mut state = self.state();
        state.noted = None;
        state.failure.get_or_insert(why);
    }

    /// Whether the pass under way came to nothing, so that nothing more of it is to be started.
    pub(super) fn has_failed(&self) -> bool {
        self.state().failure.is_some()
    }

    /// Why it did, once: the next pass begins anew.
    pub(super) fn take_failure(&self) -> Option<DeviceError> {
        self.state().failure.take()
    }

    /// Whether a pass is being noted down.
    pub(super) fn is_noting(&self) -> bool {
        self.state().noted.is_some()
    }

    /// A pass begins. Where it `repeats`, it is noted down, and started by the next [`Queue::flush`].
    pub(super) fn begin(&self, repeats: bool) -> Result<(), DriverError> {
        let mut state = self.state();
        self.flush_noted(&mut state)?;
        let State { is_on: true, noted, sent: Some(sent), .. } = &mut *state else { return Ok(()) };
        if repeats {
            // The pass before may still read it.
            sent.read.synchronize()?;
            sent.used = 0;
            *noted = Some(Vec::with_capacity(512));
        }
        Ok(())
    }

    /// Starts what is noted down.
    pub(super) fn flush(&self) -> Result<(), DriverError> {
        self.flush_noted(&mut self.state())
    }

    pub(super) fn launch(
        &self,
        function: &CudaFunction,
        geometry: Geometry,
        arguments: Arguments,
    ) -> Result<(), DriverError> {
        self.start(Step::Launch { kernel: Kernel(function.clone()), geometry, arguments })
    }

    pub(super) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), DriverError> {
        self.start(Step::Copy { to, from, bytes })
    }

    fn start(&self, step: Step) -> Result<(), DriverError> {
        let mut state = self.state();
        match &mut state.noted {
            Some(noted) => {
                noted.push(step);
                Ok(())
            }
            None => self.play(&step, &[]),
        }
    }

    /// Notes down that bytes are sent. Says no where no pass is noted down, or none is any longer: it sends too much.
    pub(super) fn send(&self, to: u64, bytes: &[u8]) -> Result<bool, DriverError> {
        let mut state = self.state();
        let State { noted: Some(noted), sent: Some(sent), .. } = &mut *state else { return Ok(false) };
        let at = sent.used.next_multiple_of(ALIGNMENT);
        if at + bytes.len() > sent.memory.len() {
            return self.flush_noted(&mut state).map(|()| false);
        }
        sent.memory.as_mut_slice()?[at..at + bytes.len()].copy_from_slice(bytes);
        sent.used = at + bytes.len();
        noted.push(Step::Send { to, at, bytes: bytes.len() });
        Ok(true)
    }

    fn flush_noted(&self, state: &mut State) -> Result<(), DriverError> {
        let Some(steps) = state.noted.take() else { return Ok(()) };
        if steps.is_empty() {
            return Ok(());
        }
        self.stream.context().bind_to_thread()?;
        let mut hasher = DefaultHasher::new();
        steps.hash(&mut hasher);
        let hash = hasher.finish();
        let State { is_on, remembered, sent, .. } = &mut *state;
        let known = remembered.iter().position(|pass| pass.hash == hash);
        let known = known.and_then(|at| remembered.remove(at));
        let (is_known, mut graph) = (known.is_some(), known.and_then(|pass| pass.graph));
        let bytes = match sent {
            // Looked up now: it asks the driver, which would spoil a capture.
            Some(sent) => sent.memory.as_slice()?,
            None => &[],
        };
        let mut captured = None;
        let launched = match &graph {
            Some((of, graph)) if *of == steps => self.launch_graph(graph).map(|()| true),
            None if is_known && self.has_room_for_graph() => match self.capture(&steps, bytes) {
                Ok(new) => self.launch_graph(captured.insert(new)).map(|()| true),
                Err(error) if is_out_of_memory(error) => Err(error),
                Err(_) => {
                    // A driver that makes no graph is not asked again.
                    *is_on = false;
                    tracing::info!("the driver makes no graph: every pass is started kernel by kernel");
                    Ok(false)
                }
            },
            _ => Ok(false),
        };
        let is_launched = match launched {
            Err(error) if is_out_of_memory(error) => {
                // The device may still be at one of them.
                self.stream.synchronize()?;
                let given_up = remembered.drain(..).filter(|pass| pass.graph.is_some()).count();
                (graph, captured) = (None, None);
                tracing::info!(graphs = given_up + 1, "no memory for a graph: all are given up");
                false
            }
            launched => launched?,
        };
        if !is_launched {
            self.play_all(&steps, bytes)?;
        }
        if let Some(captured) = captured {
            graph = Some((steps, captured));
        }
        if let Some(sent) = sent {
            sent.read.record(&self.stream)?;
        }
        self.remember(state, Remembered { hash, graph })
    }

    /// Whether so much is free that a graph leaves enough for what else may need it.
    fn has_room_for_graph(&self) -> bool {
        let memory = self.stream.context().mem_get_info();
        memory.is_ok_and(|(free, total)| free >= FREE_BYTES.min(total / FREE_PART))
    }

    fn launch_graph(&self, graph: &Graph) -> Result<(), DriverError> {
        graph.0.launch()?;
        self.launched.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Puts a pass before all others, and forgets the one that was not seen for longest.
    fn remember(&self, state: &mut State, pass: Remembered) -> Result<(), DriverError> {
        if state.remembered.len() == REMEMBERED {
            if state.remembered.back().is_some_and(|last| last.graph.is_some()) {
                // The device may still be at it.
                self.stream.synchronize()?;
            }
            state.remembered.pop_back();
        }
        state.remembered.push_front(pass);
        Ok(())
    }

    /// A graph of these steps, with the memory that it takes of the device.
    fn capture(&self, steps: &[Step], sent: &[u8]) -> Result<Graph, DriverError> {
        self.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        let played = self.play_all(steps, sent);
        // The stream computes again only when this was called.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0));
        played?;
        let none = DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        let graph = Graph(graph?.ok_or(none)?);
        graph.0.upload()?;
        let graphs = self.captured.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::debug!(steps = steps.len(), graphs, "graph captured");
        Ok(graph)
    }

    fn play_all(&self, steps: &[Step], sent: &[u8]) -> Result<(), DriverError> {
        steps.iter().try_for_each(|step| self.play(step, sent))
    }

    fn play(&self, step: &Step, sent: &[u8]) -> Result<(), DriverError> {
        let stream = self.stream.cu_stream();
        self.stream.context().bind_to_thread()?;
        match step {
            Step::Launch { kernel, geometry, arguments } => {
                let config = LaunchConfig {
                    grid_dim: geometry.grid,
                    block_dim: (geometry.threads, 1, 1),
                    shared_mem_bytes: geometry.shared,
                };
                // SAFETY: `arguments` is the structure that the kernel takes, and its addresses are of arrays that are alive until
                // the stream has run it: they are freed in the stream's order.
                unsafe { self.stream.launch_builder(&kernel.0).arg(arguments).launch(config) }.map(drop)
            }
            Step::Send { to, at, bytes } => {
                // SAFETY: there is room for them, and the memory is written again only when it has been read.
                unsafe { result::memcpy_htod_async(*to, &sent[*at..at + bytes], stream) }
            }
            // SAFETY: both parts are inside of their arrays.
            Step::Copy { to, from, bytes } => unsafe { result::memcpy_dtod_async(*to, *from, *bytes, stream) },
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Graphs and what was sent are used until the device is done, and are freed on whatever thread this is. A device that is
        // lost does nothing any more.
        let _ = self.stream.context().bind_to_thread();
        if self.state().sent.is_some() {
            let _ = self.stream.synchronize();
        }
    }
}
