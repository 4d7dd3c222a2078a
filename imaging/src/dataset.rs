//! The elements of an object, as ranges of its bytes, and typed reading of them.

use std::ops::Range;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::charset::CharacterSets;

/// The elements of a data set or of an item, in the order met.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// The elements.
    pub elements: Vec<Element>,
}

/// One data element.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// What it is.
    pub tag: Tag,
    /// Value representation, from the bytes or the dictionary.
    pub vr: VR,
    /// Numbers in the value have their most significant byte first.
    pub big_endian: bool,
    /// Where its value is.
    pub value: Value,
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A range of the bytes of the object.
    Bytes(Range<usize>),
    /// The items of a sequence.
    Items(Vec<Dataset>),
    /// Encapsulated fragments (PS3.5 annex A.4); the first is the Basic Offset Table.
    Fragments(Vec<Range<usize>>),
}

impl Dataset {
    /// The element with the given tag; where a damaged object has two, the first.
    pub fn get(&self, tag: Tag) -> Option<&Element> {
        self.elements.iter().find(|element| element.tag == tag)
    }
}

/// A data set or item, with what is needed to read its values.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    dataset: &'a Dataset,
    charset: CharacterSets,
}

impl<'a> Attributes<'a> {
    /// The values of `dataset`, whose ranges count in `bytes`.
    pub fn new(bytes: &'a [u8], dataset: &'a Dataset) -> Self {
        Self { bytes, dataset, charset: CharacterSets::default() }.with_own_charset()
    }

    /// An item may name its own character sets; else those of the data set around it hold (PS3.5 section 6.1.2.5.3).
    fn with_own_charset(mut self) -> Self {
        if let Some(terms) = self.bytes(tags::SPECIFIC_CHARACTER_SET) {
            self.charset = CharacterSets::from_value(terms);
        }
        self
    }

