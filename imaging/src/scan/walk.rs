//! The walk over the elements of a data set (PS3.5 section 7), with an explicit stack.

#[cfg(test)]
mod tests;

use std::ops::Range;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::ScanError;
use crate::dataset::{Dataset, Element, Value};
use crate::limits::Limits;
use crate::syntax::Encoding;

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// Walks `bytes[start..]` to its end.
pub(crate) fn walk(bytes: &[u8], start: usize, encoding: Encoding, limits: &Limits) -> Result<Dataset, ScanError> {
    let root = Open { end: Some(bytes.len()), limit: bytes.len(), encoding, content: Content::Dataset(Vec::new()) };
    let mut walker = Walker { bytes, offset: start, limits, parts: 0, open: Vec::new() };
    let mut top = root;
    loop {
        let step = if top.end.is_some_and(|end| walker.offset >= end) {
            Step::Close
        } else if matches!(top.content, Content::Dataset(_)) {
            walker.element(&mut top)?
        } else {
            walker.item(&top)?
        };
        match step {
            Step::Stay => {}
            Step::Enter(inner) => {
                if walker.open.len() >= 2 * limits.max_depth {
                    return Err(ScanError::TooDeep { limit: limits.max_depth, offset: walker.offset });
                }
                walker.open.push(std::mem::replace(&mut top, *inner));
            }
            Step::Close => match walker.open.pop() {
                Some(outer) => top = outer.with(top),
                None => return Ok(top.into_dataset()),
            },
        }
    }
}

/// A data set, item or sequence whose end has not been reached.
struct Open {
    /// Where it ends, if it says so.
    end: Option<usize>,
    /// Where the innermost part around it that says so ends: nothing inside may reach past it.
    limit: usize,
    encoding: Encoding,
    content: Content,
}

enum Content {
    Dataset(Vec<Element>),
    Sequence { tag: Tag, items: Vec<Dataset> },
}

enum Step {
    Stay,
    Enter(Box<Open>),
    Close,
}

impl Open {
    /// This part with `inner` in it.
    fn with(mut self, inner: Open) -> Self {
        match (&mut self.content, inner.content) {
            (Content::Dataset(elements), Content::Sequence { tag, items }) => elements.push(Element {
                tag,
                vr: VR::SQ,
                big_endian: self.encoding.big_endian,
                value: Value::Items(items),
            }),
            (Content::Sequence { items, .. }, Content::Dataset(elements)) => items.push(Dataset { elements }),
            // Data sets and sequences alternate by construction.
            (Content::Dataset(_), Content::Dataset(_)) | (Content::Sequence { .. }, Content::Sequence { .. }) => {}
        }
        self
    }

    fn push(&mut self, tag: Tag, vr: VR, value: Value) {
        let big_endian = self.encoding.big_endian;
        if let Content::Dataset(elements) = &mut self.content {
            elements.push(Element { tag, vr, big_endian, value });
        }
    }

    fn into_dataset(self) -> Dataset {
        match self.content {
            Content::Dataset(elements) => Dataset { elements },
            Content::Sequence { .. } => Dataset::default(),
        }
    }
}

struct Walker<'a> {
    bytes: &'a [u8],
    offset: usize,
    limits: &'a Limits,
    parts: usize,
    open: Vec<Open>,
}

/// The header of an element.
struct ElementHeader {
    tag: Tag,
    vr: VR,
    /// Its value representation was written as UN.
    unknown: bool,
    length: u32,
    offset: usize,
}

