//! Caps that a caller sets before a header is believed.

use super::CodecError;

/// What one frame may cost. Checked before anything is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels (rows times columns) in a frame.
    pub max_pixels: u64,
    /// Most bytes that decoding a frame may hold at once: its samples and the working memory.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// 64 Mi pixels and 512 MiB: four times the largest mammogram, and half of what the decoding
    /// process may have.
    fn default() -> Self {
        Self { max_pixels: 1 << 26, max_bytes: 1 << 29 }
    }
}

impl Limits {
    /// Checks a frame of `width` by `height` pixels that costs `bytes_per_pixel` to decode.
    pub(crate) fn check(&self, width: u32, height: u32, bytes_per_pixel: u64) -> Result<(), CodecError> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(CodecError::OverLimit { what: "frame size in pixels", needed: pixels, limit: self.max_pixels });
        }
        self.check_bytes(pixels.saturating_mul(bytes_per_pixel))
    }

    /// Checks the bytes that decoding will hold at once.
    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<(), CodecError> {
        if bytes > self.max_bytes {
            return Err(CodecError::OverLimit {
                what: "decoding memory in bytes",
                needed: bytes,
                limit: self.max_bytes,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_dimensions_are_refused_without_overflow() {
        let error = Limits::default().check(u32::MAX, u32::MAX, u64::MAX);
        assert!(matches!(error, Err(CodecError::OverLimit { .. })));
    }

    #[test]
    fn bytes_are_limited_apart_from_pixels() {
        let limits = Limits { max_pixels: 100, max_bytes: 150 };
        assert!(limits.check(10, 10, 1).is_ok());
        assert!(limits.check(10, 10, 2).is_err());
    }
}
