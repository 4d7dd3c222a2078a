//! The way to the device and back through page-locked memory, which the device copies by itself while the host goes on.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaEvent, CudaStream, DeviceRepr, DriverError, PinnedHostSlice, result};

use super::array::{Array, is_rehearsal};
use super::device::{Device, refused};
use crate::backend::DeviceError;

/// Two pieces of page-locked memory in turn: the host fills one while the other is copied.
pub(super) struct Staging {
    pieces: [Piece; 2],
    current: usize,
    /// Bytes of the current piece that are taken.
    used: usize,
    stream: Arc<CudaStream>,
}

struct Piece {
    memory: PinnedHostSlice<u8>,
    /// When all that was last in it is on the device.
    copied: CudaEvent,
}

/// Where what is sent begins in a piece, as any number may.
const ALIGNMENT: usize = 16;

impl Staging {
    /// Pieces of so many bytes, copied on `stream`.
    pub(super) fn new(stream: &Arc<CudaStream>, bytes: usize) -> Result<Self, DeviceError> {
        let piece = || {
            let context = stream.context();
            // SAFETY: it is written before it is copied.
            let memory = unsafe { context.alloc_pinned::<u8>(bytes) }.map_err(refused("page-locked memory"))?;
            Ok(Piece { memory, copied: context.new_event(None).map_err(refused("event"))? })
        };
        Ok(Self { pieces: [piece()?, piece()?], current: 0, used: 0, stream: Arc::clone(stream) })
    }

    /// Bytes that go in one piece.
    fn capacity(&self) -> usize {
        self.pieces[0].memory.len()
    }

    /// Has `fill` write so many bytes, no more than a piece has, and starts their copy to the device.
    fn send(&mut self, to: u64, bytes: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), DriverError> {
        let next = self.used.next_multiple_of(ALIGNMENT);
        let at = if next + bytes <= self.capacity() { next } else { self.turn()? };
        self.used = at + bytes;
        let part = &mut self.pieces[self.current].memory.as_mut_slice()?[at..at + bytes];
        fill(part);
        // SAFETY: whoever calls has room for them, and this part is written again only when the copy is done.
        unsafe { result::memcpy_htod_async(to, part, self.stream.cu_stream()) }
    }

    /// Goes on to the other piece, once what was in it is copied: where it begins.
    fn turn(&mut self) -> Result<usize, DriverError> {
        self.pieces[self.current].copied.record(&self.stream)?;
        self.current = 1 - self.current;
        self.pieces[self.current].copied.synchronize()?;
        Ok(0)
    }

    /// Sends bytes, in as many parts as they need.
    fn send_all(&mut self, to: u64, bytes: &[u8]) -> Result<(), DriverError> {
        for (part, to) in bytes.chunks(self.capacity()).zip((to..).step_by(self.capacity())) {
            self.send(to, part.len(), |out| out.copy_from_slice(part))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Copies read the memory until they are done. A device that is lost copies nothing any more.
        let _ = self.stream.synchronize();
    }
}

/// Where the weights go through.
pub(super) struct Loading {
    staging: Staging,
    /// Beside the one that computes.
    stream: Arc<CudaStream>,
}

/// Bytes of a piece for weights, and for what passes send.
const LOADING_BYTES: usize = 8 << 20;
const PASS_BYTES: usize = 2 << 20;

impl Loading {
    fn new(device: &Device) -> Result<Self, DeviceError> {
        let stream = device.context.new_stream().map_err(refused("stream"))?;
        Ok(Self { staging: Staging::new(&stream, LOADING_BYTES)?, stream })
    }
}

impl Device {
    /// Copies values to the device, for as long as the model is there.
    pub(super) fn keep<T: DeviceRepr>(&self, values: &[T]) -> Result<Array<T>, DeviceError> {
        let array = self.lasting("weights", values.len())?;
        self.load(|staging| staging.send_all(array.part(0, values.len()), bytes_of(values)))?;
        Ok(array)
    }

    /// Rows of so many numbers, each made by `row`, for as long as the model is there. Some are made while others are copied.
    pub(super) fn keep_rows(
        &self,
        rows: usize,
        width: usize,
        row: impl Fn(usize, &mut [u16]),
    ) -> Result<Array<u16>, DeviceError> {
        let array = self.lasting("weights", rows * width)?;
        let row_bytes = width * size_of::<u16>();
        let at_once = (LOADING_BYTES / row_bytes.max(1)).min(rows);
        if at_once == 0 {
            // No row, or one that is longer than a piece.
            let mut values = vec![0; rows * width];
            values.chunks_exact_mut(width.max(1)).enumerate().for_each(|(index, out)| row(index, out));
            self.load(|staging| staging.send_all(array.part(0, values.len()), bytes_of(&values)))?;
            return Ok(array);
        }
        self.load(|staging| {
            (0..rows).step_by(at_once).try_for_each(|first| {
                let count = at_once.min(rows - first);
                staging.send(array.part(first * width, count * width), count * row_bytes, |bytes| {
                    // SAFETY: any bits are numbers; a part begins where numbers may.
                    let (_, numbers, _) = unsafe { bytes.align_to_mut::<u16>() };
                    numbers.chunks_exact_mut(width).zip(first..).for_each(|(out, index)| row(index, out));
                })
            })
        })?;
        Ok(array)
    }

