//! Buffers and the cache.

use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, DriverError};
use half::{bf16, f16};

use super::Precision;
use super::attention::head_width;
use super::device::{Device, refused};
use super::packed::Packed;
use crate::args::CacheShape;
use crate::backend::DeviceError;

/// f32 on the device.
pub struct Buffer {
    pub(super) values: CudaSlice<f32>,
    /// The first rows as products read them, where the operation that wrote the buffer left them so.
    pub(super) packed: Option<Packed>,
}

/// Keys and values: `[layers, 2, blocks, kv_heads, block_tokens, head width]`.
pub struct Cache {
    pub(super) values: CudaSlice<u16>,
    pub(super) shape: CacheShape,
    /// The head's size, padded with zeros to one that there is a kernel for.
    pub(super) width: usize,
}

impl Precision {
    /// A number in 16 bits.
    pub(super) fn bits(self, value: f32) -> u16 {
        match self {
            Precision::F16 => f16::from_f32(value).to_bits(),
            Precision::Bf16 => bf16::from_f32(value).to_bits(),
        }
    }
}

/// Inputs of a product, padded to what its kernels take at a time.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(64)
}

impl Device {
    /// Room for `len` values, whatever is in there now.
    pub(super) fn room<T: DeviceRepr>(&self, what: &'static str, len: usize) -> Result<CudaSlice<T>, DeviceError> {
        // A driver gives no memory of no size.
        // SAFETY: whoever asks writes before reading; a kernel that does not is what the tests' NaN show.
        unsafe { self.stream.alloc::<T>(len.max(1)) }.map_err(|error| match error {
            DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY) => {
                DeviceError::OutOfMemory { what, wanted_bytes: (len * size_of::<T>()) as u64 }
            }
            error => refused("memory")(error),
        })
    }

    /// Room in the middle of a pass, where nothing else can be done.
    pub(super) fn scratch<T: DeviceRepr>(&self, what: &'static str, len: usize) -> CudaSlice<T> {
        self.room(what, len).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) fn buffer(&self, len: usize) -> Buffer {
        Buffer { values: self.scratch("activations", len), packed: None }
    }

    pub(super) fn send<T: DeviceRepr>(&self, what: &'static str, values: &[T]) -> Result<CudaSlice<T>, DeviceError> {
        let mut room = self.room(what, values.len())?;
        if !values.is_empty() {
            self.stream.memcpy_htod(values, &mut room).map_err(refused("copy to the device"))?;
        }
        Ok(room)
    }

    pub(super) fn upload(&self, what: &'static str, values: &[f32]) -> Result<Buffer, DeviceError> {
        Ok(Buffer { values: self.send(what, values)?, packed: None })
    }

    pub(super) fn download(&self, buffer: &Buffer, len: usize) -> Vec<f32> {
        self.receive(&buffer.values, len)
    }

    /// Waits, then copies the first `len` values of an array back.
    pub(super) fn receive<T: DeviceRepr + Clone + Default>(&self, array: &CudaSlice<T>, len: usize) -> Vec<T> {
        let mut values = vec![T::default(); len];
        if len > 0 {
            let copied = self.stream.memcpy_dtoh(&array.slice(..len), &mut values);
            copied
                .and_then(|()| self.stream.synchronize())
                .unwrap_or_else(|error| panic!("the device is lost: {error}"));
        }
        values
    }

    /// Copies the first `len` values of a buffer to place `at` of another.
    pub(super) fn copy(&self, (from, first): (&Buffer, usize), (to, at): (&mut Buffer, usize), len: usize) {
        if len > 0 {
            to.packed = None;
            let (from, mut to) = (from.values.slice(first..first + len), to.values.slice_mut(at..at + len));
            let copied = self.stream.memcpy_dtod(&from, &mut to);
            copied.unwrap_or_else(|error| panic!("the device is lost: {error}"));
        }
    }

    /// Where an operation writes a buffer: what products read of it is out of date then.
    pub(super) fn target(&self, buffer: &mut Buffer) -> u64 {
        buffer.packed = None;
        self.address(&buffer.values)
    }

    /// Where an array lies on the device.
    pub(super) fn address<T>(&self, array: &CudaSlice<T>) -> u64 {
        array.device_ptr(&self.stream).0
    }
}

impl Cache {
    pub(super) fn new(device: &Device, shape: CacheShape) -> Result<Self, DeviceError> {
        let width = head_width(shape.head_dim)
            .ok_or_else(|| DeviceError::Unsupported { what: format!("heads of {} values", shape.head_dim) })?;
        let tokens = shape.layers * 2 * shape.blocks * shape.block_tokens;
        Ok(Self { values: device.room("the cache", tokens * shape.kv_heads * width)?, shape, width })
    }

    /// Values from one block to the next.
    pub(super) fn block_stride(&self) -> usize {
        self.shape.kv_heads * self.shape.block_tokens * self.width
    }

    /// Where the keys and the values of a layer lie on the device.
    pub(super) fn layer(&self, device: &Device, layer: usize) -> (u64, u64) {
        assert!(layer < self.shape.layers, "layer {layer} of {}", self.shape.layers);
        let half = (self.shape.blocks * self.block_stride() * size_of::<u16>()) as u64;
        let keys = device.address(&self.values) + layer as u64 * 2 * half;
        (keys, keys + half)
    }
}
