//! The numbers that steer the model: preset parameters, their defaults, and what follows from them.

use crate::codec::CodecError;
use crate::codec::markers::Segment;

/// The preset coding parameters of an LSE segment; zero means the default (T.87 sect. C.2.4.1.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Preset {
    /// MAXVAL.
    pub max_value: u16,
    /// T1, T2, T3.
    pub thresholds: [u16; 3],
    /// RESET.
    pub reset: u16,
}

impl Preset {
    /// Reads an LSE segment; only preset parameters are decoded, the other kinds are refused.
    pub(super) fn parse(segment: &Segment<'_>) -> Result<Self, CodecError> {
        match segment.u8(0)? {
            1 => Ok(Self {
                max_value: segment.u16(1)?,
                thresholds: [segment.u16(3)?, segment.u16(5)?, segment.u16(7)?],
                reset: segment.u16(9)?,
            }),
            2 | 3 => Err(segment.unsupported("a JPEG-LS mapping table")),
            4 => Err(segment.unsupported("JPEG-LS oversize image dimensions")),
            5..=13 => Err(segment.unsupported("a JPEG-LS part 2 extension")),
            id => Err(segment.bad("JPEG-LS preset parameter type", id)),
        }
    }
}

/// Everything a scan needs to know besides its contexts (T.87 sect. A.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Params {
    /// MAXVAL: the largest sample.
    pub max_value: i32,
    /// NEAR: the largest error of a sample; 0 is lossless.
    pub near: i32,
    /// `2 * NEAR + 1`: the step of prediction errors.
    pub step: i32,
    /// RANGE: how many prediction errors there are.
    pub range: i32,
    /// Bits of an escaped prediction error.
    pub qbpp: u32,
    /// LIMIT: most bits of a Golomb code.
    pub limit: u32,
    /// T1, T2, T3.
    pub thresholds: [i32; 3],
    /// RESET: how many samples until a context halves its counters.
    pub reset: i32,
}

impl Params {
    /// Fills in the defaults and checks the ranges of table C.1; `offset` is where the scan begins.
    pub(super) fn new(preset: &Preset, bits: u8, near: u8, offset: usize) -> Result<Self, CodecError> {
        let bad = |what, value: i32| CodecError::BadValue { what, value: value.unsigned_abs().into(), offset };
        let largest = (1i32 << bits) - 1;
        let max_value = match preset.max_value {
            0 => largest,
            value => i32::from(value),
        };
        if max_value > largest {
            return Err(bad("JPEG-LS MAXVAL", max_value));
        }
        let near = i32::from(near);
        if near > (max_value / 2).min(255) {
            return Err(bad("JPEG-LS NEAR", near));
        }
        let mut thresholds = default_thresholds(max_value, near);
        let mut floor = near + 1;
        for (threshold, &value) in thresholds.iter_mut().zip(&preset.thresholds) {
            if value != 0 {
                *threshold = i32::from(value);
            }
            if *threshold < floor || *threshold > max_value.max(floor) {
                return Err(bad("JPEG-LS threshold", *threshold));
            }
            floor = *threshold;
        }
        let reset = match preset.reset {
            0 => 64,
            value => i32::from(value),
        };
        if reset < 3 || reset > max_value.max(255) {
            return Err(bad("JPEG-LS RESET", reset));
        }
        let step = 2 * near + 1;
        let range = (max_value + 2 * near) / step + 1;
        let bpp = bits_for(max_value).max(2);
        Ok(Self {
            max_value,
            near,
            step,
            range,
            qbpp: bits_for(range - 1),
            limit: 2 * (bpp + bpp.max(8)),
            thresholds,
            reset,
        })
    }
}

/// The least number of bits that can hold `value`: `ceil(log2(value + 1))`.
fn bits_for(value: i32) -> u32 {
    32 - value.leading_zeros()
}

/// T1, T2 and T3 where no LSE segment sets them (T.87 sect. C.2.4.1.1.1).
fn default_thresholds(max_value: i32, near: i32) -> [i32; 3] {
    // BASIC_T1..3, and what the standard takes from each before scaling and adds back after.
    const BASIC: [(i32, i32); 3] = [(3, 2), (7, 3), (21, 4)];
    const NEAR_WEIGHTS: [i32; 3] = [3, 5, 7];
    let mut thresholds = [0; 3];
    let mut floor = near + 1;
    for (index, (basic, base)) in BASIC.into_iter().enumerate() {
        let slack = NEAR_WEIGHTS[index] * near;
        let value = if max_value >= 128 {
            let factor = (max_value.min(4095) + 128) / 256;
            factor * (basic - base) + base + slack
        } else {
            let factor = 256 / (max_value + 1);
            (basic / factor + slack).max(base)
        };
        // CLAMP of figure C.3: out of range falls to the lower bound, not to the nearer one.
        floor = if value > max_value || value < floor { floor } else { value };
        thresholds[index] = floor;
    }
    thresholds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(bits: u8, near: u8) -> Params {
        Params::new(&Preset::default(), bits, near, 0).unwrap()
    }

    #[test]
    fn defaults_are_those_of_table_c3() {
        assert_eq!(params(8, 0).thresholds, [3, 7, 21]);
        assert_eq!(params(12, 0).thresholds, [18, 67, 276]);
        assert_eq!(params(16, 0).thresholds, [18, 67, 276]);
        assert_eq!(params(8, 3).thresholds, [12, 22, 42]);
        assert_eq!(params(2, 0).thresholds, [2, 3, 3]);
    }

    #[test]
    fn derived_numbers_follow_annex_a() {
        let lossless = params(8, 0);
        assert_eq!((lossless.range, lossless.qbpp, lossless.limit), (256, 8, 32));
        let near = params(8, 3);
        assert_eq!((near.range, near.qbpp, near.step), (38, 6, 7));
        let deep = params(16, 0);
        assert_eq!((deep.range, deep.qbpp, deep.limit), (65536, 16, 64));
    }

    #[test]
    fn values_outside_table_c1_are_refused() {
        let refuse = |preset: Preset, near| Params::new(&preset, 8, near, 0).is_err();
        let none = Preset::default();
        assert!(refuse(none, 128));
        assert!(refuse(Preset { max_value: 256, ..none }, 0));
        assert!(refuse(Preset { reset: 2, ..none }, 0));
        assert!(refuse(Preset { thresholds: [9, 8, 0], ..none }, 0));
    }
}
