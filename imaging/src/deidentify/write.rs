//! Elements, and the header of a file, as bytes.

use std::io::Write as _;

use dicom_core::{Tag, VR};
use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::rewrite::{turned, width};
use crate::scan::has_long_length;
use crate::syntax::Encoding;

/// Our Implementation Class UID, in every object that is written here.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.174230158376521745526708923649139534494";
/// Our Implementation Version Name.
const IMPLEMENTATION_VERSION: &str =
    concat!("PRELIM_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"));
const UNDEFINED: u32 = 0xFFFF_FFFF;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
/// Longest value of a representation whose length has 16 bits.
const MAX_SHORT: usize = 0xFFFE;

/// A data set that is written.
pub(super) struct Out {
    encoding: Encoding,
    bytes: Vec<u8>,
}

impl Out {
    pub(super) fn new(encoding: Encoding, capacity: usize) -> Self {
        Self { encoding, bytes: Vec::with_capacity(capacity) }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// An element whose value has its numbers in the given order of bytes.
    pub(super) fn element(&mut self, tag: Tag, vr: VR, value: &[u8], big_endian: bool) {
        let padded = value.len() + value.len() % 2;
        // PS3.5 section 6.2.2: what is too long for its representation is UN.
        let written = if !self.encoding.implicit && padded > MAX_SHORT && !has_long_length(vr) { VR::UN } else { vr };
        // An object is far shorter than 4 GiB.
        self.head(tag, written, padded as u32);
        if big_endian != self.encoding.big_endian && width(vr) > 1 {
            self.bytes.extend(turned(value, width(vr)));
        } else {
            self.bytes.extend_from_slice(value);
        }
        if padded > value.len() {
            let is_text = !matches!(vr, VR::UI | VR::OB | VR::UN) && width(vr) == 1;
            self.bytes.push(if is_text { b' ' } else { 0 });
        }
    }

    /// A text of ours.
    pub(super) fn text(&mut self, tag: Tag, vr: VR, text: &str) {
        self.element(tag, vr, text.as_bytes(), self.encoding.big_endian);
    }

    /// A sequence, whose items `write` writes one by one.
    pub(super) fn sequence<T>(
        &mut self,
        tag: Tag,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return self.head(tag, VR::SQ, 0);
        }
        self.head(tag, VR::SQ, UNDEFINED);
        for item in items {
            self.part(ITEM, UNDEFINED);
            write(self, item);
            self.part(ITEM_END, 0);
        }
        self.part(SEQUENCE_END, 0);
    }

    /// Encapsulated pixels (PS3.5 annex A.4).
    pub(super) fn fragments<'a>(&mut self, tag: Tag, vr: VR, fragments: impl Iterator<Item = &'a [u8]>) {
        self.head(tag, vr, UNDEFINED);
        for fragment in fragments {
            self.part(ITEM, fragment.len() as u32);
            self.bytes.extend_from_slice(fragment);
        }
        self.part(SEQUENCE_END, 0);
    }

    fn head(&mut self, tag: Tag, vr: VR, length: u32) {
        if self.encoding.implicit {
            return self.part(tag, length);
        }
        self.u16(tag.group());
        self.u16(tag.element());
        self.bytes.extend(vr.to_bytes());
        if has_long_length(vr) {
            self.bytes.extend([0, 0]);
            self.u32(length);
        } else {
            // Values that are longer were made UN.
            self.u16(length as u16);
        }
    }

    fn part(&mut self, tag: Tag, length: u32) {
        self.u16(tag.group());
        self.u16(tag.element());
        self.u32(length);
    }

    fn u16(&mut self, number: u16) {
        self.bytes.extend(if self.encoding.big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
    }

    fn u32(&mut self, number: u32) {
        self.bytes.extend(if self.encoding.big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
    }
}

/// A data set deflated (PS3.5 annex A.5), of even length.
pub(super) fn deflated(data_set: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // A vector takes all that is written to it.
    let written = encoder.write_all(data_set).and_then(|()| encoder.finish());
    let mut deflated = written.unwrap_or_default();
    if deflated.len() % 2 == 1 {
        deflated.push(0);
    }
    deflated
}

/// What stands before the data set (PS3.10 section 7.1): a preamble of nothing, and who made the file, but not who sent it.
pub(super) fn file_header(class: &str, instance: &str, syntax: &str) -> Vec<u8> {
    let mut group = Out::new(Encoding::EXPLICIT, 512);
    group.element(Tag(2, 0x01), VR::OB, &[0, 1], false);
    group.text(Tag(2, 0x02), VR::UI, class);
    group.text(Tag(2, 0x03), VR::UI, instance);
    group.text(Tag(2, 0x10), VR::UI, syntax);
    group.text(Tag(2, 0x12), VR::UI, IMPLEMENTATION_CLASS_UID);
    group.text(Tag(2, 0x13), VR::SH, IMPLEMENTATION_VERSION);
    let group = group.into_bytes();
    let mut header = Out::new(Encoding::EXPLICIT, 512);
    header.bytes.extend([0; 128]);
    header.bytes.extend(b"DICM");
    header.element(Tag(2, 0), VR::UL, &(group.len() as u32).to_le_bytes(), false);
    header.bytes.extend(group);
    header.into_bytes()
}
