//! Arrays on the device, and where their memory comes from: the driver, or what was taken for passes ahead.
//!
//! All work goes through one stream in order, so memory can be given out again as soon as an array is dropped: what writes it
//! next runs after what read it last.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaSlice, DevicePtr};

use super::device::{Device, is_out_of_memory, refused};
use super::queue::Queue;
use super::ranges::Ranges;
use crate::backend::DeviceError;

/// Numbers on the device. Their memory goes back to where it came from when this is dropped.
pub(super) struct Array<T> {
    address: u64,
    len: usize,
    _home: Home,
    kind: PhantomData<fn() -> T>,
}

/// Where the memory of an array is from.
enum Home {
    /// An allocation of its own.
    Driver(#[allow(dead_code, reason = "freed when dropped")] Slab),
    /// A part of what was taken for all weights.
    Weights(#[allow(dead_code, reason = "freed with the last of them")] Arc<Slab>),
    /// A part of what was taken for passes.
    Passes(#[allow(dead_code, reason = "given back when dropped")] Loan),
    /// Nowhere: a rehearsal.
    Rehearsal(#[allow(dead_code, reason = "given back when dropped")] Rehearsed),
    /// Nowhere: a pass that found no memory.
    Failed,
}

/// An allocation of the driver's.
struct Slab {
    memory: CudaSlice<u8>,
    queue: Arc<Queue>,
}

impl Drop for Slab {
    fn drop(&mut self) {
        // The driver frees on whatever thread this is. One that is lost frees nothing any more.
        let _ = self.memory.context().bind_to_thread();
        // It is given back in the stream's order, behind what is noted down.
        if let Err(error) = self.queue.flush() {
            self.queue.fail(refused("start of a pass")(error));
        }
    }
}

/// Memory that was taken for passes ahead.
pub(super) struct PassMemory {
    address: u64,
    _slab: Slab,
    free: Mutex<Ranges>,
}

/// Memory that was taken for all weights ahead. They go one behind the other, and are freed together.
pub(super) struct WeightMemory {
    address: u64,
    slab: Arc<Slab>,
    free: Ranges,
}

struct Loan {
    from: Arc<PassMemory>,
    at: u64,
    bytes: u64,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.from.free.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.at, self.bytes);
    }
}

thread_local! {
    /// Of a rehearsal on this thread: what is given out of endless memory.
    static REHEARSAL: RefCell<Option<Ranges>> = const { RefCell::new(None) };
}

struct Rehearsed {
    at: u64,
    bytes: u64,
}

impl Drop for Rehearsed {
    fn drop(&mut self) {
        REHEARSAL.with_borrow_mut(|ranges| {
            if let Some(ranges) = ranges {
                ranges.give_back(self.at, self.bytes);
            }
        });
    }
}

/// Whether this thread rehearses: nothing is started and nothing is copied then.
pub(super) fn is_rehearsal() -> bool {
    REHEARSAL.with_borrow(Option::is_some)
}

/// Where the last of the memory ends that `passes` would take at once.
pub(super) fn rehearse(passes: impl FnOnce()) -> u64 {
    /// Ends the rehearsal, also when a pass panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            REHEARSAL.set(None);
        }
    }
    let _end = End;
    REHEARSAL.set(Some(Ranges::new(u64::MAX / 2)));
    passes();
    REHEARSAL.with_borrow(|ranges| ranges.as_ref().map_or(0, Ranges::highest))
}

impl<T> Array<T> {
    /// Where it lies on the device.
    pub(super) fn address(&self) -> u64 {
        self.address
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where so many values from `first` on lie.
    pub(super) fn part(&self, first: usize, len: usize) -> u64 {
        assert!(first + len <= self.len, "{first} and {len} values of an array of {}", self.len);
        self.address + (first * size_of::<T>()) as u64
    }
}

impl Device {
    /// Memory for `len` values of a weight: of what was taken for all, and of its own where that is used up.
    pub(super) fn lasting<T>(&self, what: &'static str, len: usize) -> Result<Array<T>, DeviceError> {
        if is_rehearsal() {
            return self.room(what, len);
        }
        let mut weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        let place = weights.as_mut().and_then(|memory| {
            let (at, _) = memory.free.take((len * size_of::<T>()) as u64)?;
            Some((memory.address + at, Arc::clone(&memory.slab)))
        });
        match place {
            Some((address, slab)) => Ok(Array { address, len, _home: Home::Weights(slab), kind: PhantomData }),
            None => self.own(what, len),
        }
    }

