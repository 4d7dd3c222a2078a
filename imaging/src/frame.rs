//! A decoded frame.

/// The pixels of one frame, decoded and not yet rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// The pixels, `[rows, columns]` row by row.
    pub pixels: Pixels,
}

/// The pixels of a frame, as stored: no modality or VOI transform is applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// Stored values, with their sign.
    Grey(Vec<i32>),
    /// Red, green and blue of each pixel, reduced to 8 bits: `[rows, columns, 3]`.
    Rgb(Vec<u8>),
}
