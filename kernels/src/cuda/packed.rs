//! Rows in the 16 bits that tensor cores read: kernels `pack_rows_*`, `pack_patches_*`, and what norms leave.

use std::ops::Range;
use std::sync::Arc;

use super::Cuda;
use super::array::Array;
use super::launch::{Geometry, Pack, narrowed};
use super::memory::{Buffer, padded};

/// Rows in 16 bits, padded with zeros to what products take at a time, and what each has to be multiplied by. Clones share
/// them.
#[derive(Clone)]
pub(super) struct Packed {
    room: PackedRoom,
    count: usize,
    width: usize,
    /// The row that is meant by the first.
    first: usize,
}

/// Room for rows in 16 bits and their factors. Clones share it.
#[derive(Clone)]
pub(super) struct PackedRoom {
    rows: Arc<Array<u16>>,
    factor: Arc<Array<f32>>,
}

impl PackedRoom {
    /// Whether so many rows fit, and nobody else reads what is there.
    fn is_free_for(&self, count: usize, width: usize) -> bool {
        let fits = self.rows.len() >= count * padded(width) && self.factor.len() >= count;
        fits && Arc::strong_count(&self.rows) == 1
    }
}

impl Packed {
    /// Inputs, padded.
    pub(super) fn depth(&self) -> usize {
        padded(self.width)
    }

    /// Some of these rows, if they are there and so wide.
    fn part(&self, rows: &Range<usize>, width: usize) -> Option<Self> {
        let is_here = rows.end <= self.count && width == self.width;
        is_here.then(|| Self { first: rows.start, ..self.clone() })
    }
}

impl Cuda {
    /// Where rows lie on the device, and their factors.
    pub(super) fn placed_rows(&self, packed: &Packed) -> (u64, u64) {
        let (rows, factor) = (self.device.address(&packed.room.rows), self.device.address(&packed.room.factor));
        let values = (packed.first * packed.depth() * size_of::<u16>()) as u64;
        (rows + values, factor + (packed.first * size_of::<f32>()) as u64)
    }

    fn room_for_rows(&self, count: usize, width: usize) -> PackedRoom {
        PackedRoom {
            rows: Arc::new(self.device.scratch("activations", count * padded(width))),
            factor: Arc::new(self.device.scratch("activations", count)),
        }
    }

    /// Room for the first rows of a buffer that is written anew, beside it: for as many as it can hold, once and for all.
    pub(super) fn room_beside(&self, buffer: &mut Buffer, count: usize, width: usize) -> Packed {
        buffer.packed = None;
        let kept = buffer.packed_room.take().filter(|room| room.is_free_for(count, width));
        let room = kept.unwrap_or_else(|| self.room_for_rows(count.max(buffer.values.len() / width.max(1)), width));
        buffer.packed_room = Some(room.clone());
        Packed { room, count, width, first: 0 }
    }

    /// Rows of a buffer. Nothing is started where the operation that wrote them left them in 16 bits.
    pub(super) fn pack(&self, x: &Buffer, rows: Range<usize>, width: usize) -> Packed {
        if let Some(packed) = x.packed.as_ref().and_then(|packed| packed.part(&rows, width)) {
            return packed;
        }
        let x = self.device.address(&x.values) + (rows.start * width * size_of::<f32>()) as u64;
        let arguments = Pack { x, width: narrowed(width), ..Pack::default() };
        self.pack_with("pack_rows", rows.len(), arguments)
    }

    /// With the source and its layout filled in.
    pub(super) fn pack_with(&self, kernel: &str, rows: usize, arguments: Pack) -> Packed {
        let width = arguments.width as usize;
        let packed = Packed { room: self.room_for_rows(rows, width), count: rows, width, first: 0 };
        let (out, factor) = self.placed_rows(&packed);
        let arguments = Pack { out, factor, depth: narrowed(packed.depth()), ..arguments };
        let kernel = format!("{kernel}_{}", self.precision.suffix());
        self.device.launch(&kernel, Geometry::blocks(rows, 128, 16), &arguments);
        packed
    }
}