    /// Memory of its own for `len` values, whatever is in there now.
    pub(super) fn own<T>(&self, what: &'static str, len: usize) -> Result<Array<T>, DeviceError> {
        let slab = self.slab(what, len * size_of::<T>())?;
        Ok(Array { address: self.start(&slab), len, _home: Home::Driver(slab), kind: PhantomData })
    }

    /// Room for `len` values of a pass, whatever is in there now: whoever asks writes before reading. A kernel that does not is
    /// what the tests' NaN show.
    pub(super) fn room<T>(&self, what: &'static str, len: usize) -> Result<Array<T>, DeviceError> {
        let bytes = (len * size_of::<T>()) as u64;
        let rehearsed = REHEARSAL.with_borrow_mut(|ranges| {
            let (at, bytes) = ranges.as_mut()?.take(bytes)?;
            Some(Rehearsed { at, bytes })
        });
        if let Some(rehearsed) = rehearsed {
            return Ok(Array { address: 0, len, _home: Home::Rehearsal(rehearsed), kind: PhantomData });
        }
        let from = self.passes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let loan = from.and_then(|from| {
            let mut free = from.free.lock().unwrap_or_else(PoisonError::into_inner);
            // Passes that repeat have one end for themselves: what stays for longer would move their places.
            let place = if self.queue.is_noting() { free.take(bytes) } else { free.take_last(bytes) };
            drop(free);
            let (at, bytes) = place?;
            Some(Loan { from, at, bytes })
        });
        match loan {
            Some(loan) => {
                let address = loan.from.address + loan.at;
                Ok(Array { address, len, _home: Home::Passes(loan), kind: PhantomData })
            }
            None => self.own(what, len),
        }
    }

    /// Room in the middle of a pass. Where there is none, the pass has failed, and what is asked for lies nowhere.
    pub(super) fn scratch<T>(&self, what: &'static str, len: usize) -> Array<T> {
        if !self.queue.has_failed() {
            match self.room(what, len) {
                Ok(array) => return array,
                Err(error) => self.queue.fail(error),
            }
        }
        Array { address: 0, len, _home: Home::Failed, kind: PhantomData }
    }

    /// Whether nothing is started and nothing is copied: in a rehearsal, and in a pass that found no memory.
    pub(super) fn is_idle(&self) -> bool {
        is_rehearsal() || self.queue.has_failed()
    }

    /// Takes memory for all weights that [`Device::lasting`] gives room to from now on.
    pub(super) fn reserve_for_weights(&self, bytes: u64) -> Result<(), DeviceError> {
        let size = usize::try_from(bytes).map_err(|_| self.out_of_memory("weights", bytes))?;
        let slab = Arc::new(self.slab("weights", size)?);
        let memory = WeightMemory { address: self.start(&slab), slab, free: Ranges::new(bytes) };
        *self.weights.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory);
        Ok(())
    }

    /// Takes memory for passes, from which [`Device::room`] gives out from now on.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), DeviceError> {
        let size = usize::try_from(bytes).map_err(|_| self.out_of_memory("passes", bytes))?;
        let slab = self.slab("passes", size)?;
        let memory = PassMemory { address: self.start(&slab), _slab: slab, free: Mutex::new(Ranges::new(bytes)) };
        *self.passes.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(memory));
        self.queue.turn_on().map_err(refused("page-locked memory"))
    }

    fn slab(&self, what: &'static str, bytes: usize) -> Result<Slab, DeviceError> {
        // A driver gives no memory of no size.
        // SAFETY: see `room`.
        let memory =
            unsafe { self.stream.alloc::<u8>(bytes.max(1)) }.map_err(|error| match is_out_of_memory(error) {
                true => self.out_of_memory(what, bytes as u64),
                false => refused("memory")(error),
            })?;
        Ok(Slab { memory, queue: Arc::clone(&self.queue) })
    }

    fn start(&self, slab: &Slab) -> u64 {
        slab.memory.device_ptr(&self.stream).0
    }

    fn out_of_memory(&self, what: &'static str, wanted_bytes: u64) -> DeviceError {
        let free_bytes = self.memory().ok().map(|memory| memory.free_bytes);
        DeviceError::OutOfMemory { what, wanted_bytes, free_bytes }
    }
}
