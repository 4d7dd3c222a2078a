//! Weights on the device: in 16 bits, or as whole numbers in the order that products read them.

use super::Precision;
use super::array::{Array, is_rehearsal};
use super::device::Device;
use super::memory::padded;
use crate::backend::DeviceError;
use crate::quantised::{Bits, Grid};
use crate::weights::{Form, Storage, WeightView};

/// A weight `[rows, depth]`.
pub struct Matrix {
    pub(super) numbers: Numbers,
    pub(super) rows: usize,
    /// Inputs.
    pub(super) columns: usize,
    /// Inputs, padded with zeros.
    pub(super) depth: usize,
}

/// How the numbers of a weight lie on the device.
pub(super) enum Numbers {
    /// `[rows, depth]` in 16 bits.
    Sixteen(Array<u16>),
    /// Whole numbers.
    Whole {
        bits: Bits,
        /// `[rows, depth]`, packed.
        packed: Array<u8>,
        /// `[depth / 32, scale_stride]`, bf16.
        scales: Array<u16>,
        scale_stride: usize,
    },
}

/// Gate and up: eight rows of one, eight of the other, and so on.
pub struct Pair {
    pub(super) both: Matrix,
    /// Rows of each.
    pub(super) outputs: usize,
}

/// A row of a weight; zeros where none.
type Row<'a> = Option<(WeightView<'a>, usize)>;

/// Inputs that share a scale on the device.
const SCALED: usize = 32;

impl Bits {
    /// As kernels are named.
    pub(super) fn name(self) -> &'static str {
        match self {
            Bits::Eight => "_int8",
            Bits::Four => "_int4",
        }
    }

    /// How many.
    pub(super) fn count(self) -> usize {
        8 / self.in_byte()
    }

    /// Bytes of zeros.
    fn zeros(self) -> u8 {
        match self {
            Bits::Eight => 0x80,
            Bits::Four => 0x88,
        }
    }
}

impl Matrix {
    pub(super) fn upload(
        device: &Device,
        precision: Precision,
        parts: &[WeightView<'_>],
        storage: Storage,
    ) -> Result<Self, DeviceError> {
        let form = Form::of(parts, storage);
        let rows: Vec<Row<'_>> =
            parts.iter().flat_map(|part| (0..part.rows).map(move |row| Some((*part, row)))).collect();
        Self::from_rows(device, precision, form, &rows, parts[0].columns)
    }

    fn from_rows(
        device: &Device,
        precision: Precision,
        form: Form,
        rows: &[Row<'_>],
        columns: usize,
    ) -> Result<Self, DeviceError> {
        let depth = padded(columns);
        let whole = match form {
            Form::Quantised(grid) => Whole::of(grid, rows, columns, depth),
            Form::F32 | Form::Bf16 => None,
        };
        let numbers = match whole {
            Some(whole) => whole.upload(device)?,
            None => {
                let values = device.keep_rows(rows.len(), depth, |index, out| {
                    let row = rows[index].map(|(part, row)| form.row(&part, row)).unwrap_or_default();
                    let (numbers, padding) = out.split_at_mut(row.len());
                    numbers.iter_mut().zip(row).for_each(|(out, value)| *out = precision.bits(value));
                    padding.fill(0);
                })?;
                Numbers::Sixteen(values)
            }
        };
        Ok(Self { numbers, rows: rows.len(), columns, depth })
    }
}

impl Pair {
    pub(super) fn upload(
        device: &Device,
        precision: Precision,
        gate: WeightView<'_>,
        up: WeightView<'_>,
        storage: Storage,
    ) -> Result<Self, DeviceError> {
        assert_eq!((gate.rows, gate.columns), (up.rows, up.columns), "gate and up differ in shape");
        let (outputs, form) = (gate.rows, Form::of(&[gate, up], storage));
        let rows: Vec<Row<'_>> = (0..outputs.div_ceil(8))
            .flat_map(|eight| {
                [gate, up].into_iter().flat_map(move |view| (0..8).map(move |row| (view, eight * 8 + row)))
            })
            .map(|(view, row)| (row < outputs).then_some((view, row)))
            .collect();
        Ok(Self { both: Matrix::from_rows(device, precision, form, &rows, gate.columns)?, outputs })
    }
}

/// Whole numbers as kernels read them, on the host.
struct Whole {
    bits: Bits,
    packed: Vec<u8>,
    scales: Vec<u16>,
    scale_stride: usize,
}

impl Whole {
    /// None where a scale is subnormal: what numbers stand for might be, too, and is zero then, which kernels do not know.
    fn of(grid: Grid, rows: &[Row<'_>], columns: usize, depth: usize) -> Option<Self> {
        let (row_bytes, scale_stride) = (depth / grid.bits.in_byte(), rows.len().next_multiple_of(8));
        let mut scales = vec![0u16; depth / SCALED * scale_stride];
        if is_rehearsal() {
            // Nobody looks at the numbers.
            return Some(Self { bits: grid.bits, packed: vec![0; rows.len() * row_bytes], scales, scale_stride });
        }
        let mut packed = Vec::with_capacity(rows.len() * row_bytes);
        for (at, row) in rows.iter().enumerate() {
            let end = packed.len() + row_bytes;
            if let Some((view, row)) = row {
                let (numbers, of_row) = match view.quantised_row(*row) {
                    Some((numbers, scales)) => (numbers.to_vec(), scales),
                    None => grid.quantise(&view.row(*row)),
                };
                if of_row.iter().any(|scale| scale.to_f32().is_subnormal()) {
                    return None;
                }
                pack(grid.bits, &numbers, &mut packed);
                for part in 0..columns / SCALED {
                    scales[part * scale_stride + at] = of_row[part * SCALED / grid.group].to_bits();
                }
            }
            packed.resize(end, grid.bits.zeros());
        }
        Some(Self { bits: grid.bits, packed, scales, scale_stride })
    }

    fn upload(&self, device: &Device) -> Result<Numbers, DeviceError> {
        Ok(Numbers::Whole {
            bits: self.bits,
            packed: device.keep(&self.packed)?,
            scales: device.keep(&self.scales)?,
            scale_stride: self.scale_stride,
        })
    }
}

/// The numbers of a row in the order that lanes take them: see `Int8` and `Int4` in `kernels/cuda/primitives.cuh`.
fn pack(bits: Bits, numbers: &[u8], packed: &mut Vec<u8>) {
    for sixteen in numbers.chunks_exact(16) {
        for lane in 0..4 {
            packed.extend(match bits {
                // Inputs 2t, 2t + 1, 2t + 8 and 2t + 9 of sixteen.
                Bits::Eight => [0, 1, 8, 9].map(|input| sixteen[2 * lane + input]),
                // Two to a byte; the second sixteen above the first.
                Bits::Four => [0, 4, 8, 12].map(|byte| sixteen[lane + byte]),
            });
        }
    }
}
