//! The frame header and the coefficients it makes room for (T.81 sect. A.1, B.2.2).

use crate::codec::markers::Segment;
use crate::codec::{CodecError, Limits};

/// Samples along a side of a block.
pub(super) const BLOCK_SIDE: usize = 8;
/// Coefficients of a block.
pub(super) const BLOCK: usize = 64;
/// Nothing of a coefficient has been coded yet.
pub(super) const UNCODED: u8 = u8::MAX;

/// One component: its form and its coefficients.
pub(super) struct Component {
    /// The identifier that scans name it by.
    pub id: u8,
    /// Blocks of an interleaved unit, across and down.
    pub horizontal: usize,
    pub vertical: usize,
    /// Which quantisation table it takes.
    pub quantisation: u8,
    /// The values of that table, in zigzag order, since the first scan of the component.
    pub divisors: Option<[u16; BLOCK]>,
    /// Samples across and down, without padding.
    pub width: usize,
    pub height: usize,
    /// Blocks across and down, padded to whole interleaved units.
    pub blocks_wide: usize,
    pub blocks_high: usize,
    /// Quantised coefficients, `[blocks_high, blocks_wide, 64]`, each block row by row.
    pub coefficients: Vec<i16>,
    /// By coefficient in zigzag order: the lowest bit that has been coded, or [`UNCODED`].
    pub coded: [u8; BLOCK],
}

/// A frame and its components.
pub(super) struct Frame {
    pub progressive: bool,
    pub bits: u8,
    pub width: u32,
    pub height: u32,
    /// The largest sampling factors.
    pub horizontal: usize,
    pub vertical: usize,
    pub components: Vec<Component>,
}

impl Frame {
    /// Reads SOF0, SOF1 or SOF2 and makes room for the coefficients, after checking the size
    /// against `limits` and against the `bytes` of the codestream.
    pub(super) fn parse(segment: &Segment<'_>, bytes: usize, limits: &Limits) -> Result<Self, CodecError> {
        let bits = segment.u8(0)?;
        if bits != 8 && (bits != 12 || segment.marker == 0xc0) {
            return Err(segment.bad("JPEG sample precision", bits));
        }
        let height = u32::from(segment.u16(1)?);
        let width = u32::from(segment.u16(3)?);
        if height == 0 {
            return Err(segment.unsupported("a JPEG frame without its number of lines"));
        }
        if width == 0 {
            return Err(segment.bad("JPEG width", width));
        }
        let count = usize::from(segment.u8(5)?);
        if count != 1 && count != 3 {
            return Err(segment.bad("JPEG number of components", count as u64));
        }
        let mut frame = Self {
            progressive: segment.marker == 0xc2,
            bits,
            width,
            height,
            horizontal: 1,
            vertical: 1,
            components: Vec::with_capacity(count),
        };
        for index in 0..count {
            let component = parse_component(segment, index, count == 1)?;
            if frame.components.iter().any(|known| known.id == component.id) {
                return Err(segment.bad("repeated JPEG component", component.id));
            }
            frame.horizontal = frame.horizontal.max(component.horizontal);
            frame.vertical = frame.vertical.max(component.vertical);
            frame.components.push(component);
        }
        frame.measure(segment)?;
        frame.check_size(bytes, limits)?;
        for component in &mut frame.components {
            component.coefficients = vec![0; component.padded_samples()];
        }
        Ok(frame)
    }

    /// Interleaved units across and down.
    pub(super) fn units(&self) -> (usize, usize) {
        (
            (self.width as usize).div_ceil(BLOCK_SIDE * self.horizontal),
            (self.height as usize).div_ceil(BLOCK_SIDE * self.vertical),
        )
    }

    /// Works out the size of every component.
    fn measure(&mut self, segment: &Segment<'_>) -> Result<(), CodecError> {
        let (across, down) = self.units();
        for component in &mut self.components {
            let (h, v) = (component.horizontal, component.vertical);
            if !self.horizontal.is_multiple_of(h) || !self.vertical.is_multiple_of(v) {
                return Err(segment.unsupported("a fractional JPEG sampling ratio"));
            }
            component.width = (self.width as usize * h).div_ceil(self.horizontal);
            component.height = (self.height as usize * v).div_ceil(self.vertical);
            component.blocks_wide = across * h;
            component.blocks_high = down * v;
        }
        Ok(())
    }

    /// Refuses a frame over the limits, or of more blocks than its bytes have bits: whatever the
    /// process, a block costs a bit or more in the scan that codes its DC coefficient.
    fn check_size(&self, bytes: usize, limits: &Limits) -> Result<(), CodecError> {
        let result_bytes = 2 * self.components.len() as u64;
        limits.check(self.width, self.height, result_bytes)?;
        let pixels = u64::from(self.width) * u64::from(self.height);
        // Coefficients and one plane of samples for each component at once, two bytes each.
        let padded: u64 = self.components.iter().map(|component| component.padded_samples() as u64).sum();
        limits.check_bytes(pixels * result_bytes + padded * 4)?;
        let blocks: usize =
            self.components.iter().map(|component| component.own_blocks().0 * component.own_blocks().1).sum();
        if blocks as u64 > bytes as u64 * 8 {
            return Err(CodecError::Implausible { width: self.width, height: self.height, bytes });
        }
        Ok(())
    }
}

impl Component {
    /// Blocks across and down that hold samples of the picture: those of a scan of its own.
    pub(super) fn own_blocks(&self) -> (usize, usize) {
        (self.width.div_ceil(BLOCK_SIDE), self.height.div_ceil(BLOCK_SIDE))
    }

    /// Samples, and coefficients, with padding. At most 65535 blocks of four rows by as many
    /// columns, so that it fits 64 bits many times over.
    fn padded_samples(&self) -> usize {
        self.blocks_wide * self.blocks_high * BLOCK
    }
}

/// Reads component `index` of a frame header; `alone` where it is the only one.
fn parse_component(segment: &Segment<'_>, index: usize, alone: bool) -> Result<Component, CodecError> {
    let id = segment.u8(6 + 3 * index)?;
    let sampling = segment.u8(7 + 3 * index)?;
    let quantisation = segment.u8(8 + 3 * index)?;
    let (horizontal, vertical) = (sampling >> 4, sampling & 15);
    if !(1..=4).contains(&horizontal) || !(1..=4).contains(&vertical) {
        return Err(segment.bad("JPEG sampling factors", sampling));
    }
    if quantisation > 3 {
        return Err(segment.bad("JPEG quantisation table destination", quantisation));
    }
    // A single component is never interleaved, whatever its factors say (T.81 sect. A.2.2).
    let (horizontal, vertical) = if alone { (1, 1) } else { (horizontal, vertical) };
    Ok(Component {
        id,
        horizontal: horizontal.into(),
        vertical: vertical.into(),
        quantisation,
        divisors: None,
        width: 0,
        height: 0,
        blocks_wide: 0,
        blocks_high: 0,
        coefficients: Vec::new(),
        coded: [UNCODED; BLOCK],
    })
}
