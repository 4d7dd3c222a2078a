//! Buffers and the cache.

use cudarc::driver::DeviceRepr;
use half::{bf16, f16};

use super::Precision;
use super::array::{Array, is_rehearsal};
use super::attention::head_width;
use super::device::{Device, refused};
use super::packed::{Packed, PackedRoom};
use crate::args::CacheShape;
use crate::backend::DeviceError;

/// f32 on the device.
pub struct Buffer {
    pub(super) values: Array<f32>,
    /// The first rows as products read them, where the operation that wrote the buffer left them so.
    pub(super) packed: Option<Packed>,
    /// Where it leaves them: for as long as the buffer is there, so that passes that compute in it find the same place.
    pub(super) packed_room: Option<PackedRoom>,
}

impl From<Array<f32>> for Buffer {
    fn from(values: Array<f32>) -> Self {
        Self { values, packed: None, packed_room: None }
    }
}

/// Keys and values: `[layers, 2, blocks, kv_heads, block_tokens, head width]`.
pub struct Cache {
    pub(super) values: Array<u16>,
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
    pub(super) fn buffer(&self, len: usize) -> Buffer {
        self.scratch("activations", len).into()
    }

    /// Starts copying values to the device, for a pass.
    pub(super) fn send<T: DeviceRepr>(&self, what: &'static str, values: &[T]) -> Result<Array<T>, DeviceError> {
        let room = self.scratch(what, values.len());
        self.write(&room, values)?;
        Ok(room)
    }

    pub(super) fn upload(&self, what: &'static str, values: &[f32]) -> Result<Buffer, DeviceError> {
        Ok(self.send(what, values)?.into())
    }

    /// A vector of the model, such as a bias.
    pub(super) fn vector(&self, values: &[f32]) -> Result<Buffer, DeviceError> {
        Ok(self.keep(values)?.into())
    }

    pub(super) fn download(&self, buffer: &Buffer, len: usize) -> Vec<f32> {
        let values = self.receive(&buffer.values, len);
        if let Some(error) = self.queue.take_failure() {
            panic!("what a pass made is read, and it made nothing: {error}");
        }
        values
    }

    /// Copies the first `len` values of a buffer to place `at` of another.
    pub(super) fn copy(&self, (from, first): (&Buffer, usize), (to, at): (&mut Buffer, usize), len: usize) {
        if len > 0 {
            to.packed = None;
            let (from, to) = (from.values.part(first, len), to.values.part(at, len));
            if self.is_idle() {
                return;
            }
            self.started("a copy", self.queue.copy(to, from, len * size_of::<f32>()));
        }
    }

    /// Where an operation writes a buffer: what products read of it is out of date then.
    pub(super) fn target(&self, buffer: &mut Buffer) -> u64 {
        buffer.packed = None;
        buffer.values.address()
    }

    /// Where an array lies on the device.
    pub(super) fn address<T>(&self, array: &Array<T>) -> u64 {
        array.address()
    }

    /// What the driver is asked next on this thread is about this device.
    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        self.context.bind_to_thread().map_err(refused("context"))
    }
}

/// Heads in a cache, padded.
fn cache_width(shape: CacheShape) -> Result<usize, DeviceError> {
    head_width(shape.head_dim)
        .ok_or_else(|| DeviceError::Unsupported { what: format!("heads of {} values", shape.head_dim) })
}

/// Values in a cache whose heads are so wide.
fn cache_values(shape: CacheShape, width: usize) -> usize {
    shape.layers * 2 * shape.blocks * shape.block_tokens * shape.kv_heads * width
}

impl Cache {
    pub(super) fn new(device: &Device, shape: CacheShape) -> Result<Self, DeviceError> {
        let (what, width) = ("the cache", cache_width(shape)?);
        let values = cache_values(shape, width);
        let values = if is_rehearsal() { device.room(what, values) } else { device.own(what, values) };
        Ok(Self { values: values?, shape, width })
    }

    /// Bytes of a cache. One that there are no kernels for is refused when it is made.
    pub(super) fn bytes(shape: CacheShape) -> u64 {
        (cache_values(shape, cache_width(shape).unwrap_or(shape.head_dim)) * size_of::<u16>()) as u64
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