    /// The bytes of a value that is no sequence; nothing where it is absent or empty.
    pub fn bytes(&self, tag: Tag) -> Option<&'a [u8]> {
        self.element(tag).map(|(_, bytes)| bytes).filter(|bytes| !bytes.is_empty())
    }

    fn element(&self, tag: Tag) -> Option<(&'a Element, &'a [u8])> {
        let element = self.dataset.get(tag)?;
        match &element.value {
            Value::Bytes(range) => Some((element, self.bytes.get(range.clone())?)),
            Value::Items(_) | Value::Fragments(_) => None,
        }
    }

    /// The elements, in the order met.
    pub fn elements(&self) -> &'a [Element] {
        &self.dataset.elements
    }

    /// The bytes of an element of this data set; none where it is a sequence or encapsulated.
    pub fn value(&self, element: &Element) -> &'a [u8] {
        match &element.value {
            Value::Bytes(range) => self.bytes.get(range.clone()).unwrap_or_default(),
            Value::Items(_) | Value::Fragments(_) => &[],
        }
    }

    /// A fragment of an encapsulated value.
    pub(crate) fn range(&self, range: &Range<usize>) -> &'a [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The text of an element of this data set in its character set, without padding.
    pub fn text_of(&self, element: &Element) -> String {
        self.decoded(element.vr, self.value(element))
    }

    /// The items of an element of this data set; none where it is no sequence.
    pub fn items_of(&self, element: &'a Element) -> impl ExactSizeIterator<Item = Attributes<'a>> + use<'a> {
        let items = match &element.value {
            Value::Items(items) => items.as_slice(),
            _ => &[],
        };
        let (bytes, charset) = (self.bytes, self.charset.clone());
        items.iter().map(move |dataset| Self { bytes, dataset, charset: charset.clone() }.with_own_charset())
    }

    /// Whether the element is there, with a value or without.
    pub fn has(&self, tag: Tag) -> bool {
        self.dataset.get(tag).is_some()
    }

    /// The items of a sequence; none where it is absent or no sequence.
    pub fn items(&self, tag: Tag) -> impl ExactSizeIterator<Item = Attributes<'a>> + use<'a> {
        let items = match self.dataset.get(tag).map(|element| &element.value) {
            Some(Value::Items(items)) => items.as_slice(),
            _ => &[],
        };
        let (bytes, charset) = (self.bytes, self.charset.clone());
        items.iter().map(move |dataset| Self { bytes, dataset, charset: charset.clone() }.with_own_charset())
    }

    /// The first item of a sequence.
    pub fn item(&self, tag: Tag) -> Option<Attributes<'a>> {
        self.nth_item(tag, 0)
    }

    /// Item `index` (from 0) of a sequence, at no cost for those before it.
    pub fn nth_item(&self, tag: Tag, index: usize) -> Option<Attributes<'a>> {
        let Value::Items(items) = &self.dataset.get(tag)?.value else { return None };
        let dataset = items.get(index)?;
        Some(Self { bytes: self.bytes, dataset, charset: self.charset.clone() }.with_own_charset())
    }

    /// A text in the object's character set, without padding. A person's name or a text of one value keeps its
    /// backslashes.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let (element, bytes) = self.element(tag)?;
        Some(self.decoded(element.vr, bytes)).filter(|text| !text.is_empty())
    }

    fn decoded(&self, vr: VR, bytes: &[u8]) -> String {
        let text = match vr {
            VR::PN => self.charset.decode_name(bytes),
            VR::LO | VR::SH | VR::LT | VR::ST | VR::UC | VR::UT | VR::UN => self.charset.decode(bytes),
            _ => bytes.iter().map(|&byte| char::from(byte)).collect(),
        };
        text.trim_matches(['\0', ' ']).to_owned()
    }

    /// The values of a text with several.
    pub fn texts(&self, tag: Tag) -> Vec<String> {
        self.text(tag).map(|text| text.split('\\').map(|value| value.trim().to_owned()).collect()).unwrap_or_default()
    }

    /// An integer, written in digits or in binary. The first, where there are several.
    pub fn integer(&self, tag: Tag) -> Option<i64> {
        let (element, bytes) = self.element(tag)?;
        match element.vr {
            VR::IS | VR::DS => {
                let value = first_number(bytes)?;
                (value.is_finite() && value.abs() < 9e15 && value.fract() == 0.0).then_some(value as i64)
            }
            VR::FL | VR::FD => self.number(tag).filter(|value| value.fract() == 0.0).map(|value| value as i64),
            vr => binary_integers(bytes, vr, element.big_endian).first().copied(),
        }
    }

    /// An unsigned 16-bit integer, as most of the Image Pixel module is.
    pub fn u16(&self, tag: Tag) -> Option<u16> {
        self.integer(tag).and_then(|value| u16::try_from(value).ok())
    }

    /// All integers of a value.
    pub fn integers(&self, tag: Tag) -> Vec<i64> {
        match self.element(tag) {
            Some((element, bytes)) if !matches!(element.vr, VR::IS | VR::DS | VR::FL | VR::FD) => {
                binary_integers(bytes, element.vr, element.big_endian)
            }
            _ => self.numbers(tag).into_iter().filter(|value| value.fract() == 0.0).map(|value| value as i64).collect(),
        }
    }

    /// A finite number. The first, where there are several.
    pub fn number(&self, tag: Tag) -> Option<f64> {
        self.numbers(tag).first().copied()
    }

    /// All numbers of a value; none at all where one of them is no finite number, for half a position is worse than
    /// none.
    pub fn numbers(&self, tag: Tag) -> Vec<f64> {
        let Some((element, bytes)) = self.element(tag) else { return Vec::new() };
        let values: Option<Vec<f64>> = match element.vr {
            VR::FL | VR::OF => {
                let (chunks, _) = bytes.as_chunks::<4>();
                let read = if element.big_endian { f32::from_be_bytes } else { f32::from_le_bytes };
                Some(chunks.iter().map(|chunk| f64::from(read(*chunk))).collect())
            }
            VR::FD | VR::OD => {
                let (chunks, _) = bytes.as_chunks::<8>();
                let read = if element.big_endian { f64::from_be_bytes } else { f64::from_le_bytes };
                Some(chunks.iter().map(|chunk| read(*chunk)).collect())
            }
            VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::OW => {
                Some(binary_integers(bytes, element.vr, element.big_endian).into_iter().map(|v| v as f64).collect())
            }
            _ => bytes.split(|&byte| byte == b'\\').map(first_number).collect(),
        };
        values.filter(|values| values.iter().all(|value| value.is_finite())).unwrap_or_default()
    }

    /// A pair of numbers.
    pub fn pair(&self, tag: Tag) -> Option<(f64, f64)> {
        self.numbers(tag).first_chunk::<2>().map(|pair| (pair[0], pair[1]))
    }

    /// The 16-bit words of a LUT or palette, whose value may be US, SS, OW or, in real objects, anything else.
    pub fn words(&self, tag: Tag) -> Vec<u16> {
        let Some((element, bytes)) = self.element(tag) else { return Vec::new() };
        let read = if element.big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        bytes.as_chunks::<2>().0.iter().map(|chunk| read(*chunk)).collect()
    }
}

