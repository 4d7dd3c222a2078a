//! What may be wrong with the bytes of an object.

use dicom_core::Tag;

/// Why bytes were not taken as a DICOM object. Offsets count from the start of the object, or of the inflated data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Nothing at all.
    #[error("empty file")]
    Empty,
    /// No DICOM prefix, and the first bytes are no data element that an object starts with.
    #[error("not a DICOM object: no DICM prefix, and it starts with {first_bytes}")]
    NotDicom {
        /// The first bytes, as text or in hexadecimal.
        first_bytes: String,
    },
    /// Nothing follows the file meta information.
    #[error("no data set after the file header")]
    NoDataSet,
    /// Longer than is taken.
    #[error("object of {length} bytes is longer than the limit of {limit}")]
    TooLong {
        /// Its length.
        length: usize,
        /// [`Limits::max_object_bytes`](crate::Limits::max_object_bytes).
        limit: usize,
    },
    /// The bytes end inside an element, an item or a sequence.
    #[error("truncated at byte {offset}, inside {inside}")]
    Truncated {
        /// Where.
        offset: usize,
        /// What is open there.
        inside: String,
    },
    /// A length that the object cannot hold.
    #[error("element {tag} at byte {offset} claims {claimed} bytes but {left} are left")]
    TooShortFor {
        /// The element, or the item.
        tag: Tag,
        /// Where its header starts.
        offset: usize,
        /// What its length field says.
        claimed: u64,
        /// What there is, to the end of the enclosing item or object.
        left: usize,
    },
    /// A length that cannot be undefined.
    #[error("element {tag} at byte {offset} has an undefined length, which its value representation does not allow")]
    UndefinedLength {
        /// The element.
        tag: Tag,
        /// Where.
        offset: usize,
    },
    /// Something else where an item should be.
    #[error("{found} at byte {offset} where an item of {sequence} should be")]
    NotAnItem {
        /// The sequence.
        sequence: Tag,
        /// The tag found.
        found: Tag,
        /// Where.
        offset: usize,
    },
    /// A delimiter where an element should be.
    #[error("stray delimiter {found} at byte {offset}")]
    StrayDelimiter {
        /// The tag found.
        found: Tag,
        /// Where.
        offset: usize,
    },
    /// Nested deeper than is taken.
    #[error("sequences nested deeper than {limit} at byte {offset}")]
    TooDeep {
        /// [`Limits::max_depth`](crate::Limits::max_depth).
        limit: usize,
        /// Where the limit was reached.
        offset: usize,
    },
    /// More parts than are taken.
    #[error("more than {limit} elements, items and fragments")]
    TooMany {
        /// [`Limits::max_elements`](crate::Limits::max_elements).
        limit: usize,
    },
    /// A deflate bomb, or a data set larger than is taken.
    #[error("deflated data set inflates past {limit} bytes")]
    InflatesPast {
        /// [`Limits::max_inflated_bytes`](crate::Limits::max_inflated_bytes).
        limit: usize,
    },
    /// The deflated data set is damaged.
    #[error("deflated data set is damaged: {0}")]
    Inflate(String),
}