impl Walker<'_> {
    /// Reads one element of the data set `top`.
    fn element(&mut self, top: &mut Open) -> Result<Step, ScanError> {
        let is_root = self.open.is_empty();
        if is_root && self.only_padding_left() {
            self.offset = self.bytes.len();
            return Ok(Step::Close);
        }
        let header = self.header(top)?;
        match header.tag {
            ITEM_END if !is_root => {
                // With a defined length the delimiter should not be there; some writers put it all the same.
                return Ok(if top.end.is_some() { Step::Stay } else { Step::Close });
            }
            SEQUENCE_END if !is_root && top.end.is_none() => {
                // The writer forgot to end the item: the end of the sequence ends it too.
                self.offset = header.offset;
                return Ok(Step::Close);
            }
            ITEM | ITEM_END | SEQUENCE_END => {
                return Err(ScanError::StrayDelimiter { found: header.tag, offset: header.offset });
            }
            _ => {}
        }
        self.count()?;
        if header.length == UNDEFINED {
            return self.undefined(top, &header);
        }
        let end = self.end_of(header.tag, header.offset, header.length, top.limit)?;
        if header.vr == VR::SQ {
            let encoding = if header.unknown { self.unknown_encoding() } else { top.encoding };
            let content = Content::Sequence { tag: header.tag, items: Vec::new() };
            return Ok(Step::Enter(Box::new(Open { end: Some(end), limit: end, encoding, content })));
        }
        let value = Value::Bytes(self.offset..end);
        self.offset = end;
        top.push(header.tag, header.vr, value);
        Ok(Step::Stay)
    }

    /// Goes into a value of undefined length: a sequence, or encapsulated fragments.
    fn undefined(&mut self, top: &mut Open, header: &ElementHeader) -> Result<Step, ScanError> {
        let is_pixel_data = header.tag == tags::PIXEL_DATA;
        match header.vr {
            VR::OB | VR::OW if is_pixel_data || !top.encoding.implicit => {
                let fragments = self.fragments(header.tag, top)?;
                top.push(header.tag, header.vr, Value::Fragments(fragments));
                Ok(Step::Stay)
            }
            // PS3.5 section 6.2.2 note 4: what is unknown and of undefined length is a sequence in implicit VR.
            vr if vr == VR::SQ || header.unknown || top.encoding.implicit => {
                let encoding = if header.unknown { self.unknown_encoding() } else { top.encoding };
                let content = Content::Sequence { tag: header.tag, items: Vec::new() };
                Ok(Step::Enter(Box::new(Open { end: None, limit: top.limit, encoding, content })))
            }
            _ => Err(ScanError::UndefinedLength { tag: header.tag, offset: header.offset }),
        }
    }

    /// Reads the header of one item of the sequence `top`, or its end.
    fn item(&mut self, top: &Open) -> Result<Step, ScanError> {
        let Content::Sequence { tag: sequence, .. } = top.content else { return Ok(Step::Close) };
        let offset = self.offset;
        let (tag, length) = self.item_header(sequence, top)?;
        match tag {
            ITEM => {
                self.count()?;
                let end = match length {
                    UNDEFINED => None,
                    defined => Some(self.end_of(tag, offset, defined, top.limit)?),
                };
                let content = Content::Dataset(Vec::new());
                let limit = end.unwrap_or(top.limit);
                Ok(Step::Enter(Box::new(Open { end, limit, encoding: top.encoding, content })))
            }
            SEQUENCE_END if top.end.is_none() => Ok(Step::Close),
            SEQUENCE_END => Ok(Step::Stay),
            found => Err(ScanError::NotAnItem { sequence, found, offset }),
        }
    }

    /// Reads encapsulated fragments up to and with their delimiter. A missing delimiter after a whole last fragment
    /// is taken: no pixel is missing.
    fn fragments(&mut self, sequence: Tag, top: &Open) -> Result<Vec<Range<usize>>, ScanError> {
        let mut fragments = Vec::new();
        loop {
            if self.offset == top.limit && !fragments.is_empty() {
                return Ok(fragments);
            }
            let offset = self.offset;
            let (tag, length) = self.item_header(sequence, top)?;
            match tag {
                ITEM => {
                    self.count()?;
                    let end = self.end_of(tag, offset, length, top.limit)?;
                    fragments.push(self.offset..end);
                    self.offset = end;
                }
                SEQUENCE_END => return Ok(fragments),
                found => return Err(ScanError::NotAnItem { sequence, found, offset }),
            }
        }
    }

    fn item_header(&mut self, sequence: Tag, top: &Open) -> Result<(Tag, u32), ScanError> {
        let big = top.encoding.big_endian;
        let bytes = self.take::<8>(top.limit, || format!("sequence {sequence}"))?;
        Ok((tag(bytes, big), u32_at(&bytes[4..], big)))
    }

    fn header(&mut self, top: &Open) -> Result<ElementHeader, ScanError> {
        let Encoding { implicit, big_endian: big } = top.encoding;
        let offset = self.offset;
        let start = self.take::<8>(top.limit, || "an element header".to_owned())?;
        let tag = tag(start, big);
        let letters = [start[4], start[5]];
        // Delimiters have no value representation. Nor, in real objects that mix encodings, has an element whose
        // letters are none: its four bytes are a length.
        let is_explicit = !implicit && tag.group() != 0xFFFE && letters.iter().all(u8::is_ascii_uppercase);
        if !is_explicit {
            let vr = if implicit || tag.group() != 0xFFFE { dictionary_vr(tag) } else { VR::UN };
            return Ok(ElementHeader { tag, vr, unknown: false, length: u32_at(&start[4..], big), offset });
        }
        let written = VR::from_binary(letters);
        let length = match written {
            Some(vr) if has_long_length(vr) => {
                let inside = || format!("the header of element {tag}");
                u32_at(&self.take::<4>(top.limit, inside)?, big)
            }
            _ => u32::from(if big {
                u16::from_be_bytes([start[6], start[7]])
            } else {
                u16::from_le_bytes([start[6], start[7]])
            }),
        };
        let unknown = matches!(written, Some(VR::UN));
        let vr = match written {
            // A known attribute that some node on the way did not know.
            None | Some(VR::UN) => dictionary_vr(tag),
            Some(vr) => vr,
        };
        Ok(ElementHeader { tag, vr, unknown, length, offset })
    }

    /// How a sequence of unknown representation, which starts here, is written: in implicit VR by the standard, and in
    /// explicit VR by some who knew it and did not say so.
    fn unknown_encoding(&self) -> Encoding {
        // After the header of the first item and the tag of its first element.
        let letters = self.bytes.get(self.offset + 12..).and_then(|bytes| bytes.first_chunk::<2>());
        let is_explicit = letters.is_some_and(|letters| VR::from_binary(*letters).is_some());
        if is_explicit { Encoding::EXPLICIT } else { Encoding::IMPLICIT }
    }

    fn take<const N: usize>(&mut self, limit: usize, inside: impl Fn() -> String) -> Result<[u8; N], ScanError> {
        let left = self.bytes.get(self.offset..limit).unwrap_or_default();
        let bytes = left.first_chunk::<N>().ok_or_else(|| ScanError::Truncated { offset: limit, inside: inside() })?;
        self.offset += N;
        Ok(*bytes)
    }

    /// The end of a value that starts here, inside `limit`.
    fn end_of(&self, tag: Tag, offset: usize, length: u32, limit: usize) -> Result<usize, ScanError> {
        let left = limit - self.offset.min(limit);
        let claimed = u64::from(length);
        if claimed > left as u64 {
            return Err(ScanError::TooShortFor { tag, offset, claimed, left });
        }
        Ok(self.offset + length as usize)
    }

    fn count(&mut self) -> Result<(), ScanError> {
        self.parts += 1;
        let limit = self.limits.max_elements;
        if self.parts > limit { Err(ScanError::TooMany { limit }) } else { Ok(()) }
    }

    /// Archives pad objects to the size of a block.
    fn only_padding_left(&self) -> bool {
        let left = &self.bytes[self.offset.min(self.bytes.len())..];
        left.first() == Some(&0) && left.len() < 8 && left.iter().all(|&byte| byte == 0)
            || left.starts_with(&[0; 8]) && left.iter().all(|&byte| byte == 0)
    }
}

/// Whether the length takes four bytes after two reserved ones (PS3.5 section 7.1.2).
pub(crate) fn has_long_length(vr: VR) -> bool {
    use VR::*;
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

fn dictionary_vr(tag: Tag) -> VR {
    match StandardDataDictionary.by_tag(tag) {
        Some(entry) => entry.vr().relaxed(),
        None => VR::UN,
    }
}

fn tag(bytes: [u8; 8], big_endian: bool) -> Tag {
    let read = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
    Tag(read([bytes[0], bytes[1]]), read([bytes[2], bytes[3]]))
}

/// The first four bytes as a number; callers hold at least four.
fn u32_at(bytes: &[u8], big_endian: bool) -> u32 {
    let bytes = bytes.first_chunk::<4>().copied().unwrap_or_default();
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}