/// The number at the start of a decimal or integer string.
fn first_number(bytes: &[u8]) -> Option<f64> {
    let value = bytes.split(|&byte| byte == b'\\').next()?;
    let text = std::str::from_utf8(value).ok()?.trim_matches(['\0', ' ']);
    // Rust's parser also takes "inf" and "nan", which no integer or decimal string may hold.
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .then(|| text.parse().ok())?
}

/// The integers of a binary value. A value of unknown type is read as unsigned, two bytes at a time.
pub fn binary_integers(bytes: &[u8], vr: VR, big_endian: bool) -> Vec<i64> {
    let (width, signed) = match vr {
        VR::UL | VR::OL => (4, false),
        VR::SL => (4, true),
        VR::UV | VR::OV => (8, false),
        VR::SV => (8, true),
        VR::SS => (2, true),
        VR::OB => (1, false),
        _ => (2, false),
    };
    bytes
        .chunks_exact(width)
        .map(|chunk| {
            let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
            let value = if big_endian { chunk.iter().fold(0, fold) } else { chunk.iter().rev().fold(0, fold) };
            let unused = 64 - 8 * width as u32;
            if signed { ((value << unused) as i64) >> unused } else { i64::try_from(value).unwrap_or(i64::MAX) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading<T>(vr: VR, big_endian: bool, bytes: &[u8], read: impl Fn(&Attributes<'_>, Tag) -> T) -> T {
        let element = Element { tag: tags::ROWS, vr, big_endian, value: Value::Bytes(0..bytes.len()) };
        let dataset = Dataset { elements: vec![element] };
        read(&Attributes::new(bytes, &dataset), tags::ROWS)
    }

    #[test]
    fn numbers_are_read_by_their_representation() {
        let number = |vr, big, bytes: &[u8]| reading(vr, big, bytes, |a, tag| a.number(tag));
        assert_eq!(number(VR::DS, false, b" -1.5e2 \\2"), Some(-150.0));
        assert_eq!(number(VR::DS, false, b"nan"), None);
        assert_eq!(number(VR::DS, false, b"1\\x"), None);
        assert_eq!(number(VR::SS, true, &[0xff, 0xfe]), Some(-2.0));
        assert_eq!(number(VR::FD, false, &1.25f64.to_le_bytes()), Some(1.25));
        let integer = |vr, bytes: &[u8]| reading(vr, false, bytes, |a, tag| a.integer(tag));
        assert_eq!(integer(VR::IS, b"12 "), Some(12));
        assert_eq!(integer(VR::IS, b"1A"), None);
        assert_eq!(integer(VR::US, &[1, 2, 3]), Some(0x201));
        assert_eq!(integer(VR::US, &[]), None);
    }
}