    /// Sends on the stream of weights, after what has been given back and before what is computed next.
    fn load(&self, send: impl FnOnce(&mut Staging) -> Result<(), DriverError>) -> Result<(), DeviceError> {
        if is_rehearsal() {
            return Ok(());
        }
        self.bind()?;
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let Loading { staging, stream } = match &mut *loading {
            Some(loading) => loading,
            none => none.insert(Loading::new(self)?),
        };
        let sent = stream.join(&self.stream).and_then(|()| send(staging));
        // Also where a copy was refused: those before it still write to memory that is given back now.
        let joined = self.stream.join(stream);
        sent.and(joined).map_err(refused("copy to the device"))
    }

    /// Gives up what loading used.
    pub(super) fn end_loading(&self) {
        *self.loading.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts the copy of a pass's values to the device.
    pub(super) fn write<T: DeviceRepr>(&self, to: &Array<T>, values: &[T]) -> Result<(), DeviceError> {
        if values.is_empty() || self.is_idle() {
            return Ok(());
        }
        let bytes = bytes_of(values);
        if self.queue.send(to.part(0, values.len()), bytes).map_err(refused("copy to the device"))? {
            return Ok(());
        }
        self.bind()?;
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = self.way_there(&mut outbox)?.send_all(to.part(0, values.len()), bytes);
        sent.map_err(refused("copy to the device"))
    }

    /// Takes the page-locked memory that passes send and receive through, so that a host that has none to give says so before the
    /// first of them.
    pub(super) fn prepare_ways(&self) -> Result<(), DeviceError> {
        self.way_there(&mut self.outbox.lock().unwrap_or_else(PoisonError::into_inner))?;
        let mut inbox = self.inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.way_back(&mut inbox).map(drop).map_err(refused("page-locked memory"))
    }

    fn way_there<'a>(&self, outbox: &'a mut Option<Staging>) -> Result<&'a mut Staging, DeviceError> {
        match outbox {
            Some(outbox) => Ok(outbox),
            none => Ok(none.insert(Staging::new(&self.stream, PASS_BYTES)?)),
        }
    }

    fn way_back<'a>(
        &self,
        inbox: &'a mut Option<PinnedHostSlice<u8>>,
    ) -> Result<&'a mut PinnedHostSlice<u8>, DriverError> {
        match inbox {
            Some(memory) => Ok(memory),
            // SAFETY: copies write it before it is read.
            none => Ok(none.insert(unsafe { self.context.alloc_pinned_with_flags::<u8>(INBOX_BYTES, 0) }?)),
        }
    }
}

/// Page-locked memory that results come back in.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Option<PinnedHostSlice<u8>>>);

/// More is read into memory as it is: large results are no matter of speed.
const INBOX_BYTES: usize = 4 << 20;

impl Device {
    /// Waits, then copies the first values of two arrays back, so many of each.
    pub(super) fn receive_both<A, B>(
        &self,
        (first, first_len): (&Array<A>, usize),
        (second, second_len): (&Array<B>, usize),
    ) -> (Vec<A>, Vec<B>)
    where
        A: DeviceRepr + Clone + Default,
        B: DeviceRepr + Clone + Default,
    {
        let (mut firsts, mut seconds) = (vec![A::default(); first_len], vec![B::default(); second_len]);
        if !self.is_idle() {
            let parts = [
                (first.part(0, first_len), bytes_of_mut(&mut firsts)),
                (second.part(0, second_len), bytes_of_mut(&mut seconds)),
            ];
            self.started("results", self.context.bind_to_thread().and_then(|()| self.collect(parts)));
        }
        (firsts, seconds)
    }

    /// Waits, then copies the first `len` values of an array back.
    pub(super) fn receive<T: DeviceRepr + Clone + Default>(&self, array: &Array<T>, len: usize) -> Vec<T> {
        self.receive_both((array, len), (array, 0)).0
    }

    /// Copies from these places on the device, and waits once for all of them.
    fn collect(&self, parts: [(u64, &mut [u8]); 2]) -> Result<(), DriverError> {
        self.queue.flush()?;
        let stream = self.stream.cu_stream();
        let total = parts[0].1.len().next_multiple_of(ALIGNMENT) + parts[1].1.len();
        if total > INBOX_BYTES {
            for (from, out) in parts {
                if !out.is_empty() {
                    // SAFETY: there are so many, and they are waited for before anybody looks.
                    unsafe { result::memcpy_dtoh_async(out, from, stream) }?;
                }
            }
            return self.stream.synchronize();
        }
        let mut inbox = self.inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = self.way_back(&mut inbox)?.as_mut_slice()?;
        let (one, two) = memory.split_at_mut(parts[0].1.len().next_multiple_of(ALIGNMENT));
        let copies = [one, two].into_iter().zip(parts);
        let copies = copies.map(|(held, (from, out))| (&mut held[..out.len()], from, out));
        let copies = copies.filter(|(_, _, out)| !out.is_empty()).collect::<Vec<_>>();
        let mut landed = Vec::with_capacity(2);
        for (held, from, out) in copies {
            // SAFETY: as above; the memory is ours until the stream is done.
            unsafe { result::memcpy_dtoh_async(held, from, stream) }?;
            landed.push((held, out));
        }
        self.stream.synchronize()?;
        landed.into_iter().for_each(|(held, out)| out.copy_from_slice(held));
        Ok(())
    }
}

fn bytes_of<T: DeviceRepr>(values: &[T]) -> &[u8] {
    // SAFETY: the bytes of numbers, which may be looked at as such.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }
}

fn bytes_of_mut<T: DeviceRepr>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: of plain numbers, of which any bits are some.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), size_of_val(values)) }
}
