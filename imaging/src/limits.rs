//! The caps on what one object may make us hold.

/// Named limits of the scan and of the decoders. Past one of them an object is refused, by the limit's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest object taken, in bytes.
    pub max_object_bytes: usize,
    /// Longest data set that a deflated object may inflate to, in bytes. With the object itself it must stay well
    /// under the 1 GiB that a decoder process is given.
    pub max_inflated_bytes: usize,
    /// Deepest nesting of sequences. Real objects stay under 20; parsers that recurse die at about 1,500.
    pub max_depth: usize,
    /// Most elements, items and fragments in one object.
    pub max_elements: usize,
    /// Most samples (rows × columns × samples per pixel) in one frame. They are held as 4 bytes each, and some
    /// decoders hold them twice.
    pub max_frame_samples: usize,
    /// Most frames in one object.
    pub max_frames: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_object_bytes: 512 << 20,
            max_inflated_bytes: 512 << 20,
            max_depth: 64,
            max_elements: 1 << 20,
            max_frame_samples: 1 << 26,
            max_frames: 65_536,
        }
    }
}
