//! Samples of one scan, line by line, in each interleave mode (T.87 sect. A.8, B).

use super::bits::{BitReader, is_stuffing};
use super::model::Model;
use super::params::Params;
use crate::codec::CodecError;
use crate::codec::markers::{RST0, find_marker};

/// How the components of a scan alternate (T.87 sect. C.2.3, ILV).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interleave {
    /// A line of each component in turn; also a scan of a single component.
    Line,
    /// A sample of each component in turn.
    Sample,
}

/// What a scan decodes and where its samples go.
pub(super) struct Scan<'s> {
    pub params: Params,
    pub interleave: Interleave,
    /// The components of the scan, as their places in a pixel.
    pub components: &'s [usize],
    /// Lines between restart markers; 0 for none.
    pub restart_lines: u32,
    pub width: usize,
    /// Samples per pixel of the whole frame.
    pub pixel_stride: usize,
}

/// Two lines of one component. A sample stands one to the right of its column, so that the
/// neighbours beyond both edges have a place.
struct Lines {
    above: Vec<i32>,
    current: Vec<i32>,
    run_index: usize,
}

impl Lines {
    fn new(width: usize) -> Self {
        Self { above: vec![0; width + 2], current: vec![0; width + 2], run_index: 0 }
    }

    /// Makes the decoded line the one above and sets the neighbours beyond the edges
    /// (T.87 sect. A.2.1): left is the sample above; above right at the end is the one above.
    fn begin_line(&mut self, width: usize) {
        std::mem::swap(&mut self.above, &mut self.current);
        self.above[width + 1] = self.above[width];
        self.current[0] = self.above[1];
    }

    /// Neighbours a, b, c, d of the sample at `x`.
    fn neighbours(&self, x: usize) -> (i32, i32, i32, i32) {
        (self.current[x - 1], self.above[x], self.above[x - 1], self.above[x + 1])
    }
}

impl Scan<'_> {
    /// Decodes the scan whose coded data begins at byte `start` into `samples`
    /// (`[height, width, pixel_stride]`) and returns where the marker after it stands.
    pub(super) fn decode(&self, data: &[u8], start: usize, samples: &mut [u16]) -> Result<usize, CodecError> {
        let mut model = Model::new(self.params, BitReader::new(data, start));
        let mut lines = self.fresh_lines();
        let row_length = self.width * self.pixel_stride;
        let mut restarts = 0u8;
        let interval = self.restart_lines as usize;
        for (y, row) in samples.chunks_exact_mut(row_length).enumerate() {
            if interval != 0 && y != 0 && y.is_multiple_of(interval) {
                let after = restart(data, model.bits.offset(), restarts)?;
                restarts = (restarts + 1) % 8;
                model = Model::new(self.params, BitReader::new(data, after));
                lines = self.fresh_lines();
            }
            for lines in &mut lines {
                lines.begin_line(self.width);
            }
            match self.interleave {
                Interleave::Sample => decode_pixels(&mut model, &mut lines, self.width)?,
                Interleave::Line => {
                    for lines in &mut lines {
                        decode_line(&mut model, lines, self.width)?;
                    }
                }
            }
            self.store(&lines, row);
        }
        let end = model.bits.offset();
        // Without an end-of-image marker the codestream ends where its samples do.
        Ok(find_marker(data, end, is_stuffing).unwrap_or(data.len()))
    }

    fn fresh_lines(&self) -> Vec<Lines> {
        self.components.iter().map(|_| Lines::new(self.width)).collect()
    }

    /// Copies the current line of every component to its places in the row.
    fn store(&self, lines: &[Lines], row: &mut [u16]) {
        for (lines, &component) in lines.iter().zip(self.components) {
            let places = row[component..].iter_mut().step_by(self.pixel_stride);
            for (place, &sample) in places.zip(&lines.current[1..=self.width]) {
                // Samples are clamped to MAXVAL, which is at most 65535.
                *place = sample as u16;
            }
        }
    }
}

/// One line of one component.
fn decode_line(model: &mut Model<'_>, lines: &mut Lines, width: usize) -> Result<(), CodecError> {
    let mut x = 1;
    while x <= width {
        let (a, b, c, d) = lines.neighbours(x);
        let context = model.context(a, b, c, d);
        if context != 0 {
            lines.current[x] = model.regular(context, a, b, c)?;
            x += 1;
            continue;
        }
        let left = width + 1 - x;
        let length = model.run_length(&mut lines.run_index, left)?;
        lines.current[x..x + length].fill(a);
        x += length;
        if length < left {
            lines.current[x] = model.run_interruption(lines.run_index, a, lines.above[x])?;
            lines.run_index = lines.run_index.saturating_sub(1);
            x += 1;
        }
    }
    Ok(())
}

/// One line of pixels whose components alternate. A run needs every component flat, and all of
/// them share one RUNindex: that of the first component.
fn decode_pixels(model: &mut Model<'_>, lines: &mut [Lines], width: usize) -> Result<(), CodecError> {
    let mut x = 1;
    while x <= width {
        let flat = lines.iter().all(|lines| {
            let (a, b, c, d) = lines.neighbours(x);
            model.context(a, b, c, d) == 0
        });
        if !flat {
            for lines in lines.iter_mut() {
                let (a, b, c, d) = lines.neighbours(x);
                let context = model.context(a, b, c, d);
                lines.current[x] = model.regular(context, a, b, c)?;
            }
            x += 1;
            continue;
        }
        let left = width + 1 - x;
        let mut run_index = lines[0].run_index;
        let length = model.run_length(&mut run_index, left)?;
        for lines in lines.iter_mut() {
            let a = lines.current[x - 1];
            lines.current[x..x + length].fill(a);
            if length < left {
                let end = x + length;
                // In this mode the type of interruption is always that of a step.
                lines.current[end] = model.run_step(run_index, a, lines.above[end])?;
            }
        }
        x += length;
        if length < left {
            run_index = run_index.saturating_sub(1);
            x += 1;
        }
        lines[0].run_index = run_index;
    }
    Ok(())
}

/// Finds the restart marker that belongs after `restarts` others and returns where data resumes.
fn restart(data: &[u8], from: usize, restarts: u8) -> Result<usize, CodecError> {
    let truncated = CodecError::Truncated { what: "a JPEG-LS restart interval", offset: from };
    let offset = find_marker(data, from, is_stuffing).ok_or(truncated)?;
    let marker = data[offset + 1];
    if marker == RST0 + restarts {
        Ok(offset + 2)
    } else {
        Err(CodecError::UnexpectedMarker { marker, expected: "the next restart marker", offset })
    }
}
